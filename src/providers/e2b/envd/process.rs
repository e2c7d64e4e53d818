//! A process that runs in a sandbox: what it writes, and what can be asked of it.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{Semaphore, mpsc};

use super::Envd;
use super::messages::{
    Empty, EndEvent, ProcessInput, ProcessRequest, ProcessSelector, Pty, PtySize, SendInputRequest,
    SendSignalRequest, Signal, UpdateRequest,
};
use crate::error::{Error, ErrorKind, Result};
use crate::process::Ending;
use crate::provider::{Chunk, Control, Exit, Output, Size, Wanted};
use crate::signal;
use crate::transport::Repeat;

/// Bytes of input that are sent at once.
const INPUT: usize = 1 << 20;
/// How often a server is to say something on a stream that is silent otherwise, in seconds.
const KEEPALIVE: u16 = 5;

/// Asks for signs of life.
pub(super) fn keepalives(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("keepalive-ping-interval"), HeaderValue::from(KEEPALIVE));
}

/// What Go calls the signals, from 1 on: envd tells how a process ended in its words.
const SIGNALS: [&str; 31] = [
    "hangup",
    "interrupt",
    "quit",
    "illegal instruction",
    "trace/breakpoint trap",
    "aborted",
    "bus error",
    "floating point exception",
    "killed",
    "user defined signal 1",
    "segmentation fault",
    "user defined signal 2",
    "broken pipe",
    "alarm clock",
    "terminated",
    "stack fault",
    "child exited",
    "continued",
    "stopped (signal)",
    "stopped",
    "stopped (tty input)",
    "stopped (tty output)",
    "urgent I/O condition",
    "CPU time limit exceeded",
    "file size limit exceeded",
    "virtual timer expired",
    "profiling timer expired",
    "window changed",
    "I/O possible",
    "power failure",
    "bad system call",
];

/// How a process ended, by what envd says of it.
pub(super) fn exit_of(end: &EndEvent) -> Exit {
    if end.exited {
        return Exit::Code(end.exit_code);
    }
    let status = end.status.strip_suffix(" (core dumped)").unwrap_or(&end.status);
    let name = status.strip_prefix("signal: ").unwrap_or(status);
    let by_name = SIGNALS.iter().position(|signal| *signal == name).map(|at| at as i32 + 1);
    match by_name.or_else(|| name.strip_prefix("signal ")?.parse().ok()) {
        Some(signal) => Exit::Signal(signal),
        None if end.exit_code >= 0 => Exit::Code(end.exit_code),
        None => Exit::Signal(signal::KILL),
    }
}

/// What a process writes, as it was heard.
#[derive(Debug)]
pub(super) struct E2bOutput {
    pub(super) chunks: mpsc::UnboundedReceiver<Chunk>,
    /// The next, that nobody wanted yet.
    pub(super) next: Option<Chunk>,
    /// For how many more pieces there is room; closed, everything is taken.
    pub(super) room: Arc<Semaphore>,
    /// Something was not heard.
    pub(super) gaps: Arc<AtomicBool>,
}

#[async_trait]
impl Output for E2bOutput {
    async fn next(&mut self, wanted: Wanted) -> Option<Chunk> {
        if self.next.is_none() {
            self.next = Some(self.chunks.recv().await?);
        }
        let is_wanted = match self.next {
            Some(Chunk::Stderr(_)) => wanted.stderr,
            _ => wanted.stdout,
        };
        if !is_wanted {
            // Until somebody asks for something else.
            return std::future::pending().await;
        }
        self.room.add_permits(1);
        self.next.take()
    }

    fn has_gaps(&self) -> bool {
        self.gaps.load(Ordering::Relaxed)
    }
}

/// Where the input of a process goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// It has none.
    Nothing,
    Pipe,
    Terminal,
}

/// The handle to a process.
#[derive(Debug)]
pub(super) struct E2bControl {
    pub(super) envd: Envd,
    pub(super) pid: u32,
    /// By which all that came of it is found.
    pub(super) mark: String,
    pub(super) input: Input,
    pub(super) input_ended: AtomicBool,
    pub(super) room: Arc<Semaphore>,
    pub(super) ending: Ending,
}

impl E2bControl {
    fn has_ended(&self) -> bool {
        self.ending.has_come()
    }

    fn selector(&self) -> Option<ProcessSelector> {
        Some(ProcessSelector::by_pid(self.pid))
    }

    async fn send_input(&self, bytes: &[u8]) -> Result<()> {
        let bytes = Some(Bytes::copy_from_slice(bytes));
        let input = match self.input {
            Input::Terminal => ProcessInput { pty: bytes, stdin: None },
            _ => ProcessInput { stdin: bytes, pty: None },
        };
        let request = SendInputRequest { process: self.selector(), input: Some(input) };
        let (method, headers) = ("process.Process/SendInput", HeaderMap::new());
        // It is answered once the process has made room for it, however long that takes.
        match self.envd.service().call::<_, Empty>(method, &request, &headers, Repeat::Unsent).await {
            Ok(_) => Ok(()),
            Err(fault) => Err(self.envd.error(fault).await),
        }
    }

    /// Kills the process itself, and nothing that came of it.
    async fn kill_the_first(&self) -> Result<()> {
        let request = SendSignalRequest { process: self.selector(), signal: Signal::Kill.into() };
        self.envd.call::<_, Empty>("process.Process/SendSignal", &request, Repeat::Idempotent).await.map(drop)
    }

    /// What was done to a process that has gone meanwhile, with its sandbox or without, has come true.
    fn or_gone(&self, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if error.kind() == ErrorKind::NotFound || self.has_ended() => Ok(()),
            done => done,
        }
    }
}

fn no_terminal() -> Error {
    Error::unsupported("this process has no terminal")
}

#[async_trait]
impl Control for E2bControl {
    fn pid(&self) -> u32 {
        self.pid
    }

    async fn wait(&self) -> Result<Exit> {
        self.ending.wait().await
    }

    async fn write_stdin(&self, bytes: &[u8]) -> Result<()> {
        let closed = || Error::new(ErrorKind::Unavailable, "the command no longer reads its input");
        if self.input == Input::Nothing || self.input_ended.load(Ordering::Relaxed) || self.has_ended() {
            return Err(closed());
        }
        for piece in bytes.chunks(INPUT) {
            self.send_input(piece).await.map_err(|error| match error.kind() {
                // It has ended, or has closed what it reads from.
                ErrorKind::NotFound | ErrorKind::Internal => closed().with_source(error),
                _ => error,
            })?;
        }
        Ok(())
    }

    async fn close_stdin(&self) -> Result<()> {
        if self.input != Input::Pipe || self.has_ended() || self.input_ended.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let request = ProcessRequest { process: self.selector() };
        let closed =
            self.envd.call::<_, Empty>("process.Process/CloseStdin", &request, Repeat::Idempotent).await;
        self.or_gone(closed.map(drop))
    }

    async fn signal(&self, signal: i32) -> Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        if !(1..=64).contains(&signal) {
            return Err(Error::invalid(format!("there is no signal {signal}")));
        }
        // envd could send SIGTERM itself as well, but then forgets what the process writes while it ends.
        self.or_gone(match signal {
            signal::KILL => self.kill_the_first().await,
            _ => self.envd.send_signal(signal, self.pid).await,
        })
    }

    async fn kill(&self) -> Result<()> {
        // What was written before the end is read whether or not there is room for it: little, from now on.
        self.room.close();
        let running = (!self.has_ended()).then_some(self.pid);
        let Err(error) = self.or_gone(self.envd.kill_tree(&self.mark, running).await) else { return Ok(()) };
        if running.is_none() {
            return Err(error);
        }
        // Where nothing more can be started, as where a limit of processes is used up, envd can still do this.
        self.or_gone(self.kill_the_first().await).map_err(|_| error)
    }

    async fn resize(&self, size: Size) -> Result<()> {
        if self.input != Input::Terminal {
            return Err(no_terminal());
        }
        let request = UpdateRequest { process: self.selector(), pty: Some(size.into()) };
        self.envd.call::<_, Empty>("process.Process/Update", &request, Repeat::Idempotent).await.map(drop)
    }

    async fn hang_up(&self, grace: Duration) -> Result<()> {
        if self.input != Input::Terminal {
            return Err(no_terminal());
        }
        let told = self.envd.hang_up_tree(&self.mark, self.pid, !self.has_ended(), grace).await;
        self.or_gone(told)
    }
}

impl From<Size> for Pty {
    fn from(Size { cols, rows }: Size) -> Self {
        Self { size: Some(PtySize { cols: cols.into(), rows: rows.into() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_by_number_or_by_signal() {
        let end = |exit_code, exited, status: &str| {
            exit_of(&EndEvent { exit_code, exited, status: status.to_owned(), error: None })
        };
        assert_eq!(end(0, true, "exit status 0"), Exit::Code(0));
        assert_eq!(end(127, true, "exit status 127"), Exit::Code(127));
        assert_eq!(end(-1, false, "signal: killed"), Exit::Signal(9));
        assert_eq!(end(-1, false, "signal: segmentation fault (core dumped)"), Exit::Signal(11));
        assert_eq!(end(-1, false, "signal: signal 34"), Exit::Signal(34));
        // One that was taken over from another envd is told otherwise.
        assert_eq!(end(143, false, "terminated"), Exit::Signal(15));
        assert_eq!(end(3, false, "exited"), Exit::Code(3));
        assert_eq!(end(-1, false, "whatever"), Exit::Signal(9));
    }
}
