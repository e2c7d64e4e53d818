//! How what runs in a sandbox is reached: where, and with which headers.

use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::config::Place;
use super::life::Life;
use super::wire::Sandbox;
use crate::error::{Error, Result};
use crate::transport::Secret;

/// The port of E2B's daemon, `envd`.
const DAEMON: u16 = 49983;

/// The way to one sandbox.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// The id by which E2B knows it.
    pub(super) sandbox: String,
    /// The version of its daemon.
    pub(super) version: String,
    /// What its daemon wants to see; signs the URLs of files, too.
    pub(super) token: Option<Secret>,
    /// What every other server in it wants to see, if the sandbox is private.
    traffic: Option<Secret>,
    /// Where its servers are, if not where all are.
    domain: Option<String>,
    place: Place,
    /// Why it does not answer, when it does not: `life.explain(error)`.
    pub(super) life: Arc<Life>,
}

/// Where a server in a sandbox is reached, without a slash at the end, and what every request to it carries.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) base: String,
    pub(super) headers: HeaderMap,
}

impl Access {
    /// From an answer that has the sandbox' tokens.
    pub(super) fn new(sandbox: &Sandbox, place: &Place, life: Arc<Life>) -> Self {
        Self {
            sandbox: sandbox.id.clone(),
            version: sandbox.envd_version.clone(),
            token: sandbox.envd_access_token.clone(),
            traffic: sandbox.traffic_access_token.clone(),
            domain: sandbox.domain.clone().filter(|domain| !domain.is_empty()),
            place: place.clone(),
            life,
        }
    }

    /// Whether an answer tells the same.
    pub(super) fn is_as(&self, sandbox: &Sandbox) -> bool {
        self.token == sandbox.envd_access_token
            && self.traffic == sandbox.traffic_access_token
            && self.domain == sandbox.domain.clone().filter(|domain| !domain.is_empty())
    }

    /// Its daemon: processes, files, terminals.
    pub(super) fn daemon(&self) -> Result<Server> {
        let base = self.place.daemon(self.domain.as_deref(), &self.sandbox, DAEMON);
        self.server(base, DAEMON, None)
    }

    /// Another server in it, such as an interpreter.
    pub(super) fn direct(&self, port: u16) -> Result<Server> {
        let base = self.place.direct(self.domain.as_deref(), &self.sandbox, port);
        self.server(base, port, self.traffic.as_ref())
    }

    /// The URL of a port, for users.
    pub(super) fn url(&self, port: u16, protocol: Option<&str>) -> Result<String> {
        self.place.url(self.domain.as_deref(), &self.sandbox, port, protocol)
    }

    fn server(&self, base: String, port: u16, traffic: Option<&Secret>) -> Result<Server> {
        let unsendable = |_| {
            Error::invalid(format!("E2B gave an id or a token that no header can hold: `{}`", self.sandbox))
        };
        let mut headers = HeaderMap::new();
        // All sandboxes may be behind one address: these two say which is meant.
        headers.insert("e2b-sandbox-id", HeaderValue::from_str(&self.sandbox).map_err(unsendable)?);
        headers.insert("e2b-sandbox-port", HeaderValue::from(port));
        for (name, secret) in [("x-access-token", self.token.as_ref()), ("e2b-traffic-access-token", traffic)]
        {
            if let Some(secret) = secret {
                headers.insert(HeaderName::from_static(name), secret.header().map_err(unsendable)?);
            }
        }
        Ok(Server { base, headers })
    }
}
