//! Mounting, one verb each.

use rustix::fs::CWD;
use rustix::io::Result;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, move_mount,
};

use crate::step::{Result as StepResult, Step};

/// What a file system that nobody may change is mounted with.
pub const READ_ONLY: MountFlags = MountFlags::RDONLY.union(MountFlags::NOSUID);
/// What a file system without devices or set-user-id programs is mounted with.
pub const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Stops mounts from travelling between this mount namespace and the one it came from.
pub fn make_private() -> StepResult<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).step("make mounts private")
}

/// Mounts a new tmpfs.
pub fn tmpfs(target: &str, options: &str) -> Result<()> {
    let options = std::ffi::CString::new(options).map_err(|_| rustix::io::Errno::INVAL)?;
    mount("tmpfs", target, "tmpfs", PLAIN, Some(options.as_c_str()))
}

/// Opens what is mounted at `target`, whatever becomes of the path.
pub fn open(target: &str) -> Result<std::os::fd::OwnedFd> {
    use rustix::fs::{Mode, OFlags, openat};
    openat(CWD, target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes `source` seen at `target`.
pub fn bind(source: &str, target: &str) -> Result<()> {
    mount_bind(source, target)
}

/// Makes `source`, and all that is mounted below it, seen at `target`.
pub fn bind_all(source: &str, target: &str) -> Result<()> {
    mount_bind_recursive(source, target)
}

/// Restricts what is mounted at `target`. Flags that a less privileged namespace may not clear are kept,
/// since they are found out first.
pub fn restrict(target: &str, flags: MountFlags) -> Result<()> {
    let found = rustix::fs::statvfs(target)?.f_flag;
    let mut kept = flags;
    for (statvfs, mounted) in [
        (rustix::fs::StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (rustix::fs::StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (rustix::fs::StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (rustix::fs::StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (rustix::fs::StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (rustix::fs::StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if found.contains(statvfs) {
            kept |= mounted;
        }
    }
    mount_remount(target, kept | MountFlags::BIND, "")
}

/// Makes a file system read-only wherever it is mounted.
pub fn freeze(target: &str) -> Result<()> {
    mount_remount(target, PLAIN | MountFlags::RDONLY, "")
}

/// Puts a detached mount at `target`.
pub fn attach(tree: &std::os::fd::OwnedFd, target: &str) -> Result<()> {
    move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Mounts a private writable layer over `lower` at `target`. Changes go to `upper`; `work` is the
/// kernel's. Without privileges an overlay keeps its notes in user attributes (`userxattr`, Linux 5.11).
pub fn overlay(lower: &str, upper: &str, work: &str, target: &str) -> Result<()> {
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work},userxattr");
    let options = std::ffi::CString::new(options).map_err(|_| rustix::io::Errno::INVAL)?;
    mount("overlay", target, "overlay", PLAIN, Some(options.as_c_str()))
}

/// Mounts a new /proc, devpts and the like.
pub fn virtual_fs(kind: &str, target: &str, flags: MountFlags, options: &str) -> Result<()> {
    let options = std::ffi::CString::new(options).map_err(|_| rustix::io::Errno::INVAL)?;
    mount(kind, target, kind, flags, Some(options.as_c_str()))
}
