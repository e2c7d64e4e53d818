//! Work of unknown length, each in a child of its own, so that process 1 answers everybody else meanwhile:
//! listing a directory, removing and copying trees, reading what the core had better not touch.
//!
//! To the core a job looks like a command: a process with output on a pipe, whose exit code is an `errno`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};

use computesdk_agent::protocol::{self, Blob, encode};
use rustix::fs::OFlags;
use rustix::io::{Errno, Result};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::copy::{Copy, Halt};
use crate::files::entry_of;
use crate::links::Links;
use crate::spawn::{Started, mark_self};
use crate::tree::{self, Tree, each};

/// The longest path that Linux takes.
const PATH_MAX: usize = 4096;

/// What to do.
pub enum Job {
    /// Writes the content of an open file.
    Read(OwnedFd),
    /// Writes the entries of a directory.
    List(OwnedFd),
    /// Removes a directory and everything below it.
    Remove(Tree),
    /// Makes a copy, and writes why it could not.
    Copy(Copy),
    /// Removes what is left of a copy whose job was killed.
    Clear(Tree),
}

impl Job {
    /// What somebody has to remove if the job is killed.
    pub fn rest(&self) -> Result<Option<Tree>> {
        match self {
            Self::Copy(copy) => copy.rest().map(Some),
            Self::Clear(tree) => tree.again().map(Some),
            Self::Read(_) | Self::List(_) | Self::Remove(_) => Ok(None),
        }
    }
}

/// Starts a job under the number `id`.
pub fn start(id: u32, links: &Links, job: Job) -> Result<Started> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
    // SAFETY: process 1 has one thread, so the child is a whole process.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::AGAIN)),
        0 => {
            mark_self(id);
            // It has no use for them, and must not keep them open.
            links.close_in_child();
            drop(read);
            let result = match job {
                Job::Read(file) => pass(&file, write),
                Job::List(directory) => list(directory, write),
                Job::Remove(tree) => tree::remove(&tree),
                Job::Copy(copy) => make(&copy, write),
                Job::Clear(tree) => tree::clear(&tree),
            };
            let code = result.map_or_else(Errno::raw_os_error, |()| 0);
            // SAFETY: ends the child without running what process 1 has registered for its own end.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(Started { pid, descriptors: vec![read] }),
    }
}

fn pass(from: &OwnedFd, to: OwnedFd) -> Result<()> {
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
    each(
        &directory,
        |errno| errno,
        |name| {
            // Gone between the listing and the look at it: not there.
            let Ok(entry) = entry_of(directory.as_fd(), name) else { return Ok(()) };
            let bytes = encode(&entry);
            to.write_all(&(bytes.len() as u32).to_le_bytes()).map_err(errno)?;
            to.write_all(&bytes).map_err(errno)
        },
    )?;
    to.flush().map_err(errno)
}

fn make(copy: &Copy, to: OwnedFd) -> Result<()> {
    copy.make().map_err(|Halt { trouble, errno, mut below }| {
        // Deeper than any path: the error tells of the whole.
        if below.len() > PATH_MAX {
            below.clear();
        }
        let halt = protocol::Halt { trouble, below: Blob(below) };
        let _ = File::from(to).write_all(&encode(&halt));
        errno
    })
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
