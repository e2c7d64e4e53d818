//! The contract of `src/provider.rs` and what the core makes of it, sentence by sentence, at every provider.
//!
//! `cargo test --no-default-features --test conformance -- local` runs what is about one provider.

#![expect(clippy::unwrap_used, reason = "a case that panics has failed")]

mod code;
mod commands;
mod files;
#[path = "../harness/mod.rs"]
mod harness;
mod lifecycle;
mod ports;
mod processes;
mod streams;

fn main() -> std::process::ExitCode {
    harness::run(
        None,
        &[
            lifecycle::CASES,
            commands::CASES,
            streams::CASES,
            processes::CASES,
            files::CASES,
            code::CASES,
            ports::CASES,
        ],
    )
}
