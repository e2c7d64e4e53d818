//! Attacks on the host's files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use bytes::Bytes;
use computesdk::error::ErrorKind;
use computesdk::sandbox::Sandbox;

use crate::harness::{At, Case, cases, eventually, sh, shell, soon};
use crate::{CANARY, Planted, all_output, python};

pub(super) const CASES: &[Case] = cases![
    the_hosts_files_are_not_there,
    secrets_and_homes_are_not_there,
    links_lead_to_the_sandboxes_own_files,
    links_of_proc_lead_nowhere_else,
    a_path_that_changes_under_the_api_stays_inside,
    a_tree_that_changes_under_a_copy_stays_inside,
    copies_and_renames_follow_no_link_of_proc,
    the_hosts_programs_cannot_be_changed,
    removing_everything_removes_nothing_of_the_host,
    there_are_no_devices_of_the_host,
    no_descriptor_leaks_into_a_command,
    the_agent_hides_its_descriptors_memory_and_program,
    chroot_and_mount_are_refused,
    a_program_with_the_set_user_id_bit_gains_nothing,
    the_root_belongs_to_the_user_and_system_files_do_not,
    proc_tells_nothing_of_the_kernel_and_changes_nothing,
    the_agents_temporary_files_cannot_be_planted,
];

/// Both ways of reading a path, from within and through the API.
async fn read_both_ways(sandbox: &Sandbox, path: &str) -> String {
    let by_command = all_output(sandbox, format!("cat '{path}'")).await;
    let by_api = sandbox.filesystem().read(path).await.unwrap_or_default();
    by_command + &String::from_utf8_lossy(&by_api)
}

async fn the_hosts_files_are_not_there(at: At) {
    let (planted, sandbox) = (Planted::new(), at.sandbox().await);
    for path in
        [planted.file(), format!("/../../../..{}", planted.file()), format!("/proc/1/root{}", planted.file())]
    {
        assert!(!read_both_ways(&sandbox, &path).await.contains(CANARY), "{path}");
        assert!(!sandbox.filesystem().exists(&path).await, "{path}");
    }
    let found =
        all_output(&sandbox, "find / -xdev -name 'computesdk-planted-*' 2>/dev/null; ls -A /tmp").await;
    assert_eq!(found, "");
    // The same path inside is another file.
    sandbox.filesystem().write(&planted.file(), Bytes::from_static(b"mine")).await.unwrap();
    sh(&sandbox, format!("touch {}/more", planted.path())).await;
    planted.assert_untouched();
}

async fn secrets_and_homes_are_not_there(at: At) {
    let sandbox = at.sandbox().await;
    for path in [
        "/etc/shadow",
        "/etc/gshadow",
        "/etc/sudoers",
        "/etc/ssl/private",
        "/root",
        "/run/secrets",
        "/boot",
        "/var/lib",
        "/var/log",
        "/etc/ssh",
    ] {
        assert!(!sandbox.filesystem().exists(path).await, "{path}");
    }
    assert_eq!(sh(&sandbox, "ls -A /home; ls -A /home/user /tmp /workspace /run /srv /mnt /media /var/tmp /sys | grep -v : | tr -d '\\n'").await.stdout, "user\n");
    assert_eq!(
        sh(&sandbox, "cut -d: -f1 /etc/passwd /etc/group | sort -u | tr '\\n' ' '").await.stdout,
        "nobody nogroup root user "
    );
    // The number of this machine is nobody else's business.
    if let Ok(own) = fs::read_to_string("/etc/machine-id") {
        assert_ne!(sandbox.filesystem().read_text("/etc/machine-id").await.unwrap(), own);
    }
}

async fn links_lead_to_the_sandboxes_own_files(at: At) {
    let (planted, sandbox) = (Planted::new(), at.sandbox().await);
    let (folder, file) = (planted.path(), planted.file());
    sh(&sandbox, format!("cd /tmp; ln -s {file} file; ln -s {folder} folder; ln -s /etc/shadow shadow; ln -s ../../../../..{file} up")).await;
    let files = sandbox.filesystem();
    for path in ["/tmp/file", "/tmp/folder/file", "/tmp/shadow", "/tmp/up"] {
        assert_eq!(files.read(path).await.unwrap_err().kind(), ErrorKind::NotFound, "{path}");
    }
    for path in ["/tmp/file", "/tmp/up", "/tmp/folder/more"] {
        for content in [&b"stolen"[..], &[b'x'; 100_000]] {
            // Whether the place inside can be made is not the question.
            let _ = files.write(path, Bytes::copy_from_slice(content)).await;
        }
    }
    let _ = files.make_dir("/tmp/folder/directory").await;
    let _ = files.remove("/tmp/folder/file").await;
    let _ = files.list("/tmp/folder").await;
    files.remove("/tmp/folder").await.unwrap();
    planted.assert_untouched();
}

async fn links_of_proc_lead_nowhere_else(at: At) {
    let (planted, sandbox) = (Planted::new(), at.sandbox().await);
    let holder = sandbox.instance().spawn(&shell("exec sleep 1000")).await.unwrap();
    let pid = holder.control.pid();
    let mut starts = vec![
        "/proc/self".to_owned(),
        "/proc/thread-self".to_owned(),
        "/proc/1".to_owned(),
        format!("/proc/{pid}"),
    ];
    starts.extend((0..20).map(|fd| format!("/proc/1/fd/{fd}")));
    for start in starts {
        for way in ["/root", "/cwd", "", "/root/proc/1/cwd", "/task/1/root"] {
            for up in ["", "/../../../../.."] {
                let path = format!("{start}{way}{up}{}", planted.file());
                assert!(!read_both_ways(&sandbox, &path).await.contains(CANARY), "{path}");
                let _ = sandbox.filesystem().write(&path, Bytes::from_static(b"changed")).await;
                let _ = sandbox.filesystem().remove(&path).await;
            }
        }
    }
    planted.assert_untouched();
}

async fn a_path_that_changes_under_the_api_stays_inside(at: At) {
    let (planted, sandbox) = (Planted::new(), at.sandbox().await);
    let folder = planted.path();
    // Inside, the path is now a directory, now a link up and out to where the canary is.
    let line = format!(
        "mkdir -p /tmp/race /tmp/real; echo inside > /tmp/real/file; cd /tmp/race; \
         while :; do ln -sfn /tmp/real way; ln -sfn ../../../../../..{folder} way; ln -sfn /proc/1/root{folder} way; \
         rm way; mkdir way; rmdir way; done"
    );
    let racing = sandbox.instance().spawn(&shell(line)).await.unwrap();
    let files = sandbox.filesystem();
    for _ in 0..300 {
        let read = files.read("/tmp/race/way/file").await.unwrap_or_default();
        assert!(!String::from_utf8_lossy(&read).contains(CANARY));
        let _ = files.write("/tmp/race/way/new", Bytes::from_static(b"x")).await;
        let _ = files.list("/tmp/race/way").await;
        let _ = files.remove("/tmp/race/way/new").await;
    }
    racing.control.kill().await.unwrap();
    planted.assert_untouched();
}

/// Everything that the files hold which were copied.
const ALL_CONTENT: &str = "find /tmp/copies /usr/local/share/copies -type f -exec cat {} + 2>/dev/null";

async fn a_tree_that_changes_under_a_copy_stays_inside(at: At) {
    let (planted, sandbox) = (Planted::new(), at.sandbox().await);
    let folder = planted.path();
    let files = sandbox.filesystem();
    sh(&sandbox, "mkdir -p /tmp/copies /home/user/kept/below; echo kept | tee /home/user/kept/file > /home/user/kept/below/file").await;
    // Directories on the way become links and come back, move out of the tree, and into the copy.
    let racer = format!(
        "import os, glob, itertools, random, time
os.makedirs('/tmp/tree')
os.chdir('/tmp/tree')
def attempt(work, *paths):
  try: work(*paths)
  except OSError: pass
links = ['/home/user/kept', '../../../../..{folder}', '/proc/1/root{folder}', '/proc/self/root', '/']
places = (f'/tmp/away{{number}}' for number in itertools.count())
def swap(path):
  away = next(places)
  attempt(os.rename, path, away); attempt(os.symlink, random.choice(links), path); time.sleep(0.0002)
  attempt(os.unlink, path); attempt(os.rename, away, path)
while True:
  for directory in ('d0', 'd1', 'd2', 'd3', 'd4', 'd5'):
    for name in ('below', *range(30)):
      if not os.path.exists(f'{{directory}}/{{name}}/file'):
        attempt(os.makedirs, f'{{directory}}/{{name}}')
        attempt(lambda: open(f'{{directory}}/{{name}}/file', 'w').write('inside'))
    for _ in range(10):
      swap(random.choice(('d0', 'd1', 'd2', 'd3', 'd4', 'd5')) + random.choice(('', '/below')))
  for copy in glob.glob('/tmp/copies/.computesdk-*/d*'):
    attempt(os.rename, 'd0', copy + '/moved'); attempt(os.rename, copy + '/moved', 'd0')
    swap(copy)
"
    );
    files.write("/tmp/racer", Bytes::from(racer)).await.unwrap();
    let racing = sandbox.instance().spawn(&shell("exec python3 /tmp/racer")).await.unwrap();
    eventually("there is a tree", Duration::from_secs(10), async || files.exists("/tmp/tree/d5/29").await)
        .await;
    let (mut whole, mut broken) = (0, 0);
    for number in 0..80 {
        let to = format!("/tmp/copies/{number}");
        match soon("an end", Duration::from_secs(10), files.copy("/tmp/tree", &to)).await {
            Ok(()) => whole += 1,
            Err(error) => {
                // Whatever it was, it was in the tree.
                assert!(!error.message().contains("/dev/"), "{error}");
                broken += 1;
            }
        }
        if number % 4 == 0 {
            let _ = files.rename(&to, &format!("/usr/local/share/copies/{number}")).await;
        }
    }
    racing.control.kill().await.unwrap();
    let found = sh(&sandbox, ALL_CONTENT).await.stdout;
    assert!(found.contains("inside"));
    assert!(!found.contains(CANARY) && !found.contains("kept"), "{whole} whole copies: {found}");
    assert!(whole > 0 && broken > 0, "{whole} whole copies, {broken} broken ones");
    let kept = sh(&sandbox, "cd /home/user/kept; cat file below/file; ls -A . below").await.stdout;
    assert_eq!(kept, "kept\nkept\n.:\nbelow\nfile\n\nbelow:\nfile\n");
    planted.assert_untouched();
}

async fn copies_and_renames_follow_no_link_of_proc(at: At) {
    let (planted, sandbox) = (Planted::new(), at.sandbox().await);
    let files = sandbox.filesystem();
    let holder = sandbox.instance().spawn(&shell("exec sleep 1000")).await.unwrap();
    let pid = holder.control.pid();
    sh(&sandbox, "mkdir /tmp/copies; echo mine > /tmp/mine").await;
    for start in ["/proc/self".to_owned(), "/proc/1".to_owned(), format!("/proc/{pid}")] {
        for way in ["/root", "/cwd", "/fd/0", "/fd/5", "/task/1/root"] {
            let path = format!("{start}{way}{}", planted.file());
            for from in [format!("{start}{way}"), path.clone()] {
                let _ = files.copy(&from, "/tmp/copies/copy").await;
                let _ = files.rename(&from, "/tmp/copies/moved").await;
            }
            let _ = files.copy("/tmp/mine", &path).await;
            let _ = files.rename("/tmp/mine", &path).await;
            let _ = files.stat(&path).await;
        }
    }
    // Of a process' directory links may be copied, but as links.
    let _ = files.copy(&format!("/proc/{pid}/fd"), "/tmp/copies/fd").await;
    assert_eq!(sh(&sandbox, ALL_CONTENT).await.stdout, "");
    assert_eq!(sandbox.filesystem().read_text("/tmp/mine").await.unwrap(), "mine\n");
    planted.assert_untouched();
}

async fn the_hosts_programs_cannot_be_changed(at: At) {
    let sandbox = at.sandbox().await;
    let seen = |path: &str| {
        fs::metadata(path).map(|found| (found.len(), found.mtime_nsec(), found.ctime_nsec())).ok()
    };
    let paths = ["/usr/bin/env", "/bin/sh", "/usr/lib", "/usr/bin", "/etc/hostname"];
    let before = paths.map(seen);
    let name = format!("computesdk-planted-{}", std::process::id());
    sh(&sandbox, format!("for d in /usr/bin /usr/lib /bin /etc /usr/local/bin; do echo x > $d/{name}; done; echo x >> /usr/bin/env; chmod 777 /usr/bin/env; mv /usr/bin/env /usr/bin/{name}-2; echo x > /bin/sh")).await;
    let files = sandbox.filesystem();
    for path in ["/usr/bin/env", "/bin/sh", "/usr/lib/x"] {
        let error = files.write(path, Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    assert_eq!(files.remove("/usr/bin/env").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    for directory in ["/usr/bin", "/usr/lib", "/bin", "/etc", "/usr/local/bin"] {
        assert!(!fs::exists(format!("{directory}/{name}")).unwrap(), "{directory}");
    }
    assert_eq!(paths.map(seen), before);
}

async fn removing_everything_removes_nothing_of_the_host(at: At) {
    let (planted, sandbox) = (Planted::new(), at.sandbox().await);
    let count = |path: &str| fs::read_dir(path).unwrap().count();
    let directories = ["/usr", "/usr/bin", "/etc", "/"];
    let before = directories.map(count);
    sh(&sandbox, "rm -rf --no-preserve-root / 2>/dev/null").await;
    assert_eq!(directories.map(count), before);
    planted.assert_untouched();
    // It was the user's own: home, the links to the shell. The files that are left can still be used.
    sandbox.filesystem().write("/new/file", Bytes::from_static(b"new")).await.unwrap();
    assert_eq!(sandbox.filesystem().read_text("/new/file").await.unwrap(), "new");
}

async fn there_are_no_devices_of_the_host(at: At) {
    let sandbox = at.sandbox().await;
    let made = sh(&sandbox, "for d in 'b 254 0' 'c 1 1' 'c 10 232' 'c 1 3'; do mknod /tmp/dev $d 2>/dev/null && echo made $d; done; ls /tmp").await;
    assert_eq!(made.stdout, "");
    let names =
        sh(&sandbox, "ls -A /dev | tr '\\n' ' '; find / -xdev \\( -type b -o -type c \\) 2>/dev/null").await;
    assert_eq!(names.stdout, "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ");
    assert_eq!(
        sh(&sandbox, "echo x > /dev/null; head -c 4 /dev/zero | wc -c; echo x > /dev/full; touch /dev/x")
            .await
            .stdout,
        "4\n"
    );
    assert!(!sandbox.filesystem().exists("/dev/x").await);
}

async fn no_descriptor_leaks_into_a_command(at: At) {
    let sandbox = at.sandbox().await;
    let _file = fs::File::open("/etc/passwd").unwrap();
    let open = "import os\nfor fd in os.listdir('/proc/self/fd'):\n  try: print(fd, os.readlink('/proc/self/fd/' + fd).split(':')[0])\n  except OSError: pass";
    let mut lines: Vec<_> = python(&sandbox, open).await.lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["0 /dev/null", "1 pipe", "2 pipe"]);
    // A script comes through a descriptor, which cannot be written to; a shell may keep a copy of its own.
    let long = format!(
        "for fd in /proc/$$/fd/*; do readlink $fd; done; echo x >&3 || echo refused #{}",
        "x".repeat(200_000)
    );
    let seen = sh(&sandbox, long).await.stdout;
    for line in seen.lines() {
        assert!(
            ["/dev/null", "pipe:", "/memfd:computesdk", "refused"]
                .iter()
                .any(|known| line.starts_with(known)),
            "{seen}"
        );
    }
    assert!(seen.ends_with("refused\n"), "{seen}");
}

async fn the_agent_hides_its_descriptors_memory_and_program(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import os, ctypes
l = ctypes.CDLL(None, use_errno=True)
def attempt(name, work):
  try: print(name, 'WORKED', work())
  except OSError as e: pass
attempt('list', lambda: os.listdir('/proc/1/fd'))
for fd in range(20): attempt('fd', lambda: os.open(f'/proc/1/fd/{fd}', os.O_RDWR))
for name in ('mem', 'environ', 'maps', 'auxv', 'io', 'pagemap', 'syscall', 'stack'):
  attempt(name, lambda: open('/proc/1/' + name, 'rb').read(1) or 1/0)
for name in ('exe', 'cwd', 'root'): attempt(name, lambda: os.readlink('/proc/1/' + name))
attempt('write', lambda: open('/proc/1/mem', 'r+b'))
attempt('oom', lambda: open('/proc/1/oom_score_adj', 'w'))
for request in (16, 0x4206):
  if l.ptrace(request, 1, 0, 0) == 0: print('ptrace WORKED')
local, remote = ctypes.create_string_buffer(8), ctypes.c_void_p(0x400000)
class Iov(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]
a, b = Iov(ctypes.addressof(local), 8), Iov(0x400000, 8)
if l.process_vm_readv(1, ctypes.byref(a), 1, ctypes.byref(b), 1, 0) >= 0: print('process_vm_readv WORKED')
if l.syscall(434, 1, 0) >= 0 and l.syscall(438, l.syscall(434, 1, 0), 0, 0) >= 0: print('pidfd_getfd WORKED')
class Limit(ctypes.Structure): _fields_ = [('now', ctypes.c_uint64), ('most', ctypes.c_uint64)]
";
    assert_eq!(python(&sandbox, source).await, "");
    assert_eq!(sh(&sandbox, "echo lives").await.stdout, "lives\n");
}

async fn chroot_and_mount_are_refused(at: At) {
    let sandbox = at.sandbox().await;
    let mounts = sh(&sandbox, "cat /proc/self/mounts").await.stdout;
    let line = "mkdir /tmp/m; for c in 'mount -t tmpfs x /tmp/m' 'mount --bind / /tmp/m' 'mount -o remount,rw /usr' 'umount /proc' 'umount -l /' \
                'mount -t proc x /tmp/m' 'mount -t sysfs x /tmp/m' 'mount -t overlay -o lowerdir=/etc x /tmp/m' 'chroot /tmp/m' 'pivot_root / /tmp/m'; do \
                $c 2>/dev/null && echo \"$c WORKED\"; done";
    assert_eq!(sh(&sandbox, line).await.stdout, "");
    let source = "import os\ntry:\n os.mkdir('/tmp/c'); os.chroot('/tmp/c'); print('WORKED')\nexcept OSError as e: print(e.errno)";
    assert_eq!(python(&sandbox, source).await, "1\n");
    assert_eq!(sh(&sandbox, "cat /proc/self/mounts").await.stdout, mounts);
}

async fn a_program_with_the_set_user_id_bit_gains_nothing(at: At) {
    let sandbox = at.sandbox().await;
    let output = sh(&sandbox, "cp /bin/sh /tmp/s; chmod 6755 /tmp/s; /tmp/s -pc 'id -u; id -g; grep -E \"NoNewPrivs|CapEff|CapPrm|CapBnd|CapAmb|CapInh\" /proc/self/status' | tr -s '\\t\\n' '  '").await;
    let nothing = "0000000000000000";
    assert_eq!(
        output.stdout,
        format!(
            "1000 1000 CapInh: {nothing} CapPrm: {nothing} CapEff: {nothing} CapBnd: {nothing} CapAmb: {nothing} NoNewPrivs: 1 "
        )
    );
    assert_ne!(sh(&sandbox, "su -c id root </dev/null").await.exit_code, 0);
    let setuid = python(&sandbox, "import os\nfor f in (os.setuid, os.setgid, lambda n: os.setgroups([n])):\n try: f(0); print('WORKED')\n except OSError: pass").await;
    assert_eq!(setuid, "");
    // Every mount ignores the bit; single devices are no directories to put a program in.
    let loose = sh(&sandbox, "grep -v nosuid /proc/self/mounts | cut -d' ' -f2 | grep -vE '^/dev/(null|zero|full|random|urandom|tty)$'").await;
    assert_eq!(loose.stdout, "");
}

async fn the_root_belongs_to_the_user_and_system_files_do_not(at: At) {
    let sandbox = at.sandbox().await;
    assert_eq!(
        sh(&sandbox, "mkdir /app && touch /app/x && stat -c %u / /app /home/user /workspace | sort -u")
            .await
            .stdout,
        "1000\n"
    );
    let changed = sh(&sandbox, "echo x >> /etc/passwd && echo CHANGED; grep -c root /etc/passwd").await;
    // Whatever of /etc can be changed inside is the sandbox's own copy.
    assert!(changed.stdout.ends_with("1\n"), "{}", changed.stdout);
    assert!(!fs::read_to_string("/etc/passwd").unwrap().ends_with("x\n"));
}

async fn proc_tells_nothing_of_the_kernel_and_changes_nothing(at: At) {
    let sandbox = at.sandbox().await;
    let read = all_output(&sandbox, "for f in kcore kallsyms keys kmsg latency_stats sched_debug slabinfo timer_list vmallocinfo; do head -c 64 /proc/$f 2>/dev/null; done; dmesg 2>/dev/null").await;
    assert_eq!(read, "");
    let written = sh(
        &sandbox,
        "for f in sysrq-trigger sys/kernel/core_pattern sys/kernel/modprobe sys/vm/overcommit_memory sys/kernel/hostname \
         sys/user/max_user_namespaces irq/default_smp_affinity sys/net/ipv4/ip_forward sys/fs/file-max; do \
         [ -e /proc/$f ] && (cat /proc/$f > /tmp/v; cat /tmp/v > /proc/$f) 2>/dev/null && echo $f; done",
    )
    .await;
    assert_eq!(written.stdout, "");
    for path in ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/self/oom_score_adj"] {
        let error = sandbox.filesystem().write(path, Bytes::from_static(b"0")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    assert_eq!(sh(&sandbox, "ls -A /sys").await.stdout, "");
}

async fn the_agents_temporary_files_cannot_be_planted(at: At) {
    let (planted, sandbox) = (Planted::new(), at.sandbox().await);
    // Names that the agent might use for the next files, all of them links to something else.
    sh(&sandbox, format!("echo own > /tmp/own; for i in $(seq 200); do ln -s /tmp/own /tmp/.computesdk-1-$i; ln -s {} /tmp/.computesdk-0-$i; done", planted.file())).await;
    let _ = sandbox.filesystem().write("/tmp/file", Bytes::from_static(b"content")).await;
    assert_eq!(sandbox.filesystem().read_text("/tmp/own").await.unwrap(), "own\n");
    planted.assert_untouched();
}
