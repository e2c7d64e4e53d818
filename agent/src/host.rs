//! Directories of the host that a sandbox sees, opened by the broker: a clone in a user namespace may no
//! longer be able to reach them by path, and has no business to.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use computesdk_agent::protocol::{Bind, Plan};
use rustix::fs::CWD;
use rustix::mount::OpenTreeFlags;

use crate::identity::Identity;
use crate::step::{Result, Step, checked};

/// How a directory of the host gets into the sandbox.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is, read-only.
    Fixed,
    /// Below a layer that takes the sandbox's changes.
    Layered,
    /// Likewise, with its owners mapped: root's files are root's in the sandbox too.
    Mapped,
}

impl Form {
    /// The form as a byte of the message that opens the gate.
    pub fn to_byte(self) -> u8 {
        self as u8
    }

    /// See [`Form::to_byte`].
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Fixed, Self::Layered, Self::Mapped].into_iter().find(|form| form.to_byte() == byte)
    }
}

/// What holds for whatever is the host's.
pub const HARMLESS: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
/// What holds besides for what nobody may change.
pub const READ_ONLY: u64 = HARMLESS | libc::MOUNT_ATTR_RDONLY;

/// Opens every host directory of the plan as a mount that is attached nowhere yet.
pub fn open(plan: &Plan, identity: &Identity, pid: i32) -> Result<Vec<(Form, OwnedFd)>> {
    let namespace = match identity.ranged() {
        true => Some(File::open(format!("/proc/{pid}/ns/user")).step("open the user namespace")?),
        false => None,
    };
    plan.host.iter().map(|bind| open_one(bind, namespace.as_ref())).collect()
}

fn open_one(bind: &Bind, namespace: Option<&File>) -> Result<(Form, OwnedFd)> {
    let step = || format!("open {}", bind.source);
    if bind.overlay
        && let Ok(tree) = tree(&bind.source, OpenTreeFlags::empty())
    {
        // A file system that cannot map owners, such as an overlay, keeps them: they are unknown inside.
        if let Some(namespace) = namespace
            && overlay_takes_mapped()
            && restrict(&tree, READ_ONLY, Some(namespace)).is_ok()
        {
            return Ok((Form::Mapped, tree));
        }
        restrict(&tree, READ_ONLY, None).step(step())?;
        return Ok((Form::Layered, tree));
    }
    // A directory with other mounts below it, which an unprivileged user may not take apart, comes whole
    // and stays as it is: an overlay sees one file system only.
    let tree = tree(&bind.source, OpenTreeFlags::AT_RECURSIVE).step(step())?;
    restrict(&tree, READ_ONLY, None).step(step())?;
    Ok((Form::Fixed, tree))
}

/// Whether an overlay may stand above a directory with mapped owners: from Linux 5.19 on.
pub fn overlay_takes_mapped() -> bool {
    kernel_is_since((5, 19))
}

/// Whether the kernel is of this version or a newer one.
pub fn kernel_is_since((major, minor): (u32, u32)) -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

fn tree(path: &str, flags: OpenTreeFlags) -> rustix::io::Result<OwnedFd> {
    rustix::mount::open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | flags,
    )
}

/// Gives a tree of mounts these attributes; maps its owners into a user namespace if there is one.
pub fn restrict(tree: &OwnedFd, attributes: u64, namespace: Option<&File>) -> std::io::Result<()> {
    let mut attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    if let Some(namespace) = namespace {
        attributes.attr_set |= libc::MOUNT_ATTR_IDMAP;
        attributes.userns_fd = namespace.as_raw_fd() as u64;
    }
    // SAFETY: the pointers are valid for the call; an empty path means the descriptor itself.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}
