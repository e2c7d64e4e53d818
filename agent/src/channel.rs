//! Sending and receiving one message with its descriptors.
//!
//! The socket may be blocking (broker, agent) or not (core). A message longer than a datagram goes in a
//! sealed memfd, whose descriptor is then the first of those beside it; only the core sends such messages.

use std::ffi::CStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::{Errno, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::protocol::DATAGRAM;

/// The most descriptors that one message carries.
pub const DESCRIPTORS: usize = 32;

const INLINE: u8 = 0;
const IN_MEMFD: u8 = 1;

/// Sends `message` with `descriptors` beside it.
pub fn send(socket: impl AsFd, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    if message.len() < DATAGRAM {
        return send_datagram(socket, &[&[INLINE], message], descriptors);
    }
    let memfd = sealed(message)?;
    let all: Vec<_> = std::iter::once(memfd.as_fd()).chain(descriptors.iter().copied()).collect();
    send_datagram(socket, &[&[IN_MEMFD]], &all)
}

fn send_datagram(socket: impl AsFd, parts: &[&[u8]], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    rustix::net::sendmsg(socket, &parts, &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// A message as it came; its bytes are in the buffer given to [`receive`] or in `large`.
#[derive(Debug)]
pub struct Received {
    length: usize,
    large: Option<Vec<u8>>,
    /// The descriptors beside the message, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

impl Received {
    /// The bytes of the message; `buffer` is the one it was received into.
    pub fn bytes<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        match &self.large {
            Some(bytes) => bytes,
            None => &buffer[1..self.length],
        }
    }
}

/// Receives one message. `None` is the end: the other side has closed.
///
/// `large` tells whether a message in a memfd is taken: the agent trusts the core that far, the core does
/// not trust the agent. A message that was cut short is [`Errno::MSGSIZE`].
pub fn receive(socket: impl AsFd, buffer: &mut [u8], large: bool) -> Result<Option<Received>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    // Descriptors can be missing, where this process may have no more open: who wants them will say so.
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    let large = match buffer[0] {
        INLINE => None,
        IN_MEMFD if large && !descriptors.is_empty() => Some(content(&descriptors.remove(0))?),
        _ => return Err(Errno::BADMSG),
    };
    Ok(Some(Received { length: received.bytes, large, descriptors }))
}

/// A file in memory with these bytes, which nobody can change any more.
pub fn sealed(bytes: &[u8]) -> Result<OwnedFd> {
    sealed_with(c"computesdk", MemfdFlags::empty(), bytes)
}

/// Likewise, with a name that /proc shows and flags of the caller's.
pub fn sealed_with(name: &CStr, flags: MemfdFlags, bytes: &[u8]) -> Result<OwnedFd> {
    let memfd = rustix::fs::memfd_create(name, flags | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&memfd, rest)?;
        rest = &rest[written..];
    }
    rustix::fs::fcntl_add_seals(
        &memfd,
        SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    rustix::fs::seek(&memfd, rustix::fs::SeekFrom::Start(0))?;
    Ok(memfd)
}

fn content(file: &OwnedFd) -> Result<Vec<u8>> {
    let size = rustix::fs::fstat(file)?.st_size as usize;
    let mut bytes = vec![0; size];
    let mut at = 0;
    while at < size {
        match rustix::io::pread(file, &mut bytes[at..], at as u64)? {
            0 => return Err(Errno::BADMSG),
            read => at += read,
        }
    }
    Ok(bytes)
}
