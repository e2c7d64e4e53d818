//! What was asked of the agent of a sandbox, and what it answers: who waits for what, and how what runs has ended.
//!
//! It grows with what was asked for, and with nothing that an agent says: that is read as if an attacker had written it.

use std::collections::{HashMap, HashSet};

use computesdk_agent::protocol::{Reply, Request};
use tokio::sync::{oneshot, watch};

use crate::provider::Exit;

/// The end of a process, once it has come; the channel closes without one if nobody will ever know.
pub(super) type Ending = watch::Receiver<Option<Exit>>;

/// An answer, with what came beside it.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) reply: Reply,
    pub(super) beside: Vec<T>,
    /// Tells of the end of what was started.
    pub(super) ending: Option<Ending>,
}

impl<T> Answer<T> {
    /// What ends, or forgets, what the answer tells of: whoever asked has gone, and nobody else ever would.
    pub(super) fn undoing(&self) -> Option<Request> {
        match self.reply {
            Reply::Started { id, .. } => Some(Request::Kill { target: id }),
            Reply::Opened { id, .. } => Some(Request::Discard { target: id }),
            _ => None,
        }
    }
}

/// What became of something that an agent said.
#[derive(Debug)]
pub(super) enum Heard<T> {
    /// Whoever it is for has it.
    Taken,
    /// Whoever asked for it has gone.
    Unwanted(Answer<T>),
    /// Nobody has asked for it, or for this beside it: it is nobody's, and not even to be undone, or an agent could keep
    /// this process busy.
    Unasked(Vec<T>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Answers<T> {
    /// What has no answer yet; also where whoever asked has gone.
    waiting: HashMap<u32, oneshot::Sender<Answer<T>>>,
    running: HashMap<u32, watch::Sender<Option<Exit>>>,
    /// Of those that have ended, what was killed because memory had run out.
    starved: HashSet<u32>,
}

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), running: HashMap::new(), starved: HashSet::new() }
    }
}

impl<T> Answers<T> {
    /// Request `id` is about to be sent: gives what its answer will come by.
    pub(super) fn expect(&mut self, id: u32) -> oneshot::Receiver<Answer<T>> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(id, sender);
        receiver
    }

    /// Request `id` was not sent after all.
    pub(super) fn expect_no_more(&mut self, id: u32) {
        self.waiting.remove(&id);
    }

    /// Whether something is still to be heard about request `id`.
    pub(super) fn expects(&self, id: u32) -> bool {
        self.waiting.contains_key(&id) || self.running.contains_key(&id)
    }

    /// Passes on what an agent says. Nothing of `beside` is dropped in here: that may need the lock which is held now.
    pub(super) fn hear(&mut self, reply: Reply, beside: Vec<T>) -> Heard<T> {
        let id = match reply {
            Reply::Exited { id, code, signal } => {
                self.exited(id, if signal == 0 { Exit::Code(code) } else { Exit::Signal(signal) });
                return Heard::Unasked(beside);
            }
            // The end itself is the next message.
            Reply::Starved { id } => {
                if self.running.contains_key(&id) {
                    self.starved.insert(id);
                }
                return Heard::Unasked(beside);
            }
            Reply::Ready { .. } | Reply::Broken { .. } | Reply::Welcome { .. } => {
                return Heard::Unasked(beside);
            }
            Reply::Started { id, .. }
            | Reply::Opened { id, .. }
            | Reply::Found { id, .. }
            | Reply::Done { id }
            | Reply::Socket { id }
            | Reply::Listening { id, .. }
            | Reply::Measured { id, .. }
            | Reply::Written { id }
            | Reply::Life { id, .. }
            | Reply::Failed { id, .. } => id,
        };
        let Some(waiter) = self.waiting.remove(&id) else { return Heard::Unasked(beside) };
        let ending = matches!(reply, Reply::Started { .. }).then(|| {
            let (sender, receiver) = watch::channel(None);
            self.running.insert(id, sender);
            receiver
        });
        waiter.send(Answer { reply, beside, ending }).map_or_else(Heard::Unwanted, |()| Heard::Taken)
    }

    fn exited(&mut self, id: u32, exit: Exit) {
        let Some(running) = self.running.remove(&id) else { return };
        if running.is_closed() {
            self.starved.remove(&id);
        }
        running.send_replace(Some(exit));
    }

    /// Whether a command that has ended was killed because memory had run out.
    pub(super) fn has_starved(&self, id: u32) -> bool {
        self.starved.contains(&id)
    }

    /// Nobody will ask any more how a command has ended.
    pub(super) fn forget(&mut self, id: u32) {
        self.starved.remove(&id);
    }

    /// Nothing will be heard any more: whoever waits is told so.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.running.clear();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.starved.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_asked_for_takes_no_memory_and_comes_back() {
        let mut answers = Answers::default();
        for id in 0..1000 {
            for reply in [
                Reply::Started { id, pid: 1 },
                Reply::Opened { id, size: 1 },
                Reply::Starved { id },
                Reply::Exited { id, code: 0, signal: 0 },
            ] {
                let heard = answers.hear(reply, vec![id]);
                assert!(matches!(&heard, Heard::Unasked(beside) if *beside == [id]), "{heard:?}");
            }
        }
        assert!(answers.is_empty(), "{answers:?}");
    }

    #[test]
    fn what_is_wanted_no_more_is_undone_once() {
        let mut answers = Answers::<u32>::default();
        drop(answers.expect(7));
        let Heard::Unwanted(answer) = answers.hear(Reply::Started { id: 7, pid: 1 }, vec![1]) else {
            panic!("whoever asked has gone");
        };
        assert_eq!(answer.undoing(), Some(Request::Kill { target: 7 }));
        let again = answers.hear(Reply::Started { id: 7, pid: 1 }, vec![]);
        assert!(matches!(again, Heard::Unasked(_)), "{again:?}");
        assert!(answers.expects(7), "it runs until it is said to have ended");
        answers.hear(Reply::Exited { id: 7, code: 0, signal: 9 }, vec![]);
        assert!(answers.is_empty(), "{answers:?}");
    }
}
