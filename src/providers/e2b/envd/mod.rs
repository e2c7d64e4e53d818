//! The data plane: envd, the program that runs in every sandbox of E2B and does there what it is asked for.
//!
//! It speaks the Connect protocol for processes and directories, and plain HTTP for the contents of files.

mod content;
mod copy;
mod error;
mod files;
mod follow;
mod json;
mod links;
mod messages;
mod path;
mod ports;
mod process;
mod script;
mod start;
mod tree;
mod version;
mod write;

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Request, Url};

use self::error::is_gone;
use self::messages::{Empty, ListResponse};
pub(crate) use self::version::Version;
use super::access::{Access, Server};
use crate::error::{Error, Result};
use crate::provider::Running;
use crate::transport::connect::{Foreign, Message, Service};
use crate::transport::{Answer, Http, Repeat};

/// How long a sandbox may take to say that it is there.
const HEALTH: Duration = Duration::from_secs(5);

/// envd of a sandbox. Clones are the same.
#[derive(Clone)]
pub(crate) struct Envd(Arc<Inner>);

struct Inner {
    access: Access,
    version: Version,
    base: Url,
    headers: HeaderMap,
    service: Service,
    /// User and group of what commands make.
    owner: OnceLock<String>,
}

impl Debug for Envd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Envd").field(&self.0.access).finish()
    }
}

impl Envd {
    /// That of a sandbox. Nothing is sent.
    pub(super) fn new(access: Access) -> Result<Self> {
        let Server { base, headers } = access.daemon()?;
        // Sandboxes with hosts of their own are of one make.
        let make = base.replace(&access.sandbox, "*");
        let service = Service::new(&base, &make, headers.clone());
        let base =
            Url::parse(&base).map_err(|error| Error::invalid(format!("`{base}` is no URL: {error}")))?;
        let version = Version::read(&access.version);
        Ok(Self(Arc::new(Inner { access, version, base, headers, service, owner: OnceLock::new() })))
    }

    pub(super) fn access(&self) -> &Access {
        &self.0.access
    }

    fn version(&self) -> Version {
        self.0.version
    }

    fn service(&self) -> &Service {
        &self.0.service
    }

    /// Calls a method that is answered once.
    async fn call<Q: Message, A: Message>(&self, method: &str, request: &Q, repeat: Repeat) -> Result<A> {
        let answer = self.service().call(method, request, &self.acting_as(None)?, repeat).await;
        match answer {
            Ok(answer) => Ok(answer),
            Err(fault) => Err(self.error(fault).await),
        }
    }

    /// The header that says which user something is done as; absent is the template's.
    fn acting_as(&self, user: Option<&str>) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if let Some(user) = self.user(user) {
            let credentials = format!("Basic {}", BASE64.encode(format!("{user}:")));
            headers.insert(AUTHORIZATION, value(&credentials)?);
        }
        Ok(headers)
    }

    /// The user to name; the oldest know no default.
    fn user<'a>(&self, user: Option<&'a str>) -> Option<&'a str> {
        user.or((self.version() < Version::DEFAULT_USER).then_some("user"))
    }

    /// A request outside of its services.
    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> Result<Request> {
        let mut url = self.0.base.clone();
        {
            let mut segments = url
                .path_segments_mut()
                .map_err(|()| Error::invalid(format!("`{}` is no address of a server", self.0.base)))?;
            segments.pop_if_empty().extend(path.split('/'));
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = Request::new(method, url);
        *request.headers_mut() = self.0.headers.clone();
        Ok(request)
    }

    async fn send(&self, request: Request, repeat: Repeat) -> Result<Answer> {
        Http::shared()?.send(request, repeat).await
    }

    /// Whether the sandbox is there, as far as can be told within a few seconds.
    pub(crate) async fn health(&self) -> Health {
        let asking = async {
            let answer = self.send(self.request(Method::GET, "health", &[])?, Repeat::Idempotent).await?;
            if answer.status().is_success() {
                return Ok(Health::Alive);
            }
            let foreign = Foreign::read(answer).await?;
            Ok::<_, Error>(if is_gone(&foreign) { Health::Gone } else { Health::Unknown })
        };
        tokio::time::timeout(HEALTH, asking).await.ok().and_then(Result::ok).unwrap_or(Health::Unknown)
    }

    /// The processes that run, by their numbers. What works for this library is none of them.
    pub(crate) async fn processes(&self) -> Result<Vec<Running>> {
        let list: ListResponse = self.call("process.Process/List", &Empty {}, Repeat::Idempotent).await?;
        let mut running: Vec<_> = list
            .processes
            .into_iter()
            .filter(|process| !script::is_ours(process.tag.as_deref()))
            .map(|process| Running { pid: process.pid, tag: process.tag })
            .collect();
        running.sort_unstable_by_key(|process| process.pid);
        Ok(running)
    }
}

/// Whether a sandbox is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It answers.
    Alive,
    /// Nobody knows it, or it does not run.
    Gone,
    /// It cannot be told.
    Unknown,
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text)
        .map_err(|_| Error::invalid("a name or key has characters that no header can hold"))
}
