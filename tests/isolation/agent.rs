//! Attacks on process 1 from what it runs.

use std::time::Duration;

use computesdk::command::RunOptions;

use crate::harness::{At, Case, cases, eventually, sh, shell, soon};
use crate::{on_the_host, python};

pub(super) const CASES: &[Case] = cases![
    no_socket_of_process_1_can_be_reached,
    children_that_process_1_did_not_start_confuse_nobody,
    a_subreaper_hides_nothing_from_a_kill,
    what_is_started_while_a_sandbox_ends_is_gone_with_it,
    a_command_cannot_pass_for_another,
    what_floods_process_1_with_orphans_keeps_nobody_waiting,
];

const SOON: Duration = Duration::from_secs(2);

async fn no_socket_of_process_1_can_be_reached(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import os, socket, struct
# No socket is listed but nameless ones, and the kernel's own list cannot be asked for.
names = [line.split()[7:] for line in open('/proc/net/unix').read().splitlines()[1:]]
print([n for n in names if n])
for protocol in (4, 16, 9, 12):
  try: socket.socket(16, 3, protocol); print('netlink', protocol)
  except OSError: pass
# Nothing is inherited, whatever its number.
print([fd for fd in range(3, 4096) if os.path.exists(f'/proc/self/fd/{fd}') and os.readlink(f'/proc/self/fd/{fd}').startswith(('socket', 'anon', '/memfd'))])
for pid in [int(p) for p in os.listdir('/proc') if p.isdigit()]:
  if pid != os.getpid():
    try: print(pid, [os.readlink(f'/proc/{pid}/fd/{n}') for n in os.listdir(f'/proc/{pid}/fd')])
    except OSError: pass
# Names that only the kernel gives.
n = 0
for name in range(1 << 12):
  s = socket.socket(1, 5)
  try: s.connect(b'\\0%05x' % name); n += 1
  except OSError: pass
  s.close()
print(n)";
    assert_eq!(python(&sandbox, source).await, "[]\n[]\n0\n");
}

/// Siblings of a command, which only its parent can wait for: process 1.
async fn children_that_process_1_did_not_start_confuse_nobody(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import ctypes, os, platform
l = ctypes.CDLL(None, use_errno=True)
number = 56 if platform.machine() == 'x86_64' else 220
made = 0
for signal in (17, 0, 9, 10, 64):
  for code in range(20):
    r = l.syscall(number, 0x8000 | signal, 0, 0, 0, 0)
    if r == 0: os._exit(code)
    made += r > 0
print(made)";
    let (made, exits) = tokio::join!(python(&sandbox, source), async {
        let mut exits = Vec::new();
        for code in 0..40 {
            exits.push((code, sh(&sandbox, format!("exit {code}")).await.exit_code));
        }
        exits
    });
    assert!(exits.iter().all(|(wanted, got)| wanted == got), "{exits:?}");
    assert!(["100\n", "0\n"].contains(&made.as_str()), "{made}");
    eventually("process 1 has waited for them", SOON, async || {
        sh(&sandbox, "grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l").await.stdout == "0\n"
    })
    .await;
}

async fn a_subreaper_hides_nothing_from_a_kill(at: At) {
    let sandbox = at.sandbox().await;
    let seconds = format!("45{}", std::process::id());
    let line = format!(
        "exec python3 -c 'import ctypes, os, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
for _ in range(5):
  if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: os.execvp(\"sleep\", [\"sleep\", \"{seconds}\"])
    os._exit(0)
time.sleep(60)'"
    );
    let options = RunOptions { timeout: Some(Duration::from_secs(1)), ..RunOptions::default() };
    let output = soon("the end", SOON, sandbox.run_command(shell(line), options)).await.unwrap();
    assert!(output.timed_out, "{output:?}");
    eventually("all of them are gone", SOON, async || on_the_host(&format!("sleep {seconds}")).is_empty())
        .await;
    assert_eq!(sh(&sandbox, "echo lives").await.stdout, "lives\n");
}

async fn what_is_started_while_a_sandbox_ends_is_gone_with_it(at: At) {
    let seconds = format!("46{}", std::process::id());
    for round in 0..20_u64 {
        let sandbox = at.sandbox().await;
        let starting: Vec<_> = (0..10)
            .map(|_| {
                let (sandbox, line) =
                    (sandbox.clone(), format!("setsid -f sleep {seconds}; exec sleep {seconds}"));
                tokio::spawn(async move { sandbox.instance().spawn(&shell(line)).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(150 * round)).await;
        soon("the end of the sandbox", SOON, sandbox.destroy()).await.unwrap();
        for one in starting {
            // Started or refused: never hung.
            let _ = soon("an answer", SOON, one).await.unwrap();
        }
        assert!(on_the_host(&format!("sleep {seconds}")).is_empty(), "round {round}");
    }
}

/// Whoever has the number of a limit that marks a command can only lower it, and its own alone.
async fn a_command_cannot_pass_for_another(at: At) {
    let sandbox = at.sandbox().await;
    let victim = sandbox.instance().spawn(&shell("exec sleep 4747")).await.unwrap();
    let attack = "import resource, time
try:
  marks = resource.prlimit(%d, 15)
  print('seen')
except OSError: marks = (2, 2)
for mark in (marks[0], marks[0] - 1, marks[0] + 1):
  try: resource.setrlimit(15, (mark, mark))
  except (OSError, ValueError): pass
try: resource.prlimit(%d, 15, (1, 1)); print('changed')
except (OSError, PermissionError): pass
time.sleep(60)"
        .replace("%d", &victim.control.pid().to_string());
    let options = RunOptions { timeout: Some(Duration::from_millis(700)), ..RunOptions::default() };
    let program = computesdk::provider::Program::Args(vec!["python3".into(), "-c".into(), attack]);
    let command = computesdk::provider::Command { program, ..Default::default() };
    let output = soon("the end", SOON, sandbox.run_command(command, options)).await.unwrap();
    assert!(output.timed_out && !output.stdout.contains("changed"), "{output:?}");
    assert_eq!(
        sh(&sandbox, "pgrep -fc 'slee[p] 4747'").await.stdout,
        "1\n",
        "the victim was taken for the attacker"
    );
    soon("a kill", SOON, victim.control.kill()).await.unwrap();
    soon("its end", SOON, victim.control.wait()).await.unwrap();
}

async fn what_floods_process_1_with_orphans_keeps_nobody_waiting(at: At) {
    let sandbox = at.sandbox().await;
    let flood = "while :; do (true & true & true &) ; done";
    let flooding = sandbox.instance().spawn(&shell(flood)).await.unwrap();
    for _ in 0..20 {
        let output = soon("an answer", SOON, sh(&sandbox, "echo fine")).await;
        assert_eq!(output.stdout, "fine\n");
        soon("a listing", SOON, sandbox.filesystem().list("/")).await.unwrap();
    }
    soon("a kill", SOON, flooding.control.kill()).await.unwrap();
    soon("its end", SOON, flooding.control.wait()).await.unwrap();
}
