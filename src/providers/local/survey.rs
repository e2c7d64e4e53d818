//! What this machine gives for isolation, layer by layer: seen in a sandbox that was made, or, where none could be, in
//! what the kernel tells of itself.

use std::fs;

use super::error;
use super::interpreter::{self, Interpreter};
use crate::provider::{Enforcement, Info};

/// The least of Linux that has what is needed.
const LEAST: (u32, u32) = (5, 15);

/// Something that isolates, limits or runs code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub name: &'static str,
    /// Whether it is there; `None` where that cannot be told.
    pub there: Option<bool>,
    /// What was found, or what it is for.
    pub found: String,
    /// Why it is missing, and what to do about it.
    pub lack: Option<(String, String)>,
}

impl Finding {
    fn there(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, there: Some(true), found: found.into(), lack: None }
    }

    fn missing(
        name: &'static str,
        found: impl Into<String>,
        (cause, cure): (impl Into<String>, impl Into<String>),
    ) -> Self {
        Self { name, there: Some(false), found: found.into(), lack: Some((cause.into(), cure.into())) }
    }

    fn unknown(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, there: None, found: found.into(), lack: None }
    }
}

/// Looks around; `made` has the facts about a sandbox that could be made.
pub async fn survey(made: Option<&Info>) -> Vec<Finding> {
    let layers = made.map(|info| info.isolation.as_slice());
    vec![
        kernel(),
        namespaces(layers),
        overlay(layers),
        owners(layers),
        privileges(layers),
        seccomp(layers),
        landlock(layers),
        limits(made),
        processors(made),
        interpreter("python", interpreter::python(None).await),
        interpreter("node", interpreter::node(None).await),
    ]
}

/// The layers with this at the end of their names, without it.
fn named(layers: &[String], end: &str) -> Vec<String> {
    layers.iter().filter_map(|layer| layer.strip_suffix(end)).map(|name| name.trim().to_owned()).collect()
}

fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    match numbers.next().zip(numbers.next()) {
        Some(version) if version < LEAST => {
            let (major, minor) = LEAST;
            let cure = format!("Linux {major}.{minor} or newer is needed");
            Finding::missing("kernel", format!("Linux {release}"), ("it is too old", cure))
        }
        Some(_) => Finding::there("kernel", format!("Linux {release}")),
        None => Finding::unknown("kernel", release),
    }
}

fn namespaces(layers: Option<&[String]>) -> Finding {
    const NAME: &str = "namespaces";
    match layers {
        Some(layers) => Finding::there(NAME, named(layers, "namespace").join(", ")),
        None => match error::restriction() {
            Some(lack) => Finding::missing(NAME, "user namespaces are not to be had", lack),
            None => Finding::unknown(NAME, "nothing that can be seen restricts them"),
        },
    }
}

fn overlay(layers: Option<&[String]>) -> Finding {
    const NAME: &str = "own root";
    let known =
        read("/proc/filesystems").lines().any(|line| line.split_whitespace().last() == Some("overlay"));
    match (layers, known) {
        (Some(layers), true) if has(layers, "own root") => {
            Finding::there(NAME, "a file system in memory, with layers over the host's programs")
        }
        (None, true) => Finding::unknown(NAME, "the kernel knows overlayfs"),
        _ => {
            let lack =
                ("the kernel does not know overlayfs", "run `modprobe overlay`, or use a kernel that has it");
            Finding::missing(NAME, "a file system of its own", lack)
        }
    }
}

fn has(layers: &[String], name: &str) -> bool {
    layers.iter().any(|layer| layer == name)
}

fn owners(layers: Option<&[String]>) -> Finding {
    const NAME: &str = "own user ids";
    if !is_root() {
        let lack = (
            "only root can give each sandbox ids of its own",
            "nothing need be done: namespaces keep sandboxes apart; run as root for the additional layer",
        );
        return Finding::missing(NAME, "sandboxes run with the id of this user", lack);
    }
    match layers {
        Some(layers) if has(layers, "mapped owners") => {
            Finding::there(NAME, "65536 for each sandbox; files of the host keep their owners inside")
        }
        Some(_) => Finding::there(NAME, "65536 for each sandbox; files of the host belong to nobody inside"),
        None => Finding::unknown(NAME, "65536 for each sandbox"),
    }
}

fn privileges(layers: Option<&[String]>) -> Finding {
    const NAME: &str = "privileges";
    match layers {
        Some(_) => Finding::there(NAME, "no capabilities, and no way to gain any"),
        None => Finding::unknown(NAME, "no capabilities, and no way to gain any"),
    }
}

fn seccomp(layers: Option<&[String]>) -> Finding {
    const NAME: &str = "seccomp";
    let known = fs::exists("/proc/sys/kernel/seccomp/actions_avail").unwrap_or(false);
    match layers {
        Some(layers) if has(layers, "seccomp") => Finding::there(NAME, "system calls are filtered"),
        _ if known => Finding::unknown(NAME, "the kernel can filter system calls"),
        _ => Finding::missing(
            NAME,
            "a filter of system calls",
            ("the kernel has none", "use a kernel with CONFIG_SECCOMP_FILTER"),
        ),
    }
}

fn landlock(layers: Option<&[String]>) -> Finding {
    const NAME: &str = "landlock";
    let version = layers.and_then(|layers| layers.iter().find_map(|layer| layer.strip_prefix("landlock ")));
    let switched_on = read("/sys/kernel/security/lsm").split(',').any(|module| module == "landlock");
    match version {
        Some(version) => Finding::there(NAME, format!("version {version}")),
        None if layers.is_none() && switched_on => Finding::unknown(NAME, "the kernel has it"),
        None => Finding::missing(
            NAME,
            "a second wall around files",
            (
                "the kernel has none, or one before version 2",
                "nothing need be done: sandboxes work without it; for the additional layer, boot Linux 5.19 or newer \
                 with `landlock` in its list `lsm=`",
            ),
        ),
    }
}

fn limits(made: Option<&Info>) -> Finding {
    const NAME: &str = "limits";
    let version = cgroup_version();
    match made.and_then(|info| info.limits).map(|limits| limits.enforcement) {
        Some(Enforcement::Cgroup) => {
            Finding::there(NAME, format!("of the sandbox as a whole, by cgroups of {version}"))
        }
        Some(Enforcement::PerProcess | Enforcement::Machine) => {
            let found = format!("of each process for itself; this machine has cgroups of {version}");
            Finding::missing(NAME, found, error::no_cgroups())
        }
        None => Finding::unknown(NAME, format!("this machine has cgroups of {version}")),
    }
}

/// The version of the cgroups that limit memory, as far as can be seen from here.
fn cgroup_version() -> &'static str {
    let mounts = read("/proc/self/mountinfo");
    let mut kinds = mounts.lines().filter_map(|line| {
        let mut fields = line.split_once(" - ")?.1.split(' ');
        Some((fields.next()?, fields.nth(1)?))
    });
    if kinds.clone().any(|(kind, options)| kind == "cgroup" && options.split(',').any(|one| one == "memory"))
    {
        "version 1"
    } else if kinds.any(|(kind, _)| kind == "cgroup2") {
        "version 2"
    } else {
        "no version"
    }
}

/// Where all limits hold for the whole, a share of the processors can be asked for.
fn processors(made: Option<&Info>) -> Finding {
    const NAME: &str = "processors";
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    match made.and_then(|info| info.limits).map(|limits| limits.enforcement) {
        Some(Enforcement::Cgroup) => {
            Finding::there(NAME, format!("{count}; `resources.cpus` limits their use"))
        }
        Some(Enforcement::PerProcess | Enforcement::Machine) => {
            Finding::missing(NAME, format!("{count}; `resources.cpus` is refused"), error::no_cgroups())
        }
        None => Finding::unknown(NAME, count.to_string()),
    }
}

fn interpreter(name: &'static str, found: crate::error::Result<Option<Interpreter>>) -> Finding {
    match found {
        Ok(Some(found)) => Finding::there(name, found.program.display().to_string()),
        _ => Finding::missing(
            name,
            "code cannot be run in this language",
            ("none was found on PATH", format!("install it, or name it: local({{ {name}: '/path/to/it' }})")),
        ),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The text of a file of the kernel's; empty if there is none.
fn read(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}
