//! The sandbox that a user holds.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant as Clock};

use tokio_util::sync::CancellationToken;

use crate::cell::{self, Results};
use crate::code::{self, Language};
use crate::command::{self, Output, RunOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::filesystem::Filesystem;
use crate::process::Process;
use crate::provider::{
    Cell, Command, Contact, Info, Instance, Metrics, Program, Provider, Running, Snapshot,
};
use crate::terminal::{self, Terminal, TerminalOptions, is_terminal};

/// One argument of a program, with its end, may have this many bytes on Linux (`execve(2)`).
const MAX_ARGUMENT: usize = 128 << 10;
/// All arguments and the environment together.
const MAX_ARGUMENTS: usize = 2 << 20;
/// Source code and shell lines.
const MAX_SCRIPT: usize = 16 << 20;

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

/// What came of a piece of code.
#[derive(Clone, Debug)]
pub struct CodeOutput {
    /// What came of its interpreter.
    pub output: Output,
    /// The language that it was run as.
    pub language: Language,
    /// What it gave, by its kinds, in the interpreter's own words: of code in a context.
    pub results: Option<Vec<serde_json::Map<String, serde_json::Value>>>,
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

    /// Likewise of source code, with its language.
    pub async fn detach_code(
        &self,
        source: &str,
        language: Option<Language>,
        command: Command,
    ) -> Result<(Language, Option<u32>)> {
        self.operation("runCode", async {
            let (language, command, _) =
                self.interpreter(source, language, command, RunOptions::default())?;
            Ok((language, self.detach(&command).await?))
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

    /// Runs source code in its language's interpreter: `language` if given, else the sandbox's runtime, else
    /// what the code looks like. Source that does not parse is `CodeSyntax`; anything that goes wrong while
    /// it runs is a result.
    pub async fn run_code(
        &self,
        source: &str,
        language: Option<Language>,
        command: Command,
        options: RunOptions,
    ) -> Result<CodeOutput> {
        self.operation("runCode", async {
            let (language, command, options) = self.interpreter(source, language, command, options)?;
            let command = Command { limit: options.timeout, ..command };
            let output = command::run(&*self.instance, &command, options).await?;
            refuse_broken_source(language, output)
        })
        .await
    }

    /// Runs source code after all that ran in the same context before, and with its variables. An exception that
    /// nothing catches is a result.
    pub async fn run_code_in(
        &self,
        context: &str,
        source: &str,
        language: Option<Language>,
        command: Command,
        options: RunOptions,
    ) -> Result<CodeOutput> {
        self.operation("runCode", async {
            let Some(kernels) = self.instance.kernels() else {
                let name = self.provider.name();
                return Err(Error::unsupported(format!(
                    "`context`: `{name}` keeps no state between two pieces of code"
                ))
                .with_hint("leave it out, or keep what is needed in a file"));
            };
            check_context(context, &command, &options)?;
            let language = self.language_of(source, language)?;
            let cell = Cell {
                source: source.to_owned(),
                language: language.to_string(),
                context: context.to_owned(),
                cwd: command.cwd,
                env: command.env,
            };
            let results = Results::default();
            let output = command::follow(cell::execute(kernels, &cell, &results), options).await?;
            let results = std::mem::take(&mut *results.lock().unwrap_or_else(PoisonError::into_inner));
            Ok(CodeOutput { output, language, results: Some(results) })
        })
        .await
    }

    /// What source code is run as, if it is not too long for that: `language` if given, else the sandbox's runtime, else
    /// what it looks like.
    fn language_of(&self, source: &str, language: Option<Language>) -> Result<Language> {
        if source.len() > MAX_SCRIPT {
            return Err(too_long("code", source.len(), MAX_SCRIPT));
        }
        Ok(language
            .or_else(|| self.instance.runtime().and_then(Language::from_runtime))
            .unwrap_or_else(|| code::detect(source)))
    }

    /// Starts source code and lets it go on.
    pub async fn spawn_code(
        &self,
        source: &str,
        language: Option<Language>,
        command: Command,
        options: RunOptions,
    ) -> Result<(Language, Arc<Process>)> {
        self.operation("runCode", async {
            let (language, command, options) = self.interpreter(source, language, command, options)?;
            Ok((language, self.spawn(command, options).await?))
        })
        .await
    }

    /// The command that runs source code, and its language.
    fn interpreter(
        &self,
        source: &str,
        language: Option<Language>,
        command: Command,
        options: RunOptions,
    ) -> Result<(Language, Command, RunOptions)> {
        let language = self.language_of(source, language)?;
        let (command, options) = interpreter(source, language, command, options)?;
        check(&command)?;
        Ok((language, command, options))
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

/// How source code reaches its interpreter: as an argument, where it looks like a program that was typed,
/// or on standard input if it is longer than an argument may be.
fn interpreter(
    source: &str,
    language: Language,
    command: Command,
    mut options: RunOptions,
) -> Result<(Command, RunOptions)> {
    let module = language == Language::Node && code::is_module(source);
    let mut argv = match language {
        Language::Python => vec!["python3".to_owned()],
        Language::Node if module => vec!["node".to_owned(), "--input-type=module".to_owned()],
        Language::Node => vec!["node".to_owned()],
    };
    let mut stdin = command.stdin || options.stdin.is_some();
    let mut code = None;
    if source.len() < MAX_ARGUMENT {
        argv.push(if language == Language::Python { "-c" } else { "-e" }.to_owned());
        argv.push(source.to_owned());
        code = Some(language);
    } else if stdin {
        return Err(Error::invalid(format!(
            "`stdin` cannot be combined with code of {MAX_ARGUMENT} bytes or more"
        ))
        .with_hint("write the code to a file and run that with runCommand"));
    } else {
        argv.push("-".to_owned());
        let bytes = bytes::Bytes::copy_from_slice(source.as_bytes());
        options.stdin = Some(Box::pin(futures_util::stream::iter([Ok(bytes)])));
        stdin = true;
    }
    if source.contains('\0') {
        return Err(Error::invalid("`code` contains a NUL character"));
    }
    Ok((Command { program: Program::Args(argv), code, stdin, ..command }, options))
}

fn refuse_broken_source(language: Language, output: Output) -> Result<CodeOutput> {
    let missing = output.exit_code == 127 && output.stderr.starts_with("computesdk:");
    if missing {
        return Err(Error::unsupported(format!("this sandbox has no interpreter for {language}"))
            .with_hint("install it on the host, or name it: local({ python: '/path/to/python3' })"));
    }
    if code::is_syntax_error(language, output.exit_code, &output.stdout, &output.stderr) {
        let reason = output.stderr.lines().rev().find(|line| line.contains("Error:")).unwrap_or("").trim();
        return Err(Error::new(ErrorKind::CodeSyntax, format!("Syntax error in {language} code: {reason}"))
            .with_output(output));
    }
    Ok(CodeOutput { output, language, results: None })
}

/// Refuses what an interpreter that keeps its state cannot do for one piece of code.
fn check_context(context: &str, command: &Command, options: &RunOptions) -> Result<()> {
    if context.is_empty() || context.contains('\0') {
        return Err(Error::invalid("`context` must be a name"));
    }
    let refused = [("stdin", command.stdin || options.stdin.is_some()), ("user", command.user.is_some())];
    if let Some((name, _)) = refused.into_iter().find(|(_, given)| *given) {
        return Err(Error::unsupported(format!("`{name}` cannot be combined with `context`")));
    }
    check_cwd(command)?;
    check_env(&command.env)
}

/// Refuses what no provider can run.
pub(crate) fn check(command: &Command) -> Result<()> {
    let nul = |what: String| Error::invalid(format!("{what} contains a NUL character"));
    let mut total = 0;
    match &command.program {
        Program::Shell(line) => {
            if line.contains('\0') {
                return Err(nul("`command`".to_owned()));
            }
            if line.len() > MAX_SCRIPT {
                return Err(too_long("command", line.len(), MAX_SCRIPT));
            }
        }
        Program::Login => {}
        Program::Args(argv) => {
            if argv.first().is_none_or(String::is_empty) {
                return Err(Error::invalid("`command` is empty"));
            }
            for (number, argument) in argv.iter().enumerate() {
                let name =
                    if number == 0 { "`command`".to_owned() } else { format!("`args[{}]`", number - 1) };
                if argument.contains('\0') {
                    return Err(nul(name));
                }
                if argument.len() >= MAX_ARGUMENT {
                    return Err(Error::invalid(format!(
                        "{name} is too long: {} bytes, {} at most",
                        argument.len(),
                        MAX_ARGUMENT - 1
                    ))
                    .with_hint("write it to a file, or give it as `stdin`"));
                }
                total += argument.len() + 1;
            }
        }
    }
    check_env(&command.env)?;
    total += command.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
    if total > MAX_ARGUMENTS {
        return Err(Error::invalid(format!(
            "arguments and environment are too long together: {total} bytes, {MAX_ARGUMENTS} at most"
        ))
        .with_hint("write them to a file, or give them as `stdin`"));
    }
    check_cwd(command)
}

fn check_cwd(command: &Command) -> Result<()> {
    let Some(cwd) = &command.cwd else { return Ok(()) };
    if !cwd.starts_with('/') {
        return Err(Error::invalid(format!("`cwd` must be absolute, got `{cwd}`")));
    }
    if cwd.contains('\0') {
        return Err(Error::invalid("`cwd` contains a NUL character"));
    }
    Ok(())
}

/// Refuses names and values that an environment cannot hold.
pub(crate) fn check_env(env: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Error::invalid(format!(
                "`env` has an impossible name: `{}`",
                name.replace('\0', "\\0")
            )));
        }
        if value.contains('\0') {
            return Err(Error::invalid(format!("`env.{name}` contains a NUL character")));
        }
        if name.len() + value.len() + 2 > MAX_ARGUMENT {
            return Err(Error::invalid(format!("`env.{name}` is too long: {MAX_ARGUMENT} bytes at most")));
        }
    }
    Ok(())
}

/// Refuses the port that is none.
pub(crate) fn check_port(name: &str, port: u16) -> Result<()> {
    if port == 0 {
        return Err(Error::invalid(format!("`{name}` must be from 1 to {}, got 0", u16::MAX)));
    }
    Ok(())
}

fn never_listened(port: u16, timeout: Duration) -> Error {
    let message = format!("nothing listens on port {port} after {} ms", timeout.as_millis());
    Error::new(ErrorKind::Timeout, message).with_hint(
        "is the server started, and on this port of 127.0.0.1, ::1 or all addresses? \
         If it has failed, its output tells; if it is slow, give a longer `timeout`",
    )
}

fn too_long(what: &str, length: usize, most: usize) -> Error {
    Error::invalid(format!("`{what}` is too long: {length} bytes, {most} at most"))
        .with_hint("write it to a file with filesystem.writeFile and run that")
}
