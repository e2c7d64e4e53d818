//! The contract between the core and the places that make sandboxes.
//!
//! A [`Provider`] makes and finds sandboxes; an [`Instance`] is one of them, alive; a [`Process`] is
//! something that runs in it. Everything above this module (`Sandbox`, strategies, `throwOnError`,
//! `runCode`, deadlines, aborts) is written once, against these traits; the conformance suite tests each
//! sentence here on every provider.
//!
//! Here are providers and sandboxes; in `process` what runs, in `files` what is kept, and in `optional` what only some
//! can do.
//!
//! Rules for all methods:
//!
//! * **Dropped** before it is ready, a future leaves nothing behind that its caller could no longer end: a
//!   sandbox half made is unmade, a command half started is killed.
//! * An option that a provider cannot honour is [`ErrorKind::Unsupported`](crate::error::ErrorKind), never
//!   ignored.
//! * Errors need not say provider, sandbox or operation: the core adds them.

mod files;
mod mount;
mod optional;
mod process;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

pub use self::files::{Content, Entry, Files};
pub use self::mount::{Mount, MountMode};
pub use self::optional::{
    Cell, CellEvent, CellStream, Contact, Detaching, Kernels, Networking, Pausing, Snapshot, Snapshots,
    Snapshotting,
};
pub use self::process::{
    Attached, Chunk, Command, Control, Exit, Output, Process, Program, Running, Size, Wanted,
};
use crate::error::{Error, Result};
use crate::process::Table;

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// How long a sandbox lives where neither its request nor its provider's configuration says so.
pub const DEFAULT_LIFE: Duration = Duration::from_secs(300);

/// Whether a user can give a sandbox this id: 1 to 128 letters, digits, `-`, `_` and `.`.
pub(crate) fn is_possible_id(id: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=128).contains(&id.len()) && id.bytes().all(legal)
}

/// A place that makes sandboxes.
#[async_trait]
pub trait Provider: Debug + Send + Sync {
    /// The name in `sandbox.provider`: `local`, `docker`, `e2b`, or a plug-in's own.
    fn name(&self) -> &str;

    /// What it is that has this name, where that may be behind several objects: those of the same identity are one
    /// provider. `None`: this object is.
    fn identity(&self) -> Option<u32> {
        None
    }

    /// What its sandboxes can do. A flag exists only where callers must know in advance.
    fn capabilities(&self) -> Capabilities;

    /// Whether processes go on in its sandboxes, to be found again by their numbers. What cannot be ended is never left
    /// running.
    fn keeps_processes(&self) -> bool {
        self.capabilities().kill
    }

    /// Whether requests may have options that only it knows.
    fn has_own_options(&self) -> bool {
        false
    }

    /// How long its sandboxes live whose request does not say, where its configuration does; zero is without end.
    fn life(&self) -> Option<Duration> {
        None
    }

    /// Makes a sandbox, ready for commands.
    ///
    /// * A `sandbox_id` becomes the id; one that is taken is `AlreadyExists`.
    /// * Twice: two sandboxes.
    /// * Dropped: the sandbox is unmade.
    async fn create(&self, request: &CreateRequest) -> Result<Arc<dyn Instance>>;

    /// Finds a living sandbox.
    ///
    /// * `None` only if there is no such sandbox, an id of impossible form included.
    /// * Changes nothing: neither resumes a paused sandbox nor touches its remaining life.
    /// * Twice: two handles of the same sandbox.
    async fn connect(&self, id: &str) -> Result<Option<Arc<dyn Instance>>>;

    /// The sandboxes that this provider can see and `filter` lets through, in no order: all pages of them.
    async fn list(&self, filter: &Filter) -> Result<Vec<Arc<dyn Instance>>>;

    /// Asks for the facts about a sandbox without connecting to it; `None` if there is no such sandbox.
    async fn info(&self, id: &str) -> Result<Option<Info>>;

    /// Whether there is such a sandbox.
    async fn has(&self, id: &str) -> Result<bool> {
        Ok(self.info(id).await?.is_some())
    }

    /// Ends a sandbox and all that runs in it.
    ///
    /// * Never connects first.
    /// * Missing, or ended before: success.
    /// * Dropped: the end, once begun, goes on.
    async fn destroy(&self, id: &str) -> Result<()>;

    /// The snapshots that were taken of its sandboxes; `None` where there can be none.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }
}

/// Whether two are the same provider. A name may be that of several.
pub fn is_same(one: &Arc<dyn Provider>, other: &Arc<dyn Provider>) -> bool {
    Arc::ptr_eq(one, other) || one.identity().is_some() && one.identity() == other.identity()
}

/// Which sandboxes to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those whose metadata has all of this.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Those in this state.
    pub status: Option<Status>,
}

impl Filter {
    /// Those of `all` that it lets through; each is asked only if there is something to ask for.
    pub async fn choose(&self, all: Vec<Arc<dyn Instance>>) -> Result<Vec<Arc<dyn Instance>>> {
        if self.status.is_none() && self.metadata.is_empty() {
            return Ok(all);
        }
        let mut chosen = Vec::new();
        for instance in all {
            if self.accepts(&instance.info().await?) {
                chosen.push(instance);
            }
        }
        Ok(chosen)
    }

    /// Whether a sandbox is one of those.
    pub fn accepts(&self, info: &Info) -> bool {
        let known = info.metadata.as_ref();
        self.status.is_none_or(|status| status == info.status)
            && self
                .metadata
                .iter()
                .all(|(key, value)| known.is_some_and(|known| known.get(key) == Some(value)))
    }
}

/// What the sandboxes of a provider can do beyond commands and files.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Capabilities {
    /// Commands can be signalled and killed one by one; without it, a time limit ends only the waiting.
    pub kill: bool,
}

/// What a sandbox is to be. Options are as the caller wrote them; what is absent is for the provider.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    /// Language family or version: `python`, `python3.9`, `node`, `nodejs16`.
    pub runtime: Option<String>,
    /// Life of the sandbox; zero is without end.
    pub timeout: Option<Duration>,
    /// The id that it is to have.
    pub sandbox_id: Option<String>,
    /// The provider's template or image to start from.
    pub template_id: Option<String>,
    /// Anything in JSON, to be read back equal.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// The domain of its URLs.
    pub domain: Option<String>,
    /// Environment of every command.
    pub envs: BTreeMap<String, String>,
    /// Ports that are to be reached from outside.
    pub ports: Vec<u16>,
    /// Limits.
    pub resources: Resources,
    /// What the sandbox may reach.
    pub network: Option<Network>,
    /// What of this machine it sees. Never a stranger's wish.
    pub mounts: Vec<Mount>,
    /// Options that only this provider knows, where it has such ([`Provider::has_own_options`]).
    pub own: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Limits of a sandbox; what is absent is the provider's default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of files.
    pub disk: Option<u64>,
    /// Processors; fractions are fine.
    pub cpus: Option<f64>,
    /// Processes and threads at once.
    pub processes: Option<u32>,
    /// Refuse to create where the limits cannot be enforced for the sandbox as a whole.
    pub enforce: Option<bool>,
}

impl Resources {
    /// These, and `other` where nothing is said.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            memory: self.memory.or(other.memory),
            disk: self.disk.or(other.disk),
            cpus: self.cpus.or(other.cpus),
            processes: self.processes.or(other.processes),
            enforce: self.enforce.or(other.enforce),
        }
    }
}

/// What a sandbox may reach. An enum, never a list whose emptiness means something.
#[derive(Clone, Debug, PartialEq)]
pub enum Network {
    /// Nothing but itself.
    None,
    /// These hosts only: names, `*.` and a domain, addresses; each with `:` and a port or not.
    Allow(Vec<String>),
    /// Every public host.
    Full,
}

/// Facts about a sandbox, asked of the provider.
#[derive(Clone, Debug)]
pub struct Info {
    /// Its id.
    pub id: String,
    /// Whether it lives.
    pub status: Status,
    /// Why it no longer lives: `it was destroyed`; what begins with `its time was over`; or what happened to it.
    pub reason: Option<String>,
    /// When it was made.
    pub created_at: SystemTime,
    /// Life granted in all, extensions included; zero is without end.
    pub timeout: Duration,
    /// When it will end.
    pub expires_at: Option<SystemTime>,
    /// What was given at creation.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// The runtime that it has, if one was asked for.
    pub runtime: Option<String>,
    /// The layers of isolation that are on.
    pub isolation: Vec<String>,
    /// The limits in force, and how they are enforced.
    pub limits: Option<Limits>,
}

/// Whether a sandbox lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It takes commands.
    Running,
    /// It was ended, has expired, or is paused.
    Stopped,
    /// It ended by itself.
    Error,
}

impl Status {
    /// Its name outside of Rust.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Error => "error",
        }
    }
}

/// Limits that a sandbox is under.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of files.
    pub disk: u64,
    /// Processors; `None` is all of them.
    pub cpus: Option<f64>,
    /// Processes and threads at once; `None` where only memory limits them.
    pub processes: Option<u32>,
    /// Whether the sandbox as a whole is limited, or each of its processes.
    pub enforcement: Enforcement,
}

/// How limits are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// For the sandbox as a whole.
    Cgroup,
    /// For each process by itself: two processes may use twice as much memory.
    PerProcess,
    /// By the size of the machine that the sandbox is.
    Machine,
}

impl Enforcement {
    /// Its name outside of Rust.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::PerProcess => "per-process",
            Self::Machine => "machine",
        }
    }
}

/// A living sandbox. After its end every method but `info` and `destroy` is `NotFound`, with the reason.
#[async_trait]
pub trait Instance: Debug + Send + Sync {
    /// Its id.
    fn id(&self) -> &str;

    /// The provider's own type, for the provider's own code.
    fn as_any(&self) -> &dyn Any;

    /// The language family that code without one of its own is run as; `None` leaves it to detection.
    fn runtime(&self) -> Option<&str>;

    /// The facts. After the end: the last ones known, with status and reason.
    async fn info(&self) -> Result<Info>;

    /// Starts a command. The one way to run something: waiting for it, reading it, leaving it in the
    /// background are what callers do with the [`Process`].
    ///
    /// * A program that is not there is no error: the process exits with 127 (126 if it cannot be run) and
    ///   says so on standard error, as a shell would. A working directory that is not there is `NotFound`.
    /// * Dropped: the command, if it was started, is killed.
    async fn spawn(&self, command: &Command) -> Result<Process>;

    /// What was started here and goes on: the core fills it, the implementation holds it for all handles of
    /// the sandbox, and clears it at the end.
    fn started(&self) -> &Table;

    /// Finds a running process that was started elsewhere, through another connection; `None` if there is no
    /// such process, and where there is no elsewhere.
    async fn attach(&self, pid: u32) -> Result<Option<Attached>>;

    /// The running processes that [`attach`](Self::attach) finds.
    async fn processes(&self) -> Result<Vec<Running>>;

    /// Its files.
    fn files(&self) -> &dyn Files;

    /// A URL at which `port` is reached from outside; the port is not 0.
    ///
    /// * Given at once, and each time the same, whether or not something listens. Where nothing does, a
    ///   connection is refused or reset, and never left waiting.
    /// * Leads to the sandbox and nowhere else. After its end, connections are closed and none is made.
    /// * A `protocol` that it cannot speak is `Unsupported`.
    async fn url(&self, port: u16, protocol: Option<&str>) -> Result<String>;

    /// Whether something listens on `port` where its URL leads. Nothing connects to it: a server that serves
    /// one client is not used up.
    async fn listens(&self, port: u16) -> Result<bool>;

    /// Lets the sandbox live longer, by this much. One without end stays so.
    async fn extend_timeout(&self, by: Duration) -> Result<()>;

    /// What it uses.
    async fn metrics(&self) -> Result<Metrics>;

    /// Ends it. Twice, or after its end: success. Everything that waits for it ends too.
    async fn destroy(&self) -> Result<()>;

    /// How commands are let go on by themselves, where that is all that can be done with them.
    fn detaching(&self) -> Option<&dyn Detaching> {
        None
    }

    /// How it is put aside and taken up again; `None` where that cannot be.
    fn pausing(&self) -> Option<&dyn Pausing> {
        None
    }

    /// How its state becomes something to make others from; `None` where that cannot be.
    fn snapshotting(&self) -> Option<&dyn Snapshotting> {
        None
    }

    /// What its connections to the outside were decided to be; `None` where nobody judges them one by one.
    fn networking(&self) -> Option<&dyn Networking> {
        None
    }

    /// Interpreters that keep their state between two pieces of code; `None` where there are none.
    fn kernels(&self) -> Option<&dyn Kernels> {
        None
    }
}

/// What a sandbox uses, as it was last measured.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// When that was.
    pub at: Option<SystemTime>,
    /// Processors that it has.
    pub cpus: f64,
    /// How much of them it used, in percent.
    pub cpu_percent: f64,
    /// Bytes of memory that it used.
    pub memory: u64,
    /// Of this many.
    pub memory_total: u64,
    /// Bytes of files that it had.
    pub disk: u64,
    /// Of this many that there can be.
    pub disk_total: u64,
    /// Processes and threads that it had, where they are counted.
    pub processes: Option<u32>,
    /// Of this many that there can be at once, where they are limited.
    pub processes_total: Option<u32>,
}

/// The error for something that a later version will do.
pub fn not_yet(what: &str) -> Error {
    Error::unsupported(format!("{what} is not part of this version yet"))
        .with_hint("see the table of what is supported in the README")
}
