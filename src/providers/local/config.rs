//! What `local({ … })` takes.

use std::collections::BTreeMap;

use crate::provider::{Mount, Network, Resources};

/// Defaults for the sandboxes of one `local()`, as the user wrote them.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Life of a sandbox in ms.
    pub timeout: Option<u64>,
    /// Language family or version.
    pub runtime: Option<String>,
    /// Limits.
    pub resources: Resources,
    /// The Python to use instead of the `python3` on `PATH`.
    pub python: Option<String>,
    /// The Node to use instead of the one that runs this process.
    pub node: Option<String>,
    /// Sandboxes that are made in advance, 2 unless this says otherwise.
    pub spares: Option<u8>,
    /// What they may reach; nothing unless this says otherwise.
    pub network: Option<Network>,
    /// What of this machine its sandboxes see.
    pub mounts: Vec<Mount>,
    /// What `template_id` names.
    pub templates: BTreeMap<String, Template>,
}

/// What sandboxes can be made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// A folder of this machine that is their root, below a layer of their own.
    Rootfs(String),
    /// The Python that they have.
    Python(String),
}
