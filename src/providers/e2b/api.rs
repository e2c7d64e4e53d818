//! E2B's control plane, call by call.

use std::collections::{BTreeMap, HashSet};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use reqwest::{Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::config::Place;
use super::error::{self, About};
use super::wire::{Metric, NewSandbox, NewSnapshot, Sandbox, Snapshot, State, Timeout, seconds};
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Answer, Http, Repeat};

/// How long a call may take, with everything that is done again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pages are as large as they may be.
const PAGE: &str = "100";

/// Servers that know only the newer way to make and to resume.
static NEWER: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// The control plane of one place, asked with one key.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) place: Place,
}

/// A request that is not sent yet.
struct Call<'a> {
    about: About<'a>,
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'a str, String)>,
    body: Option<Vec<u8>>,
    repeat: Repeat,
}

impl<'a> Call<'a> {
    fn new(method: Method, path: &[&'a str], about: About<'a>) -> Self {
        Self { about, method, path: path.to_vec(), query: Vec::new(), body: None, repeat: Repeat::Gateways }
    }

    fn get(path: &[&'a str], about: About<'a>) -> Self {
        Self::new(Method::GET, path, about)
    }

    fn post(path: &[&'a str], about: About<'a>, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Error::new(ErrorKind::Internal, "a request cannot be written").with_source(error)
        })?;
        Ok(Self { body: Some(body), ..Self::new(Method::POST, path, about) })
    }

    fn with(mut self, key: &'a str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    fn repeated(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }
}

impl Api {
    /// Makes a sandbox. Never sent twice, unless the first has surely not been done.
    pub(super) async fn create(&self, new: &NewSandbox) -> Result<Sandbox> {
        let about = About::Template(&new.template_id);
        let older = NewSandbox { secure: Some(true), ..new.clone() };
        let newer = NewSandbox { secure: None, ..new.clone() };
        self.in_either_way(
            Call::post(&["sandboxes"], about, &older)?.repeated(Repeat::Unsent),
            Call::post(&["v2", "sandboxes"], about, &newer)?.repeated(Repeat::Unsent),
        )
        .await
    }

    /// Takes a sandbox up again if it is paused. One that runs lives at least this long from now on.
    pub(super) async fn resume(&self, id: &str, timeout: Duration) -> Result<Sandbox> {
        let (about, body) = (About::Sandbox(id), Timeout { timeout: seconds(timeout) });
        self.in_either_way(
            Call::post(&["sandboxes", id, "connect"], about, &body)?,
            Call::post(&["v2", "sandboxes", id, "connect"], about, &body)?,
        )
        .await
    }

    /// A sandbox, and what time it is there; `None` if there is none of this id.
    pub(super) async fn get(&self, id: &str) -> Result<Option<(Sandbox, SystemTime)>> {
        let found = self.send(Call::get(&["sandboxes", id], About::Sandbox(id))).await;
        match found {
            Ok(answer) => {
                let now = clock(answer.headers());
                Ok(Some((read(answer).await?, now)))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The sandboxes with this metadata, running and paused ones or those in one state: all pages.
    pub(super) async fn list(
        &self,
        metadata: &BTreeMap<String, String>,
        state: Option<State>,
    ) -> Result<Vec<Sandbox>> {
        let states = match state {
            None => "running,paused",
            Some(State::Running) => "running",
            Some(State::Paused) => "paused",
        };
        let mut query = vec![("state", states.to_owned())];
        if !metadata.is_empty() {
            query.push(("metadata", encoded(metadata)));
        }
        self.pages(&["v2", "sandboxes"], query).await
    }

    /// Ends a sandbox; whether there was one.
    pub(super) async fn kill(&self, id: &str) -> Result<bool> {
        there(self.send(Call::new(Method::DELETE, &["sandboxes", id], About::Sandbox(id))).await)
    }

    /// Lets a sandbox live this long from now on, neither longer nor shorter.
    pub(super) async fn set_timeout(&self, id: &str, timeout: Duration) -> Result<()> {
        let body = Timeout { timeout: seconds(timeout) };
        self.send(Call::post(&["sandboxes", id, "timeout"], About::Sandbox(id), &body)?).await.map(drop)
    }

    /// Puts a sandbox aside. One that is: success.
    pub(super) async fn pause(&self, id: &str) -> Result<()> {
        let body = serde_json::Map::new();
        let call = Call::post(&["sandboxes", id, "pause"], About::Sandbox(id), &body)?;
        match self.send(call).await {
            Err(error) if error.status() == Some(409) && error.message().contains("already paused") => Ok(()),
            paused => paused.map(drop),
        }
    }

    /// Keeps the state of a sandbox.
    pub(super) async fn snapshot(&self, id: &str, name: Option<&str>) -> Result<Snapshot> {
        let body = NewSnapshot { name };
        let call = Call::post(&["sandboxes", id, "snapshots"], About::Sandbox(id), &body)?;
        read(self.send(call.repeated(Repeat::Unsent)).await?).await
    }

    /// All snapshots: all pages.
    pub(super) async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        self.pages(&["snapshots"], Vec::new()).await
    }

    /// Deletes a snapshot; whether there was one.
    pub(super) async fn delete_snapshot(&self, id: &str) -> Result<bool> {
        there(self.send(Call::new(Method::DELETE, &["templates", id], About::Snapshot(id))).await)
    }

    /// What a sandbox has used, the latest last.
    pub(super) async fn metrics(&self, id: &str) -> Result<Vec<Metric>> {
        read(self.send(Call::get(&["sandboxes", id, "metrics"], About::Sandbox(id))).await?).await
    }

    /// The older way, which servers of all kinds know; the newer one where that is gone, and from then on.
    async fn in_either_way(&self, older: Call<'_>, newer: Call<'_>) -> Result<Sandbox> {
        let servers = || NEWER.lock().unwrap_or_else(PoisonError::into_inner);
        let server = self.place.api.as_str();
        if servers().contains(server) {
            return read(self.send(newer).await?).await;
        }
        let refused = match self.send(older).await {
            Err(error) if is_no_such_call(&error) => error,
            done => return read(done?).await,
        };
        match self.send(newer).await {
            Err(error) if is_no_such_call(&error) => Err(refused),
            done => {
                let answer = done?;
                servers().insert(server.to_owned());
                read(answer).await
            }
        }
    }

    async fn pages<T: DeserializeOwned>(&self, path: &[&str], query: Vec<(&str, String)>) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut call = Call::get(path, About::All).with("limit", PAGE);
            call.query.extend(query.iter().cloned());
            if let Some(token) = &next {
                call = call.with("nextToken", token);
            }
            let answer = self.send(call).await?;
            let token = answer.headers().get("x-next-token").and_then(|token| token.to_str().ok());
            let token = token.filter(|token| !token.is_empty()).map(str::to_owned);
            let page: Vec<T> = read(answer).await?;
            let is_last = page.is_empty() || token.is_none() || token == next;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
            next = token;
        }
    }

    /// Sends a call; an answer of failure is an error.
    async fn send(&self, call: Call<'_>) -> Result<Answer> {
        let mut url = self.place.api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = Request::new(call.method, url);
        let headers = request.headers_mut();
        let key = self.place.key.header();
        let key =
            key.map_err(|_| Error::new(ErrorKind::Unauthenticated, "the E2B API key cannot be sent"))?;
        headers.insert("x-api-key", key);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(body) = call.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.into());
        }
        let answer = Http::shared()?.fetch(request, call.repeat, PATIENCE).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let headers = answer.headers().clone();
        let body = answer.bytes().await?;
        Err(error::refused(call.about, status, &headers, &body, &self.place.key))
    }
}

async fn read<T: DeserializeOwned>(answer: Answer) -> Result<T> {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await?;
    serde_json::from_slice(&body).map_err(|_| error::nonsense(status, &headers))
}

fn there(done: Result<Answer>) -> Result<bool> {
    match done {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an error says that there is nothing of this id, or that no id looks so.
fn is_missing(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
        || error.status() == Some(StatusCode::BAD_REQUEST.as_u16())
            && error.message().to_ascii_lowercase().contains("invalid sandbox id")
}

/// Whether an error says that a server has no such call, and not that it has nothing of this id.
fn is_no_such_call(error: &Error) -> bool {
    match error.status() {
        Some(405 | 410) => true,
        Some(404) => {
            let words =
                error.source_ref().map(|words| words.to_string().to_ascii_lowercase()).unwrap_or_default();
            !["template", "tag '", "sandbox"].iter().any(|thing| words.contains(thing))
        }
        _ => false,
    }
}

/// What time it is at the server; that here, if the two are close, because headers have no fractions of seconds.
fn clock(headers: &HeaderMap) -> SystemTime {
    let here = SystemTime::now();
    let date =
        headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(|date| rfc2822::parse(date).ok());
    let Some(there) = date.map(|date| SystemTime::from(Timestamp::from(date))) else { return here };
    let apart = there.duration_since(here).or_else(|_| here.duration_since(there)).unwrap_or_default();
    if apart < Duration::from_secs(3) { here } else { there }
}

/// Metadata in a query. The server decodes it three times: as a part of the query, as a whole, and key by key.
fn encoded(metadata: &BTreeMap<String, String>) -> String {
    let twice = |text: &str| {
        let once = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        utf8_percent_encode(&once, NON_ALPHANUMERIC).to_string()
    };
    let pairs: Vec<_> =
        metadata.iter().map(|(key, value)| format!("{}={}", twice(key), twice(value))).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_encoded_three_times() {
        let metadata = [("a b", "c&d"), ("k", "v")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut url = reqwest::Url::parse("https://api.e2b.app/v2/sandboxes").expect("it is one");
        url.query_pairs_mut().append_pair("metadata", &encoded(&metadata.into()));
        assert_eq!(url.query(), Some("metadata=a%252520b%3Dc%252526d%26k%3Dv"));
    }
}
