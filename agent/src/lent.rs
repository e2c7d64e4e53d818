//! What the host's user lends to a sandbox: opened by the broker, put into its place by the clone.
//!
//! The path on the host is followed once, without a link on the way, and what is found must be what the core has seen
//! there. The path in the sandbox is followed when the sandbox's root is the root and nothing else of the host is left
//! to lead to.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use computesdk_agent::channel;
use computesdk_agent::protocol::{Access, LENDING, Lent, Plan};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use crate::files::{self, kind, open_at, split};
use crate::host::{HARMLESS, READ_ONLY, overlay_takes_mapped, restrict};
use crate::identity::Identity;
use crate::mounts;
use crate::owners;
use crate::stage::BOX;
use crate::step::{Result, Step};
use crate::tree::identity as identity_of;

/// Where in a sandbox nothing is lent, wherever a link may lead.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// What is lent to one sandbox, as mounts that are attached nowhere yet.
#[derive(Default)]
pub struct Loan {
    /// The folder that becomes the root.
    pub rootfs: Option<OwnedFd>,
    /// The mounts of the plan, in its order.
    pub mounts: Vec<OwnedFd>,
}

/// Whether anything is lent.
pub fn any(plan: &Plan) -> bool {
    plan.rootfs.is_some() || !plan.mounts.is_empty()
}

/// The name of a step that is about something lent, after the option that has named it.
pub fn step(lent: &Lent, what: &str) -> String {
    let option = if lent.target == "/" { "rootfs" } else { "mounts" };
    format!("{LENDING}`{option}`: {}: {what}", lent.source)
}

/// Opens everything that the plan lends, and passes it through the gate.
pub fn hand_over(plan: &Plan, identity: &Identity, pid: i32, gate: &OwnedFd) -> Result<()> {
    let rootfs = plan.rootfs.as_ref().map(|rootfs| open_rootfs(rootfs, identity, pid)).transpose()?;
    let mut owners = Owners::new(identity);
    let mounts = plan.mounts.iter().map(|lent| open_mount(lent, &mut owners));
    let mounts = mounts.collect::<Result<Vec<_>>>()?;
    let trees: Vec<BorrowedFd<'_>> = rootfs.iter().chain(&mounts).map(AsFd::as_fd).collect();
    channel::send(gate, &[], &trees).step("open the gate")
}

/// Takes what [`hand_over`] has passed.
pub fn receive(plan: &Plan, gate: &OwnedFd) -> Result<Loan> {
    let received = channel::receive(gate, &mut [0; 2], false).step("wait for the broker")?;
    let received = received.ok_or(Errno::PIPE).step("wait for the broker")?;
    if received.descriptors.len() != usize::from(plan.rootfs.is_some()) + plan.mounts.len() {
        return Err(Errno::MFILE).step("wait for the broker");
    }
    let mut descriptors = received.descriptors.into_iter();
    let rootfs = plan.rootfs.as_ref().and_then(|_| descriptors.next());
    Ok(Loan { rootfs, mounts: descriptors.collect() })
}

/// The namespaces by which the owners of mounts are the sandbox's user; each is made once.
struct Owners {
    user: Option<u32>,
    made: Vec<((u32, u32), File)>,
}

impl Owners {
    fn new(identity: &Identity) -> Self {
        Self { user: identity.user(), made: Vec::new() }
    }

    /// The one for this owner; `None` where the sandbox's user is the broker's own, and nobody is mapped.
    fn of(&mut self, owner: (u32, u32)) -> std::io::Result<Option<&File>> {
        let Some(user) = self.user else { return Ok(None) };
        let at = match self.made.iter().position(|(known, _)| *known == owner) {
            Some(at) => at,
            None => {
                self.made.push((owner, owners::namespace(owner, user)?));
                self.made.len() - 1
            }
        };
        Ok(Some(&self.made[at].1))
    }
}

fn open_mount(lent: &Lent, owners: &mut Owners) -> Result<OwnedFd> {
    // An overlay sees one file system only; anything else comes with what is mounted below it.
    let below =
        if lent.access == Access::Copy { OpenTreeFlags::empty() } else { OpenTreeFlags::AT_RECURSIVE };
    let tree = open(lent, below)?;
    let attributes = if lent.access == Access::Write { HARMLESS } else { READ_ONLY };
    let Some(namespace) = owners.of(lent.owner).step(step(lent, "map its owner"))? else {
        return restrict(&tree, attributes, None).step(step(lent, "restrict it")).map(|()| tree);
    };
    let mapped = match lent.access {
        Access::Copy if !overlay_takes_mapped() => Err(std::io::Error::from(Errno::OPNOTSUPP)),
        _ => restrict(&tree, attributes, Some(namespace)),
    };
    match mapped {
        // What can only be read can be read by whom its modes let.
        Err(_) if lent.access == Access::Read => {
            restrict(&tree, attributes, None).step(step(lent, "restrict it"))
        }
        mapped => mapped.step(step(lent, "map its owner")),
    }
    .map(|()| tree)
}

/// Its files belong to whom they belong on the host: root's are root's inside too, where that can be.
fn open_rootfs(lent: &Lent, identity: &Identity, pid: i32) -> Result<OwnedFd> {
    let tree = open(lent, OpenTreeFlags::empty())?;
    if identity.ranged() && overlay_takes_mapped() {
        let namespace = File::open(format!("/proc/{pid}/ns/user")).step("open the user namespace")?;
        if restrict(&tree, READ_ONLY, Some(&namespace)).is_ok() {
            return Ok(tree);
        }
    }
    restrict(&tree, READ_ONLY, None).step(step(lent, "restrict it")).map(|()| tree)
}

/// Opens what is lent as a mount of its own, if it still is what it was.
fn open(lent: &Lent, flags: OpenTreeFlags) -> Result<OwnedFd> {
    let found = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(CWD, &lent.source, found, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        .step(step(lent, "find it"))?;
    let stat = rustix::fs::fstat(&found).step(step(lent, "look at it"))?;
    let expected = if lent.directory { FileType::Directory } else { FileType::RegularFile };
    if identity_of(&stat) != lent.identity || kind(&stat) != expected {
        return Err(Errno::STALE).step(step(lent, "look at it"));
    }
    let flags = flags
        | OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(&found, c"", flags).step(step(lent, "open it"))
}

/// Lays the layers of those that are copies, while paths still lead to where layers are.
pub fn layer(plan: &Plan, trees: Vec<OwnedFd>) -> Result<Vec<OwnedFd>> {
    let copy = |(number, (lent, tree)): (usize, (&Lent, OwnedFd))| {
        if lent.access == Access::Copy { layered(lent, &tree, number) } else { Ok(tree) }
    };
    plan.mounts.iter().zip(trees).enumerate().map(copy).collect()
}

fn layered(lent: &Lent, tree: &OwnedFd, number: usize) -> Result<OwnedFd> {
    let [lower, upper, work, copy] =
        ["lower", "upper", "work", "copy"].map(|part| format!("{BOX}/{part}/lent{number}"));
    for path in [&lower, &upper, &work, &copy] {
        fs::create_dir_all(path).step("make directories")?;
    }
    // Attached first: Linux 6.1 takes a mapped directory below an overlay only by a path.
    mounts::attach(tree, &lower).step(step(lent, "mount it"))?;
    mounts::overlay(&lower, &upper, &work, &copy).step(step(lent, "mount an overlay on it"))?;
    rustix::mount::open_tree(CWD, &copy, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .step(step(lent, "open its overlay"))
}

/// Puts everything into its place. The root must be the sandbox's own by now.
pub fn place(plan: &Plan, trees: &[OwnedFd]) -> Result<()> {
    // All places are made before anything is mounted: none comes about in what is lent.
    for lent in &plan.mounts {
        make_place(lent).map_err(|(_, errno)| errno).step(step(lent, &format!("make {}", lent.target)))?;
    }
    for (lent, tree) in plan.mounts.iter().zip(trees) {
        let at =
            open_at(CWD, &lent.target, OFlags::PATH).step(step(lent, &format!("find {}", lent.target)))?;
        let path = fs::read_link(format!("/proc/self/fd/{}", at.as_raw_fd()));
        let path = path.step(step(lent, &format!("find {}", lent.target)))?;
        if path.parent().is_none() || KERNELS.iter().any(|kernels| path.starts_with(kernels)) {
            return Err(Errno::XDEV).step(step(lent, &format!("find {}", lent.target)));
        }
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(tree, c"", &at, c"", flags)
            .step(step(lent, &format!("mount it at {}", lent.target)))?;
    }
    Ok(())
}

fn make_place(lent: &Lent) -> files::Result<()> {
    match open_at(CWD, &lent.target, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        found => return found.map(drop).map_err(files::path),
    }
    if lent.directory {
        return files::make_directory(&lent.target);
    }
    let (parent, name) = split(&lent.target).map_err(files::path)?;
    files::make_directory(parent)?;
    let parent = open_at(CWD, parent, OFlags::PATH | OFlags::DIRECTORY).map_err(files::path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&parent, name, flags, files::NEW_FILE).map(drop).map_err(files::path)
}
