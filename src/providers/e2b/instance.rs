//! One sandbox of E2B: its life, and the way to what runs in it.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderValue};

use super::api::Api;
use super::envd::{Endpoint, Envd, Fate, Server, Version};
use super::kernel;
use super::life::Life;
use super::registry::{self, Key};
use super::wire::{Sandbox, State};
use crate::error::{Error, ErrorKind, Result};
use crate::process::Table;
use crate::provider::{
    Attached, Cell, CellStream, Command, Content, Entry, Files, Info, Instance, Kernels, Metrics, Pausing,
    Process, Running, Snapshot, Snapshotting,
};
use crate::transport::Secret;

/// The port that envd listens on.
const DAEMON: u16 = 49983;

/// A sandbox that is held.
#[derive(Debug)]
pub(super) struct E2bInstance {
    /// By which its user knows it.
    id: String,
    /// By which E2B does.
    remote: String,
    runtime: Option<String>,
    /// What it is given to live when it is resumed, unless the caller says.
    timeout: Duration,
    api: Api,
    life: Arc<Life>,
    /// The way to it, once that is known: a list does not tell it.
    way: Mutex<Option<Way>>,
    key: Key,
}

/// How what runs in a sandbox is reached.
#[derive(Clone, Debug)]
struct Way {
    envd: Envd,
    token: Option<Secret>,
    /// Where its ports are, if not where all are.
    domain: Option<String>,
}

impl E2bInstance {
    /// The one handle of the sandbox that an answer tells of, with what it tells. `known` is what it is taken to be where
    /// there is no handle yet.
    pub(super) fn of(api: &Api, sandbox: &Sandbox, known: Info, timeout: Duration) -> Arc<Self> {
        let instance = registry::handle(&api.place, &sandbox.id, || {
            Arc::new(Self {
                id: known.id.clone(),
                remote: sandbox.id.clone(),
                runtime: known.runtime.clone(),
                timeout,
                api: api.clone(),
                life: Arc::new(Life::new(api.clone(), sandbox.id.clone(), known)),
                way: Mutex::default(),
                key: Key::new(&api.place, &sandbox.id),
            })
        });
        if sandbox.started_at.is_some() {
            instance.life.learn(sandbox);
        }
        instance
    }

    pub(super) fn is_called(&self, id: &str) -> bool {
        self.id == id
    }

    pub(super) fn remote(&self) -> &str {
        &self.remote
    }

    fn way(&self) -> MutexGuard<'_, Option<Way>> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how it is reached, from an answer that tells its token.
    pub(super) fn reach(&self, sandbox: &Sandbox) -> Result<()> {
        let token = sandbox.envd_access_token.clone();
        let domain = sandbox.domain.clone().filter(|domain| !domain.is_empty());
        let mut way = self.way();
        if way.as_ref().is_some_and(|known| known.token == token && known.domain == domain) {
            return Ok(());
        }
        let place = &self.api.place;
        let daemon = place.daemon(domain.as_deref(), &self.remote, DAEMON);
        let interpreter = place.direct(domain.as_deref(), &self.remote, kernel::PORT);
        let envd = Envd::new(Endpoint {
            sandbox: self.remote.clone(),
            token: token.clone(),
            version: Version::read(&sandbox.envd_version),
            daemon: self.server(daemon, DAEMON, token.as_ref())?,
            interpreter: self.server(interpreter, kernel::PORT, token.as_ref())?,
        })?;
        let fate: Arc<dyn Fate> = Arc::<Life>::clone(&self.life);
        envd.ask_about_its_end(Arc::downgrade(&fate));
        *way = Some(Way { envd, token, domain });
        Ok(())
    }

    /// A server in it, and what opens it.
    fn server(&self, base: String, port: u16, token: Option<&Secret>) -> Result<Server> {
        let unsendable = |_| {
            Error::invalid(format!("E2B gave an id or a token that no header can hold: `{}`", self.remote))
        };
        let mut headers = HeaderMap::new();
        // All sandboxes may be behind one address: these two say which is meant.
        headers.insert("e2b-sandbox-id", HeaderValue::from_str(&self.remote).map_err(unsendable)?);
        headers.insert("e2b-sandbox-port", HeaderValue::from(port));
        if let Some(token) = token {
            headers.insert("x-access-token", token.header().map_err(unsendable)?);
        }
        Ok(Server { base, headers })
    }

    /// How it is reached, asked for if that is not known yet.
    async fn known_way(&self) -> Result<Way> {
        self.life.check()?;
        let known = self.way().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let (sandbox, _) = self.look().await?;
        self.reach(&sandbox)?;
        let known = self.way().clone();
        known.ok_or_else(|| Error::new(ErrorKind::Internal, "the way to a sandbox is lost"))
    }

    /// What runs in it.
    async fn envd(&self) -> Result<Envd> {
        Ok(self.known_way().await?.envd)
    }

    /// What comes of a call, unless the sandbox is known to have ended before: its connections need not say so.
    async fn while_alive<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        tokio::select! {
            biased;
            outcome = call => outcome,
            gone = self.life.ended() => Err(gone),
        }
    }

    /// Asks E2B about it; that it is not there is an error.
    async fn look(&self) -> Result<(Sandbox, SystemTime)> {
        self.life.check()?;
        let Some((sandbox, now)) = self.api.get(&self.remote).await? else {
            return Err(self.life.missing());
        };
        self.life.learn(&sandbox);
        Ok((sandbox, now))
    }

    /// What came of a call about it. E2B does not know it: it has ended.
    fn known_there<T>(&self, outcome: Result<T>) -> Result<T> {
        match outcome {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.life.missing()),
            outcome => outcome,
        }
    }
}

impl Drop for E2bInstance {
    fn drop(&mut self) {
        // What was started goes on there; here nobody can ask for it any more.
        self.life.started().close();
        registry::forget(&self.key, self);
    }
}

#[async_trait]
impl Instance for E2bInstance {
    fn id(&self) -> &str {
        &self.id
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn runtime(&self) -> Option<&str> {
        self.runtime.as_deref()
    }

    async fn info(&self) -> Result<Info> {
        self.life.ask().await
    }

    async fn spawn(&self, command: &Command) -> Result<Process> {
        self.while_alive(async { self.envd().await?.spawn(command).await }).await
    }

    fn started(&self) -> &Table {
        self.life.started()
    }

    async fn attach(&self, pid: u32) -> Result<Option<Attached>> {
        self.while_alive(async { self.envd().await?.attach(pid).await }).await
    }

    async fn processes(&self) -> Result<Vec<Running>> {
        self.while_alive(async { self.envd().await?.processes().await }).await
    }

    fn files(&self) -> &dyn Files {
        self
    }

    async fn url(&self, port: u16, protocol: Option<&str>) -> Result<String> {
        let way = self.known_way().await?;
        self.api.place.url(way.domain.as_deref(), &self.remote, port, protocol)
    }

    async fn listens(&self, port: u16) -> Result<bool> {
        self.while_alive(async { self.envd().await?.listens(port).await }).await
    }

    async fn extend_timeout(&self, by: Duration) -> Result<()> {
        let (sandbox, now) = self.look().await?;
        if sandbox.state == State::Paused {
            return Err(self.life.paused());
        }
        let left = sandbox.end_at.and_then(|end| end.duration_since(now).ok()).unwrap_or_default();
        let extended = self.api.set_timeout(&self.remote, left.saturating_add(by)).await;
        self.known_there(extended)
    }

    async fn metrics(&self) -> Result<Metrics> {
        self.life.check()?;
        let measured = self.known_there(self.api.metrics(&self.remote).await)?;
        let latest = measured.last().ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, format!("E2B has not measured the sandbox `{}` yet", self.id))
                .with_hint("it does so every few seconds")
        })?;
        Ok(Metrics {
            at: latest.timestamp,
            cpus: latest.cpu_count,
            cpu_percent: latest.cpu_used_pct,
            memory: latest.mem_used,
            memory_total: latest.mem_total,
            disk: latest.disk_used,
            disk_total: latest.disk_total,
            ..Metrics::default()
        })
    }

    async fn destroy(&self) -> Result<()> {
        if self.life.check().is_err() {
            return Ok(());
        }
        self.life.destroy().await?;
        registry::forget(&self.key, self);
        Ok(())
    }

    fn pausing(&self) -> Option<&dyn Pausing> {
        Some(self)
    }

    fn snapshotting(&self) -> Option<&dyn Snapshotting> {
        Some(self)
    }

    fn kernels(&self) -> Option<&dyn Kernels> {
        Some(self)
    }
}

#[async_trait]
impl Kernels for E2bInstance {
    async fn execute(&self, code: &Cell) -> Result<CellStream> {
        self.envd().await?.execute(code).await
    }
}

#[async_trait]
impl Pausing for E2bInstance {
    async fn pause(&self) -> Result<()> {
        self.life.check()?;
        self.known_there(self.api.pause(&self.remote).await)
    }

    async fn resume(&self, timeout: Option<Duration>) -> Result<()> {
        self.life.check()?;
        let resumed = self.api.resume(&self.remote, timeout.unwrap_or(self.timeout)).await;
        self.reach(&self.known_there(resumed)?)
    }
}

#[async_trait]
impl Snapshotting for E2bInstance {
    async fn snapshot(&self, name: Option<&str>) -> Result<Snapshot> {
        self.life.check()?;
        let made = self.known_there(self.api.snapshot(&self.remote, name).await)?;
        Ok(Snapshot { id: made.id, names: made.names })
    }
}

/// Files are the daemon's, which is found when the first of them is asked for.
#[async_trait]
impl Files for E2bInstance {
    async fn read(&self, path: &str, piece: usize) -> Result<Content> {
        self.while_alive(async { self.envd().await?.read(path, piece).await }).await
    }

    async fn write(&self, path: &str, content: Content) -> Result<()> {
        self.while_alive(async { self.envd().await?.write(path, content).await }).await
    }

    async fn make_dir(&self, path: &str) -> Result<()> {
        self.while_alive(async { self.envd().await?.make_dir(path).await }).await
    }

    async fn list(&self, path: &str) -> Result<Vec<Entry>> {
        self.while_alive(async { self.envd().await?.list(path).await }).await
    }

    async fn stat(&self, path: &str) -> Result<Option<Entry>> {
        self.while_alive(async { self.envd().await?.stat(path).await }).await
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        self.while_alive(async { self.envd().await?.exists(path).await }).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.while_alive(async { self.envd().await?.rename(from, to).await }).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.while_alive(async { self.envd().await?.copy(from, to).await }).await
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.while_alive(async { self.envd().await?.remove(path).await }).await
    }
}
