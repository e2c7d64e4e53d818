//! How many sandboxes are made in advance, so that a `create` is a hand-over: a few like the last that was asked for,
//! made when nothing else is to be done. The core has them until it takes them, and is asked to give them back when
//! it has not taken any for a while. One that was used is never used again.

use std::time::{Duration, Instant};

use computesdk_agent::protocol::Plan;

/// How long nothing may have been asked before a spare is made: requests that come in one go are not kept waiting.
const PAUSE: Duration = Duration::from_millis(4);
/// How long spares are kept that nobody takes.
const KEPT: Duration = Duration::from_secs(10);

/// Those that nobody has taken yet.
#[derive(Default)]
pub struct Spares {
    /// What they are like, and the number of the last sandbox that was made so.
    model: Option<(u32, Plan)>,
    waiting: u8,
    /// The number of the next, and of the first that is like the model.
    next: u32,
    first: u32,
    /// Whether more of them are to be made.
    wanting: bool,
    /// When the last was taken or another made, unless they have been asked for since.
    used: Option<Instant>,
}

impl Spares {
    /// Sandbox `id` was made: from now on spares are like it, if it is to have any.
    pub fn want(&mut self, id: u32, plan: Plan) {
        if plan.spares == 0 {
            return;
        }
        self.model = Some((id, plan));
        self.first = self.next;
        self.want_more();
    }

    fn want_more(&mut self) {
        self.wanting = true;
        self.used = Some(Instant::now());
    }

    /// No more are to be made until somebody asks.
    pub fn want_none(&mut self) {
        self.wanting = false;
    }

    /// None like those that stand on this layer are to be made any more.
    pub fn want_none_on(&mut self, layer: u32) {
        self.model.take_if(|(_, plan)| plan.layers.contains(&layer));
    }

    /// What the next spare is to be like, if there are too few.
    pub fn wanted(&self) -> Option<&(u32, Plan)> {
        self.model.as_ref().filter(|(_, plan)| self.wanting && self.waiting < plan.spares)
    }

    /// A number for one that is to be made.
    pub fn number(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next.wrapping_sub(1)
    }

    /// One more waits.
    pub fn add(&mut self) {
        self.waiting += 1;
    }

    /// One of them was taken.
    pub fn take(&mut self) {
        self.waiting -= 1;
        self.want_more();
    }

    /// One of them comes back. If it is like the model, the core wants none such: it may not have heard of that sandbox,
    /// because nobody waited for it any more.
    pub fn give_back(&mut self, spare: u32) {
        self.wanting &= spare < self.first;
    }

    /// One of them has ended. Whatever ended it may end the next as well, unless it was meant to: none is made then
    /// until somebody asks.
    pub fn forget(&mut self, meant: bool) {
        self.waiting -= 1;
        self.wanting &= meant;
    }

    /// Whether they are to be given back now: that is asked once.
    pub fn are_unused(&mut self) -> bool {
        self.wanting = false;
        self.used.take().is_some()
    }

    /// How long to wait for requests before the spares are looked after; `None` if there is nothing to do.
    pub fn patience(&self) -> Option<Duration> {
        match (self.wanted(), self.used) {
            (Some(_), _) => Some(PAUSE),
            (None, Some(used)) if self.waiting > 0 => Some(KEPT.saturating_sub(used.elapsed())),
            _ => None,
        }
    }
}
