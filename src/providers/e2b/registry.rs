//! The sandboxes of E2B that this process holds, so that all handles of one share what was started in it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use tokio_util::sync::CancellationToken;

use super::config::Place;
use super::instance::E2bInstance;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::Secret;

/// Whose sandbox, where, and its id at E2B.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    api: String,
    key: Secret,
    remote: String,
}

static ALL: LazyLock<Mutex<HashMap<Key, Weak<E2bInstance>>>> = LazyLock::new(Mutex::default);

fn all() -> MutexGuard<'static, HashMap<Key, Weak<E2bInstance>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Key {
    pub(super) fn new(place: &Place, remote: &str) -> Self {
        Self { api: place.api.to_string(), key: place.key.clone(), remote: remote.to_owned() }
    }

    fn is_at(&self, place: &Place) -> bool {
        self.api == place.api.as_str() && self.key == place.key
    }
}

/// The handle of a sandbox, if there is one.
pub(super) fn find(place: &Place, remote: &str) -> Option<Arc<E2bInstance>> {
    all().get(&Key::new(place, remote)).and_then(Weak::upgrade)
}

/// The handle of a sandbox that a user knows by this id, likewise.
pub(super) fn find_by_id(place: &Place, id: &str) -> Option<Arc<E2bInstance>> {
    // Dropped after the lock: the last handle of a sandbox takes the lock as well.
    let held: Vec<_> = {
        let all = all();
        all.iter().filter(|(key, _)| key.is_at(place)).filter_map(|(_, one)| one.upgrade()).collect()
    };
    held.into_iter().find(|one| one.is_called(id))
}

/// The one handle of a sandbox: that which is there, or else the one that is made.
pub(super) fn handle(
    place: &Place,
    remote: &str,
    make: impl FnOnce() -> Arc<E2bInstance>,
) -> Arc<E2bInstance> {
    let key = Key::new(place, remote);
    let mut all = all();
    if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
        return known;
    }
    let made = make();
    all.insert(key, Arc::downgrade(&made));
    made
}

/// Forgets a sandbox whose last handle is gone, or that has ended.
pub(super) fn forget(key: &Key, instance: *const E2bInstance) {
    let mut all = all();
    if all.get(key).is_some_and(|one| std::ptr::eq(one.as_ptr(), instance)) {
        all.remove(key);
    }
}

/// Ids that users have given to sandboxes that are being made now, or unmade because nobody waits for them any more.
static WANTED: LazyLock<Mutex<HashMap<Key, Weak<Claimed>>>> = LazyLock::new(Mutex::default);

fn wanted() -> MutexGuard<'static, HashMap<Key, Weak<Claimed>>> {
    WANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to make a sandbox of an id, of whoever waits for it.
#[derive(Debug)]
pub(super) struct Claim(Arc<Claimed>);

/// What is left of a claim until its sandbox has been made, or unmade.
#[derive(Debug)]
pub(super) struct Claimed {
    key: Key,
    given_up: AtomicBool,
    over: CancellationToken,
}

impl Claim {
    /// Claims an id. One that was given up is waited for: it is free as soon as its sandbox is gone.
    pub(super) async fn new(place: &Place, id: &str) -> Result<Self> {
        let key = Key::new(place, id);
        loop {
            let other = match Self::or_other(&key) {
                Ok(claim) => return Ok(claim),
                Err(other) => other,
            };
            if !other.given_up.load(Ordering::Relaxed) {
                return Err(taken(id));
            }
            let over = other.over.clone();
            drop(other);
            over.cancelled().await;
        }
    }

    /// A claim, or the one of somebody else.
    fn or_other(key: &Key) -> Result<Self, Arc<Claimed>> {
        let mut wanted = wanted();
        if let Some(other) = wanted.get(key).and_then(Weak::upgrade) {
            return Err(other);
        }
        let (given_up, over) = (AtomicBool::new(false), CancellationToken::new());
        let claimed = Arc::new(Claimed { key: key.clone(), given_up, over });
        wanted.insert(key.clone(), Arc::downgrade(&claimed));
        Ok(Self(claimed))
    }

    /// To be kept by who makes the sandbox, until it is made or unmade.
    pub(super) fn kept(&self) -> Arc<Claimed> {
        Arc::clone(&self.0)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.given_up.store(true, Ordering::Relaxed);
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut wanted = wanted();
        if wanted.get(&self.key).is_some_and(|one| std::ptr::eq(one.as_ptr(), self)) {
            wanted.remove(&self.key);
        }
        drop(wanted);
        self.over.cancel();
    }
}

/// Whether the sandbox of an id, if there is one, is only there until it is unmade.
pub(super) fn is_given_up(place: &Place, id: &str) -> bool {
    let claimed = wanted().get(&Key::new(place, id)).and_then(Weak::upgrade);
    claimed.is_some_and(|claimed| claimed.given_up.load(Ordering::Relaxed))
}

/// The error of an id that another sandbox has.
pub(super) fn taken(id: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("there is a sandbox `{id}` already"))
        .with_hint("choose another `sandboxId`, or find that one with getById")
}
