//! What is asked for and what is configured, resolved to a container for the engine to make; and back again.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::config::Config;
use super::program;
use super::wire::{Container, Healthcheck, HostConfig, LogConfig, NewContainer, Volume, VolumeOptions};
use crate::code::Language;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{CreateRequest, DEFAULT_LIFE, Enforcement, Limits, Network, is_possible_id};
use crate::providers::local::url;
use crate::random;

const DEFAULT_MEMORY: u64 = 2 << 30;
/// Less is refused by engines.
const LEAST_MEMORY: u64 = 6 << 20;
const LEAST_DISK: u64 = 1 << 20;
const DEFAULT_PROCESSES: u32 = 256;
/// Process 1, what carries bytes for it, and something that runs.
const LEAST_PROCESSES: u32 = 8;
const NANO: f64 = 1e9;

/// What engines make read-only of themselves, and the directory of devices: what would be put there is no file.
const READ_ONLY: [&str; 6] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/dev"];

/// Engines switch off IPv6 where no network has it. What listens on `::1` alone would be reached by nobody.
pub(super) const IPV6: &str = "net.ipv6.conf.lo.disable_ipv6";

/// What is known of a sandbox is written on its container: no process need remember it.
pub(super) const ID: &str = "computesdk.id";
const CREATED: &str = "computesdk.created";
const TIMEOUT: &str = "computesdk.timeout";
const METADATA: &str = "computesdk.metadata";
const RUNTIME: &str = "computesdk.runtime";
const HOST: &str = "computesdk.host";
const OWNER: &str = "computesdk.owner";

/// A sandbox that is to be made.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) image: String,
    pub(super) container: NewContainer,
    pub(super) ports: Vec<u16>,
}

/// What is known of a sandbox.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) id: String,
    /// What the engine calls its container.
    pub(super) container: String,
    pub(super) created_at: SystemTime,
    /// Life that it was granted at first.
    pub(super) timeout: Duration,
    pub(super) metadata: Option<Map<String, Value>>,
    pub(super) runtime: Option<String>,
    /// The host in its URLs.
    pub(super) host: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) cwd: String,
    pub(super) limits: Limits,
}

/// Resolves what is asked for: the request's word before the configuration's, and that before the default.
pub(super) fn resolve(defaults: &Config, request: &CreateRequest) -> Result<Wanted> {
    let id = match &request.sandbox_id {
        Some(id) if is_possible_id(id) => id.clone(),
        Some(id) => {
            return Err(Error::invalid(format!("`sandboxId` is not possible: `{id}`"))
                .with_hint("1 to 128 letters, digits, `-`, `_` and `.`"));
        }
        None => format!("sbx_{}", random::name()?),
    };
    if !request.mounts.is_empty() {
        return Err(Error::unsupported("`mounts`: a container sees nothing of the machine of its engine")
            .with_hint("write files into it, or use an image that has them"));
    }
    let runtime = defaults.runtime(request.runtime.as_deref());
    let image = defaults.image(request.template_id.as_deref(), runtime)?;
    let runtime = runtime.map(|name| Language::named("runtime", name)).transpose()?;
    let timeout = request.timeout.or(defaults.timeout.map(Duration::from_millis)).unwrap_or(DEFAULT_LIFE);
    let host_config = limited(defaults, request)?;
    let processes = host_config.pids_limit;
    let mut labels = BTreeMap::from([
        (ID.to_owned(), id.clone()),
        (CREATED.to_owned(), since_1970(SystemTime::now()).to_string()),
        (TIMEOUT.to_owned(), milliseconds(timeout).to_string()),
        (HOST.to_owned(), url::host(request.domain.as_deref())?),
        (OWNER.to_owned(), std::process::id().to_string()),
    ]);
    labels.extend(runtime.map(|runtime| (RUNTIME.to_owned(), runtime.to_string())));
    if let Some(metadata) = &request.metadata {
        labels.insert(METADATA.to_owned(), Value::Object(metadata.clone()).to_string());
    }
    for (name, value) in &request.envs {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(Error::invalid(format!("`envs` has no possible name or value: `{name}`")));
        }
    }
    let container = NewContainer {
        image: image.clone(),
        entrypoint: vec![program::PATH.to_owned(), "resident".to_owned()],
        cmd: vec![milliseconds(timeout).to_string(), processes.to_string()],
        env: request.envs.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        labels,
        stop_signal: "SIGKILL".to_owned(),
        healthcheck: Healthcheck { test: vec!["NONE".to_owned()] },
        host_config,
    };
    Ok(Wanted { id, image, container, ports: request.ports.clone() })
}

/// The container's limits, and all that it is not to have.
fn limited(defaults: &Config, request: &CreateRequest) -> Result<HostConfig> {
    let resources = request.resources.or(defaults.resources);
    let memory = resources.memory.unwrap_or(DEFAULT_MEMORY);
    if memory < LEAST_MEMORY {
        return Err(too_small("memory", memory, LEAST_MEMORY));
    }
    if resources.disk.is_some_and(|disk| disk < LEAST_DISK) {
        return Err(too_small("disk", resources.disk.unwrap_or(0), LEAST_DISK));
    }
    let processes = resources.processes.unwrap_or(DEFAULT_PROCESSES);
    if processes < LEAST_PROCESSES {
        return Err(too_small("processes", processes.into(), LEAST_PROCESSES.into()));
    }
    let nano_cpus = match resources.cpus {
        None => 0,
        Some(cpus) if cpus.is_finite() && (0.01..=1e6).contains(&cpus) => (cpus * NANO).round() as u64,
        Some(cpus) => {
            return Err(Error::invalid(format!("`resources.cpus` must be 0.01 or more, got {cpus}")));
        }
    };
    let network = match request.network.as_ref().or(defaults.network.as_ref()) {
        None | Some(Network::None) => "none",
        Some(Network::Full) => "default",
        Some(Network::Allow(_)) => {
            return Err(Error::unsupported(
                "`network`: an engine has no list of hosts that may be reached (`allow`)",
            )
            .with_hint("'none' or 'full'; local() can allow hosts one by one"));
        }
    };
    let storage_opt = resources.disk.map(|disk| ("size".to_owned(), disk.to_string()));
    Ok(HostConfig {
        auto_remove: true,
        memory,
        memory_swap: memory,
        nano_cpus,
        pids_limit: processes.into(),
        cap_drop: vec!["ALL".to_owned()],
        security_opt: vec!["no-new-privileges".to_owned()],
        network_mode: network.to_owned(),
        ipc_mode: "private".to_owned(),
        sysctls: BTreeMap::from([(IPV6.to_owned(), "0".to_owned())]),
        readonly_paths: READ_ONLY.map(str::to_owned).to_vec(),
        log_config: LogConfig { r#type: "none".to_owned() },
        mounts: vec![Volume {
            r#type: "volume".to_owned(),
            source: program::volume(),
            target: program::FOLDER.to_owned(),
            read_only: true,
            volume_options: VolumeOptions { no_copy: true },
        }],
        storage_opt: storage_opt.into_iter().collect(),
    })
}

fn too_small(name: &str, value: u64, least: u64) -> Error {
    Error::invalid(format!("`resources.{name}` is too small: {value}, at least {least}"))
}

/// Refuses a container on which the engine has not put the limits that it was told.
pub(super) fn check_limits(wanted: &HostConfig, container: &Container, warnings: &[String]) -> Result<()> {
    let has = &container.host_config;
    let is = |has: i64, wanted: u64| u64::try_from(has) == Ok(wanted);
    let lacking = [
        ("memory", is(has.memory, wanted.memory)),
        ("processes", is(has.pids_limit.unwrap_or(0), wanted.pids_limit)),
        ("cpus", is(has.nano_cpus, wanted.nano_cpus)),
    ]
    .into_iter()
    .find(|(_, honoured)| !honoured);
    match lacking {
        None => Ok(()),
        Some((name, _)) => Err(Error::unsupported(format!(
            "`resources.{name}`: the engine did not put this limit on the container{}",
            warnings.first().map_or_else(String::new, |warning| format!(": {}", super::error::tidy(warning)))
        ))
        .with_hint("its machine needs cgroups that count this: `docker info` has warnings about it")),
    }
}

/// What a container says of its sandbox; `None` if it is none.
pub(super) fn facts(container: Container) -> Option<Facts> {
    let labels = container.config.labels;
    let number = |name| labels.get(name)?.parse::<u64>().ok();
    let has = container.host_config;
    let limits = Limits {
        memory: has.memory.try_into().unwrap_or(0),
        disk: 0,
        cpus: (has.nano_cpus > 0).then_some(has.nano_cpus as f64 / NANO),
        processes: has.pids_limit.and_then(|limit| limit.try_into().ok()),
        enforcement: Enforcement::Cgroup,
    };
    let split = |text: String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let cwd = Some(container.config.working_dir).filter(|directory| directory.starts_with('/'));
    Some(Facts {
        id: labels.get(ID)?.clone(),
        container: container.id,
        created_at: UNIX_EPOCH.checked_add(Duration::from_millis(number(CREATED)?))?,
        timeout: Duration::from_millis(number(TIMEOUT)?),
        metadata: labels.get(METADATA).and_then(|text| serde_json::from_str(text).ok()),
        runtime: labels.get(RUNTIME).cloned(),
        host: labels.get(HOST).cloned().unwrap_or_else(|| "127.0.0.1".to_owned()),
        env: container.config.env.unwrap_or_default().into_iter().filter_map(split).collect(),
        cwd: cwd.unwrap_or_else(|| "/".to_owned()),
        limits,
    })
}

/// What no number holds is without end, as far as anybody will see.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn since_1970(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// The error of an id that is taken.
pub(super) fn taken(id: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("there is a sandbox `{id}` already"))
        .with_hint("choose another `sandboxId`, or find that one with getById")
}
