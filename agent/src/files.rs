//! Files, for the core. Every path is resolved here, by a process whose root is the sandbox's and whose
//! rights are the user's: no link, `..` or race leads further than a command could go itself.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use computesdk_agent::own::{is_of_kernel, is_own};
use computesdk_agent::protocol::{Blob, Entry, Trouble};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::tree::Tree;

pub type Result<T> = std::result::Result<T, (Trouble, Errno)>;

/// How the kernel finds "too many symbolic links".
const LINKS: usize = 40;
pub const NEW_FILE: Mode = Mode::from_raw_mode(0o644);
const NEW_DIRECTORY: Mode = Mode::from_raw_mode(0o755);

/// Says that an error is about the path that was asked for.
pub fn path(errno: Errno) -> (Trouble, Errno) {
    (Trouble::Path, errno)
}

/// Opens without following the links of /proc that lead out of any root (`/proc/1/root`, `/proc/1/fd/…`),
/// and without waiting for anything.
pub fn open_at(at: impl AsFd, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    // O_PATH takes no others.
    let flags = if flags.contains(OFlags::PATH) { flags - OFlags::NONBLOCK - OFlags::NOCTTY } else { flags };
    rustix::fs::openat2(at, name, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
}

/// What kind of thing it is.
pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Refuses everything but a regular file.
pub fn regular(stat: &Stat) -> Result<()> {
    match kind(stat) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(path(Errno::ISDIR)),
        _ => Err((Trouble::NotRegular, Errno::INVAL)),
    }
}

/// A file that was opened for reading.
pub enum Opened {
    /// On the sandbox's own file system: the core may touch it.
    Ours { file: OwnedFd, size: u64 },
    /// Anywhere else: what a read does there, and how long it takes, is not known.
    Foreign { file: OwnedFd },
}

/// Opens a regular file for reading.
pub fn open(name: &str) -> Result<Opened> {
    let (file, stat) = open_regular(name)?;
    if is_own(&file).map_err(path)? {
        Ok(Opened::Ours { file, size: stat.st_size as u64 })
    } else {
        Ok(Opened::Foreign { file })
    }
}

/// Likewise, wherever it is.
pub fn open_regular(name: &str) -> Result<(OwnedFd, Stat)> {
    // Looked at before it is opened: opening a FIFO is seen by whoever waits at its other end.
    let seen = open_at(CWD, name, OFlags::PATH).map_err(path)?;
    regular(&rustix::fs::fstat(&seen).map_err(path)?)?;
    let file = open_at(CWD, name, OFlags::RDONLY).map_err(path)?;
    let stat = rustix::fs::fstat(&file).map_err(path)?;
    regular(&stat)?;
    Ok((file, stat))
}

/// Opens a directory for listing.
pub fn open_directory(name: &str) -> Result<OwnedFd> {
    open_at(CWD, name, OFlags::RDONLY | OFlags::DIRECTORY).map_err(path)
}

/// What is at a path, links followed; and where the path itself is a link, what that says.
pub fn stat(name: &str) -> Result<Entry> {
    let seen = open_at(CWD, name, OFlags::PATH).map_err(path)?;
    let stat = rustix::fs::fstat(&seen).map_err(path)?;
    let name = name.trim_end_matches('/');
    // EINVAL: it is no link.
    let link = rustix::fs::readlink(name, Vec::new()).ok().map(|link| Blob(link.into_bytes()));
    let label = name.rsplit('/').next().filter(|label| !label.is_empty()).unwrap_or("/");
    Ok(entry(&stat, Blob(label.as_bytes().to_vec()), link))
}

/// One entry of an open directory.
pub fn entry_of(at: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Entry> {
    let itself = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let label = Blob(name.to_bytes().to_vec());
    if kind(&itself) != FileType::Symlink {
        return Ok(entry(&itself, label, None));
    }
    let link = rustix::fs::readlinkat(at, name, Vec::new())?;
    let target = rustix::fs::statat(at, name, AtFlags::empty()).unwrap_or(itself);
    Ok(entry(&target, label, Some(Blob(link.into_bytes()))))
}

fn entry(stat: &Stat, name: Blob, link: Option<Blob>) -> Entry {
    let directory = kind(stat) == FileType::Directory;
    Entry {
        name,
        directory,
        size: if directory { 0 } else { stat.st_size as u64 },
        modified: stat.st_mtime * 1000 + i64::try_from(stat.st_mtime_nsec / 1_000_000).unwrap_or(0),
        link,
    }
}

/// Makes a directory and its parents; one that is there already is fine, anything else in the way is not.
pub fn make_directory(name: &str) -> Result<()> {
    for (end, _) in name.match_indices('/').skip(1).chain([(name.len(), "")]) {
        match rustix::fs::mkdir(&name[..end], NEW_DIRECTORY) {
            Ok(()) | Err(Errno::EXIST) => {}
            // A parent that may not be changed may still be there.
            Err(Errno::ROFS | Errno::ACCESS) if end < name.len() => {}
            Err(errno) => return Err(path(errno)),
        }
    }
    match open_at(CWD, name, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(_) => Ok(()),
        Err(Errno::NOTDIR) => Err(path(Errno::EXIST)),
        Err(errno) => Err(path(errno)),
    }
}

/// Removes what is no directory, or an empty one. A directory with something in it is given back, for a job.
pub fn remove(name: &str) -> Result<Option<Tree>> {
    let name = name.trim_end_matches('/');
    let (parent, last) = split(name).map_err(path)?;
    let parent = open_at(CWD, parent, OFlags::RDONLY | OFlags::DIRECTORY).map_err(path)?;
    match rustix::fs::unlinkat(&parent, last, AtFlags::empty()) {
        Ok(()) => return Ok(None),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(path(errno)),
    }
    match rustix::fs::unlinkat(&parent, last, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(None),
        Err(Errno::NOTEMPTY) => {
            let name = CString::new(last).map_err(|_| path(Errno::INVAL))?;
            Ok(Some(Tree { parent, name }))
        }
        Err(errno) => Err(path(errno)),
    }
}

/// The directory part and the last name of an absolute path. The root has no name.
pub fn split(name: &str) -> rustix::io::Result<(&str, &str)> {
    match name.rsplit_once('/') {
        Some(("", last)) if !last.is_empty() => Ok(("/", last)),
        Some((parent, last)) if !last.is_empty() && !matches!(last, "." | "..") => Ok((parent, last)),
        _ => Err(Errno::BUSY),
    }
}

/// A name for what is not complete: one that nobody can take first.
pub fn hidden_name() -> rustix::io::Result<String> {
    let mut random = [0; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!(".computesdk-{:032x}", u128::from_ne_bytes(random)))
}

/// A file that is about to take another's place.
pub struct Replacement {
    directory: OwnedFd,
    name: String,
    /// The name of the new file until then; `None` if the old one is written to itself, because its
    /// directory takes no new names.
    temporary: Option<String>,
}

/// Opens a new, empty file for what is to be at `name`. Makes parents; follows links to where they lead.
pub fn replace(name: &str) -> Result<(Replacement, OwnedFd)> {
    let (directory, name) = place(name)?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
    let old = match rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            regular(&stat)?;
            rustix::fs::accessat(&directory, &name, rustix::fs::Access::WRITE_OK, AtFlags::EACCESS)
                .map_err(path)?;
            Some(stat)
        }
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(path(errno)),
    };
    let temporary = hidden_name().map_err(path)?;
    match rustix::fs::openat(&directory, &temporary, flags | OFlags::CREATE | OFlags::EXCL, NEW_FILE) {
        Ok(file) => {
            if let Some(stat) = old {
                rustix::fs::fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(path)?;
            }
            Ok((Replacement { directory, name, temporary: Some(temporary) }, file))
        }
        Err(Errno::ACCESS | Errno::PERM) if old.is_some() => {
            let file = rustix::fs::openat(&directory, &name, flags, Mode::empty()).map_err(path)?;
            regular(&rustix::fs::fstat(&file).map_err(path)?)?;
            rustix::fs::ftruncate(&file, 0).map_err(path)?;
            Ok((Replacement { directory, name, temporary: None }, file))
        }
        Err(errno) => Err(path(errno)),
    }
}

impl Replacement {
    /// Puts the new file into its place.
    pub fn commit(self) -> Result<()> {
        let Some(temporary) = &self.temporary else { return Ok(()) };
        rustix::fs::renameat(&self.directory, temporary, &self.directory, &self.name).map_err(|errno| {
            self.discard_ref();
            path(errno)
        })
    }

    /// Forgets the new file.
    pub fn discard(self) {
        self.discard_ref();
    }

    fn discard_ref(&self) {
        if let Some(temporary) = &self.temporary {
            let _ = rustix::fs::unlinkat(&self.directory, temporary, AtFlags::empty());
        }
    }
}

/// Replaces a file by this content; on failure the old content is still there.
pub fn write(name: &str, content: &[u8]) -> Result<()> {
    let (replacement, file) = replace(name)?;
    let mut rest = content;
    while !rest.is_empty() {
        match rustix::io::write(&file, rest) {
            Ok(written) => rest = &rest[written..],
            Err(errno) => {
                replacement.discard();
                return Err(path(errno));
            }
        }
    }
    drop(file);
    replacement.commit()
}

/// The directory and the name that a path leads to once every link at its end is followed. The directories
/// on the way are made; /proc is not written to.
fn place(name: &str) -> Result<(OwnedFd, String)> {
    let (parent, last) = split(name).map_err(path)?;
    make_directory(parent)?;
    let mut directory = open_at(CWD, parent, OFlags::RDONLY | OFlags::DIRECTORY).map_err(path)?;
    let mut last = last.to_owned();
    for _ in 0..LINKS {
        if is_of_kernel(&directory).map_err(path)? {
            return Err(path(Errno::ROFS));
        }
        let link = match rustix::fs::readlinkat(&directory, &last, Vec::new()) {
            Ok(link) => link.into_string().map_err(|_| path(Errno::ILSEQ))?,
            Err(Errno::INVAL | Errno::NOENT) => return Ok((directory, last)),
            Err(errno) => return Err(path(errno)),
        };
        let (parent, name) = match link.trim_end_matches('/').rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((parent, name)) => (parent, name),
            None => (".", link.as_str()),
        };
        if matches!(name, "" | "." | "..") {
            return Err(path(Errno::ISDIR));
        }
        let next = open_at(&directory, parent, OFlags::RDONLY | OFlags::DIRECTORY).map_err(path)?;
        last = name.to_owned();
        directory = next;
    }
    Err(path(Errno::LOOP))
}
