//! What `local({ … })` takes.

use crate::provider::{Network, Resources};

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
}
