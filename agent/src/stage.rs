//! What all sandboxes of a broker share, made once: the common files of /etc, the devices, the masks.
//!
//! The stage is a small tmpfs in the broker's own mount namespace, over `/sys`: a directory that every
//! machine has and that no sandbox is ever given. The host sees nothing of it, and it ends with the broker.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::identity::{Identities, enter_own_namespaces};
use crate::mounts;
use crate::step::{Result, Step, checked};

/// Where the stage is in the broker's mount namespace.
pub const STAGE: &str = "/sys";
/// The lower layer of every sandbox's /etc.
pub const ETC: &str = "/sys/etc";
/// The devices of every sandbox.
pub const DEV: &str = "/sys/dev";
/// An unreadable file and an unreadable directory, to cover others with.
pub const NO_FILE: &str = "/sys/nothing";
/// See [`NO_FILE`].
pub const NO_DIRECTORY: &str = "/sys/nowhere";
/// Where the broker keeps layers.
pub const KEPT: &str = "/sys/kept";
/// Where a fresh clone mounts its own file system before it moves there.
pub const BOX: &str = "/sys/box";

/// The hosts that every sandbox knows by name.
const HOSTS: &str = "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n";

/// What a sandbox gets of the host's /etc. Never accounts, keys, or configuration that may hold either.
const FROM_HOST: [&str; 21] = [
    "alternatives",
    "crypto-policies",
    "debian_version",
    "fonts",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "lsb-release",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
];

/// Devices by number: a container's /dev may hold anything under these names.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Enters the namespaces of the broker and builds the stage there.
pub fn set_up(identities: &Identities) -> Result<()> {
    match *identities {
        Identities::Own { uid, gid } => enter_own_namespaces(uid, gid)?,
        Identities::Ranges { .. } => {
            // SAFETY: a plain system call in a process of one thread.
            checked(unsafe { libc::unshare(libc::CLONE_NEWNS) }).step("create a mount namespace")?;
        }
    }
    mounts::make_private()?;
    mounts::tmpfs(STAGE, "mode=0755,size=64m").step("mount a tmpfs")?;
    etc().step("copy /etc")?;
    dev()?;
    masks().step("make masks")?;
    [BOX, KEPT].into_iter().try_for_each(fs::create_dir).step("make a mount point")?;
    // Where there is but one user id, its files are the sandboxes' user's: nobody may change them.
    mounts::freeze(STAGE).step("make the stage read-only")
}

fn etc() -> std::io::Result<()> {
    let etc = Path::new(ETC);
    fs::create_dir(etc)?;
    for name in FROM_HOST {
        let target = etc.join(name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        // What the host lacks or keeps to itself, the sandbox does without.
        let _ = copy(&Path::new("/etc").join(name), &target);
    }
    let mut random = [0; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let machine = format!("{:032x}\n", u128::from_ne_bytes(random));
    for (name, content) in [
        (
            "passwd",
            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        ),
        ("group", "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"),
        ("hosts", HOSTS),
        ("hostname", "sandbox\n"),
        ("resolv.conf", "# names are not resolved here\n"),
        ("shells", "/bin/sh\n/bin/bash\n"),
        ("machine-id", &machine),
    ] {
        fs::write(etc.join(name), content)?;
    }
    Ok(())
}

/// The content of `/etc/hosts` of a sandbox that knows more of them: (address, name).
pub fn hosts(names: &[(String, String)]) -> String {
    let lines = names.iter().map(|(address, name)| format!("{address} {name}\n"));
    std::iter::once(HOSTS.to_owned()).chain(lines).collect()
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)
    } else if kind.is_dir() {
        fs::create_dir_all(to)?;
        fs::read_dir(from)?.flatten().for_each(|entry| {
            let _ = copy(&entry.path(), &to.join(entry.file_name()));
        });
        Ok(())
    } else if kind.is_file() {
        fs::copy(from, to).map(drop)
    } else {
        Ok(())
    }
}

fn dev() -> Result<()> {
    let dev = Path::new(DEV);
    fs::create_dir(dev).step("make /dev")?;
    for (name, target) in LINKS {
        symlink(target, dev.join(name)).step("make /dev")?;
    }
    for directory in ["pts", "shm"] {
        fs::create_dir(dev.join(directory)).step("make /dev")?;
    }
    for (name, major, minor) in DEVICES {
        let (source, target) = (format!("/dev/{name}"), format!("{DEV}/{name}"));
        let number = fs::metadata(&source).step(format!("look at {source}"))?.rdev();
        if number != rustix::fs::makedev(major, minor) {
            return Err(rustix::io::Errno::NODEV).step(format!("look at {source}"));
        }
        fs::write(&target, "").step("make /dev")?;
        mounts::bind(&source, &target).step(format!("mount {source}"))?;
    }
    Ok(())
}

fn masks() -> std::io::Result<()> {
    fs::write(NO_FILE, "")?;
    fs::set_permissions(NO_FILE, fs::Permissions::from_mode(0o000))?;
    fs::create_dir(NO_DIRECTORY)?;
    fs::set_permissions(NO_DIRECTORY, fs::Permissions::from_mode(0o000))
}
