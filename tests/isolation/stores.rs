//! Attacks on what all of the machine has one store of: whoever uses it up takes it from everybody.

use std::process::Command;
use std::time::Duration;

use computesdk::provider::{CreateRequest, Resources};

use crate::closed::{host, text};
use crate::harness::{At, Case, cases, eventually, sh, shell, soon};
use crate::{call, is_limited_as_a_whole, is_root, python};

pub(super) const CASES: &[Case] = cases![
    requests_for_input_and_output_are_not_counted_up,
    huge_pages_are_left_alone,
    what_tcp_buffers_is_limited_where_a_cgroup_can_be_had,
    a_few_netlink_sockets_can_be_had_at_once,
    who_knocks_without_end_keeps_nobody_waiting,
    signals_that_wait_are_limited,
    nobody_comes_before_others_on_a_processor,
    what_the_host_may_do_before_others_is_not_handed_down,
    nobody_can_make_others_wait_for_a_file,
];

const SOON: Duration = Duration::from_secs(2);

/// Tells what came of each call of a list of `(number, arguments)`.
const CALLS: &str = "import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def told(number, *arguments):
  result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(one) for one in arguments])
  return ctypes.get_errno() if result == -1 else 'WORKED'
";

async fn requests_for_input_and_output_are_not_counted_up(at: At) {
    let sandbox = at.sandbox().await;
    let setup = call(206, 0);
    let source =
        format!("{CALLS}context = ctypes.c_ulong(0)\nprint(told({setup}, 30000, ctypes.addressof(context)))");
    assert_eq!(python(&sandbox, &source).await, "38\n");
}

async fn huge_pages_are_left_alone(at: At) {
    let sandbox = at.sandbox().await;
    let [mmap, memfd, shmget] = [call(9, 222), call(319, 279), call(29, 194)];
    let source = format!(
        "{CALLS}name = ctypes.create_string_buffer(b'x')
for size in (0, 21 << 26, 30 << 26):
  print(told({mmap}, 0, 1 << 21, 3, 0x40022 | size, -1, 0), told({memfd}, ctypes.addressof(name), 4 | size), \
               told({shmget}, 0, 1 << 21, 0o4600 | size))"
    );
    assert_eq!(python(&sandbox, &source).await, "1 1 1\n".repeat(3));
}

async fn what_tcp_buffers_is_limited_where_a_cgroup_can_be_had(at: At) {
    let resources = Resources { memory: Some(256 << 20), ..Resources::default() };
    let sandbox = at.create(CreateRequest { resources, ..CreateRequest::default() }).await;
    if !is_limited_as_a_whole(&sandbox).await {
        return;
    }
    let source = "import socket, time
listener = socket.create_server(('127.0.0.1', 9000), backlog=300)
kept, sent, end = [], 0, time.monotonic() + 5
try:
  for _ in range(300):
    one = socket.create_connection(('127.0.0.1', 9000), timeout=1)
    kept += [one, listener.accept()[0]]
    one.setblocking(False)
    try:
      while time.monotonic() < end: sent += one.send(bytes(1 << 20))
    except BlockingIOError: pass
except OSError: pass
print(sent >> 20)";
    let held: u64 = python(&sandbox, source).await.trim().parse().unwrap();
    assert!(held < 256, "{held} MiB are held by the kernel");
    assert_eq!(sh(&sandbox, "echo lives").await.stdout, "lives\n");
}

async fn a_few_netlink_sockets_can_be_had_at_once(at: At) {
    let (sandbox, other) = (at.sandbox().await, at.sandbox().await);
    // From several processes: there is one store for all of them.
    let source = "import os, socket, sys, time
kept = []
for _ in range(4):
  if os.fork() == 0: break
try:
  while len(kept) < 1000: kept.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
except OSError as e: print(len(kept), e.errno, flush=True)
time.sleep(60)";
    let attack =
        sandbox.instance().spawn(&shell(format!("python3 -c \"{source}\" > /tmp/told"))).await.unwrap();
    let told = async || sh(&sandbox, "cat /tmp/told").await.stdout;
    eventually("all are refused more", SOON * 5, async || told().await.lines().count() == 5).await;
    let told = told().await;
    let (counts, errors): (Vec<usize>, Vec<&str>) = told
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(n, error)| (n.parse::<usize>().unwrap(), error))
        .unzip();
    // One or the other may have been let in while the last was made.
    assert!((64..=70).contains(&counts.iter().sum::<usize>()), "{told}");
    assert_eq!(errors, ["24"; 5]);
    let addresses = "console.log(Object.keys(require('os').networkInterfaces()).join())";
    assert_eq!(sh(&other, format!("node -e \"{addresses}\"")).await.stdout, "lo\n");
    attack.control.kill().await.unwrap();
    eventually("there is room again", SOON, async || {
        sh(&sandbox, format!("node -e \"{addresses}\"")).await.stdout == "lo\n"
    })
    .await;
}

async fn who_knocks_without_end_keeps_nobody_waiting(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import os, socket
for _ in range(20):
  if os.fork() == 0: break
while True:
  try: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
  except OSError: pass";
    let attack = sandbox.instance().spawn(&shell(format!("python3 -c \"{source}\""))).await.unwrap();
    for _ in 0..20 {
        soon("an answer", SOON, sandbox.filesystem().exists("/etc/passwd")).await;
        assert_eq!(soon("a command", SOON, sh(&sandbox, "echo lives")).await.stdout, "lives\n");
    }
    attack.control.kill().await.unwrap();
    attack.control.wait().await.unwrap();
    let are_gone = async || sh(&sandbox, "pgrep -c python3").await.stdout == "0\n";
    eventually("all that came of it is gone", SOON, are_gone).await;
}

async fn signals_that_wait_are_limited(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import ctypes, os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {40})
libc = ctypes.CDLL(None)
waiting = 0
while waiting < 100000 and libc.sigqueue(os.getpid(), 40, None) == 0: waiting += 1
print(waiting <= 4096)";
    assert_eq!(python(&sandbox, source).await, "True\n");
}

async fn nobody_comes_before_others_on_a_processor(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import os
for policy in (os.SCHED_FIFO, os.SCHED_RR):
  try: os.sched_setscheduler(0, policy, os.sched_param(1)); print('real time')
  except OSError as e: print(e.errno)
try: print('nicer by', os.nice(-1))
except OSError as e: print(e.errno)";
    assert_eq!(python(&sandbox, source).await, "1\n1\n1\n");
    assert_eq!(sh(&sandbox, "ulimit -r; ulimit -e").await.stdout, "0\n0\n");
}

async fn what_the_host_may_do_before_others_is_not_handed_down(_: At) {
    // An ordinary user has nothing to hand down.
    if !is_root() {
        return;
    }
    let mut privileged = Command::new("nice");
    privileged.args(["-n", "-10", "chrt", "--reset-on-fork", "--rr", "1"]);
    let told = text(&host(&mut privileged, "nice; chrt -p $$; cat /proc/1/oom_score_adj"));
    let real_time = text(&host(Command::new("chrt").args(["--rr", "1"]), "chrt -p $$"));
    assert!(told.starts_with("0\n"), "{told}");
    for told in [told, real_time] {
        assert!(told.contains("SCHED_OTHER") && !told.contains("SCHED_RR"), "{told}");
    }
}

async fn nobody_can_make_others_wait_for_a_file(at: At) {
    let sandbox = at.sandbox().await;
    // The kernel would have everybody wait for 45 seconds who opens what is leased.
    let source = "import fcntl, os
open('/tmp/own', 'w').close()
for name in ('/tmp/own', '/usr/bin/env', '/etc/passwd', os.path.realpath('/proc/self/exe')):
  file = os.open(name, os.O_RDONLY)
  for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
    try: fcntl.fcntl(file, fcntl.F_SETLEASE, kind); print(name, 'is leased')
    except OSError as e: print(e.errno)";
    assert_eq!(python(&sandbox, source).await, "1\n".repeat(8));
}
