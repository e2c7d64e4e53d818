#![expect(clippy::disallowed_methods, reason = "real programs run under the filter")]

use super::*;
use libc::*;
use std::collections::BTreeSet;
use std::io::{PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// For the high half of an argument, which the kernel ignores.
const GARBAGE: i64 = 0x7766_5544 << 32;

/// A call's number and its first three arguments; none is a valid pointer.
type Call = [i64; 4];

fn confine() -> io::Result<()> {
    // SAFETY: takes no pointers.
    if unsafe { prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // Without process 1 there would be nobody who is asked about netlink sockets.
    let filter = Filter::build().map_err(io::Error::other)?;
    install(&filter.numbers, 0)?;
    install(&filter.arguments, 0).map(drop)
}

/// Runs `work` in a forked child, gives back what it wrote and its wait status.
fn in_child(work: impl FnOnce(&mut PipeWriter)) -> (Vec<u8>, c_int) {
    let (mut reader, mut writer) = io::pipe().unwrap();
    // SAFETY: the child has glibc's consistent copy of the heap and ends without unwinding.
    let pid = unsafe { fork() };
    if pid == 0 {
        // A call that gets through must not hit a terminal, nor a broken filter `_exit`.
        // SAFETY: neither takes a pointer.
        unsafe { (setsid(), alarm(20)) };
        let work = std::panic::AssertUnwindSafe(|| work(&mut writer));
        let failed = std::panic::catch_unwind(work).is_err();
        // SAFETY: ends the child at once.
        unsafe { _exit(failed.into()) };
    }
    drop(writer);
    let (mut written, mut status) = (Vec::new(), 0);
    reader.read_to_end(&mut written).unwrap();
    // SAFETY: `status` is valid for writing.
    assert_eq!(unsafe { waitpid(pid, &mut status, 0) }, pid);
    (written, status)
}

/// Makes the calls in a child under `older`, if that is not empty, and the filter; gives back
/// the errno of each, 0 for success.
fn errnos_over(older: BpfProgramRef, calls: &[Call]) -> Vec<i32> {
    let (written, status) = in_child(|out| {
        if !older.is_empty() {
            seccompiler::apply_filter(older).unwrap();
        }
        confine().unwrap();
        for &[number, a, b, c] in calls {
            // SAFETY: the arguments are no valid pointers, which the kernel sees.
            let failed = unsafe { syscall(number, a, b, c, 0, 0, 0) } < 0;
            let errno = io::Error::last_os_error().raw_os_error().filter(|_| failed);
            out.write_all(&errno.unwrap_or(0).to_ne_bytes()).unwrap();
        }
    });
    assert_eq!((status, written.len()), (0, 4 * calls.len()));
    let errno = |bytes: &[u8]| i32::from_ne_bytes(bytes.try_into().unwrap());
    written.chunks(4).map(errno).collect()
}

/// Asserts that each number's call gives the errno, whatever its arguments.
fn assert_all(numbers: &[i64], expected: i32) {
    let calls: Vec<_> = numbers.iter().map(|&number| [number, -1, -1, -1]).collect();
    let answers = numbers.iter().zip(errnos_over(&[], &calls));
    let wrong: Vec<_> = answers.filter(|&(_, errno)| errno != expected).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Asserts that all of the calls are `EPERM`, or that none is, with and without garbage.
fn assert_refused(refused: bool, calls: &[Call]) {
    let dirty = calls.iter().map(|&[number, a, b, c]| [number, a ^ GARBAGE, b ^ GARBAGE, c ^ GARBAGE]);
    let calls: Vec<_> = calls.iter().copied().chain(dirty).collect();
    for (call, errno) in calls.iter().zip(errnos_over(&[], &calls)) {
        assert_eq!(errno == libc::EPERM, refused, "{call:x?} gave {errno}");
    }
}

fn listed() -> impl Iterator<Item = i64> {
    VERDICTS.map(|(calls, _)| calls).concat().into_iter()
}

#[test]
fn no_call_is_in_two_tables() {
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = listed().filter(|&number| !seen.insert(number)).collect();
    assert!(twice.is_empty(), "{twice:?}");
    for judged in calls! {
        SYS_clone SYS_ioctl SYS_ioprio_set SYS_personality SYS_prlimit64 SYS_sched_setaffinity
        SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler SYS_setpriority SYS_socket
        SYS_socketpair
    } {
        assert!(ALLOWED.contains(judged), "{judged}");
    }
}

#[test]
fn the_search_finds_the_verdict_of_every_listed_call() {
    let program = by_number().unwrap();
    for (number, verdict) in VERDICTS.iter().flat_map(|(n, v)| n.iter().map(move |n| (n, v))) {
        let mut at = &program[4..];
        while at[0].code != BPF_RET as u16 {
            let skipped = if *number as u32 >= at[0].k { at[0].jt } else { 0 };
            at = &at[1 + usize::from(skipped)..];
        }
        assert_eq!(at[0].k, *verdict, "{number}");
    }
}

#[test]
fn every_refused_call_is_eperm() {
    let numbers = [REFUSED, REFUSED_HERE, REFUSED_NEW].concat();
    for known in [SYS_unshare, SYS_setns, SYS_mount, SYS_chroot, SYS_bpf] {
        assert!(numbers.contains(&known), "{known}");
    }
    assert_all(&numbers, libc::EPERM);
}

#[test]
fn every_unlisted_call_is_enosys() {
    let listed: BTreeSet<_> = listed().collect();
    let mut numbers: Vec<_> = (0..1024).filter(|n| !listed.contains(n)).collect();
    for known in [SYS_clone3, SYS_io_uring_setup, SYS_io_uring_enter] {
        assert!(numbers.contains(&known), "{known}");
    }
    numbers.extend([5000, 0x7fff_ffff, 0xffff_fffe]);
    // As x32: read, getpid, execve, one that does not exist.
    numbers.extend([0, 39, 520, 999].map(|number| 0x4000_0000 + number));
    assert_all(&numbers, libc::ENOSYS);
}

#[test]
fn its_errno_wins_over_that_of_an_older_filter() {
    let rules = BTreeMap::from([SYS_clone3, SYS_setns].map(|number| (number, vec![])));
    let refuse = SeccompAction::Errno(EACCES as u32);
    let older = SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH.0).unwrap();
    let older: BpfProgram = older.try_into().unwrap();
    let calls = [[SYS_clone3, 0, 0, 0], [SYS_setns, -1, 0, 0]];
    assert_eq!(errnos_over(&older, &calls), [libc::ENOSYS, libc::EPERM]);
}

#[test]
fn installing_without_no_new_privs_is_an_error() {
    let (_, status) = in_child(|_| {
        // SAFETY: takes no pointers. Root may install without it, so the child is nobody.
        unsafe { setresuid(65534, 65534, 65534) };
        let error = Filter::build().unwrap().install().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EACCES));
    });
    assert_eq!(status, 0);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn code_of_a_foreign_architecture_is_killed() {
    let (written, status) = in_child(|out| {
        confine().unwrap();
        out.write_all(b"confined").unwrap();
        // SAFETY: i386's getpid takes no arguments.
        unsafe { std::arch::asm!("int 0x80", inlateout("eax") 20 => _) };
        out.write_all(b"survived").unwrap();
    });
    assert_eq!(written, b"confined");
    assert!(WIFSIGNALED(status));
    assert_eq!(WTERMSIG(status), SIGSYS);
}

#[test]
fn clone_makes_processes_and_threads_but_no_namespace() {
    let clone = |flag: c_int| [SYS_clone, (flag | SIGCHLD).into(), 0, 0];
    let some = [CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC];
    assert_refused(true, &some.map(clone));
    let others = [CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET];
    assert_refused(true, &others.map(clone));
    let (_, status) = in_child(|_| {
        confine().unwrap();
        std::thread::spawn(|| {}).join().unwrap();
        assert!(Command::new("/bin/true").status().unwrap().success());
    });
    assert_eq!(status, 0);
}

#[test]
fn only_ordinary_sockets_can_be_had() {
    let netlink = |protocol: c_int| [AF_NETLINK, SOCK_RAW, protocol];
    let plain = [AF_UNIX, AF_INET, AF_INET6].map(|family| [family, SOCK_STREAM, 0]);
    let plain = plain.into_iter().chain([netlink(NETLINK_ROUTE)]);
    let odd = [AF_PACKET, AF_ALG, AF_VSOCK, AF_TIPC, AF_XDP, 0, 99];
    let odd = odd.map(|family| [family, SOCK_DGRAM, 0]).into_iter();
    let odd = odd.chain([NETLINK_AUDIT, NETLINK_NETFILTER, NETLINK_GENERIC].map(netlink));
    for call in [SYS_socket, SYS_socketpair] {
        let made = |[a, b, c]: [c_int; 3]| [call, a.into(), b.into(), c.into()];
        assert_refused(false, &plain.clone().map(made).collect::<Vec<_>>());
        assert_refused(true, &odd.clone().map(made).collect::<Vec<_>>());
    }
}

#[test]
fn no_terminal_can_be_typed_into() {
    let on = |request| [SYS_ioctl, -1, request, 0];
    assert_refused(true, &[0x5412, 0x541C, 0x5423].map(on));
    assert_refused(false, &[0x5413, 0x541B, 0x5401].map(on));
}

#[test]
fn only_harmless_personalities_can_be_had() {
    let be = |persona| [SYS_personality, persona, 0, 0];
    assert_refused(false, &[0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff, -1].map(be));
    assert_refused(true, &[1, 0x4_0000, 0x4_0008, 0x10_0000, 0x40_0000].map(be));
}

#[test]
fn process_1_keeps_its_priority_and_its_limits() {
    use libc::*;
    let at = |pid| {
        [
            [SYS_prlimit64, pid, RLIMIT_NOFILE.into(), 0],
            [SYS_sched_setaffinity, pid, 0, 0],
            [SYS_sched_setscheduler, pid, SCHED_IDLE.into(), 0],
            [SYS_setpriority, PRIO_PROCESS.into(), pid, 0],
        ]
    };
    assert_refused(true, &at(1));
    assert_refused(false, &at(0));
    assert_refused(true, &[[SYS_setpriority, PRIO_USER.into(), 0, 19], [SYS_ioprio_set, 3, 0, 0]]);
}

/// Asserts that a script ends by saying `fine`, if there is a program to run it.
fn assert_runs(program: &str, flag: &str, script: &str) {
    let mut command = Command::new(program);
    // SAFETY: `confine` allocates, which glibc's fork allows, and takes no lock.
    unsafe { command.args([flag, script]).pre_exec(confine) };
    let output = match command.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return println!("skipped: no `{program}` here");
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{program}: {output:?}");
    assert_eq!(output.stdout, b"fine\n", "{output:?}");
}

#[test]
fn bash_runs() {
    let script = r#"set -e; d=$(mktemp -d); (echo a; sleep 0.01) | cat >$d/a & wait
            mkfifo $d/f; mv $d/a $d/b; ln -s b $d/c; grep -q a $d/c; rm -r $d
            ! unshare -U true 2>/dev/null; echo fine"#;
    assert_runs("bash", "-c", script);
}

#[test]
fn python_runs() {
    let script = r#"
import mmap, multiprocessing, os, select, socket, subprocess, tempfile, threading
thread = threading.Thread(target=os.getpid); thread.start(); thread.join()
assert subprocess.run(["cat"], input=b"x", capture_output=True).stdout == b"x"
with multiprocessing.get_context("fork").Pool(2) as pool: assert pool.map(abs, [-1, 2]) == [1, 2]
with tempfile.TemporaryDirectory() as d:
    open(d + "/a", "w").close(); os.rename(d + "/a", d + "/b"); os.symlink("b", d + "/c")
    os.chmod(d + "/c", 0o600); assert sorted(os.listdir(d)) == ["b", "c"]
server = socket.create_server(("127.0.0.1", 0)); socket.create_connection(server.getsockname())
socket.socketpair(); socket.if_nameindex(); select.epoll(); mmap.mmap(-1, 4096)
try: socket.socket(socket.AF_VSOCK)
except PermissionError: print("fine")"#;
    assert_runs("python3", "-c", script);
}

#[test]
fn node_runs() {
    let script = r#"
const { Worker } = require("worker_threads"), fs = require("fs"), assert = require("assert");
(async () => {
  const code = "require('worker_threads').parentPort.postMessage(42)";
  const worker = new Worker(code, { eval: true });
  assert.equal(await new Promise((done, fail) => worker.on("message", done).on("error", fail)), 42);
  const dir = await fs.promises.mkdtemp(require("os").tmpdir() + "/seccomp-");
  await fs.promises.writeFile(dir + "/a", "x"); await fs.promises.cp(dir + "/a", dir + "/b");
  fs.watch(dir).close(); assert.deepEqual(fs.readdirSync(dir), ["a", "b"]);
  await fs.promises.rm(dir, { recursive: true });
  const server = require("net").createServer().listen(0, "127.0.0.1");
  await require("events").once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}/`;
  server.close(); await require("events").once(server, "close");
  await assert.rejects(fetch(url), (error) => error.cause.code === "ECONNREFUSED");
  const { execFileSync } = require("child_process");
  assert.equal(execFileSync("cat", { input: "x" }).toString(), "x");
  console.log("fine");
})();"#;
    assert_runs("node", "-e", script);
}
