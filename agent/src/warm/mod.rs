//! Interpreters that are up before there is code for them.
//!
//! What waits has the user of the commands, so it is as much a stranger as they are: it may have been killed, or be
//! somebody else by now. It is told nothing but its run, is believed nothing (the kernel says who it is, and marks it
//! as what the run is to be known by), and is not waited for: whatever is odd, the code runs in an interpreter that is
//! started for it, and once. Nothing is kept here that a run could not do without.

mod kept;
mod node;
mod python;
mod server;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use computesdk_agent::protocol::{Command, Interpreter, Language, Plan};
use rustix::event::Timespec;

use self::kept::Kept;
pub use self::kept::{Place, Turn};
use self::node::{Answer, Offer};
pub use self::server::{Begun, Seat};
use crate::spawn::{self, Spawner, Started};

/// Interpreters that are kept warm: one of each language that runs code.
pub struct Warm {
    kept: [Kept; 2],
    offered: Vec<Offered>,
}

/// A run whose interpreter has not said yet whether it takes it.
struct Offered {
    run: Run,
    offer: Offer,
}

/// A command, and how often the kernel had killed before it.
pub struct Run {
    pub id: u32,
    pub command: Command,
    pub kills: u64,
}

/// What is to be done now.
pub enum News {
    /// An interpreter has come for code that waits for it.
    Came(Turn, Seat),
    /// A run has been taken.
    Runs(Run, Started),
    /// A run has not, and will not be.
    Declined(Run),
}

impl Warm {
    /// In a sandbox that is made after this plan.
    pub fn new(plan: &Plan) -> Self {
        let kept = |language| {
            let wanted = plan.warm.iter().find(|interpreter| interpreter.language == language);
            Kept::new(language, plan, wanted.cloned())
        };
        Self { kept: [Language::Python, Language::Node].map(kept), offered: Vec::new() }
    }

    fn of(&mut self, language: &Language) -> &mut Kept {
        let [python, node] = &mut self.kept;
        match language {
            Language::Python => python,
            Language::Node => node,
        }
    }

    /// What there is for command `id`, which `interpreter` is to run.
    pub fn place(
        &mut self,
        spawner: &mut Spawner,
        id: u32,
        command: &Command,
        interpreter: Interpreter,
    ) -> Place {
        let language = interpreter.language.clone();
        self.of(&language).place(spawner, id, command, interpreter)
    }

    /// Lets code wait for the interpreter of its language that is coming.
    pub fn queue(&mut self, language: &Language, id: u32, command: Command) {
        self.of(language).queue(id, command);
    }

    /// Waits for what an interpreter says to a run that it was offered.
    pub fn offered(&mut self, run: Run, offer: Offer) {
        self.offered.push(Offered { run, offer });
    }

    /// What tells that there may be news.
    pub fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let coming = self.kept.iter().filter_map(Kept::coming);
        coming.chain(self.offered.iter().map(|one| one.offer.link())).map(AsFd::as_fd)
    }

    /// What is to be done now, if anything is: who is asked says nothing twice.
    pub fn news(&mut self) -> Option<News> {
        for at in 0..self.offered.len() {
            let Offered { run, offer } = self.offered.swap_remove(at);
            let pid = offer.pid();
            match offer.answer() {
                Ok(Answer::Runs(started)) => return Some(News::Runs(run, started)),
                Ok(Answer::Declined) => {
                    spawn::end(pid);
                    return Some(News::Declined(run));
                }
                Err(offer) => {
                    self.offered.push(Offered { run, offer });
                    let last = self.offered.len() - 1;
                    self.offered.swap(at, last);
                }
            }
        }
        self.kept.iter_mut().find_map(Kept::came).map(|(turn, seat)| News::Came(turn, seat))
    }

    /// Asks for the next interpreters, where those that there were have been given their runs.
    pub fn refill(&mut self, spawner: &mut Spawner) {
        for kept in &mut self.kept {
            kept.refill(spawner);
        }
    }

    /// Those that have waited too long, or in vain. An interpreter that says nothing is ended.
    pub fn too_late(&mut self) -> Vec<Turn> {
        for Offered { offer, .. } in &mut self.offered {
            if offer.rest().is_some_and(|rest| rest.is_zero()) {
                offer.end();
            }
        }
        self.kept.iter_mut().flat_map(Kept::too_late).collect()
    }

    /// How long may be waited for requests before [`tend`](Self::tend) is to be called.
    pub fn patience(&self) -> Option<Timespec> {
        let answers = self.offered.iter().filter_map(|one| one.offer.rest());
        let shortest: Option<Duration> = answers.chain(self.kept.iter().filter_map(Kept::patience)).min();
        Timespec::try_from(shortest?).ok()
    }

    /// Nothing was asked for a while.
    pub fn tend(&mut self, spawner: &mut Spawner) {
        for kept in &mut self.kept {
            kept.tend(spawner);
        }
    }

    /// Notes that command `id` has ended.
    pub fn over(&mut self, id: u32) {
        for kept in &mut self.kept {
            kept.over(id);
        }
    }

    /// Ends a process that waits, or was about to, but has been told to stand still: it would never answer.
    pub fn stopped(&mut self, pid: i32) {
        if spawn::is_waiting(pid) {
            spawn::end(pid);
            for kept in &mut self.kept {
                kept.doom(pid);
            }
        }
        self.offered.iter_mut().filter(|one| one.offer.pid() == pid).for_each(|one| one.offer.end());
    }

    /// Notes that a process has ended. If it was offered a run, this is what became of it.
    pub fn ended(&mut self, pid: i32) -> Option<News> {
        for kept in &mut self.kept {
            kept.ended(pid);
        }
        let at = self.offered.iter().position(|one| one.offer.pid() == pid)?;
        let Offered { run, offer } = self.offered.swap_remove(at);
        Some(match offer.answer() {
            Ok(Answer::Runs(started)) => News::Runs(run, started),
            Ok(Answer::Declined) | Err(_) => News::Declined(run),
        })
    }

    /// Ends whatever waits, and waits until its room is free. Tells whether there was anything.
    pub fn make_room(&mut self) -> bool {
        let [python, node] = &mut self.kept;
        python.make_room() | node.make_room()
    }
}
