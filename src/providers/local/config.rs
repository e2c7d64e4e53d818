//! What `local({ … })` takes.

use crate::provider::Resources;

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
