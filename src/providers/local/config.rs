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
    /// Which interpreters are started before there is code for them, and when.
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

/// Which interpreters sandboxes have that are up before there is code for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warm {
    /// A Python.
    pub python: When,
    /// Modules that the Python has imported, where there is one from the beginning.
    pub preload: Vec<String>,
    /// A Node.js.
    pub node: When,
}

/// When a sandbox has an interpreter that is up before there is code for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// After the first code in its language, until there has been none for a while.
    #[default]
    Later,
    /// Never: each code has an interpreter that is started for it.
    Never,
    /// From the beginning, in sandboxes made in advance too, to the end of the sandbox.
    Always,
}
