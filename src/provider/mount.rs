//! What a user lends of the own machine.

/// A directory or a file of this machine that a sandbox sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path on this machine.
    pub source: String,
    /// Absolute path in the sandbox.
    pub target: String,
    /// What the sandbox may do with it.
    pub mode: MountMode,
    /// Whether it is meant even if it is a place that holds secrets.
    pub force: bool,
}

/// What a sandbox may do with a [`Mount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountMode {
    /// Read it.
    ReadOnly,
    /// Read and change it.
    ReadWrite,
    /// Read it, and change it for itself: what it writes is its own and goes with it.
    Copy,
}

impl MountMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ReadOnly, Self::ReadWrite, Self::Copy];

    /// Its name outside of Rust.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
            Self::Copy => "copy",
        }
    }
}
