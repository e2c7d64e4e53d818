//! Attacks on what there is a limited amount of.

use std::time::Duration;

use bytes::Bytes;
use computesdk::command::RunOptions;
use computesdk::error::ErrorKind;
use computesdk::provider::{CreateRequest, Resources};

use crate::harness::{self, At, Case, Lent, cases, sh, shell, soon};
use crate::{is_limited_as_a_whole, python};

pub(super) const CASES: &[Case] = cases![
    a_fork_bomb_is_bounded_and_ends,
    a_memory_bomb_kills_its_command_only,
    memory_of_many_processes_is_limited_where_a_cgroup_can_be_had,
    a_full_disk_harms_nobody,
    shared_memory_is_part_of_the_disk,
    a_million_files_are_refused_and_gone_quickly,
    descriptors_run_out_inside_only,
    a_crash_leaves_no_core,
    processors_are_limited_where_a_cgroup_can_be_had,
    limits_cannot_be_raised,
    enforced_limits_are_had_or_refused,
];

async fn small(at: &At) -> Lent {
    let resources = Resources {
        memory: Some(256 << 20),
        disk: Some(32 << 20),
        processes: Some(40),
        ..Resources::default()
    };
    at.create(CreateRequest { resources, ..CreateRequest::default() }).await
}

async fn assert_lives(sandbox: &Lent) {
    assert_eq!(sh(sandbox, "echo lives").await.stdout, "lives\n");
}

fn for_a_while() -> RunOptions {
    RunOptions { timeout: Some(Duration::from_secs(2)), max_output: Some(1 << 16), ..RunOptions::default() }
}

async fn a_fork_bomb_is_bounded_and_ends(at: At) {
    let (sandbox, other) = (small(&at).await, at.sandbox().await);
    for bomb in [":() { : | : & }; :; sleep 1000", "while :; do sleep 1000 & setsid sleep 1000 & done"] {
        let bombing = sandbox.run_command(shell(bomb), for_a_while());
        let watching = async {
            assert_lives(&other).await;
            // From outside, where counting needs no process of the sandbox' own.
            let listed = sandbox.filesystem().list("/proc").await;
            let count =
                listed.map_or(0, |all| all.iter().filter(|entry| entry.name.parse::<u32>().is_ok()).count());
            assert!(count <= 41, "{count} processes");
        };
        let (output, ()) =
            soon("the end of the bomb", Duration::from_secs(10), async { tokio::join!(bombing, watching) })
                .await;
        assert!(output.unwrap().timed_out);
        assert_lives(&sandbox).await;
    }
    soon("destroy", Duration::from_secs(2), sandbox.destroy()).await.unwrap();
}

async fn a_memory_bomb_kills_its_command_only(at: At) {
    let (sandbox, other) = (small(&at).await, at.sandbox().await);
    let output = sh(&sandbox, "python3 -c 'x = b\"x\" * (1 << 30); print(len(x))'").await;
    assert!(output.exit_code == 137 || output.stderr.contains("MemoryError"), "{output:?}");
    assert_eq!(output.stdout, "");
    let output = sh(&sandbox, "tail /dev/zero").await;
    assert_ne!(output.exit_code, 0);
    assert_lives(&sandbox).await;
    assert_lives(&other).await;
}

async fn memory_of_many_processes_is_limited_where_a_cgroup_can_be_had(at: At) {
    let sandbox = small(&at).await;
    // Each of them stays below the limit; all together they are far beyond it. Who lives on says so.
    let line = "for i in 1 2 3 4 5 6; do python3 -c 'x = b\"x\" * (100 << 20); import time; time.sleep(2); print(1)' & done; wait";
    let output = sh(&sandbox, line).await;
    if is_limited_as_a_whole(&sandbox).await {
        assert!(output.stdout.lines().count() < 6, "{output:?}");
    } else {
        // Documented: without a cgroup limits hold for each process by itself.
        assert_eq!(output.stdout.lines().count(), 6, "{output:?}");
    }
    assert_lives(&sandbox).await;
}

async fn a_full_disk_harms_nobody(at: At) {
    let (sandbox, other) = (small(&at).await, small(&at).await);
    for place in ["/tmp/f", "/home/user/f", "/workspace/f", "/f", "/usr/local/lib/f"] {
        let output = sh(&sandbox, format!("head -c 20G /dev/zero > {place}; echo $?; rm -f {place}")).await;
        assert_eq!(output.stdout, "1\n", "{place}: {}", output.stderr);
    }
    sh(&sandbox, "head -c 20G /dev/zero > /tmp/f").await;
    let error = sandbox.filesystem().write("/tmp/g", Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert_lives(&sandbox).await;
    other.filesystem().write("/tmp/g", Bytes::from_static(b"x")).await.unwrap();
    sandbox.filesystem().remove("/tmp/f").await.unwrap();
    sandbox.filesystem().write("/tmp/g", Bytes::from_static(b"x")).await.unwrap();
}

async fn shared_memory_is_part_of_the_disk(at: At) {
    let sandbox = small(&at).await;
    let output = sh(&sandbox, "head -c 3G /dev/zero > /dev/shm/x; echo $?; [ $(stat -c %s /dev/shm/x) -le 33554432 ] && echo bounded").await;
    assert_eq!(output.stdout, "1\nbounded\n");
    assert_lives(&sandbox).await;
}

async fn a_million_files_are_refused_and_gone_quickly(at: At) {
    let sandbox = at.sandbox().await;
    let line = "mkdir /tmp/i; cd /tmp/i; for d in $(seq 20); do mkdir $d; seq 50000 | sed s,^,$d/, | xargs touch 2>/dev/null || break; done; echo end";
    let timeout = Some(Duration::from_secs(20) * harness::pace());
    let options = RunOptions { timeout, ..RunOptions::default() };
    let output = sandbox.run_command(shell(line), options).await.unwrap();
    assert_eq!(output.stdout, "end\n", "{output:?}");
    let error = sandbox.filesystem().write("/tmp/one-more", Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    assert_lives(&sandbox).await;
    // Asked again where the machine is so slow that nobody is waited for to the end.
    soon("destroy", Duration::from_secs(2), async { while sandbox.destroy().await.is_err() {} }).await;
}

async fn descriptors_run_out_inside_only(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import os
l = []
try:
  while True: l.append(os.open('/dev/null', 0))
except OSError as e: print(e.errno, len(l) < 10000)";
    assert_eq!(python(&sandbox, source).await, "24 True\n");
    assert_lives(&sandbox).await;
    std::fs::File::open("/dev/null").unwrap();
}

async fn a_crash_leaves_no_core(at: At) {
    let sandbox = at.sandbox().await;
    let output = sh(&sandbox, "cd /tmp; ulimit -c unlimited 2>/dev/null; grep -i 'core file' /proc/self/limits | tr -s ' ' | cut -d' ' -f5,6; sh -c 'kill -SEGV $$'; ls -A").await;
    // Not 0: that would start a program of the host's (core(5)).
    assert!(output.stdout.ends_with("1 1\n") || output.stdout.contains("1 bytes"), "{}", output.stdout);
    assert!(!sandbox.filesystem().exists("/tmp/core").await);
}

async fn processors_are_limited_where_a_cgroup_can_be_had(at: At) {
    let resources = Resources { cpus: Some(0.25), ..Resources::default() };
    let request = CreateRequest { resources, ..CreateRequest::default() };
    let plain = at.sandbox().await;
    if !is_limited_as_a_whole(&plain).await {
        let error = computesdk::compute::create_at(&at.0, &request, false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        return;
    }
    let sandbox = at.create(request).await;
    let source = "import os, time
for _ in range(3): os.fork()
begun, end = time.process_time(), time.time() + 2
while time.time() < end: pass
print(time.process_time() - begun, flush=True)";
    let used: f64 = python(&sandbox, source).await.lines().map(|line| line.parse::<f64>().unwrap()).sum();
    // Where processors are emulated, the time that they are kept waiting counts as used.
    let tolerated = if harness::pace() == 1 { 1.6 } else { 2.0 };
    assert!(used < 0.25 * 2.0 * tolerated, "{used} s of 2 s");
}

async fn limits_cannot_be_raised(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import resource
for n in range(16):
  soft, hard = resource.getrlimit(n)
  if hard == resource.RLIM_INFINITY: continue
  try: resource.setrlimit(n, (soft, hard + 1)); print('raised', n)
  except (OSError, ValueError): pass";
    assert_eq!(python(&sandbox, source).await, "");
}

async fn enforced_limits_are_had_or_refused(at: At) {
    let plain = at.sandbox().await;
    let resources = Resources { enforce: Some(true), ..Resources::default() };
    let request = CreateRequest { resources, ..CreateRequest::default() };
    match computesdk::compute::create_at(&at.0, &request, false).await {
        Ok(sandbox) => {
            assert!(is_limited_as_a_whole(&sandbox).await);
            sandbox.destroy().await.unwrap();
        }
        Err(error) => {
            assert!(!is_limited_as_a_whole(&plain).await);
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("`resources.enforce`"), "{error}");
        }
    }
}
