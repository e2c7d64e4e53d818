//! Terminals: a process with a terminal of its own, and what its user does with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::command::RunOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Process, Reader};
use crate::provider::{Command, Instance, Program, Size, Wanted};

/// How long what runs in a terminal may take to end after the terminal is gone, before it is killed.
const HANG_UP_GRACE: Duration = Duration::from_secs(1);
/// How long it may take to be gone after that.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// The exit code of what was killed: 128 and the signal's number.
const KILLED: i32 = 128 + 9;

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
    /// What runs in the terminal.
    pub(crate) fn to_command(&self) -> Command {
        let mut env = self.env.clone();
        env.entry("TERM".to_owned()).or_insert_with(|| "xterm-256color".to_owned());
        Command {
            program: self.command.clone().map_or(Program::Login, Program::Shell),
            cwd: self.cwd.clone(),
            env,
            stdin: true,
            terminal: Some(self.size),
            ..Command::default()
        }
    }
}

/// A terminal of a sandbox. Dropped, it goes on.
#[derive(Debug)]
pub struct Terminal {
    id: String,
    command: String,
    process: Arc<Process>,
    size: Mutex<Size>,
}

impl Terminal {
    /// Opens a terminal and finds it again by its id.
    pub(crate) async fn open(
        instance: &dyn Instance,
        command: &Command,
        options: TerminalOptions,
    ) -> Result<Arc<Self>> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("this machine has no random numbers: {error}"))
        })?;
        let process = Process::start(instance, command, RunOptions::default()).await?;
        process.release();
        let terminal = Arc::new(Self {
            id: format!("term_{:032x}", u128::from_ne_bytes(random)),
            command: options.command.unwrap_or_else(|| "login shell".to_owned()),
            process,
            size: Mutex::new(options.size),
        });
        instance.started().add_terminal(&terminal);
        Ok(terminal)
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
        self.has_ended().then(|| self.process.ended().map_or(KILLED, |output| output.exit_code))
    }

    /// Waits for its end, and tells how its process ended.
    pub async fn wait(&self) -> i32 {
        self.process.wait().await.map_or(KILLED, |output| output.exit_code)
    }

    /// A reader of the latest that it has shown, and of all that follows.
    pub fn reader(&self) -> Reader {
        self.process.reader(Wanted { stdout: true, stderr: false }, true)
    }

    /// Types into it. One that has ended is `NotFound`.
    pub async fn write(&self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        tokio::select! {
            written = self.process.control().write_stdin(bytes) => written.or_else(|error| {
                self.check()?;
                Err(error)
            }),
            _ = self.process.wait() => Err(self.gone()),
        }
    }

    /// Changes its size; what runs in it is told. One that has ended is `NotFound`.
    pub async fn resize(&self, size: Size) -> Result<()> {
        self.check()?;
        self.process.control().resize(size).await.or_else(|error| {
            self.check()?;
            Err(error)
        })?;
        *self.size.lock().unwrap_or_else(PoisonError::into_inner) = size;
        Ok(())
    }

    /// Ends it: everything in its session is told that the terminal is gone, and killed if it does not mind.
    /// One that has ended is fine.
    pub async fn kill(&self) -> Result<()> {
        let control = self.process.control();
        if !self.has_ended() {
            control.hang_up().await?;
            let _ = tokio::time::timeout(HANG_UP_GRACE, self.process.wait()).await;
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

    fn gone(&self) -> Error {
        let how = self.exit_code().map_or_else(String::new, |code| format!(" (exit code {code})"));
        Error::new(ErrorKind::NotFound, format!("the terminal `{}` has ended{how}", self.id))
            .with_hint("open another one with terminal.create")
    }
}
