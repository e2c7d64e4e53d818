//! One sandbox: its container, its link, its life.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use computesdk_agent::protocol::{self, Blob, Reply, Request, Trouble};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::link::{Answer, Incoming, Link};
use super::metrics::Meter;
use super::plan::Facts;
use super::ports::Inside;
use super::process::{DockerControl, DockerOutput};
use super::program;
use super::stream::Stream;
use super::wire::State;
use crate::error::{Error, ErrorKind, Result};
use crate::process::Table;
use crate::provider::{
    Attached, Command, Files, Info, Instance, Limits, Metrics, Output, Process, Program, Running, Status,
};
use crate::providers::answers::Ending;
use crate::providers::local::error::{self, About};
use crate::providers::local::ports::Ports;
use crate::providers::local::process::not_run;
use crate::providers::local::url;
use crate::providers::to_its_end;

/// How long the agent may take to greet, on a machine that is busy.
const START: Duration = Duration::from_secs(30);

/// How long an agent may take to answer, and a job to be done.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long an engine may take to notice that a container has ended, and how often it is asked meanwhile.
const NOTICE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// How far two clocks may be apart, and how late an end may be noticed.
const CLOCKS: Duration = Duration::from_millis(500);

/// A shell line longer than this comes as a script: one argument may not be longer (`execve(2)`).
const LONGEST_LINE: usize = 128 * 1024 - 1;

/// What every command has unless its image or its user says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const DESTROYED: &str = "it was destroyed";
const REMOVED: &str = "its container was removed";

/// The handles of this process, by engine and container: all of a sandbox' share what was started there.
type Held = HashMap<(Arc<str>, String), Weak<DockerInstance>>;

static HELD: LazyLock<Mutex<Held>> = LazyLock::new(Mutex::default);

#[derive(Debug)]
pub(super) struct DockerInstance {
    facts: Facts,
    engine: Engine,
    link: Mutex<Option<Arc<Link>>>,
    /// Who holds it opens the link: one at a time.
    opening: Semaphore,
    life: Mutex<Life>,
    /// Bytes that its file system holds in all, once that is known.
    disk: AtomicU64,
    destroying: AtomicBool,
    ended: CancellationToken,
    ports: Ports,
    meter: Meter,
    started: Table,
    myself: Weak<Self>,
}

#[derive(Debug)]
struct Life {
    created_at: SystemTime,
    /// Granted in all; zero is without end.
    timeout: Duration,
    expires_at: Option<SystemTime>,
    /// When it ends, by this machine's own clock.
    deadline: Option<Instant>,
    ended: Option<(Status, String)>,
}

impl DockerInstance {
    /// The handle of a sandbox of which this is known.
    pub(super) fn of(engine: &Engine, facts: Facts) -> Arc<Self> {
        let key = (Arc::clone(&engine.place), facts.container.clone());
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        held.retain(|_, instance| instance.strong_count() > 0);
        let made = Self::new(engine, facts);
        held.insert(key, Arc::downgrade(&made));
        made
    }

    fn new(engine: &Engine, facts: Facts) -> Arc<Self> {
        // Until its agent has said more.
        let life = Life {
            created_at: facts.created_at,
            timeout: facts.timeout,
            expires_at: facts.created_at.checked_add(facts.timeout).filter(|_| !facts.timeout.is_zero()),
            deadline: None,
            ended: None,
        };
        let ended = CancellationToken::new();
        Arc::new_cyclic(|myself| Self {
            ports: Ports::new(Arc::new(Inside::new(Weak::clone(myself), ended.clone()))),
            facts,
            engine: engine.clone(),
            link: Mutex::default(),
            opening: Semaphore::new(1),
            life: Mutex::new(life),
            disk: AtomicU64::new(0),
            destroying: AtomicBool::new(false),
            ended,
            meter: Meter::default(),
            started: Table::default(),
            myself: Weak::clone(myself),
        })
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The limits that it is under.
    pub(super) fn limits(&self) -> Limits {
        Limits { disk: self.disk.load(Ordering::Relaxed), ..self.facts.limits }
    }

    /// Opens the ports that were asked for in advance.
    pub(super) fn open_ports(&self, ports: &[u16]) -> Result<()> {
        ports.iter().try_for_each(|port| self.ports.way_to(*port).map(drop))
    }

    fn open_link(&self) -> Option<Arc<Link>> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.clone().filter(|link| !link.closed().is_cancelled())
    }

    /// The link, which is opened if there is none: one that was lost is made anew.
    pub(super) async fn link(&self) -> Result<Arc<Link>> {
        self.check()?;
        if let Some(link) = self.open_link() {
            return Ok(link);
        }
        let _turn = self.opening.acquire().await.map_err(|_| self.gone())?;
        self.check()?;
        if let Some(link) = self.open_link() {
            return Ok(link);
        }
        let myself = self.myself()?;
        // What is begun at the engine is known there, whether or not somebody waits for it.
        to_its_end(async move { myself.make_link().await }).await
    }

    async fn make_link(self: Arc<Self>) -> Result<Arc<Link>> {
        let connection = match self
            .engine
            .exec(&self.facts.container, program::RELAY, &[program::PATH, "connect"])
            .await
        {
            Ok(connection) => connection,
            // There is no such container, or it does not run.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
                self.note_end().await;
                return Err(if self.ended.is_cancelled() { self.gone() } else { error });
            }
            Err(error) => return Err(error),
        };
        let opened = tokio::time::timeout(START, Link::open(connection)).await;
        let opened = opened.map_err(|_| error::of_silence())?;
        let (link, incoming) = match opened {
            Ok(opened) => opened,
            Err(complaint) => {
                self.note_end().await;
                self.check()?;
                let said = super::error::tidy(&complaint);
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("the sandbox' agent does not answer: {said}"),
                )
                .with_hint("the sandbox may have no processes left; destroy it, or try again"));
            }
        };
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&link));
        tokio::spawn(Arc::clone(&self).live(Arc::clone(&link), incoming));
        self.learn(&link).await;
        Ok(link)
    }

    /// Asks what only the agent knows.
    async fn learn(&self, link: &Link) {
        if let Ok((_, Answer { reply: Reply::Life { granted, left, since, .. }, .. })) =
            link.ask(|id| Request::Life { id }).await
        {
            self.note_life(granted, left, since);
        }
        if let Ok((_, Answer { reply: Reply::Measured { usage, .. }, .. })) =
            link.ask(|id| Request::Measure { id, processes: false }).await
        {
            self.disk.store(usage.disk_total, Ordering::Relaxed);
        }
    }

    fn note_life(&self, granted: u64, left: u64, since: u64) {
        let mut life = self.life();
        // Whatever the agent says, no clock goes further than it goes.
        let since = UNIX_EPOCH.checked_add(Duration::from_millis(since)).unwrap_or(self.facts.created_at);
        life.created_at = since;
        life.timeout = Duration::from_millis(granted);
        let ends = !matches!(granted, 0 | u64::MAX);
        life.expires_at = since.checked_add(life.timeout).filter(|_| ends);
        life.deadline = Instant::now().checked_add(Duration::from_millis(left)).filter(|_| ends);
    }

    /// Reads the agent's answers until the link or the sandbox ends. The one task of a link.
    async fn live(self: Arc<Self>, link: Arc<Link>, mut incoming: Incoming) {
        link.serve(&mut incoming).await;
        if !self.ended.is_cancelled() {
            self.note_end().await;
        }
        // Only now, so that everybody who waits is told why.
        link.close();
    }

    /// Looks whether the container has ended, and why.
    async fn note_end(&self) {
        let begun = Instant::now();
        loop {
            let state = match self.engine.container(&self.facts.container).await {
                Ok(container) => container.map(|container| container.state),
                Err(_) => return,
            };
            match state {
                None => return self.end_by(None),
                Some(state) if !state.running => return self.end_by(Some(&state)),
                // The link alone was lost, or the engine has not noticed yet.
                Some(_) if begun.elapsed() > NOTICE && !self.is_over_by_now() => return,
                Some(_) if begun.elapsed() > 2 * NOTICE => return,
                Some(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn is_over_by_now(&self) -> bool {
        let life = self.life();
        life.deadline.is_some_and(|end| Instant::now() + CLOCKS >= end)
    }

    /// Notes the end of a container; what is left of it, if anything is, tells why.
    fn end_by(&self, state: Option<&State>) {
        let (status, reason) = if self.destroying.load(Ordering::Relaxed) {
            (Status::Stopped, DESTROYED.to_owned())
        } else if self.is_over_by_now() {
            let timeout = self.life().timeout.as_millis();
            (Status::Stopped, format!("its time was over (timeout: {timeout} ms)"))
        } else {
            match state {
                Some(state) if state.oom_killed => {
                    let memory = self.facts.limits.memory;
                    let reason = format!(
                        "its memory had run out (`resources.memory`: {memory} bytes), and the kernel killed it"
                    );
                    (Status::Error, reason)
                }
                Some(state) if state.status == "exited" || state.status == "dead" => (
                    Status::Error,
                    format!(
                        "it ended unexpectedly ({}{})",
                        state.exit_code,
                        super::error::tidy(&state.error)
                    ),
                ),
                _ => (Status::Stopped, REMOVED.to_owned()),
            }
        };
        self.end(status, reason);
    }

    /// Notes the end of the sandbox; the first reason stays.
    fn end(&self, status: Status, reason: String) {
        self.life().ended.get_or_insert((status, reason));
        self.started.close();
        self.ended.cancel();
        let key = (Arc::clone(&self.engine.place), self.facts.container.clone());
        HELD.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// The error of every call after the end.
    pub(super) fn gone(&self) -> Error {
        let reason = self.life().ended.as_ref().map(|(_, reason)| reason.clone());
        let reason = reason.unwrap_or_else(|| "it ended unexpectedly".to_owned());
        Error::new(ErrorKind::NotFound, format!("the sandbox `{}` is gone: {reason}", self.facts.id))
            .with_hint("create another one")
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.ended.is_cancelled() { Err(self.gone()) } else { Ok(()) }
    }

    /// The error of what was cut off by the end of the sandbox, or of the link alone.
    pub(super) async fn lost(&self, link: &Link) -> Error {
        // Why is known before the link is closed.
        link.closed().cancelled().await;
        if self.ended.is_cancelled() {
            return self.gone();
        }
        Error::new(ErrorKind::Unavailable, "the connection to the sandbox was lost")
            .with_hint("the sandbox goes on: try again")
    }

    /// Sends a request to the agent and waits for its answer, which comes with the link that it came over.
    pub(super) async fn ask(&self, request: impl FnOnce(u32) -> Request) -> Result<(u32, Answer, Arc<Link>)> {
        let link = self.link().await?;
        match tokio::time::timeout(PATIENCE, link.ask(request)).await {
            Ok(Ok((id, answer))) => Ok((id, answer, link)),
            Ok(Err(_)) => Err(self.lost(&link).await),
            Err(_) => {
                // Something in there has stopped it: another may be made.
                link.close();
                Err(error::of_silence())
            }
        }
    }

    /// Is cancelled when it has ended.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// For work that goes on when its caller has returned.
    pub(super) fn myself(&self) -> Result<Arc<Self>> {
        self.myself.upgrade().ok_or_else(|| self.gone())
    }

    /// What an agent has started, over the streams that came with its answer.
    fn process(
        &self,
        id: u32,
        pid: u32,
        command: &Command,
        link: Arc<Link>,
        streams: Vec<Stream>,
        ending: Option<Ending>,
    ) -> Result<Process> {
        let mut streams = streams.into_iter();
        let mut stream = || streams.next().map(Arc::new).ok_or_else(error::nonsense);
        let ending = ending.ok_or_else(error::nonsense)?;
        let terminal = command.terminal.is_some();
        let (input, output) = if terminal {
            let screen = stream()?;
            // Open as long as somebody reads it.
            (Some(Arc::downgrade(&screen)), DockerOutput::new(screen, None, ending.clone()))
        } else {
            let stdin = command.stdin.then(&mut stream).transpose()?;
            let output = DockerOutput::new(stream()?, Some(stream()?), ending.clone());
            let control = DockerControl::new(
                self.myself()?,
                link,
                (id, pid),
                stdin.map(super::process::Input::Pipe),
                ending,
            );
            return Ok(Process { output: Box::new(output), control: Arc::new(control) });
        };
        let input = input.map(super::process::Input::Terminal);
        let control = DockerControl::new(self.myself()?, link, (id, pid), input, ending);
        let output: Box<dyn Output> = Box::new(output);
        Ok(Process { output, control: Arc::new(control) })
    }

    fn command(&self, link: &Link, command: &Command) -> Result<protocol::Command> {
        let own = &link.welcome().user;
        if command.user.as_ref().is_some_and(|user| user != own) {
            let own = super::error::tidy(own);
            return Err(Error::unsupported(format!("`user`: commands in this container run as `{own}`"))
                .with_hint("use an image with another user"));
        }
        let shell = if link.welcome().bash { "bash" } else { "sh" };
        let (argv, script) = match &command.program {
            Program::Args(argv) => (argv.clone(), None),
            Program::Login => (vec![shell.to_owned(), "-l".to_owned()], None),
            Program::Shell(line) if line.len() <= LONGEST_LINE => {
                (vec![shell.to_owned(), "-c".to_owned(), line.clone()], None)
            }
            Program::Shell(line) => {
                let path = format!("/proc/self/fd/{}", protocol::SCRIPT_FD);
                (vec![shell.to_owned(), path], Some(Blob(line.clone().into_bytes())))
            }
        };
        let home = &link.welcome().home;
        let mut env = BTreeMap::from([
            ("HOME".to_owned(), if home.is_empty() { "/".to_owned() } else { home.clone() }),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("PATH".to_owned(), PATH.to_owned()),
            ("SHELL".to_owned(), format!("/bin/{shell}")),
        ]);
        env.extend(self.facts.env.clone());
        env.extend(command.env.clone());
        Ok(protocol::Command {
            argv,
            env,
            cwd: command.cwd.clone().unwrap_or_else(|| self.facts.cwd.clone()),
            stdin: command.stdin,
            terminal: command.terminal.map(|size| (size.cols, size.rows)),
            script,
        })
    }

    fn processes_limit(&self) -> u32 {
        self.facts.limits.processes.unwrap_or(u32::MAX)
    }

    /// The facts as they are known here, of a sandbox that runs.
    pub(super) fn known(&self) -> Info {
        let life = self.life();
        let (status, reason) = match &life.ended {
            None => (Status::Running, None),
            Some((status, reason)) => (*status, Some(reason.clone())),
        };
        Info {
            id: self.facts.id.clone(),
            status,
            reason,
            created_at: life.created_at,
            timeout: life.timeout,
            expires_at: life.expires_at,
            metadata: self.facts.metadata.clone(),
            runtime: self.facts.runtime.clone(),
            isolation: ISOLATION.map(str::to_owned).to_vec(),
            limits: Some(self.limits()),
        }
    }
}

/// What an engine puts around every container, and what is asked of it here.
const ISOLATION: [&str; 9] = [
    "mount namespace",
    "pid namespace",
    "network namespace",
    "ipc namespace",
    "uts namespace",
    "cgroups",
    "no capabilities",
    "no new privileges",
    "seccomp (the engine's profile)",
];

#[async_trait]
impl Instance for DockerInstance {
    fn id(&self) -> &str {
        &self.facts.id
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn runtime(&self) -> Option<&str> {
        self.facts.runtime.as_deref()
    }

    async fn info(&self) -> Result<Info> {
        if !self.ended.is_cancelled() {
            // Another process may have let it live longer, or ended it.
            match self.ask(|id| Request::Life { id }).await {
                Ok((_, Answer { reply: Reply::Life { granted, left, since, .. }, .. }, _)) => {
                    self.note_life(granted, left, since);
                }
                Ok(_) => return Err(error::nonsense()),
                Err(_) if self.ended.is_cancelled() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.known())
    }

    async fn spawn(&self, command: &Command) -> Result<Process> {
        let link = self.link().await?;
        let request = self.command(&link, command)?;
        let program = request.argv.first().cloned().unwrap_or_default();
        let (id, answer, link) = self.ask(|id| Request::Spawn { id, command: request }).await?;
        let Answer { reply, beside, ending } = answer;
        let processes = self.processes_limit();
        let pid = match reply {
            Reply::Started { pid, .. } => pid,
            Reply::Failed { trouble: Trouble::Program, errno, .. } => {
                return match error::of_exhaustion(errno, processes) {
                    Some(error) => Err(error),
                    None => Ok(not_run(id & 0xff_ffff, &program, errno, command.terminal.is_some())),
                };
            }
            Reply::Failed { trouble: Trouble::Terminal, errno, .. } => {
                return Err(error::of_terminal(errno, processes));
            }
            Reply::Failed { trouble: Trouble::WorkingDirectory, errno, .. } => {
                let cwd = command.cwd.as_deref().unwrap_or(&self.facts.cwd);
                return Err(error::of_file(About::Directory, cwd, &Trouble::WorkingDirectory, errno));
            }
            _ => return Err(error::nonsense()),
        };
        let process = self.process(id, pid, command, Arc::clone(&link), beside, ending);
        // Nobody would have a handle to it.
        process.inspect_err(|_| link.tell(&Request::Kill { target: id }))
    }

    fn started(&self) -> &Table {
        &self.started
    }

    async fn attach(&self, _: u32) -> Result<Option<Attached>> {
        self.check().map(|()| None)
    }

    async fn processes(&self) -> Result<Vec<Running>> {
        self.check().map(|()| Vec::new())
    }

    fn files(&self) -> &dyn Files {
        self
    }

    async fn url(&self, port: u16, protocol: Option<&str>) -> Result<String> {
        let scheme = url::scheme(protocol)?;
        let here = self.ports.way_to(port)?.ok_or_else(|| self.gone())?;
        Ok(format!("{scheme}://{}:{here}", self.facts.host))
    }

    async fn listens(&self, port: u16) -> Result<bool> {
        match self.ask(|id| Request::Listens { id, port }).await?.1.reply {
            Reply::Listening { listens, .. } => Ok(listens),
            Reply::Failed { errno, .. } => Err(error::of_looking(errno)),
            _ => Err(error::nonsense()),
        }
    }

    async fn extend_timeout(&self, by: Duration) -> Result<()> {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        match self.ask(|id| Request::Extend { id, by }).await?.1.reply {
            Reply::Life { granted, left, since, .. } => {
                self.note_life(granted, left, since);
                Ok(())
            }
            _ => Err(error::nonsense()),
        }
    }

    async fn metrics(&self) -> Result<Metrics> {
        self.meter.read(self).await
    }

    async fn destroy(&self) -> Result<()> {
        let myself = self.myself()?;
        self.destroying.store(true, Ordering::Relaxed);
        to_its_end(async move {
            if let Err(error) = myself.engine.remove(&myself.facts.container).await {
                myself.destroying.store(false, Ordering::Relaxed);
                return Err(error);
            }
            myself.end(Status::Stopped, DESTROYED.to_owned());
            if let Some(link) = myself.open_link() {
                link.close();
            }
            myself.ports.closed().await;
            Ok(())
        })
        .await
    }
}
