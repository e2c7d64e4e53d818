//! The life of the program that makes local sandboxes, and what a process that uses it is left with.
//!
//! One case at a time: each counts what this process has, or ends what the others would need.

#![expect(clippy::unwrap_used, reason = "a case that panics has failed")]
#![expect(clippy::disallowed_methods, reason = "the host is looked at, and attacked, from outside too")]
#![expect(clippy::print_stdout, reason = "how a host that is a child tells its parent")]

mod harness;
#[path = "broker/ports.rs"]
mod ports;
#[path = "broker/snapshots.rs"]
mod snapshots;
#[path = "broker/spares.rs"]
mod spares;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use computesdk::command::RunOptions;
use computesdk::compute;
use computesdk::error::ErrorKind;
use computesdk::provider::{CreateRequest, Enforcement, Filter, Status};
use computesdk::providers::local::Config;
use computesdk::sandbox::Sandbox;
use futures_util::future::join_all;

use harness::{At, Case, cases, eventually, eventually_seen, sh, shell, soon};

const CASES: &[Case] = cases![
    destroy_leaves_nothing_behind,
    destroy_of_a_sandbox_full_of_files_and_processes_is_quick,
    when_the_broker_is_killed_every_call_ends_and_the_next_create_works,
    a_broker_that_was_killed_leaves_nothing_behind,
    creates_that_wait_for_a_broker_that_is_killed_are_made_by_the_next,
    when_the_host_is_killed_every_sandbox_dies,
    a_broker_that_answers_late_is_waited_for_and_loses_nothing,
    two_hundred_lives_leave_no_trace,
    twenty_creates_at_once_all_succeed,
    two_hundred_dropped_creates_leave_no_trace,
    sixty_four_commands_at_once_all_answer,
    a_thousand_dropped_commands_leave_no_trace,
    more_commands_than_a_sandbox_may_have_are_refused_and_nothing_worse,
    endless_output_is_read_in_bounded_memory,
    a_sparse_file_is_refused_in_bounded_memory,
];

/// How long the end of something may take to be complete.
const SETTLED: Duration = Duration::from_secs(2);
/// How long a busy machine may need until a case can begin.
const REST: Duration = Duration::from_secs(10);
/// The argument that makes this program a host of sandboxes that waits to be killed.
const AS_HOST: &str = "--as-host";

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == AS_HOST) {
        be_host();
    }
    // Sandboxes made in advance would be counted with those of the cases.
    harness::run(
        Some(1),
        &[("local", harness::local(Config { spares: Some(0), ..Config::default() }))],
        &[CASES, ports::CASES, snapshots::CASES, spares::CASES],
        &[],
    )
}

/// Makes sandboxes with something in them, says so, and waits for its end.
#[tokio::main]
async fn be_host() {
    let compute = compute::Compute::default();
    let mut sandboxes = Vec::new();
    for _ in 0..5 {
        let sandbox = compute.create(&CreateRequest::default()).await.unwrap();
        sh(&sandbox, "setsid -f sleep 3131").await;
        sandboxes.push(sandbox);
    }
    println!("ready");
    std::future::pending().await
}

/// A process as /proc tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    state: char,
    /// In clock ticks since boot: with the number, a name that is never given twice.
    started: u64,
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let state = fields[0].chars().next()?;
        Some(Self { pid, parent: fields[1].parse().ok()?, state, started: fields[19].parse().ok()? })
    }

    fn lives(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.started == self.started && !matches!(now.state, 'Z' | 'X'))
    }

    fn kill(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid.to_string()]).status().unwrap();
        assert!(status.success());
    }
}

fn processes() -> Vec<Process> {
    let numbers =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    numbers.filter_map(Process::of).collect()
}

/// Everything below a process, without what only waits to be reaped.
fn descendants(of: u32) -> Vec<Process> {
    let all = processes();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|one| one.parent == parent && one.state != 'Z');
        found.extend(children.clone().cloned());
        parents.extend(children.map(|one| one.pid));
    }
    found
}

fn broker_of(host: u32) -> Process {
    let is_broker = |one: &Process| {
        one.parent == host
            && fs::read(format!("/proc/{}/cmdline", one.pid))
                .is_ok_and(|line| line.starts_with(b"computesdk-broker"))
    };
    descendants(host).into_iter().find(is_broker).expect("a broker")
}

fn broker() -> Process {
    broker_of(std::process::id())
}

/// The cgroups of a broker, in every tree.
fn cgroups(broker: &Process) -> Vec<PathBuf> {
    fn look(at: &Path, prefix: &str, depth: usize, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with(prefix) {
                    found.push(entry.path());
                    look(&entry.path(), "", 0, found);
                } else if depth > 0 {
                    look(&entry.path(), prefix, depth - 1, found);
                } else if prefix.is_empty() {
                    found.push(entry.path());
                }
            }
        }
    }
    let mut found = Vec::new();
    look(Path::new("/sys/fs/cgroup"), &format!("computesdk-{}-", broker.pid), 8, &mut found);
    found
}

/// The sockets by which brokers reserve user ids, by their numbers; a name may be given again at once.
fn reservations() -> Vec<String> {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    let ours = sockets.lines().filter(|line| line.contains("@computesdk-ids-"));
    ours.map(|line| format!("socket:[{}]", line.split_whitespace().nth(6).unwrap())).collect()
}

fn reserved_by(broker: &Process) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{}/fd", broker.pid)).unwrap().map(|entry| entry.unwrap().path());
    let open: Vec<_> = links.filter_map(|path| fs::read_link(path).ok()).collect();
    reservations()
        .into_iter()
        .filter(|one| open.iter().any(|link| link.as_os_str() == one.as_str()))
        .collect()
}

/// What this process holds.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    processes: usize,
    cgroups: usize,
    mounts: usize,
}

fn holdings() -> Holdings {
    Holdings {
        descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
        processes: descendants(std::process::id()).len(),
        cgroups: cgroups(&broker()).len(),
        mounts: fs::read_to_string(format!("/proc/{}/mountinfo", broker().pid)).unwrap().lines().count(),
    }
}

/// What this process holds when nothing is under way; a broker that lives is part of it.
async fn at_rest(at: &At) -> Holdings {
    at.sandbox().await.destroy().await.unwrap();
    eventually("what other cases left is gone", REST, async || {
        at.0.list(&Filter::default()).await.unwrap().is_empty() && descendants(std::process::id()).len() == 1
    })
    .await;
    let mut before = holdings();
    // Descriptors of what was destroyed a moment ago may still be closing.
    eventually("this process is at rest", REST, async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = holdings();
        let is_same = now == before;
        before = now;
        is_same
    })
    .await;
    before
}

async fn assert_back_to(before: &Holdings) {
    let what = format!("back to {before:?}");
    eventually_seen(&what, SETTLED, async || holdings(), |now| now == before).await;
}

/// Whether this process may do everything on this machine.
fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

async fn is_limited_as_a_whole(sandbox: &Sandbox) -> bool {
    sandbox.info().await.unwrap().limits.unwrap().enforcement == Enforcement::Cgroup
}

async fn destroy_leaves_nothing_behind(at: At) {
    let before = at_rest(&at).await;
    let sandbox = at.sandbox().await;
    sh(&sandbox, "setsid -f sleep 98765; (sleep 98765 &); trap '' TERM; sleep 98765 &").await;
    let inside: Vec<_> = descendants(broker().pid);
    assert!(inside.len() >= 4, "{inside:?}");
    sandbox.destroy().await.unwrap();
    // Nothing has to be waited for.
    assert!(inside.iter().all(|one| !one.lives()), "{inside:?}");
    assert_back_to(&before).await;
}

async fn destroy_of_a_sandbox_full_of_files_and_processes_is_quick(at: At) {
    let before = at_rest(&at).await;
    let sandbox = at.sandbox().await;
    let full = "mkdir /tmp/i; cd /tmp/i; seq 100000 | xargs touch; head -c 200M /dev/zero > big; \
                for i in $(seq 100); do sleep 1000 & done; wait";
    let running = sandbox.run_command(shell(full), RunOptions::default());
    let destroying = async {
        eventually("it is full", Duration::from_secs(20), async || descendants(broker().pid).len() > 100)
            .await;
        soon("the end", SETTLED, sandbox.destroy()).await.unwrap();
    };
    let (result, ()) = tokio::join!(running, destroying);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
    assert_back_to(&before).await;
}

async fn when_the_broker_is_killed_every_call_ends_and_the_next_create_works(at: At) {
    let sandboxes = [at.sandbox().await, at.sandbox().await];
    let killed = broker();
    let mut work = Vec::new();
    for sandbox in &sandboxes {
        sh(sandbox, "mkfifo /tmp/fifo").await;
        let process = sandbox.instance().spawn(&shell("sleep 1000")).await.unwrap();
        let (one, other) = (Sandbox::clone(sandbox), Sandbox::clone(sandbox));
        work.push(tokio::spawn(async move {
            one.run_command(shell("sleep 1000"), RunOptions::default()).await.err()
        }));
        work.push(tokio::spawn(async move { process.control.wait().await.err() }));
        work.push(tokio::spawn(async move {
            let content = Bytes::from(vec![0; 512 << 20]);
            loop {
                if let Err(error) = other.filesystem().write("/tmp/large", content.clone()).await {
                    return Some(error);
                }
            }
        }));
    }
    killed.kill("-KILL");
    for ended in soon("the end of every call", SETTLED, join_all(work)).await {
        let error = ended.unwrap().expect("a call that outlived its sandbox is an error");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    for sandbox in &sandboxes {
        let info = sandbox.info().await.unwrap();
        assert_eq!(info.status, Status::Error);
        assert!(info.reason.unwrap().contains("unexpectedly"));
        soon("destroy", SETTLED, sandbox.destroy()).await.unwrap();
        assert!(at.0.connect(sandbox.id()).await.unwrap().is_none());
    }
    let next = at.sandbox().await;
    assert_eq!(sh(&next, "echo works").await.stdout, "works\n");
    assert_ne!(broker(), killed);
}

async fn a_broker_that_was_killed_leaves_nothing_behind(at: At) {
    for _ in 0..5 {
        let sandboxes = join_all((0..3).map(|_| at.sandbox())).await;
        for sandbox in &sandboxes {
            sh(sandbox, "for i in 1 2 3 4 5 6; do setsid -f sleep 1000; done").await;
        }
        let killed = broker();
        let (inside, reserved) = (descendants(killed.pid), reserved_by(&killed));
        assert!(inside.len() >= 3 * 7, "{inside:?}");
        assert_eq!(reserved.is_empty(), !is_root());
        assert_eq!(cgroups(&killed).is_empty(), !is_limited_as_a_whole(&sandboxes[0]).await);
        killed.kill("-KILL");
        let next = at.sandbox().await;
        eventually("its processes are gone", SETTLED, async || {
            !killed.lives() && !inside.iter().any(Process::lives)
        })
        .await;
        eventually("its cgroups are gone", SETTLED, async || {
            // Whatever was still in use when the next broker began is tried again with each sandbox.
            at.sandbox().await.destroy().await.unwrap();
            cgroups(&killed).is_empty()
        })
        .await;
        assert!(reservations().iter().all(|one| !reserved.contains(one)));
        drop(next);
    }
}

async fn creates_that_wait_for_a_broker_that_is_killed_are_made_by_the_next(at: At) {
    drop(at.sandbox().await);
    let stopped = broker();
    stopped.kill("-STOP");
    let creating = (0..5).map(|_| {
        let at = at.clone();
        tokio::spawn(async move { compute::create_at(&at.0, &CreateRequest::default(), false).await })
    });
    let creating = join_all(creating.collect::<Vec<_>>());
    // They have asked, as far as they can.
    tokio::time::sleep(Duration::from_millis(20)).await;
    stopped.kill("-KILL");
    for made in soon("an answer", SETTLED, creating).await {
        let sandbox = made.unwrap().unwrap();
        assert_eq!(sh(&sandbox, "echo works").await.stdout, "works\n");
        sandbox.destroy().await.unwrap();
    }
}

async fn when_the_host_is_killed_every_sandbox_dies(_: At) {
    let mut host =
        Command::new(std::env::current_exe().unwrap()).arg(AS_HOST).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(host.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let broker = broker_of(host.id());
    let inside = descendants(broker.pid);
    assert!(inside.len() >= 10, "{inside:?}");
    host.kill().unwrap();
    host.wait().unwrap();
    eventually("its sandboxes are gone", Duration::from_secs(1), async || {
        !broker.lives() && !inside.iter().any(Process::lives)
    })
    .await;
    assert_eq!(cgroups(&broker), Vec::<PathBuf>::new());
}

async fn a_broker_that_answers_late_is_waited_for_and_loses_nothing(at: At) {
    let before = at_rest(&at).await;
    let living = at.sandbox().await;
    let slow = broker();
    slow.kill("-STOP");
    // What lives does not need it, but for its end.
    assert_eq!(sh(&living, "echo works").await.stdout, "works\n");
    let dropped = tokio::time::timeout(Duration::from_millis(50), at.sandbox()).await;
    assert!(dropped.is_err());
    let error = living.destroy().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    slow.kill("-CONT");
    living.destroy().await.unwrap();
    assert_back_to(&before).await;
}

async fn two_hundred_lives_leave_no_trace(at: At) {
    let before = at_rest(&at).await;
    for n in 0..200 {
        let sandbox = at.sandbox().await;
        if n % 10 == 0 {
            sandbox.filesystem().write("/tmp/file", Bytes::from(vec![0; 100_000])).await.unwrap();
            assert_eq!(sandbox.filesystem().list("/tmp").await.unwrap().len(), 1);
        }
        assert_eq!(sh(&sandbox, "sleep 1000 & exit 3").await.exit_code, 3);
        sandbox.destroy().await.unwrap();
    }
    assert_back_to(&before).await;
}

async fn twenty_creates_at_once_all_succeed(at: At) {
    let before = at_rest(&at).await;
    let sandboxes = join_all((0..20).map(|_| at.sandbox())).await;
    let mut ids: Vec<_> = sandboxes.iter().map(|one| one.id().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    for output in join_all(sandboxes.iter().map(|one| sh(one, "echo $((6 * 7))"))).await {
        assert_eq!(output.stdout, "42\n");
    }
    for result in join_all(sandboxes.iter().map(|one| one.destroy())).await {
        result.unwrap();
    }
    assert_back_to(&before).await;
}

async fn two_hundred_dropped_creates_leave_no_trace(at: At) {
    let before = at_rest(&at).await;
    for wait in [0, 1, 5, 20, 50] {
        // So many at once that not all of their requests fit into the broker's queue.
        let creating = join_all((0..200).map(|_| at.sandbox()));
        let _ = tokio::time::timeout(Duration::from_millis(wait), creating).await;
    }
    eventually("all of them have ended", Duration::from_secs(10), async || {
        descendants(std::process::id()).len() == 1 && at.0.list(&Filter::default()).await.unwrap().is_empty()
    })
    .await;
    assert_back_to(&before).await;
}

async fn sixty_four_commands_at_once_all_answer(at: At) {
    let before = at_rest(&at).await;
    let sandbox = at.sandbox().await;
    for _ in 0..5 {
        let lines = (0..64).map(|n| sh(&sandbox, format!("echo {n}; echo {n} >&2; seq 5000; exit {n}")));
        for (n, output) in join_all(lines).await.into_iter().enumerate() {
            assert_eq!((output.exit_code, output.stderr), (n as i32, format!("{n}\n")));
            assert_eq!(output.stdout.lines().count(), 5001);
            assert!(output.stdout.starts_with(&format!("{n}\n1\n")) && output.stdout.ends_with("\n5000\n"));
        }
    }
    sandbox.destroy().await.unwrap();
    assert_back_to(&before).await;
}

async fn a_thousand_dropped_commands_leave_no_trace(at: At) {
    let before = at_rest(&at).await;
    let sandbox = at.sandbox().await;
    let idle = descendants(broker().pid).len();
    for wait in [0, 1, 2, 5, 10] {
        let running =
            join_all((0..200).map(|_| sandbox.run_command(shell("exec sleep 1000"), RunOptions::default())));
        let _ = tokio::time::timeout(Duration::from_millis(wait), running).await;
        eventually_seen(
            "all of them are gone",
            SETTLED,
            async || descendants(broker().pid),
            |alive| alive.len() == idle,
        )
        .await;
    }
    assert_eq!(sh(&sandbox, "echo works").await.stdout, "works\n");
    sandbox.destroy().await.unwrap();
    assert_back_to(&before).await;
}

async fn more_commands_than_a_sandbox_may_have_are_refused_and_nothing_worse(at: At) {
    let before = at_rest(&at).await;
    let sandbox = at.sandbox().await;
    let running = join_all((0..400).map(|_| sandbox.run_command(shell("sleep 0.2"), RunOptions::default())));
    for result in running.await {
        match result {
            // Where no process is left, the command or its shell says so.
            Ok(output) if output.exit_code == 0 => {}
            Ok(output) => assert!(!output.stderr.is_empty(), "{output:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
    }
    assert_eq!(sh(&sandbox, "echo works").await.stdout, "works\n");
    sandbox.destroy().await.unwrap();
    assert_back_to(&before).await;
}

/// How far the memory of this process goes beyond what it is now, during some work; in bytes.
async fn growth(work: impl Future<Output = ()>) -> u64 {
    let value = |name: &str| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    // Lets the greatest size be measured from here on: proc_pid_clear_refs(5).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = value("VmRSS");
    work.await;
    value("VmHWM").saturating_sub(before)
}

async fn endless_output_is_read_in_bounded_memory(at: At) {
    let sandbox = Arc::new(at.sandbox().await);
    let grown = growth(async {
        let options = RunOptions { max_output: Some(1 << 20), ..RunOptions::default() };
        let line = shell("yes | head -c 500M; yes | head -c 100M >&2");
        let output = sandbox.run_command(line, options).await.unwrap();
        assert!(output.truncated && output.exit_code == 0);
        assert_eq!((output.stdout.len(), output.stderr.len()), (1 << 20, 1 << 20));
    })
    .await;
    assert!(grown < 32 << 20, "{grown} bytes");
}

async fn a_sparse_file_is_refused_in_bounded_memory(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "truncate -s 100T /tmp/sparse; truncate -s 1025M /tmp/beyond").await;
    let grown = growth(async {
        for path in ["/tmp/sparse", "/tmp/beyond", "/proc/self/pagemap", "/proc/kcore"] {
            assert!(soon(path, SETTLED, sandbox.filesystem().read(path)).await.is_err(), "{path}");
        }
    })
    .await;
    assert!(grown < 32 << 20, "{grown} bytes");
}
