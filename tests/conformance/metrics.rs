//! What a sandbox uses.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use computesdk::command::RunOptions;
use computesdk::error::ErrorKind;
use computesdk::provider::{CreateRequest, Enforcement, Metrics, Resources};

use crate::harness::{At, Case, cases, eventually, sh, shell, soon};

pub(super) const CASES: &[Case] = cases![
    what_is_used_is_within_the_limits if measures,
    files_are_counted_and_forgotten if measures & sizes & quotas,
    memory_is_counted_and_forgotten if measures & sizes,
    processes_are_counted_and_forgotten if measures & sizes,
    the_share_of_the_processors_is_of_those_that_it_has if measures & sizes,
    a_sandbox_that_is_full_can_be_measured if measures & sizes & quotas,
    metrics_of_a_sandbox_that_has_ended_are_not_found,
];

const SOON: Duration = Duration::from_secs(5);
const MIB: u64 = 1 << 20;

async fn measured(sandbox: &computesdk::sandbox::Sandbox) -> Metrics {
    sandbox.metrics().await.unwrap()
}

async fn what_is_used_is_within_the_limits(at: At) {
    let sandbox = at.sandbox().await;
    let (metrics, limits) = (measured(&sandbox).await, sandbox.info().await.unwrap().limits.unwrap());
    assert!(metrics.at.unwrap() <= SystemTime::now());
    assert_eq!((metrics.memory_total, metrics.processes_total), (limits.memory, limits.processes));
    assert_eq!(metrics.disk_total, limits.disk);
    assert!(metrics.memory < 64 * MIB && metrics.disk < MIB, "{metrics:?}");
    assert!((1..=8).contains(&metrics.processes.unwrap()), "{metrics:?}");
    assert!(metrics.cpus >= 1.0 && (0.0..=110.0).contains(&metrics.cpu_percent), "{metrics:?}");
}

async fn files_are_counted_and_forgotten(at: At) {
    let sandbox = at.sandbox().await;
    let before = measured(&sandbox).await.disk;
    sandbox.filesystem().write("/tmp/a", Bytes::from(vec![1; 3 << 20])).await.unwrap();
    sh(&sandbox, "head -c 5M /dev/zero > /dev/shm/b; head -c 2M /dev/zero > /usr/local/lib/c").await;
    let used = measured(&sandbox).await.disk - before;
    assert!((10 * MIB..11 * MIB).contains(&used), "{used}");
    sh(&sandbox, "rm /tmp/a /dev/shm/b /usr/local/lib/c").await;
    assert!(measured(&sandbox).await.disk < before + MIB);
}

async fn memory_is_counted_and_forgotten(at: At) {
    let sandbox = at.sandbox().await;
    let line = "exec python3 -c 'x = b\"x\" * (100 << 20); print(1, flush=True); input()'";
    let mut command = shell(line);
    command.stdin = true;
    let process = sandbox.spawn(command, RunOptions::default()).await.unwrap();
    let mut reader = process.reader(computesdk::provider::Wanted::BOTH, false);
    process.release();
    reader.next().await.unwrap();
    let used = measured(&sandbox).await.memory;
    assert!((100 * MIB..130 * MIB).contains(&used), "{used}");
    process.write(Bytes::from_static(b"\n")).await.unwrap();
    process.until_ended().await;
    eventually("memory that is free again", SOON, async || measured(&sandbox).await.memory < 30 * MIB).await;
}

async fn processes_are_counted_and_forgotten(at: At) {
    let sandbox = at.sandbox().await;
    let before = measured(&sandbox).await.processes.unwrap();
    let line = "for n in $(seq 20); do sleep 1000 & done; echo begun; wait";
    let process = sandbox.spawn(shell(line), RunOptions::default()).await.unwrap();
    let mut reader = process.reader(computesdk::provider::Wanted::BOTH, false);
    process.release();
    reader.next().await.unwrap();
    assert_eq!(measured(&sandbox).await.processes.unwrap() - before, 21);
    process.control().kill().await.unwrap();
    eventually("their end", SOON, async || measured(&sandbox).await.processes == Some(before)).await;
}

async fn the_share_of_the_processors_is_of_those_that_it_has(at: At) {
    let limits = at.sandbox().await.info().await.unwrap().limits.unwrap();
    // Half of a processor, where one can be had for the sandbox as a whole.
    let cpus = (limits.enforcement == Enforcement::Cgroup).then_some(0.5);
    let resources = Resources { cpus, ..Resources::default() };
    let sandbox = at.create(CreateRequest { resources, ..CreateRequest::default() }).await;
    let options = RunOptions { timeout: Some(Duration::from_millis(1500)), ..RunOptions::default() };
    let busy = measured(&sandbox).await;
    let (_, during) = tokio::join!(sandbox.run_command(shell("while :; do :; done"), options), async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        measured(&sandbox).await
    });
    assert_eq!(busy.cpus, cpus.unwrap_or_else(|| std::thread::available_parallelism().unwrap().get() as f64));
    // One loop; other cases want processors too.
    let most = 100.0 / during.cpus.max(1.0);
    assert!((most * 0.1..most * 1.3).contains(&during.cpu_percent), "{during:?}");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let idle = {
        measured(&sandbox).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        measured(&sandbox).await
    };
    assert!(idle.cpu_percent < 10.0, "{idle:?}");
}

async fn a_sandbox_that_is_full_can_be_measured(at: At) {
    let resources = Resources { processes: Some(40), disk: Some(8 * MIB), ..Resources::default() };
    let sandbox = at.create(CreateRequest { resources, ..CreateRequest::default() }).await;
    let line = "head -c 1G /dev/zero > /tmp/full; while :; do sleep 1000 & setsid sleep 1000 & done";
    let process = sandbox.spawn(shell(line), RunOptions::default()).await.unwrap();
    process.release();
    let full = async || {
        let metrics = soon("an answer", Duration::from_secs(1), sandbox.metrics()).await.unwrap();
        let processes = metrics.processes.unwrap();
        assert!(processes <= 40 && metrics.disk <= metrics.disk_total, "{metrics:?}");
        processes >= 38 && metrics.disk == metrics.disk_total
    };
    eventually("a sandbox that is full", SOON, full).await;
    process.control().kill().await.unwrap();
}

async fn metrics_of_a_sandbox_that_has_ended_are_not_found(at: At) {
    let sandbox = at.sandbox().await;
    sandbox.destroy().await.unwrap();
    assert_eq!(sandbox.metrics().await.unwrap_err().kind(), ErrorKind::NotFound);
}
