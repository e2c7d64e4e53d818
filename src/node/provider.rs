//! The providers: `local()`, `docker()`, `e2b()`, as handles that the door makes objects of.

use std::sync::Arc;

use napi::bindgen_prelude::{External, Unknown};
use napi_derive::napi;

use super::convert::Fields;
use super::network::network;
use super::{create, mounts, pull, warm};
use crate::error::Error;
use crate::provider as contract;
use crate::providers::{docker, e2b, local as local_provider};

/// A provider as the door holds it.
pub type Handle = External<Arc<dyn contract::Provider>>;

fn handle(provider: impl contract::Provider + 'static) -> Handle {
    External::new(Arc::new(provider))
}

/// What tells one provider from all others, as long as it is there: its address, or less than 0 for plug-ins.
pub(super) fn key(provider: &Arc<dyn contract::Provider>) -> f64 {
    match provider.identity() {
        Some(identity) => -f64::from(identity),
        None => Arc::as_ptr(provider).cast::<()>().addr() as f64,
    }
}

/// The key of a handle.
#[napi(skip_typescript)]
pub fn key_of_provider(handle: &Handle) -> f64 {
    key(handle)
}

#[napi(skip_typescript)]
pub fn local(config: Unknown<'_>) -> napi::Result<Handle> {
    const OPTIONS: [&str; 11] = [
        "timeout",
        "runtime",
        "resources",
        "python",
        "node",
        "spares",
        "warm",
        "network",
        "mounts",
        "templates",
        "snapshotMemory",
    ];
    let fields = Fields::of("local", &config, &OPTIONS)?;
    let config = local_provider::Config {
        timeout: fields.millis("timeout")?.map(|timeout| timeout.as_millis() as u64),
        runtime: fields.string("runtime")?,
        resources: create::resources(&fields)?,
        python: fields.string("python")?,
        node: fields.string("node")?,
        spares: fields.whole("spares", 16)?.map(|spares| spares as u8),
        network: network(&fields)?,
        mounts: mounts::mounts(&fields)?,
        templates: mounts::templates(&fields)?,
        warm: warm::warm(&fields)?,
        snapshot_memory: fields.whole("snapshotMemory", u64::MAX)?,
    };
    Ok(handle(local_provider::Local::new(config)))
}

#[napi(skip_typescript)]
pub fn docker(config: Unknown<'_>) -> napi::Result<Handle> {
    const OPTIONS: [&str; 10] = [
        "image",
        "socketPath",
        "host",
        "tls",
        "resources",
        "network",
        "timeout",
        "runtime",
        "pull",
        "onPull",
    ];
    let fields = Fields::of("docker", &config, &OPTIONS)?;
    let config = docker::Config {
        image: fields.string("image")?,
        socket_path: fields.string("socketPath")?,
        host: fields.string("host")?,
        tls: fields.get("tls")?.map(|tls| certificates(&tls)).transpose()?,
        resources: create::resources(&fields)?,
        network: network(&fields)?,
        timeout: fields.millis("timeout")?.map(|timeout| timeout.as_millis() as u64),
        runtime: fields.string("runtime")?,
        pull: match fields.string("pull")?.as_deref() {
            None | Some("missing") => docker::Pull::Missing,
            Some("never") => docker::Pull::Never,
            Some("always") => docker::Pull::Always,
            Some(other) => {
                let message = format!("`pull` must be 'missing', 'never' or 'always', got '{other}'");
                return Err(Error::invalid(message).into());
            }
        },
        on_pull: pull::watcher(&fields)?.map(|watcher| Arc::new(watcher) as Arc<dyn docker::Watcher>),
    };
    Ok(handle(docker::Docker::new(config)))
}

/// Who an engine at an address is, and who asks.
fn certificates(tls: &Unknown<'_>) -> napi::Result<docker::Tls> {
    let fields = Fields::of("tls", tls, &["ca", "cert", "key"])?;
    let key = fields.string("key")?.map(docker::Secret::from);
    Ok(docker::Tls { ca: fields.string("ca")?, cert: fields.string("cert")?, key })
}

#[napi(js_name = "e2b", skip_typescript)]
pub fn e2b(config: Unknown<'_>) -> napi::Result<Handle> {
    const OPTIONS: [&str; 7] =
        ["apiKey", "runtime", "timeout", "templateId", "apiUrl", "sandboxUrl", "domain"];
    let fields = Fields::of("e2b", &config, &OPTIONS)?;
    let config = e2b::Config {
        api_key: fields.string("apiKey")?.map(e2b::Secret::from),
        runtime: fields.string("runtime")?,
        timeout: fields.millis("timeout")?.map(|timeout| timeout.as_millis() as u64),
        template_id: fields.string("templateId")?,
        api_url: fields.string("apiUrl")?,
        sandbox_url: fields.string("sandboxUrl")?,
        domain: fields.string("domain")?,
        debug: None,
    };
    Ok(handle(e2b::E2b::new(config)))
}
