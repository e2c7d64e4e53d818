//! Keeping what a sandbox has written: a copy of its root, of the layers above the host's directories, and of what is in
//! place of those that are hidden.
//!
//! Commands go on meanwhile, and may replace or move whatever this looks at. It has no more rights than the sandbox's
//! process 1 once had: none over what is the host's. Everything is opened by one name, in a directory that is open
//! already, never through a link; what is gone is not copied. The size of what is kept is bounded by the file system
//! that it is written to, and the time by whoever asked.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use computesdk_agent::channel;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::files::kind;
use crate::identity::{Identity, USER, become_user};
use crate::privileges;
use crate::sandbox::HIDDEN;
use crate::step::{Result as StepResult, Step, checked};
use crate::tree::{self, Identity as Itself, Tree, each, identity, open_above, open_below};

/// Bytes copied at once.
const CHUNK: usize = 256 * 1024;

/// What is kept of a mode: of directories whose group their files get, of files nothing that runs them as another.
const DIRECTORY: u32 = 0o3777;
const FILE: u32 = 0o1777;

/// Where a file with several names is kept while its others are looked for.
const LINKS: &CStr = c"links";

/// How an overlay says that a directory hides what is below it, and the one value of it that is kept. Nothing else that
/// an overlay would obey ever is.
const OPAQUE: &CStr = c"user.overlay.opaque";
const HIDES: &[u8] = b"y";

/// The layers that a sandbox can have above directories of the host.
const UPPERS: &str = "upper";

/// Starts a process that keeps `files`, what a sandbox has written, in what `open` opens, with owners as they are in
/// the namespace of that process. Its exit code is 0 or an `errno`.
pub fn start(
    files: OwnedFd,
    identity: &Identity,
    open: impl FnOnce(Option<&File>) -> std::io::Result<OwnedFd>,
) -> StepResult<i32> {
    let (gate, child_gate) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .step("make a socket")?;
    let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and a stack this is a fork, and the broker has one thread.
    let pid = checked(unsafe { libc::syscall(libc::SYS_clone, flags as libc::c_ulong, 0, 0, 0, 0) })
        .step("start a process")? as i32;
    if pid == 0 {
        let code = be_keeper(&files, &child_gate, identity).map_or_else(Errno::raw_os_error, |()| 0);
        // SAFETY: ends the child without running what the broker has registered for its own end.
        unsafe { libc::_exit(code) }
    }
    drop(child_gate);
    let ready = identity.apply(pid).and_then(|()| {
        let user = match identity.ranged() {
            true => Some(File::open(format!("/proc/{pid}/ns/user")).step("open the user namespace")?),
            false => None,
        };
        let to = open(user.as_ref()).step("open a snapshot")?;
        channel::send(&gate, &[], &[to.as_fd()]).step("open the gate")
    });
    ready.map(|()| pid).inspect_err(|_| {
        // SAFETY: a plain system call on a child that has not been waited for: the number is its own until then.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    })
}

fn be_keeper(files: &OwnedFd, gate: &OwnedFd, identity: &Identity) -> Result<()> {
    let failed = |failure: computesdk_agent::protocol::Failure| Errno::from_raw_os_error(failure.errno);
    privileges::close_all_but(&[files.as_fd(), gate.as_fd()]).map_err(failed)?;
    let received = channel::receive(gate, &mut [0; 2], false)?;
    let to = received.and_then(|mut received| received.descriptors.pop()).ok_or(Errno::PIPE)?;
    become_user(identity.ranged()).map_err(failed)?;
    privileges::die_with_the_broker().map_err(failed)?;
    // Modes are those that are asked for.
    rustix::process::umask(Mode::empty());
    keep(files, &to)
}

/// Copies every part of what a sandbox has written.
fn keep(files: &OwnedFd, to: &OwnedFd) -> Result<()> {
    rustix::fs::mkdirat(to, LINKS, Mode::RWXU)?;
    let links = open_below(to, LINKS)?;
    let mut keeper = Keeper { links, linked: HashSet::new(), buffer: vec![0; CHUNK], layer: true };
    let uppers = find(files, UPPERS)?;
    // What is lent stays with who lends it.
    let layers = names(&uppers, |name| !name.starts_with(b"lent"))?;
    for name in &layers {
        keeper.copy(open_below(&uppers, name)?, to, name)?;
    }
    // What stands on nothing is no layer yet, and nothing in there is anything to an overlay.
    keeper.layer = false;
    let files = find(files, ".")?;
    for name in names(&files, |name| name == b"root" || name.starts_with(HIDDEN.as_bytes()))? {
        if !layers.contains(&name) {
            keeper.copy(open_below(&files, &name)?, to, &name)?;
        }
    }
    tree::remove(&Tree { parent: to.try_clone().map_err(|_| Errno::MFILE)?, name: LINKS.to_owned() })
}

fn names(of: &OwnedFd, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    each(
        of,
        |errno| errno,
        |name| {
            if wanted(name.to_bytes()) {
                names.push(name.to_owned());
            }
            Ok(())
        },
    )?;
    Ok(names)
}

/// Opens a directory of a sandbox's own file system, and nothing that is mounted there.
fn find(files: &OwnedFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(files, name, flags, Mode::empty(), resolve)
}

struct Keeper {
    links: OwnedFd,
    /// The files that are in there, by their numbers, which this file system never gives away twice.
    linked: HashSet<u64>,
    buffer: Vec<u8>,
    /// Whether the kernel's notes of an overlay are in this tree.
    layer: bool,
}

/// A directory on the way.
struct Level {
    name: CString,
    from: Itself,
    stat: Stat,
    opaque: bool,
    /// Directories in it that are still to be copied.
    left: Vec<CString>,
}

impl Keeper {
    /// Copies a tree.
    fn copy(&mut self, top: OwnedFd, at: &OwnedFd, name: &CStr) -> Result<()> {
        let mut from = duplicate(&top)?;
        let mut to = make_directory(at, name)?;
        let mut levels = vec![self.enter(name, &from, &to)?];
        while let Some(level) = levels.last_mut() {
            if let Some(name) = level.left.pop() {
                let below = match open_below(&from, &name) {
                    Ok(below) => below,
                    // Gone, or a directory no more.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                    Err(errno) => return Err(errno),
                };
                to = make_directory(&to, &name)?;
                from = below;
                levels.push(self.enter(&name, &from, &to)?);
            } else {
                leave(&mut levels, &mut to)?;
                if let Some(above) = levels.last() {
                    from = match open_above(&from, above.from) {
                        Ok(above) => above,
                        Err(_) => find_again(&top, &mut levels, &mut to)?,
                    };
                }
            }
        }
        Ok(())
    }

    /// Copies what is in a directory but for its directories, which are noted for later.
    fn enter(&mut self, name: &CStr, from: &OwnedFd, to: &OwnedFd) -> Result<Level> {
        let stat = rustix::fs::fstat(from)?;
        let opaque = self.layer && hides(from);
        let mut level =
            Level { name: name.to_owned(), from: identity(&stat), stat, opaque, left: Vec::new() };
        each(
            from,
            |errno| errno,
            |name| match self.copy_entry(from, name, to, &mut level.left) {
                Err(Errno::NOENT) => Ok(()),
                copied => copied,
            },
        )?;
        Ok(level)
    }

    fn copy_entry(
        &mut self,
        from: &OwnedFd,
        name: &CStr,
        to: &OwnedFd,
        directories: &mut Vec<CString>,
    ) -> Result<()> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match kind(&stat) {
            FileType::Directory => directories.push(name.to_owned()),
            FileType::RegularFile => return self.copy_file(from, name, to),
            FileType::Symlink => {
                let text = match rustix::fs::readlinkat(from, name, Vec::new()) {
                    // It is something else by now.
                    Err(Errno::INVAL) => return Ok(()),
                    text => text?,
                };
                rustix::fs::symlinkat(text, to, name)?;
                set_owner(to, name, &stat)?;
                rustix::fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            FileType::Fifo => {
                let mode = Mode::from_raw_mode(stat.st_mode & FILE);
                rustix::fs::mknodat(to, name, FileType::Fifo, mode, 0)?;
                set_owner(to, name, &stat)?;
                rustix::fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            // How an overlay says that a name below is hidden: a device with no number, which is none.
            FileType::CharacterDevice if self.layer && stat.st_rdev == 0 => {
                rustix::fs::mknodat(to, name, FileType::CharacterDevice, Mode::empty(), 0)?;
            }
            // A socket is nothing without who listens, and other devices there cannot be.
            _ => {}
        }
        Ok(())
    }

    fn copy_file(&mut self, from: &OwnedFd, name: &CStr, to: &OwnedFd) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(from, name, flags, Mode::empty()) {
            // It is something else by now.
            Err(Errno::LOOP | Errno::NXIO) => return Ok(()),
            file => file?,
        };
        let stat = rustix::fs::fstat(&file)?;
        if kind(&stat) != FileType::RegularFile {
            return Ok(());
        }
        if stat.st_nlink < 2 {
            return self.copy_content(&file, &stat, to, name);
        }
        let number = CString::new(stat.st_ino.to_string()).map_err(|_| Errno::INVAL)?;
        if self.linked.insert(stat.st_ino) {
            let links = duplicate(&self.links)?;
            self.copy_content(&file, &stat, &links, &number)?;
        }
        rustix::fs::linkat(&self.links, &number, to, name, AtFlags::empty())
    }

    /// Copies an open file to a new one.
    fn copy_content(&mut self, from: &OwnedFd, stat: &Stat, at: &OwnedFd, name: &CStr) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = rustix::fs::openat(at, name, flags, Mode::from_raw_mode(stat.st_mode & FILE))?;
        let size = stat.st_size as u64;
        if stat.st_blocks as u64 * 512 >= size {
            self.copy_range(from, 0, size, &to)?;
        } else {
            self.copy_data(from, size, &to)?;
            rustix::fs::ftruncate(&to, size)?;
        }
        set_owner(&to, c"", stat)?;
        rustix::fs::futimens(&to, &times(stat))
    }

    /// Copies what a file holds, and leaves out its holes.
    fn copy_data(&mut self, from: &OwnedFd, size: u64, to: &OwnedFd) -> Result<()> {
        let mut at = 0;
        while at < size {
            let begin = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Err(Errno::NXIO) => break,
                begin => begin?,
            };
            let end = match rustix::fs::seek(from, SeekFrom::Hole(begin)) {
                // It has become shorter meanwhile.
                Err(Errno::NXIO) => break,
                end => end?.min(size),
            };
            if begin >= end {
                break;
            }
            self.copy_range(from, begin, end, to)?;
            at = end;
        }
        Ok(())
    }

    fn copy_range(&mut self, from: &OwnedFd, begin: u64, end: u64, to: &OwnedFd) -> Result<()> {
        let mut at = begin;
        while at < end {
            let most = (end - at).min(CHUNK as u64) as usize;
            let read = rustix::io::pread(from, &mut self.buffer[..most], at)?;
            if read == 0 {
                break;
            }
            let mut rest = &self.buffer[..read];
            while !rest.is_empty() {
                let written = rustix::io::pwrite(to, rest, at)?;
                rest = &rest[written..];
                at += written as u64;
            }
        }
        Ok(())
    }
}

/// Gives the innermost directory what its original has, and goes up from there.
fn leave(levels: &mut Vec<Level>, to: &mut OwnedFd) -> Result<()> {
    let Some(done) = levels.pop() else { return Ok(()) };
    // Found before the mode is set, which may forbid to look for it.
    let above = if levels.is_empty() { None } else { Some(open_below(to, c"..")?) };
    if done.opaque {
        rustix::fs::fsetxattr(&*to, OPAQUE, HIDES, XattrFlags::empty())?;
    }
    set_owner(to, c"", &done.stat)?;
    rustix::fs::fchmod(&*to, Mode::from_raw_mode(done.stat.st_mode & DIRECTORY))?;
    rustix::fs::futimens(&*to, &times(&done.stat))?;
    if let Some(above) = above {
        *to = above;
    }
    Ok(())
}

/// Where the walk was when a directory was moved away under it: as far down as everything is what it was. What is not
/// there any more is not copied any further.
fn find_again(top: &OwnedFd, levels: &mut Vec<Level>, to: &mut OwnedFd) -> Result<OwnedFd> {
    let (mut from, mut found) = (duplicate(top)?, 1);
    for level in levels.iter().skip(1) {
        let Ok(below) = open_below(&from, &level.name) else { break };
        if identity(&rustix::fs::fstat(&below)?) != level.from {
            break;
        }
        (from, found) = (below, found + 1);
    }
    while levels.len() > found {
        leave(levels, to)?;
    }
    Ok(from)
}

fn duplicate(fd: &OwnedFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

/// Makes a directory that is nobody else's yet.
fn make_directory(at: &OwnedFd, name: &CStr) -> Result<OwnedFd> {
    rustix::fs::mkdirat(at, name, Mode::RWXU).and_then(|()| open_below(at, name))
}

fn hides(directory: &OwnedFd) -> bool {
    let mut value = [0; HIDES.len() + 1];
    rustix::fs::fgetxattr(directory, OPAQUE, &mut value[..]) == Ok(HIDES.len()) && value.starts_with(HIDES)
}

/// Gives a file its owner, if that is another than whoever makes it: the user.
fn set_owner(at: &OwnedFd, name: &CStr, stat: &Stat) -> Result<()> {
    if (stat.st_uid, stat.st_gid) == (USER, USER) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    rustix::fs::chownat(at, name, Some(uid), Some(gid), flags)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds as _, tv_nsec: nanoseconds as _ };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
