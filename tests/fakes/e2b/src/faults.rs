//! What is to go wrong, on demand.
//!
//! A rule says which requests it is about, and what becomes of them:
//!
//! ```json
//! { "match": { "path": "process.Process/Start", "method": "POST", "service": "envd" }, "skip": 1, "count": 2,
//!   "delay": 100, "action": { "cut": { "frames": 1, "bytes": 3, "how": "reset" } } }
//! ```
//!
//! Without `match` it is about all requests; without `count` about one, with 0 about all that come. Without `action`
//! the answer is only delayed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyDataStream;
use serde::Deserialize;

use crate::answer::{Answer, Broken, empty, flowing, full};
use crate::connection::Connection;

/// What is to go wrong, and with which requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which requests.
    #[serde(default)]
    r#match: Match,
    /// How many of them are let through first.
    #[serde(default)]
    skip: u32,
    /// How many it then happens to; 0 is all.
    #[serde(default = "once")]
    count: u32,
    /// Milliseconds before anything happens.
    #[serde(default)]
    delay: u64,
    /// Whether the request is carried out all the same, before its answer goes wrong.
    #[serde(default)]
    processed: bool,
    /// What happens.
    action: Option<Action>,
}

fn once() -> u32 {
    1
}

/// Which requests a rule is about: those that have all of this.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    /// A part of the path.
    path: Option<String>,
    /// The method.
    method: Option<String>,
    /// Whom it is for.
    service: Option<Service>,
}

/// Whom a request is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Service {
    /// The control plane.
    Control,
    /// The envd of a sandbox.
    Envd,
    /// The code interpreter of one.
    Interpreter,
    /// Another port of one.
    Port,
}

/// What goes wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Action {
    /// Something else answers.
    Answer {
        /// The status.
        status: u16,
        /// Headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The body, as it is.
        #[serde(default)]
        body: String,
    },
    /// The connection is closed, and nothing is answered.
    Close {},
    /// The stream is reset, and nothing is answered; over HTTP/1.1: as `close`.
    Reset {
        /// The code of the error; 2 is an internal one, 7 that the stream was refused.
        #[serde(default = "internal_error")]
        code: u32,
    },
    /// The connection is given up with GOAWAY; over HTTP/1.1: closed after the answer.
    Goaway {
        /// The code of the error.
        #[serde(default)]
        code: u32,
        /// Whether this request is among those that were not looked at. Otherwise it is answered.
        #[serde(default)]
        refuse: bool,
    },
    /// The body of the answer breaks off: after so many messages of a stream, and so many bytes more.
    Cut {
        /// Messages in their envelopes.
        #[serde(default)]
        frames: u32,
        /// Bytes.
        #[serde(default)]
        bytes: usize,
        /// How.
        how: End,
    },
    /// The body of the answer comes in small pieces.
    Slow {
        /// Bytes of each.
        #[serde(default = "one_byte")]
        size: usize,
        /// Milliseconds between two.
        #[serde(default)]
        pause: u64,
    },
}

fn internal_error() -> u32 {
    2
}

fn one_byte() -> usize {
    1
}

/// How a body breaks off.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// With its connection.
    Close,
    /// With the stream, as an error; over HTTP/1.1 with its connection.
    Reset,
    /// As if that had been all.
    End,
    /// Nothing more comes, and nothing is closed.
    Silence,
}

/// What happens to one request.
#[derive(Clone, Debug)]
pub struct Fault {
    /// How long nothing does.
    pub delay: Duration,
    /// Whether it is carried out all the same.
    pub processed: bool,
    /// What happens then.
    pub action: Option<Action>,
}

/// The rules that are in force.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Rule>>);

impl Faults {
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule. The oldest that fits a request is the one that counts.
    pub fn add(&self, rule: Rule) {
        self.rules().push(rule);
    }

    /// Takes all rules away.
    pub fn clear(&self) {
        self.rules().clear();
    }

    /// What is to happen to a request.
    pub fn take(&self, method: &Method, path: &str, service: Service) -> Option<Fault> {
        let mut rules = self.rules();
        for at in 0..rules.len() {
            let rule = &mut rules[at];
            if !rule.r#match.fits(method, path, service) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            let fault = Fault {
                delay: Duration::from_millis(rule.delay),
                processed: rule.processed,
                action: rule.action.clone(),
            };
            if rule.count == 1 {
                rules.remove(at);
            } else {
                rule.count = rule.count.saturating_sub(1);
            }
            return Some(fault);
        }
        None
    }
}

impl Match {
    fn fits(&self, method: &Method, path: &str, service: Service) -> bool {
        self.path.as_deref().is_none_or(|part| path.contains(part))
            && self.method.as_deref().is_none_or(|wanted| wanted == method.as_str())
            && self.service.is_none_or(|wanted| wanted == service)
    }
}

/// What something else answers.
pub fn other(status: u16, headers: &BTreeMap<String, String>, body: &str) -> Answer {
    let mut answer = empty(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    *answer.body_mut() = full(body.to_owned());
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// The error that resets a stream.
pub fn reset(code: u32) -> h2::Error {
    h2::Reason::from(code).into()
}

/// How long what was said before the end of a connection may take to leave.
const LEAVING: Duration = Duration::from_millis(50);

/// An answer whose body breaks off.
pub fn cut(answer: Answer, frames: u32, bytes: usize, how: End, connection: Connection) -> Answer {
    let (parts, body) = answer.into_parts();
    let begun = Some((BodyDataStream::new(body), Limit::new(frames, bytes), connection));
    let pieces = futures_util::stream::unfold(begun, move |state| async move {
        let (mut body, mut limit, connection) = state?;
        if !limit.reached
            && let Some(piece) = body.next().await
        {
            let Ok(mut piece) = piece else { return Some((piece, None)) };
            piece.truncate(limit.of(&piece));
            return Some((Ok(piece), Some((body, limit, connection))));
        }
        match how {
            // A body that is shorter has ended already.
            _ if !limit.reached => None,
            End::End => None,
            End::Reset => {
                tokio::time::sleep(LEAVING).await;
                Some((Err(reset(internal_error()).into()), None))
            }
            End::Silence => std::future::pending().await,
            End::Close => {
                tokio::time::sleep(LEAVING).await;
                connection.abort();
                std::future::pending().await
            }
        }
    });
    Answer::from_parts(parts, flowing(pieces))
}

/// How much of a body is let through.
#[derive(Debug)]
struct Limit {
    frames: u32,
    bytes: usize,
    /// The head of a message that has not come as a whole.
    head: BytesMut,
    /// Bytes of a message that have not come.
    rest: usize,
    reached: bool,
}

impl Limit {
    fn new(frames: u32, bytes: usize) -> Self {
        Self { frames, bytes, head: BytesMut::new(), rest: 0, reached: frames == 0 && bytes == 0 }
    }

    /// How many bytes of this piece.
    fn of(&mut self, piece: &[u8]) -> usize {
        let mut at = 0;
        while self.frames > 0 && at < piece.len() {
            if self.rest > 0 {
                let passed = self.rest.min(piece.len() - at);
                self.rest -= passed;
                at += passed;
            } else {
                self.head.extend_from_slice(&piece[at..=at]);
                at += 1;
                if let Ok([_, length @ ..]) = <[u8; 5]>::try_from(self.head.as_ref()) {
                    self.rest = u32::from_be_bytes(length) as usize;
                }
            }
            if self.rest == 0 && self.head.len() == 5 {
                self.head.clear();
                self.frames -= 1;
            }
        }
        if self.frames == 0 {
            let passed = self.bytes.min(piece.len() - at);
            self.bytes -= passed;
            at += passed;
            self.reached = self.bytes == 0;
        }
        at
    }
}

/// An answer whose body comes in small pieces.
pub fn slow(answer: Answer, size: usize, pause: Duration) -> Answer {
    let (parts, body) = answer.into_parts();
    let pieces = BodyDataStream::new(body).flat_map(move |piece| small(piece, size.max(1)));
    let pieces = pieces.then(move |piece| async move {
        match pause.is_zero() {
            true => tokio::task::yield_now().await,
            false => tokio::time::sleep(pause).await,
        }
        piece
    });
    Answer::from_parts(parts, flowing(pieces))
}

fn small(piece: Result<Bytes, Broken>, size: usize) -> impl Stream<Item = Result<Bytes, Broken>> {
    let pieces = match piece {
        Ok(mut bytes) => {
            let mut pieces = Vec::new();
            while !bytes.is_empty() {
                pieces.push(Ok(bytes.split_to(size.min(bytes.len()))));
            }
            pieces
        }
        Err(error) => vec![Err(error)],
    };
    futures_util::stream::iter(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_come() {
        let body = [&[0, 0, 0, 0, 2], &b"ab"[..], &[0, 0, 0, 0, 0], &[2, 0, 0, 0, 1], b"x"].concat();
        for (frames, bytes, expected) in [(0, 0, 0), (0, 3, 3), (1, 0, 7), (2, 0, 12), (2, 5, 17), (3, 0, 18)]
        {
            for size in 1..=body.len() {
                let mut limit = Limit::new(frames, bytes);
                let mut passed = 0;
                for piece in body.chunks(size) {
                    if !limit.reached {
                        passed += limit.of(piece);
                    }
                }
                assert_eq!((passed, limit.reached), (expected, true), "{frames} {bytes} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_rule_is_about_so_many_requests() {
        let faults = Faults::default();
        let rule = r#"{ "match": { "path": "/a", "service": "envd" }, "skip": 1, "count": 2, "delay": 5 }"#;
        faults.add(serde_json::from_str(rule).unwrap());
        let take = |path, service| faults.take(&Method::GET, path, service).is_some();
        assert!(!take("/b", Service::Envd) && !take("/a", Service::Control));
        let taken: Vec<_> = (0..4).map(|_| take("/a", Service::Envd)).collect();
        assert_eq!(taken, [false, true, true, false]);
    }
}
