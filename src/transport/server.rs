//! One server of the user's own choosing, at a socket of this machine or at an address, spoken to in HTTP/1.1. Nothing
//! is sent again: what it does need not be the same twice.

use std::fmt::{self, Debug};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use reqwest::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use reqwest::{Body, Client, Method, StatusCode, Upgraded};
use rustls::ClientConfig;

use super::error;
use super::tls;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::ByteStream;

const CONNECT: Duration = Duration::from_secs(10);

/// How long the head of an answer may take. What takes longer tells of its progress meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

/// The server, and connections to it that are kept.
#[derive(Clone)]
pub(crate) struct Server {
    client: Client,
    /// What all addresses begin with.
    base: String,
}

impl Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Who a server is, and who asks: certificates and a key as PEM.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    /// Who may speak for the server; the usual authorities where it is absent.
    pub(crate) ca: Option<Vec<u8>>,
    /// Who asks, and the key that proves it.
    pub(crate) client: Option<(Vec<u8>, super::Secret)>,
}

impl Server {
    /// The one at a socket of this machine.
    #[cfg(unix)]
    pub(crate) fn on_socket(path: &Path) -> Result<Self> {
        tls::install_crypto();
        let client = builder().unix_socket(path).build().map_err(unusable)?;
        Ok(Self { client, base: "http://localhost".to_owned() })
    }

    /// There are no such sockets here.
    #[cfg(not(unix))]
    pub(crate) fn on_socket(path: &Path) -> Result<Self> {
        Err(Error::unsupported(format!("this system has no such sockets: {}", path.display())))
    }

    /// The one at a host and a port: encrypted if there are credentials.
    pub(crate) fn at(host_and_port: &str, credentials: Option<&Credentials>) -> Result<Self> {
        tls::install_crypto();
        let (scheme, tls): (_, Option<ClientConfig>) = match credentials {
            None => ("http", None),
            Some(credentials) => ("https", Some(tls::with_credentials(credentials)?)),
        };
        let mut builder = builder();
        if let Some(tls) = tls {
            builder = builder.tls_backend_preconfigured(tls);
        }
        Ok(Self { client: builder.build().map_err(unusable)?, base: format!("{scheme}://{host_and_port}") })
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: impl Into<Body>,
    ) -> Result<Response> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).body(body);
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        self.sent(request).await
    }

    /// Sends a request after which the connection belongs to its sender: what the server then has to say, unless it
    /// does not agree.
    pub(crate) async fn take_over(&self, path: &str, body: String) -> Result<Result<Upgraded, Response>> {
        let request = self.client.post(format!("{}{path}", self.base)).body(body);
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "tcp");
        let response = self.sent(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Err(response));
        }
        response.0.upgrade().await.map(Ok).map_err(|error| error::failed(error).error)
    }

    async fn sent(&self, request: reqwest::RequestBuilder) -> Result<Response> {
        match tokio::time::timeout(PATIENCE, request.send()).await {
            Ok(Ok(response)) => Ok(Response(response)),
            Ok(Err(error)) => Err(error::failed(error).error),
            Err(_) => {
                let message = format!("no answer from the server within {} s", PATIENCE.as_secs());
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Response(reqwest::Response);

impl Response {
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name)?.to_str().ok()
    }

    /// The whole of it, in memory.
    pub(crate) async fn bytes(self) -> Result<Bytes> {
        self.0.bytes().await.map_err(|error| error::failed(error).error)
    }

    /// Piece by piece.
    pub(crate) fn stream(self) -> ByteStream {
        Box::pin(self.0.bytes_stream().map_err(|error| error::failed(error).error))
    }
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder()
        .http1_only()
        .no_proxy()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .user_agent(concat!("computesdk/", env!("CARGO_PKG_VERSION")))
}

fn unusable(error: reqwest::Error) -> Error {
    error::failed(error).error
}
