//! A process of a local sandbox: its pipes, and messages to the agent that started it.

use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use computesdk_agent::protocol::Request;
use rustix::fs::{FileType, OFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::descriptor::watch;
use super::error::nonsense;
use super::instance::LocalInstance;
use super::link::Ending;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Chunk, Control, Exit, Output, Process};

/// Bytes read at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// One of our ends of a pipe.
#[derive(Debug)]
pub(super) struct Pipe(AsyncFd<OwnedFd>);

impl Pipe {
    /// Takes a descriptor from an agent, if it is a pipe. It never blocks, whatever the agent did to it.
    pub(super) fn new(fd: OwnedFd) -> Result<Self> {
        let is_pipe =
            rustix::fs::fstat(&fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        if !is_pipe {
            return Err(nonsense());
        }
        rustix::fs::fcntl_getfl(&fd)
            .and_then(|flags| rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK))
            .map_err(|_| nonsense())?;
        watch(fd).map(Self)
    }

    /// Reads what is there, at most `most` bytes; empty at the end.
    pub(super) async fn read(&self, most: usize) -> std::io::Result<Bytes> {
        let mut buffer = Vec::with_capacity(most.min(CHUNK));
        self.0
            .async_io(Interest::READABLE, |fd| {
                rustix::io::read(fd, rustix::buffer::spare_capacity(&mut buffer)).map_err(Into::into)
            })
            .await?;
        Ok(Bytes::from(buffer))
    }

    async fn write(&self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let written = self
                .0
                .async_io(Interest::WRITABLE, |fd| rustix::io::write(fd, bytes).map_err(Into::into))
                .await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Bytes that can be read without waiting.
    fn waiting(&self) -> usize {
        rustix::io::ioctl_fionread(self.0.get_ref()).map_or(0, |bytes| bytes as usize)
    }
}

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
    async fn next(&mut self) -> Option<Chunk> {
        loop {
            let over = self.stdout.pipe.is_none() && self.stderr.pipe.is_none();
            if over && self.ended {
                return None;
            }
            let chunk = tokio::select! {
                bytes = self.stdout.next(self.ended) => Chunk::Stdout(bytes),
                bytes = self.stderr.next(self.ended) => Chunk::Stderr(bytes),
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
    pub(super) stdin: Mutex<Option<Arc<Pipe>>>,
    pub(super) ending: Ending,
}

impl LocalControl {
    fn stdin(&self) -> Option<Arc<Pipe>> {
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
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

    async fn write_stdin(&self, bytes: &[u8]) -> Result<()> {
        let closed = || Error::new(ErrorKind::Unavailable, "the command no longer reads its input");
        let pipe = self.stdin().ok_or_else(closed)?;
        pipe.write(bytes).await.map_err(|error| closed().with_source(error))
    }

    async fn close_stdin(&self) -> Result<()> {
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }

    async fn signal(&self, signal: i32) -> Result<()> {
        self.instance.tell(Request::Signal { target: self.id, signal }).await
    }

    async fn kill(&self) -> Result<()> {
        self.instance.tell(Request::Kill { target: self.id }).await
    }

    async fn resize(&self, _: u16, _: u16) -> Result<()> {
        Err(Error::unsupported("this process has no terminal"))
    }
}

/// What came of a program that could not be started: it says so and exits, as in a shell.
pub(super) fn not_run(program: &str, errno: i32) -> Process {
    let (code, reason) = match rustix::io::Errno::from_raw_os_error(errno) {
        rustix::io::Errno::NOENT => (127, "command not found".to_owned()),
        rustix::io::Errno::ACCESS => (126, "permission denied".to_owned()),
        rustix::io::Errno::NOEXEC => (126, "cannot execute: not a program".to_owned()),
        errno => (126, std::io::Error::from(errno).to_string()),
    };
    let message = Bytes::from(format!("computesdk: {program}: {reason}\n"));
    Process { output: Box::new(NotRun(Some(message), code)), control: Arc::new(NotRun(None, code)) }
}

#[derive(Debug)]
struct NotRun(Option<Bytes>, i32);

#[async_trait]
impl Output for NotRun {
    async fn next(&mut self) -> Option<Chunk> {
        self.0.take().map(Chunk::Stderr)
    }
}

#[async_trait]
impl Control for NotRun {
    fn pid(&self) -> u32 {
        0
    }
    async fn wait(&self) -> Result<Exit> {
        Ok(Exit::Code(self.1))
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
    async fn resize(&self, _: u16, _: u16) -> Result<()> {
        Err(Error::unsupported("this process has no terminal"))
    }
}
