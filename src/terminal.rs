//! Terminals: a process with a terminal of its own, and what its user does with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::command::RunOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Process, Reader, Turns};
use crate::provider::{Attached, Command, Instance, Program, Size, Wanted};
use crate::random;
use crate::signal;

/// How long what runs in a terminal may take to end after the terminal is gone, before it is killed.
const HANG_UP_GRACE: Duration = Duration::from_secs(1);
/// How long it may take until that was told.
const TELLING: Duration = Duration::from_secs(5);
/// How long it may take to be gone after that.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// How long after it could no longer be used its end may be seen.
const ENDING: Duration = Duration::from_secs(5);
/// The exit code of what was killed: 128 and the signal's number.
const KILLED: i32 = 128 + signal::KILL;
/// What ids begin with.
const ID: &str = "term_";
/// What runs where nothing else was asked for.
const LOGIN: &str = "login shell";
/// Characters of its command that others see.
const TAG_COMMAND: usize = 200;

/// What a new terminal is to be.
#[derive(Clone, Debug)]
pub struct TerminalOptions {
    /// A line for the shell; absent is the login shell.
    pub command: Option<String>,
    /// Its size.
    pub size: Size,
    /// Laid over the environment of the sandbox.
    pub env: BTreeMap<String, String>,
    /// Working directory; absent is the provider's default.
    pub cwd: Option<String>,
}

impl Default for TerminalOptions {
    fn default() -> Self {
        Self { command: None, size: Size { cols: 80, rows: 24 }, env: BTreeMap::new(), cwd: None }
    }
}

impl TerminalOptions {
    /// What runs in the terminal of this id.
    pub(crate) fn to_command(&self, id: &str) -> Command {
        let mut env = self.env.clone();
        env.entry("TERM".to_owned()).or_insert_with(|| "xterm-256color".to_owned());
        Command {
            program: self.command.clone().map_or(Program::Login, Program::Shell),
            cwd: self.cwd.clone(),
            env,
            stdin: true,
            terminal: Some(self.size),
            tag: Some(self.tag(id)),
            ..Command::default()
        }
    }

    /// What another process finds the terminal by, with all that it needs to know of it.
    fn tag(&self, id: &str) -> String {
        let command: String = self.command().chars().take(TAG_COMMAND).collect();
        format!("{id} {}x{} {command}", self.size.cols, self.size.rows)
    }

    fn command(&self) -> &str {
        self.command.as_deref().unwrap_or(LOGIN)
    }
}

/// An id that nothing else has.
pub(crate) fn new_id() -> Result<String> {
    Ok(format!("{ID}{}", random::name()?))
}

/// Whether a running process is a terminal.
pub(crate) fn is_terminal(tag: Option<&str>) -> bool {
    tag.and_then(Tag::read).is_some()
}

/// What is known of a terminal that was opened elsewhere.
struct Tag<'a> {
    id: &'a str,
    size: Size,
    command: &'a str,
}

impl<'a> Tag<'a> {
    fn read(tag: &'a str) -> Option<Self> {
        let mut parts = tag.splitn(3, ' ');
        let (id, size, command) = (parts.next()?, parts.next()?, parts.next()?);
        let (cols, rows) = size.split_once('x')?;
        let size = Size { cols: cols.parse().ok()?, rows: rows.parse().ok()? };
        id.starts_with(ID).then_some(Self { id, size, command })
    }
}

/// A terminal of a sandbox. Dropped, it goes on.
#[derive(Debug)]
pub struct Terminal {
    id: String,
    command: String,
    process: Arc<Process>,
    size: Mutex<Size>,
    resizes: Turns,
}

impl Terminal {
    /// Opens a terminal and finds it again by its id.
    pub(crate) async fn open(
        instance: &dyn Instance,
        id: String,
        command: &Command,
        options: &TerminalOptions,
    ) -> Result<Arc<Self>> {
        let process = Process::start(instance, command, RunOptions::default()).await?;
        process.release();
        let command = options.command().to_owned();
        let size = Mutex::new(options.size);
        let terminal = Arc::new(Self { id, command, process, size, resizes: Turns::default() });
        instance.started().add_terminal(&terminal);
        Ok(terminal)
    }

    /// One that was opened elsewhere, if this is one. Its size is that of its opening.
    pub(crate) fn attached(found: Attached) -> Option<Arc<Self>> {
        let Tag { id, size, command } = Tag::read(found.tag.as_deref()?)?;
        Some(Arc::new(Self {
            id: id.to_owned(),
            command: command.to_owned(),
            process: Process::attached(found.process),
            size: Mutex::new(size),
            resizes: Turns::default(),
        }))
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What runs in it.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Its size.
    pub fn size(&self) -> Size {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.process.has_ended()
    }

    /// How its process ended, if it has. The end of the sandbox kills it.
    pub fn exit_code(&self) -> Option<i32> {
        self.has_ended().then(|| self.process.exit_code().unwrap_or(KILLED))
    }

    /// Waits for its end, and tells how its process ended.
    pub async fn wait(&self) -> i32 {
        self.process.wait().await.map_or(KILLED, |output| output.exit_code)
    }

    /// A reader of the latest that it has shown, and of all that follows.
    pub fn reader(&self) -> Reader {
        self.process.reader(Wanted { stdout: true, stderr: false }, true)
    }

    /// Types into it, after all that was typed before. One that has ended is `NotFound`.
    pub fn write(self: &Arc<Self>, bytes: Bytes) -> impl Future<Output = Result<()>> + Send + use<> {
        let (writing, myself) = (self.process.write(bytes), Arc::clone(self));
        async move {
            myself.check()?;
            match writing.await {
                Ok(()) => Ok(()),
                Err(error) => Err(myself.reason(error).await),
            }
        }
    }

    /// Changes its size, after all changes before; what runs in it is told. One that has ended is `NotFound`.
    pub fn resize(self: &Arc<Self>, size: Size) -> impl Future<Output = Result<()>> + Send + use<> {
        let (mut turn, myself) = (self.resizes.take(), Arc::clone(self));
        async move {
            turn.come().await;
            myself.check()?;
            if let Err(error) = myself.process.control().resize(size).await {
                return Err(myself.reason(error).await);
            }
            *myself.size.lock().unwrap_or_else(PoisonError::into_inner) = size;
            Ok(())
        }
    }

    /// Ends it: everything in its session is told that the terminal is gone, and what is still there after a
    /// second is killed. One that has ended is fine.
    pub async fn kill(&self) -> Result<()> {
        let control = self.process.control();
        if !self.has_ended() {
            let hanging_up = control.hang_up(HANG_UP_GRACE);
            let _ = tokio::time::timeout(HANG_UP_GRACE + TELLING, hanging_up).await;
        }
        control.kill().await?;
        match tokio::time::timeout(KILL_GRACE, self.process.wait()).await {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(Error::new(ErrorKind::Unavailable, "the terminal was killed, but it has not ended"))
            }
        }
    }

    fn check(&self) -> Result<()> {
        if self.has_ended() { Err(self.gone()) } else { Ok(()) }
    }

    /// Why it could not be used. What fails because it is about to end does so before its end has been seen.
    async fn reason(&self, error: Error) -> Error {
        let ended = tokio::time::timeout(ENDING, self.process.until_ended()).await;
        if ended.is_ok() { self.gone() } else { error }
    }

    fn gone(&self) -> Error {
        let how = self.exit_code().map_or_else(String::new, |code| format!(" (exit code {code})"));
        Error::new(ErrorKind::NotFound, format!("the terminal `{}` has ended{how}", self.id))
            .with_hint("open another one with terminal.create")
    }
}
