//! Attacks of one sandbox on another.

use bytes::Bytes;
use computesdk::provider::{Command, Exit, Wanted};

use crate::harness::{At, Case, cases, sh, shell};
use crate::{is_root, python};

pub(super) const CASES: &[Case] = cases![
    neighbours_see_nothing_of_each_other,
    neighbours_cannot_use_up_each_others_processes,
    neighbours_of_root_have_ids_of_their_own,
    a_thousand_neighbours_live_at_once,
];

async fn neighbours_see_nothing_of_each_other(at: At) {
    let (one, other) = (at.sandbox().await, at.sandbox().await);
    one.filesystem().write("/tmp/secret", Bytes::from_static(b"secret")).await.unwrap();
    sh(&one, "echo secret > /dev/shm/s; echo secret > /secret; ipcmk -M 4096; ipcmk -Q").await;
    let server = "import socket, sys
a = socket.socket(1); a.bind('\\0neighbour'); a.listen()
t = socket.socket(); t.bind(('127.0.0.1', 4000)); t.listen()
print('ready', flush=True); sys.stdin.read(); print('unharmed', flush=True)";
    let program = computesdk::provider::Program::Args(["python3", "-c", server].map(str::to_owned).into());
    let mut served =
        one.instance().spawn(&Command { program, stdin: true, ..Command::default() }).await.unwrap();
    served.output.next(Wanted::BOTH).await.unwrap();
    let line = "ls -A /tmp /dev/shm | grep -v : ; ls /secret /dev/mqueue 2>/dev/null; tail -n +2 /proc/sysvipc/shm; \
                cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o 'neighbou[r]'; kill -9 -1";
    assert_eq!(sh(&other, line).await.stdout.trim(), "");
    let source = "import os, socket
for family, address in ((1, '\\0neighbour'), (2, ('127.0.0.1', 4000))):
  try: socket.socket(family).connect(address); print(address, 'REACHED')
  except OSError: pass
for p in range(2, 5000):
  if p != os.getpid():
    try: os.kill(p, 9); print('KILLED', p)
    except OSError: pass";
    assert_eq!(python(&other, source).await, "");
    served.control.close_stdin().await.unwrap();
    assert!(served.output.next(Wanted::BOTH).await.is_some());
    assert_eq!(served.control.wait().await.unwrap(), Exit::Code(0));
}

async fn neighbours_cannot_use_up_each_others_processes(at: At) {
    let (one, other) = (at.sandbox().await, at.sandbox().await);
    let _many =
        one.instance().spawn(&shell("for i in $(seq 1000); do sleep 1000 & done; wait")).await.unwrap();
    crate::harness::eventually("one has no processes left", std::time::Duration::from_secs(10), async || {
        one.filesystem()
            .list("/proc")
            .await
            .map_or(true, |all| all.iter().filter(|entry| entry.name.parse::<u32>().is_ok()).count() > 240)
    })
    .await;
    let output = sh(&other, "for i in $(seq 100); do sleep 0.2 & done; wait; echo all").await;
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("all\n", ""));
}

async fn neighbours_of_root_have_ids_of_their_own(at: At) {
    let (one, other) = (at.sandbox().await, at.sandbox().await);
    let map = "tr -s ' ' < /proc/self/uid_map";
    let maps = (sh(&one, map).await.stdout, sh(&other, map).await.stdout);
    if is_root() {
        assert_ne!(maps.0, maps.1);
        assert!(maps.0.ends_with(" 65536\n"), "{}", maps.0);
    } else {
        // Documented: a process without privileges has one id to give, its own.
        assert!(maps.0.starts_with(" 1000 ") && maps.0.ends_with(" 1\n"), "{}", maps.0);
    }
}

async fn a_thousand_neighbours_live_at_once(at: At) {
    let mut all = Vec::new();
    for number in 0..1000 {
        let sandbox = at.sandbox().await;
        sandbox.filesystem().write("/tmp/number", Bytes::from(number.to_string())).await.unwrap();
        all.push(sandbox);
    }
    for (number, sandbox) in all.iter().enumerate() {
        assert_eq!(sandbox.filesystem().read_text("/tmp/number").await.unwrap(), number.to_string());
    }
    assert_eq!(sh(&all[999], "cat /tmp/number").await.stdout, "999");
}
