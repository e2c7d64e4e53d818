//! The sandboxes that run, found by what the core calls them and by the process id of their process 1.

use std::collections::HashMap;

use crate::cgroups::Cgroup;
use crate::identity::Identity;

/// What the core calls a sandbox.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    /// The request that it was made or taken for.
    Sandbox(u32),
    /// Nobody has asked for it yet.
    Spare(u32),
}

/// A sandbox that runs.
pub struct Living {
    pub pid: i32,
    pub name: Name,
    pub identity: Identity,
    pub cgroup: Option<Cgroup>,
    /// Its end was asked for.
    pub doomed: bool,
}

/// All of them.
#[derive(Default)]
pub struct Register {
    by_pid: HashMap<i32, Living>,
    pids: HashMap<Name, i32>,
}

impl Register {
    pub fn add(&mut self, living: Living) {
        self.pids.insert(living.name, living.pid);
        self.by_pid.insert(living.pid, living);
    }

    pub fn get(&self, name: Name) -> Option<&Living> {
        self.by_pid.get(self.pids.get(&name)?)
    }

    pub fn get_mut(&mut self, name: Name) -> Option<&mut Living> {
        self.by_pid.get_mut(self.pids.get(&name)?)
    }

    /// Calls one by another name from now on; whether there is one of this name.
    pub fn rename(&mut self, old: Name, new: Name) -> bool {
        let Some(pid) = self.pids.remove(&old) else { return false };
        self.pids.insert(new, pid);
        self.by_pid.get_mut(&pid).map(|living| living.name = new).is_some()
    }

    /// Forgets the one whose process 1 this was.
    pub fn remove(&mut self, pid: i32) -> Option<Living> {
        let living = self.by_pid.remove(&pid)?;
        self.pids.remove(&living.name);
        Some(living)
    }

    pub fn pids(&self) -> impl Iterator<Item = i32> {
        self.by_pid.keys().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }
}
