//! What came over the wire, counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Request;
use serde::Serialize;

/// What came over the wire so far.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Connections that were made.
    pub connections: u64,
    /// Connections that are open.
    pub open_connections: u64,
    /// Connections that came to speak HTTP/2.
    pub http2_connections: u64,
    /// Requests, answered or not.
    pub requests: u64,
    /// Requests whose answers are not over.
    pub in_flight: u64,
    /// The most that were in flight on one connection.
    pub max_in_flight: u64,
    /// Bytes that came, as they were on the wire; below TLS, if there is any.
    pub bytes_received: u64,
    /// Bytes that went.
    pub bytes_sent: u64,
    /// Requests by method and path; ids of sandboxes are `{id}`.
    pub by_path: BTreeMap<String, u64>,
}

/// A request, as it came.
#[derive(Clone, Debug, Serialize)]
pub struct Came {
    /// How many came before it.
    pub number: u64,
    /// Its method.
    pub method: String,
    /// Its path, with the query.
    pub path: String,
    /// Its headers, keys and tokens among them.
    pub headers: BTreeMap<String, String>,
}

/// How many requests are remembered: the latest.
const REMEMBERED: usize = 1000;

/// Counts.
#[derive(Debug, Default)]
pub struct Counters {
    stats: Mutex<Stats>,
    latest: Mutex<VecDeque<Came>>,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Counters {
    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted.
    pub fn read(&self) -> Stats {
        Stats {
            bytes_received: self.received.load(Ordering::Relaxed),
            bytes_sent: self.sent.load(Ordering::Relaxed),
            ..self.stats().clone()
        }
    }

    /// A connection was made.
    pub fn connected(&self) {
        let mut stats = self.stats();
        stats.connections += 1;
        stats.open_connections += 1;
    }

    /// It turned out to speak HTTP/2.
    pub fn speaks_http2(&self) {
        self.stats().http2_connections += 1;
    }

    /// It is gone.
    pub fn disconnected(&self) {
        self.stats().open_connections -= 1;
    }

    /// A request came, on a connection with so many in flight now.
    pub fn requested<B>(&self, request: &Request<B>, in_flight: u64) {
        let (method, uri) = (request.method().as_str(), request.uri());
        let mut stats = self.stats();
        let number = stats.requests;
        stats.requests += 1;
        stats.in_flight += 1;
        stats.max_in_flight = stats.max_in_flight.max(in_flight);
        *stats.by_path.entry(format!("{method} {}", general(uri.path()))).or_default() += 1;
        drop(stats);
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = request.headers().iter();
        let came = Came {
            number,
            method: method.to_owned(),
            path: uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string),
            headers: headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
        };
        let mut latest = self.latest();
        if latest.len() == REMEMBERED {
            latest.pop_front();
        }
        latest.push_back(came);
    }

    fn latest(&self) -> MutexGuard<'_, VecDeque<Came>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest requests, from this number on.
    pub fn requests(&self, from: u64) -> Vec<Came> {
        self.latest().iter().filter(|came| came.number >= from).cloned().collect()
    }

    /// Its answer is over.
    pub fn answered(&self) {
        self.stats().in_flight -= 1;
    }

    /// Bytes came.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes go.
    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes did not go after all.
    pub fn unsent(&self, bytes: usize) {
        self.sent.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

/// A path without the id of a sandbox or a snapshot.
fn general(path: &str) -> String {
    let parts: Vec<_> = path.split('/').collect();
    let is_id = |at: usize| at > 0 && ["sandboxes", "templates", "contexts"].contains(&parts[at - 1]);
    let named = |at: usize| if is_id(at) && parts[at] != "metrics" { "{id}" } else { parts[at] };
    (0..parts.len()).map(named).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_left_out() {
        for (path, expected) in [
            ("/sandboxes", "/sandboxes"),
            ("/v2/sandboxes/iabc/connect", "/v2/sandboxes/{id}/connect"),
            ("/sandboxes/metrics", "/sandboxes/metrics"),
            ("/templates/a%2Fb", "/templates/{id}"),
            ("/process.Process/Start", "/process.Process/Start"),
        ] {
            assert_eq!(general(path), expected);
        }
    }
}
