//! What is known about the life of a sandbox, for all handles of it and for everything that runs in it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::envd::Fate;
use super::metadata;
use super::wire::{Sandbox, State};
use crate::error::{Error, ErrorKind, Result};
use crate::process::Table;
use crate::provider::{Enforcement, Info, Limits, Status};
use crate::providers::to_its_end;

/// How far two clocks may be apart without anybody noticing.
const CLOCKS: Duration = Duration::from_secs(2);

const MIB: u64 = 1 << 20;

/// The reason of an end that was asked for here.
const DESTROYED: &str = "it was destroyed";

/// The life of one sandbox.
#[derive(Debug)]
pub(super) struct Life {
    api: Api,
    /// By which E2B knows it; users may know it by one of their own.
    remote: String,
    /// What was last known.
    known: Mutex<Info>,
    /// Cancelled when it is known to have ended.
    over: CancellationToken,
    /// E2B is being asked to end it: if it is missing, that is why.
    destroying: AtomicBool,
    started: Table,
}

impl Life {
    pub(super) fn new(api: Api, remote: String, known: Info) -> Self {
        Self {
            api,
            remote,
            known: Mutex::new(known),
            over: CancellationToken::new(),
            destroying: AtomicBool::new(false),
            started: Table::default(),
        }
    }

    /// What was started in it and goes on.
    pub(super) fn started(&self) -> &Table {
        &self.started
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Info> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Waits until it is known to have ended, for the error of every call after that.
    pub(super) async fn ended(&self) -> Error {
        self.over.cancelled().await;
        self.gone()
    }

    /// Has E2B end it. That, once begun, goes on without its caller.
    pub(super) async fn destroy(self: &Arc<Self>) -> Result<()> {
        self.destroying.store(true, Ordering::Relaxed);
        let life = Arc::clone(self);
        to_its_end(async move {
            let killed = life.api.kill(&life.remote).await;
            match killed {
                Ok(_) => life.end(DESTROYED),
                Err(_) => life.destroying.store(false, Ordering::Relaxed),
            }
            killed.map(drop)
        })
        .await
    }

    /// Notes that it has ended; the first reason stays.
    pub(super) fn end(&self, reason: &str) {
        {
            let mut known = self.known();
            if !self.has_ended() {
                known.status = Status::Stopped;
                known.reason = Some(reason.to_owned());
                self.over.cancel();
            }
        }
        self.started.close();
    }

    /// The error of every call after its end.
    pub(super) fn check(&self) -> Result<()> {
        if self.has_ended() { Err(self.gone()) } else { Ok(()) }
    }

    fn gone(&self) -> Error {
        let known = self.known();
        let reason = known.reason.as_deref().unwrap_or("it was ended");
        Error::new(ErrorKind::NotFound, format!("the sandbox `{}` is gone: {reason}", known.id))
            .with_hint("create another one")
    }

    /// The facts, asked of E2B unless it is known to have ended.
    pub(super) async fn ask(&self) -> Result<Info> {
        if self.has_ended() {
            return Ok(self.known().clone());
        }
        match self.api.get(&self.remote).await? {
            Some((sandbox, _)) => self.learn(&sandbox),
            None => drop(self.missing()),
        }
        Ok(self.known().clone())
    }

    /// Notes what E2B says about it.
    pub(super) fn learn(&self, sandbox: &Sandbox) {
        let mut known = self.known();
        if !self.has_ended() {
            *known = info(sandbox, Some(&known));
        }
    }

    /// Notes that E2B no longer knows it, for the error of every call from now on. What it does not tell is told by when
    /// its end was due.
    pub(super) fn missing(&self) -> Error {
        let (expires_at, timeout) = {
            let known = self.known();
            (known.expires_at, known.timeout)
        };
        if self.destroying.load(Ordering::Relaxed) {
            self.end(DESTROYED);
        } else if expires_at.is_some_and(|at| at <= SystemTime::now() + CLOCKS) {
            self.end(&format!("its time was over (timeout: {} ms)", timeout.as_millis()));
        } else {
            self.end("it was ended");
        }
        self.gone()
    }

    /// The error of every call while it is paused.
    pub(super) fn paused(&self) -> Error {
        Error::new(ErrorKind::Unavailable, format!("the sandbox `{}` is paused", self.known().id))
            .with_retryable(false)
            .with_hint("take it up again with resume()")
    }
}

#[async_trait]
impl Fate for Life {
    /// What leads to a sandbox says only that it is not running. Whether it has expired, was ended or is paused, the
    /// control plane knows.
    async fn told(&self) -> Error {
        if self.destroying.load(Ordering::Relaxed) {
            return self.missing();
        }
        match self.ask().await {
            Ok(_) if self.has_ended() => self.gone(),
            Ok(known) if known.status == Status::Stopped => self.paused(),
            // It is about to come, or to go: E2B's two halves do not agree.
            Ok(known) => {
                Error::new(ErrorKind::Unavailable, format!("the sandbox `{}` does not answer now", known.id))
            }
            Err(error) => error,
        }
    }

    fn over(&self) -> CancellationToken {
        self.over.clone()
    }
}

/// The facts about a sandbox, of an answer that has its times. What is not in it stays as it was known.
pub(super) fn info(sandbox: &Sandbox, known: Option<&Info>) -> Info {
    let paused = sandbox.state == State::Paused;
    let created_at = sandbox.started_at.or(known.map(|known| known.created_at));
    let created_at = created_at.unwrap_or_else(SystemTime::now);
    let granted = sandbox.end_at.and_then(|end| end.duration_since(created_at).ok());
    let remembered = known.map(|known| known.timeout);
    // What is paused has no end; E2B tells when it was paused in its place.
    let timeout = if paused { remembered.or(granted) } else { granted.or(remembered) };
    Info {
        id: known.map_or_else(|| metadata::id(sandbox), |known| known.id.clone()),
        status: if paused { Status::Stopped } else { Status::Running },
        reason: paused.then(|| "paused".to_owned()),
        created_at,
        timeout: timeout.unwrap_or_default(),
        expires_at: sandbox.end_at.filter(|_| !paused),
        metadata: metadata::of_user(sandbox),
        runtime: metadata::runtime(sandbox),
        isolation: Vec::new(),
        limits: limits(sandbox),
    }
}

fn limits(sandbox: &Sandbox) -> Option<Limits> {
    Some(Limits {
        memory: sandbox.memory_mb?.saturating_mul(MIB),
        disk: sandbox.disk_mb?.saturating_mul(MIB),
        cpus: sandbox.cpu_count,
        processes: None,
        enforcement: Enforcement::Machine,
    })
}
