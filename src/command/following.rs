//! Following a command: reading what it writes, feeding what it reads, and ending it when it has to end.

use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::audience::{Audience, Listener};
use super::kept::Kept;
use super::{Limits, Output, aborted, until};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{ByteStream, Control, Exit, Process};
use crate::signal;

/// The exit code of a command of which nobody knows how it ends.
const UNKNOWN: i32 = -1;

/// How long a killed command may take to be gone before its caller is told that it will not go.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// A command that runs, with all that goes on around it.
pub(crate) struct Following {
    pub(crate) process: Process,
    pub(crate) limits: Limits,
    pub(crate) stdin: Option<ByteStream>,
    pub(crate) listener: Option<Box<dyn Listener>>,
    pub(crate) begun: Clock,
}

impl Following {
    /// Reads, feeds and tells until the command has ended. Dropped, the command is killed.
    pub(crate) async fn finish(self, mut kept: Kept) -> Result<Output> {
        let Self { process: Process { mut output, control }, limits, stdin, listener, begun } = self;
        let mut running = Running::new(control, limits.deadline);
        let mut audience = Audience::new(listener);
        let feeding = feed(Arc::clone(&running.control), stdin);
        tokio::pin!(feeding);
        let (mut fed, mut read) = (false, false);

        while !running.abandoned && (!read || audience.is_telling()) {
            tokio::select! {
                biased;
                () = limits.cancel.cancelled(), if running.stop.is_none() => running.end(Stop::Abort).await?,
                () = until(running.limit) => match running.stop {
                    // It has ended in time, and only its listener is late.
                    None if running.has_ended() => {
                        running.limit = None;
                        audience.hush();
                    }
                    None => running.end(Stop::Timeout).await?,
                    // The command has ended, but its listener is still at what it wrote: that is its own affair.
                    Some(_) if audience.is_telling() => {
                        audience.hush();
                        running.limit = Some(Instant::now() + KILL_GRACE);
                    }
                    Some(_) => return Err(stuck()),
                },
                result = &mut feeding, if !fed => {
                    fed = true;
                    running.fail_on(result).await?;
                }
                told = audience.told(), if audience.is_telling() => running.fail_on(told).await?,
                chunk = kept.next(&mut *output, &*running.control), if !read && !audience.is_telling() => match chunk {
                    Some(chunk) => {
                        kept.keep(&chunk);
                        audience.tell(&chunk);
                    }
                    None => {
                        read = true;
                        audience.finish();
                    }
                }
            }
        }
        kept.note_gaps(&*output);
        let ending = match running.abandoned {
            true => Ok(Exit::Code(UNKNOWN)),
            false => running.control.wait().await,
        };
        let exit = match ending {
            Ok(exit) => exit,
            // Nobody knows how it ended: with its sandbox, most likely, which kills. What it had written is still worth having.
            Err(error) => {
                running.ended = error.kind() == ErrorKind::NotFound;
                if kept.is_empty() {
                    return Err(error);
                }
                return Err(error.with_output(kept.output(
                    Exit::Signal(signal::KILL),
                    false,
                    begun.elapsed(),
                )));
            }
        };
        running.ended = true;
        let stop = running.stop.take();
        let timed_out = matches!(stop, Some(Stop::Timeout));
        let abandoned = running.abandoned;
        let oom_killed = stop.is_none() && running.control.has_starved();
        let output = Output { abandoned, oom_killed, ..kept.output(exit, timed_out, begun.elapsed()) };
        match stop {
            Some(Stop::Failure(error)) => Err(error),
            Some(Stop::Abort) => Err(aborted(Some(output))),
            Some(Stop::Timeout) | None => Ok(output),
        }
    }
}

/// Why a command was killed.
#[derive(Debug)]
enum Stop {
    Abort,
    Timeout,
    /// What read for it or wrote to it has failed.
    Failure(Error),
}

/// A command that runs, and when its waiter loses patience. Dropped before it has ended, it is killed.
struct Running {
    control: Arc<dyn Control>,
    stop: Option<Stop>,
    limit: Option<Instant>,
    ended: bool,
    /// It goes on for all that is known, because here no command can be ended.
    abandoned: bool,
}

impl Running {
    fn new(control: Arc<dyn Control>, limit: Option<Instant>) -> Self {
        Self { control, stop: None, limit, ended: false, abandoned: false }
    }

    fn has_ended(&self) -> bool {
        self.control.wait().now_or_never().is_some()
    }

    /// Kills the command, once. It has to be gone soon; where it cannot be killed, it is not waited for any longer.
    async fn end(&mut self, stop: Stop) -> Result<()> {
        self.stop = Some(stop);
        self.limit = Some(Instant::now() + KILL_GRACE);
        match self.control.kill().await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                self.abandoned = true;
                Ok(())
            }
            killed => killed,
        }
    }

    async fn fail_on(&mut self, result: Result<()>) -> Result<()> {
        match result {
            Err(error) if self.stop.is_none() => self.end(Stop::Failure(error)).await,
            _ => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let control = Arc::clone(&self.control);
            runtime.spawn(async move { control.kill().await });
        }
    }
}

fn stuck() -> Error {
    Error::new(ErrorKind::Unavailable, "the command was killed, but it has not ended")
}

/// Writes the command's input. A command that stops reading has what it wanted; a source that fails has
/// failed the run.
async fn feed(control: Arc<dyn Control>, source: Option<ByteStream>) -> Result<()> {
    let Some(mut source) = source else { return Ok(()) };
    while let Some(bytes) = source.next().await {
        if control.write_stdin(&bytes?).await.is_err() {
            return Ok(());
        }
    }
    let _ = control.close_stdin().await;
    Ok(())
}
