//! What the engine says and is told, as far as it matters here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub(super) struct Said {
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Image {
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Made {
    pub(super) id: String,
    pub(super) warnings: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) config: Configured,
    pub(super) host_config: Limited,
    pub(super) state: State,
    /// Bytes of its own files, where they were asked for.
    pub(super) size_rw: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Configured {
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) env: Option<Vec<String>>,
    #[serde(default)]
    pub(super) working_dir: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Limited {
    #[serde(default)]
    pub(super) memory: i64,
    #[serde(default)]
    pub(super) nano_cpus: i64,
    pub(super) pids_limit: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct State {
    #[serde(default)]
    pub(super) running: bool,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default, rename = "OOMKilled")]
    pub(super) oom_killed: bool,
    #[serde(default)]
    pub(super) exit_code: i64,
    #[serde(default)]
    pub(super) error: String,
}

/// A container in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) id: String,
    #[serde(default)]
    pub(super) state: String,
    /// Seconds since 1970.
    #[serde(default)]
    pub(super) created: u64,
}

/// A line of what is told while an image comes.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Progress {
    #[serde(default)]
    pub(super) status: String,
    pub(super) id: Option<String>,
    #[serde(default, rename = "progressDetail")]
    pub(super) detail: Detail,
    pub(super) error: Option<String>,
}

/// Bytes of a layer that are there, and that there will be.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Detail {
    pub(super) current: Option<u64>,
    pub(super) total: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Stats {
    #[serde(default)]
    pub(super) cpu_stats: CpuStats,
    #[serde(default)]
    pub(super) memory_stats: MemoryStats,
    #[serde(default)]
    pub(super) pids_stats: PidsStats,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct CpuStats {
    #[serde(default)]
    pub(super) cpu_usage: CpuUsage,
    #[serde(default)]
    pub(super) online_cpus: u32,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct CpuUsage {
    /// Nanoseconds.
    #[serde(default)]
    pub(super) total_usage: u64,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct MemoryStats {
    #[serde(default)]
    pub(super) usage: u64,
    #[serde(default)]
    pub(super) stats: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PidsStats {
    #[serde(default)]
    pub(super) current: u32,
}

/// A container that is to be made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NewContainer {
    pub(super) image: String,
    pub(super) entrypoint: Vec<String>,
    pub(super) cmd: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) stop_signal: String,
    pub(super) healthcheck: Healthcheck,
    pub(super) host_config: HostConfig,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Healthcheck {
    pub(super) test: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    pub(super) auto_remove: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) memory: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) memory_swap: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) nano_cpus: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) pids_limit: u64,
    pub(super) cap_drop: Vec<String>,
    pub(super) security_opt: Vec<String>,
    pub(super) network_mode: String,
    pub(super) ipc_mode: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) sysctls: BTreeMap<String, String>,
    pub(super) readonly_paths: Vec<String>,
    pub(super) log_config: LogConfig,
    pub(super) mounts: Vec<Volume>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) storage_opt: BTreeMap<String, String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LogConfig {
    pub(super) r#type: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Volume {
    pub(super) r#type: String,
    pub(super) source: String,
    pub(super) target: String,
    pub(super) read_only: bool,
    pub(super) volume_options: VolumeOptions,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VolumeOptions {
    /// What the image has at that path is not copied into the volume.
    pub(super) no_copy: bool,
}
