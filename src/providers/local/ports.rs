//! The ports of a sandbox: for each that is asked for a listener on this machine's loopback address, and
//! whatever connects to it carried to the sandbox's own.
//!
//! The way in is a socket that the agent makes and hands out. It belongs to the sandbox's network, whoever
//! uses it: connecting it leads to what listens inside, and could lead nowhere else.
//!
//! Everything is owned by what it came from, the connections by their listener and the listeners by
//! [`Ports`], so that nothing of it outlives the sandbox.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::descriptor::watch;
use super::link::Link;
use super::listener;
use super::tcp::{self, Socket};
use crate::error::{Error, ErrorKind, Result};

/// Connections of a sandbox at once. More wait until there is room.
const CONNECTIONS: usize = 1024;

/// Ports of a sandbox that can be reached. Each costs this process a descriptor until the sandbox ends, and who asks for
/// them may be a stranger.
const PORTS: usize = 256;

/// How long a server inside may leave a connection waiting before it is given up.
pub(in crate::providers) const PATIENCE: Duration = Duration::from_secs(10);

/// The way into one sandbox.
#[async_trait]
pub(in crate::providers) trait Way: Debug + Send + Sync {
    /// Is cancelled when the sandbox has ended.
    fn closed(&self) -> &CancellationToken;

    /// Carries a connection to one of its ports, to its end.
    async fn carry(&self, client: Socket, port: u16) -> io::Result<()>;
}

/// The ports of one sandbox that can be reached.
#[derive(Debug)]
pub(in crate::providers) struct Ports {
    way: Arc<dyn Way>,
    room: Arc<Semaphore>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// The port of this machine for each of the sandbox.
    ways: HashMap<u16, u16>,
    listeners: JoinSet<()>,
}

impl Ports {
    /// Those of the sandbox that this way leads into; none can be reached yet.
    pub(in crate::providers) fn new(way: Arc<dyn Way>) -> Self {
        Self { way, room: Arc::new(Semaphore::new(CONNECTIONS)), open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The port of this machine that leads to `port` of the sandbox: always the same one. `None` if the
    /// sandbox has ended, an error if too many others can be reached already.
    pub(in crate::providers) fn way_to(&self, port: u16) -> Result<Option<u16>> {
        let mut open = self.open();
        if self.way.closed().is_cancelled() {
            return Ok(None);
        }
        if let Some(here) = open.ways.get(&port) {
            return Ok(Some(*here));
        }
        if open.ways.len() == PORTS {
            let message =
                format!("port {port} of the sandbox cannot be reached: {PORTS} others can be already");
            return Err(Error::new(ErrorKind::QuotaExceeded, message)
                .with_hint("serve more at one port, or in another sandbox"));
        }
        let (listener, here) = listen().map_err(|error| no_listener(port, error))?;
        let listener = watch(listener)?;
        let way = Arc::clone(&self.way);
        let carried = move |client| connection(client, port, Arc::clone(&way));
        open.listeners.spawn(listener::serve(
            listener,
            self.way.closed().clone(),
            Arc::clone(&self.room),
            carried,
        ));
        open.ways.insert(port, here);
        Ok(Some(here))
    }

    /// Waits until nothing of them is left, once the sandbox has ended.
    pub(in crate::providers) async fn closed(&self) {
        let mut listeners = std::mem::take(&mut self.open().listeners);
        while listeners.join_next().await.is_some() {}
    }
}

/// A listener on the loopback address, at a port of the kernel's choice.
fn listen() -> rustix::io::Result<(OwnedFd, u16)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, CONNECTIONS as i32)?;
    let here = SocketAddrV4::try_from(rustix::net::getsockname(&listener)?)?;
    Ok((listener, here.port()))
}

fn no_listener(port: u16, errno: rustix::io::Errno) -> Error {
    Error::new(ErrorKind::Unavailable, format!("port {port} of the sandbox cannot be reached: {errno}"))
        .with_hint(
            "this process may have too many descriptors open (`ulimit -n`), or no port of 127.0.0.1 is free",
        )
        .with_source(io::Error::from(errno))
}

/// Carries one connection to its end.
async fn connection(client: OwnedFd, port: u16, way: Arc<dyn Way>) {
    let carried = async { way.carry(Socket::new(client)?, port).await };
    if let Err(error) = carried.await {
        tracing::debug!(port, %error, "a connection was reset");
    }
}

#[async_trait]
impl Way for Link {
    fn closed(&self) -> &CancellationToken {
        self.closed()
    }

    async fn carry(&self, client: Socket, port: u16) -> io::Result<()> {
        let inside = tokio::time::timeout(PATIENCE, connect(self, port)).await??;
        tcp::carry(self, &client, &inside).await
    }
}

/// A connection to what listens inside: on IPv4, else on IPv6.
async fn connect(link: &Link, port: u16) -> io::Result<Socket> {
    match tcp::connect(link, SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tcp::connect(link, SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await
        }
        result => result,
    }
}
