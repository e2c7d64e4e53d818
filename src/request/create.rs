//! The options of a sandbox that a client asks for.

use std::time::Duration;

use serde_json::{Map, Value};

use super::failure::Failure;
use super::json::Object;
use super::{OWNER, Policy};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{CreateRequest, Network, Resources};
use crate::sandbox::{check_env, check_port};

/// The keys of `options` that a client can be allowed to set.
pub(super) const CLIENT_OPTIONS: [&str; 10] = [
    "runtime",
    "timeout",
    "metadata",
    "sandboxId",
    "templateId",
    "domain",
    "envs",
    "ports",
    "resources",
    "network",
];

/// Those that nobody can allow: directories of this machine, another provider, what only a caller can mean.
const NEVER: [&str; 5] = ["mounts", "provider", "providerOptions", "options", "signal"];

/// Bytes of JSON that a client may have kept with a sandbox.
const MAX_METADATA: usize = 4 << 10;

/// What is asked of `create`.
#[derive(Debug)]
pub(super) struct Wish {
    /// What the client asks for, over what every sandbox is made with.
    pub(super) request: CreateRequest,
    /// The keys that the client has set.
    keys: Vec<&'static str>,
}

impl Wish {
    pub(super) fn read(body: &Object<'_>, policy: &Policy) -> Result<Self> {
        let options = body.object("options", &[&CLIENT_OPTIONS[..], &NEVER].concat())?;
        let keys: Vec<_> = options.keys().collect();
        if let Some(key) = keys.iter().find(|key| !policy.create_options.contains(key)) {
            return Err(not_allowed(key, policy));
        }
        let mut request = policy.create_defaults.clone();
        if let Some(runtime) = options.text("runtime")? {
            super::language("options.runtime", &runtime)?;
            request.runtime = Some(runtime);
        }
        if let Some(life) = options.whole("timeout", 1, u64::MAX)? {
            request.timeout = Some(Duration::from_millis(life));
        }
        if let Some(metadata) = metadata(&options)? {
            request.metadata.get_or_insert_default().extend(metadata);
        }
        request.sandbox_id = options.text("sandboxId")?.or(request.sandbox_id);
        request.template_id = options.text("templateId")?.or(request.template_id);
        request.domain = options.text("domain")?.or(request.domain);
        if let Some(envs) = options.pairs("envs")? {
            check_env(&envs)?;
            request.envs.extend(envs);
        }
        if let Some(ports) = options.ports("ports")? {
            ports.iter().try_for_each(|port| check_port("options.ports", *port))?;
            request.ports = ports;
        }
        if let Some(resources) = resources(&options)? {
            request.resources = resources.or(request.resources);
        }
        if let Some(network) = network(&options)? {
            request.network = Some(network);
        }
        Ok(Self { request, keys })
    }

    /// Puts the owner's name where nobody else can.
    pub(super) fn stamp(&mut self, owner: &str) {
        self.request.metadata.get_or_insert_default().insert(OWNER.to_owned(), owner.into());
    }

    /// What it is that no sandbox was made: the client's business only if an option is named that it has set.
    pub(super) fn failure(&self, error: Error) -> Failure {
        let is_named = |key: &&str| {
            let name = format!("`{key}");
            error.message().match_indices(&name).any(|(at, _)| {
                let rest = &error.message()[at + name.len()..];
                rest.starts_with(['`', '.', '['])
            })
        };
        let is_input =
            matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::Unsupported | ErrorKind::NotFound);
        let is_taken = error.kind() == ErrorKind::AlreadyExists && self.keys.contains(&"sandboxId");
        if is_taken || (is_input && self.keys.iter().any(is_named)) {
            return Failure::told(error);
        }
        Failure::hidden(error)
    }
}

fn not_allowed(key: &str, policy: &Policy) -> Error {
    let message = format!("`options.{key}` is not allowed");
    // An id of one's own could be that of somebody else's sandbox.
    let kind = if key == "sandboxId" { ErrorKind::PermissionDenied } else { ErrorKind::InvalidArgument };
    Error::new(kind, message).with_hint(format!("allowed are: {}", policy.create_options.join(", ")))
}

fn metadata(options: &Object<'_>) -> Result<Option<Map<String, Value>>> {
    if let Some(raw) = options.raw("metadata").filter(|raw| raw.len() > MAX_METADATA) {
        return Err(Error::invalid(format!(
            "`options.metadata` is too large: {} bytes of JSON, {MAX_METADATA} at most",
            raw.len()
        )));
    }
    let metadata = options.json("metadata")?;
    if metadata.as_ref().is_some_and(|metadata| metadata.contains_key(OWNER)) {
        return Err(Error::invalid(format!("`options.metadata` cannot have the key `{OWNER}`")));
    }
    Ok(metadata)
}

fn resources(options: &Object<'_>) -> Result<Option<Resources>> {
    const KEYS: [&str; 5] = ["memory", "disk", "cpus", "processes", "enforce"];
    if options.raw("resources").is_none() {
        return Ok(None);
    }
    let resources = options.object("resources", &KEYS)?;
    Ok(Some(Resources {
        memory: resources.whole("memory", 0, u64::MAX)?,
        disk: resources.whole("disk", 0, u64::MAX)?,
        cpus: resources.number("cpus")?,
        processes: resources.whole("processes", 0, u32::MAX.into())?.map(|number| number as u32),
        enforce: resources.flag("enforce")?,
    }))
}

fn network(options: &Object<'_>) -> Result<Option<Network>> {
    let Some(raw) = options.raw("network") else { return Ok(None) };
    if raw.starts_with('{') {
        let hosts = options.object("network", &["allow"])?.texts("allow")?;
        let hosts = hosts.ok_or_else(|| Error::invalid("`options.network.allow` is missing"))?;
        return Ok(Some(Network::Allow(hosts)));
    }
    match options.text("network")?.as_deref() {
        Some("none") => Ok(Some(Network::None)),
        Some("full") => Ok(Some(Network::Full)),
        _ => Err(Error::invalid("`options.network` must be 'none', 'full' or { allow: […] }")),
    }
}
