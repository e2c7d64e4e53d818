//! Whatever cannot be isolated does not run: machines that lack something, simulated with children of this
//! program that have lost it for good. No setting of the real machine is touched.

use std::process::{Command, ExitCode, Output};

use computesdk::command::RunOptions;
use computesdk::compute::Compute;
use computesdk::provider::CreateRequest;

use crate::harness::{At, Case, cases, shell};
use crate::{CANARY, Planted, call};

pub(super) const CASES: &[Case] = cases![
    the_environment_of_the_host_is_not_the_sandboxes,
    what_the_host_ignores_and_masks_is_not_handed_down,
    without_user_namespaces_nothing_runs,
    without_a_required_namespace_nothing_runs,
    without_a_cgroup_namespace_a_sandbox_says_so,
    where_a_required_call_is_forbidden_nothing_runs,
    where_an_optional_call_is_missing_a_sandbox_says_so,
];

/// The argument that makes this program a host: of one sandbox, in which the next argument is run.
const AS_HOST: &str = "--as-host";

/// The line to run if this process was started as a host.
pub(super) fn line_for_child() -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != AS_HOST);
    arguments.next().and_then(|_| arguments.next())
}

/// Makes a sandbox and runs a line in it: its output, or the error of whatever could not be had.
#[tokio::main]
pub(super) async fn be_host(line: &str) -> ExitCode {
    let local = Compute::new(computesdk::compute::Settings {
        providers: vec![std::sync::Arc::new(computesdk::providers::local::Local::default())],
        ..Default::default()
    });
    let sandbox = match local.create(&CreateRequest::default()).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            println!("{} {} | {}", error.code(), error.message(), error.hint().unwrap_or(""));
            return ExitCode::from(99);
        }
    };
    let output = sandbox.run_command(shell(line), RunOptions::default()).await.unwrap();
    println!("{}{}", output.stdout, output.stderr);
    println!("layers: {}", sandbox.info().await.unwrap().isolation.join(", "));
    sandbox.destroy().await.unwrap();
    ExitCode::SUCCESS
}

/// Runs a line in a sandbox of a child of this program that is started through `by`.
pub(super) fn host(by: &mut Command, line: &str) -> Output {
    by.arg(std::env::current_exe().unwrap()).args([AS_HOST, line]).output().unwrap()
}

pub(super) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Asserts that a host could not make a sandbox, said why in words, and ran nothing.
fn assert_closed(what: &str, output: &Output, canary: &Planted, words: &[&str]) {
    let told = text(output);
    assert_eq!(output.status.code(), Some(99), "{what}: {told}");
    assert!(!told.contains("RAN"), "{what}: {told}");
    for word in words {
        assert!(told.contains(word), "{what}: {word}: {told}");
    }
    canary.assert_untouched();
}

/// A line that leaves its mark on the host if it is run there.
fn marking(planted: &Planted) -> String {
    format!("echo RAN; touch {}/ran", planted.path())
}

async fn the_environment_of_the_host_is_not_the_sandboxes(_: At) {
    let line = "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; echo end";
    let mut clean = Command::new("env");
    clean.args([
        format!("HOST_SECRET={CANARY}"),
        format!("NODE_OPTIONS=--title={CANARY}"),
        format!("LD_LIBRARY_PATH=/{CANARY}"),
    ]);
    let told = text(&host(&mut clean, line));
    assert!(told.contains("HOME=/home/user") && told.contains("\nend\n"), "{told}");
    assert!(!told.contains(CANARY), "{told}");
    let names = told.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let known = [
        "HOME",
        "LANG",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "OLDPWD",
        "PATH",
        "PIP_BREAK_SYSTEM_PACKAGES",
        "PWD",
        "SHELL",
        "SHLVL",
        "USER",
        "_",
    ];
    let strange: Vec<_> = names.filter(|name| !known.contains(name)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

async fn what_the_host_ignores_and_masks_is_not_handed_down(_: At) {
    let mut host_shell = Command::new("sh");
    host_shell.args([
        "-c",
        "trap '' HUP INT QUIT TERM USR1 CHLD TSTP ALRM; umask 077; cd /proc; exec \"$@\"",
        "sh",
    ]);
    let told =
        text(&host(&mut host_shell, "grep -E 'SigIgn|SigBlk' /proc/self/status | cut -f2; umask; pwd"));
    let mut lines = told.lines();
    let mut signals = || u64::from_str_radix(lines.next().unwrap(), 16).unwrap();
    // The C library keeps 32 and 33 to itself.
    assert_eq!((signals(), signals() & !(3 << 31)), (0, 0), "{told}");
    assert_eq!((lines.next(), lines.next()), (Some("0022"), Some("/home/user")), "{told}");
}

/// A shell in a user namespace of its own, in which this kind of namespace is switched off.
fn without(kind: &str) -> Command {
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "sh", "-c"]);
    shell.arg(format!("echo 0 > /proc/sys/user/max_{kind}_namespaces && exec \"$@\"")).arg("sh");
    shell
}

async fn without_user_namespaces_nothing_runs(_: At) {
    let planted = Planted::new();
    let output = host(&mut without("user"), &marking(&planted));
    let words = ["UNSUPPORTED", "cannot isolate", "user.max_user_namespaces", "sysctl -w"];
    assert_closed("user", &output, &planted, &words);
}

async fn without_a_required_namespace_nothing_runs(_: At) {
    let planted = Planted::new();
    for kind in ["mnt", "pid", "net", "ipc", "uts"] {
        let output = host(&mut without(kind), &marking(&planted));
        let sysctl = format!("max_{kind}_namespaces");
        assert_closed(kind, &output, &planted, &["UNSUPPORTED", "cannot isolate", "namespace", &sysctl]);
    }
}

async fn without_a_cgroup_namespace_a_sandbox_says_so(_: At) {
    let told = text(&host(&mut without("cgroup"), "echo RAN"));
    assert!(told.contains("RAN") && told.contains("user namespace"), "{told}");
    assert!(!told.contains("cgroup namespace"), "{told}");
}

/// Starts a program under a filter of system calls (seccomp(2)): each of `forbidden`, a number with or
/// without bits of its first argument, gets `errno`.
fn filtered(forbidden: &[(u32, u32)], errno: u32) -> Command {
    const FILTER: &str = "import ctypes, os, struct, sys
calls, errno = eval(sys.argv[1]), int(sys.argv[2])
program = [(0x20, 0, 0, 0)]                                     # the call's number
for number, bits in calls:
  if bits: program += [(0x15, 0, 3, number), (0x20, 0, 0, 16), (0x45, 0, 1, bits), (0x06, 0, 0, 0x50000 | errno)]
  else: program += [(0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | errno)]
  program += [(0x20, 0, 0, 0)]
program += [(0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *one) for one in program))
filter = struct.pack('HxxxxxxQ', len(program), ctypes.addressof(code))
l = ctypes.CDLL(None, use_errno=True)
if os.geteuid() != 0 and l.prctl(38, 1, 0, 0, 0): sys.exit('no_new_privs')
if l.prctl(22, 2, filter): sys.exit('seccomp: ' + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[3], sys.argv[3:])";
    let mut python = Command::new("python3");
    python.args(["-c", FILTER, &format!("{forbidden:?}"), &errno.to_string()]);
    python
}

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

async fn where_a_required_call_is_forbidden_nothing_runs(_: At) {
    let planted = Planted::new();
    let namespaces = (call(56, 220), 0x7E02_0000);
    let required = [
        ("new namespaces, as in a container", &[(call(272, 97), 0), namespaces][..]),
        ("clone into namespaces", &[namespaces]),
        ("mount", &[(call(165, 40), 0)]),
        ("pivot_root", &[(call(155, 41), 0)]),
        ("open_tree", &[(428, 0)]),
        ("mount_setattr", &[(442, 0)]),
        ("seccomp", &[(call(317, 277), 0)]),
        ("capset", &[(call(126, 91), 0)]),
        ("sethostname", &[(call(170, 161), 0)]),
        ("umount2", &[(call(166, 39), 0)]),
    ];
    for (what, calls) in required {
        let output = host(&mut filtered(calls, EPERM), &marking(&planted));
        assert_closed(what, &output, &planted, &["UNSUPPORTED", "cannot isolate", "security profile"]);
    }
}

async fn where_an_optional_call_is_missing_a_sandbox_says_so(_: At) {
    let line = "cat /etc/shadow; echo RAN";
    let whole = text(&host(&mut filtered(&[], ENOSYS), line));
    assert!(whole.contains("RAN") && whole.contains("seccomp"), "{whole}");
    let without_landlock = text(&host(&mut filtered(&[(444, 0)], ENOSYS), line));
    assert!(without_landlock.contains("RAN") && !without_landlock.contains("landlock"), "{without_landlock}");
}
