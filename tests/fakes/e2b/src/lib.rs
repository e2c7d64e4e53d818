//! A server that speaks E2B's wire on the loopback address: what a client of E2B is tested against.
//!
//! Everything in it runs for real: each sandbox is a sandbox of the provider `local`. What E2B's machines do
//! and this cannot do: users other than one, limits by template, the network, memory in snapshots.
//!
//! * [`options`] – what a fake is to be.
//! * [`server`] – connections; [`request`], [`answer`] – what comes and goes over them.
//! * [`control`] – the control plane, over the [`world`] of [`sandbox`]es and what they use ([`usage`]).
//! * [`proxy`] – the data plane: to [`envd`], to the code [`interpreter`], and on to other ports ([`forward`]).

pub mod answer;
pub mod control;
pub mod envd;
pub mod forward;
pub mod interpreter;
pub mod options;
pub mod proxy;
pub mod request;
pub mod sandbox;
pub mod server;
pub mod usage;
pub mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use options::Options;
use world::World;

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Fake {
    world: Arc<World>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Fake {
    /// Starts one.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let world = World::new(options);
        let serving = tokio::spawn(server::serve(Arc::clone(&world), listener));
        Ok(Self { world, address, serving })
    }

    /// Where it is, for the control plane and the data plane alike.
    pub fn url(&self) -> String {
        let scheme = if self.world.options.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Ends it and its sandboxes.
    pub async fn stop(self) {
        self.serving.abort();
        self.world.end().await;
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
