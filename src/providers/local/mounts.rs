//! What a user lends of this machine to a sandbox: checked here, before anything is made of it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use computesdk_agent::protocol::{Access, Lent, MOUNTS};

use super::secrets;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Mount, MountMode};

/// What a sandbox has of its own, which nothing takes the place of.
const OWN: [&str; 14] = [
    "/bin", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/proc", "/sbin", "/sys",
    "/usr", "/",
];
/// Likewise, with everything below.
const WHOLLY: [&str; 5] = ["/dev", "/opt/node", "/opt/python", "/proc", "/sys"];

/// Resolves what is to be mounted to what it is now on this machine, outer mounts first.
pub(super) fn lend(mounts: &[Mount]) -> Result<Vec<Lent>> {
    let mut lent = mounts.iter().map(mount).collect::<Result<Vec<_>>>()?;
    lent.sort_by(|one, other| one.target.cmp(&other.target));
    if let Some(twice) = lent.windows(2).find(|pair| pair[0].target == pair[1].target) {
        return Err(Error::invalid(format!("`mounts` has two with the `target` `{}`", twice[0].target)));
    }
    if lent.len() > MOUNTS {
        return Err(Error::invalid(format!("`mounts` has {} entries, {MOUNTS} at most", lent.len())));
    }
    Ok(lent)
}

/// Resolves a folder that is to be the root of sandboxes.
pub(super) fn rootfs(name: &str, path: &str) -> Result<Lent> {
    let option = format!("templates.{name}.rootfs");
    let (source, found) = resolve(&option, path)?;
    if !found.is_dir() {
        return Err(Error::invalid(format!("`{option}` is no directory: `{path}`")));
    }
    if let Some(reason) = secrets::of_system(Path::new(&source)) {
        return Err(refused(&option, path, &reason).with_hint("name a folder that was made to be a root"));
    }
    Ok(lent_as(source, "/".to_owned(), Access::Copy, &found))
}

fn mount(mount: &Mount) -> Result<Lent> {
    let Mount { source, mode, force, .. } = mount;
    let target = checked_target(&mount.target)?;
    let (canonical, found) = resolve("mounts.source", source)?;
    match (found.is_dir(), found.is_file(), mode) {
        (true, ..) | (_, true, MountMode::ReadOnly | MountMode::ReadWrite) => {}
        (_, true, MountMode::Copy) => {
            return Err(Error::invalid(format!(
                "`mounts.mode`: only a directory can be a copy, not `{source}`"
            ))
            .with_hint("write the file into the sandbox with writeFile"));
        }
        _ => {
            return Err(Error::invalid(format!(
                "`mounts.source` is neither a directory nor a regular file: `{source}`"
            )));
        }
    }
    if let Some(reason) = secrets::reason(Path::new(&canonical)).filter(|_| !force) {
        return Err(refused("mounts.source", source, &reason)
            .with_hint("mount something further down, or say `force: true` if it is meant"));
    }
    let access = match mode {
        MountMode::ReadOnly => Access::Read,
        MountMode::ReadWrite => Access::Write,
        MountMode::Copy => Access::Copy,
    };
    Ok(lent_as(canonical, target, access, &found))
}

fn lent_as(source: String, target: String, access: Access, found: &Metadata) -> Lent {
    Lent {
        source,
        target,
        access,
        directory: found.is_dir(),
        identity: (found.dev(), found.ino()),
        owner: (found.uid(), found.gid()),
    }
}

/// Where a path of this machine leads, and what is there.
fn resolve(option: &str, path: &str) -> Result<(String, Metadata)> {
    if !path.starts_with('/') {
        return Err(Error::invalid(format!(
            "`{option}` must be an absolute path of this machine, got `{path}`"
        )));
    }
    let resolved = fs::canonicalize(path).and_then(|canonical| {
        let found = fs::symlink_metadata(&canonical)?;
        Ok((canonical, found))
    });
    let (canonical, found) = resolved.map_err(|error| {
        let (kind, what) = match error.kind() {
            std::io::ErrorKind::NotFound => (ErrorKind::NotFound, "is not on this machine"),
            std::io::ErrorKind::PermissionDenied => {
                (ErrorKind::PermissionDenied, "cannot be seen by this process")
            }
            _ => (ErrorKind::InvalidArgument, "is no path of this machine"),
        };
        Error::new(kind, format!("`{option}` {what}: `{path}`")).with_source(error)
    })?;
    let canonical = canonical
        .into_os_string()
        .into_string()
        .map_err(|_| Error::invalid(format!("`{option}` leads to a path that is not UTF-8: `{path}`")))?;
    Ok((canonical, found))
}

fn refused(option: &str, path: &str, reason: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("`{option}` is refused: `{path}`: {reason}"))
}

/// Where something is mounted: a plain path, and none of those that every sandbox has for itself.
fn checked_target(target: &str) -> Result<String> {
    let plain = target.trim_end_matches('/');
    let mut names = plain.split('/');
    let is_plain = names.next() == Some("") && names.all(|name| !matches!(name, "" | "." | ".."));
    if !target.starts_with('/') || !(is_plain || plain.is_empty()) || target.contains('\0') {
        return Err(Error::invalid(format!(
            "`mounts.target` must be an absolute path without `.`, `..` and empty names, got `{target}`"
        )));
    }
    let path = Path::new(if plain.is_empty() { "/" } else { plain });
    if OWN.iter().any(|own| path == Path::new(own)) || WHOLLY.iter().any(|own| path.starts_with(own)) {
        return Err(Error::invalid(format!(
            "`mounts.target` is what every sandbox has of its own: `{target}`"
        ))
        .with_hint("mount it elsewhere, such as at /workspace/project or /data"));
    }
    Ok(plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lent(source: &str, target: &str, mode: MountMode, force: bool) -> Result<Vec<Lent>> {
        lend(&[Mount { source: source.into(), target: target.into(), mode, force }])
    }

    #[test]
    fn a_target_is_a_plain_path_that_no_sandbox_has_of_its_own() {
        for target in ["/app", "/home/user", "/home/user/project/", "/usr/local/share/x", "/opt/x", "/tmp"] {
            assert!(checked_target(target).is_ok(), "{target}");
        }
        for target in
            ["", "app", "/", "//", "/a//b", "/a/../b", "/./a", "/a\0", "/proc/1", "/dev", "/usr", "/sys/x"]
        {
            let error = checked_target(target).expect_err(target);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains("`mounts.target`"), "{error}");
        }
    }

    #[test]
    fn a_source_is_there_and_of_a_kind_that_can_be_lent() {
        for (source, mode, kind) in [
            ("tmp", MountMode::ReadOnly, ErrorKind::InvalidArgument),
            ("/no/such/directory", MountMode::ReadOnly, ErrorKind::NotFound),
            ("/dev/null", MountMode::ReadOnly, ErrorKind::InvalidArgument),
            ("/usr/bin/env", MountMode::Copy, ErrorKind::InvalidArgument),
            ("/etc", MountMode::ReadOnly, ErrorKind::PermissionDenied),
            // It is the path behind a link that counts.
            ("/proc/self/root", MountMode::ReadOnly, ErrorKind::PermissionDenied),
        ] {
            assert_eq!(lent(source, "/app", mode, false).expect_err(source).kind(), kind, "{source}");
        }
        let etc = lent("/etc", "/app", MountMode::ReadOnly, true).expect("it is meant");
        assert_eq!((etc[0].source.as_str(), etc[0].directory), ("/etc", true));
    }

    #[test]
    fn no_two_are_at_one_place() {
        let mount = |target: &str| Mount {
            source: "/usr/share".into(),
            target: target.into(),
            mode: MountMode::ReadOnly,
            force: false,
        };
        let outer_first = lend(&[mount("/a/b"), mount("/a")]).expect("both can be had");
        assert_eq!(outer_first.iter().map(|lent| lent.target.as_str()).collect::<Vec<_>>(), ["/a", "/a/b"]);
        assert!(lend(&[mount("/a"), mount("/a/")]).is_err());
    }
}
