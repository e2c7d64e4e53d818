//! What a sandbox may reach, and what became of that.

use napi::Env;
use napi::bindgen_prelude::PromiseRaw;
use napi_derive::napi;

use super::convert::{self, Date, Fields};
use super::sandbox::Sandbox;
use crate::error::{Error, Result};
use crate::provider::{Contact, Network};

#[napi]
impl Sandbox {
    /// The latest 1000 connections to the outside that programs in it asked for, the oldest first: what was allowed,
    /// what was refused, and why. Empty where it may reach nothing: then nobody can be asked.
    ///
    /// Raises `UnsupportedError` where the provider keeps no such log.
    ///
    /// @example
    /// ```ts
    /// const refused = (await sandbox.networkLog()).filter(({ verdict }) => verdict === 'refused')
    /// ```
    #[napi]
    pub fn network_log<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, Vec<NetworkLogEntry>>> {
        let sandbox = self.core.clone();
        env.spawn_future(async move {
            Ok(sandbox.network_log().await?.into_iter().map(NetworkLogEntry::from).collect())
        })
    }
}

/// A connection to the outside that a program in a sandbox asked for.
#[napi(object, object_from_js = false)]
pub struct NetworkLogEntry {
    /// When it was decided about.
    pub time: Date,
    /// The host: a name in lower case and ASCII, or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the sandbox may reach it.
    #[napi(ts_type = "'allowed' | 'refused'")]
    pub verdict: String,
    /// Why it was refused; or, of what was allowed, why nothing came of it.
    pub reason: Option<String>,
}

impl From<Contact> for NetworkLogEntry {
    fn from(contact: Contact) -> Self {
        Self {
            time: Date(contact.at),
            host: contact.host,
            port: contact.port,
            verdict: if contact.allowed { "allowed" } else { "refused" }.to_owned(),
            reason: contact.reason,
        }
    }
}

/// The option `network`, of a sandbox or of all of a provider's.
pub(super) fn network(fields: &Fields<'_>) -> Result<Option<Network>> {
    let Some(value) = fields.get("network")? else { return Ok(None) };
    if convert::is_record(&value) {
        let hosts = Fields::of("network", &value, &["allow"])?.strings("allow")?;
        return hosts
            .map(|hosts| Some(Network::Allow(hosts)))
            .ok_or_else(|| Error::invalid("`network.allow` is missing"));
    }
    match convert::string("network", &value)?.as_str() {
        "none" => Ok(Some(Network::None)),
        "full" => Ok(Some(Network::Full)),
        other => Err(Error::invalid(format!(
            "`network` must be 'none', 'full' or {{ allow: […] }}, got '{other}'"
        ))),
    }
}
