//! Something that runs: what it is asked to be, what it writes, and a handle to it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::code::Language;
use crate::error::Result;

/// A command as providers take it.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// What to run.
    pub program: Program,
    /// The program is this language's interpreter with code as its last argument. Whoever has one that is up already
    /// may take that, as far as nobody can tell.
    pub code: Option<Language>,
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
    /// After this long its caller ends it, or waits for it no longer. For places where only they themselves can end
    /// a command.
    pub limit: Option<Duration>,
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

    /// Whether it was killed because memory had run out, or ended as what it waited for did, which was: as far as that
    /// is known, once it has ended.
    fn has_starved(&self) -> bool {
        false
    }

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
    /// it is left, or for this long from when that was told; `Unsupported` without a terminal. After its end: what
    /// it left behind is waited for.
    async fn hang_up(&self, grace: Duration) -> Result<()>;
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this number.
    Code(i32),
    /// By this signal.
    Signal(i32),
}
