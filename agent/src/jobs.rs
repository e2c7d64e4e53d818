//! Work of unknown length, each in a child of its own, so that process 1 answers everybody else meanwhile:
//! listing a directory, removing a tree, copying what the core had better not touch.
//!
//! To the core a job looks like a command: a process with output on a pipe, whose exit code is an `errno`.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use computesdk_agent::protocol::encode;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::files::entry_of;
use crate::spawn::{Started, mark_self};

/// What to do.
pub enum Job {
    /// Writes the content of an open file.
    Copy(OwnedFd),
    /// Writes the entries of a directory.
    List(OwnedFd),
    /// Removes a directory and everything below it.
    Remove(Tree),
}

/// A directory by its parent and its name.
pub struct Tree {
    pub parent: OwnedFd,
    pub name: CString,
}

/// Starts a job under the number `id`.
pub fn start(id: u32, link: &OwnedFd, job: Job) -> Result<Started> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
    // SAFETY: process 1 has one thread, so the child is a whole process.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::AGAIN)),
        0 => {
            mark_self(id);
            // SAFETY: the child has no use for the link, and must not keep it open.
            unsafe { libc::close(link.as_raw_fd()) };
            drop(read);
            let result = match job {
                Job::Copy(file) => copy(&file, write),
                Job::List(directory) => list(directory, write),
                Job::Remove(tree) => remove(tree),
            };
            let code = result.map_or_else(Errno::raw_os_error, |()| 0);
            // SAFETY: ends the child without running what process 1 has registered for its own end.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(Started { pid, descriptors: vec![read] }),
    }
}

fn copy(from: &OwnedFd, to: OwnedFd) -> Result<()> {
    let mut to = File::from(to);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match rustix::io::read(from, &mut buffer)? {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read]).map_err(errno)?,
        }
    }
}

fn list(directory: OwnedFd, to: OwnedFd) -> Result<()> {
    let mut to = BufWriter::with_capacity(64 * 1024, File::from(to));
    let mut entries = Dir::read_from(&directory)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // Gone between the listing and the look at it: not there.
        if let Ok(entry) = entry_of(directory.as_fd(), name) {
            let bytes = encode(&entry);
            to.write_all(&(bytes.len() as u32).to_le_bytes()).map_err(errno)?;
            to.write_all(&bytes).map_err(errno)?;
        }
    }
    to.flush().map_err(errno)
}

/// Removes a tree with two descriptors, however deep it is: down by name, up by `..`.
fn remove(tree: Tree) -> Result<()> {
    let mut names = vec![tree.name];
    let mut at = open_below(&tree.parent, &names[0])?;
    loop {
        match first_directory(&at)? {
            Some(name) => {
                at = open_below(&at, &name)?;
                names.push(name);
            }
            None => {
                let Some(name) = names.pop() else { return Ok(()) };
                if names.is_empty() {
                    return rustix::fs::unlinkat(&tree.parent, &name, AtFlags::REMOVEDIR);
                }
                let parent = open_below(&at, c"..")?;
                rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR)?;
                at = parent;
            }
        }
    }
}

/// Unlinks entries up to the first that is a directory with something in it.
fn first_directory(at: &OwnedFd) -> Result<Option<CString>> {
    let mut entries = Dir::read_from(at)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR) => {}
            Err(errno) => return Err(errno),
        }
        match rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY) => return Ok(Some(name.to_owned())),
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

fn open_below(at: &OwnedFd, name: &CStr) -> Result<OwnedFd> {
    rustix::fs::openat(
        at,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
