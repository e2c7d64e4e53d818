//! Who waits for whom: of what may be done only so many times at once, each waits for its turn.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What there is one queue for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// A sandbox, where so many things may be done at once.
    Sandbox { provider: String, id: String, most: usize },
    /// An owner, or those that have none: sandboxes are made one after the other where they are counted.
    Owner(Option<String>),
}

/// The queues that somebody is in. They are this process', because a handler may be there for a single request.
static QUEUES: LazyLock<Mutex<HashMap<Place, Weak<Semaphore>>>> = LazyLock::new(Mutex::default);

/// A turn, which is over when it is dropped.
pub(super) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Waits for a turn, behind whoever was there before.
pub(super) async fn turn(place: Place) -> Turn {
    let queue = queue(place);
    // Nobody closes one.
    Turn { _permit: queue.acquire_owned().await.ok() }
}

fn queue(place: Place) -> Arc<Semaphore> {
    let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(queue) = queues.get(&place).and_then(Weak::upgrade) {
        return queue;
    }
    // Before it grows: so those that nobody is in any more cost no more than those that somebody is in.
    if queues.len() == queues.capacity() {
        queues.retain(|_, queue| queue.strong_count() > 0);
    }
    let most = match &place {
        Place::Sandbox { most, .. } => (*most).min(Semaphore::MAX_PERMITS),
        Place::Owner(_) => 1,
    };
    let queue = Arc::new(Semaphore::new(most));
    queues.insert(place, Arc::downgrade(&queue));
    queue
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn sandbox(id: &str, most: usize) -> Place {
        Place::Sandbox { provider: "here".to_owned(), id: id.to_owned(), most }
    }

    #[tokio::test]
    async fn so_many_are_let_in_and_the_next_when_one_has_left() {
        let soon = Duration::from_millis(50);
        let first = turn(sandbox("full", 2)).await;
        let _second = turn(sandbox("full", 2)).await;
        assert!(timeout(soon, turn(sandbox("full", 2))).await.is_err());
        let _elsewhere = turn(sandbox("empty", 2)).await;
        drop(first);
        assert!(timeout(soon, turn(sandbox("full", 2))).await.is_ok());
    }

    #[tokio::test]
    async fn queues_that_nobody_is_in_are_forgotten() {
        for number in 0..100_000 {
            turn(sandbox(&format!("once {number}"), 1)).await;
        }
        let queues = QUEUES.lock().unwrap();
        assert!(queues.capacity() < 1000, "{} places for {} queues", queues.capacity(), queues.len());
    }
}
