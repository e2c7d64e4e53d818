//! How long a sandbox lives whose own process 1 ends it: nobody outside need be there to see to it.

use std::time::{Duration, Instant, SystemTime};

use rustix::event::Timespec;

/// How long nobody may come for whom it was made.
const UNASKED: Duration = Duration::from_secs(120);

/// A life. It begins when somebody first asks for something: what it took to make the sandbox is no part of it.
pub struct Life {
    /// In all; zero is without end.
    granted: Duration,
    made: Instant,
    begun: Option<(Instant, SystemTime)>,
}

impl Life {
    /// One that is to begin. Zero is without end.
    pub fn new(granted: Duration) -> Self {
        Self { granted, made: Instant::now(), begun: None }
    }

    /// It begins now, if it has not yet.
    pub fn begin(&mut self) {
        self.begun.get_or_insert_with(|| (Instant::now(), SystemTime::now()));
    }

    /// Makes it longer. One without end stays so.
    pub fn extend(&mut self, milliseconds: u64) {
        if !self.granted.is_zero() {
            self.granted = self.granted.saturating_add(Duration::from_millis(milliseconds));
        }
    }

    /// What is left; `None` where there is no end.
    fn left(&self) -> Option<Duration> {
        match self.begun {
            None => Some(UNASKED.saturating_sub(self.made.elapsed())),
            Some(_) if self.granted.is_zero() => None,
            Some((since, _)) => Some(self.granted.saturating_sub(since.elapsed())),
        }
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// How long at most to wait for something else; `None` is for ever. Never a moment too short.
    pub fn patience(&self) -> Option<Timespec> {
        let left = self.left()?.saturating_add(Duration::from_millis(1));
        Some(Timespec {
            tv_sec: left.as_secs().min(i32::MAX as u64) as _,
            tv_nsec: i64::from(left.subsec_nanos()) as _,
        })
    }

    /// Milliseconds in all, those of them that are left, and those from 1970 to its beginning.
    pub fn told(&self) -> (u64, u64, u64) {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let begun = self.begun.map_or_else(SystemTime::now, |(_, at)| at);
        let since = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let left = self.left().filter(|_| !self.granted.is_zero()).unwrap_or_default();
        (milliseconds(self.granted), milliseconds(left), milliseconds(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_without_end_stays_so() {
        let mut life = Life::new(Duration::ZERO);
        assert!(!life.is_over() && life.patience().is_some(), "somebody has to come");
        life.begin();
        life.extend(1000);
        assert!(!life.is_over() && life.patience().is_none());
        assert_eq!((life.told().0, life.told().1), (0, 0));
    }

    #[test]
    fn a_life_ends_and_can_be_made_longer_before() {
        let mut life = Life::new(Duration::from_millis(20));
        std::thread::sleep(Duration::from_millis(25));
        assert!(!life.is_over(), "it has not begun");
        life.begin();
        life.extend(20);
        assert_eq!(life.told().0, 40);
        assert!(!life.is_over());
        std::thread::sleep(Duration::from_millis(45));
        assert!(life.is_over());
        life.extend(u64::MAX);
        assert!(!life.is_over());
    }
}
