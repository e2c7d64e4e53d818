//! Sandboxes that are made in advance, so that a `create` is a hand-over: a few like the last that was asked for,
//! made when nothing else is to be done, and let go of when nobody asks any more. One that was used is never used
//! again.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use computesdk_agent::protocol::Plan;
use rustix::event::Timespec;

/// How long nothing may have been asked before a spare is made: requests that come in one go are not kept waiting.
const PAUSE: Duration = Duration::from_millis(4);
/// How long spares are kept that nobody asks for.
const KEPT: Duration = Duration::from_secs(10);

/// A sandbox whose process 1 waits for requests.
pub struct Made {
    pub pid: i32,
    /// Where they come from: whoever has it has the sandbox.
    pub link: OwnedFd,
}

/// Those that nobody has asked for yet.
#[derive(Default)]
pub struct Spares {
    /// All of them are like this.
    plan: Option<Plan>,
    waiting: Vec<Made>,
    /// Whether more of them are to be made.
    wanting: bool,
    /// When one like them was asked for.
    asked: Option<Instant>,
}

impl Spares {
    /// The one that has waited longest, if it is as planned.
    pub fn take(&mut self, plan: &Plan) -> Option<Made> {
        if self.waiting.is_empty() || self.plan.as_ref() != Some(plan) {
            return None;
        }
        self.wanting = true;
        self.asked = Some(Instant::now());
        Some(self.waiting.remove(0))
    }

    /// From now on spares are like this one, if it is to have any. Those that are not are given up.
    pub fn want(&mut self, plan: Plan) -> Vec<Made> {
        if plan.spares == 0 {
            return Vec::new();
        }
        let others =
            if self.plan.as_ref() == Some(&plan) { Vec::new() } else { std::mem::take(&mut self.waiting) };
        self.plan = Some(plan);
        self.wanting = true;
        self.asked = Some(Instant::now());
        others
    }

    /// No more are to be made until somebody asks.
    pub fn want_none(&mut self) {
        self.wanting = false;
    }

    /// What the next spare is to be, if there are too few.
    pub fn wanted(&self) -> Option<Plan> {
        let plan = self.plan.as_ref().filter(|_| self.wanting)?;
        (self.waiting.len() < usize::from(plan.spares)).then(|| plan.clone())
    }

    /// One more, like those that are wanted.
    pub fn add(&mut self, made: Made) {
        self.waiting.push(made);
    }

    /// Forgets one that has ended. Whatever ended it may end the next as well: none is made until somebody asks.
    pub fn forget(&mut self, pid: i32) {
        if self.waiting.extract_if(.., |spare| spare.pid == pid).count() > 0 {
            self.wanting = false;
        }
    }

    /// Gives up all of them.
    pub fn let_go(&mut self) -> Vec<Made> {
        self.wanting = false;
        std::mem::take(&mut self.waiting)
    }

    /// Gives up those that stand on this layer, for good.
    pub fn let_go_of(&mut self, layer: u32) -> Vec<Made> {
        if !self.plan.as_ref().is_some_and(|plan| plan.layers.contains(&layer)) {
            return Vec::new();
        }
        self.plan = None;
        self.let_go()
    }

    /// How long to wait for requests before the spares are looked after; `None` if there is nothing to do.
    pub fn patience(&self) -> Option<Timespec> {
        let patience = match (self.wanted(), self.waiting.is_empty()) {
            (Some(_), _) => PAUSE,
            (None, false) => KEPT.saturating_sub(self.asked.map_or(Duration::ZERO, |asked| asked.elapsed())),
            (None, true) => return None,
        };
        Timespec::try_from(patience).ok()
    }
}
