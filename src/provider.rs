//! The contract between the core and the places that make sandboxes.
//!
//! A [`Provider`] makes and finds sandboxes; an [`Instance`] is one of them, alive; a [`Process`] is
//! something that runs in it. Everything above this module (`Sandbox`, strategies, `throwOnError`,
//! `runCode`, deadlines, aborts) is written once, against these traits; the conformance suite tests each
//! sentence below on every provider.
//!
//! Rules for all methods:
//!
//! * **Dropped** before it is ready, a future leaves nothing behind that its caller could no longer end: a
//!   sandbox half made is unmade, a command half started is killed.
//! * An option that a provider cannot honour is [`ErrorKind::Unsupported`](crate::error::ErrorKind), never
//!   ignored.
//! * Errors need not say provider, sandbox or operation: the core adds them.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use crate::error::{Error, Result};
use crate::process::Table;

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// How long a sandbox lives where neither its request nor its provider's configuration says so.
pub const DEFAULT_LIFE: Duration = Duration::from_secs(300);

/// A place that makes sandboxes.
#[async_trait]
pub trait Provider: Debug + Send + Sync {
    /// The name in `sandbox.provider`: `local`, `docker`, `e2b`, or a plug-in's own.
    fn name(&self) -> &str;

    /// What its sandboxes can do. A flag exists only where callers must know in advance.
    fn capabilities(&self) -> Capabilities;

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
    /// These hosts only.
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
    /// Why it no longer lives.
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

    /// How it is put aside and taken up again; `None` where that cannot be.
    fn pausing(&self) -> Option<&dyn Pausing> {
        None
    }

    /// How its state becomes something to make others from; `None` where that cannot be.
    fn snapshotting(&self) -> Option<&dyn Snapshotting> {
        None
    }

    /// Interpreters that keep their state between two pieces of code; `None` where there are none.
    fn kernels(&self) -> Option<&dyn Kernels> {
        None
    }
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
}

/// A command as providers take it.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// What to run.
    pub program: Program,
    /// Working directory; absent is the provider's default.
    pub cwd: Option<String>,
    /// Laid over the environment of the sandbox.
    pub env: BTreeMap<String, String>,
    /// Whether something will be written to its standard input, which is at its end otherwise.
    pub stdin: bool,
    /// A terminal of this size of its own, in a session of its own, in place of three streams: what is written
    /// to its input is typed, and all output is standard output.
    pub terminal: Option<Size>,
    /// The user to run as; absent is the provider's default.
    pub user: Option<String>,
    /// What others find it by, where there are others ([`Instance::processes`]): no two have the same.
    pub tag: Option<String>,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
}

/// What a command runs.
#[derive(Clone, Debug)]
pub enum Program {
    /// A line for the shell.
    Shell(String),
    /// A program and its arguments, exactly these.
    Args(Vec<String>),
    /// The shell, as one who logs in gets it. For terminals.
    Login,
}

impl Default for Program {
    fn default() -> Self {
        Self::Args(Vec::new())
    }
}

/// A process that runs, started by whomever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number in the sandbox.
    pub pid: u32,
    /// The tag that it was started with.
    pub tag: Option<String>,
}

/// A running process that was found.
#[derive(Debug)]
pub struct Attached {
    /// The process, from now on.
    pub process: Process,
    /// The tag that it was started with.
    pub tag: Option<String>,
}

/// Something that runs: what it writes, and a handle to it. The two are separate, so that ending it never
/// waits for its reader.
#[derive(Debug)]
pub struct Process {
    /// What it writes. Dropped, the writing process is told (`SIGPIPE`), as if a reader had gone.
    pub output: Box<dyn Output>,
    /// The handle. Dropped, nothing happens: the process goes on.
    pub control: Arc<dyn Control>,
}

/// What a process writes, in the order of arrival.
#[async_trait]
pub trait Output: Debug + Send {
    /// The next piece of a stream that is wanted; `None` once the process has ended and all that it wrote has
    /// been read. What others write later to a pipe that they inherited is not waited for.
    ///
    /// * Where both streams come through one channel, what is not wanted is in the way of what is.
    /// * Dropped: nothing is lost.
    async fn next(&mut self, wanted: Wanted) -> Option<Chunk>;

    /// Whether something of what came so far was lost on the way.
    fn has_gaps(&self) -> bool {
        false
    }
}

/// Streams whose reader has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Wanted {
    /// Both.
    pub const BOTH: Self = Self { stdout: true, stderr: true };
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// From standard output.
    Stdout(Bytes),
    /// From standard error.
    Stderr(Bytes),
}

impl Chunk {
    /// The number of the stream, from 0, and the bytes.
    pub(crate) fn parts(&self) -> (usize, &Bytes) {
        match self {
            Self::Stdout(bytes) => (0, bytes),
            Self::Stderr(bytes) => (1, bytes),
        }
    }
}

/// A handle to a process.
#[async_trait]
pub trait Control: Debug + Send + Sync {
    /// Its number in the sandbox.
    fn pid(&self) -> u32;

    /// Waits for its end. Any number of waiters, at any time, get the same answer.
    async fn wait(&self) -> Result<Exit>;

    /// Writes to its standard input. A process that no longer reads is `Unavailable`.
    async fn write_stdin(&self, bytes: &[u8]) -> Result<()>;

    /// Ends its standard input. Twice: success.
    async fn close_stdin(&self) -> Result<()>;

    /// Sends it a signal, by number. After its end: success.
    async fn signal(&self, signal: i32) -> Result<()>;

    /// Kills it and everything that came of it. After its end: what it left behind is killed.
    async fn kill(&self) -> Result<()>;

    /// Tells it the size of its terminal (`SIGWINCH`); `Unsupported` without one.
    async fn resize(&self, size: Size) -> Result<()>;

    /// Tells everything in its session that the terminal is gone (`SIGHUP`), and waits until nothing that came of
    /// it is left, however long that takes; `Unsupported` without a terminal. After its end: what it left behind
    /// is waited for.
    async fn hang_up(&self) -> Result<()>;
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this number.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Files of a sandbox. Paths are absolute; the core has checked that.
#[async_trait]
pub trait Files: Send + Sync {
    /// Opens a regular file. Anything else is refused, and never waited for. What can be read piece by piece
    /// comes in pieces of at most `piece` bytes, each when it is asked for. Dropped, the content lets go of
    /// the file.
    async fn read(&self, path: &str, piece: usize) -> Result<Content>;

    /// Replaces a file by what `content` gives, which is asked for more when that is written. Makes parents,
    /// writes through links, keeps mode and owner; where the provider can, a failure leaves the old content.
    async fn write(&self, path: &str, content: Content) -> Result<()>;

    /// Makes a directory and its parents. There already: success. A file in the way: `AlreadyExists`.
    async fn make_dir(&self, path: &str) -> Result<()>;

    /// The direct children of a directory, sorted by name.
    async fn list(&self, path: &str) -> Result<Vec<Entry>>;

    /// What is at a path, links followed; `None` if nothing is. The name is the path's last, `/` for the
    /// root; a path that is a link itself has a `symlink_target`.
    async fn stat(&self, path: &str) -> Result<Option<Entry>>;

    /// Whether anything is at a path, links followed.
    async fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.stat(path).await?.is_some())
    }

    /// Gives a file, a directory or a link (not its target) another path. Makes the parents of `to`.
    ///
    /// * `to` is the new path itself, never a directory to put something into. A file takes the place of
    ///   whatever is there, in one step; a directory there, or anything where a directory is to go, is
    ///   `AlreadyExists`.
    /// * The same path: success. Missing: `NotFound`. A directory into itself: `InvalidArgument`.
    async fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Copies a file or a whole tree, modes included. Makes the parents of `to`.
    ///
    /// * `to` is as for `rename`, and nothing is there before the copy is complete; a failure leaves nothing.
    /// * `from` is followed if it is a link; links below it are copied as they are.
    /// * A pipe, socket or device, at `from` or below it: `InvalidArgument`, as for a directory into itself.
    async fn copy(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a file, a link (not its target) or a whole tree. Missing: `NotFound`.
    async fn remove(&self, path: &str) -> Result<()>;
}

/// The content of a file.
pub struct Content {
    /// Bytes in all, if known in advance.
    pub size: Option<u64>,
    /// The bytes.
    pub bytes: ByteStream,
}

impl Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("size", &self.size).finish_non_exhaustive()
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self { size: Some(bytes.len() as u64), bytes: Box::pin(futures_util::stream::iter([Ok(bytes)])) }
    }
}

impl From<ByteStream> for Content {
    fn from(bytes: ByteStream) -> Self {
        Self { size: None, bytes }
    }
}

/// An entry of a directory, or what is at a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its name; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// A directory, or a link to one. Everything else counts as a file.
    pub directory: bool,
    /// Bytes; 0 for directories. A plug-in may not know.
    pub size: Option<u64>,
    /// Last change. A plug-in may not know.
    pub modified: Option<SystemTime>,
    /// Where a symbolic link points.
    pub symlink_target: Option<String>,
}

/// The error for something that a later version will do.
pub fn not_yet(what: &str) -> Error {
    Error::unsupported(format!("{what} is not part of this version yet"))
        .with_hint("see the table of what is supported in the README")
}
