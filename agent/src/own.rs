//! Which files are a sandbox's own, asked by the agent before it hands one out and by the core before it
//! touches one.

use std::os::fd::AsFd;

/// See `statfs(2)`.
const TMPFS: i64 = 0x0102_1994;
const OVERLAY: i64 = 0x794c_7630;

/// Whether an open file is on the sandbox's tmpfs or an overlay above it.
pub fn is_own(file: impl AsFd) -> rustix::io::Result<bool> {
    let kind = rustix::fs::fstatfs(file)?.f_type;
    Ok(kind == TMPFS || kind == OVERLAY)
}
