//! The sandboxes of E2B that this process holds, so that all handles of one share what was started in it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

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

/// Ids that users have given to sandboxes that are being made now.
static WANTED: LazyLock<Mutex<Vec<Key>>> = LazyLock::new(Mutex::default);

/// The right to make a sandbox of an id.
#[derive(Debug)]
pub(super) struct Claim(Key);

impl Claim {
    pub(super) fn new(place: &Place, id: &str) -> Result<Self> {
        let mut wanted = WANTED.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Key::new(place, id);
        if wanted.contains(&key) {
            return Err(taken(id));
        }
        wanted.push(key.clone());
        Ok(Self(key))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        WANTED.lock().unwrap_or_else(PoisonError::into_inner).retain(|one| *one != self.0);
    }
}

/// The error of an id that another sandbox has.
pub(super) fn taken(id: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("there is a sandbox `{id}` already"))
        .with_hint("choose another `sandboxId`, or find that one with getById")
}
