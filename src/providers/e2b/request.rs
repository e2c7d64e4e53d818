//! What `create` is asked for, in E2B's words. What they have no word for is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::Config;
use super::metadata;
use super::wire::{NewNetwork, NewSandbox, seconds};
use crate::code::{self, Language};
use crate::error::{Error, Result};
use crate::provider::{self, CreateRequest, DEFAULT_LIFE, Network, Resources};

/// All addresses.
const EVERYWHERE: &str = "0.0.0.0/0";

/// Everything about a sandbox that is to be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) new: NewSandbox,
    pub(super) language: Option<Language>,
    pub(super) timeout: Duration,
}

/// How long a sandbox lives that nobody gives a time.
pub(super) fn default_timeout(config: &Config) -> Duration {
    config.timeout.map_or(DEFAULT_LIFE, Duration::from_millis)
}

/// Resolves what is asked for: the request's word before the configuration's, and that before the default.
pub(super) fn resolve(config: &Config, request: &CreateRequest) -> Result<Wanted> {
    refuse(&request.resources)?;
    if !request.mounts.is_empty() {
        return Err(Error::unsupported("`mounts`: E2B does not see this machine")
            .with_hint("write the files into the sandbox with sandbox.filesystem"));
    }
    let timeout = request.timeout.unwrap_or_else(|| default_timeout(config));
    if timeout.is_zero() {
        return Err(Error::unsupported("`timeout: 0`: every sandbox of E2B has an end")
            .with_hint("give it a long one, and extendTimeout() before that is over"));
    }
    let language = config.language(request.runtime.as_deref())?;
    if let Some(version) = request.runtime.as_deref().or(config.runtime.as_deref()).and_then(code::version) {
        tracing::info!(version, "the template of a sandbox decides the version of its interpreters");
    }
    let mut texts = request.metadata.as_ref().map(metadata::given).transpose()?.unwrap_or_default();
    texts.extend(ours(request.sandbox_id.as_deref(), language)?);
    let (allow_internet_access, network) = network(request.network.as_ref());
    let new = NewSandbox {
        template_id: request.template_id.clone().unwrap_or_else(|| config.template().to_owned()),
        timeout: seconds(timeout),
        secure: None,
        metadata: texts,
        env_vars: request.envs.clone(),
        allow_internet_access,
        network,
    };
    Ok(Wanted { new, language, timeout })
}

/// What we keep in the metadata.
fn ours(id: Option<&str>, language: Option<Language>) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    if let Some(id) = id {
        if !is_possible_id(id) {
            return Err(Error::invalid(format!(
                "`sandboxId` must be 1 to 128 letters, digits, `-`, `_` and `.`, got `{id}`"
            )));
        }
        texts.insert(metadata::ID.to_owned(), id.to_owned());
    }
    if let Some(language) = language {
        texts.insert(metadata::RUNTIME.to_owned(), language.to_string());
    }
    Ok(texts)
}

/// Whether a sandbox can have this id. Dots alone are something else in a URL.
pub(super) fn is_possible_id(id: &str) -> bool {
    provider::is_possible_id(id) && id.bytes().any(|byte| byte != b'.')
}

/// Whether an id is of the form of those that E2B makes: it is looked for among those first.
pub(super) fn is_made_there(id: &str) -> bool {
    let core = id.split('-').next().unwrap_or_default();
    core.len() >= 20 && core.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Its template decides how large a sandbox is. That limits hold for it as a whole is so in any case.
fn refuse(resources: &Resources) -> Result<()> {
    let given = [
        ("memory", resources.memory.is_some()),
        ("disk", resources.disk.is_some()),
        ("cpus", resources.cpus.is_some()),
        ("processes", resources.processes.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((name, _)) => Err(Error::unsupported(format!(
            "`resources.{name}`: the template decides how large a sandbox of E2B is"
        ))
        .with_hint("build a template of that size, and name it in `templateId`")),
    }
}

/// What it may reach. Where some hosts are named, all others are closed; where none is, that is nothing.
fn network(network: Option<&Network>) -> (Option<bool>, Option<NewNetwork>) {
    match network {
        None => (None, None),
        Some(Network::Full) => (Some(true), None),
        Some(Network::None) => (Some(false), None),
        Some(Network::Allow(hosts)) if hosts.is_empty() => (Some(false), None),
        Some(Network::Allow(hosts)) => {
            (None, Some(NewNetwork { allow_out: hosts.clone(), deny_out: vec![EVERYWHERE.to_owned()] }))
        }
    }
}
