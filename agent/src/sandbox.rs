//! From a fresh clone of the broker to an isolated process 1, step by step.
//!
//! The order is the design: what needs a capability comes before capabilities go, what the filter forbids
//! before the filter. Whatever fails ends the clone; nothing runs in a sandbox that is not complete.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use computesdk_agent::channel;
use computesdk_agent::protocol::{Bind, Lent, Plan, Reply, TERMINALS, encode};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::cgroups::Cgroup;
use crate::host::Form;
use crate::identity::{Identity, become_user};
use crate::layers;
use crate::lent::{self, Loan};
use crate::links::Links;
use crate::mounts::{self, READ_ONLY};
use crate::privileges;
use crate::rootfs;
use crate::seccomp::{Door, Filter};
use crate::stage::{self, BOX, DEV, ETC, NO_DIRECTORY, NO_FILE};
use crate::step::{Result, Step, checked};
use crate::way;

/// What is the same for every sandbox and costs time to find out or to compute.
pub struct Ground {
    filter: Filter,
    covered_files: Vec<&'static str>,
    covered_directories: Vec<&'static str>,
    fixed: Vec<&'static str>,
}

/// Parts of /proc that tell about the host, after Docker's list.
const COVERED_FILES: [&str; 10] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/kallsyms",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
];
/// The host's alone, too: whoever may open a file of /proc/pressure for writing has the kernel watch for him.
const COVERED_DIRECTORIES: [&str; 5] =
    ["/proc/acpi", "/proc/asound", "/proc/dynamic_debug", "/proc/pressure", "/proc/scsi"];
/// Parts of /proc that would change the host if anybody could write them.
const FIXED: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The directories of the root, beside those of the host. `true` is for everybody, as /tmp is.
const DIRECTORIES: [(&str, bool); 15] = [
    ("dev", false),
    ("etc", false),
    ("home", false),
    ("home/user", false),
    ("media", false),
    ("mnt", false),
    ("opt", false),
    ("proc", false),
    ("run", false),
    ("srv", false),
    ("sys", false),
    ("tmp", true),
    ("var", false),
    ("var/tmp", true),
    ("workspace", false),
];

/// How the names begin of directories that cover one of the host's.
pub const HIDDEN: &str = "hidden";

/// What is mounted in a root that is there already, beside what the plan names.
const MOUNTED: [&str; 3] = ["/etc", "/dev", "/proc"];

/// Where programs of our own go if not to /usr/local/bin.
const SPARE_BIN: &str = "/opt/bin";

impl Ground {
    /// Looks at /proc and compiles the filter.
    pub fn lay() -> Result<Self> {
        let there =
            |paths: &[&'static str]| paths.iter().copied().filter(|path| Path::new(path).exists()).collect();
        Ok(Self {
            filter: Filter::build().map_err(std::io::Error::other).step("compile the system call filter")?,
            covered_files: there(&COVERED_FILES),
            covered_directories: there(&COVERED_DIRECTORIES),
            fixed: there(&FIXED),
        })
    }
}

/// Clones this process into new namespaces: 0 in the clone, its process id in the parent.
///
/// What a sandbox has of namespaces, inotify instances and watches the kernel counts for whoever made its user
/// namespace as well. Where that would be root, it is `owner`: else one sandbox could use up what all of them, and
/// the machine's own services, have of these. In a container whose root may not look into what is somebody else's,
/// it is root all the same.
pub fn clone(owner: Option<u32>) -> std::io::Result<i32> {
    let Some(owner) = owner.filter(|_| privileges::may_trace()) else { return into_namespaces() };
    set_effective_user(owner)?;
    // A change of user takes them away, and some kernels let only who has them make a user namespace.
    let cloned = privileges::raise_capabilities()
        .map_err(|failure| std::io::Error::from_raw_os_error(failure.errno))
        .and_then(|()| into_namespaces());
    match cloned {
        // To become root again is neither possible nor needed there.
        Ok(0) => {}
        _ => set_effective_user(0)?,
    }
    cloned
}

/// Changes who this process acts as; who it is stays. The broker has one thread.
fn set_effective_user(user: u32) -> std::io::Result<()> {
    const KEEP: libc::uid_t = libc::uid_t::MAX;
    // SAFETY: a plain system call; it takes numbers only.
    checked(unsafe { libc::syscall(libc::SYS_setresuid, KEEP, user, KEEP) }).map(drop)
}

/// The plain call is made, not `clone3`: a container's filter that forbids it says so (`EPERM`), while
/// `clone3` only seems not to exist.
fn into_namespaces() -> std::io::Result<i32> {
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and a stack this is a fork, and the process has one thread.
    checked(unsafe { libc::syscall(libc::SYS_clone, flags as libc::c_ulong, 0, 0, 0, 0) })
        .map(|pid| pid as i32)
}

/// Turns the clone into the sandbox's process 1 and runs it to its end.
pub fn become_pid1(
    plan: &Plan,
    ground: &Ground,
    identity: &Identity,
    mut limits: Option<Cgroup>,
    gate: &OwnedFd,
    link: OwnedFd,
) -> ! {
    let kills = limits.as_mut().and_then(Cgroup::take_kills);
    let open: Vec<_> = kills.iter().map(AsFd::as_fd).chain([gate.as_fd(), link.as_fd()]).collect();
    let (reply, isolated) = match isolate(plan, ground, identity, limits, gate, &open) {
        Ok((reply, isolated)) => (reply, Some(isolated)),
        Err(failure) => (Reply::Broken { failure }, None),
    };
    // Read by whoever has asked for a sandbox, or will.
    let sent = channel::send(&link, &encode(&reply), &[]);
    let code = match isolated {
        Some((door, written)) if sent.is_ok() => {
            crate::pid1::run(Links::one(link), None, door, kills, Some(written), plan)
        }
        _ => 1,
    };
    // SAFETY: ends the clone without running what the broker has registered for its own end.
    unsafe { libc::_exit(code) }
}

fn isolate(
    plan: &Plan,
    ground: &Ground,
    identity: &Identity,
    limits: Option<Cgroup>,
    gate: &OwnedFd,
    kept: &[BorrowedFd<'_>],
) -> Result<(Reply, (Option<Door>, OwnedFd))> {
    let limited = limits.is_some();
    limits.map_or(Ok(()), |limits| limits.enter())?;
    privileges::close_all_but(kept)?;
    let host = wait_at(gate)?;
    let mut loan = if lent::any(plan) { lent::receive(plan, gate)? } else { Loan::default() };
    let kept = layers::receive(plan, gate)?;
    become_user(identity.ranged())?;
    // A change of user would have made the kernel forget this (prctl(2)).
    privileges::die_with_the_broker()?;
    let mut layers: Vec<String> =
        ["user", "mount", "pid", "network", "ipc", "uts"].map(|name| format!("{name} namespace")).into();

    // SAFETY: a plain system call in a process of one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } == 0 {
        layers.push("cgroup namespace".to_owned());
    }
    let written = root(plan, &host, plan.rootfs.as_deref().zip(loan.rootfs.as_ref()), &kept)?;
    loan.mounts = lent::layer(plan, loan.mounts)?;
    proc(ground)?;
    devices()?;
    move_in()?;
    if let Some(lent) = plan.rootfs.as_ref().filter(|_| plan.layers.is_empty()) {
        rootfs::furnish(lent)?;
    }
    lent::place(plan, &loan.mounts)?;
    layers.push("own root".to_owned());
    if host.iter().any(|(form, _)| *form == Form::Mapped) {
        layers.push("mapped owners".to_owned());
    }
    loopback()?;
    rustix::system::sethostname(b"sandbox").step("set the host name")?;
    privileges::limit(plan, limited)?;
    // Namespaces within this one would be a way to more of the kernel; the filter says no as well.
    let _ = fs::write("/proc/sys/user/max_user_namespaces", "0");
    fix("/proc/sys")?;
    privileges::no_new_privileges()?;
    privileges::drop_capabilities()?;
    layers.extend(["no new privileges".to_owned(), "no capabilities".to_owned()]);
    if let Some(version) = privileges::landlock()? {
        layers.push(format!("landlock {version}"));
    }
    let door = ground.filter.install().step("install the system call filter")?;
    layers.push("seccomp".to_owned());
    if limited {
        layers.push("cgroup limits".to_owned());
    }
    privileges::hide()?;
    Ok((Reply::Ready { bash: Path::new("/bin/bash").exists(), layers, cgroup: limited }, (door, written)))
}

/// Waits until the broker has given this clone its ids and its limits; takes the host's directories.
fn wait_at(gate: &OwnedFd) -> Result<Vec<(Form, OwnedFd)>> {
    let mut buffer = [0; 1 + channel::DESCRIPTORS];
    let opened = channel::receive(gate, &mut buffer, false).step("wait for the broker")?;
    let opened = opened.ok_or(rustix::io::Errno::PIPE).step("wait for the broker")?;
    let forms: Vec<u8> = opened.bytes(&buffer).to_vec();
    Ok(forms.into_iter().filter_map(Form::from_byte).zip(opened.descriptors).collect())
}

fn inside(path: &str) -> String {
    format!("{BOX}/root{path}")
}

/// Builds the root file system: one tmpfs that holds every byte the sandbox writes, with the host's
/// directories, and what was kept of other sandboxes, below layers of it. Gives the tmpfs.
fn root(
    plan: &Plan,
    host: &[(Form, OwnedFd)],
    rootfs: Option<(&Lent, &OwnedFd)>,
    kept: &[OwnedFd],
) -> Result<OwnedFd> {
    let options = format!("mode=0755,size={},nr_inodes={}", plan.disk, plan.inodes);
    mounts::tmpfs(BOX, &options).step("mount a tmpfs")?;
    for name in ["root", "upper", "work", "lower"] {
        fs::create_dir(format!("{BOX}/{name}")).step("make directories")?;
    }
    let written = mounts::open(BOX).step("open the tmpfs")?;
    let kept = layers::attach(kept)?;
    let fresh = kept.is_empty();
    if let Some((lent, tree)) = rootfs {
        fs::create_dir(format!("{BOX}{}", rootfs::UPPER)).step("make directories")?;
        if fresh {
            directories(&format!("{BOX}{}", rootfs::UPPER))?;
        }
        rootfs::lay(lent, tree, &plan.names, &kept)?;
        return if fresh { Ok(written) } else { places(MOUNTED).map(|()| written) };
    }
    if fresh {
        mounts::bind(&inside(""), &inside("")).step("mount the root")?;
        directories(&inside(""))?;
    } else {
        layer("root", None, &inside(""), &kept)?;
        places(MOUNTED)?;
    }
    // The names that hosts had where a snapshot was taken are not those that they have here.
    if !plan.names.is_empty() || !fresh {
        // Before the layer is mounted: the file below belongs to somebody else.
        let etc = format!("{BOX}/upper/etc");
        fs::create_dir_all(&etc).step("make directories")?;
        fs::write(format!("{etc}/hosts"), stage::hosts(&plan.names)).step("write /etc/hosts")?;
    }
    layer("etc", Some(ETC), &inside("/etc"), &kept)?;
    for (number, (bind, (form, tree))) in plan.host.iter().zip(host).enumerate() {
        if !fresh {
            way::clear(&inside(""), &bind.target).step(format!("clear {}", bind.target))?;
        }
        host_directory(bind, *form, tree, number, &kept)?;
    }
    plan.hidden.iter().try_for_each(|path| hide(path, &kept))?;
    if !fresh {
        // They are in the snapshot, or were removed before it was taken.
        return Ok(written);
    }
    for (path, target) in &plan.links {
        make(path, |at| symlink(target, at)).step(format!("make {path}"))?;
    }
    for (path, content) in &plan.programs {
        let program = |at: &str| {
            fs::write(at, content)?;
            fs::set_permissions(at, fs::Permissions::from_mode(0o755))
        };
        make(path, program).step(format!("make {path}"))?;
    }
    Ok(written)
}

/// Makes these directories in a root that a stranger has filled.
fn places(paths: [&str; 3]) -> Result<()> {
    paths
        .into_iter()
        .try_for_each(|path| {
            way::clear(&inside(""), path)?;
            fs::create_dir_all(inside(path))
        })
        .step("make directories")
}

/// Covers a directory of the host's by one of the sandbox's own.
fn hide(path: &str, kept: &[String]) -> Result<()> {
    // The same in every sandbox, and short: a snapshot has it too.
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    let name = format!("{HIDDEN}{:016x}", hasher.finish());
    // What a stranger has made may be a link, or of that name and nobody's to hide: then it is the host that knows.
    let there = if kept.is_empty() {
        Some(path.to_owned()).filter(|path| Path::new(&inside(path)).is_dir())
    } else {
        let real = fs::canonicalize(path).ok().and_then(|real| real.into_os_string().into_string().ok());
        real.filter(|real| way::leads(&inside(""), real))
    };
    let Some(there) = there else { return Ok(()) };
    if layers::of(kept, &name).next().is_some() {
        return layer(&name, None, &inside(&there), kept);
    }
    let empty = format!("{BOX}/{name}");
    fs::create_dir(&empty).step("make directories")?;
    mounts::bind(&empty, &inside(&there)).step(format!("hide {path}"))
}

fn directories(root: &str) -> Result<()> {
    DIRECTORIES
        .into_iter()
        .try_for_each(|(name, shared)| directory(&format!("{root}/{name}"), shared))
        .step("make directories")
}

/// Makes something at a path, or, where the host's /usr could get no layer, under its name in [`SPARE_BIN`].
fn make(path: &str, by: impl Fn(&str) -> std::io::Result<()>) -> std::io::Result<()> {
    let at = inside(path);
    match make_parents(&at).and_then(|()| by(&at)) {
        Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
            let name = path.rsplit('/').next().unwrap_or(path);
            let spare = inside(&format!("{SPARE_BIN}/{name}"));
            make_parents(&spare).and_then(|()| by(&spare))
        }
        result => result,
    }
}

fn host_directory(bind: &Bind, form: Form, tree: &OwnedFd, number: usize, kept: &[String]) -> Result<()> {
    let target = inside(&bind.target);
    let step = || format!("mount {}", bind.source);
    if form == Form::Fixed {
        let directory = rustix::fs::fstat(tree)
            .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
        make_parents(&target)
            .and_then(|()| if directory { fs::create_dir_all(&target) } else { fs::write(&target, "") })
            .step("make directories")?;
        return mounts::attach(tree, &target).step(step());
    }
    // Attached first: Linux 6.1 takes a mapped directory below an overlay only by a path.
    let lower = format!("{BOX}/lower/{number}");
    let name = format!("host{number}");
    fs::create_dir_all(&lower).and_then(|()| fs::create_dir_all(&target)).step("make directories")?;
    mounts::attach(tree, &lower).step(step())?;
    if bind.target == "/usr" && kept.is_empty() {
        // What a user installs for everybody goes here, as on any machine.
        for directory in ["bin", "lib", "share"] {
            fs::create_dir_all(format!("{BOX}/upper/{name}/local/{directory}")).step("make directories")?;
        }
    }
    layer(&name, Some(&lower), &target, kept)
}

/// A writable layer of the sandbox's own over a directory, and over what was kept of layers over it.
fn layer(name: &str, lower: Option<&str>, target: &str, kept: &[String]) -> Result<()> {
    let lowers: Vec<String> = layers::of(kept, name).chain(lower.map(str::to_owned)).collect();
    let (upper, work) = (format!("{BOX}/upper/{name}"), format!("{BOX}/work/{name}"));
    for path in [&upper, &work] {
        fs::create_dir_all(path).step("make directories")?;
    }
    if let Some(uppermost) = lowers.first().filter(|_| !kept.is_empty()) {
        layers::adopt(uppermost, &upper).step("make directories")?;
    }
    let seen = target.strip_prefix(&inside("")).filter(|path| !path.is_empty()).unwrap_or("/");
    mounts::overlay(&lowers.join(":"), &upper, &work, target).step(format!("mount an overlay on {seen}"))
}

fn make_parents(path: &str) -> std::io::Result<()> {
    Path::new(path).parent().map_or(Ok(()), fs::create_dir_all)
}

fn directory(path: &str, shared: bool) -> std::io::Result<()> {
    fs::create_dir(path)?;
    if shared { fs::set_permissions(path, fs::Permissions::from_mode(0o1777)) } else { Ok(()) }
}

fn proc(ground: &Ground) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mounts::virtual_fs("proc", &inside("/proc"), flags, "").step("mount /proc")?;
    for (paths, cover) in [(&ground.covered_files, NO_FILE), (&ground.covered_directories, NO_DIRECTORY)] {
        for path in paths {
            mounts::bind(cover, &inside(path)).step(format!("cover {path}"))?;
        }
    }
    for path in &ground.fixed {
        mounts::bind(&inside(path), &inside(path)).step(format!("cover {path}"))?;
        if *path != "/proc/sys" {
            fix(&inside(path))?;
        }
    }
    Ok(())
}

fn fix(path: &str) -> Result<()> {
    mounts::restrict(path, READ_ONLY).step(format!("make {path} read-only"))
}

fn devices() -> Result<()> {
    mounts::bind_all(DEV, &inside("/dev")).step("mount /dev")?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = format!("newinstance,ptmxmode=0666,mode=0620,max={TERMINALS}");
    mounts::virtual_fs("devpts", &inside("/dev/pts"), flags, &options).step("mount /dev/pts")?;
    let memory = format!("{BOX}/shm");
    directory(&memory, true).step("make directories")?;
    mounts::bind(&memory, &inside("/dev/shm")).step("mount /dev/shm")
}

/// Makes the new root the root and lets go of the host's.
fn move_in() -> Result<()> {
    rustix::process::chdir(inside("")).step("enter the root")?;
    rustix::process::pivot_root(".", ".").step("change the root (pivot_root)")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).step("leave the host's root")?;
    rustix::process::chdir("/").step("enter the root")
}

/// Switches the loopback device on: the sandbox's own, in a network namespace with nothing else.
fn loopback() -> Result<()> {
    // SAFETY: an all-zero request is valid, the name fits, and the socket is closed in every case.
    unsafe {
        let socket = checked(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))
            .step("switch on loopback")? as i32;
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        let result = checked(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request));
        libc::close(socket);
        result.step("switch on loopback").map(drop)
    }
}
