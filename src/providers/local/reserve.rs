//! Sandboxes that the broker has made in advance: whoever asks for one like them has it at once, and nobody is asked.

use std::collections::VecDeque;
use std::sync::Arc;

use computesdk_agent::protocol::Plan;

use super::link::Link;

/// A sandbox that nobody has asked for yet.
#[derive(Debug)]
pub(super) struct Spare {
    /// Its number at the broker.
    pub(super) number: u32,
    /// What leads to its agent.
    pub(super) link: Arc<Link>,
}

/// Those that there are. The broker makes them like the sandbox that it was last asked for; what is not like it any
/// more goes back, and what goes back ends.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    /// What they are like, and the number of the last sandbox that was made so.
    model: Option<(u32, Plan)>,
    spares: VecDeque<Spare>,
}

impl Reserve {
    /// The one that has waited longest, if it is as planned.
    pub(super) fn take(&mut self, plan: &Plan) -> Option<Spare> {
        if self.model.as_ref().is_none_or(|(_, model)| model != plan) {
            return None;
        }
        // What has ended needs not go back: the broker knows.
        std::iter::from_fn(|| self.spares.pop_front()).find(|spare| spare.link.is_open())
    }

    /// The broker has made sandbox `id` as planned, and makes its spares like it from now on. Gives those to go back.
    pub(super) fn follow(&mut self, id: u32, plan: Plan) -> Vec<Spare> {
        if plan.spares == 0 {
            return Vec::new();
        }
        let is_same = self.model.as_ref().is_some_and(|(_, model)| *model == plan);
        self.model = Some((id, plan));
        if is_same { Vec::new() } else { self.let_go() }
    }

    /// One more, made like sandbox `id`. Gives it to go back if that is nothing that anybody wants any more.
    pub(super) fn add(&mut self, spare: Spare, id: u32) -> Option<Spare> {
        if self.model.as_ref().is_none_or(|(model, _)| *model != id) {
            return Some(spare);
        }
        self.spares.push_back(spare);
        None
    }

    /// All of them, to go back.
    pub(super) fn let_go(&mut self) -> Vec<Spare> {
        self.spares.drain(..).collect()
    }

    /// Those that stand on this layer, to go back for good.
    pub(super) fn let_go_of(&mut self, layer: u32) -> Vec<Spare> {
        self.model.take_if(|(_, plan)| plan.layers.contains(&layer)).map_or_else(Vec::new, |_| self.let_go())
    }
}
