//! Ids that are being given to sandboxes by this process: until one is made, or unmade because nobody wants it any more,
//! the next who asks for the id waits. Other processes are told by the engine, where no two containers have one name.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

static CLAIMED: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
static GIVEN_UP: Notify = Notify::const_new();

fn claimed() -> MutexGuard<'static, HashSet<String>> {
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Dropped, somebody else may have it.
#[derive(Debug)]
pub(super) struct Claim(String);

impl Claim {
    /// Waits for an id of an engine's.
    pub(super) async fn of(place: &str, id: &str) -> Self {
        let key = format!("{place} {id}");
        loop {
            let given_up = GIVEN_UP.notified();
            tokio::pin!(given_up);
            // From here on nothing is missed.
            given_up.as_mut().enable();
            if claimed().insert(key.clone()) {
                return Self(key);
            }
            given_up.await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        claimed().remove(&self.0);
        GIVEN_UP.notify_waiters();
    }
}
