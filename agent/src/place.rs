//! Where something new goes: an open directory, and a name in it.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use computesdk_agent::own::is_of_kernel;
use computesdk_agent::protocol::Trouble;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::{Errno, Result};

use crate::files::{self, hidden_name, kind, make_directory, open_at, split};
use crate::tree::{Tree, identity};

/// A place for a file or a directory. A link of that name is a thing in the way, and never followed.
pub struct Place {
    /// The directory that it is in.
    pub directory: OwnedFd,
    name: CString,
    /// A name beside it that nobody can guess, for what is not complete.
    pub hidden: CString,
}

/// Says that an error is about the place.
pub fn destination(errno: Errno) -> (Trouble, Errno) {
    (Trouble::Destination, errno)
}

impl Place {
    /// The place at a path. Makes the directories above it; /proc is no place.
    pub fn make(path: &str) -> files::Result<Self> {
        let (parent, name) = split(path.trim_end_matches('/')).map_err(destination)?;
        make_directory(parent).map_err(|(_, errno)| destination(errno))?;
        Self::in_directory(parent, name).map_err(destination)
    }

    fn in_directory(parent: &str, name: &str) -> Result<Self> {
        let directory = open_at(CWD, parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
        if is_of_kernel(&directory)? {
            return Err(Errno::ROFS);
        }
        let text = |name: &str| CString::new(name).map_err(|_| Errno::INVAL);
        Ok(Self { directory, name: text(name)?, hidden: text(&hidden_name()?)? })
    }

    /// Whether the place of this path would be in a certain directory, or below it. Makes nothing, and takes
    /// no longer than the kernel takes to find the path.
    pub fn is_below(path: &str, top: &Stat) -> Result<bool> {
        let mut above = path.trim_end_matches('/');
        let mut at = loop {
            above = match above.rsplit_once('/') {
                Some((parent, _)) if !parent.is_empty() => parent,
                _ => "/",
            };
            match open_at(CWD, above, OFlags::PATH | OFlags::DIRECTORY) {
                Err(Errno::NOENT | Errno::NOTDIR) if above != "/" => {}
                opened => break opened?,
            }
        };
        let mut here = rustix::fs::fstat(&at)?;
        loop {
            if identity(&here) == identity(top) {
                return Ok(true);
            }
            at = rustix::fs::openat(
                &at,
                c"..",
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            let above = rustix::fs::fstat(&at)?;
            if identity(&above) == identity(&here) {
                return Ok(false);
            }
            here = above;
        }
    }

    /// Whether it is this name in this directory.
    pub fn is(&self, parent: &OwnedFd, name: &CStr) -> Result<bool> {
        let (own, other) = (rustix::fs::fstat(&self.directory)?, rustix::fs::fstat(parent)?);
        Ok(identity(&own) == identity(&other) && *self.name == *name)
    }

    /// What is there.
    pub fn stat(&self) -> Result<Option<Stat>> {
        match rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Refuses a place that is taken: a file takes that of anything but a directory, a directory takes none.
    pub fn refuse_taken(&self, directory: bool) -> Result<()> {
        match self.stat()? {
            Some(stat) if directory || kind(&stat) == FileType::Directory => Err(Errno::EXIST),
            _ => Ok(()),
        }
    }

    /// Puts something there by a rename, unless the place is taken.
    pub fn put(&self, parent: &OwnedFd, name: &CStr, directory: bool) -> Result<()> {
        let flags = if directory { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
        match rustix::fs::renameat_with(parent, name, &self.directory, &self.name, flags) {
            Err(Errno::ISDIR | Errno::NOTEMPTY) => Err(Errno::EXIST),
            result => result,
        }
    }

    /// What has its hidden name.
    pub fn rest(&self) -> Result<Tree> {
        let parent = rustix::io::fcntl_dupfd_cloexec(&self.directory, 0)?;
        Ok(Tree { parent, name: self.hidden.clone() })
    }
}
