//! Giving up power: descriptors, capabilities, limits, the view of others on this process.

use std::os::fd::{AsRawFd, BorrowedFd};

use computesdk_agent::protocol::Plan;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::step::{Result, Step, checked};

/// Signals and timers that may wait at once: the kernel counts them for a user, who may have other things to do.
const SIGNALS: u64 = 4096;

/// The kernel's sets of capabilities, as `capset(2)` takes them (version 3: two words of 32 bits).
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}
#[repr(C)]
#[derive(Clone, Copy)]
struct CapabilitySet {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const LAST_CAPABILITY: libc::c_ulong = 63;

/// Closes every descriptor but these. Standard input, output and error become nothing.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut keep: Vec<_> = keep.iter().map(|kept| kept.as_raw_fd() as libc::c_uint).collect();
    keep.sort_unstable();
    // SAFETY: what the broker had open is of no use here; no value in this process that owns one of these
    // descriptors is used any more, except those of `keep`, which are above 2.
    unsafe {
        let null = checked(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR)).step("open /dev/null")? as i32;
        for standard in 0..3 {
            checked(libc::dup2(null, standard)).step("open /dev/null")?;
        }
        let close = |first: libc::c_uint, last: libc::c_uint| {
            checked(libc::syscall(libc::SYS_close_range, first, last, 0))
        };
        let mut first = 3;
        for kept in keep {
            if kept > first {
                close(first, kept - 1).step("close descriptors")?;
            }
            first = kept + 1;
        }
        close(first, libc::c_uint::MAX).step("close descriptors")?;
    }
    Ok(())
}

/// Asks to be killed when the broker ends. The broker has one thread, so its end is the thread's.
pub fn die_with_the_broker() -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong).step("follow the broker's end")
}

/// Makes every permitted capability effective again after a change of user id.
pub fn raise_capabilities() -> Result<()> {
    let all = CapabilitySet { effective: u32::MAX, permitted: u32::MAX, inheritable: 0 };
    let mut sets = [all; 2];
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    // SAFETY: header and sets are what capget and capset of this version take.
    unsafe {
        checked(libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()))
            .step("read capabilities")?;
        for set in &mut sets {
            set.effective = set.permitted;
        }
        checked(libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()))
            .step("raise capabilities")
            .map(drop)
    }
}

/// Whether this process may look into those of other users, as it has to of what it clones (`ptrace(2)`): root may,
/// unless it is a container's.
pub fn may_trace() -> bool {
    const TRACE: u32 = 19;
    let mut sets = [CapabilitySet { effective: 0, permitted: 0, inheritable: 0 }; 2];
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    // SAFETY: header and sets are what capget of this version takes.
    let read = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    read == 0 && sets[0].effective & (1 << TRACE) != 0
}

/// Gives up every capability for good: bounding set, ambient set, then the process' own.
pub fn drop_capabilities() -> Result<()> {
    for capability in 0..=LAST_CAPABILITY {
        // The kernel knows fewer than 64; it says EINVAL from the first unknown one on.
        if prctl(libc::PR_CAPBSET_DROP, capability).is_err() {
            break;
        }
    }
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong).step("drop capabilities")?;
    let none = [CapabilitySet { effective: 0, permitted: 0, inheritable: 0 }; 2];
    let header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    // SAFETY: header and sets are what capset of this version takes.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) })
        .step("drop capabilities")
        .map(drop)
}

/// No program that is started from here gains anything by its file's owner or capabilities.
pub fn no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).step("set no_new_privs")
}

/// Hides this process from its children: no ptrace, no /proc/1/mem, fd or environ, though the user is the
/// same. Each command is visible again from its `execve` on.
pub fn hide() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0).step("hide process 1")
}

/// Limits of each process. Where there is no cgroup they stand in for it, as far as they can.
pub fn limit(plan: &Plan, cgroup: bool) -> Result<()> {
    // Of open files, process 1 may have all there may be: the descriptors that it passes out are counted
    // against its own limit together with those that commands have in flight (unix(7)).
    set_limit(libc::RLIMIT_NOFILE, u64::MAX)?;
    // 0 would still start the host's core dump handler if that is a program; 1 does not (core(5)).
    set_limit(libc::RLIMIT_CORE, 1)?;
    set_limit(libc::RLIMIT_NPROC, u64::from(plan.processes))?;
    set_limit(libc::RLIMIT_MEMLOCK, 64 << 20)?;
    set_limit(libc::RLIMIT_MSGQUEUE, 819_200)?;
    set_limit(libc::RLIMIT_SIGPENDING, SIGNALS)?;
    // Whoever starts Node may be allowed to come before all others on a processor; the sandbox is not.
    set_limit(libc::RLIMIT_RTPRIO, 0)?;
    set_limit(libc::RLIMIT_NICE, 0)?;
    if !cgroup {
        // Not RLIMIT_AS: Node reserves far more address space than it uses.
        set_limit(libc::RLIMIT_DATA, plan.memory)?;
    }
    Ok(())
}

fn set_limit(resource: libc::__rlimit_resource_t, value: u64) -> Result<()> {
    // SAFETY: plain system calls with valid pointers.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        checked(libc::getrlimit(resource, &raw mut limit)).step("read limits")?;
        // Nobody may go above the hard limit that is there, even root may not everywhere.
        let value = value.min(limit.rlim_max);
        limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        checked(libc::setrlimit(resource, &raw const limit)).step("set limits").map(drop)
    }
}

/// Confines file access and, from version 6 on, signals and abstract sockets, to this sandbox. Makes
/// device files impossible and mounts unchangeable even for whoever gains capabilities. Returns the
/// version of landlock in force; `None` where the kernel has none.
///
/// Version 2 is the least that is used: version 1 forbids every rename across directories.
pub fn landlock() -> Result<Option<i32>> {
    let version = landlock_version();
    if version < 2 {
        return Ok(None);
    }
    let abi = match version {
        2 => ABI::V2,
        3 => ABI::V3,
        4 => ABI::V4,
        5 => ABI::V5,
        _ => ABI::V6,
    };
    match rules(abi).and_then(|rules| Ok(rules.restrict_self()?)) {
        Ok(status) if status.ruleset != RulesetStatus::NotEnforced => Ok(Some(version)),
        _ => Err(std::io::Error::from_raw_os_error(libc::EPERM)).step("apply landlock"),
    }
}

fn rules(abi: ABI) -> std::result::Result<RulesetCreated, Box<dyn std::error::Error>> {
    let everything: BitFlags<AccessFs> = AccessFs::from_all(abi);
    let allowed = everything & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let scopes: BitFlags<Scope> = Scope::from_all(abi);
    let rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(everything)?;
    // Before version 6 there are none, and to ask for none is an error.
    let rules = if scopes.is_empty() { rules } else { rules.scope(scopes)? };
    Ok(rules.create()?.add_rule(PathBeneath::new(PathFd::new("/")?, allowed))?)
}

fn landlock_version() -> i32 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call reads no memory (landlock_create_ruleset(2)).
    unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, VERSION)
            as i32
    }
}

fn prctl(option: libc::c_int, argument: libc::c_ulong) -> std::io::Result<()> {
    // SAFETY: the options used here take numbers only.
    checked(unsafe { libc::prctl(option, argument, 0, 0, 0) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_rules_for_every_version_of_landlock() {
        for abi in [ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6] {
            assert!(rules(abi).is_ok(), "{abi:?}: {:?}", rules(abi).err());
        }
    }
}
