//! Our end of a terminal in a sandbox: what the agent calls its master side (`pty(7)`).

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{FileType, OFlags};
use rustix::termios::Winsize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::descriptor::{watch, when_ready};
use super::error::nonsense;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Chunk, Output, Size, Wanted};
use crate::providers::answers::Ending;

/// Bytes read at once: what a terminal holds, as Linux has it.
const CHUNK: usize = 4096;
/// How long what was shown before the end of the process may take to arrive, if others keep the terminal open, and how
/// much it can be: the kernel's buffers hold less (`tty_buffer.c`). The rest is theirs.
const REST: Duration = Duration::from_millis(200);
const HELD: usize = 128 * 1024;
/// How often a terminal is looked at that nobody holds any more, though its process runs.
const PAUSE: Duration = Duration::from_millis(100);
/// The device number of `/dev/ptmx`, and the type of the file system that terminals are on
/// (`linux/major.h`, `linux/magic.h`).
const PTMX: (u32, u32) = (5, 2);
const DEVPTS: u64 = 0x1cd1;

#[derive(Debug)]
pub(super) struct Pty(AsyncFd<OwnedFd>);

impl Pty {
    /// Takes a descriptor from an agent, if it is a terminal's. It never blocks, whatever the agent did to it.
    pub(super) fn new(fd: OwnedFd) -> Result<Self> {
        let stat = rustix::fs::fstat(&fd).map_err(|_| nonsense())?;
        let system = rustix::fs::fstatfs(&fd).map_err(|_| nonsense())?;
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let is_terminal = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && device == PTMX
            && system.f_type as u64 == DEVPTS;
        if !is_terminal {
            return Err(nonsense());
        }
        rustix::fs::fcntl_getfl(&fd)
            .and_then(|flags| rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK))
            .map_err(|_| nonsense())?;
        watch(fd).map(Self)
    }

    /// Reads what was shown; empty when nothing holds the other side any more (the kernel says `EIO`).
    async fn read(&self) -> Bytes {
        let mut buffer = Vec::with_capacity(CHUNK);
        let read = when_ready(&self.0, Interest::READABLE, |fd| {
            rustix::io::read(fd, rustix::buffer::spare_capacity(&mut buffer)).map_err(Into::into)
        });
        match read.await {
            Ok(_) => Bytes::from(buffer),
            Err(_) => Bytes::new(),
        }
    }

    pub(super) async fn write(&self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let write = |fd: &OwnedFd| rustix::io::write(fd, bytes).map_err(Into::into);
            let written = when_ready(&self.0, Interest::WRITABLE, write).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Changes the size; the kernel tells what runs in the foreground.
    pub(super) fn resize(&self, size: Size) -> Result<()> {
        let size = Winsize { ws_col: size.cols, ws_row: size.rows, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(self.0.get_ref(), size).map_err(|errno| {
            Error::new(ErrorKind::Unavailable, "the terminal cannot be resized")
                .with_source(std::io::Error::from(errno))
        })
    }
}

/// What a terminal shows.
#[derive(Debug)]
pub(super) struct PtyOutput {
    terminal: Arc<Pty>,
    ending: Ending,
    /// After the end of the process: how long it is read, and how far.
    rest: Option<(Instant, usize)>,
    over: bool,
}

impl PtyOutput {
    pub(super) fn new(terminal: Arc<Pty>, ending: Ending) -> Self {
        Self { terminal, ending, rest: None, over: false }
    }
}

#[async_trait]
impl Output for PtyOutput {
    async fn next(&mut self, wanted: Wanted) -> Option<Chunk> {
        while !self.over {
            let until = self.rest.map(|(until, _)| until);
            tokio::select! {
                biased;
                // Seen first: a terminal that others fill without end is always readable.
                () = end_of(&mut self.ending), if self.rest.is_none() => {
                    self.rest = Some((Instant::now() + REST, HELD));
                }
                bytes = self.terminal.read(), if wanted.stdout => match &mut self.rest {
                    None if bytes.is_empty() => {
                        // It can be opened again, as /dev/tty.
                        let _ = tokio::time::timeout(PAUSE, end_of(&mut self.ending)).await;
                    }
                    None => return Some(Chunk::Stdout(bytes)),
                    Some((_, held)) => {
                        *held = held.saturating_sub(bytes.len());
                        self.over = bytes.is_empty() || *held == 0;
                        if !bytes.is_empty() {
                            return Some(Chunk::Stdout(bytes));
                        }
                    }
                },
                () = sleep_until(until), if wanted.stdout => self.over = true,
                () = std::future::pending() => {}
            }
        }
        None
    }
}

async fn end_of(ending: &mut Ending) {
    let _ = ending.wait_for(Option::is_some).await;
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
