//! What the kernel said, in words that tell the cause and the cure.

use std::fs;

use computesdk_agent::protocol::{Blob, Failure, Halt, LENDING, SNAPSHOT, TERMINALS, Trouble};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind};

/// What the error of a file operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers) enum About {
    File,
    Directory,
}

/// The error of a file operation that the sandbox refused.
pub(in crate::providers) fn of_file(about: About, path: &str, trouble: &Trouble, errno: i32) -> Error {
    if *trouble == Trouble::NotRegular {
        return Error::invalid(format!("not a regular file: {path}")).with_hint(
            "only regular files are read, written and copied; use a command for pipes, sockets and devices",
        );
    }
    let errno = Errno::from_raw_os_error(errno);
    let (kind, what) = match errno {
        Errno::NOENT if about == About::Directory => (ErrorKind::NotFound, "Directory not found"),
        Errno::NOENT => (ErrorKind::NotFound, "File not found"),
        Errno::NOTDIR if about == About::Directory => (ErrorKind::InvalidArgument, "not a directory"),
        Errno::NOTDIR => (ErrorKind::NotFound, "File not found"),
        Errno::EXIST => (ErrorKind::AlreadyExists, "a file of that name is there"),
        Errno::ISDIR => (ErrorKind::InvalidArgument, "is a directory"),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => (ErrorKind::PermissionDenied, "permission denied"),
        Errno::BUSY => (ErrorKind::InvalidArgument, "cannot be replaced or removed"),
        Errno::LOOP => (ErrorKind::InvalidArgument, "too many symbolic links, or one of /proc"),
        Errno::NAMETOOLONG => (ErrorKind::InvalidArgument, "name too long"),
        Errno::NOSPC | Errno::DQUOT => (ErrorKind::QuotaExceeded, "no space left in the sandbox"),
        Errno::FBIG => (ErrorKind::InvalidArgument, "too large for the sandbox's file system"),
        Errno::NOMEM | Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::TOOMANYREFS => {
            (ErrorKind::Unavailable, "in use, or the sandbox has no memory, processes or descriptors left")
        }
        _ => (ErrorKind::Internal, "cannot be used"),
    };
    let error = Error::new(kind, format!("{what}: {path}")).with_source(std::io::Error::from(errno));
    match kind {
        ErrorKind::QuotaExceeded => error.with_hint("remove files, or create with a larger `resources.disk`"),
        ErrorKind::PermissionDenied => error.with_hint(
            "commands and files belong to the user `user`; what comes from the host below /usr cannot be changed",
        ),
        _ => error,
    }
}

/// The error of a rename or a copy that the sandbox refused, or that failed on the way.
pub(in crate::providers) fn of_copy(from: &str, to: &str, halt: Halt, errno: i32) -> Error {
    let Halt { trouble, below: Blob(below) } = halt;
    // Names from in there: nothing that a terminal or a log would act upon.
    let below = String::from_utf8_lossy(&below).replace(char::is_control, "\u{FFFD}");
    match (trouble, Errno::from_raw_os_error(errno)) {
        (Trouble::Destination, Errno::EXIST) if below.is_empty() => {
            Error::new(ErrorKind::AlreadyExists, format!("something is in the way: {to}")).with_hint(
                "a file takes the place of a file, but of no directory; a directory takes no place",
            )
        }
        (Trouble::Path, Errno::INVAL) => {
            Error::invalid(format!("a directory cannot be put into itself: {from} into {to}"))
        }
        (Trouble::Destination, _) => of_file(About::File, &format!("{to}{below}"), &Trouble::Path, errno),
        (trouble, _) => of_file(About::File, &format!("{from}{below}"), &trouble, errno),
    }
}

/// The error of a command that could not be started because the sandbox has used something up, if that is
/// what the kernel said.
pub(in crate::providers) fn of_exhaustion(errno: i32, processes: u32) -> Option<Error> {
    let (what, hint) = match Errno::from_raw_os_error(errno) {
        Errno::AGAIN => (
            format!("the sandbox may have no more processes: {processes} at most"),
            "wait for some to end, or create with a larger `resources.processes`",
        ),
        Errno::NOMEM => {
            ("the sandbox has no memory left".to_owned(), "create with a larger `resources.memory`")
        }
        Errno::TOOBIG => {
            return Some(
                Error::invalid("arguments and environment are too long together")
                    .with_hint("write them to a file, or give them as `stdin`"),
            );
        }
        Errno::MFILE | Errno::NFILE | Errno::TOOMANYREFS => (
            "there are no more descriptors for the sandbox".to_owned(),
            "close some, or raise the limit of this process: `ulimit -n` tells",
        ),
        _ => return None,
    };
    Some(
        Error::new(ErrorKind::Unavailable, what)
            .with_hint(hint)
            .with_source(std::io::Error::from_raw_os_error(errno)),
    )
}

/// The error of a look at what listens in a sandbox.
pub(in crate::providers) fn of_looking(errno: i32) -> Error {
    Error::new(ErrorKind::Unavailable, "what listens in the sandbox cannot be told")
        .with_hint("it may have thousands of listeners, or no descriptors left")
        .with_source(std::io::Error::from_raw_os_error(errno))
}

/// The error of a look at what a sandbox uses.
pub(super) fn of_measuring(errno: i32) -> Error {
    Error::new(ErrorKind::Unavailable, "what the sandbox uses cannot be told")
        .with_hint("it may have no memory or descriptors left: destroy it, or try again")
        .with_source(std::io::Error::from_raw_os_error(errno))
}

/// The error of a terminal that could not be opened.
pub(in crate::providers) fn of_terminal(errno: i32, processes: u32) -> Error {
    if Errno::from_raw_os_error(errno) == Errno::NOSPC {
        let what = format!("the sandbox may have no more terminals open: {TERMINALS} at most");
        return Error::new(ErrorKind::QuotaExceeded, what)
            .with_hint(
                "end one with `kill()`; programs such as `script` and `tmux` open some of their own, \
                 and the sysctl kernel.pty.max limits those of the whole machine",
            )
            .with_source(std::io::Error::from_raw_os_error(errno));
    }
    of_exhaustion(errno, processes).unwrap_or_else(|| {
        Error::new(ErrorKind::Unavailable, "the sandbox cannot open a terminal")
            .with_source(std::io::Error::from_raw_os_error(errno))
    })
}

/// The error of a sandbox that could not be made.
pub(super) fn of_isolation(failure: &Failure) -> Error {
    let errno = Errno::from_raw_os_error(failure.errno);
    if let Some(step) = failure.step.strip_prefix(LENDING) {
        return of_lending(step, errno);
    }
    if failure.step == SNAPSHOT {
        return Error::new(ErrorKind::NotFound, "the snapshot is gone: the program that held it has ended")
            .with_hint("make a sandbox as it was made first, and take another");
    }
    let (kind, cause, cure) = match errno {
        Errno::NOSPC if switched_off().is_none() => (
            ErrorKind::Unavailable,
            "the kernel allows no more namespaces".to_owned(),
            "raise the sysctl user.max_user_namespaces (and max_net_namespaces), or destroy sandboxes"
                .to_owned(),
        ),
        Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE => (
            ErrorKind::Unavailable,
            "this machine has no processes, memory or descriptors left".to_owned(),
            "destroy sandboxes, or try again later".to_owned(),
        ),
        _ => {
            let (cause, cure) = refusal();
            (ErrorKind::Unsupported, cause, cure)
        }
    };
    Error::new(kind, format!("this machine cannot isolate: {} failed ({errno}): {cause}", failure.step))
        .with_hint(cure)
        .with_source(std::io::Error::from(errno))
}

/// The error of a descriptor that was sent and did not arrive.
pub(super) fn of_descriptors() -> Error {
    Error::new(ErrorKind::Unavailable, "this process has too many descriptors open")
        .with_hint("destroy sandboxes, or raise the limit: `ulimit -n` tells it")
}

/// The error of something that could not be lent to a sandbox.
fn of_lending(step: &str, errno: Errno) -> Error {
    let (kind, cause, cure) = match errno {
        Errno::STALE => (
            ErrorKind::Unavailable,
            "it is not what it was a moment ago",
            "create again; a file system that was mounted there after the first sandbox was made is not seen",
        ),
        Errno::LOOP if !step.ends_with(": find it") => (
            ErrorKind::InvalidArgument,
            "links on the way to it lead in a circle",
            "choose another `target`, or mend the links in the folder that is the root",
        ),
        Errno::LOOP => (
            ErrorKind::Unavailable,
            "there is a link on the way that was not there a moment ago",
            "create again",
        ),
        Errno::NOENT => (
            ErrorKind::NotFound,
            "there is no such path",
            "what is mounted in another mount needs a place there: make it on the host",
        ),
        Errno::NOTDIR | Errno::ISDIR | Errno::EXIST => (
            ErrorKind::InvalidArgument,
            "a directory is where a file is to be, or a file where a directory is",
            "choose another `target`, or make a folder that can be a root",
        ),
        Errno::XDEV => (
            ErrorKind::InvalidArgument,
            "a link leads to what every sandbox has of its own",
            "choose another `target`",
        ),
        Errno::ACCESS | Errno::PERM => (
            ErrorKind::PermissionDenied,
            "this process may not use it",
            "look at who owns it, and at its mode",
        ),
        Errno::INVAL | Errno::OPNOTSUPP => (
            ErrorKind::Unsupported,
            "its file system, or this kernel, cannot do that, or something else is mounted below it",
            "'rw' and 'copy' by root need a file system that maps owners, as ext4, xfs and btrfs do, and 'copy' \
             one without others in it",
        ),
        _ => (ErrorKind::Unavailable, "the kernel refuses it", "try another directory, or another mode"),
    };
    Error::new(kind, format!("{step} failed ({errno}): {cause}"))
        .with_hint(cure)
        .with_source(std::io::Error::from(errno))
}

/// The error of a snapshot that could not be taken, where all of them may take so many bytes.
pub(super) fn of_keeping(failure: &Failure, most: u64) -> Error {
    let errno = Errno::from_raw_os_error(failure.errno);
    let (kind, cause, cure) = match errno {
        Errno::NOSPC => (
            ErrorKind::QuotaExceeded,
            format!("the sandbox holds more than there is room for: snapshots may take {most} bytes in all"),
            ROOM,
        ),
        Errno::OPNOTSUPP => (
            ErrorKind::Unsupported,
            "the kernel is too old".to_owned(),
            "Linux 6.6 or newer is needed for snapshots; or use `templates`",
        ),
        Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE => (
            ErrorKind::Unavailable,
            "this machine has no processes, memory or descriptors left".to_owned(),
            "delete snapshots, destroy sandboxes, or try again later",
        ),
        _ => (
            ErrorKind::Unavailable,
            "what the sandbox has written cannot be read".to_owned(),
            "try again when it writes less",
        ),
    };
    Error::new(kind, format!("`snapshot`: {} failed ({errno}): {cause}", failure.step))
        .with_hint(cure)
        .with_source(std::io::Error::from(errno))
}

/// What makes room for a snapshot.
const ROOM: &str = "remove files in the sandbox, delete snapshots (`provider.snapshots.delete(id)`), or raise \
                    `snapshotMemory` in local({ … })";

/// The error of a snapshot that there is no room for: how much it needs, is in use, and may be.
pub(super) fn of_room(needed: u64, used: u64, most: u64) -> Error {
    Error::new(
        ErrorKind::QuotaExceeded,
        format!(
            "`snapshot`: it needs {needed} bytes; snapshots may take {most} in all, and {used} are taken"
        ),
    )
    .with_hint(ROOM)
}

/// Why a kernel that could isolate does not, by what can be seen of the machine: the cause and the cure.
fn refusal() -> (String, String) {
    restriction().unwrap_or_else(|| {
        (
            "the kernel refuses it".to_owned(),
            "Linux 5.15 or newer with user namespaces, overlayfs and seccomp is needed; \
             or use another provider, such as docker()"
                .to_owned(),
        )
    })
}

/// What can be seen to restrict this process, or everybody on this machine.
pub(super) fn restriction() -> Option<(String, String)> {
    if let Some(switched_off) = switched_off() {
        return Some(switched_off);
    }
    if sysctl("kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return Some((
            "AppArmor restricts user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns = 1)"
                .to_owned(),
            "allow them for Node with a profile in /etc/apparmor.d that says `userns,`, \
             or run `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
                .to_owned(),
        ));
    }
    if sysctl("kernel/unprivileged_userns_clone") == Some(0) {
        return Some((
            "user namespaces are switched off (sysctl kernel.unprivileged_userns_clone = 0)".to_owned(),
            "run `sysctl -w kernel.unprivileged_userns_clone=1`".to_owned(),
        ));
    }
    if in_container() {
        let root = if rustix::process::geteuid().is_root() {
            ", and either `--user 1000` or `--cap-add SYS_ADMIN`"
        } else {
            ""
        };
        return Some((
            "the container's security profile forbids it".to_owned(),
            format!(
                "start the container with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined` \
                 (and `--security-opt apparmor=unconfined` where AppArmor is on){root}"
            ),
        ));
    }
    None
}

/// Why limits hold for each process only, and what would make them hold for a sandbox as a whole.
pub(super) fn no_cgroups() -> (&'static str, &'static str) {
    (
        "this process may not make cgroups",
        "run as root, or, with cgroups of version 2, in a group that is delegated to this user \
         (`systemd-run --user --scope node …`); in a container /sys/fs/cgroup must be writable \
         (`-v /sys/fs/cgroup:/sys/fs/cgroup:rw`)",
    )
}

/// Namespaces of which this machine allows none.
fn switched_off() -> Option<(String, String)> {
    let kinds = ["user", "mnt", "pid", "net", "ipc", "uts"];
    let kind = kinds.iter().find(|kind| sysctl(&format!("user/max_{kind}_namespaces")) == Some(0))?;
    Some((
        format!("{kind} namespaces are switched off (sysctl user.max_{kind}_namespaces = 0)"),
        format!("run `sysctl -w user.max_{kind}_namespaces=10000`"),
    ))
}

fn sysctl(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

/// Whether this process is filtered, or runs in what looks like a container.
fn in_container() -> bool {
    let filtered = fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Seccomp:") && !line.ends_with('0')));
    filtered || ["/.dockerenv", "/run/.containerenv"].iter().any(|path| fs::exists(path).unwrap_or(false))
}

/// The error of a limit that only a cgroup could enforce.
pub(super) fn of_enforcing(option: &str, consequence: &str) -> Error {
    let (cause, cure) = no_cgroups();
    Error::unsupported(format!("`resources.{option}`: {cause}, and {consequence}"))
        .with_hint(format!("{cure}; or leave `{option}` out"))
}

/// The error of a broker that could not be started.
pub(super) fn of_start(error: &std::io::Error) -> Error {
    let hint = if fs::read_to_string("/proc/sys/vm/memfd_noexec").is_ok_and(|text| text.trim() == "2") {
        "this machine forbids programs in memory: run `sysctl -w vm.memfd_noexec=1`"
    } else {
        "the program that makes sandboxes is started from memory: see docs/local.md"
    };
    Error::unsupported(format!("the local provider cannot start: {error}")).with_hint(hint)
}

/// The error of a message that this machine refused to send: too many descriptors of this user are on their
/// way somewhere, most likely.
pub(super) fn of_sending(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("a local sandbox cannot be reached: {error}"))
        .with_hint("this user may have too many descriptors in flight or open: `ulimit -n` tells the limit")
        .with_source(error)
}

/// The error of a sandbox that does not answer.
pub(in crate::providers) fn of_silence() -> Error {
    Error::new(ErrorKind::Timeout, "the sandbox does not answer").with_hint("destroy it, or try again")
}

/// The error where a descriptor should have come and did not.
pub(super) fn of_missing_descriptor() -> Error {
    Error::new(ErrorKind::Unavailable, "this process may have no more descriptors open")
        .with_hint("raise the limit: `ulimit -n` tells it")
}

/// The error of a message that the other side should never have sent.
pub(in crate::providers) fn nonsense() -> Error {
    Error::new(ErrorKind::Internal, "the sandbox's agent answered what it was not asked")
}
