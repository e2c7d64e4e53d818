//! From a configuration and a request to plain data: what the agent is to make, and what this side keeps.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use computesdk_agent::protocol::{self, Bind, Plan};

use super::config::{Config, Template};
use super::interpreter::{self, Interpreter};
use super::network::Access;
use super::snapshots::Used;
use super::template::{self, Found};
use super::{mounts, url, warm};
use crate::code::{self, Language};
use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{CreateRequest, DEFAULT_LIFE, Enforcement, Limits, Resources, is_possible_id};
use crate::random;

/// Home and default working directory of commands.
pub(super) const HOME: &str = "/home/user";

const MIB: u64 = 1 << 20;
const DEFAULT_MEMORY: u64 = 2048 * MIB;
const LEAST_MEMORY: u64 = 32 * MIB;
const DEFAULT_DISK: u64 = 1024 * MIB;
const LEAST_DISK: u64 = MIB;
const DEFAULT_PROCESSES: u32 = 256;
const LEAST_PROCESSES: u32 = 4;
const OPEN_FILES: u64 = 4096;
/// Sandboxes made in advance unless the configuration says otherwise.
const SPARES: u8 = 2;
/// What all snapshots may take, unless the configuration says otherwise.
const SNAPSHOT_MEMORY: u64 = 1024 * MIB;
/// One file for each of these many bytes of disk: each costs the kernel memory that counts as the sandbox's.
const BYTES_PER_INODE: u64 = 4096;

/// Directories of the host that programs live in. On most machines all but the first are links into it.
const PROGRAMS: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Where an interpreter is seen that does not lie below /usr.
const PYTHON: &str = "/opt/python";
const NODE: &str = "/opt/node";

/// What below /usr is never hidden, because programs are there.
const SYSTEM: [&str; 13] = [
    "bin",
    "include",
    "lib",
    "lib32",
    "lib64",
    "libexec",
    "libx32",
    "local",
    "local/bin",
    "local/lib",
    "local/share",
    "sbin",
    "share",
];

/// Everything about a sandbox that is to be.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) id: String,
    pub(super) runtime: Option<String>,
    pub(super) timeout: Duration,
    pub(super) metadata: Option<serde_json::Map<String, serde_json::Value>>,
    pub(super) envs: BTreeMap<String, String>,
    /// What the interpreters need in the environment to find themselves.
    pub(super) interpreters: BTreeMap<String, String>,
    /// The interpreters that take code, where they are up.
    pub(super) warm: Vec<protocol::Interpreter>,
    pub(super) enforce: bool,
    /// The host in its URLs.
    pub(super) host: String,
    /// What can be reached from the beginning.
    pub(super) ports: Vec<u16>,
    /// What it can reach, if anything.
    pub(super) access: Option<Access>,
    pub(super) plan: Plan,
    /// What it is made from.
    pub(super) origin: Arc<Origin>,
    /// What of another sandbox it stands on.
    pub(super) snapshot: Option<Used>,
    /// Bytes of memory that all snapshots may take when one is taken of it.
    pub(super) snapshot_memory: u64,
}

/// What a sandbox is made from, before anybody has written anything: its own root, and so that of those that are made
/// from snapshots of it.
#[derive(Debug)]
pub(super) struct Origin {
    /// The root, with nothing in it that only one sandbox has.
    plan: Plan,
    python: Option<Interpreter>,
    node: Option<Interpreter>,
}

impl Origin {
    /// What a template or the configuration says it is.
    async fn of(defaults: &Config, template: Option<&Template>, name: Option<&str>) -> Result<Self> {
        let python = match template {
            Some(Template::Rootfs(path)) => {
                let (name, path) = (name.unwrap_or_default().to_owned(), path.clone());
                let rootfs = looked_at(move || mounts::rootfs(&name, &path)).await?;
                let plan = Plan { rootfs: Some(Box::new(rootfs)), ..bare() };
                return Ok(Self { plan, python: None, node: None });
            }
            Some(Template::Python(path)) => Some(path.as_str()),
            None => defaults.python.as_deref(),
        };
        let python = interpreter::python(python).await?;
        let node = interpreter::node(defaults.node.as_deref()).await?;
        Ok(Self { plan: host(python.clone(), node.clone()), python, node })
    }

    /// The runtime of a sandbox, where one is asked for. What a folder has is known when it is the root.
    fn runtime(&self, asked: &str) -> Result<String> {
        if self.plan.rootfs.is_some() {
            return Ok(Language::named("runtime", asked)?.to_string());
        }
        runtime_here(asked, self.python.as_ref(), self.node.as_ref())
    }

    /// The languages that it has an interpreter for. What a folder has is known when it is the root.
    fn languages(&self) -> Vec<Language> {
        let is_here = |interpreter: &Option<Interpreter>| self.plan.rootfs.is_some() || interpreter.is_some();
        let all = [(Language::Python, &self.python), (Language::Node, &self.node)];
        all.into_iter().filter(|(_, one)| is_here(one)).map(|(language, _)| language).collect()
    }
}

impl Settings {
    pub(super) fn limits(&self, enforcement: Enforcement) -> Limits {
        Limits {
            memory: self.plan.memory,
            disk: self.plan.disk,
            cpus: (self.plan.cpus > 0).then(|| f64::from(self.plan.cpus) / 1000.0),
            processes: Some(self.plan.processes),
            enforcement,
        }
    }
}

/// The environment of every command, before the sandbox's and its own.
pub(super) fn environment(shell: &str) -> BTreeMap<String, String> {
    [
        ("HOME", HOME),
        ("LANG", "C.UTF-8"),
        ("LOGNAME", "user"),
        (
            "PATH",
            "/home/user/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin",
        ),
        // The sandbox is nobody's system: Debian's lock on `pip install` protects nothing here.
        ("PIP_BREAK_SYSTEM_PACKAGES", "1"),
        ("SHELL", if shell == "bash" { "/bin/bash" } else { "/bin/sh" }),
        ("USER", "user"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Resolves what is asked for: the request's word before the configuration's, and that before the default.
pub(super) async fn resolve(defaults: &Config, request: &CreateRequest) -> Result<Settings> {
    let name = request.template_id.as_deref();
    let (origin, snapshot) = match template::find(defaults, name)? {
        Some(Found::Snapshot(kept)) => (Arc::clone(&kept.origin), Some(kept)),
        Some(Found::Template(template)) => {
            (Arc::new(Origin::of(defaults, Some(template), name).await?), None)
        }
        None => (Arc::new(Origin::of(defaults, None, None).await?), None),
    };
    let kept = snapshot.as_ref().and_then(|kept| kept.runtime.as_ref());
    let runtime = request.runtime.as_ref().or(kept).or(defaults.runtime.as_ref());
    let runtime = runtime.map(|asked| origin.runtime(asked)).transpose()?;
    let resources = request.resources.or(defaults.resources);
    let timeout = request.timeout.or(defaults.timeout.map(Duration::from_millis)).unwrap_or(DEFAULT_LIFE);
    let mut plan = limited(origin.plan.clone(), &resources)?;
    if let Some(kept) = &snapshot {
        plan.layers = kept.layers();
        // This process may work elsewhere by now.
        let more = hidden().into_iter().filter(|path| plan.rootfs.is_none() && !plan.hidden.contains(path));
        let more: Vec<_> = more.collect();
        plan.hidden.extend(more);
    }
    plan.spares = defaults.spares.unwrap_or(SPARES);
    let network = request.network.as_ref().or(defaults.network.as_ref());
    let access = Access::of(network, plan.rootfs.is_none())?;
    plan.names = access.as_ref().map(Access::names).unwrap_or_default();
    let lent: Vec<_> = defaults.mounts.iter().chain(&request.mounts).cloned().collect();
    if !lent.is_empty() {
        plan.mounts = looked_at(move || mounts::lend(&lent)).await?;
    }
    let interpreters: BTreeMap<_, _> = shared_library(&plan).into_iter().collect();
    let warm = warm::interpreters(&defaults.warm, &origin.languages(), &interpreters)?;
    plan.warm.extend(warm.iter().filter(|interpreter| interpreter.stays).cloned());
    Ok(Settings {
        id: request.sandbox_id.clone().map_or_else(fresh_id, checked_id)?,
        runtime,
        timeout,
        metadata: request.metadata.clone(),
        envs: request.envs.clone(),
        interpreters,
        warm,
        enforce: resources.enforce.unwrap_or(false),
        host: url::host(request.domain.as_deref())?,
        ports: request.ports.clone(),
        access,
        plan,
        origin,
        snapshot,
        snapshot_memory: defaults.snapshot_memory.unwrap_or(SNAPSHOT_MEMORY),
    })
}

/// Looks at what somebody has named on this machine: it may be on a disk that takes its time.
async fn looked_at<T: Send + 'static>(look: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|_| Err(Error::new(ErrorKind::Unavailable, "this process is about to end")))
}

/// An id that nobody can guess.
fn fresh_id() -> Result<String> {
    Ok(format!("sbx_{}", random::name()?))
}

fn checked_id(id: String) -> Result<String> {
    if !is_possible_id(&id) {
        return Err(Error::invalid(format!("`sandboxId` is not possible: `{id}`"))
            .with_hint("1 to 128 letters, digits, `-`, `_` and `.`"));
    }
    Ok(id)
}

/// The runtime that the sandbox will have: the family that was asked for, in the version that is here. The
/// one option that falls back: other versions of the same language are close enough to be useful.
fn runtime_here(asked: &str, python: Option<&Interpreter>, node: Option<&Interpreter>) -> Result<String> {
    let language = Language::named("runtime", asked)?;
    let interpreter = match language {
        Language::Python => python,
        Language::Node => node,
    };
    let Some(interpreter) = interpreter else {
        return Err(Error::unsupported(format!("`runtime`: this machine has no interpreter for {asked}"))
            .with_hint(format!("install one, or name it: local({{ {language}: '/path/to/it' }})")));
    };
    let name = interpreter.name();
    let here =
        if language == Language::Python && name.starts_with("python3") { name } else { language.to_string() };
    if let Some(version) = code::version(asked)
        && !here.ends_with(version)
    {
        tracing::info!(asked, here, "the runtime's version is not on this machine");
    }
    Ok(here)
}

/// A root without anything of the host's in it, and without limits.
fn bare() -> Plan {
    Plan { open_files: OPEN_FILES, spares: SPARES, ..Plan::empty() }
}

/// A root with the programs of the host.
fn host(python: Option<Interpreter>, node: Option<Interpreter>) -> Plan {
    Plan { hidden: hidden(), ..programs([python, node]) }
}

/// Likewise, but for what is hidden. What was looked at last is known: installations stay where they are while a
/// process runs.
fn programs(interpreters: [Option<Interpreter>; 2]) -> Plan {
    static LAST: Mutex<Option<([Option<Interpreter>; 2], Plan)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*last {
        Some((known, plan)) if *known == interpreters => plan.clone(),
        _ => last.insert((interpreters.clone(), look_at_programs(&interpreters))).1.clone(),
    }
}

fn look_at_programs([python, node]: &[Option<Interpreter>; 2]) -> Plan {
    let mut plan = bare();
    host_programs(&mut plan);
    if let Some(python) = python {
        add_python(&mut plan, python);
    }
    if let Some(node) = node {
        add_node(&mut plan, node);
    }
    plan
}

fn limited(plan: Plan, resources: &Resources) -> Result<Plan> {
    let at_least = |name: &str, value: u64, least: u64| {
        if value < least {
            Err(Error::invalid(format!("`resources.{name}` is too small: {value}, at least {least}")))
        } else {
            Ok(value)
        }
    };
    let memory = at_least("memory", resources.memory.unwrap_or(DEFAULT_MEMORY), LEAST_MEMORY)?;
    let disk = at_least("disk", resources.disk.unwrap_or(DEFAULT_DISK.min(memory / 2)), LEAST_DISK)?;
    // Files are memory: with more of them allowed than memory, a full disk would end the sandbox.
    if disk > memory / 2 {
        return Err(Error::invalid(format!(
            "`resources.disk` ({disk}) may be half of `resources.memory` ({memory}) at most: files are held in memory"
        )));
    }
    let processes = resources.processes.unwrap_or(DEFAULT_PROCESSES);
    at_least("processes", processes.into(), LEAST_PROCESSES.into())?;
    let cpus = match resources.cpus {
        None => 0,
        Some(cpus) if (0.01..=1024.0).contains(&cpus) => (cpus * 1000.0) as u32,
        Some(cpus) => {
            return Err(Error::invalid(format!("`resources.cpus` must be from 0.01 to 1024, got {cpus}")));
        }
    };
    let inodes = (disk / BYTES_PER_INODE).max(1024);
    Ok(Plan { disk, inodes, memory, processes, cpus, ..plan })
}

fn host_programs(plan: &mut Plan) {
    for path in PROGRAMS {
        match (fs::read_link(path), Path::new(path).is_dir()) {
            (Ok(target), _) => plan.links.push((path.to_owned(), target.to_string_lossy().into_owned())),
            (Err(_), true) => {
                plan.host.push(Bind { source: path.to_owned(), target: path.to_owned(), overlay: true });
            }
            (Err(_), false) => {}
        }
    }
}

/// Makes parts of an installation seen below `mounted`, read-only.
fn mount(plan: &mut Plan, parts: Vec<(PathBuf, String)>, mounted: &str) {
    plan.host.extend(parts.into_iter().map(|(source, below)| Bind {
        source: source.to_string_lossy().into_owned(),
        target: format!("{mounted}/{below}"),
        overlay: false,
    }));
}

fn add_python(plan: &mut Plan, python: &Interpreter) {
    if python.is_common() {
        // Where Debian's and everybody else's Python look first for what was installed into it.
        for directory in ["dist-packages", "site-packages"] {
            lend_packages(plan, python, "/usr/local", directory);
        }
        return link(plan, &["python"], &python.program.to_string_lossy());
    }
    mount(plan, python.python_parts(), PYTHON);
    lend_packages(plan, python, PYTHON, "site-packages");
    let program = format!("{PYTHON}/bin/{}", python.name());
    // Its own `pip` names the place that it was installed at, which is not where it is now.
    plan.programs.extend(["pip", "pip3"].map(|name| {
        (format!("/usr/local/bin/{name}"), format!("#!/bin/sh\nexec {program} -m pip \"$@\"\n"))
    }));
    link(plan, &["python", "python3"], &program);
}

/// Makes the packages of a virtual environment those of its Python.
fn lend_packages(plan: &mut Plan, python: &Interpreter, prefix: &str, directory: &str) {
    if let (Some(packages), Some(library)) = (&python.packages, python.library()) {
        mount(plan, vec![(packages.clone(), format!("lib/{library}/{directory}"))], prefix);
    }
}

/// A Python that is a shared library has the path of its installation in it, and would load the host's own
/// of that version, or none, where it is mounted now.
fn shared_library(plan: &Plan) -> Option<(String, String)> {
    let libraries = format!("{PYTHON}/lib");
    let library = format!("{libraries}/libpython");
    let shared = plan.host.iter().any(|bind| bind.target == libraries || bind.target.starts_with(&library));
    shared.then(|| ("LD_LIBRARY_PATH".to_owned(), libraries))
}

fn add_node(plan: &mut Plan, node: &Interpreter) {
    if node.is_common() {
        return;
    }
    let parts = node.node_parts();
    let npm = parts.len() > 1;
    mount(plan, parts, NODE);
    link(plan, &["node"], &format!("{NODE}/bin/node"));
    if npm {
        for name in ["npm", "npx"] {
            link(plan, &[name], &format!("{NODE}/lib/node_modules/npm/bin/{name}-cli.js"));
        }
    }
}

/// Directories below /usr that hold somebody's work rather than programs: sources, as Docker's images keep
/// an application in, and wherever this process itself works or has its home.
fn hidden() -> Vec<String> {
    let own = [config::working_directory(), config::home()].into_iter().flatten();
    let own = own.map(|path| path.to_string_lossy().into_owned()).filter(|path| {
        let of_system = |system: &&str| *path == format!("/usr/{system}");
        path.starts_with("/usr/") && !SYSTEM.iter().any(of_system)
    });
    std::iter::once("/usr/src".to_owned()).chain(own).collect()
}

fn link(plan: &mut Plan, names: &[&str], program: &str) {
    for name in names {
        let path = format!("/usr/local/bin/{name}");
        if path != program && !(program.starts_with("/usr") && Path::new(&path).exists()) {
            plan.links.push((path, program.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Network;

    async fn resolved(request: CreateRequest) -> Result<Settings> {
        resolve(&Config::default(), &request).await
    }

    fn with(resources: Resources) -> CreateRequest {
        CreateRequest { resources, ..CreateRequest::default() }
    }

    async fn refusal(request: CreateRequest) -> (ErrorKind, String) {
        let error = resolved(request).await.expect_err("this cannot be had");
        (error.kind(), error.message().to_owned())
    }

    #[tokio::test]
    async fn the_defaults_are_those_of_the_documents() {
        let settings = resolved(CreateRequest::default()).await.expect("nothing is asked for");
        assert_eq!(settings.timeout, Duration::from_secs(300));
        assert_eq!(settings.plan.memory, 2 << 30);
        assert_eq!(settings.plan.disk, 1 << 30);
        assert_eq!(settings.plan.processes, 256);
        assert_eq!(settings.plan.cpus, 0);
    }

    #[tokio::test]
    async fn the_request_comes_before_the_configuration() {
        let config = Config {
            timeout: Some(1000),
            resources: Resources { processes: Some(10), cpus: Some(0.5), ..Resources::default() },
            ..Config::default()
        };
        let request = CreateRequest {
            timeout: Some(Duration::ZERO),
            resources: Resources { processes: Some(20), ..Resources::default() },
            ..CreateRequest::default()
        };
        let settings = resolve(&config, &request).await.expect("all of it can be had");
        assert_eq!(settings.timeout, Duration::ZERO);
        assert_eq!((settings.plan.processes, settings.plan.cpus), (20, 500));
    }

    #[tokio::test]
    async fn a_disk_is_half_of_the_memory_at_most() {
        let small = with(Resources { memory: Some(256 << 20), ..Resources::default() });
        assert_eq!(resolved(small).await.expect("the disk follows").plan.disk, 128 << 20);
        let both = Resources { memory: Some(256 << 20), disk: Some(256 << 20), ..Resources::default() };
        let (kind, message) = refusal(with(both)).await;
        assert_eq!(kind, ErrorKind::InvalidArgument);
        assert!(message.starts_with("`resources.disk`"), "{message}");
    }

    #[tokio::test]
    async fn limits_that_nothing_runs_under_are_refused_by_name() {
        for (resources, name) in [
            (Resources { memory: Some(1), ..Resources::default() }, "resources.memory"),
            (Resources { disk: Some(0), ..Resources::default() }, "resources.disk"),
            (Resources { processes: Some(1), ..Resources::default() }, "resources.processes"),
            (Resources { cpus: Some(0.0), ..Resources::default() }, "resources.cpus"),
            (Resources { cpus: Some(-1.0), ..Resources::default() }, "resources.cpus"),
        ] {
            let (kind, message) = refusal(with(resources)).await;
            assert_eq!(kind, ErrorKind::InvalidArgument);
            assert!(message.contains(name), "{message}");
        }
    }

    #[tokio::test]
    async fn only_exact_names_are_part_of_the_plan() {
        let config = Config { network: Some(Network::Allow(vec!["a.org".to_owned()])), ..Config::default() };
        let with = async |network| {
            let request = CreateRequest { network, ..CreateRequest::default() };
            resolve(&config, &request).await.expect("all of it can be had")
        };
        let named = with(None).await.plan.names;
        assert_eq!(named.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["a.org"]);
        let none = with(Some(Network::None)).await;
        assert!(none.access.is_none() && none.plan.names.is_empty());
        for network in [Network::Full, Network::Allow(vec!["*.a.org".to_owned()])] {
            let settings = with(Some(network)).await;
            assert!(settings.access.is_some());
            assert_eq!(settings.plan, none.plan);
        }
    }

    #[tokio::test]
    async fn a_runtime_is_a_family_in_the_version_that_is_here() {
        let runtime =
            |name: &str| CreateRequest { runtime: Some(name.to_owned()), ..CreateRequest::default() };
        let settings = resolved(runtime("python2.3")).await.expect("this machine has a Python");
        assert!(settings.runtime.is_some_and(|here| here.starts_with("python3")));
        assert_eq!(refusal(runtime("cobol")).await.0, ErrorKind::InvalidArgument);
    }

    #[test]
    fn an_id_that_we_make_is_long_and_never_the_same() {
        let (one, other) = (fresh_id().expect("random"), fresh_id().expect("random"));
        assert_ne!(one, other);
        assert!(one.len() >= 32 + 4 && checked_id(one.clone()).is_ok(), "{one}");
    }

    #[test]
    fn an_impossible_id_is_refused() {
        for id in ["", "a/b", "a b", "ü", "a\0", &"x".repeat(129)] {
            assert!(checked_id(id.to_owned()).is_err(), "{id}");
        }
    }

    #[test]
    fn of_an_interpreter_outside_usr_only_its_parts_are_seen() {
        let home = std::env::temp_dir().join(fresh_id().expect("random"));
        for directory in ["bin", "lib/python3.12", "lib/node_modules/npm", ".ssh"] {
            fs::create_dir_all(home.join(directory)).expect("a directory can be made");
        }
        let files =
            ["bin/python3.12", "bin/node", "lib/python3.12/os.py", "lib/node_modules/npm/package.json"];
        for file in files.into_iter().chain([".ssh/id_rsa"]) {
            fs::write(home.join(file), "").expect("a file can be made");
        }
        let python = Interpreter { program: home.join("bin/python3.12"), packages: None };
        let node = Interpreter { program: home.join("bin/node"), packages: None };
        let plan = host(Some(python), Some(node));
        fs::remove_dir_all(&home).expect("it was made here");

        let seen: Vec<_> =
            plan.host.iter().filter(|bind| !bind.overlay).map(|bind| bind.target.as_str()).collect();
        assert_eq!(
            seen,
            [
                "/opt/python/bin/python3.12",
                "/opt/python/lib/python3.12",
                "/opt/node/bin/node",
                "/opt/node/lib/node_modules/npm",
            ]
        );
        let python3 = ("/usr/local/bin/python3".to_owned(), "/opt/python/bin/python3.12".to_owned());
        assert!(plan.links.contains(&python3));
        assert!(plan.programs.iter().any(|(path, _)| path == "/usr/local/bin/pip"));
    }
}
