//! What waits has the user of the commands. Whoever kills it, stops it or takes its place gains nothing.

use std::time::Duration;

use computesdk::command::RunOptions;
use computesdk::provider::Command;

use crate::harness::{At, Case, cases, eventually, sh, soon};
use crate::{always, python, until_warm};

pub(super) const CASES: &[Case] = cases![
    who_kills_what_waits_makes_code_start_cold,
    who_stops_what_waits_holds_nobody_up,
    what_waits_cannot_be_looked_into,
    a_start_that_is_taken_over_costs_the_warmth_only,
    a_run_that_leaves_its_tree_is_found,
    a_run_has_no_descriptor_but_its_own,
];

const SOON: Duration = Duration::from_secs(5);

async fn who_kills_what_waits_makes_code_start_cold(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    for _ in 0..20 {
        sh(&sandbox, "kill -9 -1").await;
        // What was killed may hear of it only when it has its run, as a command can be killed that has just begun.
        let output = soon("code ends", SOON, python(&sandbox, "print(1)")).await;
        assert!(output.stdout == "1\n" || output.signal == Some(9), "{output:?}");
        let output = soon("code runs", SOON, python(&sandbox, "print(1)")).await;
        assert_eq!((output.stdout.as_str(), output.exit_code), ("1\n", 0), "{}", output.stderr);
    }
}

async fn who_stops_what_waits_holds_nobody_up(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    for _ in 0..10 {
        sh(&sandbox, "kill -STOP -1").await;
        let output = soon("code runs", SOON, python(&sandbox, "print(1)")).await;
        assert_eq!((output.stdout.as_str(), output.exit_code), ("1\n", 0), "{}", output.stderr);
    }
}

async fn what_waits_cannot_be_looked_into(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    let look = r#"
import os, ctypes, glob
libc = ctypes.CDLL(None, use_errno=True)
for path in glob.glob('/proc/[0-9]*'):
    pid = int(path[6:])
    if pid in (1, os.getpid()): continue
    for name in 'mem', 'environ', 'maps', 'fd/3':
        # What has ended, and has not been waited for, has nothing in it.
        try: print('read', pid, name) if open(path + '/' + name, 'rb').read(1) else None
        except OSError: pass
    if libc.ptrace(16, pid, 0, 0) == 0: print('traced', pid)
    print('seen')
"#;
    let output = python(&sandbox, look).await;
    assert!(output.stdout.lines().count() >= 1, "{}", output.stderr);
    assert!(output.stdout.lines().all(|line| line == "seen"), "{}", output.stdout);
}

async fn a_start_that_is_taken_over_costs_the_warmth_only(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    // From now on, whatever waits is code of the sandbox' own.
    let plant = r#"
import site, os
p = site.getusersitepackages()
os.makedirs(p, exist_ok=True)
open(p + '/usercustomize.py', 'w').write('''
import sys
if 'posix.read' in ' '.join(getattr(sys, 'orig_argv', [])):
    import socket, os, time, array
    link = socket.socket(fileno=3)
    link.recv(65536)
    mode = open('/tmp/mode').read()
    while True:
        _, beside, _, _ = link.recvmsg(16, 64)
        other = socket.socket(fileno=array.array('i', beside[0][2])[0])
        if mode == 'self': other.send(b' ')
        if mode == 'much': other.send(b'x' * 60000)
        if mode == 'command': other.send(b' ')
        if mode == 'close': other.close()
        if mode == 'descriptors': socket.send_fds(other, [b' '], [0] * 200)
        if mode == 'fork':
            if os.fork() == 0:
                if os.fork() == 0:
                    time.sleep(0.01); other.send(b' '); time.sleep(30)
                os._exit(0)
''')
"#;
    for mode in ["self", "much", "close", "descriptors", "hang", "fork"] {
        sh(&sandbox, format!("echo -n {mode} > /tmp/mode")).await;
        python(&sandbox, plant).await;
        for _ in 0..6 {
            let options = RunOptions { timeout: Some(Duration::from_millis(1500)), ..RunOptions::default() };
            let run = sandbox.run_code(
                "print(1)",
                Some(computesdk::code::Language::Python),
                Command::default(),
                options,
            );
            let output = soon("code ends", SOON, run).await.unwrap().output;
            // Who takes a run over may leave it undone; then its time ends it.
            assert!(
                output.stdout == "1\n" || output.timed_out || output.exit_code != 0,
                "{mode}: {output:?}"
            );
            let output = soon("commands run", SOON, sh(&sandbox, "echo here")).await;
            assert_eq!(output.stdout, "here\n", "{mode}");
        }
    }
    sh(&sandbox, "rm -r ~/.local").await;
    let output = soon("code runs", SOON, python(&sandbox, "print(1)")).await;
    assert_eq!(output.stdout, "1\n", "{}", output.stderr);
}

async fn a_run_that_leaves_its_tree_is_found(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    let tamper = r#"
import os, resource, time, ctypes
for value in ((1, 1), (1 << 40, 1 << 40), (resource.RLIM_INFINITY,) * 2, (1 << 41, 1 << 41)):
    try: resource.setrlimit(15, value); print('changed')
    except (OSError, ValueError): pass
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open('/tmp/pid', 'w').write(str(os.getpid()))
        time.sleep(60)
    os._exit(0)
time.sleep(60)
"#;
    let options = RunOptions { timeout: Some(Duration::from_millis(1500)), ..RunOptions::default() };
    let run =
        sandbox.run_code(tamper, Some(computesdk::code::Language::Python), Command::default(), options).await;
    let output = run.unwrap().output;
    assert!(output.timed_out && output.stdout.is_empty(), "{output:?}");
    assert_eq!(sh(&sandbox, "test -s /tmp/pid && echo begun").await.stdout, "begun\n");
    // What is killed may take a moment to be gone.
    eventually("what has left is gone", SOON, async || {
        sh(&sandbox, "kill -0 $(cat /tmp/pid) 2>/dev/null || echo gone").await.stdout == "gone\n"
    })
    .await;
    until_warm(&sandbox).await;
}

async fn a_run_has_no_descriptor_but_its_own(_: At) {
    let sandbox = always(&["json", "socket"]).await;
    until_warm(&sandbox).await;
    let look = "import os
for fd in range(4096):
  try: print(fd, os.readlink(f'/proc/self/fd/{fd}').split(':')[0])
  except OSError: pass";
    for _ in 0..3 {
        let output = python(&sandbox, look).await;
        assert_eq!(output.stdout, "0 /dev/null\n1 pipe\n2 pipe\n", "{}", output.stderr);
    }
}
