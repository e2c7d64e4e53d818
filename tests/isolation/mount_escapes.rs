//! Nothing else comes with what is lent to a sandbox: nothing beside it or behind a link, and no socket, device or owner.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use computesdk::compute;
use computesdk::error::ErrorKind;
use computesdk::provider::{CreateRequest, Mount, MountMode, Provider};
use computesdk::providers::local::{Config, Local};

use crate::harness::{At, Case, Lent, cases, sh};
use crate::mounts::{mount, planted_by_somebody, try_with, with, with_one};
use crate::{CANARY, Planted, all_output, is_root, python};

pub(super) const CASES: &[Case] = cases![
    nothing_beside_a_mount_is_seen,
    a_link_in_a_source_leads_nowhere_else,
    a_source_that_is_swapped_is_not_mounted,
    a_place_behind_a_link_is_in_the_sandbox,
    no_file_runs_as_its_owner_on_the_host,
    no_device_comes_with_a_mount,
    a_socket_of_the_host_cannot_be_reached,
    where_nothing_is_mounted_sockets_are_as_ever,
    places_that_hold_secrets_are_refused_unless_they_are_meant,
];

async fn nothing_beside_a_mount_is_seen(_: At) {
    let (planted, beside) = (Planted::new(), Planted::new());
    let below = format!("{}/below", planted.path());
    fs::create_dir(&below).unwrap();
    for mode in MountMode::ALL {
        let sandbox = with(vec![mount(&below, "/app", mode)]).await;
        let name = beside.path().rsplit('/').next().unwrap();
        let line = format!(
            "cd /app; ls -a .. ../.. /; cat ../file ../../file ../{name}/file ../../../tmp/{name}/file {} \
             /proc/self/root/app/../file /proc/self/cwd/../file; ls -la /proc/self/fd; mount; \
             find / -xdev -name {name} 2>/dev/null",
            beside.file()
        );
        let seen = all_output(&sandbox, line).await.replace(&beside.file(), "");
        assert!(!seen.contains(CANARY), "{seen}");
        // The table of mounts has the path that was lent, below the root of its file system, and no other.
        let table = sh(&sandbox, "cat /proc/self/mountinfo").await.stdout;
        assert!(!table.contains(name), "{table}");
        let lines: Vec<_> = table.lines().filter(|line| line.contains(" /app ")).collect();
        assert_eq!(lines.len(), 1, "{table}");
        assert!(
            lines[0].contains("nosuid") && (mode == MountMode::Copy || lines[0].contains("nodev")),
            "{table}"
        );
    }
}

async fn a_link_in_a_source_leads_nowhere_else(_: At) {
    let (planted, beside) = (Planted::new(), Planted::new());
    symlink(beside.path(), format!("{}/out", planted.path())).unwrap();
    symlink("../..", format!("{}/up", planted.path())).unwrap();
    symlink(planted.path(), format!("{}/itself", beside.path())).unwrap();
    let through_link = format!("{}/itself", beside.path());
    for mode in MountMode::ALL {
        // The path itself may be a link: what it leads to is lent.
        let sandbox = with(vec![mount(&through_link, "/app", mode)]).await;
        assert_eq!(sh(&sandbox, "cat /app/file").await.stdout, CANARY);
        let seen = all_output(&sandbox, "cat /app/out/file; echo x > /app/out/new; ls -A /app/up/tmp").await;
        assert!(!seen.contains(CANARY) && !seen.contains("computesdk-planted"), "{seen}");
    }
    assert_eq!(fs::read_dir(beside.path()).unwrap().count(), 2);
}

/// A directory that is one moment what may be lent, and the next a link to what may not.
async fn a_source_that_is_swapped_is_not_mounted(_: At) {
    let (planted, secret) = (Planted::new(), Planted::new());
    fs::write(secret.file(), "never to be seen").unwrap();
    let source = format!("{}/source", planted.path());
    let aside = format!("{}/aside", planted.path());
    fs::create_dir(&source).unwrap();
    fs::write(format!("{source}/file"), CANARY).unwrap();
    symlink(secret.path(), &aside).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapping = {
        let (stop, source, aside) = (Arc::clone(&stop), source.clone(), aside.clone());
        std::thread::spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, &source, rustix::fs::CWD, &aside, exchange)
                    .unwrap();
                std::thread::sleep(Duration::from_micros(50));
            }
        })
    };
    let (mut made, mut refused, mut led) = (0, 0, 0);
    for _ in 0..60 {
        // Spares would be made of what was seen long ago: each of these is for this one.
        let local: Arc<dyn Provider> = Arc::new(Local::new(Config { spares: Some(0), ..Config::default() }));
        let mounts = vec![mount(&source, "/app", MountMode::ReadOnly)];
        let request = CreateRequest { mounts, ..CreateRequest::default() };
        match compute::create_at(&local, &request, false).await.map(Lent::of) {
            Ok(sandbox) => {
                // It was a link when it was looked at, to what was lent then with open eyes; or the directory.
                let seen = sh(&sandbox, "cat /app/file").await.stdout;
                assert!([CANARY, "never to be seen"].contains(&seen.as_str()), "{seen}");
                if seen == CANARY { made += 1 } else { led += 1 }
            }
            Err(error) => {
                let known = [ErrorKind::Unavailable, ErrorKind::NotFound, ErrorKind::InvalidArgument];
                assert!(known.contains(&error.kind()), "{error}");
                assert!(error.message().contains("`mounts"), "{error}");
                refused += 1;
            }
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapping.join().unwrap();
    assert!(made + led + refused == 60 && made > 0, "{made} {led} {refused}");
}

async fn a_place_behind_a_link_is_in_the_sandbox(_: At) {
    let (planted, root) = (Planted::new(), Planted::new());
    let busy = crate::templates::busybox_root(&root);
    // Links of a root that its maker did not mean well with: to the host, by every way there may be.
    for (name, target) in [
        ("abs", "/srv"),
        ("up", "../../../../../.."),
        ("out", root.path()),
        ("proc1", "/proc/1/root"),
        ("mem", "/proc"),
    ] {
        symlink(target, format!("{busy}/{name}")).unwrap();
    }
    let create = async |target: &str| {
        crate::templates::try_create(&busy, vec![mount(planted.path(), target, MountMode::ReadOnly)]).await
    };
    for target in ["/abs/place", "/up/place", "/var/run/place"] {
        let sandbox = create(target).await.unwrap();
        assert_eq!(sh(&sandbox, format!("cat {target}/file")).await.stdout, CANARY, "{target}");
    }
    for target in ["/out/place", "/proc1/place", "/mem/place", "/mem/1", "/proc1"] {
        let error = create(target).await.err().unwrap();
        assert!(error.message().contains("`mounts`"), "{target}: {error}");
    }
    symlink("circle", format!("{busy}/circle")).unwrap();
    let error = create("/circle/place").await.err().unwrap();
    assert!(error.message().contains("lead in a circle"), "{error}");
    assert!(!fs::exists(format!("{}/place", root.path())).unwrap());
    root.assert_untouched_but(&["root"]);
}

async fn no_file_runs_as_its_owner_on_the_host(_: At) {
    let (planted, _) = planted_by_somebody();
    let sandbox = with_one(&planted, MountMode::ReadWrite).await;
    let source = r"
import ctypes, os, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    return 'done' if libc.syscall(*args) >= 0 else errno.errorcode[ctypes.get_errno()]
open('/app/program', 'w').close()
os.chmod('/app/program', 0o755)
fd = os.open('/app/program', os.O_RDWR)
for mode in [0o4755, 0o2755, 0o6000]:
    for name, act in [
        ('chmod', lambda: os.chmod('/app/program', mode)),
        ('fchmod', lambda: os.fchmod(fd, mode)),
        ('open', lambda: os.open('/app/one', os.O_CREAT | os.O_WRONLY, mode)),
        ('tmpfile', lambda: os.open('/app', os.O_TMPFILE | os.O_WRONLY, mode)),
        ('mknod', lambda: os.mknod('/app/two', mode)),
        ('mkdir', lambda: os.mkdir('/app/three', mode)),
    ]:
        try:
            act()
            print(name, 'done')
        except OSError as error:
            print(name, errno.errorcode[error.errno])
    for number in NUMBERS:
        print(number, call(number, *([-100, b'/app/program', mode, 0] if number != @ else [b'/app/four', mode])))
print('ordinary', os.chmod('/app/program', 0o700), os.close(os.open('/app/plain', os.O_CREAT | os.O_RDWR, 0o644)))
how = (ctypes.c_uint64 * 3)(os.O_CREAT | os.O_WRONLY, 0o4755, 0)
print('openat2', call(437, -100, b'/app/five', ctypes.byref(how), 24))
";
    let (numbers, creat) =
        if cfg!(target_arch = "x86_64") { ("[452, 268, 85]", "85") } else { ("[452, 53]", "-1") };
    let told = python(&sandbox, &source.replace("NUMBERS", numbers).replace('@', creat)).await;
    assert!(!told.contains("done"), "{told}");
    assert!(told.contains("openat2 ENOSYS") && told.contains("ordinary None None"), "{told}");
    for entry in fs::read_dir(planted.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o6000, 0, "{entry:?}");
    }
    // A file by itself is the host's as well.
    let sandbox = with(vec![mount(&planted.file(), "/file", MountMode::ReadWrite)]).await;
    let output = sh(&sandbox, "chmod 755 /file && chmod u+s /file; chmod g+s /file; stat -c %a /file").await;
    assert_eq!(output.stdout, "755\n", "{output:?}");
}

async fn no_device_comes_with_a_mount(_: At) {
    let planted = Planted::new();
    let device = format!("{}/null", planted.path());
    if !is_root() {
        return;
    }
    assert!(std::process::Command::new("mknod").args([&device, "c", "1", "3"]).status().unwrap().success());
    fs::set_permissions(&device, fs::Permissions::from_mode(0o666)).unwrap();
    for mode in MountMode::ALL {
        let sandbox = with_one(&planted, mode).await;
        let output = sh(&sandbox, "echo x > /app/null; cat /app/null").await;
        assert_ne!(output.exit_code, 0, "{mode:?}: {output:?}");
    }
}

async fn a_socket_of_the_host_cannot_be_reached(_: At) {
    let (planted, somebody) = planted_by_somebody();
    let path = format!("{}/socket", planted.path());
    let listener = UnixListener::bind(&path).unwrap();
    let datagrams = format!("{}/datagrams", planted.path());
    let receiver = std::os::unix::net::UnixDatagram::bind(&datagrams).unwrap();
    for path in [&path, &datagrams] {
        if is_root() {
            chown(path, Some(somebody.0), Some(somebody.1)).unwrap();
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    listener.set_nonblocking(true).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let source = r"
import socket
def tried(what, act):
    try:
        act()
        print(what, 'reached')
    except OSError as error:
        print(what, error.strerror)
tried('stream', lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect('/app/socket'))
tried('datagram', lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', '/app/datagrams'))
for kind in [socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC]:
    def act():
        one, other = socket.socketpair(socket.AF_UNIX, kind)
        tried('connect', lambda: one.connect('/app/socket'))
        tried('connect', lambda: one.connect('/app/datagrams'))
        tried('send', lambda: one.sendto(b'x', '/app/datagrams'))
        other.close()
        tried('connect', lambda: one.connect('/app/socket'))
    try:
        act()
    except OSError as error:
        print('pair', kind, error.strerror)
";
    for mode in MountMode::ALL {
        let sandbox = with_one(&planted, mode).await;
        let told = python(&sandbox, source).await;
        // To send on a pair that is connected ignores where to: it has gone to the other end.
        let told = told.replace("send reached", "");
        assert!(!told.contains("reached"), "{mode:?}: {told}");
        assert!(listener.accept().is_err() && receiver.recv(&mut [0; 8]).is_err(), "{mode:?}: {told}");
    }
}

async fn where_nothing_is_mounted_sockets_are_as_ever(_: At) {
    let planted = Planted::new();
    let source = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('/tmp/s'); s.listen(); \
                  socket.socket(socket.AF_UNIX).connect('/tmp/s'); print('connected')";
    for sandbox in [with(vec![]).await, with_one(&planted, MountMode::Copy).await] {
        assert_eq!(python(&sandbox, source).await, "connected\n");
    }
    let sandbox = with_one(&planted, MountMode::ReadOnly).await;
    let pair = "import socket, subprocess; a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1), \
                subprocess.run(['echo', 'x'], capture_output=True).stdout)";
    assert_eq!(python(&sandbox, pair).await, "b'x' b'x\\n'\n");
}

async fn places_that_hold_secrets_are_refused_unless_they_are_meant(_: At) {
    let planted = Planted::new();
    let below = |name: &str| {
        let path = format!("{}/{name}", planted.path());
        fs::create_dir_all(&path).unwrap();
        path
    };
    let project = below("project");
    let plain = with(vec![mount(&project, "/app", MountMode::ReadOnly)]).await;
    plain.destroy().await.unwrap();
    let ssh = below("home/.ssh");
    let keys = below("home/.ssh/keys");
    let cloud = below("home2/.config/gcloud");
    let link = format!("{}/harmless", planted.path());
    symlink(&ssh, &link).unwrap();
    fs::write(below("home3") + "/.netrc", "").unwrap();
    for (source, reason) in [
        ("/", "own"),
        ("/etc", "own"),
        ("/var", "own"),
        ("/home", "own"),
        ("/etc/ssl", "part of /etc"),
        ("/var/run", "/run"),
        (&ssh, ".ssh"),
        (&keys, ".ssh"),
        (&link, ".ssh"),
        (&cloud, ".config/gcloud"),
        (&format!("{}/home", planted.path()), ".ssh"),
        (&format!("{}/home3", planted.path()), ".netrc"),
        (&format!("{}/home3/.netrc", planted.path()), ".netrc"),
    ] {
        if !fs::exists(source).unwrap_or(false) {
            continue;
        }
        for mode in [MountMode::ReadOnly, MountMode::ReadWrite] {
            let error = try_with(vec![mount(source, "/app", mode)]).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{source}: {error}");
            assert!(error.message().contains(&format!("`{source}`")), "{error}");
            assert!(error.message().contains(reason), "{error}");
            assert!(error.hint().unwrap().contains("force"), "{error}");
        }
    }
    let meant = Mount { force: true, ..mount(&ssh, "/home/user/.ssh", MountMode::ReadOnly) };
    let sandbox = with(vec![meant]).await;
    assert_eq!(sh(&sandbox, "ls ~/.ssh").await.stdout, "keys\n");
}
