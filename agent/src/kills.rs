//! How often the kernel has killed in a sandbox because memory had run out: where there is a memory cgroup, it
//! counts. Nobody inside can write the counter.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// What the line with the number begins with, in `memory.oom_control` (version 1) and `memory.events` (version 2).
const LINE: &str = "oom_kill ";

/// The counter of one sandbox, open: by the time that process 1 reads it, its path is out of sight.
pub struct Kills(OwnedFd);

impl Kills {
    /// Opens the counter of a group; `None` if the kernel has none.
    pub fn open(group: impl AsFd, file: &str) -> Option<Self> {
        rustix::fs::openat(group, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok().map(Self)
    }

    /// How often by now; `None` where that cannot be told.
    pub fn count(&self) -> Option<u64> {
        let mut text = [0; 512];
        let read = rustix::io::pread(&self.0, &mut text, 0).ok()?;
        std::str::from_utf8(&text[..read])
            .ok()?
            .lines()
            .find_map(|line| line.strip_prefix(LINE)?.parse().ok())
    }
}

impl AsFd for Kills {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
