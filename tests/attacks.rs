//! `docs/attacks.md` names tests; they are there.

#![expect(clippy::unwrap_used, reason = "a case that panics has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The cases in the tables of a test program.
fn cases(program: &str) -> BTreeSet<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut sources: Vec<PathBuf> = vec![tests.join(format!("{program}.rs"))];
    sources.extend(fs::read_dir(tests.join(program)).unwrap().map(|entry| entry.unwrap().path()));
    let mut names = BTreeSet::new();
    for source in sources.iter().filter(|source| source.extension().is_some_and(|end| end == "rs")) {
        let Ok(text) = fs::read_to_string(source) else { continue };
        for table in text.split("= cases![").skip(1) {
            let table = table.split("];").next().unwrap();
            names.extend(
                table.split(',').filter_map(|case| case.split_whitespace().next().map(str::to_owned)),
            );
        }
    }
    assert!(!names.is_empty(), "`{program}` has no cases");
    names
}

#[test]
fn every_test_that_the_table_of_attacks_names_is_there() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/attacks.md")).unwrap();
    let mut named = 0;
    for program in ["isolation", "conformance", "warm", "broker"] {
        let known = cases(program);
        for quoted in document.split('`').skip(1).step_by(2) {
            let Some(case) = quoted.strip_prefix(program).and_then(|rest| rest.strip_prefix("::")) else {
                continue;
            };
            assert!(known.contains(case), "docs/attacks.md names `{quoted}`, which is in no table");
            named += 1;
        }
    }
    let rows = document
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Attack") && !line.starts_with("| ---"));
    assert!(named >= rows.count(), "some attack has no test");
}

#[test]
fn what_is_tried_of_other_containers_neighbours_and_the_agent_is_told() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/attacks.md")).unwrap();
    for file in ["escapes", "shared", "agent"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/isolation/{file}.rs"));
        let text = fs::read_to_string(path).unwrap();
        let table = text.split("= cases![").nth(1).and_then(|table| table.split("];").next()).unwrap();
        for case in table.split(',').map(str::trim).filter(|case| !case.is_empty()) {
            assert!(
                document.contains(&format!("`isolation::{case}`")),
                "docs/attacks.md does not tell of {case}"
            );
        }
    }
}
