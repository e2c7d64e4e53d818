//! Copies of files and trees: made under a hidden name beside their place, and put there when complete.
//!
//! Commands race with this, and may replace or move whatever it looks at. So everything below the source
//! and below the copy is opened by one name, in a directory that is open already, never through a link, and
//! what it is is asked again once it is open.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use computesdk_agent::own::is_own;
use computesdk_agent::protocol::Trouble;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use crate::files::{self, Result, kind, path, regular};
use crate::place::{Place, destination};
use crate::tree::{self, Identity, Tree, identity, open_above, open_below};

/// Bytes copied at once.
const CHUNK: usize = 256 * 1024;

/// What a copy keeps of a mode. Not the bits that run a program as its owner, who is another now.
const KEPT: u32 = 0o1777;

/// A copy that can be made.
pub struct Copy {
    source: Source,
    place: Place,
    /// What is removed when the copy is in its place.
    original: Option<Tree>,
}

enum Source {
    File(OwnedFd),
    Directory(OwnedFd),
    /// The text of a link.
    Link(CString),
}

/// Why a copy was not made, and where below it.
pub struct Halt {
    pub trouble: Trouble,
    pub errno: Errno,
    pub below: Vec<u8>,
}

impl Copy {
    /// A copy of what is at `from`, links followed, for the path `to`.
    pub fn of(from: &str, to: &str) -> Result<Self> {
        // Looked at before it is opened: opening a FIFO is seen by whoever waits at its other end.
        let seen = files::open_at(CWD, from, OFlags::PATH).map_err(path)?;
        let stat = rustix::fs::fstat(&seen).map_err(path)?;
        let source = if kind(&stat) == FileType::Directory {
            Source::Directory(files::open_directory(from)?)
        } else {
            Source::File(files::open_regular(from)?.0)
        };
        Self::new(source, &stat, to, None)
    }

    /// A copy of this very file, directory or link that takes the original's place.
    pub fn instead(original: Tree, stat: &Stat, to: &str) -> Result<Self> {
        let Tree { parent, name } = &original;
        let source = match kind(stat) {
            FileType::Directory => Source::Directory(open_below(parent, name).map_err(path)?),
            FileType::Symlink => {
                Source::Link(rustix::fs::readlinkat(parent, name, Vec::new()).map_err(path)?)
            }
            _ => {
                regular(stat)?;
                Source::File(open_file(parent, name)?.0)
            }
        };
        Self::new(source, stat, to, Some(original))
    }

    fn new(source: Source, stat: &Stat, to: &str, original: Option<Tree>) -> Result<Self> {
        let directory = kind(stat) == FileType::Directory;
        if directory && Place::is_below(to, stat).map_err(destination)? {
            return Err(path(Errno::INVAL));
        }
        let place = Place::make(to)?;
        place.refuse_taken(directory).map_err(destination)?;
        Ok(Self { source, place, original })
    }

    /// What is left of the copy if whoever makes it is killed.
    pub fn rest(&self) -> rustix::io::Result<Tree> {
        self.place.rest()
    }

    /// Makes the copy. On failure nothing of it is left.
    pub fn make(&self) -> std::result::Result<(), Halt> {
        let mut walk = Walk { moves: self.original.is_some(), ..Walk::default() };
        let made = self.build(&mut walk).and_then(|()| {
            let directory = matches!(self.source, Source::Directory(_));
            self.place.put(&self.place.directory, &self.place.hidden, directory).map_err(destination)
        });
        if let Err((trouble, errno)) = made {
            let _ = self.rest().and_then(|rest| tree::clear(&rest));
            return Err(Halt { trouble, errno, below: walk.path() });
        }
        match &self.original {
            Some(original) => {
                tree::remove(original).map_err(|errno| Halt { trouble: Trouble::Path, errno, below: vec![] })
            }
            None => Ok(()),
        }
    }

    fn build(&self, walk: &mut Walk) -> Result<()> {
        let (at, name) = (&self.place.directory, &self.place.hidden);
        match &self.source {
            Source::File(file) => {
                let stat = rustix::fs::fstat(file).map_err(path)?;
                walk.copy_file(file, &stat, at, name)
            }
            Source::Link(text) => rustix::fs::symlinkat(text, at, name).map_err(destination),
            Source::Directory(directory) => walk.copy_tree(directory, at, name),
        }
    }
}

/// The way through a tree and its copy.
#[derive(Default)]
struct Walk {
    /// The original is to be removed: what could not be is not copied either.
    moves: bool,
    buffer: Vec<u8>,
    levels: Vec<Level>,
    /// The entry that is being copied.
    entry: Option<CString>,
}

/// A directory on the way.
struct Level {
    name: CString,
    from: Identity,
    to: Identity,
    mode: Mode,
    /// Directories in it that are still to be copied.
    left: Vec<CString>,
}

impl Walk {
    /// Copies everything in an open directory to a new one.
    fn copy_tree(&mut self, source: &OwnedFd, at: &OwnedFd, name: &CStr) -> Result<()> {
        let mut from = source.try_clone().map_err(|_| path(Errno::MFILE))?;
        let mut to = make_directory(at, name)?;
        self.enter(c"", &from, &to)?;
        while let Some(level) = self.levels.last_mut() {
            if let Some(name) = level.left.pop() {
                self.entry = Some(name.clone());
                let below = match open_below(&from, &name) {
                    Ok(below) => below,
                    Err(Errno::NOENT) => continue,
                    // It was a directory, and is one no more.
                    Err(Errno::NOTDIR | Errno::LOOP) => return Err(path(Errno::AGAIN)),
                    Err(errno) => return Err(path(errno)),
                };
                to = make_directory(&to, &name)?;
                from = below;
                self.enter(&name, &from, &to)?;
            } else if let Some(done) = self.levels.pop() {
                // Found before the mode is set, which may forbid to look for it.
                let above = match self.levels.last() {
                    Some(Level { from: source, to: copy, .. }) => {
                        let source = open_above(&from, *source).map_err(path)?;
                        Some((source, open_above(&to, *copy).map_err(destination)?))
                    }
                    None => None,
                };
                rustix::fs::fchmod(&to, done.mode).map_err(destination)?;
                if let Some(above) = above {
                    (from, to) = above;
                }
            }
        }
        Ok(())
    }

    /// Copies what is in a directory but for its directories, which are noted for later.
    fn enter(&mut self, name: &CStr, from: &OwnedFd, to: &OwnedFd) -> Result<()> {
        let stat = rustix::fs::fstat(from).map_err(path)?;
        let copy = identity(&rustix::fs::fstat(to).map_err(destination)?);
        // Whatever was moved where since that was asked: a copy of itself would have no end.
        if identity(&stat) == self.levels.first().map_or(copy, |top| top.to) {
            return Err(path(Errno::INVAL));
        }
        self.levels.push(Level {
            name: name.to_owned(),
            from: identity(&stat),
            to: copy,
            mode: Mode::from_raw_mode(stat.st_mode & KEPT),
            left: Vec::new(),
        });
        let mut may_be_emptied = !self.moves;
        tree::each(from, path, |name| {
            if !may_be_emptied {
                writable(from).map_err(path)?;
                may_be_emptied = true;
            }
            self.copy_entry(from, name, to)
        })?;
        self.entry = None;
        Ok(())
    }

    fn copy_entry(&mut self, from: &OwnedFd, name: &CStr, to: &OwnedFd) -> Result<()> {
        self.entry = Some(name.to_owned());
        let stat = match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Gone between the listing and the look at it: not there.
            Err(Errno::NOENT) => return Ok(()),
            stat => stat.map_err(path)?,
        };
        match kind(&stat) {
            FileType::Directory => {
                self.levels.last_mut().into_iter().for_each(|level| level.left.push(name.to_owned()));
                Ok(())
            }
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(from, name, Vec::new()).map_err(path)?;
                rustix::fs::symlinkat(text, to, name).map_err(destination)
            }
            _ => {
                regular(&stat)?;
                match open_file(from, name) {
                    Ok((file, stat)) => self.copy_file(&file, &stat, to, name),
                    Err((_, Errno::NOENT)) => Ok(()),
                    Err((_, Errno::LOOP)) => Err(path(Errno::AGAIN)),
                    Err(other) => Err(other),
                }
            }
        }
    }

    /// Copies an open file to a new one.
    fn copy_file(&mut self, from: &OwnedFd, stat: &Stat, at: &OwnedFd, name: &CStr) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = rustix::fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR).map_err(destination)?;
        self.buffer.resize(CHUNK, 0);
        if is_own(from).map_err(path)? {
            let end = self.copy_data(from, stat.st_size as u64, &to)?;
            rustix::fs::ftruncate(&to, end).map_err(destination)?;
        } else {
            // Files of /proc do not tell how long they are.
            self.copy_range(from, 0, u64::MAX, &to)?;
        }
        rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & KEPT)).map_err(destination)
    }

    /// Copies what a file holds of its first `size` bytes, and leaves out its holes. Gives its end.
    fn copy_data(&mut self, from: &OwnedFd, size: u64, to: &OwnedFd) -> Result<u64> {
        let mut at = 0;
        while at < size {
            let begin = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Err(Errno::NXIO) => break,
                begin => begin.map_err(path)?,
            };
            let end = rustix::fs::seek(from, SeekFrom::Hole(begin)).map_err(path)?.min(size);
            if begin >= end {
                break;
            }
            at = self.copy_range(from, begin, end, to)?;
            // It has become shorter meanwhile.
            if at < end {
                return Ok(at);
            }
        }
        Ok(size)
    }

    /// Copies what is between two places of a file. Gives the place where that, or the file, has ended.
    fn copy_range(&mut self, from: &OwnedFd, begin: u64, end: u64, to: &OwnedFd) -> Result<u64> {
        let mut at = begin;
        while at < end {
            let most = (end - at).min(CHUNK as u64) as usize;
            let read = rustix::io::pread(from, &mut self.buffer[..most], at).map_err(path)?;
            if read == 0 {
                break;
            }
            let mut rest = &self.buffer[..read];
            while !rest.is_empty() {
                let written = rustix::io::pwrite(to, rest, at).map_err(destination)?;
                rest = &rest[written..];
                at += written as u64;
            }
        }
        Ok(at)
    }

    /// The way to where it is, from the top.
    fn path(&self) -> Vec<u8> {
        let directories = self.levels.iter().skip(1).map(|level| &level.name);
        let names = directories.chain(&self.entry);
        names.flat_map(|name| [b"/", name.to_bytes()].concat()).collect()
    }
}

/// Whether names can be made in a directory, and removed.
pub fn writable(directory: &OwnedFd) -> rustix::io::Result<()> {
    rustix::fs::accessat(directory, c".", Access::WRITE_OK, AtFlags::EACCESS)
}

/// Opens a regular file by one name.
fn open_file(at: &OwnedFd, name: &CStr) -> Result<(OwnedFd, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(at, name, flags, Mode::empty()).map_err(path)?;
    let stat = rustix::fs::fstat(&file).map_err(path)?;
    regular(&stat)?;
    Ok((file, stat))
}

/// Makes a directory that is nobody else's yet.
fn make_directory(at: &OwnedFd, name: &CStr) -> Result<OwnedFd> {
    rustix::fs::mkdirat(at, name, Mode::RWXU).and_then(|()| open_below(at, name)).map_err(destination)
}
