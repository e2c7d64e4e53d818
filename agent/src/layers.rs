//! What was kept of sandboxes, for others to be made from: each a file system of the broker's, of a bounded size, that
//! is a lower layer of every sandbox made from it.
//!
//! Owners in there are those inside of a sandbox (1000 is the user). A mount shows them as the ids of the sandbox that
//! it is for. The kernel keeps a layer as long as a sandbox stands on it, whatever the broker does.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use computesdk_agent::channel;
use computesdk_agent::protocol::{LAYERS, Plan, SNAPSHOT};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, UnmountFlags};

use crate::host::{HARMLESS, READ_ONLY, kernel_is_since, restrict};
use crate::identity::Identity;
use crate::keep;
use crate::mounts;
use crate::stage::{BOX, KEPT};
use crate::step::{Result, Step};

/// A tmpfs maps owners since Linux 6.3, and since 6.6 has the attributes that an overlay needs to remove a directory
/// of a lower layer.
const SINCE: (u32, u32) = (6, 6);

/// What a file costs in memory beside what it holds.
const PER_FILE: u64 = 1024;

/// The layers of a broker.
#[derive(Default)]
pub struct Layers {
    /// Those that are complete, and those that are being made, by whom.
    all: HashMap<u32, Option<i32>>,
    /// Whether there is a place for them.
    placed: bool,
}

/// How a layer came out.
pub struct Outcome {
    pub layer: u32,
    /// Bytes of memory that it takes, or what the kernel said.
    pub result: std::result::Result<u64, i32>,
}

impl Layers {
    /// Begins to keep what a sandbox has written, as long as it does not take more than this.
    pub fn keep(&mut self, layer: u32, files: OwnedFd, identity: &Identity, most: (u64, u64)) -> Result<()> {
        if !kernel_is_since(SINCE) {
            return Err(Errno::OPNOTSUPP).step("keep a snapshot");
        }
        if !self.placed {
            mounts::tmpfs(KEPT, "mode=0700,size=1m").step("mount a tmpfs")?;
            self.placed = true;
        }
        let at = place(layer);
        fs::create_dir(&at).step("make a mount point")?;
        // None would be no limit.
        let options = format!("mode=0755,size={},nr_inodes={}", most.0.max(1), most.1.max(1));
        let started = mounts::tmpfs(&at, &options).step("mount a tmpfs").and_then(|()| {
            keep::start(files, identity, |user| open(layer, HARMLESS, user)).inspect_err(|_| detach(layer))
        });
        let pid = started.inspect_err(|_| drop(fs::remove_dir(&at)))?;
        self.all.insert(layer, Some(pid));
        Ok(())
    }

    /// A process has ended: whether it kept something, and what.
    pub fn ended(&mut self, pid: i32, status: i32) -> Option<Outcome> {
        let (layer, maker) = self.all.iter_mut().find(|(_, maker)| **maker == Some(pid))?;
        *maker = None;
        let layer = *layer;
        let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { libc::EINTR };
        let result = if code == 0 { size(layer).map_err(Errno::raw_os_error) } else { Err(code) };
        if result.is_err() {
            self.forget(layer);
        }
        Some(Outcome { layer, result })
    }

    /// Lets go of a layer, complete or not.
    pub fn forget(&mut self, layer: u32) {
        let Some(maker) = self.all.remove(&layer) else { return };
        if let Some(pid) = maker {
            // SAFETY: a plain system call on a child that has not been waited for: the number is its own until then.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        detach(layer);
    }

    /// Passes the layers of a sandbox through its gate.
    pub fn hand_over(&self, plan: &Plan, identity: &Identity, pid: i32, gate: &OwnedFd) -> Result<()> {
        let user = match identity.ranged() {
            true => Some(File::open(format!("/proc/{pid}/ns/user")).step("open the user namespace")?),
            false => None,
        };
        let open = |layer: &u32| match self.all.get(layer) {
            Some(None) => open(*layer, READ_ONLY, user.as_ref()).step("open a snapshot"),
            _ => Err(Errno::NOENT).step(SNAPSHOT),
        };
        let trees = plan.layers.iter().map(open).collect::<Result<Vec<_>>>()?;
        let trees: Vec<BorrowedFd<'_>> = trees.iter().map(AsFd::as_fd).collect();
        channel::send(gate, &[], &trees).step("open the gate")
    }
}

fn place(layer: u32) -> String {
    format!("{KEPT}/{layer}")
}

fn detach(layer: u32) {
    let _ = rustix::mount::unmount(place(layer), UnmountFlags::DETACH);
    let _ = fs::remove_dir(place(layer));
}

fn size(layer: u32) -> rustix::io::Result<u64> {
    let stat = rustix::fs::statvfs(place(layer))?;
    Ok((stat.f_blocks - stat.f_bfree) * stat.f_frsize + (stat.f_files - stat.f_ffree) * PER_FILE)
}

/// Opens a layer as a mount of its own, with its owners as they are in a user namespace.
fn open(layer: u32, attributes: u64, user: Option<&File>) -> std::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, place(layer), flags)?;
    restrict(&tree, attributes, user).map(|()| tree)
}

/// Takes what [`Layers::hand_over`] has passed, and gives the places of the layers, the uppermost first.
pub fn receive(plan: &Plan, gate: &OwnedFd) -> Result<Vec<OwnedFd>> {
    if plan.layers.is_empty() {
        return Ok(Vec::new());
    }
    let received = channel::receive(gate, &mut [0; 2], false).step("wait for the broker")?;
    let received = received.ok_or(Errno::PIPE).step("wait for the broker")?;
    if received.descriptors.len() != plan.layers.len() || plan.layers.len() > LAYERS {
        return Err(Errno::MFILE).step("wait for the broker");
    }
    Ok(received.descriptors)
}

/// Attaches layers in the box of a sandbox, the uppermost first: where they are.
pub fn attach(trees: &[OwnedFd]) -> Result<Vec<String>> {
    let attach = |(number, tree)| {
        let at = format!("{BOX}/lower/layer{number}");
        fs::create_dir(&at).step("make directories")?;
        mounts::attach(tree, &at).step("mount a snapshot").map(|()| at)
    };
    trees.iter().enumerate().map(attach).collect()
}

/// The directories of a name in these layers, the uppermost first.
pub fn of<'a>(layers: &'a [String], name: &'a str) -> impl Iterator<Item = String> + 'a {
    layers.iter().map(move |layer| format!("{layer}/{name}")).filter(|path| fs::exists(path).unwrap_or(false))
}

/// Gives a new uppermost directory the mode of the one below it.
pub fn adopt(below: &str, new: &str) -> std::io::Result<()> {
    fs::set_permissions(new, fs::metadata(below)?.permissions())
}
