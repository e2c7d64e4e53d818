//! What becomes of the state of a sandbox: measured, put aside, kept.

use napi::Env;
use napi::bindgen_prelude::{PromiseRaw, Unknown};
use napi_derive::napi;

use super::convert::{self, Date, Fields};
use super::sandbox::Sandbox;
use crate::compute;
use crate::provider as contract;

#[napi]
impl Sandbox {
    /// What it uses: on the local provider now, at E2B as it was last measured.
    ///
    /// Raises `UnavailableError` if that has not happened yet.
    ///
    /// @example
    /// ```ts
    /// const { memoryUsed, memoryTotal } = await sandbox.getMetrics()
    /// ```
    #[napi]
    pub fn get_metrics<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, SandboxMetrics>> {
        let sandbox = self.core.clone();
        env.spawn_future(async move { Ok(SandboxMetrics::from(sandbox.metrics().await?)) })
    }

    /// Puts it aside, with its files and with what runs in it. Until `resume` its status is `stopped`, with the reason
    /// `paused`, and every call but `getInfo` and `destroy` raises `UnavailableError`. Twice is fine.
    ///
    /// Raises `UnsupportedError` on the local provider.
    ///
    /// @example
    /// ```ts
    /// await sandbox.pause()
    /// await sandbox.resume({ timeout: 600_000 })
    /// ```
    #[napi(ts_return_type = "Promise<void>")]
    pub fn pause<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, ()>> {
        let sandbox = self.core.clone();
        env.spawn_future(async move { Ok(sandbox.pause().await?) })
    }

    /// Takes it up again where it was put aside, to live at least `timeout` ms from now on (default: the provider's
    /// `timeout`). One that runs goes on, and its life is never made shorter.
    ///
    /// Raises `UnsupportedError` on the local provider.
    #[napi(ts_args_type = "options?: { timeout?: number | undefined }", ts_return_type = "Promise<void>")]
    pub fn resume<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<PromiseRaw<'e, ()>> {
        let fields = Fields::of("options", &options, &["timeout"])?;
        let timeout = fields.millis("timeout")?;
        let sandbox = self.core.clone();
        env.spawn_future(async move { Ok(sandbox.resume(timeout).await?) })
    }

    /// Keeps its state as it is now: `create({ templateId: snapshot.id })` makes others of it. It goes on.
    ///
    /// At E2B files and processes are kept, until the snapshot is deleted; on the local provider files, in memory of
    /// this process, until it ends. A `name` leads to the latest snapshot that was given it; locally it is 1 to 128
    /// letters, digits, `-`, `_` and `.`. What there is no room for raises `QuotaExceededError`.
    ///
    /// @example
    /// ```ts
    /// const { id } = await sandbox.snapshot({ name: 'with-packages' })
    /// const other = await compute.sandbox.create({ templateId: id })
    /// ```
    #[napi(ts_args_type = "options?: { name?: string | undefined }")]
    pub fn snapshot<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<PromiseRaw<'e, Snapshot>> {
        let fields = Fields::of("options", &options, &["name"])?;
        let name = fields.string("name")?;
        let sandbox = self.core.clone();
        env.spawn_future(async move { Ok(Snapshot::from(sandbox.snapshot(name.as_deref()).await?)) })
    }
}

#[napi(skip_typescript)]
pub fn list_snapshots<'e>(
    env: &'e Env,
    provider: Unknown<'e>,
) -> napi::Result<PromiseRaw<'e, Vec<Snapshot>>> {
    let provider = convert::provider("provider", &provider)?;
    env.spawn_future(async move {
        Ok(compute::snapshots_at(&provider).await?.into_iter().map(Snapshot::from).collect())
    })
}

#[napi(skip_typescript)]
pub fn delete_snapshot<'e>(
    env: &'e Env,
    provider: Unknown<'e>,
    id: Unknown<'e>,
) -> napi::Result<PromiseRaw<'e, ()>> {
    let provider = convert::provider("provider", &provider)?;
    let id = convert::string("id", &id)?;
    env.spawn_future(async move { Ok(compute::delete_snapshot_at(&provider, &id).await?) })
}

/// What others can be made from.
#[napi(object, object_from_js = false)]
pub struct Snapshot {
    /// A `templateId`.
    pub id: String,
    /// Names that it goes by too.
    pub names: Vec<String>,
}

impl From<contract::Snapshot> for Snapshot {
    fn from(snapshot: contract::Snapshot) -> Self {
        Self { id: snapshot.id, names: snapshot.names }
    }
}

/// What a sandbox uses.
#[napi(object, object_from_js = false)]
pub struct SandboxMetrics {
    /// When that was.
    pub measured_at: Option<Date>,
    /// Processors that it has.
    pub cpus: f64,
    /// How much of them it used, in percent. Locally since the call before.
    pub cpu_percent: f64,
    /// Bytes of memory that it used.
    pub memory_used: f64,
    /// Of this many.
    pub memory_total: f64,
    /// Bytes of files that it had.
    pub disk_used: f64,
    /// Of this many that there can be.
    pub disk_total: f64,
    /// Processes and threads that it had. Not at E2B.
    pub processes: Option<u32>,
    /// Of this many that there can be at once. Not at E2B.
    pub processes_total: Option<u32>,
}

impl From<contract::Metrics> for SandboxMetrics {
    fn from(metrics: contract::Metrics) -> Self {
        Self {
            measured_at: metrics.at.map(Date),
            cpus: metrics.cpus,
            cpu_percent: metrics.cpu_percent,
            memory_used: metrics.memory as f64,
            memory_total: metrics.memory_total as f64,
            disk_used: metrics.disk as f64,
            disk_total: metrics.disk_total as f64,
            processes: metrics.processes,
            processes_total: metrics.processes_total,
        }
    }
}
