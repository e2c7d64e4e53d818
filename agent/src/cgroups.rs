//! Limits for a sandbox as a whole, where the machine lets this broker set them: cgroups of version 1 or 2.
//!
//! Everything is reached through descriptors that are opened before the stage covers /sys.
//! Version 1: each controller is a tree of its own, and the sandboxes' groups stand below the group that
//! the broker is in, so that limits set on Node hold for them as well. Version 2: a group with processes
//! cannot have controlled children, so they stand below the root of the tree, or, for an ordinary user, below
//! the nearest group around the broker's that was delegated to that user (`cgroups(7)`), as systemd does.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use computesdk_agent::protocol::Plan;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::kills::Kills;
use crate::step::{Result, Step};

/// The directory of one broker is this, its process id and the time it started.
const PREFIX: &str = "computesdk-";
/// How often it is looked for groups that nobody uses any more.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const CPU_PERIOD_US: u64 = 100_000;

/// What counts what a sandbox uses. Of version 1 the last is there only where time is counted in the same tree as it
/// is limited.
const METERS1: &[(Version, &str)] = &[
    (Version::Memory1, "memory.usage_in_bytes"),
    (Version::Memory1, "memory.stat"),
    (Version::Pids1, "pids.current"),
    (Version::Cpu1, "cpuacct.usage"),
];
const METERS2: &[(Version, &str)] = &[
    (Version::Two, "memory.current"),
    (Version::Two, "memory.stat"),
    (Version::Two, "pids.current"),
    (Version::Two, "cpu.stat"),
];

/// Where the groups of this broker's sandboxes are made.
pub struct Cgroups {
    trees: Vec<Tree>,
    name: String,
    /// The number of the next group.
    next: u64,
    /// Groups whose last process had not quite left when they were to be removed.
    lingering: Vec<Cgroup>,
    /// When it was last looked for what brokers that were killed have left.
    looked: Instant,
}

/// One hierarchy: a controller of version 1, or version 2 with all of them.
struct Tree {
    version: Version,
    parent: OwnedFd,
    own: OwnedFd,
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    Memory1,
    Pids1,
    Cpu1,
    Two,
}

/// The group of one sandbox, in each tree.
pub struct Cgroup {
    name: String,
    /// What a process writes to, open, to enter.
    doors: Vec<OwnedFd>,
    /// How often it had too little memory.
    kills: Option<Kills>,
}

impl Cgroups {
    /// Finds the trees in which this process may make groups; `None` if memory and processes cannot both
    /// be limited. Removes what brokers that were killed have left.
    pub fn find() -> Option<Self> {
        let pid = std::process::id();
        let name = format!("{PREFIX}{pid}-{}", started(pid)?);
        let trees = version1(&name).or_else(|| version2(&name))?;
        let mut found = Self { trees, name, next: 0, lingering: Vec::new(), looked: Instant::now() };
        found.remove_stale();
        Some(found)
    }

    /// Makes the group of a sandbox with its limits; `None` if the kernel refuses.
    pub fn make(&mut self, plan: &Plan) -> Option<Cgroup> {
        self.sweep();
        // One that was killed a moment ago, and its sandboxes, may still have been ending.
        if self.looked.elapsed() > LOOK_AGAIN {
            self.remove_stale();
        }
        let name = self.next.to_string();
        self.next += 1;
        let mut doors = Vec::with_capacity(self.trees.len());
        let mut kills = None;
        for tree in &self.trees {
            let door = make_group(&tree.own, &name).and_then(|group| {
                tree.version.limit(&group, plan).ok()?;
                if let Some(file) = tree.version.kills() {
                    kills = Kills::open(&group, file);
                }
                rustix::fs::openat(
                    &group,
                    tree.version.door(),
                    OFlags::WRONLY | OFlags::CLOEXEC,
                    Mode::empty(),
                )
                .ok()
            });
            let Some(door) = door else {
                self.drop(Cgroup { name, doors, kills: None });
                return None;
            };
            doors.push(door);
        }
        Some(Cgroup { name, doors, kills })
    }

    /// The files that count what a sandbox uses, in the order of `BrokerReply::Meters`; fewer if the kernel lacks one.
    pub fn meters(&self, cgroup: &Cgroup) -> Vec<OwnedFd> {
        let open = |(version, file): &(Version, &str)| {
            let tree = self.trees.iter().find(|tree| tree.version == *version)?;
            let path = format!("{}/{file}", cgroup.name);
            rustix::fs::openat(&tree.own, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
        };
        let meters =
            if self.trees.iter().any(|tree| tree.version == Version::Two) { METERS2 } else { METERS1 };
        meters.iter().map_while(open).collect()
    }

    /// Whether the kernel has killed in a group because memory had run out.
    pub fn starved(&self, cgroup: &Cgroup) -> bool {
        let count = |tree: &Tree| {
            let path = format!("{}/{}", cgroup.name, tree.version.kills()?);
            Kills::open(&tree.own, &path)?.count()
        };
        self.trees.iter().find_map(count).is_some_and(|count| count > 0)
    }

    /// Removes the group of a sandbox whose last process has ended.
    pub fn drop(&mut self, cgroup: Cgroup) {
        self.lingering.push(cgroup);
        self.sweep();
    }

    /// Removes what brokers that were killed have left.
    fn remove_stale(&mut self) {
        self.trees.iter().for_each(|tree| remove_stale(&tree.parent));
        self.looked = Instant::now();
    }

    /// Whether there are groups that could not be removed yet.
    pub fn linger(&self) -> bool {
        !self.lingering.is_empty()
    }

    /// Removes those that can be by now.
    pub fn sweep(&mut self) {
        let trees = &self.trees;
        self.lingering.retain(|cgroup| {
            trees.iter().any(|tree| remove_group(&tree.own, &cgroup.name) == Err(Errno::BUSY))
        });
    }

    /// Removes all that this broker has made.
    pub fn remove(mut self) {
        self.sweep();
        for tree in &self.trees {
            let _ = remove_group(&tree.parent, &self.name);
        }
    }
}

impl Cgroup {
    /// The group without its doors: everybody who was to enter has.
    pub fn shut(self) -> Self {
        Self { doors: Vec::new(), kills: None, ..self }
    }

    /// The counter of kills, for process 1 to keep.
    pub fn take_kills(&mut self) -> Option<Kills> {
        self.kills.take()
    }

    /// Puts this process into the group. The right to do so was the broker's, when it opened the doors.
    pub fn enter(&self) -> Result<()> {
        self.doors
            .iter()
            .try_for_each(|door| rustix::io::write(door, b"0").step("enter the cgroup").map(drop))
    }
}

impl Version {
    /// The file to enter by. A thread of version 1 that moves itself takes no lock of the whole system,
    /// which would wait for an RCU grace period: up to 15 ms on an idle machine.
    fn door(self) -> &'static str {
        match self {
            Self::Memory1 | Self::Pids1 | Self::Cpu1 => "tasks",
            Self::Two => "cgroup.procs",
        }
    }

    /// The file that counts the kills for want of memory.
    fn kills(self) -> Option<&'static str> {
        match self {
            Self::Memory1 => Some("memory.oom_control"),
            Self::Two => Some("memory.events"),
            Self::Pids1 | Self::Cpu1 => None,
        }
    }

    fn limit(self, group: &OwnedFd, plan: &Plan) -> rustix::io::Result<()> {
        let quota = u64::from(plan.cpus) * CPU_PERIOD_US / 1000;
        match self {
            Self::Memory1 => {
                write(group, "memory.limit_in_bytes", &plan.memory.to_string())?;
                // Swap is not always accounted; where it is, it is part of the limit.
                let _ = write(group, "memory.memsw.limit_in_bytes", &plan.memory.to_string());
                // What TCP buffers is not part of the limit here, as it is in version 2, and all of the machine
                // shares what there is.
                let _ = write(group, "memory.kmem.tcp.limit_in_bytes", &(plan.memory / 8).to_string());
                Ok(())
            }
            Self::Pids1 => write(group, "pids.max", &plan.processes.to_string()),
            Self::Cpu1 if plan.cpus == 0 => Ok(()),
            Self::Cpu1 => {
                write(group, "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
                write(group, "cpu.cfs_quota_us", &quota.to_string())
            }
            Self::Two => {
                write(group, "memory.max", &plan.memory.to_string())?;
                let _ = write(group, "memory.swap.max", "0");
                write(group, "pids.max", &plan.processes.to_string())?;
                if plan.cpus > 0 {
                    write(group, "cpu.max", &format!("{quota} {CPU_PERIOD_US}"))?;
                }
                Ok(())
            }
        }
    }
}

fn version1(name: &str) -> Option<Vec<Tree>> {
    [("memory", Version::Memory1), ("pids", Version::Pids1), ("cpu", Version::Cpu1)]
        .into_iter()
        .map(|(controller, version)| {
            let (mount, root) = mount_point(|kind, options| {
                kind == "cgroup" && options.split(',').any(|option| option == controller)
            })?;
            let path = own_path(controller)?;
            let below = path.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
            let parent = open(&format!("{mount}{below}"))?;
            let own = make_group(&parent, name)?;
            Some(Tree { version, parent, own })
        })
        .collect()
}

fn version2(name: &str) -> Option<Vec<Tree>> {
    let (mount, root) = mount_point(|kind, _| kind == "cgroup2")?;
    // Its line in /proc names no controllers. What lies outside of a cgroup namespace is none of ours.
    let path = own_path("").filter(|path| !path.contains("/..")).unwrap_or_default();
    let below = path.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
    let delegated = Path::new(below).ancestors().skip(1).filter(|group| group.parent().is_some());
    std::iter::once(Path::new("/"))
        .chain(delegated)
        .find_map(|group| version2_below(open(&format!("{mount}{}", group.display()))?, name))
}

/// Makes the broker's group below this one, if this process may.
fn version2_below(parent: OwnedFd, name: &str) -> Option<Vec<Tree>> {
    let controllers = "+memory +pids +cpu";
    write(&parent, "cgroup.subtree_control", controllers).ok()?;
    let own = make_group(&parent, name)?;
    if write(&own, "cgroup.subtree_control", controllers).is_err() {
        let _ = remove_group(&parent, name);
        return None;
    }
    Some(vec![Tree { version: Version::Two, parent, own }])
}

/// Where the first cgroup file system is that `wanted` accepts by type and options, and which of its
/// directories is seen there. See `proc_pid_mountinfo(5)`.
fn mount_point(wanted: impl Fn(&str, &str) -> bool) -> Option<(String, String)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut back = back.split(' ');
        let (kind, options) = (back.next()?, back.nth(1)?);
        let mut front = front.split(' ').skip(3);
        let (root, point) = (front.next()?, front.next()?);
        wanted(kind, options).then(|| (point.to_owned(), root.to_owned()))
    })
}

/// The path of this process in the tree of a controller. See `cgroups(7)`.
fn own_path(controller: &str) -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|one| one == controller).then(|| path.trim_end_matches('/').to_owned())
    })
}

fn remove_stale(parent: &OwnedFd) {
    let Ok(entries) = rustix::fs::Dir::read_from(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((pid, start)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        if pid.parse().ok().and_then(started).is_some_and(|alive| alive.to_string() == start) {
            continue;
        }
        if let Ok(stale) =
            rustix::fs::openat(parent, &name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            && let Ok(groups) = rustix::fs::Dir::read_from(&stale)
        {
            for group in groups.flatten() {
                let _ = rustix::fs::unlinkat(&stale, group.file_name(), AtFlags::REMOVEDIR);
            }
        }
        let _ = remove_group(parent, &name);
    }
}

/// When a process started, in clock ticks since boot: field 22 of `proc_pid_stat(5)`.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    // One that only waits to be reaped is no more.
    let lives = !matches!(fields.next()?, "Z" | "X");
    lives.then(|| fields.nth(18)?.parse().ok())?
}

fn open(path: &str) -> Option<OwnedFd> {
    rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
}

fn make_group(parent: &OwnedFd, name: &str) -> Option<OwnedFd> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(_) => return None,
    }
    rustix::fs::openat(parent, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
}

fn remove_group(parent: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn write(group: impl AsFd, file: &str, value: &str) -> rustix::io::Result<()> {
    let file = rustix::fs::openat(group, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    fs::File::from(file)
        .write_all(value.as_bytes())
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
