//! The options of `create`.

use napi::bindgen_prelude::Unknown;
use tokio_util::sync::CancellationToken;

use super::convert::Fields;
use super::mounts;
use super::network::network;
use crate::error::Result;
use crate::provider::{CreateRequest, Resources};

pub(super) const OPTIONS: [&str; 14] = [
    "runtime",
    "timeout",
    "sandboxId",
    "templateId",
    "metadata",
    "domain",
    "envs",
    "ports",
    "signal",
    "resources",
    "network",
    "mounts",
    "provider",
    "providerOptions",
];
const RESOURCES: [&str; 5] = ["memory", "disk", "cpus", "processes", "enforce"];

/// What `create` was asked for.
pub(super) struct Create<'a> {
    pub(super) request: CreateRequest,
    pub(super) cancel: CancellationToken,
    /// A provider, or the name of a configured one.
    pub(super) provider: Option<Unknown<'a>>,
}

impl<'a> Create<'a> {
    pub(super) fn read(value: &Unknown<'a>) -> Result<Self> {
        let fields = Fields::with_nested("options", value, &OPTIONS, "options")?;
        let request = CreateRequest {
            runtime: fields.string("runtime")?,
            timeout: fields.millis("timeout")?,
            sandbox_id: fields.string("sandboxId")?,
            template_id: fields.string("templateId")?,
            metadata: fields.json("metadata")?,
            domain: fields.string("domain")?,
            envs: fields.texts("envs")?,
            ports: fields.ports("ports")?,
            resources: resources(&fields)?,
            network: network(&fields)?,
            mounts: mounts::mounts(&fields)?,
            own: fields.json("providerOptions")?,
        };
        Ok(Self { request, cancel: fields.cancellation()?, provider: fields.get("provider")? })
    }
}

/// Limits, of a sandbox or of all of a provider's.
pub(super) fn resources(fields: &Fields<'_>) -> Result<Resources> {
    let Some(value) = fields.get("resources")? else { return Ok(Resources::default()) };
    let fields = Fields::of("resources", &value, &RESOURCES)?;
    Ok(Resources {
        memory: fields.whole("memory", u64::MAX)?,
        disk: fields.whole("disk", u64::MAX)?,
        cpus: fields.number("cpus")?,
        processes: fields.whole("processes", u32::MAX.into())?.map(|number| number as u32),
        enforce: fields.boolean("enforce")?,
    })
}
