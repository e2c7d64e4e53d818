//! What a sandbox uses, as its engine counts it; its file system is known inside.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use computesdk_agent::protocol::{Reply, Request};

use super::instance::DockerInstance;
use crate::error::Result;
use crate::provider::Metrics;
use crate::providers::local::error::nonsense;

/// The shortest time that a share of the processors is told of.
const WINDOW: Duration = Duration::from_millis(100);

/// Time of the processors that was spent at a moment.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Option<(Instant, u64)>>);

impl Meter {
    /// Measures now. The share of the processors is that since the last time, or of a moment from now on.
    pub(super) async fn read(&self, instance: &DockerInstance) -> Result<Metrics> {
        let Reply::Measured { usage, .. } =
            instance.ask(|id| Request::Measure { id, processes: false }).await?.1.reply
        else {
            return Err(nonsense());
        };
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, spent) = match known {
            Some(known) if known.0.elapsed() >= WINDOW => known,
            _ => {
                let first = (Instant::now(), self.stats(instance).await?.cpu_stats.cpu_usage.total_usage);
                tokio::time::sleep(WINDOW).await;
                first
            }
        };
        let stats = self.stats(instance).await?;
        let (now, total) = (Instant::now(), stats.cpu_stats.cpu_usage.total_usage);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, total));
        let limits = instance.limits();
        let cpus = limits.cpus.unwrap_or(f64::from(stats.cpu_stats.online_cpus.max(1)));
        let share = total.saturating_sub(spent) as f64 / (now - from).as_nanos().max(1) as f64 / cpus * 100.0;
        let cached = ["inactive_file", "total_inactive_file"]
            .iter()
            .filter_map(|name| stats.memory_stats.stats.get(*name)?.as_u64())
            .max();
        Ok(Metrics {
            at: Some(SystemTime::now()),
            cpus,
            cpu_percent: share.min(100.0),
            memory: stats.memory_stats.usage.saturating_sub(cached.unwrap_or(0)),
            memory_total: limits.memory,
            disk: instance.engine().size(&instance.facts().container).await?,
            disk_total: usage.disk_total,
            processes: Some(stats.pids_stats.current),
            processes_total: limits.processes,
        })
    }

    async fn stats(&self, instance: &DockerInstance) -> Result<super::wire::Stats> {
        let stats = instance.engine().stats(&instance.facts().container).await?;
        stats.ok_or_else(|| instance.gone())
    }
}
