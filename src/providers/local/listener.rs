//! Whoever connects to a listener of a sandbox's: let in while there is room, and out when the sandbox ends.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long nobody is let in where this process can let nobody in, having no descriptors left for example.
const PAUSE: Duration = Duration::from_millis(50);

/// Lets clients in until the sandbox ends, and then closes everything. Each is carried to its end by a task of
/// its own and keeps its place in the `room` for so long; more wait until there is room.
pub(super) async fn serve<F>(
    listener: AsyncFd<OwnedFd>,
    closed: CancellationToken,
    room: Arc<Semaphore>,
    carry: impl Fn(OwnedFd) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = closed.cancelled() => break,
            Some(_) = connections.join_next() => {}
            next = next_client(&listener, &room) => {
                let Ok((client, place)) = next else { break };
                let carried = carry(client);
                connections.spawn(async move {
                    carried.await;
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// The next client, when there is room for it. An error is the end of this process.
async fn next_client(
    listener: &AsyncFd<OwnedFd>,
    room: &Arc<Semaphore>,
) -> io::Result<(OwnedFd, OwnedSemaphorePermit)> {
    loop {
        // A place is taken for a client that is there, not by each port that waits for one.
        let mut waiting = listener.readable().await?;
        let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match waiting.try_io(|listener| Ok(rustix::net::accept_with(listener, flags)?)) {
            Ok(Ok(client)) => return Ok((client, place)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a client cannot be let in");
                drop(place);
                tokio::time::sleep(PAUSE).await;
            }
            Err(_) => {}
        }
    }
}
