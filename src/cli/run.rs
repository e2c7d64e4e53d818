//! One thing in a fresh sandbox: its streams and its exit code are those of this process.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::arguments::{Run, What};
use super::{FAILED, complain, terminal};
use crate::code::{self, Language};
use crate::command::{Output, RunOptions};
use crate::compute::{Compute, Settings};
use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Command, CreateRequest, Network, Program, Wanted};
use crate::providers::local::{Config, Local};
use crate::sandbox::Sandbox;
use crate::signal;

/// Where a file is put.
const HOME: &str = "/home/user";
/// The longest file that is run.
const LONGEST: u64 = 16 << 20;
/// How much longer than its program a sandbox may live that has to have an end.
const MARGIN: Duration = Duration::from_secs(60);

/// Runs it and gives its exit code. Cancelled, the sandbox is ended, and the code is that of an interrupt.
pub async fn run(wanted: Run, cancel: CancellationToken) -> i32 {
    match in_a_sandbox(&wanted, &cancel).await {
        Ok(output) => {
            explain(&output, &wanted);
            output.exit_code
        }
        Err(_) if cancel.is_cancelled() => 128 + signal::INT,
        Err(error) => {
            complain(&error);
            FAILED
        }
    }
}

async fn in_a_sandbox(wanted: &Run, cancel: &CancellationToken) -> Result<Output> {
    let script = match &wanted.what {
        What::File(path) => Some(unless(cancel, Script::read(path)).await?),
        What::Program(_) => None,
    };
    let (compute, request) = place(wanted, script.as_ref());
    let sandbox = unless(cancel, compute.create(&request)).await?;
    let output = unless(cancel, run_in(&sandbox, wanted, script)).await;
    let destroyed = sandbox.destroy().await;
    output.and_then(|output| destroyed.map(|()| output))
}

/// What `work` comes to, if it is not given up before.
async fn unless<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    let given_up = || Error::new(ErrorKind::Aborted, "interrupted");
    cancel.run_until_cancelled(work).await.unwrap_or_else(|| Err(given_up()))
}

/// Where the sandbox is made, and what it is to be: on this machine without an end of its own and with no other made
/// in advance; elsewhere with the time that its program has.
fn place(wanted: &Run, script: Option<&Script>) -> (Compute, CreateRequest) {
    let mut request = wanted.request.clone();
    request.runtime = script.map(|script| script.language.to_string());
    // As `--help` says, wherever it runs: elsewhere the default may be another.
    request.network.get_or_insert(Network::None);
    if config::default_provider().is_none_or(|name| name == "local") {
        let config = Config { timeout: Some(0), spares: Some(0), ..Config::default() };
        let providers: Vec<Arc<dyn crate::provider::Provider>> = vec![Arc::new(Local::new(config))];
        return (Compute::new(Settings { providers, ..Settings::default() }), request);
    }
    request.timeout = wanted.timeout.map(|timeout| timeout.saturating_add(MARGIN));
    (Compute::default(), request)
}

async fn run_in(sandbox: &Sandbox, wanted: &Run, script: Option<Script>) -> Result<Output> {
    let mut argv = match (&wanted.what, script) {
        (What::Program(program), _) => vec![program.clone()],
        (What::File(_), None) => Vec::new(),
        (What::File(_), Some(script)) => script.put(sandbox).await?,
    };
    argv.extend(wanted.arguments.iter().cloned());
    let command =
        Command { program: Program::Args(argv), cwd: wanted.cwd.clone(), stdin: true, ..Command::default() };
    let options =
        RunOptions { timeout: wanted.timeout, stdin: Some(terminal::input()), ..RunOptions::default() };
    let process = sandbox.spawn(command, options).await?;
    let mut reader = process.reader(Wanted::BOTH, true);
    process.release();
    while let Some(chunk) = reader.next().await {
        match terminal::pass(chunk).await {
            Ok(()) => {}
            // Nobody reads any more: it ends as a program does that writes to such a pipe.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Output { exit_code: 128 + signal::PIPE, ..Output::default() });
            }
            Err(error) => {
                let message = format!("what it writes cannot be passed on: {error}");
                return Err(Error::new(ErrorKind::Unavailable, message).with_source(error));
            }
        }
    }
    process.wait().await
}

/// A file of this machine that a language's interpreter runs.
struct Script {
    name: String,
    language: Language,
    source: Bytes,
}

impl Script {
    /// Reads it on a thread that may wait: a path can be that of a pipe.
    async fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let language = match path.extension().and_then(OsStr::to_str) {
            Some("py") => Language::Python,
            Some("js" | "mjs" | "cjs") => Language::Node,
            _ => {
                return Err(Error::invalid(format!("`{shown}` is neither a .py nor a .js file"))
                    .with_hint(format!("to run a program of the sandbox: computesdk run -- {shown}")));
            }
        };
        let name = path.file_name().and_then(OsStr::to_str);
        let name =
            name.ok_or_else(|| Error::invalid(format!("`{shown}` has a name that is no text")))?.to_owned();
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let mut source = Vec::new();
            File::open(path)?.take(LONGEST + 1).read_to_end(&mut source).map(|_| source)
        });
        let source = read.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| {
            Error::invalid(format!("`{shown}` cannot be read: {error}")).with_source(error)
        })?;
        if source.len() as u64 > LONGEST {
            return Err(Error::invalid(format!("`{shown}` is too long: {} MiB at most", LONGEST >> 20))
                .with_hint("programs read what is larger from standard input"));
        }
        Ok(Self { name, language, source: source.into() })
    }

    /// Puts it into a sandbox, and gives the command that runs it there.
    async fn put(self, sandbox: &Sandbox) -> Result<Vec<String>> {
        let path = format!("{HOME}/{}", self.name);
        let interpreter = match self.language {
            Language::Python => "python3",
            Language::Node => "node",
        };
        let module =
            self.name.ends_with(".js") && std::str::from_utf8(&self.source).is_ok_and(code::is_module);
        if module {
            // What Node.js goes by where the name does not tell.
            let package = Bytes::from_static(b"{ \"type\": \"module\" }\n");
            sandbox.filesystem().write(&format!("{HOME}/package.json"), package).await?;
        }
        sandbox.filesystem().write(&path, self.source).await?;
        Ok(vec![interpreter.to_owned(), path])
    }
}

/// Says what an exit code alone does not.
fn explain(output: &Output, wanted: &Run) {
    if let Some(timeout) = wanted.timeout.filter(|_| output.timed_out) {
        terminal::note(&format!("its time was over (--timeout {})\n", timeout.as_millis()));
    }
    if output.oom_killed {
        terminal::note("it was killed because its memory had run out (--memory gives more)\n");
    }
}
