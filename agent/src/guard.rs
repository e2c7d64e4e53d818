//! What commands may not do while they have in sight what is still the host's: a second filter, on each command of a
//! sandbox that is lent a directory, or a file to write to.
//!
//! * A file that runs as its owner, or its group, would do so on the host, where that owner is somebody. No such bit is
//!   ever set. (What systemd calls `RestrictSUIDSGID`.)
//! * A Unix socket is found by its path, whatever the network namespace, and connecting to it needs no more than the
//!   right to write to it: a server of the host's that listens in what is lent would be reached. No socket is made that
//!   could be connected by a path; pairs that are connected to each other for good are.
//!
//! It is installed under process 1's own filter, which has judged the architecture already.

use libc::sock_filter;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const ANY_OF: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
/// As where there are no Unix sockets; who asks goes another way, or says so.
const NO_FAMILY: u32 = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;
/// As on a kernel without this call; who asks takes an older one, whose arguments can be seen.
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// `S_ISUID` and `S_ISGID`.
const AS_OWNER: u32 = 0o6000;
/// Without one of these flags of `open` its mode means nothing.
const MAKES: u32 = (libc::O_CREAT | libc::O_TMPFILE & !libc::O_DIRECTORY) as u32;

/// Calls that set a mode, each with the place of the mode among its arguments.
const MODES: [(i64, u32); 5] = [
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (452, 2), // fchmodat2, which is younger than libc's lists
    (libc::SYS_mkdirat, 2),
    (libc::SYS_mknodat, 2),
];
#[cfg(target_arch = "x86_64")]
const MODES_HERE: &[(i64, u32)] =
    &[(libc::SYS_chmod, 1), (libc::SYS_mkdir, 1), (libc::SYS_mknod, 1), (libc::SYS_creat, 1)];
#[cfg(target_arch = "aarch64")]
const MODES_HERE: &[(i64, u32)] = &[];

/// Calls that open a file, each with the places of flags and mode.
#[cfg(target_arch = "x86_64")]
const OPENS: &[(i64, u32, u32)] = &[(libc::SYS_openat, 2, 3), (libc::SYS_open, 1, 2)];
#[cfg(target_arch = "aarch64")]
const OPENS: &[(i64, u32, u32)] = &[(libc::SYS_openat, 2, 3)];

/// The filter.
pub fn program() -> Vec<sock_filter> {
    let mut program = Vec::new();
    for (call, mode) in MODES.iter().chain(MODES_HERE) {
        on(&mut program, *call, &[argument(*mode), bpf(ANY_OF, AS_OWNER, 0, 1), bpf(RETURN, REFUSE, 0, 0)]);
    }
    for (call, flags, mode) in OPENS {
        let judge = [
            argument(*flags),
            bpf(ANY_OF, MAKES, 0, 3),
            argument(*mode),
            bpf(ANY_OF, AS_OWNER, 0, 1),
            bpf(RETURN, REFUSE, 0, 0),
        ];
        on(&mut program, *call, &judge);
    }
    on(&mut program, libc::SYS_openat2, &[bpf(RETURN, UNKNOWN, 0, 0)]);
    let socket = [argument(0), bpf(EQUAL, libc::AF_UNIX as u32, 0, 1), bpf(RETURN, NO_FAMILY, 0, 0)];
    on(&mut program, libc::SYS_socket, &socket);
    // A pair of datagram sockets could still be connected elsewhere, or send there.
    let pair = [
        argument(0),
        bpf(EQUAL, libc::AF_UNIX as u32, 0, 5),
        argument(1),
        bpf(AND, 0xf, 0, 0),
        bpf(EQUAL, libc::SOCK_STREAM as u32, 2, 0),
        bpf(EQUAL, libc::SOCK_SEQPACKET as u32, 1, 0),
        bpf(RETURN, NO_FAMILY, 0, 0),
    ];
    on(&mut program, libc::SYS_socketpair, &pair);
    program.push(bpf(RETURN, ALLOW, 0, 0));
    program
}

/// Appends how one call is judged: what is not refused there is allowed.
fn on(program: &mut Vec<sock_filter>, call: i64, judge: &[sock_filter]) {
    program.push(bpf(LOAD, 0, 0, 0));
    program.push(bpf(EQUAL, call as u32, 0, judge.len() as u8 + 1));
    program.extend(judge);
    program.push(bpf(RETURN, ALLOW, 0, 0));
}

/// The low half of an argument, by its offset in the kernel's `struct seccomp_data`: all of these are 32 bits wide.
fn argument(number: u32) -> sock_filter {
    bpf(LOAD, 16 + 8 * number, 0, 0)
}

fn bpf(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}
