//! Trees of directories. They are walked with a descriptor or two however deep they are: down by one name,
//! never through a link, and up by `..`.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat};
use rustix::io::{Errno, Result};

/// What is removed, by its directory and its name there.
pub struct Tree {
    pub parent: OwnedFd,
    pub name: CString,
}

impl Tree {
    /// The same, with a descriptor of its own.
    pub fn again(&self) -> Result<Self> {
        let parent = rustix::io::fcntl_dupfd_cloexec(&self.parent, 0)?;
        Ok(Self { parent, name: self.name.clone() })
    }
}

/// What makes one file or directory itself and no other.
pub type Identity = (u64, u64);

/// See [`Identity`].
pub fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// Opens a directory by one name.
pub fn open_below(at: &OwnedFd, name: &CStr) -> Result<OwnedFd> {
    rustix::fs::openat(
        at,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Opens the directory that this one is in, which must be the one that the walk came through: who moves a
/// directory meanwhile does not send the walk elsewhere.
pub fn open_above(at: &OwnedFd, expected: Identity) -> Result<OwnedFd> {
    let above = open_below(at, c"..")?;
    if identity(&rustix::fs::fstat(&above)?) == expected { Ok(above) } else { Err(Errno::AGAIN) }
}

/// Does something with every name in a directory; `wrong` makes an error of the kernel's.
pub fn each<E>(
    at: &OwnedFd,
    wrong: impl Fn(Errno) -> E,
    mut see: impl FnMut(&CStr) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut entries = Dir::read_from(at).map_err(&wrong)?;
    while let Some(entry) = entries.read() {
        let entry = entry.map_err(&wrong)?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            see(name)?;
        }
    }
    Ok(())
}

/// Removes a file, or a directory and everything below it.
pub fn remove(tree: &Tree) -> Result<()> {
    remove_opened_by(tree, |_| Ok(()))
}

/// Removes likewise what is ours alone, directories that are closed to their owner too.
pub fn clear(tree: &Tree) -> Result<()> {
    remove_opened_by(tree, |directory| rustix::fs::fchmod(directory, Mode::RWXU))
}

fn remove_opened_by(tree: &Tree, open: impl Fn(&OwnedFd) -> Result<()>) -> Result<()> {
    match rustix::fs::unlinkat(&tree.parent, &tree.name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        result => return result,
    }
    let enter = |at: &OwnedFd, name: &CStr| {
        let directory = open_below(at, name)?;
        open(&directory)?;
        Ok((identity(&rustix::fs::fstat(&directory)?), directory))
    };
    let (identity, mut at) = enter(&tree.parent, &tree.name)?;
    let mut levels = vec![(tree.name.clone(), identity)];
    loop {
        match first_directory(&at)? {
            Some(name) => {
                let (identity, directory) = enter(&at, &name)?;
                levels.push((name, identity));
                at = directory;
            }
            None => {
                let Some((name, _)) = levels.pop() else { return Ok(()) };
                let Some((_, above)) = levels.last() else {
                    return rustix::fs::unlinkat(&tree.parent, &name, AtFlags::REMOVEDIR);
                };
                let parent = open_above(&at, *above)?;
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
