//! Our ends of the pipes of a process.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::fs::{FileType, OFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::descriptor::{watch, when_ready};
use super::error::nonsense;
use crate::error::Result;

/// Bytes read at once: what a pipe holds.
pub(super) const CHUNK: usize = 64 * 1024;

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
        let read = when_ready(&self.0, Interest::READABLE, |fd| {
            rustix::io::read(fd, rustix::buffer::spare_capacity(&mut buffer)).map_err(Into::into)
        });
        read.await?;
        Ok(Bytes::from(buffer))
    }

    pub(super) async fn write(&self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let write = |fd: &OwnedFd| rustix::io::write(fd, bytes).map_err(Into::into);
            let written = when_ready(&self.0, Interest::WRITABLE, write).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Bytes that can be read without waiting.
    pub(super) fn waiting(&self) -> usize {
        rustix::io::ioctl_fionread(self.0.get_ref()).map_or(0, |bytes| bytes as usize)
    }
}
