//! What commands and code are given, and what comes of them, in JavaScript's terms.

use std::time::Duration;

use async_trait::async_trait;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;
use serde::Serialize;

use super::callback::Callback;
use super::convert::{self, Fields};
use super::error::{Details, with_details};
use super::source;
use crate::command::{self as core, Listener, RunOptions};
use crate::error::{Error, Result};
use crate::provider::Command;
use crate::sandbox::Sandbox;
use crate::signal;

const OPTIONS: [&str; 11] = [
    "cwd",
    "env",
    "timeout",
    "background",
    "signal",
    "onStdout",
    "onStderr",
    "stdin",
    "user",
    "maxOutput",
    "throwOnError",
];

/// The options of `runCommand` and `runCode`.
pub(super) struct Run {
    pub(super) command: Command,
    pub(super) options: RunOptions,
    pub(super) throw_on_error: Option<bool>,
    pub(super) background: bool,
    pub(super) has_signal: bool,
    pub(super) runtime: Option<String>,
    pub(super) context: Option<String>,
}

impl Run {
    /// Options of a command.
    pub(super) fn of_command(value: &Unknown<'_>) -> Result<Self> {
        Self::read(&Fields::of("options", value, &OPTIONS)?)
    }

    /// Options of code: those of a command, `runtime` and `context`.
    pub(super) fn of_code(value: &Unknown<'_>) -> Result<Self> {
        let known: Vec<&str> = OPTIONS.into_iter().chain(["runtime", "context"]).collect();
        let fields = Fields::of("options", value, &known)?;
        let (runtime, context) = (fields.string("runtime")?, fields.string("context")?);
        Ok(Self { runtime, context, ..Self::read(&fields)? })
    }

    fn read(fields: &Fields<'_>) -> Result<Self> {
        let stdin = fields.get("stdin")?.map(|value| source::content("stdin", &value)).transpose()?;
        let listener = JsListener {
            stdout: Callback::of(fields, "onStdout")?,
            stderr: Callback::of(fields, "onStderr")?,
        };
        let listens = listener.stdout.is_some() || listener.stderr.is_some();
        Ok(Self {
            command: Command {
                cwd: fields.string("cwd")?,
                env: fields.texts("env")?,
                user: fields.string("user")?,
                stdin: stdin.is_some(),
                ..Command::default()
            },
            options: RunOptions {
                timeout: fields.millis("timeout")?.filter(|timeout| !timeout.is_zero()),
                cancel: fields.cancellation()?,
                max_output: fields.whole("maxOutput", usize::MAX as u64)?.map(|bytes| bytes as usize),
                stdin: stdin.map(|content| content.bytes),
                listener: listens.then(|| Box::new(listener) as Box<dyn Listener>),
            },
            throw_on_error: fields.boolean("throwOnError")?,
            background: fields.boolean("background")? == Some(true),
            has_signal: fields.get("signal")?.is_some(),
            runtime: None,
            context: None,
        })
    }
}

struct JsListener {
    stdout: Option<Callback<String>>,
    stderr: Option<Callback<String>>,
}

#[async_trait]
impl Listener for JsListener {
    async fn stdout(&mut self, text: String) -> Result<()> {
        tell(self.stdout.as_ref(), text).await
    }

    async fn stderr(&mut self, text: String) -> Result<()> {
        tell(self.stderr.as_ref(), text).await
    }
}

async fn tell(callback: Option<&Callback<String>>, text: String) -> Result<()> {
    let Some(callback) = callback else { return Ok(()) };
    callback.tell(text).await
}

/// What came of a command. An exit code other than 0 is a result, unless it was to be raised.
#[napi(object, object_from_js = false)]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandResult {
    /// Standard output. Bytes that are no UTF-8 are U+FFFD.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// 0 is success; 124 after a timeout; 127 if there is no such program; 128 + n after signal n.
    pub exit_code: i32,
    /// Whole milliseconds from start to end, 1 at least.
    pub duration_ms: f64,
    /// The older name of `durationMs`.
    pub execution_time: f64,
    /// The sandbox that it ran in.
    pub sandbox_id: String,
    /// The name of the sandbox's provider.
    pub provider: String,
    /// More was written than `maxOutput` let the result keep.
    #[napi(ts_type = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,
    /// `timeout` ended it; what is here is the output so far.
    #[napi(ts_type = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timed_out: Option<bool>,
    /// It is no longer waited for, but could not be ended: with `timedOut`, or after an abort, at a provider whose commands
    /// cannot be ended one by one. It may go on.
    #[napi(ts_type = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<bool>,
    /// The kernel killed it because the sandbox' memory had run out; or it ended with 137, as a shell does whose command
    /// was. Where memory is limited for the sandbox as a whole.
    #[napi(ts_type = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_killed: Option<bool>,
    /// The signal that ended it, such as `'SIGKILL'`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    #[napi(skip_typescript)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[napi(skip_typescript)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_background: Option<bool>,
    #[napi(skip_typescript)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    #[napi(skip_typescript)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[napi(skip_typescript)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<Vec<serde_json::Value>>,
}

impl CommandResult {
    pub(super) fn new(output: core::Output, sandbox_id: &str, provider: &str) -> Self {
        let duration = millis(&output);
        Self {
            exit_code: output.exit_code,
            duration_ms: duration,
            execution_time: duration,
            sandbox_id: sandbox_id.to_owned(),
            provider: provider.to_owned(),
            truncated: output.truncated.then_some(true),
            timed_out: output.timed_out.then_some(true),
            abandoned: output.abandoned.then_some(true),
            oom_killed: output.oom_killed.then_some(true),
            signal: output.signal.map(signal::name),
            pid: None,
            is_background: None,
            output: None,
            language: None,
            results: None,
            stdout: output.stdout,
            stderr: output.stderr,
        }
    }
}

impl CommandResult {
    /// Of a command that has begun and goes on, with its number, if that is known.
    pub(super) fn of_background(pid: Option<u32>, duration: Duration, sandbox: &Sandbox) -> Self {
        let output = core::Output { duration, ..core::Output::default() };
        let mut result = Self::new(output, sandbox.id(), sandbox.provider().name());
        result.pid = pid;
        result.is_background = Some(true);
        result
    }
}

/// Whole milliseconds, and never none: something was done.
fn millis(output: &core::Output) -> f64 {
    (output.duration.as_millis() as f64).max(1.0)
}

/// Raises a non-zero exit, where that was asked for.
pub(super) fn raise(
    sandbox: &Sandbox,
    operation: &str,
    output: &core::Output,
    wanted: bool,
) -> napi::Result<()> {
    if !wanted || output.exit_code == 0 {
        return Ok(());
    }
    let (provider, sandbox_id) = (sandbox.provider().name(), sandbox.id());
    let details = Details {
        kind: "COMMAND_EXIT",
        code: "COMMAND_EXIT",
        provider: Some(provider),
        sandbox_id: Some(sandbox_id),
        operation: Some(operation),
        retryable: false,
        hint: None,
        retry_after_ms: None,
        status: None,
        request_id: None,
        cause: None,
        result: Some(CommandResult::new(output.clone(), sandbox_id, provider)),
    };
    Err(with_details(&format!("Command exited with code {}", output.exit_code), &details))
}

/// The command line in any of its three forms: a line for the shell, a program and its arguments, or both in
/// one list.
pub(super) fn command_line<'a>(
    command: &Unknown<'a>,
    args: &Unknown<'a>,
    options: &Unknown<'a>,
) -> Result<(crate::provider::Program, Run)> {
    use crate::provider::Program;
    if convert::is_array(command) {
        if !convert::is_missing(options) {
            return Err(Error::invalid(
                "`runCommand([command, ...args], options)` takes two arguments, got three",
            ));
        }
        return Ok((Program::Args(convert::strings("command", command)?), Run::of_command(args)?));
    }
    let line = convert::string("command", command)?;
    if convert::is_array(args) {
        let mut argv = vec![line];
        argv.extend(convert::strings("args", args)?);
        return Ok((Program::Args(argv), Run::of_command(options)?));
    }
    if convert::is_missing(args) && !convert::is_missing(options) {
        return Ok((Program::Shell(line), Run::of_command(options)?));
    }
    if !convert::is_missing(options) {
        return Err(Error::invalid("`args` must be an array of strings"));
    }
    if line.is_empty() {
        return Err(Error::invalid("`command` is empty"));
    }
    Ok((Program::Shell(line), Run::of_command(args)?))
}
