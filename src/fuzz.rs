//! Where bytes of strangers come in: one function for each place, for `fuzz/` to feed with whatever it can think of.
//!
//! A function panics if what it feeds does, or if a promise is broken that holds for all bytes. What was found to be
//! worth feeding is kept in `fuzz/corpus`, and every test run feeds it again.

use crate::cli::{arguments, mcp};
use crate::code::{self, Language};
use crate::providers::e2b::fuzz as e2b;
use crate::providers::local::fuzz as local;
use crate::request::fuzz as request;
use crate::transport::connect::fuzz as connect;

/// A place, by the name of its target and of its folder in the corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 12] = [
    ("arguments", arguments),
    ("channel", local::channel),
    ("code", code),
    ("connect", connect::stream),
    ("e2b", e2b::answers),
    ("envd", e2b::messages),
    ("link", local::link),
    ("listing", local::listing),
    ("messages", local::messages),
    ("policy", local::policy),
    ("proxy", local::proxy),
    ("request", request::body),
];

/// Feeds a place.
///
/// # Panics
///
/// If there is none of this name; and if a promise is broken.
pub fn feed(name: &str, bytes: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(bytes),
        None => panic!("there is no target `{name}`"),
    }
}

/// A command line, a word on each line.
fn arguments(bytes: &[u8]) {
    let words: Vec<_> = String::from_utf8_lossy(bytes).split('\n').map(str::to_owned).collect();
    let _ = mcp::settings(words.clone());
    let _ = arguments::parse(words);
}

/// Code, which is also taken for what an interpreter said of some.
fn code(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (code::detect(&text), code::is_module(&text));
    for language in [Language::Python, Language::Node] {
        assert!(!code::is_syntax_error(language, 1, &text, &text) || text.is_empty());
        let _ = code::is_syntax_error(language, 1, "", &text);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn everything_that_was_ever_found_is_fed_again() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let files: Vec<_> =
                fs::read_dir(folder.join(name)).expect(name).map(|file| file.unwrap()).collect();
            assert!(!files.is_empty(), "nothing is kept of `{name}`");
            for file in files {
                let bytes = fs::read(file.path()).unwrap();
                let fed = std::panic::catch_unwind(|| target(&bytes));
                assert!(fed.is_ok(), "{}", file.path().display());
            }
        }
    }

    #[test]
    fn every_place_has_its_target_and_what_is_kept_of_it() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names(&fuzz.join("fuzz_targets")), known);
        assert_eq!(names(&fuzz.join("corpus")), known);
    }
}
