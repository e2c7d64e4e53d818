//! Paths, by their letters.

use crate::error::{Error, ErrorKind, Result};

/// The longest name that Linux takes.
const NAME_MAX: usize = 255;

/// A path without slashes at its end, and whether it had some: then it can only be a directory's.
pub(super) fn trimmed(path: &str) -> (&str, bool) {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() { ("/", false) } else { (trimmed, trimmed.len() < path.len()) }
}

/// The last name of a path, `/` for the root.
pub(super) fn name(path: &str) -> &str {
    match trimmed(path).0.rsplit('/').next() {
        Some("") | None => "/",
        Some(name) => name,
    }
}

/// The directory that a path is in.
pub(super) fn parent(path: &str) -> &str {
    match trimmed(path).0.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// The names of a path, as if there were no links.
fn names(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names
}

/// Whether a path leads to what the kernel makes up, whose files have no size.
pub(super) fn is_made_up(path: &str) -> bool {
    matches!(names(path).first(), Some(&("proc" | "sys")))
}

/// Whether a path leads to devices.
pub(super) fn is_device(path: &str) -> bool {
    let names = names(path);
    names.first() == Some(&"dev") && names.get(1) != Some(&"shm")
}

/// Refuses what no file can be called.
pub(super) fn check_names(path: &str) -> Result<()> {
    if path.split('/').any(|name| name.len() > NAME_MAX) {
        return Err(Error::invalid(format!("name too long: {path}")));
    }
    Ok(())
}

/// Refuses to change what belongs to the kernel. envd itself is root, and would do it.
pub(super) fn check_changeable(path: &str) -> Result<()> {
    check_names(path)?;
    if is_made_up(path) || is_device(path) {
        return Err(Error::new(ErrorKind::PermissionDenied, format!("permission denied: {path}")));
    }
    Ok(())
}

/// Refuses to give another place to, or to remove, what has no name of its own.
pub(super) fn check_movable(path: &str) -> Result<()> {
    if names(path).is_empty() || matches!(name(path), "." | "..") {
        return Err(Error::invalid(format!("cannot be replaced or removed: {path}")));
    }
    check_changeable(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_a_name_and_a_parent() {
        for (path, is, is_in) in [
            ("/", "/", "/"),
            ("///", "/", "/"),
            ("/a", "a", "/"),
            ("/a/b/", "b", "/a"),
            ("/a//b", "b", "/a/"),
        ] {
            assert_eq!((name(path), parent(path)), (is, is_in), "{path}");
        }
        assert_eq!(trimmed("/a/"), ("/a", true));
        assert_eq!(trimmed("/"), ("/", false));
    }

    #[test]
    fn what_is_the_kernels_is_known_however_it_is_written() {
        for path in ["/proc/1", "//proc", "/tmp/../sys/x", "/./dev/null", "/dev", "/dev/shm/../null"] {
            assert!(check_changeable(path).is_err(), "{path}");
        }
        for path in ["/dev/shm", "/dev/shm/x", "/process", "/tmp/proc", "/"] {
            assert!(check_changeable(path).is_ok(), "{path}");
        }
        for path in ["/", "/tmp/..", "/tmp/.", "/dev/null"] {
            assert!(check_movable(path).is_err(), "{path}");
        }
    }
}
