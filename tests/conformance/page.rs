//! The table in `docs/providers.md`: made of the traits that cases need, of why a place lacks them, and of what its
//! sandboxes say that they can do.

use std::fmt::Write;
use std::path::Path;

use computesdk::provider::{Instance, Provider};

use crate::harness::{At, Page, TRAITS};

/// Where the table begins and ends.
const MARKS: [&str; 2] = ["<!-- table -->\n", "<!-- end of the table -->\n"];

/// What only some can do, and whether it can be had of a sandbox.
type Optional = (&'static str, fn(&dyn Provider, &dyn Instance) -> bool);

const OPTIONAL: [Optional; 4] = [
    ("Processes go on and are found again: `spawn`, `getProcess`, terminals", |provider, _| {
        provider.keeps_processes()
    }),
    ("Sandboxes are put aside: `pause`, `resume`", |_, instance| instance.pausing().is_some()),
    ("Code shares an interpreter: `runCode` with a `context`", |_, instance| instance.kernels().is_some()),
    ("Connections are judged one by one: `networkLog`", |_, instance| instance.networking().is_some()),
];

/// Fails where the page says otherwise, and leaves what it should say in `target/providers.md`.
pub(super) const PROVIDERS: Page =
    ("the_table_of_providers_is_what_the_cases_go_by", |places| Box::pin(compare(places)));

async fn compare(places: Vec<(&'static str, At)>) -> Result<(), String> {
    // The page tells of a machine that lacks nothing.
    if places.iter().any(|(name, at)| *name == "local" && at.lacks("snapshots").is_some()) {
        return Ok(());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/providers.md")).map_err(|error| error.to_string())?;
    let table = table(&places).await;
    let expected = with_table(&page, &table).ok_or("docs/providers.md has no place for its table")?;
    if page == expected {
        return Ok(());
    }
    match std::fs::write(root.join("target/providers.md"), &expected) {
        Ok(()) => Err("docs/providers.md is not up to date: cp target/providers.md docs/".to_owned()),
        Err(_) => Err(format!("docs/providers.md is not up to date: its table is\n{table}")),
    }
}

fn with_table(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some([before, MARKS[0], "\n", table, "\n", MARKS[1], after].concat())
}

async fn table(places: &[(&'static str, At)]) -> String {
    let mut table = String::from("| |");
    for (name, _) in places {
        write!(table, " `{name}` |").unwrap();
    }
    table.push_str("\n| --- |");
    table.push_str(&" --- |".repeat(places.len()));
    for (name, what) in TRAITS {
        row(&mut table, what, places.iter().map(|(_, at)| at.lacks(name).map(str::to_owned)));
    }
    let mut sandboxes = Vec::new();
    for (_, at) in places {
        sandboxes.push((&at.0, at.sandbox().await));
    }
    for (what, can) in OPTIONAL {
        let lacks = sandboxes.iter().map(|(provider, sandbox)| {
            let can = can(&***provider, &**sandbox.instance());
            (!can).then(|| "refused".to_owned())
        });
        row(&mut table, what, lacks);
    }
    table.push('\n');
    table
}

fn row(table: &mut String, what: &str, lacks: impl Iterator<Item = Option<String>>) {
    write!(table, "\n| {what} |").unwrap();
    for lack in lacks {
        match lack {
            None => table.push_str(" yes |"),
            Some(why) => write!(table, " no: {why} |").unwrap(),
        }
    }
}
