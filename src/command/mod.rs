//! Running a command to its end, within its limits of time and size.

mod audience;
mod following;
mod kept;
mod text;

use std::fmt::Debug;
use std::time::{Duration, Instant as Clock};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::{ByteStream, Command, Instance, Process};

pub use self::audience::Listener;
pub(crate) use self::following::Following;
pub(crate) use self::kept::{Kept, with_latest};
pub use self::text::Utf8;

/// Bytes of each stream that a result keeps unless its caller says otherwise.
pub const DEFAULT_MAX_OUTPUT: usize = 64 << 20;

/// The exit code of a command whose time was over, as `timeout(1)` has it.
pub const TIMED_OUT: i32 = 124;

/// How a command is run.
#[derive(Default)]
pub struct RunOptions {
    /// After this long the command and all that came of it are killed.
    pub timeout: Option<Duration>,
    /// Kills the command and all that came of it when it is cancelled.
    pub cancel: CancellationToken,
    /// Bytes of each stream that the result keeps; reading goes on beyond.
    pub max_output: Option<usize>,
    /// What the command reads.
    pub stdin: Option<ByteStream>,
    /// Is told of output as it arrives.
    pub listener: Option<Box<dyn Listener>>,
}

impl Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOptions").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// What came of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output; bytes that are no UTF-8 are U+FFFD.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// The exit code; 128 + n after signal n, 124 after a timeout.
    pub exit_code: i32,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed it, or what it waited for and passed the end of on, because memory had run out. Only where
    /// that is known.
    pub oom_killed: bool,
    /// Its time was over.
    pub timed_out: bool,
    /// More was written than `max_output` let the result keep.
    pub truncated: bool,
    /// It is no longer waited for, but could not be ended: it may go on, and how it ends is not known.
    pub abandoned: bool,
    /// From start to end.
    pub duration: Duration,
}

/// Runs a command and waits for its end.
///
/// The run is over when the command itself has ended: what others hold of its pipes is not waited for.
/// Aborted, the error carries the output so far. Dropped, the command is killed.
pub async fn run(instance: &dyn Instance, command: &Command, options: RunOptions) -> Result<Output> {
    follow(instance.spawn(command), options).await
}

/// Waits for something that runs to begin and to end. Dropped, it is killed.
pub(crate) async fn follow(
    beginning: impl Future<Output = Result<Process>>,
    options: RunOptions,
) -> Result<Output> {
    let begun = Clock::now();
    let kept = Kept::head(options.max_output.unwrap_or(DEFAULT_MAX_OUTPUT));
    let (limits, stdin, listener) = Limits::split(options);
    tokio::select! {
        process = begin(beginning, &limits.cancel) => {
            Following { process: process?, limits, stdin, listener, begun }.finish(kept).await
        }
        () = until(limits.deadline) => {
            let duration = begun.elapsed();
            Ok(Output { exit_code: TIMED_OUT, timed_out: true, duration, ..Output::default() })
        }
    }
}

/// What may end a command before its time.
pub(crate) struct Limits {
    deadline: Option<Instant>,
    pub(crate) cancel: CancellationToken,
}

impl Limits {
    /// The limits among the options, counted from now on, and the rest of them.
    pub(crate) fn split(options: RunOptions) -> (Self, Option<ByteStream>, Option<Box<dyn Listener>>) {
        // A sum that no clock can hold is no limit.
        let deadline = options.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        (Self { deadline, cancel: options.cancel }, options.stdin, options.listener)
    }
}

/// Waits for something to begin, unless it is cancelled before that.
pub(crate) async fn begin(
    beginning: impl Future<Output = Result<Process>>,
    cancel: &CancellationToken,
) -> Result<Process> {
    if cancel.is_cancelled() {
        return Err(aborted(None));
    }
    tokio::select! {
        process = beginning => process,
        () = cancel.cancelled() => Err(aborted(None)),
    }
}

async fn until(limit: Option<Instant>) {
    match limit {
        Some(limit) => sleep_until(limit).await,
        None => std::future::pending().await,
    }
}

fn aborted(output: Option<Output>) -> Error {
    let error = Error::new(ErrorKind::Aborted, "The operation was aborted");
    match output {
        Some(output) => error.with_output(output),
        None => error,
    }
}
