//! The HTTP proxy of a sandbox: `CONNECT` for everything that is encrypted, whole URLs for what is not.
//!
//! Whatever comes in is a stranger's. It is parsed, judged, and written anew, never copied, so that a server cannot
//! understand another request than the one that was judged. Each request of a connection is judged by itself and goes
//! over a connection of its own.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::super::link::Link;
use super::super::tcp::{self, Socket};
use super::dial::{Dialer, Failure};
use super::upstream::{Answer, pass_on};

/// Bytes that the head of a request or of an answer may have.
pub(super) const HEAD: usize = 64 * 1024;

/// How long a client may take for the head of its next request.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is between two neighbours and not passed on, beside what `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Serves a client until it or the sandbox ends.
pub(super) async fn serve(client: OwnedFd, dialer: &Dialer, link: &Link) -> io::Result<()> {
    tcp::look_after(&client)?;
    let client = TcpStream::from_std(client.into())?;
    let tunnel = Mutex::new(None);
    let service = service_fn(|request| answer(request, dialer, &tunnel));
    let served = server().serve_connection(TokioIo::new(client), service).without_shutdown().await;
    let ended = served.map_err(io::Error::other)?;
    let tunnel = tunnel.lock().unwrap_or_else(PoisonError::into_inner).take();
    match tunnel {
        Some(server) => through(ended.io.into_inner(), ended.read_buf, server, link).await,
        None => Ok(()),
    }
}

/// What reads requests.
pub(super) fn server() -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD)
        .max_header_size(HEAD)
        // One that has said all that it has to say still wants its answer.
        .half_close(true);
    server
}

/// From here on, bytes: what is in them is between the two, and leads nowhere else.
async fn through(client: TcpStream, early: Bytes, mut server: TcpStream, link: &Link) -> io::Result<()> {
    server.write_all(&early).await?;
    tcp::carry(link, &Socket::from_stream(client)?, &Socket::from_stream(server)?).await
}

async fn answer(
    request: Request<Incoming>,
    dialer: &Dialer,
    tunnel: &Mutex<Option<TcpStream>>,
) -> Result<Response<Answer>, hyper::Error> {
    let asked = if request.method() == Method::CONNECT { to_connect(&request) } else { to_pass_on(&request) };
    let (host, port) = match asked {
        Ok(target) => target,
        Err(wrong) => return Ok(own(StatusCode::BAD_REQUEST, wrong)),
    };
    let server = match dialer.dial(host, port).await {
        Ok(server) => server,
        Err(failure) => return Ok(own(status(&failure), &format!("`{host}` at port {port}: {failure}"))),
    };
    if request.method() == Method::CONNECT {
        *tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        return Ok(Response::new(Answer::Own(None)));
    }
    let Ok(request) = rewritten(request) else {
        return Ok(own(StatusCode::BAD_REQUEST, "this URL cannot be passed on"));
    };
    if let Err(errno) = tcp::look_after(&server) {
        return Ok(own(StatusCode::BAD_GATEWAY, &format!("the server is gone: {errno}")));
    }
    let mut answer = match pass_on(server, request).await {
        Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS || is_encoded(answer.headers()) => {
            return Ok(own(StatusCode::BAD_GATEWAY, "the server answers in a way that nobody has asked for"));
        }
        Ok(answer) => answer,
        Err(error) => return Ok(own(StatusCode::BAD_GATEWAY, &format!("the server has failed: {error}"))),
    };
    if answer.headers().contains_key(header::TRANSFER_ENCODING) {
        // Whoever says both is believed the other (RFC 9112, section 6.3).
        answer.headers_mut().remove(header::CONTENT_LENGTH);
    }
    remove_hop_by_hop(answer.headers_mut());
    *answer.version_mut() = Version::HTTP_11;
    Ok(answer)
}

/// Where a `CONNECT` is to lead, or what is wrong with it.
pub(super) fn to_connect(request: &Request<Incoming>) -> Result<(&str, u16), &'static str> {
    let has_body = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
        .iter()
        .any(|name| request.headers().contains_key(name));
    if has_body {
        return Err("`CONNECT` has no body");
    }
    let authority = request.uri().authority().ok_or("`CONNECT` needs a host and a port")?;
    target(authority)?.1.map_or(Err("`CONNECT` needs a port"), |port| Ok((authority.host(), port)))
}

/// Where a request for a URL is to be passed on to, or what is wrong with it.
pub(super) fn to_pass_on(request: &Request<Incoming>) -> Result<(&str, u16), &'static str> {
    let uri = request.uri();
    let authority = uri.authority().ok_or("this is a proxy: it takes whole URLs, and `CONNECT`")?;
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err("only http:// is passed on: what is encrypted goes through `CONNECT`");
    }
    if is_encoded(request.headers()) {
        return Err("a body that is encoded for the way cannot be passed on");
    }
    let (host, port) = target(authority)?;
    Ok((host, port.unwrap_or(80)))
}

/// Whether a body has another encoding for the way to the next neighbour than its division into chunks.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// The host and the port of an authority that is nothing else.
fn target(authority: &Authority) -> Result<(&str, Option<u16>), &'static str> {
    let host = authority.host();
    match authority.as_str().strip_prefix(host) {
        Some("" | ":") => Ok((host, None)),
        Some(rest) => match rest.strip_prefix(':').map(str::parse) {
            Some(Ok(port)) if port > 0 && !rest.contains('+') => Ok((host, Some(port))),
            _ => Err("there is no port from 1 to 65535 behind the host"),
        },
        None => Err("there is more than a host and a port"),
    }
}

/// A request as its server is to see it: for a path, from a client of its own.
pub(super) fn rewritten(mut request: Request<Incoming>) -> Result<Request<Incoming>, hyper::http::Error> {
    let uri = std::mem::take(request.uri_mut()).into_parts();
    let host = uri.authority.map(|authority| HeaderValue::from_str(authority.as_str())).transpose()?;
    let path = uri.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = Version::HTTP_11;
    remove_hop_by_hop(request.headers_mut());
    // Whoever waits for leave to send its body has been given it here.
    request.headers_mut().remove(header::EXPECT);
    // Not what the client says: it may name another host than the one that was judged.
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(request)
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        // It says where the message ends, and was obeyed.
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::HOST)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn status(failure: &Failure) -> StatusCode {
    match failure {
        Failure::Refused(_) => StatusCode::FORBIDDEN,
        Failure::Unreached(_) => StatusCode::BAD_GATEWAY,
        Failure::Late => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// An answer in the proxy's own words, the last of its connection: who is refused has to come again, and pays for that.
pub(super) fn own(status: StatusCode, words: &str) -> Response<Answer> {
    let mut answer = Response::new(Answer::Own(Some(Bytes::from(format!("{words}\n")))));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
