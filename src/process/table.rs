//! The processes and terminals of a sandbox that are found again by their numbers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Process;
use crate::terminal::Terminal;

/// Ended processes that can still be looked at.
const ENDED: usize = 64;
/// Bytes of output that they may have together.
const WEIGHT: usize = 16 << 20;

/// What was started in a sandbox and goes on, and the latest of what has ended.
#[derive(Debug, Default)]
pub struct Table(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In the order of their starts.
    processes: Vec<Arc<Process>>,
    terminals: Vec<Arc<Terminal>>,
    closed: bool,
}

impl Table {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything, now and from now on: the sandbox has ended.
    pub fn close(&self) {
        let state = std::mem::replace(&mut *self.state(), State { closed: true, ..State::default() });
        drop(state);
    }

    pub(crate) fn add(&self, process: &Arc<Process>) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        // The number may have been another's, which has ended since.
        state.processes.retain(|one| one.pid() != process.pid());
        let mut ends: Vec<_> =
            state.processes.iter().filter_map(|one| Some((one.ended_at()?, one.weight()))).collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        let mut weight = 0;
        let forgotten = ends.iter().enumerate().find(|(number, (_, bytes))| {
            weight += bytes;
            *number >= ENDED || weight > WEIGHT
        });
        if let Some((_, (newest, _))) = forgotten {
            state.processes.retain(|one| one.ended_at().is_none_or(|at| at > *newest));
        }
        state.processes.push(Arc::clone(process));
    }

    pub(crate) fn process(&self, pid: u32) -> Option<Arc<Process>> {
        self.state().processes.iter().find(|process| process.pid() == pid).cloned()
    }

    pub(crate) fn running(&self) -> Vec<Arc<Process>> {
        self.state().processes.iter().filter(|process| !process.has_ended()).cloned().collect()
    }

    pub(crate) fn add_terminal(&self, terminal: &Arc<Terminal>) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        state.terminals.retain(|one| !one.has_ended());
        state.terminals.push(Arc::clone(terminal));
    }

    pub(crate) fn terminals(&self) -> Vec<Arc<Terminal>> {
        let mut state = self.state();
        state.terminals.retain(|one| !one.has_ended());
        state.terminals.clone()
    }
}
