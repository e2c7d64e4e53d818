//! Giving a file, a directory or a link another path.

use std::ffi::CString;

use rustix::fs::{AtFlags, CWD, FileType, OFlags};
use rustix::io::Errno;

use crate::copy::{Copy, writable};
use crate::files::{Result, kind, open_at, path, split};
use crate::place::{Place, destination};
use crate::tree::{Tree, identity};

/// Gives what is at `from` the path `to`. Where the kernel cannot (from one file system to another, or a
/// directory of an overlay's lower layer), the copy that does it instead is given back, for a job.
pub fn rename(from: &str, to: &str) -> Result<Option<Copy>> {
    let (parent, name) = split(from.trim_end_matches('/')).map_err(path)?;
    let parent = open_at(CWD, parent, OFlags::RDONLY | OFlags::DIRECTORY).map_err(path)?;
    let name = CString::new(name).map_err(|_| path(Errno::INVAL))?;
    let stat = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(path)?;
    let directory = kind(&stat) == FileType::Directory;
    if directory && Place::is_below(to, &stat).map_err(destination)? {
        return Err(path(Errno::INVAL));
    }
    let place = Place::make(to)?;
    if place.is(&parent, &name).map_err(destination)? {
        return Ok(None);
    }
    let there = place.stat().map_err(destination)?;
    if !directory && there.is_some_and(|there| identity(&there) == identity(&stat)) {
        // Two names of one file: the kernel would leave both.
        return rustix::fs::unlinkat(&parent, &name, AtFlags::empty()).map(|()| None).map_err(path);
    }
    // Whether it may be taken away at all.
    let leave = || writable(&parent).map_err(path);
    match place.put(&parent, &name, directory) {
        Ok(()) => Ok(None),
        Err(Errno::XDEV) => {
            leave()?;
            Copy::instead(Tree { parent, name }, &stat, to).map(Some)
        }
        Err(errno @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {
            leave()?;
            Err(destination(errno))
        }
        Err(errno @ (Errno::EXIST | Errno::NOSPC | Errno::DQUOT)) => Err(destination(errno)),
        Err(errno) => Err(path(errno)),
    }
}
