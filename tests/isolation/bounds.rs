//! Limits to the number: what is within is had, what is beyond is refused, and the sandbox lives on.

use computesdk::command::{DEFAULT_MAX_OUTPUT, RunOptions};
use computesdk::provider::{CreateRequest, Resources};

use crate::harness::{At, Case, Lent, cases, sh, shell};
use crate::{is_limited_as_a_whole, python};

pub(super) const CASES: &[Case] = cases![
    a_process_may_have_as_many_files_open_as_documented,
    there_are_as_many_processes_and_threads_as_asked_for,
    there_is_as_much_disk_as_asked_for,
    there_are_as_many_files_as_documented,
    there_is_as_much_memory_as_asked_for,
    memory_that_is_locked_is_bounded,
    what_is_kept_of_output_is_bounded_and_the_rest_is_read,
];

async fn with(at: &At, resources: Resources) -> Lent {
    at.create(CreateRequest { resources, ..CreateRequest::default() }).await
}

async fn a_process_may_have_as_many_files_open_as_documented(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import os, resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
opened = 0
try:
  while True: os.open('/dev/null', 0); opened += 1
except OSError as e: print(e.errno, soft, hard, opened)";
    let printed = python(&sandbox, source).await;
    let numbers: Vec<u32> = printed.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [errno, soft, hard, opened] = numbers[..] else { panic!("{printed}") };
    assert_eq!((errno, soft), (24, hard));
    // Or what this process itself may have, if that is less.
    assert!(soft <= 4096 && (soft - 8..soft).contains(&opened), "{printed}");
    // Each of them may: they are no limit of all together.
    let line = "for n in 1 2 3; do sh -c 'exec python3 -c \"l = [open(\\\"/dev/null\\\") for n in range(900)]; print(len(l))\"' & done; wait";
    assert_eq!(sh(&sandbox, line).await.stdout, "900\n900\n900\n");
}

async fn there_are_as_many_processes_and_threads_as_asked_for(at: At) {
    let sandbox = with(&at, Resources { processes: Some(30), ..Resources::default() }).await;
    for (what, begin) in [
        ("processes", "os.fork() or time.sleep(1000)"),
        ("threads", "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"),
    ] {
        let source = format!(
            "import os, threading, time
begun = 0
try:
  while begun < 100:
    {begin}
    begun += 1
except (OSError, RuntimeError): pass
print(begun, flush=True)
os.kill(0, 9)"
        );
        let line = format!("exec setsid -w python3 -c '{source}'");
        let output = sh(&sandbox, line).await;
        let begun: u32 = output.stdout.trim().parse().unwrap_or_else(|_| panic!("{what}: {output:?}"));
        // Process 1, the one that counts, and whoever waits for it are among them.
        assert!((26..=28).contains(&begun), "{what}: {begun}");
    }
    assert_eq!(sh(&sandbox, "echo lives").await.stdout, "lives\n");
}

async fn there_is_as_much_disk_as_asked_for(at: At) {
    let sandbox = with(&at, Resources { disk: Some(20 << 20), ..Resources::default() }).await;
    let line = "head -c 19M /dev/zero > /tmp/a && echo within; head -c 2M /dev/zero 2>&- > /home/user/b || echo beyond";
    assert_eq!(sh(&sandbox, line).await.stdout, "within\nbeyond\n");
    // Holes are nothing, and what is removed is free again.
    let line = "truncate -s 1T /tmp/hole && rm /tmp/a /home/user/b && head -c 19M /dev/zero > /usr/local/lib/c && echo again";
    assert_eq!(sh(&sandbox, line).await.stdout, "again\n");
}

async fn there_are_as_many_files_as_documented(at: At) {
    let sandbox = with(&at, Resources { disk: Some(1 << 20), ..Resources::default() }).await;
    let line = "mkdir /tmp/d; cd /tmp/d; seq 5000 | xargs touch 2>&-; ls | wc -l; df --output=itotal,iavail /tmp | tail -1";
    let printed = sh(&sandbox, line).await.stdout;
    let numbers: Vec<u32> = printed.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [made, total, free] = numbers[..] else { panic!("{printed}") };
    assert_eq!((total, free), (1024, 0), "{printed}");
    assert!((800..1024).contains(&made), "{printed}");
}

async fn there_is_as_much_memory_as_asked_for(at: At) {
    let sandbox = with(&at, Resources { memory: Some(128 << 20), ..Resources::default() }).await;
    let take = |mib: u32| format!("exec python3 -c 'x = b\"x\" * ({mib} << 20); print(len(x) >> 20)'");
    let within = sh(&sandbox, take(100)).await;
    assert_eq!(within.stdout, "100\n", "{within:?}");
    let beyond = sh(&sandbox, take(140)).await;
    assert_eq!((beyond.stdout.as_str(), beyond.oom_killed), ("", is_limited_as_a_whole(&sandbox).await));
    assert_ne!(beyond.exit_code, 0);
    assert_eq!(sh(&sandbox, take(100)).await.stdout, "100\n");
}

async fn memory_that_is_locked_is_bounded(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import mmap, ctypes
libc = ctypes.CDLL(None, use_errno=True)
area = mmap.mmap(-1, 128 << 20)
address = ctypes.addressof(ctypes.c_char.from_buffer(area))
print(libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(96 << 20)))";
    assert_eq!(python(&sandbox, source).await, "-1\n");
}

async fn what_is_kept_of_output_is_bounded_and_the_rest_is_read(at: At) {
    let sandbox = at.sandbox().await;
    let line =
        "head -c 80M /dev/zero | tr '\\0' a; head -c 70M /dev/zero | tr '\\0' b >&2; echo read > /tmp/end";
    let output = sandbox.run_command(shell(line), RunOptions::default()).await.unwrap();
    assert!(output.truncated);
    assert_eq!((output.stdout.len(), output.stderr.len()), (DEFAULT_MAX_OUTPUT, DEFAULT_MAX_OUTPUT));
    assert_eq!(DEFAULT_MAX_OUTPUT, 64 << 20, "documented");
    assert_eq!(sandbox.filesystem().read_text("/tmp/end").await.unwrap(), "read\n");
}
