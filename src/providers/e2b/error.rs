//! What E2B says about a failure, as our errors. Its words are for people and never HTML; no key is among them.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::wire::Refusal;
use crate::error::{Error, ErrorKind};
use crate::transport::{Secret, request_id, retry_after};

/// Characters of somebody else's words that a message holds.
const LONGEST: usize = 500;

/// What a request was about.
#[derive(Clone, Copy, Debug)]
pub(super) enum About<'a> {
    /// Everything that a key can see.
    All,
    /// A new sandbox, of this template.
    Template(&'a str),
    /// This sandbox.
    Sandbox(&'a str),
    /// This snapshot.
    Snapshot(&'a str),
}

/// An answer of failure of the control plane.
pub(super) fn refused(
    about: About<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    key: &Secret,
) -> Error {
    let refusal = Refusal::read(body);
    let words = key.hidden_in(refusal.words(status));
    let error = match status {
        StatusCode::UNAUTHORIZED => Error::new(
            ErrorKind::Unauthenticated,
            "E2B authentication failed. Please check your E2B_API_KEY environment variable.",
        )
        .with_hint(format!("E2B says: {words}")),
        StatusCode::FORBIDDEN => Error::new(ErrorKind::PermissionDenied, format!("E2B refuses: {words}")),
        StatusCode::PAYMENT_REQUIRED => quota(&words),
        StatusCode::TOO_MANY_REQUESTS => of_too_many(&words, retry_after(headers)),
        // Its plan says how long a sandbox may live.
        StatusCode::BAD_REQUEST if words.contains("cannot be greater than") => quota(&words),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Error::invalid(format!("E2B refuses: {words}"))
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => missing(about, &words),
        StatusCode::CONFLICT => {
            Error::new(ErrorKind::Unavailable, format!("E2B is not ready for this: {words}"))
                .with_hint("it is in another state, or about to be: try again")
        }
        _ if status.is_server_error() => {
            let code = refusal.error_code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
            Error::new(ErrorKind::Unavailable, format!("E2B cannot answer now: {words}{code}"))
        }
        _ => Error::new(ErrorKind::Unavailable, format!("E2B answers {status}: {words}"))
            .with_retryable(false)
            .with_hint("is `apiUrl` the address of E2B?"),
    };
    traced(error, status, headers)
}

/// An answer of success that cannot be read.
pub(super) fn nonsense(status: StatusCode, headers: &HeaderMap) -> Error {
    let error = Error::new(ErrorKind::Internal, "E2B answered with something that is not understood")
        .with_hint("is `apiUrl` the address of E2B?");
    traced(error, status, headers)
}

fn of_too_many(words: &str, retry_after: Option<Duration>) -> Error {
    match retry_after {
        Some(wait) => limited(words).with_retry_after(wait),
        None if words.to_ascii_lowercase().contains("rate limit") => limited(words),
        // How many sandboxes may run at once: waiting does not raise it.
        None => quota(words),
    }
}

fn limited(words: &str) -> Error {
    Error::new(ErrorKind::RateLimited, format!("E2B is asked too often: {words}"))
}

fn quota(words: &str) -> Error {
    Error::new(ErrorKind::QuotaExceeded, format!("E2B quota exceeded: {words}"))
        .with_hint("check your usage at https://e2b.dev/")
}

fn missing(about: About<'_>, words: &str) -> Error {
    let what = match about {
        About::Template(id) => {
            let hint = "templates are named by their id, their name, or `team/name`";
            return Error::new(ErrorKind::NotFound, format!("no template `{id}` at E2B: {words}"))
                .with_hint(hint)
                .with_source(words);
        }
        About::Sandbox(id) => format!("no sandbox `{id}` at E2B"),
        About::Snapshot(id) => format!("no snapshot `{id}` at E2B"),
        About::All => {
            return Error::new(ErrorKind::Unavailable, format!("E2B does not know this call: {words}"))
                .with_retryable(false)
                .with_hint("is `apiUrl` the address of E2B?");
        }
    };
    Error::new(ErrorKind::NotFound, what).with_source(words)
}

/// With what E2B's support asks for.
fn traced(error: Error, status: StatusCode, headers: &HeaderMap) -> Error {
    let error = error.with_status(status.as_u16());
    match request_id(headers) {
        Some(id) => error.with_request_id(id),
        None => error,
    }
}

impl Refusal {
    fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_else(|_| Self {
            message: String::from_utf8_lossy(body).into_owned(),
            ..Self::default()
        })
    }

    /// What it says, in one line; what it is called, if that is a page for a browser or nothing.
    fn words(&self, status: StatusCode) -> String {
        let text = self.message.trim();
        if text.is_empty() || text.starts_with('<') || text.starts_with('{') {
            return format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or(""))
                .trim()
                .to_owned();
        }
        let line: Vec<_> = text
            .split(|c: char| c.is_control() || c.is_whitespace())
            .filter(|word| !word.is_empty())
            .collect();
        line.join(" ").chars().take(LONGEST).collect()
    }
}
