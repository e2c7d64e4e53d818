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
    /// When interpreters are started before there is code for them.
    pub warm: Warm,
    /// What they may reach; nothing unless this says otherwise.
    pub network: Option<Network>,
    /// What of this machine its sandboxes see.
    pub mounts: Vec<Mount>,
    /// What `template_id` names.
    pub templates: BTreeMap<String, Template>,
    /// Bytes of memory that all snapshots of this process may take when another is made.
    pub snapshot_memory: Option<u64>,
}

/// What sandboxes can be made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// A folder of this machine that is their root, below a layer of their own.
    Rootfs(String),
    /// The Python that they have.
    Python(String),
}

/// When a sandbox has a Python that is up before there is code for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Warm {
    /// After the first code in Python, until there has been none for a while.
    #[default]
    Later,
    /// Never: each code has an interpreter that is started for it.
    Never,
    /// From the beginning, in sandboxes made in advance too, to the end of the sandbox.
    Always {
        /// Modules that it has imported.
        preload: Vec<String>,
    },
}
