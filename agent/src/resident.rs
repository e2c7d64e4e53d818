//! Process 1 of a container: what process 1 of a local sandbox is, but that the engine has made the isolation, that
//! any number of cores may come and go, and that it ends the sandbox itself when its life is over.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use computesdk_agent::protocol::Plan;

use crate::kills::Kills;
use crate::life::Life;
use crate::links::Links;
use crate::pid1;
use crate::privileges;

/// Where the kernel counts what it kills for want of memory, by version of cgroups: the directory and the file.
const COUNTERS: [(&str, &str); 2] =
    [("/sys/fs/cgroup", "memory.events"), ("/sys/fs/cgroup/memory", "memory.oom_control")];

/// Runs until the life of so many milliseconds is over. The engine then ends the container.
pub fn run(life: Option<&str>, processes: Option<&str>) -> ExitCode {
    let (Some(life), Some(processes)) =
        (life.and_then(|life| life.parse().ok()), processes.and_then(|processes| processes.parse().ok()))
    else {
        return ExitCode::from(2);
    };
    // SAFETY: a plain system call that cannot fail.
    unsafe { libc::umask(0o022) };
    if privileges::no_new_privileges().and_then(|()| privileges::hide()).is_err() {
        return ExitCode::from(3);
    }
    let Ok(links) = Links::many() else { return ExitCode::from(4) };
    let plan = Plan { processes, open_files: u64::MAX, ..Plan::empty() };
    let life = Life::new(Duration::from_millis(life));
    let code = pid1::run(links, Some(life), None, kills(), None, &plan);
    ExitCode::from(code as u8)
}

fn kills() -> Option<Kills> {
    COUNTERS.iter().find_map(|(directory, file)| {
        let directory: OwnedFd = File::open(directory).ok()?.into();
        Kills::open(&directory, file)
    })
}
