//! From a host that a sandbox asks for to a connection: judged, resolved, judged again, dialled.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::address;
use super::host::Host;
use super::log::Log;
use super::policy::Policy;

/// How long a name may take to be resolved, and an address to be connected to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Addresses of a host that are tried, one after the other.
const ADDRESSES: usize = 4;

/// Names of a sandbox that are resolved at once, and of all. A thread waits for each, however long its servers take.
const LOOKUPS: usize = 8;
static ALL_LOOKUPS: Semaphore = Semaphore::const_new(64);

/// Turns a name into addresses, as this machine does for its own programs. It may take long.
type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Makes the connections of one sandbox.
#[derive(Debug)]
pub(super) struct Dialer {
    policy: Policy,
    resolve: Resolve,
    lookups: Arc<Semaphore>,
    log: Log,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// It is not allowed.
    #[error("it is refused: {0}")]
    Refused(&'static str),
    /// It is allowed, but nothing came of it.
    #[error("it cannot be reached: {0}")]
    Unreached(String),
    /// Likewise, within the time that there is for it.
    #[error("it did not answer in time")]
    Late,
}

impl Dialer {
    pub(super) fn new(policy: Policy) -> Self {
        Self::with(policy, |name, port| Ok((name, port).to_socket_addrs()?.collect()))
    }

    /// With a way of resolving names.
    pub(super) fn with(policy: Policy, resolve: Resolve) -> Self {
        Self { policy, resolve, lookups: Arc::new(Semaphore::new(LOOKUPS)), log: Log::default() }
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Connects to a host. A name that is not allowed is not even resolved: a lookup tells its servers something.
    pub(super) async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Failure> {
        let refused = |host: &str, reason| {
            self.log.note(host, port, false, Some(reason));
            Failure::Refused(reason)
        };
        let Some(host) = Host::parse(host) else { return Err(refused(host, "it is no host name")) };
        let shown = host.to_string();
        let trust = self.policy.judge(&host, port).map_err(|reason| refused(&shown, reason))?;
        let found = match &host {
            Host::Address(address) => Ok(vec![SocketAddr::from((*address, port))]),
            Host::Name(name) => self.look_up(name.clone(), port).await,
        };
        let found = found.inspect_err(|failure| {
            self.log.note(&shown, port, true, Some(&failure.to_string()));
        })?;
        let mut reason = "it has no address";
        let judged = |to: &SocketAddr| address::refusal(to.ip(), trust).inspect(|why| reason = why).is_none();
        let addresses: Vec<_> = found.into_iter().filter(judged).take(ADDRESSES).collect();
        if addresses.is_empty() {
            return Err(refused(&shown, reason));
        }
        let number = self.log.note(&shown, port, true, None);
        connect(&addresses).await.inspect_err(|failure| self.log.explain(number, &failure.to_string()))
    }

    async fn look_up(&self, name: String, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let resolve = self.resolve;
        let looking = async {
            // Kept until the thread is free again, which nobody can make it be.
            let ours = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
            let of_all = ALL_LOOKUPS.acquire().await.map_err(io::Error::other)?;
            let thread = tokio::task::spawn_blocking(move || {
                let found = resolve(&name, port);
                drop((ours, of_all));
                found
            });
            thread.await.map_err(io::Error::other)?
        };
        let found = timeout(PATIENCE, looking).await.map_err(|_| Failure::Late)?;
        found.map_err(|error| Failure::Unreached(error.to_string()))
    }
}

/// Connects to the first of some addresses that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut failure = Failure::Late;
    for address in addresses {
        failure = match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => Failure::Unreached(error.kind().to_string()),
            Err(_) => Failure::Late,
        };
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{allowing, dialer, listener};
    use super::*;
    use crate::provider::Network;

    #[tokio::test]
    async fn a_private_address_is_for_those_who_are_named() {
        let (server, port) = listener().await;
        let named = allowing(&[&format!("loop.example:{port}")]);
        named.dial("LOOP.example.", port).await.expect("it is named");
        server.accept().await.expect("it was connected");
        for dialer in [allowing(&[&format!("*.example:{port}")]), dialer(&Network::Full)] {
            for host in ["loop.example", "mixed.example", "meta.example"] {
                let failure = dialer.dial(host, port).await.expect_err(host);
                assert!(matches!(failure, Failure::Refused(_)), "{host}: {failure}");
            }
            assert!(dialer.log().entries().iter().all(|entry| !entry.allowed), "{:?}", dialer.log());
        }
    }

    #[tokio::test]
    async fn no_spelling_of_a_private_address_is_public() {
        let dialer = dialer(&Network::Full);
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.1.",
            "0",
            "0.0.0.0",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "2852039166",
            "10.0.0.1",
            "192.168.0.1",
            "100.100.100.200",
            "fe80::1",
            "localhost\0",
            "",
        ] {
            let failure = dialer.dial(host, 80).await.expect_err(host);
            assert!(matches!(failure, Failure::Refused(_)), "{host}: {failure}");
        }
    }

    #[tokio::test]
    async fn what_is_not_allowed_is_not_resolved() {
        let dialer = Dialer::with(Policy::Allow(Vec::new()), |_, _| panic!("it was resolved"));
        let failure = dialer.dial("secret.example", 443).await.expect_err("nothing is allowed");
        assert!(matches!(failure, Failure::Refused(_)));
    }

    #[tokio::test]
    async fn what_nothing_came_of_is_told_apart_from_what_was_refused() {
        let (server, port) = listener().await;
        drop(server);
        let dialer = allowing(&[&format!("loop.example:{port}"), "unknown.example", "none.example"]);
        for (host, port) in [("loop.example", port), ("unknown.example", 443)] {
            let failure = dialer.dial(host, port).await.expect_err(host);
            assert!(matches!(failure, Failure::Unreached(_)), "{failure}");
        }
        assert!(matches!(dialer.dial("none.example", 443).await, Err(Failure::Refused(_))));
        let allowed: Vec<_> = dialer.log().entries().iter().map(|entry| entry.allowed).collect();
        assert_eq!(allowed, [true, true, false]);
        assert!(dialer.log().entries().iter().all(|entry| entry.reason.is_some()));
    }
}
