//! Ways out of other containers that were found in the past, tried here.

use std::fs;
use std::os::unix::fs::MetadataExt;

use bytes::Bytes;
use computesdk::command::RunOptions;
use computesdk::provider::Command;

use crate::harness::{At, Case, cases, sh, shell};
use crate::{CANARY, Planted, all_output, call, python};

pub(super) const CASES: &[Case] = cases![
    the_program_of_process_1_cannot_be_overwritten,
    no_working_directory_leads_out,
    the_agents_own_descriptors_are_no_files,
    no_cgroup_can_be_mounted_or_told_whom_to_call,
    nothing_of_proc_can_be_opened_for_writing,
    no_kind_of_program_can_be_registered,
    pages_of_the_hosts_files_cannot_be_written,
    no_privilege_can_be_had_back,
    the_kernels_newer_calls_are_refused,
    tracing_ends_at_the_own_processes,
];

/// As `runc` was taken over (CVE-2019-5736): by what runs the command, and by what works for the API.
async fn the_program_of_process_1_cannot_be_overwritten(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkdir /tmp/many; cd /tmp/many; touch $(seq 3000); printf '#!/proc/self/exe\n' > /tmp/self; chmod +x /tmp/self").await;
    let source = "import os, time
end, opened = time.time() + 1.5, 0
while time.time() < end:
  for pid in [p for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()]:
    for flags in (os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDONLY, os.O_PATH):
      try: fd = os.open(f'/proc/{pid}/exe', flags)
      except OSError: continue
      name = os.readlink(f'/proc/self/fd/{fd}')
      if not name.startswith('/usr/'): print(pid, name)
      os.close(fd)
    try:
      name = os.readlink(f'/proc/{pid}/exe')
      if not name.startswith('/usr/'): print(pid, name)
    except OSError: pass";
    let (told, ()) = tokio::join!(python(&sandbox, source), async {
        for _ in 0..20 {
            // Each of them is work for a process that process 1 has forked.
            let _ = sandbox.filesystem().list("/tmp/many").await;
            let _ = sh(&sandbox, "/tmp/self").await;
        }
    });
    assert_eq!(told, "");
    assert_eq!(sh(&sandbox, "echo lives").await.stdout, "lives\n");
}

/// As `runc` was left (CVE-2024-21626): by a working directory that is a descriptor of its own.
async fn no_working_directory_leads_out(at: At) {
    let (planted, sandbox) = (Planted::new(), at.sandbox().await);
    for start in ["/proc/self/fd", "/proc/thread-self/fd", "/proc/1/fd"] {
        for fd in 0..40 {
            let cwd = Some(format!("{start}/{fd}"));
            let line = format!("ls -ld . ../../../..; cat ../../../../../..{} ./file", planted.file());
            let ran = sandbox.run_command(Command { cwd, ..shell(line) }, RunOptions::default()).await;
            let Ok(output) = ran else { continue };
            assert!(!output.stdout.contains(CANARY), "{start}/{fd}: {output:?}");
            panic!("{start}/{fd} is a directory of process 1's: {output:?}");
        }
    }
    let cwd = Some(format!("/proc/self/root/../../../..{}", planted.path()));
    assert!(sandbox.run_command(Command { cwd, ..shell("pwd") }, RunOptions::default()).await.is_err());
    planted.assert_untouched();
}

/// Process 1 looks paths up for the API, so `/proc/self` is its own there.
async fn the_agents_own_descriptors_are_no_files(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    for start in ["/proc/self/fd", "/proc/thread-self/fd", "/dev/fd"] {
        for fd in 0..40 {
            let path = format!("{start}/{fd}");
            let read = files.read(&path).await;
            assert!(read.is_err(), "{path} was read: {read:?}");
            assert!(files.write(&path, Bytes::from_static(b"\0\x01\0\0\0\0")).await.is_err(), "{path}");
            let _ = files.list(&path).await;
            let _ = files.rename(&path, "/tmp/renamed").await;
            let _ = files.copy(&path, "/tmp/copied").await;
            let _ = files.remove(&path).await;
        }
    }
    for path in ["/proc/self/mem", "/proc/self/environ", "/proc/self/maps", "/proc/self/exe"] {
        let read = files.read(path).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&read);
        // A copying process may do the reading: it has no secret either.
        assert!(!text.contains("HOST") && !text.starts_with("\u{7f}ELF"), "{path}: {text}");
        assert!(files.write(path, Bytes::from_static(b"x")).await.is_err(), "{path}");
    }
    assert_eq!(sh(&sandbox, "echo lives").await.stdout, "lives\n");
}

/// As containers with a cgroup of version 1 were left (CVE-2022-0492): by a program that the kernel calls.
async fn no_cgroup_can_be_mounted_or_told_whom_to_call(at: At) {
    let sandbox = at.sandbox().await;
    let line = "mkdir /tmp/c; for o in '-t cgroup -o memory' '-t cgroup -o rdma' '-t cgroup -o none,name=x' '-t cgroup2'; do \
                mount $o c /tmp/c 2>/dev/null && echo \"$o WORKED\"; done; grep cgroup /proc/self/mounts; \
                find / -name release_agent -o -name cgroup.procs 2>/dev/null; cut -d: -f3 /proc/self/cgroup | sort -u";
    let told = sh(&sandbox, line).await.stdout;
    // It is told where it is below its own group, and nothing above.
    assert!(["/\n", ""].contains(&told.as_str()), "{told}");
}

async fn nothing_of_proc_can_be_opened_for_writing(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import os
for top, names, files in os.walk('/proc'):
  if top == '/proc': names[:] = [n for n in names if not n.isdigit()]
  for name in files:
    path = os.path.join(top, name)
    try: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)); print(path)
    except OSError: pass";
    assert_eq!(python(&sandbox, source).await, "");
}

async fn no_kind_of_program_can_be_registered(at: At) {
    let sandbox = at.sandbox().await;
    let line = "mount -t binfmt_misc x /mnt 2>/dev/null && echo MOUNTED; ls /proc/sys/fs/binfmt_misc/register 2>/dev/null && \
                (echo ':x:M::planted::/bin/sh:C' > /proc/sys/fs/binfmt_misc/register) 2>/dev/null && echo REGISTERED; \
                for f in /sys/kernel/uevent_helper /proc/sys/kernel/hotplug /proc/sys/kernel/poweroff_cmd; do \
                (echo /tmp/x > $f) 2>/dev/null && echo $f; done; printf '\\377\\377\\377\\377' > /tmp/unknown; chmod +x /tmp/unknown; /tmp/unknown";
    let output = sh(&sandbox, line).await;
    assert_eq!(output.stdout.replace("/proc/sys/fs/binfmt_misc/register\n", ""), "");
    assert!([126, 127].contains(&output.exit_code), "{output:?}");
}

/// As files were written that could only be read: Dirty COW (CVE-2016-5195) and Dirty Pipe (CVE-2022-0847).
async fn pages_of_the_hosts_files_cannot_be_written(at: At) {
    let sandbox = at.sandbox().await;
    let (path, before) = ("/usr/bin/env", fs::read("/usr/bin/env").unwrap());
    let source = format!(
        "import ctypes, mmap, os, threading, time
l = ctypes.CDLL(None, use_errno=True)
l.mmap.restype = ctypes.c_void_p
l.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
l.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
file = os.open('{path}', os.O_RDONLY)
memory = os.open('/proc/self/mem', os.O_RDWR)
shared = l.mmap(None, 4096, 1, 1, file, 0)
try: os.pwrite(memory, b'stolen', shared); print('a shared page was written')
except OSError: pass
private = l.mmap(None, 4096, 1, 2, file, 0)
end = time.time() + 1
def forget():
  while time.time() < end: l.madvise(private, 4096, 4)
threading.Thread(target=forget).start()
while time.time() < end:
  try: os.pwrite(memory, b'stolen', private)
  except OSError: pass
r, w = os.pipe()
for _ in range(16): os.write(w, b'x' * 4096)
for _ in range(16): os.read(r, 4096)
os.splice(file, w, 1, offset_src=0) if hasattr(os, 'splice') else None
os.write(w, b'stolen')
print(os.pread(file, 6, 0) == bytes({head:?}))",
        head = &before[..6],
    );
    assert_eq!(python(&sandbox, &source).await, "True\n");
    assert_eq!(fs::read(path).unwrap(), before);
    assert_eq!(fs::metadata(path).unwrap().uid(), 0);
}

async fn no_privilege_can_be_had_back(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import ctypes, os
l = ctypes.CDLL(None, use_errno=True)
class Head(ctypes.Structure): _fields_ = [('version', ctypes.c_uint32), ('pid', ctypes.c_int)]
class Caps(ctypes.Structure): _fields_ = [('all', ctypes.c_uint32 * 6)]
head, caps = Head(0x20080522, 0), Caps((ctypes.c_uint32 * 6)(*[0xffffffff] * 6))
if l.capset(ctypes.byref(head), ctypes.byref(caps)) == 0: print('capset WORKED')
for cap in range(41):
  if l.prctl(47, 2, cap, 0, 0) == 0: print('ambient', cap)
l.prctl(38, 0, 0, 0, 0)
if l.prctl(28, 0, 0, 0, 0) == 0 and l.prctl(27, 0, 0, 0, 0) != 0: print('securebits WORKED')
if l.prctl(35, 1, 0x10000, 0, 0) == 0: print('mm WORKED')
if l.prctl(9, 10) == 0: print('timing')
open('/tmp/f', 'w').close()
try: os.setxattr('/tmp/f', 'security.capability', b'\\1\\0\\0\\2' + b'\\xff' * 16); print('setcap WORKED')
except OSError: pass
print([line.split()[1] for line in open('/proc/self/status') if line.startswith(('NoNew', 'CapEff', 'Seccomp:'))])";
    assert_eq!(python(&sandbox, source).await, "['0000000000000000', '1', '2']\n");
}

async fn the_kernels_newer_calls_are_refused(at: At) {
    let sandbox = at.sandbox().await;
    let calls = [
        ("fanotify_init", call(300, 262)),
        ("name_to_handle_at", call(303, 264)),
        ("vhangup", call(153, 58)),
        ("move_pages", call(279, 239)),
        ("migrate_pages", call(256, 238)),
        ("mbind", call(237, 235)),
        ("set_mempolicy", call(238, 237)),
        ("set_mempolicy_home_node", 450),
        ("process_madvise", 440),
        ("quotactl_fd", 443),
        ("cachestat", 451),
        ("lsm_get_self_attr", 459),
        ("lsm_set_self_attr", 460),
        ("lsm_list_modules", 461),
        ("open_tree_attr", 467),
        ("fsconfig", 431),
        ("fspick", 433),
        ("fsmount", 432),
    ];
    let numbers: Vec<_> = calls.iter().map(|(_, number)| number).collect();
    let source = format!(
        "import ctypes
l = ctypes.CDLL(None, use_errno=True)
for n in {numbers:?}:
  ctypes.set_errno(0)
  r = l.syscall(ctypes.c_long(n), *[ctypes.c_long(0)] * 6)
  print(ctypes.get_errno() if r == -1 else 'WORKED')"
    );
    let answers = python(&sandbox, &source).await;
    assert_eq!(answers.lines().count(), calls.len());
    for ((name, _), errno) in calls.iter().zip(answers.lines()) {
        assert!(["1", "38"].contains(&errno), "{name}: {errno}");
    }
}

async fn tracing_ends_at_the_own_processes(at: At) {
    let sandbox = at.sandbox().await;
    // What a command has started it may trace, and what process 1 has not.
    let source = "import ctypes, os, signal, time
l = ctypes.CDLL(None, use_errno=True)
child = os.fork()
if child == 0: time.sleep(30)
print('own', l.ptrace(16, child, 0, 0) == 0)
os.waitpid(child, 0x40000000)
# A traced process that makes a call gets the filter's answer all the same.
l.ptrace(17, child, 0, 0)
os.kill(child, 9); os.waitpid(child, 0)
for request in (16, 0x4206):
  if l.ptrace(request, 1, 0, 0) == 0: print('process 1')
if l.prctl(0x59616d61, -1, 0, 0, 0) not in (0, -1): print('yama')
print(l.syscall(434, 1, 0) == -1 or l.syscall(438, l.syscall(434, 1, 0), 0, 0) == -1)";
    assert_eq!(python(&sandbox, source).await, "own True\nTrue\n");
    assert_eq!(all_output(&sandbox, "echo lives").await, "lives\n");
}
