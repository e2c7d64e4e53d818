//! Whose files are: user namespaces by which a mount shows the files of one user of the host as another's.

use std::fs::{self, File};
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::step::checked;

/// A namespace in which the files of the user and group `owner` belong to the id `user` of the host, and what `user`
/// makes there belongs to `owner`. Everybody else's files are nobody's.
///
/// A namespace needs a process to come about. This one waits for the end of a pipe, so it lives no longer than this
/// call, however that ends.
pub fn namespace(owner: (u32, u32), user: u32) -> std::io::Result<File> {
    let (end, held) = pipe_with(PipeFlags::CLOEXEC)?;
    let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and a stack this is a fork, and the broker has one thread.
    let pid = checked(unsafe { libc::syscall(libc::SYS_clone, flags as libc::c_ulong, 0, 0, 0, 0) })? as i32;
    if pid == 0 {
        wait_for(&end, held)
    }
    let namespace = map(pid, owner, user);
    drop(held);
    let mut status = 0;
    // SAFETY: a plain system call with a valid out pointer, on a child that nobody else waits for.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    namespace
}

fn map(pid: i32, (uid, gid): (u32, u32), user: u32) -> std::io::Result<File> {
    fs::write(format!("/proc/{pid}/uid_map"), format!("{uid} {user} 1"))?;
    fs::write(format!("/proc/{pid}/gid_map"), format!("{gid} {user} 1"))?;
    File::open(format!("/proc/{pid}/ns/user"))
}

fn wait_for(end: &OwnedFd, held: OwnedFd) -> ! {
    drop(held);
    let _ = rustix::io::read(end, &mut [0; 1]);
    // SAFETY: ends the child without running what the broker has registered for its own end.
    unsafe { libc::_exit(0) }
}
