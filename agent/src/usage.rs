//! What a sandbox uses, as it is seen from inside: the file system that holds all of its files, and, where no
//! cgroup counts them, its processes.

use std::fs;

use computesdk_agent::protocol::Usage;
use rustix::io::{Errno, Result};

/// Microseconds in a second.
const MICROSECONDS: u64 = 1_000_000;

/// Looks at the file system, and at each process if `processes` is wanted.
pub fn measure(processes: bool) -> Result<Usage> {
    // One tmpfs holds every byte that the sandbox has written; the root is part of it.
    let disk = rustix::fs::statvfs("/")?;
    let mut usage = Usage {
        disk: (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
        disk_total: disk.f_blocks * disk.f_frsize,
        memory: 0,
        cpu: 0,
        processes: 0,
    };
    if processes {
        let (page, second) = (rustix::param::page_size() as u64, rustix::param::clock_ticks_per_second());
        for entry in fs::read_dir("/proc").map_err(of)? {
            let name = entry.map_err(of)?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // Gone between the listing and the look at it: it uses nothing.
            let Some(process) = Process::of(pid) else { continue };
            usage.memory += process.pages * page;
            usage.cpu += process.ticks * MICROSECONDS / second;
            usage.processes += process.threads;
        }
    }
    Ok(usage)
}

fn of(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// What /proc tells of a process.
struct Process {
    /// Of memory that is its own: neither a file's nor shared.
    pages: u64,
    /// Of the processors' time, with that of its children that it has waited for. What nobody has waited for comes
    /// to process 1, and is part of its own.
    ticks: u64,
    threads: u32,
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        // A process can give itself a name that is no text.
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        Self::read(&String::from_utf8_lossy(&stat), &statm)
    }

    /// See `proc_pid_stat(5)` and `proc_pid_statm(5)`. A process can give itself any name, spaces and brackets
    /// included, so fields are counted from the last bracket on: the first there is the third of all.
    fn read(stat: &str, statm: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        // Those of children can be negative in the kernel's words, but never are in its deeds.
        let ticks = (14..=17).map(number).sum::<Option<u64>>()?;
        let threads = number(20)? as u32;
        let mut sizes = statm.split_whitespace().skip(1).map_while(|size| size.parse::<u64>().ok());
        let (resident, shared) = (sizes.next()?, sizes.next()?);
        Some(Self { pages: resident.saturating_sub(shared), ticks, threads })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let stat = "7 (a) S 1 2) R 1 7 7 0 -1 4194560 100 0 0 0 5 6 70 800 20 0 3 0 4711 0 0";
        let process = Process::read(stat, "900 50 20 1 0 60 0").expect("both lines are whole");
        assert_eq!((process.ticks, process.threads, process.pages), (881, 3, 30));
    }

    #[test]
    fn half_a_line_is_no_process() {
        assert!(Process::read("7 (a) R 1 7", "900 50 20").is_none());
        assert!(Process::read("", "").is_none());
    }
}
