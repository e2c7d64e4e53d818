//! The network of a sandbox: the one way out of it, and who judges what goes there.
//!
//! A sandbox has a loopback device and nothing else, whatever it may reach. The way out are listeners on addresses of
//! that device which process 1 makes the sockets of and this process accepts on: a proxy, and for each host that is
//! allowed by its exact name and port a listener that leads there, for programs that know no proxy. So no packet of a
//! sandbox is ever routed, there is no rule to forget, and it works for every user.
//!
//! * `policy` – what is allowed; `host` – the one form in which hosts are compared; `address` – what is never public.
//! * `dial` – from a host to a connection: judged, resolved here, judged again, and the judged address dialled.
//! * `proxy` over `upstream` – HTTP; `log` – what was decided.
//! * `access` – what all of that means for the plan and the environment.
//!
//! Everything is owned by what it came from, the connections by their listener and the listeners by [`Outlet`], so that
//! nothing of it outlives the sandbox.

mod access;
mod address;
mod dial;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod host;
mod log;
mod policy;
mod proxy;
#[cfg(test)]
mod tests;
mod upstream;

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub(super) use self::access::Access;
use self::dial::Dialer;
use super::descriptor::watch;
use super::link::Link;
use super::listener;
use super::tcp::{self, Socket};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Contact;

/// Connections of a sandbox at once. More wait until there is room.
const CONNECTIONS: usize = 256;

/// Sockets that are asked for at once: the kernel counts those that are on their way.
const AT_ONCE: usize = 16;

/// The way out of one sandbox.
#[derive(Debug)]
pub(super) struct Outlet {
    dialer: Arc<Dialer>,
    listeners: Mutex<JoinSet<()>>,
}

/// Where a listener leads.
#[derive(Clone, Debug)]
enum Way {
    /// To whatever the client asks the proxy for.
    Proxy,
    /// To this host and port, whatever the client says.
    Direct(String, u16),
}

impl Outlet {
    /// Opens it for the sandbox at the other end of a link, which somebody must be serving.
    pub(super) async fn open(access: &Access, link: &Arc<Link>) -> Result<Self> {
        let dialer = Arc::new(Dialer::new(access.policy().clone()));
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let direct = access.doors().map(|(at, name, port)| (at, Way::Direct(name.to_owned(), port)));
        let ways: Vec<_> = std::iter::once((access::PROXY, Way::Proxy)).chain(direct).collect();
        let mut listeners = JoinSet::new();
        for some in ways.chunks(AT_ONCE) {
            let open = try_join_all(some.iter().map(|(at, _)| listen(link, *at))).await?;
            for (listener, (_, way)) in open.into_iter().zip(some) {
                let (way, dialer, ours) = (way.clone(), Arc::clone(&dialer), Arc::clone(link));
                let carry =
                    move |client| connection(client, way.clone(), Arc::clone(&dialer), Arc::clone(&ours));
                listeners.spawn(listener::serve(listener, link.closed().clone(), Arc::clone(&room), carry));
            }
        }
        Ok(Self { dialer, listeners: Mutex::new(listeners) })
    }

    /// The latest decisions, the oldest first.
    pub(super) fn log(&self) -> Vec<Contact> {
        self.dialer.log().entries()
    }

    /// Waits until nothing of it is left, once the link is closed.
    pub(super) async fn closed(&self) {
        let mut listeners =
            std::mem::take(&mut *self.listeners.lock().unwrap_or_else(PoisonError::into_inner));
        while listeners.join_next().await.is_some() {}
    }
}

async fn listen(link: &Link, at: SocketAddrV4) -> Result<AsyncFd<OwnedFd>> {
    watch(tcp::listen(link, at, CONNECTIONS as i32).await.map_err(|error| no_way(at, error))?)
}

fn no_way(at: SocketAddrV4, error: io::Error) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("`network`: {at} inside the sandbox cannot be listened on: {error}"),
    )
    .with_hint("this process may have too many descriptors open (`ulimit -n` tells); fewer names need fewer")
    .with_source(error)
}

/// Carries one connection of a sandbox to its end.
async fn connection(client: OwnedFd, way: Way, dialer: Arc<Dialer>, link: Arc<Link>) {
    let carried = match &way {
        Way::Proxy => proxy::serve(client, &dialer, &link).await,
        Way::Direct(host, port) => direct(client, host, *port, &dialer, &link).await,
    };
    if let Err(error) = carried {
        tracing::debug!(?way, %error, "a connection out of a sandbox was reset");
    }
}

/// A client that has no idea of a proxy: whatever it says goes to the one host, and is between the two.
async fn direct(client: OwnedFd, host: &str, port: u16, dialer: &Dialer, link: &Link) -> io::Result<()> {
    // Reset, and not ended, if nothing comes of it.
    let client = Socket::new(client)?;
    let server = dialer.dial(host, port).await.map_err(io::Error::other)?;
    tcp::carry(link, &client, &Socket::from_stream(server)?).await
}
