//! Turns: what several ask for without waiting for each other is done in the order in which they asked.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// A queue of turns.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<Option<Before>>);

/// A place in the queue. Dropped, it is the next one's turn, once all before it are over.
#[derive(Debug)]
pub(crate) struct Turn {
    before: Option<Before>,
    over: Option<oneshot::Sender<Option<Before>>>,
}

/// The end of the turn before. One that was given up before it had come tells of the one before itself.
#[derive(Debug)]
struct Before(oneshot::Receiver<Option<Self>>);

impl Turns {
    /// The place behind all that were taken so far.
    pub(crate) fn take(&self) -> Turn {
        let (over, next) = oneshot::channel();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { before: last.replace(Before(next)), over: Some(over) }
    }
}

impl Turn {
    /// Waits until all before it are over. Dropped: it has not come yet.
    pub(crate) async fn come(&mut self) {
        while let Some(Before(over)) = &mut self.before {
            self.before = over.await.ok().flatten();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(over) = self.over.take() {
            let _ = over.send(self.before.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_comes_after_all_before_it_whoever_gives_up() {
        let turns = Turns::default();
        let (mut first, second, mut third) = (turns.take(), turns.take(), turns.take());
        first.come().await;
        drop(second);
        tokio::select! {
            biased;
            () = third.come() => panic!("the first is not over"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        third.come().await;
        drop(third);
        turns.take().come().await;
    }
}
