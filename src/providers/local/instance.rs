//! One local sandbox: its link, its life, its place among the others.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use computesdk_agent::protocol::{self, Blob, Plan, Reply, Request, Trouble};
use tokio::sync::watch;
use tokio::time::Instant;

use super::broker::{Broker, End, Ticket};
use super::error;
use super::link::{Answer, Link, Lost};
use super::metrics::Meters;
use super::network::{Access, Outlet};
use super::pipe::Pipe;
use super::plan::{self, HOME, Origin, Settings};
use super::ports::Ports;
use super::process::{Input, LocalControl, LocalOutput, not_run};
use super::pty::{Pty, PtyOutput};
use super::snapshots::Used;
use super::{url, warm};
use crate::error::{Error, ErrorKind, Result};
use crate::process::Table;
use crate::provider::{
    Attached, Command, Contact, Enforcement, Files, Info, Instance, Limits, Metrics, Networking, Output,
    Process, Program, Running, Snapshotting, Status,
};
use crate::providers::answers::Ending;

/// How long the steps of isolation may take, on a machine that is busy.
const START: Duration = Duration::from_secs(30);

/// How long an agent may take to answer, and a job to be done.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Why a sandbox has ended of which nobody knows.
const UNEXPECTED: &str = "it ended unexpectedly";

/// A shell line longer than this comes as a script: one argument may not be longer (`execve(2)`).
const LONGEST_LINE: usize = 128 * 1024 - 1;

/// The sandboxes of this process, by id. `None` holds the place of one that is being made.
static ALL: LazyLock<Mutex<HashMap<String, Option<Arc<LocalInstance>>>>> = LazyLock::new(Mutex::default);

fn registry() -> MutexGuard<'static, HashMap<String, Option<Arc<LocalInstance>>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The living sandbox of this id.
pub(super) fn find(id: &str) -> Option<Arc<LocalInstance>> {
    registry().get(id).cloned().flatten()
}

/// All living sandboxes.
pub(super) fn all() -> Vec<Arc<LocalInstance>> {
    registry().values().flatten().cloned().collect()
}

/// The place of a sandbox that is being made; given up again if it does not come about.
struct Place(Option<String>);

impl Place {
    fn take(id: &str) -> Result<Self> {
        let mut registry = registry();
        if registry.contains_key(id) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("there is a sandbox `{id}` already"))
                .with_hint("choose another `sandboxId`, or find that one with getById"));
        }
        registry.insert(id.to_owned(), None);
        Ok(Self(Some(id.to_owned())))
    }

    fn fill(mut self, instance: &Arc<LocalInstance>) {
        if let Some(id) = self.0.take() {
            registry().insert(id, Some(Arc::clone(instance)));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(id) = &self.0 {
            registry().remove(id);
        }
    }
}

#[derive(Debug)]
pub(super) struct LocalInstance {
    id: String,
    settings: Settings,
    bash: bool,
    layers: Vec<String>,
    limits: Limits,
    created_at: SystemTime,
    ticket: Ticket,
    link: Arc<Link>,
    ports: Ports,
    outlet: Option<Outlet>,
    meters: Meters,
    life: Mutex<Life>,
    deadline: watch::Sender<Option<Instant>>,
    started: Table,
    myself: Weak<Self>,
}

#[derive(Debug)]
struct Life {
    /// What it was made from.
    snapshot: Option<Used>,
    /// Granted in all; zero is without end.
    timeout: Duration,
    expires_at: Option<SystemTime>,
    ended: Option<(Status, String)>,
}

impl LocalInstance {
    /// Makes a sandbox and waits until it takes commands.
    pub(super) async fn create(mut settings: Settings) -> Result<Arc<Self>> {
        let id = settings.id.clone();
        let place = Place::take(&id)?;
        let (ticket, link) = Broker::create(&settings.plan).await?;
        let first = tokio::time::timeout(START, link.receive()).await.map_err(|_| {
            Error::new(ErrorKind::Timeout, format!("the sandbox was not ready within {} s", START.as_secs()))
        })?;
        let (bash, layers, cgroup) = match first {
            Ok((Reply::Ready { bash, layers, cgroup }, _)) => (bash, layers, cgroup),
            Ok((Reply::Broken { failure }, _)) => return Err(error::of_isolation(&failure)),
            _ => return Err(Error::new(ErrorKind::Unavailable, "the sandbox ended while it was being made")),
        };
        let enforcement = if cgroup { Enforcement::Cgroup } else { Enforcement::PerProcess };
        if settings.enforce && !cgroup {
            return Err(error::of_enforcing("enforce", "limits hold for each process only"));
        }
        if settings.plan.cpus > 0 && !cgroup {
            return Err(error::of_enforcing("cpus", "nothing else limits it"));
        }
        let ports = Ports::new(Arc::<Link>::clone(&link));
        for port in &settings.ports {
            ports.way_to(*port)?;
        }
        let outlet = match &settings.access {
            Some(access) => Some(open_outlet(access, &link).await?),
            None => None,
        };
        let timeout = settings.timeout;
        let now = SystemTime::now();
        let expires_at = expiry(now, timeout);
        let (deadline, _) = watch::channel(expires_at.and_then(|_| Instant::now().checked_add(timeout)));
        let instance = Arc::new_cyclic(|myself| Self {
            id,
            bash,
            layers,
            limits: settings.limits(enforcement),
            created_at: now,
            ticket,
            link,
            ports,
            outlet,
            meters: Meters::new(),
            life: Mutex::new(Life { snapshot: settings.snapshot.take(), timeout, expires_at, ended: None }),
            deadline,
            started: Table::default(),
            myself: Weak::clone(myself),
            settings,
        });
        place.fill(&instance);
        tokio::spawn(Arc::clone(&instance).live());
        Ok(instance)
    }

    /// Reads the agent's answers until the sandbox ends, and ends it when its time is over. The one task
    /// of a sandbox.
    async fn live(self: Arc<Self>) {
        let mut deadline = self.deadline.subscribe();
        let serving = self.link.serve();
        tokio::pin!(serving);
        loop {
            let until = *deadline.borrow_and_update();
            tokio::select! {
                () = &mut serving => break,
                changed = deadline.changed() => if changed.is_err() { break },
                () = async { match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                } } => {
                    let timeout = self.life().timeout.as_millis();
                    self.end(Status::Stopped, format!("its time was over (timeout: {timeout} ms)"));
                    self.ticket.end();
                    break;
                }
            }
        }
        if self.life().ended.is_none() {
            let reason = match self.ticket.how_it_ended().await {
                Some(End::Starved) => self.starved(),
                Some(End::Gone) | None => UNEXPECTED.to_owned(),
            };
            self.end(Status::Error, reason);
        }
        // Only now, so that everybody who waits is told why.
        self.link.close();
    }

    fn starved(&self) -> String {
        format!(
            "its memory had run out (`resources.memory`: {} bytes), and the kernel killed it",
            self.limits.memory
        )
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the end of the sandbox; the first reason stays.
    fn end(&self, status: Status, reason: String) {
        let mut life = self.life();
        life.ended.get_or_insert((status, reason));
        life.snapshot = None;
        drop(life);
        self.started.close();
        self.meters.close();
        let mut registry = registry();
        // The id may have been given to another since.
        if let Some(Some(holder)) = registry.get(&self.id)
            && std::ptr::eq(Arc::as_ptr(holder), self)
        {
            registry.remove(&self.id);
        }
    }

    /// The error of every call after the end.
    pub(super) fn gone(&self) -> Error {
        let reason = self.life().ended.as_ref().map(|(_, reason)| reason.clone());
        let reason = reason.unwrap_or_else(|| UNEXPECTED.to_owned());
        Error::new(ErrorKind::NotFound, format!("the sandbox `{}` is gone: {reason}", self.id))
            .with_hint("create another one")
    }

    fn check(&self) -> Result<()> {
        if self.life().ended.is_some() { Err(self.gone()) } else { Ok(()) }
    }

    /// Sends a request to the agent and waits for its answer.
    pub(super) async fn ask(&self, request: impl FnOnce(u32) -> Request) -> Result<(u32, Answer)> {
        self.check()?;
        let answer = tokio::time::timeout(PATIENCE, self.link.ask(request)).await;
        match answer.map_err(|_| error::of_silence())? {
            Ok(answer) => Ok(answer),
            Err(Lost::Unsent(error)) => Err(error::of_sending(error)),
            Err(Lost::Closed) => {
                // That it has ended may be known here before it is known why.
                self.link.closed().cancelled().await;
                Err(self.gone())
            }
        }
    }

    /// The files in which the kernel counts what it uses, where it does.
    pub(super) async fn meters(&self) -> Result<Vec<OwnedFd>> {
        self.check()?;
        self.ticket.meters().await
    }

    /// Sends a request that has no answer; a sandbox that is gone has done it.
    pub(super) async fn tell(&self, request: Request) -> Result<()> {
        match self.link.send(&request).await {
            Ok(()) | Err(Lost::Closed) => Ok(()),
            Err(Lost::Unsent(error)) => Err(error::of_sending(error)),
        }
    }

    /// Likewise, from where nothing can be waited for.
    pub(super) fn tell_now(&self, request: Request) {
        self.link.tell(request);
    }

    /// For work that goes on when its caller has returned.
    pub(super) fn myself(&self) -> Result<Arc<Self>> {
        self.myself.upgrade().ok_or_else(|| self.gone())
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// What it was made as.
    pub(super) fn plan(&self) -> &Plan {
        &self.settings.plan
    }

    /// Bytes that its files can have in all.
    pub(super) fn disk(&self) -> u64 {
        self.limits.disk
    }

    /// What it was made from, but for a snapshot.
    pub(super) fn origin(&self) -> Arc<Origin> {
        Arc::clone(&self.settings.origin)
    }

    /// The snapshot that it was made from.
    pub(super) fn stands_on(&self) -> Result<Option<Used>> {
        self.check()?;
        Ok(self.life().snapshot.clone())
    }

    /// Bytes of memory that all snapshots may take.
    pub(super) fn snapshot_memory(&self) -> u64 {
        self.settings.snapshot_memory
    }

    pub(super) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// What an agent has started, over the descriptors that it sent.
    fn process(
        &self,
        id: u32,
        pid: u32,
        command: &Command,
        descriptors: Vec<OwnedFd>,
        ending: Option<Ending>,
    ) -> Result<Process> {
        let mut descriptors = descriptors.into_iter();
        let mut descriptor = || descriptors.next().ok_or_else(error::of_missing_descriptor);
        let ending = ending.ok_or_else(error::nonsense)?;
        let (input, output): (_, Box<dyn Output>) = if command.terminal.is_some() {
            let terminal = Arc::new(Pty::new(descriptor()?)?);
            let input = Input::Terminal(Arc::downgrade(&terminal));
            (Some(input), Box::new(PtyOutput::new(terminal, ending.clone())))
        } else {
            let mut pipe = || descriptor().and_then(Pipe::new);
            let stdin = command.stdin.then(&mut pipe).transpose()?;
            let output = LocalOutput::new(pipe()?, pipe()?, ending.clone());
            (stdin.map(|pipe| Input::Pipe(Arc::new(pipe))), Box::new(output))
        };
        let control = LocalControl { instance: self.myself()?, id, pid, input: Mutex::new(input), ending };
        Ok(Process { output, control: Arc::new(control) })
    }

    fn command(&self, command: &Command) -> Result<protocol::Command> {
        if command.user.as_deref().is_some_and(|user| !matches!(user, "user" | "1000")) {
            return Err(Error::unsupported("`user`: commands of a local sandbox run as `user` (1000)"));
        }
        let shell = if self.bash { "bash" } else { "sh" };
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
        let mut env: BTreeMap<String, String> = plan::environment(shell);
        env.extend(self.settings.interpreters.clone());
        env.extend(self.settings.access.iter().flat_map(|access| access.environment().clone()));
        env.extend(self.settings.envs.clone());
        env.extend(command.env.clone());
        Ok(protocol::Command {
            argv,
            env,
            cwd: command.cwd.clone().unwrap_or_else(|| HOME.to_owned()),
            stdin: command.stdin,
            terminal: command.terminal.map(|size| (size.cols, size.rows)),
            script,
        })
    }
}

/// Opens the way out of a sandbox whose answers nobody reads yet.
async fn open_outlet(access: &Access, link: &Arc<Link>) -> Result<Outlet> {
    tokio::select! {
        opened = tokio::time::timeout(START, Outlet::open(access, link)) => {
            opened.map_err(|_| error::of_silence())?
        }
        () = link.serve() => {
            Err(Error::new(ErrorKind::Unavailable, "the sandbox ended while it was being made"))
        }
    }
}

fn expiry(now: SystemTime, timeout: Duration) -> Option<SystemTime> {
    if timeout.is_zero() { None } else { now.checked_add(timeout) }
}

#[async_trait]
impl Instance for LocalInstance {
    fn id(&self) -> &str {
        &self.id
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn runtime(&self) -> Option<&str> {
        self.settings.runtime.as_deref()
    }

    async fn info(&self) -> Result<Info> {
        let life = self.life();
        let (status, reason) = match &life.ended {
            None => (Status::Running, None),
            Some((status, reason)) => (*status, Some(reason.clone())),
        };
        Ok(Info {
            id: self.id.clone(),
            status,
            reason,
            created_at: self.created_at,
            timeout: life.timeout,
            expires_at: life.expires_at,
            metadata: self.settings.metadata.clone(),
            runtime: self.settings.runtime.clone(),
            isolation: self.layers.clone(),
            limits: Some(self.limits),
        })
    }

    async fn spawn(&self, command: &Command) -> Result<Process> {
        let request = self.command(command)?;
        let program = request.argv.first().cloned().unwrap_or_default();
        let warm = &self.settings.warm;
        let (id, answer) = self.ask(|id| warm::request(id, request, command, warm)).await?;
        let Answer { reply, beside, ending } = answer;
        let pid = match reply {
            Reply::Started { pid, .. } => pid,
            Reply::Failed { trouble: Trouble::Program, errno, .. } => {
                return match error::of_exhaustion(errno, self.settings.plan.processes) {
                    Some(error) => Err(error),
                    None => Ok(not_run(id, &program, errno, command.terminal.is_some())),
                };
            }
            Reply::Failed { trouble: Trouble::Terminal, errno, .. } => {
                return Err(error::of_terminal(errno, self.settings.plan.processes));
            }
            Reply::Failed { trouble: Trouble::WorkingDirectory, errno, .. } => {
                let cwd = command.cwd.as_deref().unwrap_or(HOME);
                return Err(error::of_file(error::About::Directory, cwd, &Trouble::WorkingDirectory, errno));
            }
            _ => return Err(error::nonsense()),
        };
        let process = self.process(id, pid, command, beside, ending);
        // Nobody would have a handle to it.
        process.inspect_err(|_| self.tell_now(Request::Kill { target: id }))
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
        Ok(format!("{scheme}://{}:{here}", self.settings.host))
    }

    async fn listens(&self, port: u16) -> Result<bool> {
        match self.ask(|id| Request::Listens { id, port }).await?.1.reply {
            Reply::Listening { listens, .. } => Ok(listens),
            Reply::Failed { errno, .. } => Err(error::of_looking(errno)),
            _ => Err(error::nonsense()),
        }
    }

    async fn extend_timeout(&self, by: Duration) -> Result<()> {
        let mut life = self.life();
        if life.ended.is_some() {
            drop(life);
            return Err(self.gone());
        }
        // Without end stays without end; so does an end that no clock can hold.
        if let Some(expires_at) = life.expires_at {
            life.timeout = life.timeout.saturating_add(by);
            life.expires_at = expires_at.checked_add(by);
            self.deadline.send_modify(|deadline| *deadline = deadline.and_then(|at| at.checked_add(by)));
        }
        Ok(())
    }

    async fn metrics(&self) -> Result<Metrics> {
        self.meters.read(self, &self.limits).await
    }

    fn snapshotting(&self) -> Option<&dyn Snapshotting> {
        Some(self)
    }

    fn networking(&self) -> Option<&dyn Networking> {
        Some(self)
    }

    async fn destroy(&self) -> Result<()> {
        self.end(Status::Stopped, "it was destroyed".to_owned());
        self.ticket.end();
        self.link.close();
        self.ports.closed().await;
        if let Some(outlet) = &self.outlet {
            outlet.closed().await;
        }
        self.ticket.gone().await
    }
}

#[async_trait]
impl Networking for LocalInstance {
    async fn log(&self) -> Result<Vec<Contact>> {
        self.check()?;
        Ok(self.outlet.as_ref().map(Outlet::log).unwrap_or_default())
    }
}
