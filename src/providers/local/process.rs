//! A process of a local sandbox: what it writes, and messages to the agent that started it.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use computesdk_agent::protocol::Request;
use tokio::time::timeout;

use super::instance::LocalInstance;
use super::pipe::{CHUNK, Pipe};
use super::pty::Pty;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Chunk, Control, Exit, Output, Process, Size, Wanted};
use crate::providers::answers::Ending;

/// Standard output and error of a process.
#[derive(Debug)]
pub(super) struct LocalOutput {
    stdout: Stream,
    stderr: Stream,
    ending: Ending,
    ended: bool,
}

/// One of them. After the end of the process it is read up to what was in it then, and not further: what
/// others write to it is theirs.
#[derive(Debug)]
struct Stream {
    pipe: Option<Pipe>,
    left: usize,
}

impl Stream {
    fn new(pipe: Pipe) -> Self {
        Self { pipe: Some(pipe), left: CHUNK }
    }

    /// The next piece; empty where there will be no more. Never ready on a stream that is over.
    async fn next(&mut self, ended: bool) -> Bytes {
        let Some(pipe) = &self.pipe else { return std::future::pending().await };
        let bytes = pipe.read(self.left).await.unwrap_or_default();
        if ended {
            self.left -= bytes.len();
        }
        if bytes.is_empty() || self.left == 0 {
            self.pipe = None;
        }
        bytes
    }

    fn end(&mut self) {
        if let Some(pipe) = &self.pipe {
            self.left = pipe.waiting();
            if self.left == 0 {
                self.pipe = None;
            }
        }
    }
}

impl LocalOutput {
    pub(super) fn new(stdout: Pipe, stderr: Pipe, ending: Ending) -> Self {
        Self { stdout: Stream::new(stdout), stderr: Stream::new(stderr), ending, ended: false }
    }
}

#[async_trait]
impl Output for LocalOutput {
    async fn next(&mut self, wanted: Wanted) -> Option<Chunk> {
        loop {
            let over = self.stdout.pipe.is_none() && self.stderr.pipe.is_none();
            if over && self.ended {
                return None;
            }
            let chunk = tokio::select! {
                // What is not wanted may be all that there is: then its reader is waited for.
                () = std::future::pending() => continue,
                bytes = self.stdout.next(self.ended), if wanted.stdout => Chunk::Stdout(bytes),
                bytes = self.stderr.next(self.ended), if wanted.stderr => Chunk::Stderr(bytes),
                _ = self.ending.wait_for(Option::is_some), if !self.ended => {
                    self.ended = true;
                    self.stdout.end();
                    self.stderr.end();
                    continue;
                }
            };
            match &chunk {
                Chunk::Stdout(bytes) | Chunk::Stderr(bytes) if bytes.is_empty() => {}
                _ => return Some(chunk),
            }
        }
    }
}

/// The handle to a process.
#[derive(Debug)]
pub(super) struct LocalControl {
    pub(super) instance: Arc<LocalInstance>,
    pub(super) id: u32,
    pub(super) pid: u32,
    pub(super) input: Mutex<Option<Input>>,
    pub(super) ending: Ending,
}

impl Drop for LocalControl {
    fn drop(&mut self) {
        self.instance.link().forget(self.id);
    }
}

/// What a process reads from. Its terminal is open as long as somebody reads it.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Pipe(Arc<Pipe>),
    Terminal(Weak<Pty>),
}

impl LocalControl {
    fn input(&self) -> Option<Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn terminal(&self) -> Result<Weak<Pty>> {
        match self.input() {
            Some(Input::Terminal(terminal)) => Ok(terminal),
            _ => Err(no_terminal()),
        }
    }
}

fn no_terminal() -> Error {
    Error::unsupported("this process has no terminal")
}

#[async_trait]
impl Control for LocalControl {
    fn pid(&self) -> u32 {
        self.pid
    }

    async fn wait(&self) -> Result<Exit> {
        let mut ending = self.ending.clone();
        // The sandbox can end first, and then nobody knows how the process ended.
        let exit = ending.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
        exit.ok_or_else(|| self.instance.gone())
    }

    fn has_starved(&self) -> bool {
        self.instance.link().has_starved(self.id)
    }

    async fn write_stdin(&self, bytes: &[u8]) -> Result<()> {
        let closed = || Error::new(ErrorKind::Unavailable, "the command no longer reads its input");
        let written = match self.input().ok_or_else(closed)? {
            Input::Pipe(pipe) => pipe.write(bytes).await,
            Input::Terminal(terminal) => terminal.upgrade().ok_or_else(closed)?.write(bytes).await,
        };
        written.map_err(|error| closed().with_source(error))
    }

    async fn close_stdin(&self) -> Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.take_if(|input| matches!(input, Input::Pipe(_)));
        Ok(())
    }

    async fn signal(&self, signal: i32) -> Result<()> {
        self.instance.tell(Request::Signal { target: self.id, signal }).await
    }

    async fn kill(&self) -> Result<()> {
        self.instance.tell(Request::Kill { target: self.id }).await
    }

    async fn resize(&self, size: Size) -> Result<()> {
        let closed = || Error::new(ErrorKind::Unavailable, "the terminal is closed");
        self.terminal()?.upgrade().ok_or_else(closed)?.resize(size)
    }

    async fn hang_up(&self, grace: Duration) -> Result<()> {
        self.terminal()?;
        let target = self.id;
        let asked = self.instance.ask(|id| Request::HangUp { id, target });
        timeout(grace, asked).await.map_or(Ok(()), |gone| gone.map(drop))
    }
}

/// The largest number that the kernel gives to a process (`proc_sys_kernel(5)`). What was not started has one beyond
/// it, its own, so that it is found again and taken for nothing else.
const PID_MAX: u32 = 1 << 22;

/// What came of a program that could not be started: it says so and exits, as in a shell; at a terminal, if it was to
/// have one.
pub(in crate::providers) fn not_run(id: u32, program: &str, errno: i32, terminal: bool) -> Process {
    let (code, reason) = match rustix::io::Errno::from_raw_os_error(errno) {
        rustix::io::Errno::NOENT => (127, "command not found".to_owned()),
        rustix::io::Errno::ACCESS => (126, "permission denied".to_owned()),
        rustix::io::Errno::NOEXEC => (126, "cannot execute: not a program".to_owned()),
        errno => (126, std::io::Error::from(errno).to_string()),
    };
    let message = format!("computesdk: {program}: {reason}");
    let said = match terminal {
        true => Chunk::Stdout(Bytes::from(message + "\r\n")),
        false => Chunk::Stderr(Bytes::from(message + "\n")),
    };
    let pid = PID_MAX.saturating_add(id);
    let output = NotRun { pid, said: Some(said), code };
    Process { output: Box::new(output), control: Arc::new(NotRun { pid, said: None, code }) }
}

#[derive(Debug)]
struct NotRun {
    pid: u32,
    said: Option<Chunk>,
    code: i32,
}

#[async_trait]
impl Output for NotRun {
    async fn next(&mut self, _: Wanted) -> Option<Chunk> {
        self.said.take()
    }
}

#[async_trait]
impl Control for NotRun {
    fn pid(&self) -> u32 {
        self.pid
    }
    async fn wait(&self) -> Result<Exit> {
        Ok(Exit::Code(self.code))
    }
    async fn write_stdin(&self, _: &[u8]) -> Result<()> {
        Err(Error::new(ErrorKind::Unavailable, "the command no longer reads its input"))
    }
    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }
    async fn signal(&self, _: i32) -> Result<()> {
        Ok(())
    }
    async fn kill(&self) -> Result<()> {
        Ok(())
    }
    async fn resize(&self, _: Size) -> Result<()> {
        Err(no_terminal())
    }
    async fn hang_up(&self, _: Duration) -> Result<()> {
        Err(no_terminal())
    }
}
