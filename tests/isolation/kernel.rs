//! Attacks on the kernel and the machine.

use std::fs;
use std::time::SystemTime;

use crate::harness::{At, Case, cases, sh};
use crate::{all_output, call, python};

pub(super) const CASES: &[Case] = cases![
    no_namespace_can_be_made_or_entered,
    calls_that_need_privilege_are_refused,
    the_clock_and_the_name_of_the_host_stay,
    nothing_is_typed_into_a_terminal,
    sockets_of_exotic_families_are_refused,
    the_kernels_keys_and_queues_are_the_sandboxes_own,
];

/// Tells the errno of a call by its number.
const CALL: &str = "import ctypes
l = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
  ctypes.set_errno(0)
  r = l.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
  return ctypes.get_errno() if r == -1 else 'WORKED'
";

async fn no_namespace_can_be_made_or_entered(at: At) {
    let sandbox = at.sandbox().await;
    let line = "for c in 'unshare -Ur true' 'unshare -n true' 'unshare -m true' 'unshare -p true' 'nsenter -t 1 -a true' \
                'nsenter --net=/proc/1/ns/net true' 'nsenter --user=/proc/self/ns/user true'; do $c 2>/dev/null && echo \"$c WORKED\"; done";
    assert_eq!(sh(&sandbox, line).await.stdout, "");
    assert_eq!(sh(&sandbox, "cat /proc/sys/user/max_user_namespaces").await.stdout, "0\n");
    // clone with each flag; clone3 must not seem to exist, so that C libraries fall back.
    let flags = "(0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)";
    let [clone, unshare, setns] = [call(56, 220), call(272, 97), call(308, 268)];
    let source = format!(
        "{CALL}print([call({clone}, flag | 17, 0, 0, 0, 0) for flag in {flags}], call(435, 0, 0), \
         call({unshare}, 0x10000000), call({setns}, -1, 0))"
    );
    assert_eq!(python(&sandbox, &source).await, "[1, 1, 1, 1, 1, 1, 1] 38 1 1\n");
}

async fn calls_that_need_privilege_are_refused(at: At) {
    let sandbox = at.sandbox().await;
    let calls = [
        ("init_module", call(175, 105)),
        ("finit_module", call(313, 273)),
        ("delete_module", call(176, 106)),
        ("kexec_load", call(246, 104)),
        ("kexec_file_load", call(320, 294)),
        ("reboot", call(169, 142)),
        ("swapon", call(167, 224)),
        ("swapoff", call(168, 225)),
        ("acct", call(163, 89)),
        // Where there is no such call, one that nobody knows.
        ("iopl", call(172, 1001)),
        ("ioperm", call(173, 1002)),
        ("bpf", call(321, 280)),
        ("perf_event_open", call(298, 241)),
        ("userfaultfd", call(323, 282)),
        ("keyctl", call(250, 219)),
        ("add_key", call(248, 217)),
        ("request_key", call(249, 218)),
        ("mount", call(165, 40)),
        ("umount2", call(166, 39)),
        ("pivot_root", call(155, 41)),
        ("chroot", call(161, 51)),
        ("open_by_handle_at", call(304, 265)),
        ("syslog", call(103, 116)),
        ("quotactl", call(179, 60)),
        ("settimeofday", call(164, 170)),
        ("sethostname", call(170, 161)),
        ("setdomainname", call(171, 162)),
        ("fsopen", 430),
        ("move_mount", 429),
        ("open_tree", 428),
        ("mount_setattr", 442),
        ("pidfd_getfd", 438),
        ("kcmp", call(312, 272)),
        ("io_uring_setup", 425),
        ("io_uring_enter", 426),
        ("io_uring_register", 427),
        ("memfd_secret", 447),
        ("x32", 0x4000_0000),
        ("tomorrow's", 1000),
    ];
    let numbers: Vec<_> = calls.iter().map(|(_, number)| number).collect();
    let source = format!("{CALL}for n in {numbers:?}: print(call(n, 0, 0, 0, 0, 0))");
    let answers = python(&sandbox, &source).await;
    assert_eq!(answers.lines().count(), calls.len());
    for ((name, _), errno) in calls.iter().zip(answers.lines()) {
        assert!(["1", "38"].contains(&errno), "{name}: {errno}");
    }
}

async fn the_clock_and_the_name_of_the_host_stay(at: At) {
    let sandbox = at.sandbox().await;
    let (name, before) = (fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), SystemTime::now());
    let output = all_output(&sandbox, "date -s 2001-01-01 >/dev/null 2>&1 && echo SET; hostname planted 2>/dev/null && echo NAMED; cat /proc/sys/kernel/hostname").await;
    assert_eq!(output, "sandbox\n");
    let set = python(
        &sandbox,
        "import time\ntry: time.clock_settime(0, 1); print('SET')\nexcept OSError as e: print(e.errno)",
    )
    .await;
    assert_eq!(set, "1\n");
    assert!(SystemTime::now() >= before);
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), name);
}

async fn nothing_is_typed_into_a_terminal(at: At) {
    let sandbox = at.sandbox().await;
    // At a terminal of its own, where the kernel itself would allow it.
    let source = "import fcntl, os, pty
ours, theirs = pty.openpty()
for request in (0x5412, 0x541C, 0x5423):
  for fd in (0, theirs):
    try: fcntl.ioctl(fd, request, b'x'); print(hex(request), 'WORKED')
    except OSError: pass
try: os.open('/dev/tty', os.O_RDWR); print('the host\\'s terminal')
except OSError as e: print(e.errno)";
    assert_eq!(python(&sandbox, source).await, "6\n");
}

async fn sockets_of_exotic_families_are_refused(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import socket
for family in range(3, 46):
  for kind in (1, 2, 3, 5):
    for protocol in (0, 9, 16):
      if family in (10, 16) and protocol in (0,): continue
      try: socket.socket(family, kind, protocol); print(family, kind, protocol)
      except OSError: pass
for family in (2, 10):
  try: socket.socket(family, 3, 1); print('raw', family)
  except OSError: pass";
    assert_eq!(python(&sandbox, source).await, "");
}

async fn the_kernels_keys_and_queues_are_the_sandboxes_own(at: At) {
    let sandbox = at.sandbox().await;
    let made = std::process::Command::new("ipcmk").args(["-M", "4096"]).output().unwrap();
    let id = String::from_utf8(made.stdout).unwrap().trim().rsplit(' ').next().unwrap().to_owned();
    let seen = sh(&sandbox, "tail -n +2 /proc/sysvipc/shm /proc/sysvipc/msg /proc/sysvipc/sem | grep -c '[0-9]'; cat /proc/keys 2>/dev/null").await;
    let removed = std::process::Command::new("ipcrm").args(["-m", &id]).status().unwrap();
    assert_eq!(seen.stdout, "0\n");
    assert!(removed.success(), "somebody else has removed it");
}
