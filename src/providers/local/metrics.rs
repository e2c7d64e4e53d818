//! What a local sandbox uses: counted by its cgroups where it has some, else by its process 1.
//!
//! The cgroups' files are asked of the broker when somebody wants to know for the first time, and stay open: from then
//! on a look is a few reads, and one message to process 1, which knows the file system.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use computesdk_agent::protocol::{Reply, Request, Usage};
use tokio::time::Instant;

use super::error;
use super::instance::LocalInstance;
use crate::error::Result;
use crate::provider::{Enforcement, Limits, Metrics};

/// The shortest time that a share of the processors is told of: the kernel counts in steps of 10 ms where no cgroup
/// does.
const WINDOW: Duration = Duration::from_millis(100);

/// No share of less time than this: that would be a division by nothing.
const MOMENT: Duration = Duration::from_millis(1);

/// The largest of the files: `memory.stat` has some 60 lines.
const FILE: usize = 8 * 1024;

/// The meters of one sandbox.
#[derive(Debug)]
pub(super) struct Meters {
    files: Mutex<Option<Arc<Vec<File>>>>,
    spent: Mutex<Spent>,
}

/// How much time of the processors was spent at two moments.
#[derive(Debug)]
struct Spent {
    /// What the share is counted from.
    from: (Instant, Duration),
    latest: (Instant, Duration),
}

impl Meters {
    /// Of a sandbox that begins now.
    pub(super) fn new() -> Self {
        let start = (Instant::now(), Duration::ZERO);
        Self { files: Mutex::default(), spent: Mutex::new(Spent { from: start, latest: start }) }
    }

    async fn files(&self, instance: &LocalInstance) -> Result<Arc<Vec<File>>> {
        let known = self.known().clone();
        match known {
            Some(files) => Ok(files),
            None => {
                let files = Arc::new(open(instance).await?);
                Ok(Arc::clone(self.known().insert(files)))
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Arc<Vec<File>>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the files: the sandbox has ended.
    pub(super) fn close(&self) {
        self.known().take();
    }

    /// Looks at a sandbox.
    pub(super) async fn read(&self, instance: &LocalInstance, limits: &Limits) -> Result<Metrics> {
        let counted = match limits.enforcement {
            // Where they cannot be had now, process 1 counts, as if there were none.
            Enforcement::Cgroup => {
                let files = self.files(instance).await;
                files.map_or_else(|_| Counted::default(), |files| Counted::read(&files))
            }
            Enforcement::PerProcess | Enforcement::Machine => Counted::default(),
        };
        let processes = !counted.is_complete();
        let usage = match instance.ask(|id| Request::Measure { id, processes }).await?.1.reply {
            Reply::Measured { usage, .. } => usage,
            Reply::Failed { errno, .. } => return Err(error::of_measuring(errno)),
            _ => return Err(error::nonsense()),
        };
        let cpus = limits.cpus.unwrap_or_else(processors);
        let Usage { disk, disk_total, memory, cpu, processes } = usage;
        let spent = counted.cpu.unwrap_or(Duration::from_micros(cpu));
        Ok(Metrics {
            at: Some(SystemTime::now()),
            cpus,
            cpu_percent: self.share(Instant::now(), spent) / cpus * 100.0,
            // Without cgroups, files are added: they are in memory as well.
            memory: counted.memory.unwrap_or(memory.saturating_add(disk)),
            memory_total: limits.memory,
            disk,
            disk_total,
            processes: Some(counted.processes.unwrap_or(processes)),
            processes_total: limits.processes,
        })
    }

    /// How many processors were busy since the look before, or, if that was a moment ago, the one before that.
    fn share(&self, now: Instant, spent: Duration) -> f64 {
        let mut known = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(known.latest.0) >= WINDOW {
            known.from = known.latest;
            known.latest = (now, spent);
        }
        let (since, before) = known.from;
        // Of processes that nobody waited for the time is forgotten with them, where no cgroup counts it.
        let busy = spent.saturating_sub(before);
        busy.as_secs_f64() / now.duration_since(since).max(MOMENT).as_secs_f64()
    }
}

async fn open(instance: &LocalInstance) -> Result<Vec<File>> {
    let files: Vec<File> = instance.meters().await?.into_iter().map(File::from).collect();
    if files.is_empty() { Err(error::of_missing_descriptor()) } else { Ok(files) }
}

fn processors() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}

/// What cgroups count.
#[derive(Debug, Default)]
struct Counted {
    memory: Option<u64>,
    processes: Option<u32>,
    cpu: Option<Duration>,
}

impl Counted {
    fn read(files: &[File]) -> Self {
        let mut texts = files.iter().map_while(text);
        Self {
            memory: texts
                .next()
                .zip(texts.next())
                .and_then(|(usage, statistics)| memory(&usage, &statistics)),
            processes: texts.next().and_then(|text| text.trim().parse().ok()),
            cpu: texts.next().and_then(|text| time(&text)),
        }
    }

    fn is_complete(&self) -> bool {
        self.memory.is_some() && self.processes.is_some() && self.cpu.is_some()
    }
}

fn text(file: &File) -> Option<String> {
    let mut bytes = vec![0; FILE];
    let mut length = 0;
    loop {
        match file.read_at(&mut bytes[length..], length as u64).ok()? {
            0 => break,
            read => length += read,
        }
    }
    bytes.truncate(length);
    String::from_utf8(bytes).ok()
}

/// What is in use, without what the kernel keeps of files only because there is room.
fn memory(usage: &str, statistics: &str) -> Option<u64> {
    let idle = field(statistics, "inactive_file").unwrap_or(0);
    Some(usage.trim().parse::<u64>().ok()?.saturating_sub(idle))
}

/// Of version 2 the time is a field, in microseconds; of version 1 it is all there is, in nanoseconds.
fn time(text: &str) -> Option<Duration> {
    match field(text, "usage_usec") {
        Some(microseconds) => Some(Duration::from_micros(microseconds)),
        None => text.trim().parse().ok().map(Duration::from_nanos),
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cgroups_are_read() {
        assert_eq!(memory("1000\n", "cache 7\ninactive_file 300\ntotal_inactive_file 300\n"), Some(700));
        assert_eq!(memory("1000\n", "anon 1\n"), Some(1000));
        assert_eq!(time("usage_usec 1500\nuser_usec 1000\n"), Some(Duration::from_micros(1500)));
        assert_eq!(time("1500\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(time("max\n"), None);
    }

    #[test]
    fn a_share_is_that_of_the_time_since_the_look_before() {
        let (begun, millis) = (Instant::now(), Duration::from_millis);
        let meters = Meters::new();
        let share = |at, spent| meters.share(begun + millis(at), millis(spent));
        assert!((share(1000, 500) - 0.5).abs() < 0.01);
        assert!((share(1001, 500) - 0.5).abs() < 0.01, "a moment tells nothing");
        assert!((share(2000, 1500) - 1.0).abs() < 0.01);
    }
}
