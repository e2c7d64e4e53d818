//! A server that speaks E2B's wire on the loopback address: what a client of E2B is tested against.
//!
//! Everything in it runs for real: each sandbox is a sandbox of the provider `local`. What E2B's machines do
//! and this cannot do: users other than one, more than 64 terminals at once, the network, memory in snapshots.
//!
//! * [`options`] – what a fake is to be.
//! * [`server`] – what is served, over which [`connection`]s and which [`tls`]; [`request`], [`answer`] – what comes
//!   and goes over them.
//! * [`faults`], [`stats`] – what is to go wrong, and what was counted; [`backdoor`] – both, for tests elsewhere.
//! * [`control`] – the control plane, over the [`world`] of [`sandbox`]es and what they use ([`usage`]).
//! * [`proxy`] – the data plane: to [`envd`], to the code [`interpreter`], and on to other ports ([`forward`]).

pub mod answer;
pub mod backdoor;
pub mod connection;
pub mod control;
pub mod envd;
pub mod faults;
pub mod forward;
pub mod interpreter;
pub mod options;
pub mod proxy;
pub mod request;
pub mod sandbox;
pub mod server;
pub mod stats;
pub mod tls;
pub mod usage;
pub mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use options::Options;
use world::World;

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Fake {
    world: Arc<World>,
    address: SocketAddr,
    backdoor: SocketAddr,
    serving: [JoinHandle<()>; 2],
}

impl Fake {
    /// Starts one.
    pub async fn start(options: Options) -> io::Result<Self> {
        let tls =
            options.tls.as_deref().map(|ca| tls::acceptor(ca, options.domain.as_deref())).transpose()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let aside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, backdoor) = (listener.local_addr()?, aside.local_addr()?);
        let world = World::new(options);
        let serving = [
            tokio::spawn(server::serve(Arc::clone(&world), listener, tls)),
            tokio::spawn(backdoor::serve(Arc::clone(&world), aside)),
        ];
        Ok(Self { world, address, backdoor, serving })
    }

    /// Where it is, for the control plane and the data plane alike.
    pub fn url(&self) -> String {
        let scheme = if self.world.options.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Where faults are ordered and counts are read, from another process.
    pub fn backdoor(&self) -> String {
        format!("http://{}", self.backdoor)
    }

    /// Lets something go wrong: a rule as [`faults`] has it, such as
    /// `json!({ "match": { "path": "/health" }, "action": { "close": {} } })`.
    pub fn fault(&self, rule: serde_json::Value) -> serde_json::Result<()> {
        self.world.faults.add(serde_json::from_value(rule)?);
        Ok(())
    }

    /// Lets nothing more go wrong.
    pub fn clear_faults(&self) {
        self.world.faults.clear();
    }

    /// What was counted.
    pub fn stats(&self) -> stats::Stats {
        self.world.counters.read()
    }

    /// The latest requests, from this number on.
    pub fn requests(&self, from: u64) -> Vec<stats::Came> {
        self.world.counters.requests(from)
    }

    /// Ends it and its sandboxes.
    pub async fn stop(self) {
        self.close();
        self.world.end().await;
    }

    fn close(&self) {
        for serving in &self.serving {
            serving.abort();
        }
        self.world.closed.cancel();
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.close();
        let world = Arc::clone(&self.world);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { world.end().await });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_is_used_from_rust() {
        let fake = Fake::start(Options::default()).await.unwrap();
        assert!(fake.url().starts_with("http://127.0.0.1:"));
        fake.fault(json!({ "match": { "path": "/health" }, "action": { "answer": { "status": 503 } } }))
            .unwrap();
        assert!(fake.fault(json!({ "action": { "explode": {} } })).is_err());
        assert!(get(fake.address, "/health").await.starts_with("HTTP/1.1 503"));
        assert!(get(fake.address, "/health").await.starts_with("HTTP/1.1 200"));
        assert!(get(fake.address, "/sandboxes").await.starts_with("HTTP/1.1 401"));
        let stats = fake.stats();
        assert_eq!((stats.connections, stats.requests, stats.by_path["GET /health"]), (3, 3, 2));
        let mut idle = TcpStream::connect(fake.address).await.unwrap();
        fake.stop().await;
        assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}
