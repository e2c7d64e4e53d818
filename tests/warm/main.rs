//! Interpreters that are up before there is code for them: nobody can tell, and who tries to gain by them gains nothing.
//!
//! All of it holds for a host process of root's and for one without any privilege (`scripts/as-nobody.sh`).

#![expect(clippy::unwrap_used, reason = "a case that panics has failed")]

mod alike;
mod attacks;
#[path = "../harness/mod.rs"]
mod harness;
mod life;
mod node;
mod scripts;
mod snippets;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use computesdk::code::Language;
use computesdk::command::{Output, RunOptions};
use computesdk::provider::{Command, CreateRequest};
use computesdk::providers::local::{Config, Local, Warm, When};
use computesdk::sandbox::Sandbox;
use futures_util::stream;

use crate::harness::{At, Lent, eventually};

fn main() -> ExitCode {
    harness::run(
        None,
        &[("local", harness::local(Config::default()))],
        &[alike::CASES, life::CASES, attacks::CASES, node::CASES],
        &[],
    )
}

/// Says whether it runs in an interpreter that was up before. What it looks for is not in its own text.
const IS_WARM: &str = "print('posix.read' '(3' in open('/proc/self/cmdline').read())";

/// A sandbox that is warm from the beginning, with these modules.
async fn always(preload: &[&str]) -> Lent {
    let preload = preload.iter().map(ToString::to_string).collect();
    let warm = Warm { python: When::Always, preload, ..Warm::default() };
    with(Config { warm, ..Config::default() }, CreateRequest::default()).await
}

/// A sandbox in which each code has an interpreter of its own.
async fn never() -> Lent {
    let warm = Warm { python: When::Never, node: When::Never, ..Warm::default() };
    with(Config { warm, ..Config::default() }, CreateRequest::default()).await
}

async fn with(config: Config, request: CreateRequest) -> Lent {
    At(Arc::new(Local::new(config)), &[]).create(request).await
}

/// Runs code in Python to its end.
async fn python(sandbox: &Sandbox, code: &str) -> Output {
    run(sandbox, code, None, Command::default()).await
}

/// Likewise, with input and options. Source that does not parse is an error that has its output.
async fn run(sandbox: &Sandbox, code: &str, stdin: Option<&'static str>, command: Command) -> Output {
    let stdin = stdin.map(|text| -> computesdk::provider::ByteStream {
        Box::pin(stream::iter([Ok(Bytes::from_static(text.as_bytes()))]))
    });
    let options = RunOptions { stdin, timeout: Some(Duration::from_secs(20)), ..RunOptions::default() };
    match sandbox.run_code(code, Some(Language::Python), command, options).await {
        Ok(run) => run.output,
        Err(error) => error.output().unwrap().clone(),
    }
}

async fn is_warm(sandbox: &Sandbox) -> bool {
    python(sandbox, IS_WARM).await.stdout == "True\n"
}

async fn until_warm(sandbox: &Sandbox) {
    eventually("an interpreter is up", Duration::from_secs(10), async || is_warm(sandbox).await).await;
}

/// A text, but for where in memory things are.
fn without_addresses(text: &str) -> String {
    let mut pieces = text.split("0x");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        text + "0x…" + piece.trim_start_matches(|letter: char| letter.is_ascii_hexdigit())
    })
}
