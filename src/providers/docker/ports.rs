//! The way into a container: connections are made by the agent, inside, so there need be no network that leads there.

use std::io;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use computesdk_agent::protocol::{PIECE, Reply, Request};
use tokio_util::sync::CancellationToken;

use super::instance::DockerInstance;
use super::stream::Stream;
use crate::providers::local::ports::{PATIENCE, Way};
use crate::providers::local::tcp::Socket;

/// The inside of one sandbox.
#[derive(Debug)]
pub(super) struct Inside {
    instance: Weak<DockerInstance>,
    ended: CancellationToken,
}

impl Inside {
    pub(super) fn new(instance: Weak<DockerInstance>, ended: CancellationToken) -> Self {
        Self { instance, ended }
    }
}

#[async_trait]
impl Way for Inside {
    fn closed(&self) -> &CancellationToken {
        &self.ended
    }

    async fn carry(&self, client: Socket, port: u16) -> io::Result<()> {
        let instance = self.instance.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let inside = tokio::time::timeout(PATIENCE, connect(&instance, port)).await??;
        drop(instance);
        tokio::try_join!(inwards(&client, &inside), outwards(&inside, &client)).map(drop)
    }
}

/// What a client says, and that it has said all.
async fn inwards(client: &Socket, inside: &Stream) -> io::Result<()> {
    loop {
        let bytes = client.read().await?;
        if bytes.is_empty() {
            inside.finish();
            return Ok(());
        }
        // Whoever reads no further may have answered all the same: the other way brings the answer.
        if inside.write(&bytes).await.is_err() {
            return Ok(());
        }
    }
}

/// What a server says, and that it has said all. An error is the end of both ways.
async fn outwards(inside: &Stream, client: &Socket) -> io::Result<()> {
    loop {
        let bytes = inside.read(PIECE).await?;
        if bytes.is_empty() {
            client.finish();
            return Ok(());
        }
        if client.write(&bytes).await.is_err() {
            return Ok(());
        }
    }
}

/// A connection to what listens inside: on IPv4, else on IPv6.
async fn connect(instance: &Arc<DockerInstance>, port: u16) -> io::Result<Stream> {
    match connect_by(instance, false, port).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            connect_by(instance, true, port).await
        }
        result => result,
    }
}

async fn connect_by(instance: &Arc<DockerInstance>, v6: bool, port: u16) -> io::Result<Stream> {
    let (_, answer, _) = instance.ask(|id| Request::Socket { id, v6 }).await.map_err(io::Error::other)?;
    let stream = match (answer.reply, answer.beside.into_iter().next()) {
        (Reply::Socket { .. }, Some(stream)) => stream,
        (Reply::Failed { errno, .. }, _) => return Err(io::Error::from_raw_os_error(errno)),
        _ => return Err(io::Error::other("no socket came")),
    };
    stream.connect(v6, port).await?;
    Ok(stream)
}
