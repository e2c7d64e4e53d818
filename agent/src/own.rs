//! Which files are a sandbox's own, asked by the agent before it hands one out and by the core before it
//! touches one; and which are nobody's.

use std::os::fd::AsFd;

/// See `statfs(2)`.
const TMPFS: i64 = 0x0102_1994;
const OVERLAY: i64 = 0x794c_7630;
const PROC: i64 = 0x9fa0;
const DEVPTS: i64 = 0x1cd1;

/// Whether an open file is on the sandbox's tmpfs or an overlay above it.
pub fn is_own(file: impl AsFd) -> rustix::io::Result<bool> {
    let kind = rustix::fs::fstatfs(file)?.f_type;
    Ok(kind == TMPFS || kind == OVERLAY)
}

/// Whether an open file is the kernel's and not on any disk: the only such file systems that a sandbox has.
pub fn is_of_kernel(file: impl AsFd) -> rustix::io::Result<bool> {
    let kind = rustix::fs::fstatfs(file)?.f_type;
    Ok(kind == PROC || kind == DEVPTS)
}
