//! Places of this machine that hold secrets, or power over it: not lent to a sandbox by mistake.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config;
use crate::providers::docker;

/// The machine's own. Of some only the whole is meant: what lies below is somebody's work, as often as not.
const SYSTEM: [&str; 9] = ["/", "/etc", "/proc", "/sys", "/dev", "/run", "/var", "/root", "/home"];
/// Those of which nothing is lent.
const WHOLLY: [&str; 5] = ["/etc", "/proc", "/sys", "/dev", "/run"];

/// Keys and tokens, as programs keep them in a home directory.
const KEPT: [&str; 14] = [
    ".ssh",
    ".aws",
    ".azure",
    ".gnupg",
    ".config/gcloud",
    ".config/gh",
    ".kube",
    ".docker",
    ".npmrc",
    ".netrc",
    ".git-credentials",
    ".pgpass",
    ".pypirc",
    ".cargo/credentials.toml",
];

/// Where Docker's engine listens, beside where its variable says.
const ENGINE: &str = "docker.sock";

/// Why a path, which must be canonical, is not lent unless that is meant; `None` if nothing is known against it.
pub(super) fn reason(path: &Path) -> Option<String> {
    of_system(path).or_else(|| of_home(path)).or_else(|| inside(path)).or_else(|| holds(path))
}

/// Why a path cannot be a folder that somebody has made to be a root.
pub(super) fn of_system(path: &Path) -> Option<String> {
    if SYSTEM.iter().any(|own| path == Path::new(own)) {
        return Some("it is the machine's own".to_owned());
    }
    let own = WHOLLY.iter().find(|own| path.starts_with(own))?;
    Some(format!("it is part of {own}"))
}

fn of_home(path: &Path) -> Option<String> {
    homes().iter().any(|home| home == path).then(|| "it is a home directory".to_owned())
}

/// It is one of what is kept, or lies in one.
fn inside(path: &Path) -> Option<String> {
    let names: Vec<_> = path.iter().collect();
    let kept = KEPT.iter().find(|kept| {
        let kept: Vec<_> = Path::new(kept).iter().collect();
        names.windows(kept.len()).any(|window| window == kept)
    });
    kept.map(|kept| format!("{kept} holds secrets"))
}

/// Something that is kept lies in it: right there, or in a home directory somewhere below.
fn holds(path: &Path) -> Option<String> {
    let below = homes().into_iter().filter(|home| home.starts_with(path));
    let mut places =
        below.chain([path.to_owned()]).flat_map(|place| KEPT.map(|kept| place.join(kept))).chain(rests(path));
    let kept = places.find(|kept| is_there(kept));
    let engine = || {
        let sockets = [path.join(ENGINE), docker::config::socket_here()];
        sockets.into_iter().find(|socket| socket.starts_with(path) && is_there(socket))
    };
    kept.map(|kept| format!("it contains {}, which holds secrets", kept.display()))
        .or_else(|| Some(format!("it contains {}, which is power over this machine", engine()?.display())))
}

/// What is kept and begins with the end of a path: in `.config`, `gcloud`.
fn rests(path: &Path) -> impl Iterator<Item = PathBuf> {
    KEPT.iter().filter_map(move |kept| {
        let (first, rest) = kept.split_once('/')?;
        path.ends_with(first).then(|| path.join(rest))
    })
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The home directories of this machine, as far as they are there.
fn homes() -> Vec<PathBuf> {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let listed = accounts.lines().filter_map(|line| line.split(':').nth(5)).map(PathBuf::from);
    listed.chain(config::home()).filter_map(|home| fs::canonicalize(home).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(path: &str) -> bool {
        reason(Path::new(path)).is_some()
    }

    #[test]
    fn what_is_the_machines_own_is_refused() {
        for path in SYSTEM.into_iter().chain(["/etc/ssl", "/proc/1", "/run/user/1000", "/dev/shm"]) {
            assert!(is_refused(path), "{path}");
        }
        for path in ["/var/www", "/home/nobody-here/project", "/srv", "/etcetera"] {
            assert!(!is_refused(path), "{path}: {:?}", reason(Path::new(path)));
        }
    }

    #[test]
    fn what_keeps_secrets_is_refused_and_what_lies_in_it() {
        for path in ["/srv/a/.ssh", "/srv/a/.ssh/keys", "/srv/a/.config/gcloud/x", "/srv/.npmrc"] {
            assert!(is_refused(path), "{path}");
        }
        let config = std::env::temp_dir().join(format!("computesdk-{}/.config", std::process::id()));
        fs::create_dir_all(config.join("gcloud")).expect("it can be made");
        assert!(reason(&config).is_some_and(|why| why.contains("gcloud")));
        fs::remove_dir_all(config.parent().expect("it has one")).expect("it can be removed");
        for path in ["/srv/ssh", "/srv/.config", "/srv/gcloud", "/srv/.sshd"] {
            assert!(!is_refused(path), "{path}");
        }
    }
}
