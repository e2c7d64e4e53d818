//! What only some providers and sandboxes can do.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::Stream;

use super::Command;
use crate::error::Result;

/// The snapshots of a provider.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// All of them, in no order.
    async fn list(&self) -> Result<Vec<Snapshot>>;

    /// Deletes one. Missing: success. One that sandboxes still use is an error.
    async fn delete(&self, id: &str) -> Result<()>;
}

/// What sandboxes can be made from: its id is a `template_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: String,
    /// Names that it goes by too.
    pub names: Vec<String>,
}

/// A sandbox whose commands go on by themselves, if they are not waited for: nobody reads them or finds them again.
#[async_trait]
pub trait Detaching: Send + Sync {
    /// Starts a command: ready when it has begun. Its number in the sandbox, if that is told.
    async fn detach(&self, command: &Command) -> Result<Option<u32>>;
}

/// A sandbox that can be put aside, files and processes as they are, and taken up again.
#[async_trait]
pub trait Pausing: Send + Sync {
    /// Puts it aside: its status is `Stopped`, and until it is resumed every call but `info` and `destroy` is
    /// `Unavailable`, which tells so. Twice: success.
    async fn pause(&self) -> Result<()>;

    /// Takes it up again, to live at least this long from now on. One that runs: success, and its life is never
    /// made shorter.
    async fn resume(&self, timeout: Option<Duration>) -> Result<()>;
}

/// A sandbox whose state can be kept.
#[async_trait]
pub trait Snapshotting: Send + Sync {
    /// Keeps its state as it is now. It goes on.
    async fn snapshot(&self, name: Option<&str>) -> Result<Snapshot>;
}

/// A sandbox whose connections to the outside are judged one by one.
#[async_trait]
pub trait Networking: Send + Sync {
    /// What was decided about the latest of them, the oldest first. Empty where it may reach nothing.
    async fn log(&self) -> Result<Vec<Contact>>;
}

/// A connection that a sandbox asked for, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// When that was decided.
    pub at: SystemTime,
    /// The host, a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the sandbox may reach it.
    pub allowed: bool,
    /// Why not; or, of what is allowed, why nothing came of it.
    pub reason: Option<String>,
}

/// Interpreters that keep their state.
#[async_trait]
pub trait Kernels: Send + Sync {
    /// Runs a piece of code after all that ran in the same context before. What it prints and gives comes as a
    /// stream, which ends with it. Dropped, the code is interrupted.
    async fn execute(&self, code: &Cell) -> Result<CellStream>;
}

/// A piece of code for an interpreter that keeps its state.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// The code.
    pub source: String,
    /// Its language.
    pub language: String,
    /// Whose variables it sees: made when it is first named.
    pub context: String,
    /// Working directory of a context that is made.
    pub cwd: Option<String>,
    /// Environment variables, for this piece of code.
    pub env: BTreeMap<String, String>,
}

/// What a piece of code prints and gives, as it comes.
pub type CellStream = Pin<Box<dyn Stream<Item = Result<CellEvent>> + Send>>;

/// Something that a piece of code has printed or given.
#[derive(Clone, Debug, PartialEq)]
pub enum CellEvent {
    /// Text of standard output.
    Stdout(String),
    /// Text of standard error.
    Stderr(String),
    /// A result, by its kinds: `text`, `html`, `png` and so on, in the interpreter's own words.
    Result(serde_json::Map<String, serde_json::Value>),
    /// An exception that nothing caught; nothing follows.
    Raised {
        /// Its class.
        name: String,
        /// What it says.
        value: String,
        /// Where it was raised, as a terminal shows it.
        traceback: String,
    },
}
