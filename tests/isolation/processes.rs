//! Attacks on processes: the host's, and those that ought to end.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use computesdk::command::RunOptions;
use computesdk::provider::Wanted;

use crate::harness::{At, Case, cases, eventually, sh, shell, soon};
use crate::{on_the_host, python};

pub(super) const CASES: &[Case] = cases![
    the_hosts_processes_are_neither_seen_nor_reached,
    signals_to_the_agent_do_nothing,
    a_command_that_tampers_with_its_limits_is_killed_all_the_same,
    what_a_killed_command_has_hidden_does_not_outlive_the_sandbox,
    a_daemon_does_not_outlive_the_sandbox,
    a_stopped_command_is_killed,
    the_agent_can_neither_be_starved_nor_limited,
    what_works_for_the_host_cannot_be_held_up,
    descriptors_in_flight_stop_nobody_else,
    a_sandbox_has_terminals_of_its_own_number,
    commands_run_as_nobody_of_the_host,
];

const SOON: Duration = Duration::from_secs(2);

/// A process of the host that is to survive.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        Self(Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn the_hosts_processes_are_neither_seen_nor_reached(at: At) {
    let (mut victim, sandbox) = (Victim::new(), at.sandbox().await);
    let (pid, own) = (victim.0.id(), std::process::id());
    sh(&sandbox, format!("kill -9 {pid}; kill -9 {own}; kill -9 -{pid}; for p in $(seq 2 5000); do kill -9 $p; done 2>/dev/null")).await;
    sh(&sandbox, "kill -9 -1").await;
    assert!(victim.lives());
    // Process 1, the shell, ls and wc.
    let seen: u32 = sh(&sandbox, "ls /proc | grep -c '^[0-9]'").await.stdout.trim().parse().unwrap();
    assert!(seen <= 4, "{seen} processes are seen");
    let reached = python(
        &sandbox,
        "import os
for p in range(2, 70000):
  try: os.kill(p, 0); print(p) if p != os.getpid() else None
  except ProcessLookupError: pass",
    )
    .await;
    assert_eq!(reached, "");
}

async fn signals_to_the_agent_do_nothing(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "for s in $(seq 64); do kill -$s 1; done").await;
    python(
        &sandbox,
        "import os, signal
for s in range(1, 65):
  try: os.kill(1, s)
  except OSError: pass",
    )
    .await;
    assert_eq!(sh(&sandbox, "echo lives").await.stdout, "lives\n");
}

async fn a_command_that_tampers_with_its_limits_is_killed_all_the_same(at: At) {
    let sandbox = at.sandbox().await;
    for resource in 0..16 {
        let line = format!(
            "exec python3 -c 'import resource, time\nl = resource.getrlimit({resource})\n\
             for n in (1 << 20, l[1] - 1, 1):\n  try: resource.setrlimit({resource}, (n, n)) if {resource} not in (0, 2, 3, 9) else None\n  except (OSError, ValueError): pass\n\
             print(1, flush=True)\ntime.sleep(4141)'"
        );
        let options = RunOptions { timeout: Some(Duration::from_millis(700)), ..RunOptions::default() };
        let output = soon("the end", SOON, sandbox.run_command(shell(line), options)).await.unwrap();
        assert!(output.timed_out && output.exit_code == 124, "limit {resource}: {output:?}");
        let left = sh(&sandbox, "grep -al 4141 /proc/[0-9]*/cmdline | grep -v self").await;
        eventually(&format!("limit {resource}: it is gone: {}", left.stdout), SOON, async || {
            sh(&sandbox, "pgrep -f 'slee[p].4141'").await.exit_code == 1
        })
        .await;
    }
}

async fn what_a_killed_command_has_hidden_does_not_outlive_the_sandbox(at: At) {
    let sandbox = at.sandbox().await;
    let seconds = format!("42{}", std::process::id());
    let hidden = format!(
        "for i in 1 2 3; do (ulimit -R 1 2>/dev/null; cd /; exec setsid sleep {seconds}) & done; sleep {seconds}"
    );
    let options = RunOptions { timeout: Some(Duration::from_millis(300)), ..RunOptions::default() };
    sandbox.run_command(shell(hidden), options).await.unwrap();
    sandbox.destroy().await.unwrap();
    assert!(on_the_host(&format!("sleep {seconds}")).is_empty());
}

async fn a_daemon_does_not_outlive_the_sandbox(at: At) {
    let sandbox = at.sandbox().await;
    let seconds = format!("43{}", std::process::id());
    sh(&sandbox, format!("setsid -f sleep {seconds}; (setsid sh -c 'trap \"\" TERM HUP; sleep {seconds} & sleep {seconds}' &) ")).await;
    eventually("it runs", SOON, async || on_the_host(&format!("sleep {seconds}")).len() == 3).await;
    sandbox.destroy().await.unwrap();
    assert!(on_the_host(&format!("sleep {seconds}")).is_empty());
}

async fn a_stopped_command_is_killed(at: At) {
    let sandbox = at.sandbox().await;
    let options = RunOptions { timeout: Some(Duration::from_millis(200)), ..RunOptions::default() };
    let output = soon("the end", SOON, sandbox.run_command(shell("kill -STOP $$; echo went on"), options))
        .await
        .unwrap();
    assert!(output.timed_out && output.stdout.is_empty(), "{output:?}");
}

async fn commands_run_as_nobody_of_the_host(at: At) {
    let sandbox = at.sandbox().await;
    let seconds = format!("44{}", std::process::id());
    let _running = sandbox.instance().spawn(&shell(format!("exec sleep {seconds}"))).await.unwrap();
    eventually("it runs", SOON, async || on_the_host(&format!("sleep {seconds}")).len() == 1).await;
    let found = on_the_host(&format!("sleep {seconds}"));
    let status = fs::read_to_string(found[0].join("status")).unwrap();
    let line =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    if crate::is_root() {
        for name in ["Uid:", "Gid:"] {
            let ids: Vec<u32> = line(name).split_whitespace().map(|id| id.parse().unwrap()).collect();
            assert!(ids.iter().all(|id| (0x7000_0000..0x8000_0000).contains(id)), "{name} {ids:?}");
        }
        assert_eq!(line("Groups:"), "");
    }
    assert_eq!(
        (line("Seccomp:"), line("NoNewPrivs:"), line("CapBnd:")),
        ("2".into(), "1".into(), "0".repeat(16))
    );
    for name in ["user", "mnt", "pid", "net", "ipc", "uts"] {
        let own = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let inside = sh(&sandbox, format!("readlink /proc/self/ns/{name}")).await.stdout;
        assert_ne!(inside.trim(), own.to_str().unwrap());
    }
}

async fn the_agent_can_neither_be_starved_nor_limited(at: At) {
    let sandbox = at.sandbox().await;
    let tried = "chrt -i -p 0 1; taskset -p 1 1; renice 19 1; ionice -c 3 -p 1; prlimit --pid 1 --nofile=3:3";
    for attempt in tried.split("; ") {
        let output = sh(&sandbox, attempt).await;
        assert_ne!(output.exit_code, 0, "{attempt}: {output:?}");
    }
    let whole_user = python(&sandbox, "import os\ntry: os.setpriority(os.PRIO_USER, 0, 19); print('DONE')\nexcept OSError as e: print(e.errno)").await;
    assert_eq!(whole_user.trim(), "1");
    let options = RunOptions { timeout: Some(Duration::from_millis(300)), ..RunOptions::default() };
    let line = "for i in $(seq 100); do (while :; do :; done)& done; wait";
    let output =
        soon("the end", Duration::from_secs(10), sandbox.run_command(shell(line), options)).await.unwrap();
    assert!(output.timed_out, "{output:?}");
    soon("the end of the sandbox", SOON, sandbox.destroy()).await.unwrap();
}

async fn what_works_for_the_host_cannot_be_held_up(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkdir /tmp/many; cd /tmp/many; touch $(seq 20000)").await;
    let attack = "trap '' CONT; while :; do kill -STOP -1; done";
    let attacker = sandbox.instance().spawn(&shell(attack)).await.unwrap();
    for _ in 0..20 {
        // Listed, or given up: never hung.
        let _ = soon("an answer", SOON, sandbox.filesystem().list("/tmp/many")).await;
    }
    attacker.control.kill().await.unwrap();
    attacker.control.wait().await.unwrap();
    let listed = soon("an answer", SOON, sandbox.filesystem().list("/tmp/many")).await.unwrap();
    assert_eq!(listed.len(), 20_000);
}

async fn descriptors_in_flight_stop_nobody_else(at: At) {
    let (attacker, victim) = (at.sandbox().await, at.sandbox().await);
    let source = "import array, os, socket, time
kept, n = [], 0
fds = array.array('i', [0] * 250)
try:
  while True:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    a.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    kept += [a, b]; n += 250
except OSError: pass
print(n > 250, flush=True)
time.sleep(60)";
    let program = computesdk::provider::Program::Args(["python3", "-c", source].map(str::to_owned).into());
    let mut flood = attacker
        .instance()
        .spawn(&computesdk::provider::Command { program, ..Default::default() })
        .await
        .unwrap();
    let said = soon("the flood", Duration::from_secs(10), flood.output.next(Wanted::BOTH)).await;
    assert_eq!(said, Some(computesdk::provider::Chunk::Stdout("True\n".into())));
    for sandbox in [&attacker, &victim] {
        let output = soon("an answer", SOON, sh(sandbox, "echo fine")).await;
        assert_eq!(output.stdout, "fine\n");
    }
    soon("another sandbox", SOON, at.sandbox()).await;
}

async fn a_sandbox_has_terminals_of_its_own_number(at: At) {
    let (hog, other) = (at.sandbox().await, at.sandbox().await);
    let source = "import os
n = 0
try:
  while n < 1000: os.openpty(); n += 1
except OSError: pass
print(n, flush=True)";
    let opened: u32 = python(&hog, source).await.trim().parse().unwrap();
    assert!((1..=64).contains(&opened), "{opened} terminals were opened");
    assert_eq!(python(&other, "import os; os.openpty(); print('fine')").await.trim(), "fine");
}
