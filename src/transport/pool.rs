//! Connections, shared by everything that talks to servers.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::header::HeaderMap;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Request, Response, StatusCode};
use rustls::ClientConfig;
use tokio::time::Instant;

use super::error::{self, Failure};
use super::lanes::{IDLE, Lanes, Place};
use super::retry::{self, Repeat};
use super::tls;
use crate::error::{Error, Result};
use crate::provider::ByteStream;

const CONNECT: Duration = Duration::from_secs(10);

/// A connection with requests under way is asked for a sign of life this often, and given up without one.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(15);

/// Bytes that one answer may be ahead of its reader.
const STREAM_WINDOW: u32 = 2 << 20;
/// And all answers of a connection together: room for each, so that those that nobody reads never stop the others.
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;

const REDIRECTS: usize = 5;

/// Sends requests, over connections that all sandboxes share.
#[derive(Debug)]
pub(crate) struct Http {
    tls: ClientConfig,
    /// One for each lane.
    clients: Mutex<Vec<Client>>,
    lanes: Arc<Lanes>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Still to be read, with the place that it takes until then.
    Open(Response, Place),
    Whole(Bytes),
}

impl Http {
    /// The one of this process. Certificates that cannot be read are an error, each time.
    pub(crate) fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Http> = OnceLock::new();
        if let Some(http) = SHARED.get() {
            return Ok(http);
        }
        let made = Self::new()?;
        Ok(SHARED.get_or_init(|| made))
    }

    pub(super) fn new() -> Result<Self> {
        Ok(Self { tls: tls::client_config()?, clients: Mutex::default(), lanes: Arc::default() })
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&self, request: Request, repeat: Repeat) -> Result<Answer> {
        retry::send(self, request, repeat, false, None).await
    }

    /// Sends a request and waits for all of the answer, which is in memory then. It may take this long, with everything
    /// that is done again; more is `Timeout`.
    pub(crate) async fn fetch(&self, request: Request, repeat: Repeat, limit: Duration) -> Result<Answer> {
        let url = request.url().clone();
        let until = Instant::now() + limit;
        let answer = retry::send(self, request, repeat, true, Some(until));
        tokio::time::timeout_at(until, answer).await.unwrap_or_else(|_| Err(error::too_late(&url, limit)))
    }

    /// Sends a request once.
    pub(super) async fn attempt(&self, request: Request, whole: bool) -> Result<Answer, Failure> {
        let mut place = self.lanes.take(request.url()).await;
        let client = self.client(place.number())?;
        let response = client.execute(request).await.map_err(|error| {
            place.failed();
            error::failed(error)
        })?;
        place.answered();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = if whole {
            Body::Whole(response.bytes().await.map_err(error::failed)?)
        } else {
            Body::Open(response, place)
        };
        Ok(Answer { status, headers, body })
    }

    fn client(&self, number: usize) -> Result<Client, Failure> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        while clients.len() <= number {
            clients.push(client(self.tls.clone()).map_err(error::failed)?);
        }
        Ok(clients[number].clone())
    }
}

/// What is sent again is decided in `retry`, and only there.
fn client(tls: ClientConfig) -> reqwest::Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .pool_idle_timeout(IDLE)
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PONG)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .redirect(Policy::custom(follow_at_home))
        .referer(false)
        .retry(reqwest::retry::never())
        .user_agent(concat!("computesdk/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Follows to the same server only: the keys in the headers are for nobody else.
fn follow_at_home(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let first = attempt.previous().first().map(reqwest::Url::origin);
    if attempt.previous().len() > REDIRECTS || first != Some(attempt.url().origin()) {
        return attempt.stop();
    }
    attempt.follow()
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The whole of it, in memory.
    pub(crate) async fn bytes(self) -> Result<Bytes> {
        match self.body {
            Body::Whole(bytes) => Ok(bytes),
            // Its place is held as long.
            Body::Open(response, _place) => response.bytes().await.map_err(cut_off),
        }
    }

    /// Piece by piece. Dropped, the rest is not asked for.
    pub(crate) fn stream(self) -> ByteStream {
        match self.body {
            Body::Whole(bytes) => Box::pin(futures_util::stream::iter([Ok(bytes)])),
            Body::Open(response, place) => response
                .bytes_stream()
                .map_err(move |error| {
                    // Its place is held as long as there is a stream.
                    let _ = &place;
                    cut_off(error)
                })
                .boxed(),
        }
    }
}

fn cut_off(error: reqwest::Error) -> Error {
    error::failed(error).error
}
