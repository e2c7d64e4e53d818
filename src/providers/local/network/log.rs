//! What was decided about the connections of a sandbox.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::provider::Contact;

/// Decisions that are kept; the oldest makes room.
const KEPT: usize = 1000;

/// Characters of a host that are kept: no name has more.
const HOST: usize = 253;

/// The latest decisions about a sandbox.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    kept: VecDeque<Contact>,
    /// Decisions that made room.
    gone: u64,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a decision; its number is for [`Self::explain`].
    pub(super) fn note(&self, host: &str, port: u16, allowed: bool, reason: Option<&str>) -> u64 {
        tracing::debug!(host, port, allowed, reason, "a sandbox asked for a connection");
        let host = host.chars().take(HOST).collect();
        let reason = reason.map(str::to_owned);
        let mut entries = self.lock();
        if entries.kept.len() == KEPT {
            entries.kept.pop_front();
            entries.gone += 1;
        }
        entries.kept.push_back(Contact { at: SystemTime::now(), host, port, allowed, reason });
        entries.gone + entries.kept.len() as u64 - 1
    }

    /// Tells why nothing came of what was allowed.
    pub(super) fn explain(&self, number: u64, reason: &str) {
        let mut entries = self.lock();
        let at = number.checked_sub(entries.gone).and_then(|at| usize::try_from(at).ok());
        if let Some(entry) = at.and_then(|at| entries.kept.get_mut(at)) {
            entry.reason = Some(reason.to_owned());
        }
    }

    /// All that are kept, the oldest first.
    pub(super) fn entries(&self) -> Vec<Contact> {
        self.lock().kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_decisions_are_kept() {
        let log = Log::default();
        for port in 0..=KEPT as u16 {
            log.note("example.com", port, true, None);
        }
        let ports: Vec<_> = log.entries().iter().map(|entry| entry.port).collect();
        assert_eq!(ports, (1..=KEPT as u16).collect::<Vec<_>>());
    }

    #[test]
    fn a_decision_is_explained_unless_it_is_gone() {
        let log = Log::default();
        let first = log.note("é".repeat(1000).as_str(), 80, true, None);
        log.explain(first, "nobody answered");
        let entry = log.entries().remove(0);
        assert_eq!((entry.host.chars().count(), entry.reason.as_deref()), (HOST, Some("nobody answered")));
        let numbers: Vec<_> = (0..KEPT as u16).map(|port| log.note("b", port, false, None)).collect();
        log.explain(first, "too late");
        log.explain(numbers[KEPT - 1], "the last");
        let entries = log.entries();
        assert!(entries[..KEPT - 1].iter().all(|entry| entry.reason.is_none()));
        assert_eq!(entries[KEPT - 1].reason.as_deref(), Some("the last"));
    }
}
