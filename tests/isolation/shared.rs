//! What sandboxes have in common whatever is done, and what they can do to each other with it.

use std::fs;

use crate::harness::{At, Case, Lent, cases, sh, shell};
use crate::python;

pub(super) const CASES: &[Case] = cases![
    keys_of_shared_memory_are_the_sandboxes_own,
    queues_are_bounded_and_the_sandboxes_own,
    timers_run_out_inside_only,
    a_neighbours_use_of_the_hosts_programs_is_not_seen,
    what_is_in_the_page_cache_is_not_told,
    a_name_in_no_file_system_is_the_sandboxes_own,
    what_one_writes_into_a_program_the_other_does_not_run,
    watches_run_out_inside_only,
];

async fn two(at: &At) -> (Lent, Lent) {
    (at.sandbox().await, at.sandbox().await)
}

const C: &str = "import ctypes, os\nl = ctypes.CDLL(None, use_errno=True)\n";

async fn keys_of_shared_memory_are_the_sandboxes_own(at: At) {
    let (one, other) = two(&at).await;
    let make = format!(
        "{C}print(l.shmget(0x4711, 4096, 0o1666) >= 0, l.semget(0x4711, 1, 0o1666) >= 0, l.msgget(0x4711, 0o1666) >= 0)"
    );
    assert_eq!(python(&one, &make).await, "True True True\n");
    let find = format!("{C}print(l.shmget(0x4711, 0, 0), l.semget(0x4711, 0, 0), l.msgget(0x4711, 0))
for number in range(64):
  if l.shmat(number, 0, 0) != -1: print('attached', number)
  if l.shmctl(number, 0, 0) == 0 or l.semctl(number, 0, 0) == 0 or l.msgctl(number, 0, 0) == 0: print('removed', number)");
    assert_eq!(python(&other, &find).await, "-1 -1 -1\n");
    let still = format!("{C}print(l.shmget(0x4711, 0, 0) >= 0)");
    assert_eq!(python(&one, &still).await, "True\n");
}

async fn queues_are_bounded_and_the_sandboxes_own(at: At) {
    let (one, other) = two(&at).await;
    let source = format!(
        "{C}n = 0
while n < 10000 and l.mq_open(b'/planted%d' % n, 0o102, 0o666, None) >= 0: n += 1
print(n)"
    );
    let made: u32 = python(&one, &source).await.trim().parse().unwrap();
    assert!(made <= 256, "{made} queues were made");
    let source = format!(
        "{C}print(l.mq_open(b'/planted0', 2), l.mq_open(b'/own', 0o102, 0o666, None) >= 0 or {made} == 0)"
    );
    assert_eq!(python(&other, &source).await, "-1 True\n");
}

async fn timers_run_out_inside_only(at: At) {
    let (one, other) = two(&at).await;
    let count = |most: u32| {
        format!(
            "{C}t, n = ctypes.c_void_p(), 0
while n < {most} and l.timer_create(0, None, ctypes.byref(t)) == 0: n += 1
print(n)"
        )
    };
    let made: u32 = python(&one, &count(100_000)).await.trim().parse().unwrap();
    assert!(made < 100_000, "{made} timers were made");
    assert_eq!(python(&other, &count(10)).await, "10\n");
}

/// Events on files that both have from the host, as `inotify(7)` tells them.
async fn a_neighbours_use_of_the_hosts_programs_is_not_seen(at: At) {
    let (one, other) = two(&at).await;
    let watching = format!(
        "{C}import select, time
w = l.inotify_init1(0o4000)
for path in (b'/usr/bin', b'/usr/bin/env', b'/usr/bin/python3', b'/etc', b'/etc/passwd'): l.inotify_add_watch(w, path, 0xfff)
print('watches', flush=True)
end, seen = time.time() + 1.5, 0
while time.time() < end:
  if select.select([w], [], [], 0.1)[0]: seen += len(os.read(w, 65536))
print(seen)"
    );
    let (seen, ()) = tokio::join!(python(&one, &watching), async {
        for _ in 0..10 {
            sh(
                &other,
                "env true; cat /usr/bin/env /etc/passwd | wc -c; python3 -c 1; ls /usr/bin /etc | wc -l",
            )
            .await;
            let _ = (fs::read("/usr/bin/env"), fs::read_dir("/usr/bin").unwrap().count());
        }
    });
    assert_eq!(seen, "watches\n0\n");
}

async fn what_is_in_the_page_cache_is_not_told(at: At) {
    let sandbox = at.sandbox().await;
    // For a file of somebody else the kernel says that all of it is there, whether it is or not (mincore(2)).
    let source = format!(
        "{C}l.mmap.restype = ctypes.c_void_p
l.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
lies = 0
for top, _, files in os.walk('/usr/lib'):
  for name in files:
    path = os.path.join(top, name)
    if os.path.islink(path) or os.path.getsize(path) < 1 << 20: continue
    size = os.path.getsize(path) & ~4095
    try: fd = os.open(path, 0)
    except OSError: continue
    at = l.mmap(None, ctypes.c_size_t(size), 1, 1, fd, ctypes.c_long(0))
    pages = ctypes.create_string_buffer(size // 4096)
    if l.mincore(at, size, pages) == 0 and b'\\0' in pages.raw: print('told of', path)
    l.munmap(ctypes.c_void_p(at), ctypes.c_size_t(size)); os.close(fd)
    lies += 1
    if lies == 200: raise SystemExit"
    );
    assert_eq!(python(&sandbox, &source).await, "");
}

async fn a_name_in_no_file_system_is_the_sandboxes_own(at: At) {
    let (one, other) = two(&at).await;
    let serve = "import socket, sys
for kind in (1, 2, 5):
  s = socket.socket(1, kind); s.bind(f'\\0planted-{kind}')
  if kind != 2: s.listen()
  globals()[f's{kind}'] = s
print('ready', flush=True); sys.stdin.read()";
    let program = computesdk::provider::Program::Args(["python3", "-c", serve].map(str::to_owned).into());
    let command = computesdk::provider::Command { program, stdin: true, ..Default::default() };
    let mut served = one.instance().spawn(&command).await.unwrap();
    served.output.next(computesdk::provider::Wanted::BOTH).await.unwrap();
    let source = "import socket
for kind in (1, 2, 5):
  try: socket.socket(1, kind).connect(f'\\0planted-{kind}'); print('REACHED', kind)
  except OSError: pass
  s = socket.socket(1, kind); s.bind(f'\\0planted-{kind}'); globals()[f's{kind}'] = s
print(open('/proc/net/unix').read().count('planted'))";
    assert_eq!(python(&other, source).await, "3\n");
    let listed = fs::read_to_string("/proc/net/unix").unwrap();
    assert!(!listed.contains("@planted-1"), "it is seen on the host");
    served.control.kill().await.unwrap();
}

async fn what_one_writes_into_a_program_the_other_does_not_run(at: At) {
    let (one, other) = two(&at).await;
    let before = fs::read("/usr/bin/env").unwrap();
    sh(&one, "cp /bin/sh /tmp/x; cat /tmp/x > /usr/bin/env; rm -f /usr/bin/true; ln -sf /tmp/x /usr/bin/true; touch /usr/bin/planted; chmod 777 /usr").await;
    let line = "env echo fine; true && echo true; ls /usr/bin/planted 2>/dev/null; stat -c %a /usr";
    assert_eq!(sh(&other, line).await.stdout, "fine\ntrue\n755\n");
    let third = at.sandbox().await;
    assert_eq!(sh(&third, line).await.stdout, "fine\ntrue\n755\n");
    assert_eq!(fs::read("/usr/bin/env").unwrap(), before);
}

async fn watches_run_out_inside_only(at: At) {
    let (one, other) = two(&at).await;
    let source = format!(
        "{C}n = 0
while n < 100000 and l.inotify_init1(0) >= 0: n += 1
print(n < 100000, flush=True)
import time; time.sleep(60)"
    );
    let program = computesdk::provider::Program::Args(vec!["python3".into(), "-c".into(), source]);
    let command = computesdk::provider::Command { program, ..Default::default() };
    let mut hog = one.instance().spawn(&command).await.unwrap();
    let said = hog.output.next(computesdk::provider::Wanted::BOTH).await;
    assert_eq!(said, Some(computesdk::provider::Chunk::Stdout("True\n".into())));
    let own = python(&other, &format!("{C}print(l.inotify_init1(0) >= 0)")).await;
    if crate::is_root() {
        assert_eq!(own, "True\n");
    }
    // Of an ordinary user, the kernel counts them together, which is documented; nobody is harmed more than that.
    assert_eq!(sh(&other, "echo lives").await.stdout, "lives\n");
    let _ = other.run_command(shell("sleep 0"), Default::default()).await.unwrap();
}
