//! What goes wrong before there is an answer.

use std::error::Error as Failed;
use std::io;

use reqwest::Url;
use reqwest::header::HeaderMap;

use crate::error::{Error, ErrorKind};

/// A request that got no answer, or only a part of it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) arrival: Arrival,
}

/// Whether a request that failed has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Surely not: it may be sent again.
    Never,
    /// Perhaps.
    Unknown,
    /// It is of no use to send it again.
    Hopeless,
}

/// Where in its course a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Dns,
    Connect,
    Tls,
    Send,
    Read,
}

impl Phase {
    const fn words(self) -> &'static str {
        match self {
            Self::Dns => "cannot find",
            Self::Connect => "cannot connect to",
            Self::Tls => "cannot agree on encryption with",
            Self::Send => "no answer from",
            Self::Read => "the answer was cut off by",
        }
    }
}

/// What `reqwest` says, in our words: the phase, the host, and what the system or the server said. No address of more
/// than the host is part of it, as that may hold a key.
pub(super) fn failed(error: reqwest::Error) -> Failure {
    let host = error.url().map_or_else(|| "the server".to_owned(), host_of);
    let error = error.without_url();
    if error.is_builder() || error.is_redirect() {
        let message = format!("the request to {host} cannot be sent: {}", innermost(&error));
        return Failure { error: Error::new(ErrorKind::Internal, message), arrival: Arrival::Hopeless };
    }
    let phase = phase_of(&error);
    let arrival = match phase {
        Phase::Tls if find::<rustls::Error>(&error).is_some_and(is_certificate) => Arrival::Hopeless,
        Phase::Dns | Phase::Connect | Phase::Tls => Arrival::Never,
        Phase::Send if find::<h2::Error>(&error).is_some_and(is_refusal) => Arrival::Never,
        Phase::Send | Phase::Read => Arrival::Unknown,
    };
    let message = format!("{} {host}: {}", phase.words(), innermost(&error));
    let made = Error::new(ErrorKind::Unavailable, message)
        .with_retryable(arrival != Arrival::Hopeless)
        .with_source(error);
    let made = match phase {
        Phase::Tls if arrival == Arrival::Hopeless => made.with_hint(
            "if its certificate is one of your own, name the file of its authority in NODE_EXTRA_CA_CERTS",
        ),
        _ => made,
    };
    Failure { error: made, arrival }
}

/// The error of an answer that did not come in time.
pub(super) fn too_late(url: &Url, limit: std::time::Duration) -> Error {
    let message = format!("no answer from {} within {} ms", host_of(url), limit.as_millis());
    Error::new(ErrorKind::Timeout, message)
}

/// What a server knows a request by, for its support.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = ["x-request-id", "x-amzn-trace-id", "x-cloud-trace-context", "traceparent"]
        .into_iter()
        .find_map(|name| headers.get(name)?.to_str().ok())?;
    Some(id.chars().take(200).collect())
}

fn host_of(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "the server".to_owned(),
    }
}

fn phase_of(error: &reqwest::Error) -> Phase {
    if error.is_body() || error.is_decode() {
        Phase::Read
    } else if error.is_dns() {
        Phase::Dns
    } else if !error.is_connect() {
        Phase::Send
    } else if find::<rustls::Error>(error).is_some() {
        Phase::Tls
    } else {
        Phase::Connect
    }
}

fn is_certificate(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(_))
}

/// Whether the server says that it has not even looked at the request: it did not take the stream, or it is going away
/// and this one is above the last that it took.
fn is_refusal(error: &h2::Error) -> bool {
    let reason = error.reason();
    error.is_remote()
        && (error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM)
            || error.is_go_away() && reason == Some(h2::Reason::NO_ERROR))
}

/// The first error of a kind, from the outside to the inside. The error that an `io::Error` is made of is not among its
/// sources, but takes its place.
fn find<'a, E: Failed + 'static>(error: &'a (dyn Failed + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = within.map(|within| within as &(dyn Failed + 'static)).or_else(|| error.source());
    }
    None
}

fn innermost(error: &(dyn Failed + 'static)) -> String {
    let mut error = error;
    while let Some(below) = error.source() {
        error = below;
    }
    error.to_string()
}
