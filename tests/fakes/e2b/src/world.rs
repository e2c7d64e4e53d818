//! All that a fake has: its sandboxes, and what was kept of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use computesdk::error::{Error, ErrorKind, Result};
use computesdk::provider::{CreateRequest, Provider, Resources};
use computesdk::providers::local::{Config, Local};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::control::sandboxes::{SMALL, disk_mb};
use crate::faults::Faults;
use crate::options::{Options, Version};
use crate::sandbox::{Sandbox, State, Wishes, own_variables};
use crate::stats::Counters;

/// The templates that every account has.
const TEMPLATES: [&str; 2] = ["base", "code-interpreter-v1"];
/// What the name of a template begins with that has the code interpreter.
pub const INTERPRETER: &str = "code-interpreter";

/// Processes that a sandbox may have.
const PROCESSES: u32 = 2048;

/// All that a fake has.
#[derive(Debug)]
pub struct World {
    /// What it is to be.
    pub options: Options,
    /// What is to go wrong.
    pub faults: Faults,
    /// What was counted.
    pub counters: Counters,
    /// Cancelled at the end, when all connections are closed.
    pub closed: CancellationToken,
    provider: Local,
    sandboxes: Mutex<HashMap<String, Arc<Sandbox>>>,
    snapshots: Mutex<Vec<Arc<Kept>>>,
}

/// A snapshot: the files of a sandbox. Its processes are not kept.
#[derive(Debug)]
pub struct Kept {
    /// Its id, with the tag.
    pub id: String,
    /// Names that it was given.
    pub names: Vec<String>,
    /// The sandbox that it is of.
    pub sandbox: String,
    /// The template of that one.
    pub template: String,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The files, as `tar` packs them.
    pub files: Bytes,
}

/// What a sandbox starts from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A template.
    Template,
    /// A snapshot.
    Snapshot(Arc<Kept>),
}

impl World {
    /// An empty one.
    pub fn new(options: Options) -> Arc<Self> {
        // The fake keeps the time itself; and a machine of E2B has no such limit of processes.
        let resources = Resources { processes: Some(PROCESSES), ..Resources::default() };
        let config =
            Config { timeout: Some(0), resources, python: options.python.clone(), ..Config::default() };
        Arc::new(Self {
            options,
            faults: Faults::default(),
            counters: Counters::default(),
            closed: CancellationToken::new(),
            provider: Local::new(config),
            sandboxes: Mutex::default(),
            snapshots: Mutex::default(),
        })
    }

    fn sandboxes(&self) -> MutexGuard<'_, HashMap<String, Arc<Sandbox>>> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshots(&self) -> MutexGuard<'_, Vec<Arc<Kept>>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sandbox of this id; what comes after a `-` names a machine, and means nothing.
    pub fn sandbox(&self, id: &str) -> Option<Arc<Sandbox>> {
        let id = id.split('-').next().unwrap_or_default();
        self.sandboxes().get(id).cloned()
    }

    /// All sandboxes.
    pub fn all(&self) -> Vec<Arc<Sandbox>> {
        self.sandboxes().values().cloned().collect()
    }

    /// How many take up a place.
    pub fn running(&self) -> usize {
        self.sandboxes().values().filter(|sandbox| sandbox.state() != State::Paused).count()
    }

    /// What a template's name stands for: in full, and without team and tag.
    pub fn origin(&self, full: &str, name: &str) -> Option<Origin> {
        if let Some(kept) = self.kept(full) {
            return Some(Origin::Snapshot(kept));
        }
        let known = TEMPLATES.contains(&name)
            || name.starts_with(INTERPRETER)
            || name.starts_with(SMALL)
            || self.options.templates.iter().any(|template| template == name);
        known.then_some(Origin::Template)
    }

    /// Makes a sandbox and watches over its time.
    pub async fn create(
        self: &Arc<Self>,
        wishes: Wishes,
        timeout: Duration,
        origin: Origin,
    ) -> Result<Arc<Sandbox>> {
        let id = format!("i{}", random::<20>(b"abcdefghijklmnopqrstuvwxyz0123456789")?);
        let mut envs = wishes.envs.clone();
        envs.extend(own_variables(&id, &wishes.template));
        let resources = Resources { disk: Some(disk_mb(&wishes.template) << 20), ..Resources::default() };
        let sandbox_id = Some(id.clone());
        let request = CreateRequest { sandbox_id, envs, resources, ..CreateRequest::default() };
        let instance = self.provider.create(&request).await?;
        let secure = wishes.secure && self.options.envd_version >= Version::ACCESS_TOKEN;
        let token = secure.then(|| random::<40>(b"0123456789abcdef")).transpose()?;
        let traffic = wishes.private.then(|| random::<40>(b"0123456789abcdef")).transpose()?;
        let from = match &origin {
            Origin::Template => None,
            Origin::Snapshot(kept) => Some(kept.id.clone()),
        };
        let sandbox = Arc::new(Sandbox::new(id.clone(), wishes, from, (token, traffic), instance, timeout));
        if let Origin::Snapshot(kept) = origin
            && let Err(error) = crate::control::snapshots::unpack(&sandbox, &kept.files).await
        {
            sandbox.end().await;
            return Err(error);
        }
        self.sandboxes().insert(id, Arc::clone(&sandbox));
        tokio::spawn(Arc::clone(self).watch_over(Arc::clone(&sandbox)));
        Ok(sandbox)
    }

    /// Ends a sandbox, or pauses it, whenever its time is over.
    async fn watch_over(self: Arc<Self>, sandbox: Arc<Sandbox>) {
        loop {
            sandbox.expired().await;
            if self.sandbox(&sandbox.id).is_none() {
                return;
            }
            if !sandbox.wishes.auto_pause {
                self.kill(&sandbox.id).await;
                return;
            }
            if sandbox.shift(State::Running, State::Pausing).is_ok() {
                // One that cannot be paused any more has ended.
                let _ = sandbox.pause().await;
            }
        }
    }

    /// Ends a sandbox; whether there was one.
    pub async fn kill(&self, id: &str) -> bool {
        let id = id.split('-').next().unwrap_or_default();
        let sandbox = self.sandboxes().remove(id);
        match sandbox {
            Some(sandbox) => {
                sandbox.end().await;
                true
            }
            None => false,
        }
    }

    /// Ends all of them.
    pub async fn end(&self) {
        for sandbox in self.all() {
            self.kill(&sandbox.id).await;
        }
    }

    /// Keeps a snapshot.
    pub fn keep(&self, kept: Kept) -> Arc<Kept> {
        let kept = Arc::new(kept);
        self.snapshots().push(Arc::clone(&kept));
        kept
    }

    /// The snapshot of this id or name, with or without team and tag; the latest of that name.
    pub fn kept(&self, name: &str) -> Option<Arc<Kept>> {
        let is = |known: &str| {
            let short = known.rsplit('/').next().unwrap_or(known);
            [known, short].iter().any(|known| *known == name || known.split(':').next() == Some(name))
        };
        self.snapshots().iter().rev().find(|kept| is(&kept.id)).cloned()
    }

    /// All snapshots, in the order in which they were taken.
    pub fn all_kept(&self) -> Vec<Arc<Kept>> {
        self.snapshots().clone()
    }

    /// Forgets a snapshot.
    pub fn forget(&self, id: &str) {
        self.snapshots().retain(|kept| kept.id != id);
    }
}

/// As many of these letters, at random.
pub fn random<const LENGTH: usize>(letters: &[u8]) -> Result<String> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).collect())
}
