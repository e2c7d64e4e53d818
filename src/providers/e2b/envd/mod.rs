//! The data plane: envd, the program that runs in every sandbox of E2B and does there what it is asked for.
//!
//! It speaks the Connect protocol for processes and directories, and plain HTTP for the contents of files.

mod content;
mod copy;
mod error;
mod files;
mod follow;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod json;
mod links;
mod messages;
mod path;
mod ports;
mod process;
mod script;
mod start;
#[cfg(test)]
mod tests;
mod tree;
mod version;
mod write;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Request, Url};
use tokio_util::sync::CancellationToken;

use self::error::{is_gone, silent};
use self::messages::{Empty, ListResponse};
pub(crate) use self::version::Version;
use super::kernel::Kernel;
use crate::error::{Error, Result};
use crate::provider::{Cell, CellStream, Kernels, Running};
use crate::transport::connect::{Fault, Foreign, Message, Service};
use crate::transport::{Answer, Http, Repeat, Secret};

/// How long a sandbox may take to say that it is there.
const HEALTH: Duration = Duration::from_secs(5);

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Where a sandbox is.
pub(crate) struct Endpoint {
    /// Its id.
    pub(crate) sandbox: String,
    /// What opens it, which is in no message.
    pub(crate) token: Option<Secret>,
    /// What its envd is able to.
    pub(crate) version: Version,
    /// Where its envd is.
    pub(crate) daemon: Server,
    /// Where its interpreters are, if it has any.
    pub(crate) interpreter: Server,
}

/// A server in a sandbox: its address without a path, and what every request to it carries.
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) headers: HeaderMap,
}

/// Who knows what has become of a sandbox that is not found.
#[async_trait]
pub(crate) trait Fate: Send + Sync {
    /// The error of every call to it.
    async fn told(&self) -> Error;

    /// Cancelled when it is known to have ended.
    fn over(&self) -> CancellationToken;
}

/// envd of a sandbox. Clones are the same.
#[derive(Clone)]
pub(crate) struct Envd(Arc<Inner>);

struct Inner {
    sandbox: String,
    token: Option<Secret>,
    version: Version,
    base: Url,
    headers: HeaderMap,
    service: Service,
    kernel: Kernel,
    fate: Mutex<Option<Weak<dyn Fate>>>,
    /// User and group of what commands make.
    owner: OnceLock<String>,
    doomed: tree::Waiting,
}

impl Debug for Envd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envd").field("sandbox", &self.0.sandbox).finish_non_exhaustive()
    }
}

impl Envd {
    /// That of a sandbox. Nothing is sent.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self> {
        let Endpoint { sandbox, token, version, daemon: Server { base: address, headers }, interpreter } =
            endpoint;
        let base = Url::parse(&address)
            .map_err(|error| Error::invalid(format!("`{address}` is no URL: {error}")))?;
        // Sandboxes with hosts of their own are of one make.
        let service = Service::new(&address, &address.replace(&sandbox, "*"), headers.clone());
        let kernel = Kernel::new(&interpreter.base, interpreter.headers);
        Ok(Self(Arc::new(Inner {
            sandbox,
            token,
            version,
            base,
            headers,
            service,
            kernel,
            fate: Mutex::default(),
            owner: OnceLock::new(),
            doomed: tree::Waiting::default(),
        })))
    }

    /// Says who is to be asked when the sandbox is not found.
    pub(crate) fn ask_about_its_end(&self, fate: Weak<dyn Fate>) {
        *self.0.fate.lock().unwrap_or_else(PoisonError::into_inner) = Some(fate);
    }

    fn fate(&self) -> Option<Arc<dyn Fate>> {
        self.0.fate.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    /// Cancelled when the sandbox is known to have ended.
    fn over(&self) -> CancellationToken {
        self.fate().map(|fate| fate.over()).unwrap_or_default()
    }

    fn sandbox(&self) -> &str {
        &self.0.sandbox
    }

    fn version(&self) -> Version {
        self.0.version
    }

    fn service(&self) -> &Service {
        &self.0.service
    }

    /// Calls a method that is answered once.
    async fn call<Q: Message, A: Message>(&self, method: &str, request: &Q, repeat: Repeat) -> Result<A> {
        match self.ask(method, request, repeat).await {
            Ok(answer) => Ok(answer),
            Err(fault) => Err(self.error(fault).await),
        }
    }

    /// Likewise, for callers that tell themselves what a failure means.
    async fn ask<Q: Message, A: Message>(
        &self,
        method: &str,
        request: &Q,
        repeat: Repeat,
    ) -> Result<A, Fault> {
        let headers = self.acting_as(None)?;
        let answer = self.service().call(method, request, &headers, repeat);
        tokio::time::timeout(LIMIT, answer).await.unwrap_or_else(|_| Err(Fault::Lost(silent())))
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
        match Http::shared()?.send(request, repeat).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.lost(error).await),
        }
    }

    /// Whether the sandbox is there, as far as can be told within a few seconds.
    pub(crate) async fn health(&self) -> Health {
        let asking = async {
            let request = self.request(Method::GET, "health", &[])?;
            let answer = Http::shared()?.send(request, Repeat::Idempotent).await?;
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

#[async_trait]
impl Kernels for Envd {
    async fn execute(&self, code: &Cell) -> Result<CellStream> {
        self.0.kernel.execute(self, code).await
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
