//! The sandbox that a user holds.

mod check;
mod code;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use tokio_util::sync::CancellationToken;

use crate::command::{self, Output, RunOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::filesystem::Filesystem;
use crate::process::Process;
use crate::provider::{Command, Contact, Info, Instance, Metrics, Provider, Running, Snapshot};
use crate::terminal::{self, Terminal, TerminalOptions, is_terminal};

pub(crate) use self::check::{check, check_env, check_port};
pub use self::code::CodeOutput;

/// How long a port is waited for unless the caller says otherwise.
pub const PORT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it is until the next look at a port: at first, and at most.
const NEXT_LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// A sandbox: runs commands and code, holds files.
///
/// ```no_run
/// # async fn example() -> computesdk::error::Result<()> {
/// use computesdk::{compute::Compute, provider::CreateRequest};
///
/// let sandbox = Compute::default().create(&CreateRequest::default()).await?;
/// let output = sandbox.run_code("print(1 + 1)", None, Default::default(), Default::default()).await?;
/// assert_eq!(output.output.stdout, "2\n");
/// sandbox.destroy().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Sandbox {
    provider: Arc<dyn Provider>,
    instance: Arc<dyn Instance>,
    strict: bool,
}

impl Sandbox {
    /// A sandbox of a provider. `strict` says whether its commands raise on a non-zero exit in JavaScript.
    pub fn new(provider: Arc<dyn Provider>, instance: Arc<dyn Instance>, strict: bool) -> Self {
        Self { provider, instance, strict }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.instance.id()
    }

    /// Where it lives.
    pub fn provider(&self) -> &Arc<dyn Provider> {
        &self.provider
    }

    /// The provider's side of it.
    pub fn instance(&self) -> &Arc<dyn Instance> {
        &self.instance
    }

    /// Whether a non-zero exit raises in JavaScript.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// Its files.
    pub fn filesystem(&self) -> Filesystem<'_> {
        Filesystem { sandbox: self }
    }

    /// Runs a command and waits for its end. A non-zero exit is a result.
    pub async fn run_command(&self, command: Command, options: RunOptions) -> Result<Output> {
        self.operation("runCommand", async {
            check(&command)?;
            let command = Command { limit: options.timeout, ..command };
            command::run(&*self.instance, &command, options).await
        })
        .await
    }

    /// Starts a command and lets it go on; it is found again by its number.
    pub async fn spawn(&self, command: Command, options: RunOptions) -> Result<Arc<Process>> {
        self.operation("spawn", async {
            self.check_lasting()?;
            check(&command)?;
            let process = Process::start(&*self.instance, &command, options).await?;
            self.instance.started().add(&process);
            Ok(process)
        })
        .await
    }

    /// Whether a command that is to go on is let go on with nobody following it, because that is all that can be done
    /// here. What would follow it, a signal included, is refused then.
    pub fn detaches(&self, options: &RunOptions, has_signal: bool) -> Result<bool> {
        if self.instance.detaching().is_none() {
            return Ok(false);
        }
        let given = [
            ("timeout", options.timeout.is_some()),
            ("signal", has_signal),
            ("stdin", options.stdin.is_some()),
            ("onStdout` and `onStderr", options.listener.is_some()),
        ];
        let Some((name, _)) = given.iter().find(|(_, given)| *given) else { return Ok(true) };
        let provider = self.provider.name();
        let refused = format!("`{name}` with `background`: `{provider}` follows no command that goes on");
        Err(Error::unsupported(refused).within("runCommand", Some(provider), Some(self.id())))
    }

    /// Lets a command go on with nobody following it: its number, if the provider tells it.
    pub async fn detach(&self, command: &Command) -> Result<Option<u32>> {
        self.operation("runCommand", async {
            check(command)?;
            match self.instance.detaching() {
                Some(detaching) => detaching.detach(command).await,
                None => Err(self.cannot("background")),
            }
        })
        .await
    }

    /// Finds a process that was started and goes on, or one of the latest that have ended.
    pub async fn process(&self, pid: u32) -> Result<Option<Arc<Process>>> {
        self.operation("getProcess", async {
            if let Some(process) = self.instance.started().process(pid) {
                return Ok(Some(process));
            }
            let found = self.instance.attach(pid).await?;
            // A terminal is no process that goes on.
            let Some(found) = found.filter(|found| !is_terminal(found.tag.as_deref())) else {
                return Ok(None);
            };
            let process = Process::attached(found.process);
            self.instance.started().add(&process);
            Ok(Some(process))
        })
        .await
    }

    /// The processes that were started and go on, in the order of their starts.
    pub async fn processes(&self) -> Result<Vec<Arc<Process>>> {
        self.operation("processes", async {
            let elsewhere = self.instance.processes().await?;
            let mut processes = self.instance.started().running();
            for Running { pid, tag } in elsewhere {
                if is_terminal(tag.as_deref()) || processes.iter().any(|process| process.pid() == pid) {
                    continue;
                }
                // What others hold open after its end is listed all the same.
                processes.extend(self.process(pid).await?.filter(|process| !process.has_ended()));
            }
            Ok(processes)
        })
        .await
    }

    /// Opens a terminal.
    pub async fn open_terminal(&self, options: TerminalOptions) -> Result<Arc<Terminal>> {
        self.operation("terminal.create", async {
            self.check_lasting()?;
            let id = terminal::new_id()?;
            let command = options.to_command(&id);
            check(&command)?;
            Terminal::open(&*self.instance, id, &command, &options).await
        })
        .await
    }

    /// The terminals that run, in the order of their opening.
    pub async fn terminals(&self) -> Result<Vec<Arc<Terminal>>> {
        self.operation("terminal.list", async {
            // A sandbox that has ended says so.
            let elsewhere = self.instance.processes().await?;
            let mut terminals = self.instance.started().terminals();
            for Running { pid, tag } in elsewhere {
                if !is_terminal(tag.as_deref()) || terminals.iter().any(|terminal| terminal.pid() == pid) {
                    continue;
                }
                if let Some(terminal) = self.instance.attach(pid).await?.and_then(Terminal::attached) {
                    self.instance.started().add_terminal(&terminal);
                    terminals.push(terminal);
                }
            }
            Ok(terminals)
        })
        .await
    }

    /// A terminal that runs, by its id or the number of its process.
    pub async fn terminal(&self, id: &str) -> Result<Option<Arc<Terminal>>> {
        let is_it = |terminal: &Arc<Terminal>| terminal.id() == id || terminal.pid().to_string() == id;
        Ok(self.terminals().await?.into_iter().find(is_it))
    }

    /// The facts about it.
    pub async fn info(&self) -> Result<Info> {
        self.operation("getInfo", self.instance.info()).await
    }

    /// A URL at which `port` is reached from outside, whether or not something listens there yet.
    pub async fn url(&self, port: u16, protocol: Option<&str>) -> Result<String> {
        self.operation("getUrl", async {
            check_port("port", port)?;
            self.instance.url(port, protocol).await
        })
        .await
    }

    /// Waits until something in it listens on `port`, without connecting to it. `timeout` is
    /// [`PORT_TIMEOUT`] unless given; zero is as long as the sandbox lives.
    pub async fn wait_for_port(
        &self,
        port: u16,
        timeout: Option<Duration>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let timeout = timeout.unwrap_or(PORT_TIMEOUT);
        self.operation("waitForPort", async {
            check_port("port", port)?;
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    Err(Error::new(ErrorKind::Aborted, "The operation was aborted"))
                }
                listens = self.until_listening(port) => listens,
                () = tokio::time::sleep(timeout), if !timeout.is_zero() => Err(never_listened(port, timeout)),
            }
        })
        .await
    }

    async fn until_listening(&self, port: u16) -> Result<()> {
        let (mut pause, longest) = NEXT_LOOK;
        while !self.instance.listens(port).await? {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        Ok(())
    }

    /// Lets it live longer, by this much.
    pub async fn extend_timeout(&self, by: Duration) -> Result<()> {
        self.operation("extendTimeout", self.instance.extend_timeout(by)).await
    }

    /// What it uses, as it was last measured.
    pub async fn metrics(&self) -> Result<Metrics> {
        self.operation("getMetrics", self.instance.metrics()).await
    }

    /// Puts it aside, files and processes as they are. Twice is fine.
    pub async fn pause(&self) -> Result<()> {
        self.operation("pause", async {
            self.instance.pausing().ok_or_else(|| self.cannot("pause"))?.pause().await
        })
        .await
    }

    /// Takes it up again, to live at least this long from now on.
    pub async fn resume(&self, timeout: Option<Duration>) -> Result<()> {
        self.operation("resume", async {
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                return Err(Error::invalid("`timeout` of `resume` must be more than 0"));
            }
            self.instance.pausing().ok_or_else(|| self.cannot("resume"))?.resume(timeout).await
        })
        .await
    }

    /// Keeps its state as it is now, to make others from. It goes on.
    pub async fn snapshot(&self, name: Option<&str>) -> Result<Snapshot> {
        self.operation("snapshot", async {
            self.instance.snapshotting().ok_or_else(|| self.cannot("snapshot"))?.snapshot(name).await
        })
        .await
    }

    /// The connections to the outside that it asked for, and what was decided; the latest of them.
    pub async fn network_log(&self) -> Result<Vec<Contact>> {
        self.operation("networkLog", async {
            self.instance.networking().ok_or_else(|| self.cannot("networkLog"))?.log().await
        })
        .await
    }

    fn cannot(&self, what: &str) -> Error {
        Error::unsupported(format!("`{what}`: the provider `{}` cannot do that", self.provider.name()))
    }

    /// Ends it and all that runs in it. Twice is fine.
    pub async fn destroy(&self) -> Result<()> {
        self.operation("destroy", self.instance.destroy()).await
    }

    /// What cannot be ended must not be left running.
    fn check_lasting(&self) -> Result<()> {
        if self.provider.keeps_processes() {
            return Ok(());
        }
        let name = self.provider.name();
        Err(Error::unsupported(format!(
            "`spawn`, terminals and background commands of a request: `{name}` keeps no processes"
        )))
    }

    /// What all operations have in common: they are logged with their duration, and their errors say where
    /// they happened.
    pub(crate) async fn operation<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let begun = Clock::now();
        let result = work.await;
        let duration = begun.elapsed();
        match &result {
            Ok(_) => tracing::debug!(operation = name, sandbox = self.id(), ?duration, "done"),
            Err(error) => {
                tracing::debug!(
                    operation = name,
                    sandbox = self.id(),
                    ?duration,
                    code = error.code(),
                    "failed"
                );
            }
        }
        result.map_err(|error| error.within(name, Some(self.provider.name()), Some(self.id())))
    }
}

fn never_listened(port: u16, timeout: Duration) -> Error {
    let message = format!("nothing listens on port {port} after {} ms", timeout.as_millis());
    Error::new(ErrorKind::Timeout, message).with_hint(
        "is the server started, and on this port of 127.0.0.1, ::1 or all addresses? \
         If it has failed, its output tells; if it is slow, give a longer `timeout`",
    )
}
