//! Netlink sockets, one by one: process 1 is asked before a command gets one.
//!
//! Programs need them to list addresses (`getifaddrs(3)`). But what the kernel answers on one waits in memory that it
//! counts for nobody, megabytes for each socket, and no limit knows them: neither a cgroup nor the number of open files.
//! So there may only be a few at a time. See `seccomp_unotify(2)`.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF};
use seccompiler::{BpfProgram, sock_filter};

use super::install;
use crate::step::checked;

/// Netlink sockets that a sandbox may have open at once.
const MOST: usize = 64;

/// Sockets of this network by protocol: name, size, count. Unlike `/proc/net/netlink` it knows those that have sent
/// nothing yet.
const OPEN: &str = "/proc/self/net/protocols";

/// Asks about each netlink socket; where nobody can be asked, there are none.
#[derive(Debug)]
pub struct Netlink {
    asking: BpfProgram,
    refusing: BpfProgram,
}

/// Where process 1 is asked.
#[derive(Debug)]
pub struct Door(OwnedFd);

impl Netlink {
    /// Compiles both programs.
    pub fn build() -> Self {
        let refusal = SECCOMP_RET_ERRNO | libc::EPERM as u32;
        Self { asking: judged_by(SECCOMP_RET_USER_NOTIF), refusing: judged_by(refusal) }
    }

    /// Puts the filter on, as [`Filter::install`](super::Filter::install) does.
    ///
    /// # Errors
    ///
    /// The kernel's, if not even the program that refuses can be put on.
    pub fn install(&self) -> io::Result<Option<Door>> {
        match install(&self.asking, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER) {
            // SAFETY: the descriptor is new, and nobody else's.
            Ok(door) => Ok(Some(Door(unsafe { OwnedFd::from_raw_fd(door as i32) }))),
            // Somebody around us is asked about calls already, and there can be only one (`EBUSY`).
            Err(_) => install(&self.refusing, 0).map(|_| None),
        }
    }
}

impl Door {
    /// Answers one who asks. Whoever has gone meanwhile needs no answer.
    pub fn answer(&self) {
        // SAFETY: an all-zero notification is what the kernel wants to fill.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is valid for the call.
        let received = checked(unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked)
        });
        if received.is_err() {
            return;
        }
        // Nothing but numbers was judged, so the call may go on by itself: nobody can have changed them meanwhile.
        let (error, flags) = match opened() {
            Some(opened) if opened < MOST => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            _ => (-libc::EMFILE, 0),
        };
        let mut answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error, flags };
        // SAFETY: the pointer is valid for the call.
        unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    }
}

impl std::os::fd::AsFd for Door {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Open sockets; `None` where that cannot be known.
fn opened() -> Option<usize> {
    let protocols = fs::read_to_string(OPEN).ok()?;
    let mut netlink = protocols.lines().find(|line| line.starts_with("NETLINK "))?.split_ascii_whitespace();
    netlink.nth(2)?.parse().ok()
}

/// `socket(AF_NETLINK, …)` gets this verdict, everything else is allowed. The offsets are those of `nr` and of the low
/// half of the first argument in the kernel's `struct seccomp_data`; the architecture was judged before.
fn judged_by(verdict: u32) -> BpfProgram {
    let instruction = |code: u32, k: u32, jf: u8| sock_filter { code: code as u16, jt: 0, jf, k };
    vec![
        instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, libc::SYS_socket as u32, 3),
        instruction(BPF_LD | BPF_W | BPF_ABS, 16, 0),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, libc::AF_NETLINK as u32, 1),
        instruction(BPF_RET | BPF_K, verdict, 0),
        instruction(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0),
    ]
}
