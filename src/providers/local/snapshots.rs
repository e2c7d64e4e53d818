//! The snapshots of this process: what sandboxes had written, on what they were made from.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use computesdk_agent::protocol::{LAYERS, Reply, Request};

use super::Local;
use super::error;
use super::instance::LocalInstance;
use super::layer::Layer;
use super::plan::Origin;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Instance, Snapshot, Snapshots, Snapshotting, is_possible_id};
use crate::random;

/// All of them, the latest last.
static ALL: LazyLock<Mutex<Vec<Arc<Kept>>>> = LazyLock::new(Mutex::default);

/// The snapshots that there are. Those of a broker that has ended are gone with it.
fn all() -> MutexGuard<'static, Vec<Arc<Kept>>> {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|kept| kept.layers.iter().all(|layer| layer.is_there()));
    all
}

/// A snapshot.
#[derive(Debug)]
pub(super) struct Kept {
    id: String,
    name: Mutex<Option<String>>,
    /// What its sandbox was made from.
    pub(super) origin: Arc<Origin>,
    /// The language of that sandbox.
    pub(super) runtime: Option<String>,
    /// What that had written, and what those had that it was made from; the uppermost first.
    layers: Vec<Arc<Layer>>,
    /// Sandboxes that are made from it, and live.
    users: AtomicUsize,
}

impl Kept {
    fn is_called(&self, name: &str) -> bool {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(name)
    }

    fn told(&self) -> Snapshot {
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Snapshot { id: self.id.clone(), names: name.into_iter().collect() }
    }

    /// What it is in a plan.
    pub(super) fn layers(&self) -> Vec<u32> {
        self.layers.iter().map(|layer| layer.number()).collect()
    }
}

/// A snapshot that a sandbox stands on, or is about to.
#[derive(Debug)]
pub(super) struct Used(Arc<Kept>);

impl Used {
    fn new(kept: &Arc<Kept>) -> Self {
        kept.users.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(kept))
    }
}

impl Clone for Used {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl std::ops::Deref for Used {
    type Target = Kept;
    fn deref(&self) -> &Kept {
        &self.0
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The snapshot of this id.
pub(super) fn of_id(id: &str) -> Option<Used> {
    all().iter().find(|kept| kept.id == id).map(Used::new)
}

/// The latest that was given this name.
pub(super) fn of_name(name: &str) -> Option<Used> {
    all().iter().find(|kept| kept.is_called(name)).map(Used::new)
}

/// The names that there are.
pub(super) fn names() -> Vec<String> {
    all().iter().flat_map(|kept| kept.told().names).collect()
}

fn checked(name: &str) -> Result<&str> {
    if is_possible_id(name) {
        return Ok(name);
    }
    Err(Error::invalid(format!("`name` of a snapshot is not possible: `{name}`"))
        .with_hint("1 to 128 letters, digits, `-`, `_` and `.`"))
}

#[async_trait]
impl Snapshotting for LocalInstance {
    async fn snapshot(&self, name: Option<&str>) -> Result<Snapshot> {
        let name = name.map(checked).transpose()?;
        let below = self.stands_on()?.map(|kept| kept.layers.clone()).unwrap_or_default();
        if below.len() >= LAYERS {
            return Err(Error::unsupported(format!(
                "`snapshot`: the sandbox was made of {LAYERS} snapshots, one of the other, and there can be no more"
            ))
            .with_hint("make a sandbox from an earlier one of them, and do there what is to be kept"));
        }
        let answer = self.ask(|id| Request::Written { id }).await?.1;
        let written = match (answer.reply, answer.beside.into_iter().next()) {
            (Reply::Written { .. }, Some(written)) => written,
            (Reply::Written { .. }, None) => return Err(error::of_missing_descriptor()),
            (Reply::Failed { errno, .. }, _) => return Err(error::of_measuring(errno)),
            _ => return Err(error::nonsense()),
        };
        let layer = self.while_alive(self.ticket().keep(written, self.snapshot_memory())).await??;
        let kept = Arc::new(Kept {
            id: format!("snap_{}", random::name()?),
            name: Mutex::new(name.map(str::to_owned)),
            origin: self.origin(),
            runtime: self.runtime().map(str::to_owned),
            layers: std::iter::once(Arc::new(layer)).chain(below).collect(),
            users: AtomicUsize::new(0),
        });
        let mut all = all();
        // A name leads to the latest that was given it.
        for other in all.iter().filter(|other| name.is_some_and(|name| other.is_called(name))) {
            other.name.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        all.push(Arc::clone(&kept));
        Ok(kept.told())
    }
}

#[async_trait]
impl Snapshots for Local {
    async fn list(&self) -> Result<Vec<Snapshot>> {
        Ok(all().iter().map(|kept| kept.told()).collect())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let mut all = all();
        let Some(at) = all
            .iter()
            .position(|kept| kept.id == id)
            .or_else(|| all.iter().position(|kept| kept.is_called(id)))
        else {
            return Ok(());
        };
        let users = all[at].users.load(Ordering::Acquire);
        if users > 0 {
            let message =
                format!("the snapshot `{id}` is in use: sandboxes that were made from it live ({users})");
            return Err(Error::new(ErrorKind::Unavailable, message).with_hint("destroy them first"));
        }
        let gone = all.remove(at);
        drop(all);
        drop(gone);
        Ok(())
    }
}
