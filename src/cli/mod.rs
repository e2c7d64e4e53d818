//! The command line: `computesdk run`, `computesdk mcp` and `computesdk doctor`.
//!
//! * [`arguments`] – what was typed, as plain data, or what is wrong with it.
//! * [`run`] – one thing in a fresh sandbox: its streams and its exit code are those of this process.
//! * [`mcp`] – what `computesdk mcp` was given; the server itself is in `door/mcp`.
//! * [`doctor`] – what this machine can isolate, tried and told.
//! * `terminal` – this process' own streams.
//!
//! Nothing here ends the process: whoever called does, with the exit code that comes back.

pub mod arguments;
pub mod doctor;
pub mod mcp;
pub mod run;
mod terminal;

use tokio_util::sync::CancellationToken;

use self::arguments::Command;
use crate::error::Error;

/// A failure of our own: told apart from whatever a program that was run may exit with, as `timeout(1)`, `env(1)` and
/// Docker have it.
pub const FAILED: i32 = 125;

const HELP: &str = "\
Runs untrusted code in sandboxes.

  computesdk run [options] file.py|file.js [arguments]   one file in a fresh sandbox
  computesdk run [options] -- program [arguments]        one program of it
  computesdk mcp [options]                               the tools of an agent, as an MCP server
  computesdk doctor [--json]                             what this machine can isolate
  computesdk --version

`computesdk <command> --help` tells more.
";

/// Does what was typed, and gives the exit code. Cancelled, it ends what it began and comes back soon.
pub async fn main(words: Vec<String>, cancel: CancellationToken) -> i32 {
    // Of what this machine can do, 0 and 1 tell, and whoever asks looks at nothing else.
    let failed = if words.first().is_some_and(|word| word == "doctor") { 1 } else { FAILED };
    match arguments::parse(words) {
        Ok(Command::Help(text)) => terminal::say(text),
        Ok(Command::Version) => terminal::say(&format!("computesdk {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Command::Doctor { json }) => doctor::doctor(json).await,
        Ok(Command::Run(wanted)) => run::run(*wanted, cancel).await,
        Err(error) => {
            complain(&error);
            failed
        }
    }
}

/// Tells what went wrong, and what to do about it, on standard error.
fn complain(error: &Error) {
    let hint = error.hint().map_or_else(String::new, |hint| format!("  hint: {hint}\n"));
    terminal::note(&format!("{}\n{hint}", error.message()));
}
