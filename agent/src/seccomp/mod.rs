//! The system calls that a sandbox may make: what its pid 1 puts on last and every command inherits.
//!
//! The contract is Docker's default profile (moby/profiles, `seccomp/default.json`) as it is for a
//! container without capabilities, with two kinds of "no". A call that programs know to be a
//! matter of privilege is refused with `EPERM`. A call that is not listed at all is `ENOSYS`, the
//! answer of an older kernel, which is what a C library falls back from: `clone3` (its flags are
//! behind a pointer, so no filter can judge them), `io_uring_*` (work that no filter sees), x32's
//! numbers, and whatever the kernel will learn tomorrow. Code of a foreign architecture dies.
//!
//! It is three programs. The first decides by the call's number, the second by the arguments of the
//! few calls whose arguments matter, the third has process 1 asked about netlink sockets; the kernel
//! obeys the strictest.

mod netlink;

use std::collections::BTreeMap;
use std::io;

use libc::{BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BackendError, BpfProgram, BpfProgramRef, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

pub use self::netlink::Door;
use self::netlink::Netlink;
use crate::step::checked;

/// The compiled programs: built once, installed in each sandbox.
#[derive(Debug)]
pub struct Filter {
    numbers: BpfProgram,
    arguments: BpfProgram,
    netlink: Netlink,
}

impl Filter {
    /// Compiles the tables below.
    ///
    /// # Errors
    ///
    /// Only if the tables outgrow what a program can hold.
    pub fn build() -> Result<Self, BackendError> {
        Ok(Self { numbers: by_number()?, arguments: by_arguments()?, netlink: Netlink::build() })
    }

    /// Puts the filter on the calling thread and on all that it will start, for good. Gives the door
    /// at which netlink sockets are asked for; `None` where there are none to be had.
    ///
    /// The caller must have set `no_new_privs`, be single-threaded, and end if this fails: the first
    /// program may then be on without the others. It must not ask for a netlink socket itself.
    ///
    /// # Errors
    ///
    /// The kernel's, when it has no seccomp filters or `no_new_privs` is not set.
    pub fn install(&self) -> io::Result<Option<Door>> {
        install(&self.numbers, 0)?;
        install(&self.arguments, 0)?;
        self.netlink.install()
    }
}

/// Makes `&[i64]` of the names of calls, which rustfmt would put one to a line.
macro_rules! calls {
    ($($call:ident)*) => { &[$(libc::$call),*] };
}

/// The calls that are allowed, in the order of Docker's list so that the two can be compared.
///
/// On Docker's list and left out here: `io_setup` and what belongs to it (the whole machine has one store
/// of such requests, `fs.aio-max-nr`), `memfd_secret` (takes pages out of the host's direct map and
/// forbids the host to hibernate), `modify_ldt` (serves 16- and 32-bit code, whose own calls are
/// killed), and `fanotify_mark` and `name_to_handle_at`, no use without their refused partners.
/// `ptrace` and `process_vm_*` stay, as at Docker: a tracee's calls are judged after its tracer has
/// changed them, and pid 1, the one process here that is worth an attack, is not dumpable.
/// `adjtimex` and `clock_adjtime` read the clock's state and need a capability to set it.
const ALLOWED: &[i64] = calls! {
    SYS_accept SYS_accept4 SYS_adjtimex SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir
    SYS_clock_adjtime SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_clone SYS_close
    SYS_close_range SYS_connect SYS_copy_file_range SYS_dup SYS_dup3 SYS_epoll_create1 SYS_epoll_ctl
    SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat SYS_exit SYS_exit_group
    SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fchdir SYS_fchmod SYS_fchmodat
    SYS_fchown SYS_fchownat SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock
    SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex
    SYS_futex_waitv SYS_get_robust_list SYS_getcpu SYS_getcwd SYS_getdents64 SYS_getegid SYS_geteuid
    SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid
    SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid SYS_getrusage SYS_getsid
    SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid SYS_getxattr
    SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch SYS_ioctl SYS_ioprio_get SYS_ioprio_set SYS_kill
    SYS_landlock_add_rule SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lgetxattr
    SYS_linkat SYS_listen SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr
    SYS_madvise SYS_membarrier SYS_memfd_create SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock
    SYS_mlock2 SYS_mlockall SYS_mmap SYS_mprotect SYS_mq_getsetattr SYS_mq_notify SYS_mq_open
    SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap SYS_mseal SYS_msgctl SYS_msgget
    SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall SYS_munmap SYS_nanosleep
    SYS_newfstatat SYS_openat SYS_openat2 SYS_personality SYS_pidfd_open SYS_pidfd_send_signal
    SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64
    SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_mrelease SYS_process_vm_readv
    SYS_process_vm_writev SYS_pselect6 SYS_ptrace SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read
    SYS_readahead SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg
    SYS_remap_file_pages SYS_removexattr SYS_renameat2 SYS_restart_syscall SYS_rseq SYS_rt_sigaction
    SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend
    SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_get_priority_max SYS_sched_get_priority_min
    SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_getscheduler
    SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam
    SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget SYS_semop
    SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_set_robust_list
    SYS_set_tid_address SYS_setfsgid SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer SYS_setpgid
    SYS_setpriority SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid SYS_setsid SYS_setsockopt
    SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget SYS_shutdown SYS_sigaltstack
    SYS_signalfd4 SYS_socket SYS_socketpair SYS_splice SYS_statfs SYS_statx SYS_symlinkat SYS_sync
    SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create SYS_timer_delete SYS_timer_getoverrun
    SYS_timer_gettime SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime SYS_timerfd_settime
    SYS_times SYS_tkill SYS_truncate SYS_umask SYS_uname SYS_unlinkat SYS_utimensat SYS_vmsplice
    SYS_wait4 SYS_waitid SYS_write SYS_writev
};

/// The allowed calls that only an older architecture has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = calls! {
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create
    SYS_epoll_wait SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_getrlimit
    SYS_inotify_init SYS_lchown SYS_link SYS_lstat SYS_mkdir SYS_mknod SYS_open SYS_pause SYS_pipe
    SYS_poll SYS_readlink SYS_rename SYS_renameat SYS_rmdir SYS_select SYS_setrlimit SYS_signalfd
    SYS_stat SYS_symlink SYS_sync_file_range SYS_time SYS_unlink SYS_utime SYS_utimes SYS_vfork
};

/// The allowed calls that libc has no name for on this architecture.
#[cfg(target_arch = "x86_64")]
const ALLOWED_UNNAMED: &[i64] = &[
    335, // uretprobe: called by the kernel's own trampoline, the program dies if it is refused
    336, // uprobe: likewise
];

#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &[i64] = &[];

#[cfg(target_arch = "aarch64")]
const ALLOWED_UNNAMED: &[i64] = &[
    38,  // renameat
    84,  // sync_file_range
    163, // getrlimit
    164, // setrlimit
];

/// The allowed calls that are younger than libc's lists; their numbers are the same everywhere.
const ALLOWED_NEW: &[i64] = &[
    // Not 451, cachestat: before Linux 6.14 it tells anybody what others have read of a file.
    452, // fchmodat2
    453, // map_shadow_stack
    454, // futex_wake
    455, // futex_wait
    456, // futex_requeue
    457, // statmount
    458, // listmount
    463, // setxattrat
    464, // getxattrat
    465, // listxattrat
    466, // removexattrat
];

/// The calls that are a matter of privilege: programs expect `EPERM` of them and say so.
///
/// Most would be refused by the kernel too, since nobody in a sandbox has a capability. They are
/// here because a user namespace, a bug or a sysctl has given each of them away before.
const REFUSED: &[i64] = calls! {
    SYS_acct SYS_add_key SYS_bpf SYS_chroot SYS_clock_settime SYS_delete_module SYS_fanotify_init
    SYS_fanotify_mark SYS_finit_module SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick
    SYS_get_mempolicy SYS_init_module SYS_kcmp SYS_kexec_load SYS_keyctl
    SYS_lookup_dcookie SYS_mbind SYS_migrate_pages SYS_mount SYS_mount_setattr SYS_move_mount
    SYS_move_pages SYS_name_to_handle_at SYS_open_by_handle_at SYS_open_tree SYS_perf_event_open
    SYS_pidfd_getfd SYS_pivot_root SYS_process_madvise SYS_quotactl SYS_quotactl_fd SYS_reboot
    SYS_request_key SYS_set_mempolicy SYS_set_mempolicy_home_node SYS_setdomainname SYS_sethostname
    SYS_setns SYS_settimeofday SYS_swapoff SYS_swapon SYS_syslog SYS_umount2 SYS_unshare
    SYS_userfaultfd SYS_vhangup
};

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = calls! { SYS_ioperm SYS_iopl SYS_kexec_file_load };

#[cfg(target_arch = "aarch64")]
const REFUSED_HERE: &[i64] = &[
    294, // kexec_file_load, which libc has no name for under musl
];

/// The refused calls that are younger than libc's lists.
const REFUSED_NEW: &[i64] = &[
    467, // open_tree_attr
];

const ALLOW: u32 = SECCOMP_RET_ALLOW;
const REFUSE: u32 = SECCOMP_RET_ERRNO | libc::EPERM as u32;
const UNKNOWN: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// All tables, each with its verdict; a number that is in none of them is `ENOSYS`.
const VERDICTS: [(&[i64], u32); 7] = [
    (ALLOWED, ALLOW),
    (ALLOWED_HERE, ALLOW),
    (ALLOWED_UNNAMED, ALLOW),
    (ALLOWED_NEW, ALLOW),
    (REFUSED, REFUSE),
    (REFUSED_HERE, REFUSE),
    (REFUSED_NEW, REFUSE),
];

/// The flags of `clone` that make a namespace (`CLONE_NEWTIME` is not among them: its bit belongs to
/// the exit signal, so `clone` cannot ask for it).
const NAMESPACES: u64 = 0x7E02_0000;

/// What a socket may be of; every other family is a driver that few audit and nobody here needs.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// `TIOCSTI` types into the terminal and `TIOCLINUX` pastes into it; `TIOCSETD` puts any line
/// discipline the kernel has on a pty, loading its module, and those drivers have given away root.
const IOCTLS: [u64; 3] = [0x5412, 0x541C, 0x5423];

/// A lease on a file makes everybody wait who opens it, for 45 seconds: process 1, and for a file of the host's that is
/// lent, the host.
const F_SETLEASE: u64 = libc::F_SETLEASE as u64;

/// Huge pages are a store of the whole machine, and no limit of a sandbox counts them.
const MAP_HUGETLB: u64 = libc::MAP_HUGETLB as u64;
const MFD_HUGETLB: u64 = libc::MFD_HUGETLB as u64;
const SHM_HUGETLB: u64 = libc::SHM_HUGETLB as u64;

/// The `which` of `setpriority(2)` and `ioprio_set(2)` that means every process of the user.
const PRIO_USER: u64 = libc::PRIO_USER as u64;
const IOPRIO_WHO_USER: u64 = 3;

/// Docker's: `PER_LINUX`, `PER_LINUX32`, each with and without `UNAME26`, and the query.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

#[cfg(target_arch = "x86_64")]
const ARCH: (TargetArch, u32) = (TargetArch::x86_64, 0xC000_003E);
#[cfg(target_arch = "aarch64")]
const ARCH: (TargetArch, u32) = (TargetArch::aarch64, 0xC000_00B7);

/// Compiles [`VERDICTS`] to a binary search.
///
/// seccompiler would ask for one number after the other. The kernel walks a program for each
/// number it knows at every installation, to remember which are allowed whatever their arguments,
/// and that walk is most of what an installation costs.
fn by_number() -> Result<BpfProgram, BackendError> {
    // Where a verdict begins; it holds up to the next entry.
    let mut starts = BTreeMap::from([(0, UNKNOWN)]);
    for (calls, verdict) in VERDICTS {
        for &number in calls {
            starts.insert(number as u32, verdict);
            starts.entry(number as u32 + 1).or_insert(UNKNOWN);
        }
    }
    let mut starts: Vec<_> = starts.into_iter().collect();
    starts.dedup_by_key(|&mut (_, verdict)| verdict);

    // The offsets are those of `arch` and `nr` in the kernel's `struct seccomp_data`.
    let mut program = vec![
        instruction(BPF_LD | BPF_W | BPF_ABS, 4, 0),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, ARCH.1, 1),
        instruction(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0),
        instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0),
    ];
    search(&starts, &mut program)?;
    Ok(program)
}

/// Appends the search for a number among `starts`, sorted and not empty: one instruction that skips
/// the lower half if the number is in the upper one, then each half likewise.
fn search(starts: &[(u32, u32)], program: &mut BpfProgram) -> Result<(), BackendError> {
    if let [(_, verdict)] = starts {
        program.push(instruction(BPF_RET | BPF_K, *verdict, 0));
        return Ok(());
    }
    let (low, high) = starts.split_at(starts.len() / 2);
    let branch = program.len();
    program.push(instruction(BPF_JMP | BPF_JGE | BPF_K, high[0].0, 0));
    search(low, program)?;
    let distance = program.len() - branch - 1;
    program[branch].jt = u8::try_from(distance).map_err(|_| BackendError::FilterTooLarge(distance))?;
    search(high, program)
}

/// An instruction; a jump that is taken leaves out the next `jt`, one that is not, none.
fn instruction(code: u32, k: u32, jt: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf: 0, k }
}

/// Compiles the rules about arguments; the calls are all in [`ALLOWED`], a rule that fits refuses.
fn by_arguments() -> Result<BpfProgram, BackendError> {
    let sockets = vec![
        all(FAMILIES.map(|family| low(0, Ne, family as u64)))?,
        // Routes and addresses (protocol 0) are what `getifaddrs` asks for.
        all([low(0, Eq, libc::AF_NETLINK as u64), low(2, Ne, 0)])?,
    ];
    let namespaces = (0..32)
        .map(|bit| NAMESPACES & (1 << bit))
        .filter(|&flag| flag != 0)
        .map(|flag| all([low(0, MaskedEq(flag), flag)]))
        .collect::<Result<_, _>>()?;
    let ioctls = IOCTLS.map(|request| all([low(1, Eq, request)])).into_iter().collect::<Result<_, _>>()?;
    let huge = |argument, flag| Ok(vec![all([low(argument, MaskedEq(flag), flag)])?]);
    let personality = all(PERSONALITIES.map(|persona| low(0, Ne, persona)))?;
    // Process 1 has the user of the commands, who could starve it or take its limits away, and so outlive
    // what it is to end.
    let spares_pid1 = || Ok(vec![all([low(0, Eq, 1)])?]);
    let priorities = |user| Ok(vec![all([low(0, Eq, user)])?, all([low(1, Eq, 1)])?]);
    let rules = BTreeMap::from([
        (libc::SYS_prlimit64, spares_pid1()?),
        (libc::SYS_sched_setaffinity, spares_pid1()?),
        (libc::SYS_sched_setattr, spares_pid1()?),
        (libc::SYS_sched_setparam, spares_pid1()?),
        (libc::SYS_sched_setscheduler, spares_pid1()?),
        (libc::SYS_setpriority, priorities(PRIO_USER)?),
        (libc::SYS_ioprio_set, priorities(IOPRIO_WHO_USER)?),
        (libc::SYS_ioctl, ioctls),
        (libc::SYS_clone, namespaces),
        (libc::SYS_fcntl, vec![all([low(1, Eq, F_SETLEASE)])?]),
        (libc::SYS_mmap, huge(3, MAP_HUGETLB)?),
        (libc::SYS_memfd_create, huge(1, MFD_HUGETLB)?),
        (libc::SYS_shmget, huge(2, SHM_HUGETLB)?),
        (libc::SYS_socket, sockets.clone()),
        (libc::SYS_socketpair, sockets),
        (libc::SYS_personality, vec![personality]),
    ]);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH.0)?.try_into()
}

/// A condition on the low half of an argument: the kernel declares all of these as 32 bits wide and
/// ignores the rest, so a filter that looked at the rest could be fooled by it.
fn low(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
}

/// A rule that fits when all of its conditions do.
fn all<const N: usize>(
    conditions: [Result<SeccompCondition, BackendError>; N],
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
}

fn install(program: BpfProgramRef, flags: libc::c_ulong) -> io::Result<i64> {
    let program = libc::sock_fprog {
        // Cannot be cut short: seccompiler's limit is 4096, and `search` stays far below it.
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `program` points to `len` instructions that outlive the call, laid out as libc's
    // `sock_filter` (both are C's); the kernel copies them and writes nothing.
    checked(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })
}

#[cfg(test)]
mod tests;
