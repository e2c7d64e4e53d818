//! Attacks through terminals and pipes that the core holds the other end of.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use computesdk::command::RunOptions;
use computesdk::provider::{self, Chunk, Program, Wanted};
use computesdk::sandbox::Sandbox;
use computesdk::terminal::{Terminal, TerminalOptions};
use futures_util::future::join_all;

use crate::harness::{At, Case, cases, eventually, sh, shell, soon};
use crate::{CANARY, call};

pub(super) const CASES: &[Case] = cases![
    nothing_is_typed_into_a_terminal_from_inside,
    the_terminals_of_the_host_are_not_reached,
    a_terminal_has_no_descriptor_but_its_own,
    the_multiplexer_cannot_be_replaced,
    what_is_opened_again_keeps_no_thread_busy,
    descriptors_are_back_after_the_end,
];

const SOON: Duration = Duration::from_secs(10);

async fn open(sandbox: &Sandbox, line: &str) -> Arc<Terminal> {
    let options = TerminalOptions { command: Some(line.to_owned()), ..TerminalOptions::default() };
    sandbox.open_terminal(options).await.unwrap()
}

/// A program of Python's, at a terminal.
async fn open_python(sandbox: &Sandbox, source: &str) -> Arc<Terminal> {
    sandbox.filesystem().write("/tmp/attack.py", bytes::Bytes::from(source.to_owned())).await.unwrap();
    open(sandbox, "exec python3 /tmp/attack.py").await
}

/// What a terminal shows until this text, or until its end.
async fn shown(terminal: &Terminal, until: &str) -> String {
    let mut reader = terminal.reader();
    let mut all = String::new();
    while !all.contains(until) {
        match soon("more on the screen", SOON, reader.next()).await {
            Some(Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) => {
                all.push_str(&String::from_utf8_lossy(&bytes))
            }
            None => break,
        }
    }
    all
}

async fn nothing_is_typed_into_a_terminal_from_inside(at: At) {
    let sandbox = at.sandbox().await;
    // TIOCSTI, TIOCLINUX, TIOCSETD, TIOCCONS; also where the kernel does not look at all of the number.
    let source = format!(
        "import ctypes, fcntl, os
l = ctypes.CDLL(None, use_errno=True)
terminals = [0, 1, 2, os.open('/dev/tty', os.O_RDWR), os.open(os.ttyname(0), os.O_RDWR)]
for request in (0x5412, 0x541C, 0x5423, 0x541D):
  for high in (0, 1 << 32, 1 << 63):
    for fd in terminals:
      number = ctypes.c_ulong(request | high)
      if l.syscall({}, fd, number, ctypes.create_string_buffer(b'x')) == 0: print(hex(request | high), 'WORKED')
print('typed', repr(input()), 'end')",
        call(16, 29)
    );
    let terminal = open_python(&sandbox, &source).await;
    terminal.write("by us\n".into()).await.unwrap();
    let all = shown(&terminal, "end\r\n").await;
    assert!(all.ends_with("typed 'by us' end\r\n") && !all.contains("WORKED"), "{all}");
    assert_eq!(soon("the end", SOON, terminal.wait()).await, 0);
}

async fn the_terminals_of_the_host_are_not_reached(at: At) {
    // A program of the host at a terminal of its own; what is typed at it, it tells.
    let source = "import os, pty, select, sys
child, master = pty.fork()
if child == 0:
  os.execvp('sh', ['sh', '-c', 'tty; exec cat'])
name = b''
while not name.endswith(b'\\n'): name += os.read(master, 100)
print(name.decode().strip(), flush=True)
sys.stdin.read(1)
seen = b''
while select.select([master], [], [], 0.1)[0]: seen += os.read(master, 4096)
print(repr(seen), flush=True)
os.kill(child, 9)";
    let mut host = Command::new("python3")
        .args(["-c", source])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let name = lines.next().unwrap().unwrap();
    assert!(name.starts_with("/dev/pts/"), "{name}");
    let sandbox = at.sandbox().await;
    let line = format!(
        "for t in {name} /dev/pts/* /dev/tty /dev/tty0 /dev/tty1 /dev/console /dev/ttyS0 /proc/*/fd/* /dev/vcs /dev/vcsa; do \
         case $(readlink -f $t) in /dev/pts/ptmx) ;; *) (echo {CANARY} > $t) 2>/dev/null;; esac; done; echo do''ne"
    );
    sh(&sandbox, &line).await;
    let terminal = open(&sandbox, &line).await;
    // It reaches its own, and all that there are.
    let all = shown(&terminal, "done\r\n").await;
    assert!(all.contains(CANARY), "{all}");
    assert_eq!(sh(&sandbox, "ls /dev/pts").await.stdout.lines().last(), Some("ptmx"));
    host.stdin.take().unwrap().write_all(b"x").unwrap();
    let seen = lines.next().unwrap().unwrap();
    host.wait().unwrap();
    assert_eq!(seen, "b''", "at {name}");
}

async fn a_terminal_has_no_descriptor_but_its_own(at: At) {
    let sandbox = at.sandbox().await;
    // Others that run meanwhile, with pipes and terminals of theirs.
    let _terminals = join_all((0..3).map(|_| open(&sandbox, "exec cat"))).await;
    let fed = provider::Command { stdin: true, ..shell("read x") };
    let _process = sandbox.spawn(fed, RunOptions::default()).await.unwrap();
    let line = "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> /\\1 /p'";
    let terminal = open(&sandbox, &format!("exec {}", &line[..line.find(" |").unwrap()])).await;
    let all = shown(&terminal, "no such text").await;
    let found: Vec<_> = all.lines().filter_map(|line| line.split_once(" -> ")).collect();
    let own = found[0].1;
    assert!(own.starts_with("/dev/pts/"), "{all}");
    for (number, (name, target)) in found.iter().enumerate() {
        assert!(name.ends_with(&format!(" {number}")), "{all}");
        assert!(*target == own || (number == 3 && target.starts_with("/proc/")), "{all}");
    }
    assert_eq!(found.len(), 4, "{all}");
    // Nor has a process that goes on.
    let process = sandbox.spawn(shell("exec ls -l /proc/self/fd"), RunOptions::default()).await.unwrap();
    process.release();
    let output = process.wait().await.unwrap().stdout;
    assert_eq!(output.lines().filter(|line| line.contains(" -> ")).count(), 4, "{output}");
}

async fn the_multiplexer_cannot_be_replaced(at: At) {
    let sandbox = at.sandbox().await;
    let attacks = "rm -f /dev/ptmx; ln -sf /tmp/fifo /dev/ptmx; mv /dev/pts /dev/old; rm -f /dev/pts/ptmx; \
                   mkfifo /tmp/fifo; mv /tmp/fifo /dev/ptmx; ln -sfn /tmp /dev/pts; touch /dev/pts/0; rmdir /dev/pts";
    for attack in attacks.split("; ").filter(|attack| !attack.starts_with("mkfifo")) {
        let output = sh(&sandbox, format!("mkfifo /tmp/fifo 2>/dev/null; {attack}")).await;
        assert!(output.exit_code != 0 || attack.starts_with("rm -f"), "{attack}: {output:?}");
    }
    let terminal = open(&sandbox, "tty").await;
    assert_eq!(shown(&terminal, "no such text").await, "/dev/pts/0\r\n");
}

async fn what_is_opened_again_keeps_no_thread_busy(at: At) {
    let (attacker, other) = (at.sandbox().await, at.sandbox().await);
    // What has been closed is believed to be ready for ever; it is opened again, and there is nothing to be read and
    // no room to be written.
    let terminals = join_all((0..8).map(async |number| {
        let line = "stty raw -echo; exec 3<&0 0<&- 1>&- 2>&- 3<&-; sleep 0.3; exec </dev/tty >/dev/tty; echo again; exec sleep 60";
        let terminal = open(&attacker, line).await;
        if number % 2 == 0 {
            tokio::spawn(terminal.write(vec![b'x'; 1 << 20].into()));
        }
        terminal
    }));
    for terminal in terminals.await {
        assert!(shown(&terminal, "again").await.contains("again"));
    }
    let source = "import os, sys, time
fd, kept, mode = int(sys.argv[1]), None, 0
other, same = (os.O_RDONLY, os.O_WRONLY) if fd == 1 else (os.O_WRONLY, os.O_RDONLY)
kept = os.open('/proc/self/fd/%d' % fd, other | os.O_NONBLOCK)
for n in range(200):
  os.close(fd)
  until = time.perf_counter_ns() + n * 1000
  while time.perf_counter_ns() < until: pass
  os.open('/proc/self/fd/%d' % kept, same)
  time.sleep(0.001)
time.sleep(60)";
    let pipes = (0..8).map(async |number| {
        let argv = ["python3", "-c", source, if number % 2 == 0 { "0" } else { "1" }];
        let program = Program::Args(argv.map(str::to_owned).into());
        let command = provider::Command { program, stdin: true, ..Default::default() };
        let process = attacker.spawn(command, RunOptions::default()).await.unwrap();
        process.release();
        tokio::spawn(process.write(vec![b'x'; 1 << 20].into()));
    });
    join_all(pipes).await;
    for _ in 0..20 {
        let output = soon("an answer", SOON, sh(&other, "sleep 0.05; echo fine")).await;
        assert_eq!(output.stdout, "fine\n");
    }
    soon("the end of the sandbox", SOON, attacker.destroy()).await.unwrap();
}

/// How many descriptors of this process are on a file system of this number.
fn held_on(device: u64) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter(|fd| fs::metadata(fd.path()).is_ok_and(|found| found.dev() == device)).count()
}

/// Which of these pipes this process has an end of.
fn held_among(pipes: &BTreeSet<String>) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let names = open.filter_map(|fd| Some(fs::read_link(fd.path()).ok()?.to_str()?.to_owned()));
    names.filter(|name| pipes.contains(name)).count()
}

async fn descriptors_are_back_after_the_end(at: At) {
    let sandbox = at.sandbox().await;
    let device = sh(&sandbox, "stat -c %d /dev/pts").await.stdout.trim().parse().unwrap();
    let terminals = join_all((0..10).map(|_| open(&sandbox, "exec cat"))).await;
    assert_eq!(held_on(device), 10);
    let mut pipes = BTreeSet::new();
    let mut processes = Vec::new();
    for _ in 0..10 {
        let line = "readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2; echo end; read x";
        let fed = provider::Command { stdin: true, ..shell(line) };
        let process = sandbox.spawn(fed, RunOptions::default()).await.unwrap();
        let mut reader = process.reader(Wanted::BOTH, true);
        process.release();
        let mut names = String::new();
        while !names.contains("end\n") {
            let Some(Chunk::Stdout(bytes)) = reader.next().await else { panic!("{names}") };
            names.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        pipes.extend(names.lines().filter(|name| *name != "end").map(str::to_owned));
        processes.push((process, reader));
    }
    assert_eq!((pipes.len(), held_among(&pipes)), (30, 30));
    // One that has ended costs nothing, whoever still has a handle.
    for (terminal, (process, _)) in terminals.iter().zip(&processes).take(5) {
        terminal.kill().await.unwrap();
        process.write("\n".into()).await.unwrap();
        process.wait().await.unwrap();
    }
    eventually("half are back", SOON, async || (held_on(device), held_among(&pipes)) == (5, 15)).await;
    sandbox.destroy().await.unwrap();
    eventually("all are back", SOON, async || (held_on(device), held_among(&pipes)) == (0, 0)).await;
    drop((terminals, processes));
}
