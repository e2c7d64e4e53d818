//! Where sandboxes live that were made here: two providers may have given the same id, or one may claim any.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::provider::Provider;

/// The latest that are known. Older ones are asked for everywhere.
const KNOWN: usize = 4096;

/// The homes of the latest sandboxes.
#[derive(Debug, Default)]
pub(super) struct Homes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<String, Weak<dyn Provider>>,
    /// The ids, the oldest first.
    ids: VecDeque<String>,
}

impl Homes {
    pub(super) fn note(&self, id: &str, provider: &Arc<dyn Provider>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.by_id.insert(id.to_owned(), Arc::downgrade(provider)).is_some() {
            return;
        }
        known.ids.push_back(id.to_owned());
        if known.ids.len() > KNOWN
            && let Some(oldest) = known.ids.pop_front()
        {
            known.by_id.remove(&oldest);
        }
    }

    pub(super) fn of(&self, id: &str) -> Option<Arc<dyn Provider>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(id)?.upgrade()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::local::Local;

    #[test]
    fn the_latest_are_known_and_no_more() {
        let homes = Homes::default();
        let provider: Arc<dyn Provider> = Arc::new(Local::default());
        for number in 0..=KNOWN {
            homes.note(&number.to_string(), &provider);
        }
        assert!(homes.of("0").is_none());
        assert!(homes.of("1").is_some_and(|home| Arc::ptr_eq(&home, &provider)));
        drop(provider);
        assert!(homes.of("1").is_none(), "a sandbox keeps no provider alive");
    }
}
