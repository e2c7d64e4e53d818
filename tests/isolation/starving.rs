//! What is said when memory runs out, and what is not. Where no cgroup can be had, nothing is known and nothing said.

use std::time::Duration;

use bytes::Bytes;
use computesdk::command::{Output, RunOptions};
use computesdk::error::ErrorKind;
use computesdk::provider::{CreateRequest, Resources, Status};

use crate::harness::{At, Case, Lent, cases, pace, sh, shell, soon};
use crate::is_limited_as_a_whole;

pub(super) const CASES: &[Case] = cases![
    a_command_that_is_killed_for_memory_says_so,
    so_does_a_shell_that_passes_the_end_of_its_command_on,
    so_does_a_process_that_is_waited_for_later,
    a_kill_that_somebody_sent_is_not_taken_for_it,
    a_time_limit_is_not_taken_for_it,
    a_sandbox_that_is_killed_for_memory_says_so_to_all_that_wait,
];

/// Takes more than a sandbox of [`small`] has, in one step that is refused where each process is limited.
const BOMB: &str = "python3 -c 'x = b\"x\" * (1 << 30)'";
/// The same in a child whose shell does not end with it.
const SURVIVED_BOMB: &str = "python3 -c 'x = b\"x\" * (1 << 30)' 2>/dev/null; true";

async fn small(at: &At) -> Lent {
    let resources = Resources { memory: Some(96 << 20), disk: Some(16 << 20), ..Resources::default() };
    at.create(CreateRequest { resources, ..CreateRequest::default() }).await
}

fn assert_starved(output: &Output, signal: Option<i32>, whole: bool) {
    if whole {
        assert_eq!((output.oom_killed, output.exit_code, output.signal), (true, 137, signal), "{output:?}");
    } else {
        assert_eq!((output.oom_killed, output.exit_code, output.signal), (false, 1, None), "{output:?}");
        assert!(output.stderr.contains("MemoryError"), "{output:?}");
    }
}

async fn a_command_that_is_killed_for_memory_says_so(at: At) {
    let sandbox = small(&at).await;
    let whole = is_limited_as_a_whole(&sandbox).await;
    for _ in 0..3 {
        assert_starved(&sh(&sandbox, BOMB).await, Some(9), whole);
        let after = sh(&sandbox, "echo lives").await;
        assert_eq!((after.stdout.as_str(), after.oom_killed), ("lives\n", false));
    }
}

async fn so_does_a_shell_that_passes_the_end_of_its_command_on(at: At) {
    let sandbox = small(&at).await;
    let whole = is_limited_as_a_whole(&sandbox).await;
    assert_starved(&sh(&sandbox, format!("{BOMB}; exit $?")).await, None, whole);
    let output = sh(&sandbox, "exit 137").await;
    assert_eq!((output.exit_code, output.oom_killed), (137, false), "somebody may choose that number");
}

async fn so_does_a_process_that_is_waited_for_later(at: At) {
    let sandbox = small(&at).await;
    let whole = is_limited_as_a_whole(&sandbox).await;
    let process = sandbox.spawn(shell(BOMB), RunOptions::default()).await.unwrap();
    process.release();
    process.until_ended().await;
    for _ in 0..2 {
        assert_starved(&process.wait().await.unwrap(), Some(9), whole);
    }
}

async fn a_kill_that_somebody_sent_is_not_taken_for_it(at: At) {
    let sandbox = small(&at).await;
    assert!(!sh(&sandbox, SURVIVED_BOMB).await.oom_killed, "what ended was not killed");
    let output = sh(&sandbox, "kill -9 $$").await;
    assert_eq!((output.signal, output.oom_killed), (Some(9), false), "memory had run out before it began");
    // And where it runs out meanwhile: whoever asks for a kill knows why.
    let process = sandbox
        .spawn(shell(format!("{SURVIVED_BOMB}; echo done; exec sleep 1000")), RunOptions::default())
        .await
        .unwrap();
    process.release();
    let mut reader = process.reader(computesdk::provider::Wanted::BOTH, false);
    reader.next().await.unwrap();
    process.control().kill().await.unwrap();
    let output = process.wait().await.unwrap();
    assert_eq!((output.signal, output.oom_killed), (Some(9), false));
}

async fn a_time_limit_is_not_taken_for_it(at: At) {
    let sandbox = small(&at).await;
    let options = RunOptions { timeout: Some(Duration::from_secs(1)), ..RunOptions::default() };
    let output = sandbox.run_command(shell(format!("{SURVIVED_BOMB}; sleep 1000")), options).await.unwrap();
    assert_eq!((output.timed_out, output.oom_killed), (true, false), "{output:?}");
}

/// Memory that stays when nobody uses it any more: it is the sandbox's own, and nobody can be killed for it.
const HOARD: &str = "import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
while True:
  segment = libc.shmget(0, 1 << 20, 0o1600)
  address = libc.shmat(segment, None, 0)
  ctypes.memset(address, 1, 1 << 20)";

async fn a_sandbox_that_is_killed_for_memory_says_so_to_all_that_wait(at: At) {
    let sandbox = small(&at).await;
    if !is_limited_as_a_whole(&sandbox).await {
        return;
    }
    let waiting = sandbox.spawn(shell("exec sleep 1000"), RunOptions::default()).await.unwrap();
    waiting.release();
    let hoard = shell(format!("exec python3 -c '{HOARD}'"));
    assert_told(sandbox.run_command(hoard, RunOptions::default()).await);
    // Small files are written by process 1: what they take is more than there is, and nobody else is left to be killed.
    let filling = async {
        for number in 0.. {
            let content = Bytes::from(vec![1; 40 << 10]);
            if let Err(error) = sandbox.filesystem().write(&format!("/tmp/{number}"), content).await {
                return error;
            }
        }
        unreachable!("there is no end of memory")
    };
    let (cancel, patience) = (Default::default(), Some(Duration::from_secs(30) * pace()));
    let listening = async { sandbox.wait_for_port(80, patience, &cancel).await.unwrap_err() };
    let (full, deaf) =
        soon("the end of the sandbox", Duration::from_secs(20), async { tokio::join!(filling, listening) })
            .await;
    let info = sandbox.info().await.unwrap();
    assert_eq!(info.status, Status::Error);
    assert!(info.reason.as_deref().unwrap().contains("memory had run out"), "{info:?}");
    for error in [full, deaf, sandbox.filesystem().read("/etc/hostname").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains("memory had run out"), "{error}");
    }
    assert_told(waiting.wait().await);
}

/// It was killed before process 1, or with it: at the very end there may be no memory left to tell.
fn assert_told(ended: computesdk::error::Result<Output>) {
    match ended {
        Ok(output) => assert!(output.oom_killed, "{output:?}"),
        Err(error) => assert!(error.message().contains("memory had run out"), "{error}"),
    }
}
