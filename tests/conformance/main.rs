//! The contract of `src/provider.rs` and what the core makes of it, sentence by sentence, at every provider.
//!
//! `cargo test --no-default-features --test conformance -- local` runs what is about one provider.

#![expect(clippy::unwrap_used, reason = "a case that panics has failed")]

mod background;
mod code;
mod commands;
mod files;
mod hangups;
#[path = "../harness/mod.rs"]
mod harness;
mod lifecycle;
mod processes;
mod readers;
mod streams;
mod table;
mod terminals;

fn main() -> std::process::ExitCode {
    harness::run(
        None,
        &[
            lifecycle::CASES,
            commands::CASES,
            streams::CASES,
            processes::CASES,
            background::CASES,
            readers::CASES,
            table::CASES,
            terminals::CASES,
            hangups::CASES,
            files::CASES,
            code::CASES,
        ],
    )
}
