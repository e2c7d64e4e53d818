//! Waiting for a descriptor to be readable or writable.

use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

use crate::error::{Error, ErrorKind, Result};

/// Registers a descriptor with the runtime of the caller.
#[expect(unsafe_code, reason = "tokio asks its caller to promise what ownership gives here")]
pub(super) fn watch(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` refers to the same open file until it is dropped, and `AsyncFd` owns it until it
    // has deregistered it.
    let watched = unsafe { AsyncFd::register(fd) };
    watched.map_err(|error| {
        Error::new(ErrorKind::Unavailable, "a descriptor cannot be watched")
            .with_hint("this process may have too many open: `ulimit -n` tells")
            .with_source(error)
    })
}
