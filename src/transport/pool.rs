//! Connections, shared by everything that talks to servers.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::header::HeaderMap;
use reqwest::{Client, Request, Response, StatusCode};
use rustls::{ClientConfig, RootCertStore};

use super::error;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::ByteStream;

/// Shorter than any server's own, so that none is used that is about to be closed.
const IDLE: Duration = Duration::from_secs(90);
const CONNECT: Duration = Duration::from_secs(10);

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Only if it surely has not arrived.
    Unsent,
    /// Always: done twice it is as done once.
    Idempotent,
}

/// Sends requests, over connections that all sandboxes share.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer(Response);

impl Http {
    /// The one of this process.
    pub(crate) fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Http> = OnceLock::new();
        if let Some(http) = SHARED.get() {
            return Ok(http);
        }
        let made = Self::new()?;
        Ok(SHARED.get_or_init(|| made))
    }

    fn new() -> Result<Self> {
        let client = Client::builder()
            .use_preconfigured_tls(tls())
            .pool_idle_timeout(IDLE)
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .user_agent(concat!("computesdk/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot set up HTTP").with_source(error))?;
        Ok(Self { client })
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&self, request: Request, _: Repeat) -> Result<Answer> {
        self.client.execute(request).await.map(Answer).map_err(error::failed)
    }
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The whole of it, in memory.
    pub(crate) async fn bytes(self) -> Result<Bytes> {
        self.0.bytes().await.map_err(error::failed)
    }

    /// Piece by piece. Dropped, the rest is not asked for.
    pub(crate) fn stream(self) -> ByteStream {
        self.0.bytes_stream().map_err(error::failed).boxed()
    }
}

/// The one implementation of cryptography for all of `rustls`.
pub(super) fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn tls() -> ClientConfig {
    install_crypto();
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let mut config = ClientConfig::builder().with_root_certificates(Arc::new(roots)).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
