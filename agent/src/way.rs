//! Ways below a root that a stranger has filled, before it is the root: whatever is a link there, or else no
//! directory, would lead what is made for the sandbox out of it.

use std::ffi::CString;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use crate::tree::open_below;

/// Removes what would turn a way aside: afterwards there are only directories on it, as far as it goes.
pub fn clear(root: &str, path: &str) -> Result<()> {
    let mut at = open(root)?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        match open_below(&at, &name) {
            Ok(below) => at = below,
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return rustix::fs::unlinkat(&at, &name, AtFlags::empty());
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Whether a way leads to a directory, without any link on it.
pub fn leads(root: &str, path: &str) -> bool {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let below = path.trim_start_matches('/');
    open(root).is_ok_and(|root| {
        let flags = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        rustix::fs::openat2(&root, below, directory, Mode::empty(), flags).is_ok()
    })
}

fn open(root: &str) -> Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, root, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_on_a_way_turns_it_aside() {
        let root = std::env::temp_dir().join(format!("computesdk-way-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).expect("a directory can be made");
        symlink("/", root.join("a/b/c")).expect("a link can be made");
        fs::write(root.join("a/file"), "").expect("a file can be made");
        let top = root.to_str().expect("the path is text");
        assert!(leads(top, "/a/b") && !leads(top, "/a/b/c") && !leads(top, "/a/b/../b/c/etc"));
        for path in ["/a/b/c/d", "/a/file", "/none/at/all"] {
            clear(top, path).expect("the way can be cleared");
        }
        let left = ["a/b", "a/b/c", "a/file"].map(|path| root.join(path).symlink_metadata().is_ok());
        fs::remove_dir_all(&root).expect("it was made here");
        assert_eq!(left, [true, false, false]);
    }
}
