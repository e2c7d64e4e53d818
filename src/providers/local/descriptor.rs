//! Waiting for a descriptor to be readable or writable.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, ErrorKind, Result};

/// How often a descriptor is tried that was closed on its other side and opened again.
const PAUSE: Duration = Duration::from_millis(20);

/// Does, as soon as it can be done, what would have to wait now.
///
/// What has once been closed on its other side is believed to be ready for ever, which tokio's own `async_io` tries
/// without a pause. But in a sandbox pipes and terminals can be opened again, and filled so that nothing can be done.
pub(super) async fn when_ready<T>(
    fd: &AsyncFd<OwnedFd>,
    interest: Interest,
    mut work: impl FnMut(&OwnedFd) -> std::io::Result<T>,
) -> std::io::Result<T> {
    loop {
        tokio::task::consume_budget().await;
        let mut ready = fd.ready(interest).await?;
        let was_closed = ready.ready().is_read_closed() || ready.ready().is_write_closed();
        if let Ok(done) = ready.try_io(|fd| work(fd.get_ref())) {
            return done;
        }
        drop(ready);
        if was_closed {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether the other end of a socket is open. The kernel is asked: nobody here may have noticed yet.
pub(super) fn is_open(socket: impl AsFd) -> bool {
    // That it is closed is told without being asked for.
    let mut polled = [PollFd::new(&socket, PollFlags::empty())];
    rustix::event::poll(&mut polled, Some(&Timespec::default())) != Ok(1)
}

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
