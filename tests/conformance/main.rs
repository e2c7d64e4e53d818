//! The contract of `src/provider/` and what the core makes of it, sentence by sentence, at every provider.
//!
//! `cargo test --no-default-features --test conformance -- local` runs what is about one provider.

#![expect(clippy::unwrap_used, reason = "a case that panics has failed")]

mod background;
mod code;
mod commands;
mod copies;
mod directories;
mod docker;
mod e2b;
mod file_streams;
mod files;
mod hangups;
#[path = "../harness/mod.rs"]
mod harness;
mod lifecycle;
mod measures;
mod metrics;
mod moves;
mod page;
mod ports;
mod processes;
mod readers;
mod requests;
mod snapshots;
mod streams;
mod table;
mod terminals;

use computesdk::providers::local::Config;

fn main() -> std::process::ExitCode {
    let places =
        [("local", harness::local(Config::default())), ("docker", docker::place()), ("e2b", e2b::place())];
    harness::run(
        None,
        &places,
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
            directories::CASES,
            file_streams::CASES,
            moves::CASES,
            copies::CASES,
            code::CASES,
            ports::CASES,
            requests::CASES,
            snapshots::CASES,
            metrics::CASES,
        ],
        &[page::PROVIDERS],
    )
}
