//! Sandboxes whose root is a folder of the host's: it is theirs to see and nobody's to change, and whatever it was
//! filled with leads nowhere else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use computesdk::compute;
use computesdk::error::{Error, ErrorKind};
use computesdk::provider::{CreateRequest, Mount, Provider, Resources};
use computesdk::providers::local::{Config, Local, Template};

use crate::harness::{At, Case, Lent, cases, sh};
use crate::{CANARY, Planted, all_output, is_root};

pub(super) const CASES: &[Case] = cases![
    a_folder_with_a_static_busybox_is_a_root,
    what_is_written_above_a_root_stays_in_the_sandbox,
    a_root_has_what_every_sandbox_has,
    a_root_without_an_interpreter_says_so,
    what_a_root_is_filled_with_leads_nowhere_else,
    accounts_of_a_root_are_kept_and_ours_is_added,
    a_template_that_is_not_there_is_told_with_those_that_are,
    the_machine_itself_is_no_root,
    a_python_is_a_template,
];

async fn create_of(templates: BTreeMap<String, Template>, request: CreateRequest) -> Result<Lent, Error> {
    // One made in advance would be of the folder as it was then.
    let resources = Resources { disk: Some(4 << 20), ..Resources::default() };
    let config = Config { templates, resources, spares: Some(0), ..Config::default() };
    let local: Arc<dyn Provider> = Arc::new(Local::new(config));
    compute::create_at(&local, &request, false).await.map(Lent::of)
}

/// A sandbox whose root is this folder.
pub(super) async fn try_create(root: &str, mounts: Vec<Mount>) -> Result<Lent, Error> {
    let templates = BTreeMap::from([("tiny".to_owned(), Template::Rootfs(root.to_owned()))]);
    let request = CreateRequest { template_id: Some("tiny".to_owned()), mounts, ..CreateRequest::default() };
    create_of(templates, request).await
}

async fn create(root: &str) -> Lent {
    try_create(root, Vec::new()).await.unwrap()
}

/// A root with a static busybox and nothing else, as somebody who is not a sandbox has made it.
pub(super) fn busybox_root(planted: &Planted) -> String {
    let root = format!("{}/root", planted.path());
    for directory in ["bin", "etc", "usr/bin", "var", "lib"] {
        fs::create_dir_all(format!("{root}/{directory}")).unwrap();
    }
    fs::copy("/bin/busybox", format!("{root}/bin/busybox")).unwrap();
    for name in [
        "sh", "cat", "ls", "id", "echo", "touch", "rm", "mkdir", "mv", "stat", "grep", "find", "mount",
        "head",
    ] {
        symlink("busybox", format!("{root}/bin/{name}")).unwrap();
    }
    symlink("/run", format!("{root}/var/run")).unwrap();
    fs::write(format!("{root}/etc/motd"), "tiny\n").unwrap();
    root
}

async fn a_folder_with_a_static_busybox_is_a_root(_: At) {
    let planted = Planted::new();
    let root = busybox_root(&planted);
    let sandbox = create(&root).await;
    let output =
        sh(&sandbox, "id; cat /etc/motd; ls /usr /bin/env; echo $0; echo $HOME; cd; /bin/busybox pwd").await;
    assert!(output.stdout.starts_with("uid=1000(user) gid=1000(user)"), "{output:?}");
    assert!(output.stdout.contains("tiny\n") && output.stdout.contains("/home/user\n"), "{output:?}");
    // Nothing of the host's programs is there.
    assert!(output.stderr.contains("/bin/env"), "{output:?}");
    let files = sandbox.filesystem();
    files.write("/app/file", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(files.read("/app/file").await.unwrap(), "x");
    assert_eq!(sh(&sandbox, "nothing-of-that-name").await.exit_code, 127);
    let layers = sandbox.info().await.unwrap().isolation;
    assert!(layers.contains(&"own root".to_owned()) && layers.contains(&"seccomp".to_owned()), "{layers:?}");
}

async fn what_is_written_above_a_root_stays_in_the_sandbox(_: At) {
    let planted = Planted::new();
    let root = busybox_root(&planted);
    let tree = |root: &str| {
        let list = Command::new("find").args([root, "-printf", "%P %m %s %U %T@\n"]).output().unwrap();
        String::from_utf8(list.stdout).unwrap()
    };
    let before = tree(&root);
    let sandbox = create(&root).await;
    let line = "echo x > /etc/new && echo x > /new && mkdir /srv/d && touch /tmp/t ~/h && ls /new /etc/new && \
                rm /etc/new /new; rm /bin/cat; echo x > /etc/motd; mv /etc/motd /motd; rm -r /lib; true";
    let output = sh(&sandbox, line).await;
    assert!(output.stdout.contains("/new\n"), "{output:?}");
    let again = create(&root).await;
    assert_eq!(
        sh(&again, "cat /etc/motd; ls /srv /tmp /home/user").await.stdout,
        "tiny\n/home/user:\n\n/srv:\n\n/tmp:\n"
    );
    assert_eq!(tree(&root), before);
    let full =
        sh(&again, "head -c 5000000 /dev/zero > /usr/local/lib/large; stat -c %s /usr/local/lib/large").await;
    assert!(full.stdout.trim().parse::<u64>().unwrap() < 4 << 20, "{full:?}");
}

async fn a_root_has_what_every_sandbox_has(_: At) {
    let planted = Planted::new();
    let sandbox = create(&busybox_root(&planted)).await;
    let line = "cat /etc/hosts /etc/hostname; ls /dev /proc/self/exe; echo x > /dev/null && ls -d /tmp /home/user \
                /workspace /run /mnt; for d in / /home/user /tmp /var/tmp /workspace /dev/shm /run; do \
                touch $d/probe || echo cannot $d; done; cat /proc/kcore; ls /sys";
    let output = sh(&sandbox, line).await;
    assert!(output.stdout.contains("127.0.0.1 localhost sandbox"), "{output:?}");
    assert!(output.stdout.contains("urandom") && !output.stdout.contains("cannot"), "{output:?}");
    assert!(output.stderr.contains("/proc/kcore"), "{output:?}");
    let mounts = sh(&sandbox, "mount").await.stdout;
    assert!(
        mounts.lines().any(|line| line.starts_with("overlay on / ") && line.contains("nosuid")),
        "{mounts}"
    );
}

async fn a_root_without_an_interpreter_says_so(_: At) {
    let planted = Planted::new();
    let sandbox = create(&busybox_root(&planted)).await;
    for language in [computesdk::code::Language::Python, computesdk::code::Language::Node] {
        let error = sandbox
            .run_code("1", Some(language), Default::default(), Default::default())
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("no interpreter"), "{error}");
    }
}

/// A root whose every name that is gone through on the way is a link to the host.
async fn what_a_root_is_filled_with_leads_nowhere_else(_: At) {
    let (planted, host) = (Planted::new(), Planted::new());
    let root = busybox_root(&planted);
    fs::remove_dir_all(format!("{root}/etc")).unwrap();
    fs::create_dir(format!("{}/etc", host.path())).unwrap();
    fs::write(format!("{}/etc/passwd", host.path()), CANARY).unwrap();
    for name in ["etc", "home", "tmp", "proc", "dev", "sys", "workspace", "run", "opt", "srv", "mnt", "media"]
    {
        symlink(format!("{}/etc", host.path()), format!("{root}/{name}")).unwrap();
    }
    fs::remove_file(format!("{root}/var/run")).unwrap();
    fs::remove_dir(format!("{root}/var")).unwrap();
    symlink("../../../../../../../../..", format!("{root}/var")).unwrap();
    symlink(host.path(), format!("{root}/usr/local")).unwrap();
    let sandbox = create(&root).await;
    let seen = all_output(
        &sandbox,
        "ls -la / /etc /home /proc/self /usr/local/ /var; cat /etc/passwd; echo x > /etc/y; \
                                     echo x > /usr/local/x; find / -xdev -type f | grep -v busybox",
    )
    .await;
    assert!(!seen.contains(CANARY), "{seen}");
    assert!(seen.contains("user:x:1000"), "{seen}");
    // In the other direction: files that are none where lists are looked for.
    fs::remove_file(format!("{root}/etc")).unwrap();
    fs::create_dir(format!("{root}/etc")).unwrap();
    symlink(format!("{}/etc/passwd", host.path()), format!("{root}/etc/passwd")).unwrap();
    assert!(Command::new("mkfifo").arg(format!("{root}/etc/group")).status().unwrap().success());
    let sandbox = create(&root).await;
    let seen = all_output(&sandbox, "cat /etc/passwd /etc/group; id").await;
    assert!(!seen.contains(CANARY) && seen.contains("uid=1000(user) gid=1000(user)"), "{seen}");
    // What cannot be a root is told so.
    fs::remove_file(format!("{root}/etc/passwd")).unwrap();
    fs::create_dir_all(format!("{root}/etc/passwd/below")).unwrap();
    fs::write(format!("{root}/usr/bin/python3"), "").unwrap();
    let error = try_create(&root, Vec::new()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.message().contains("`rootfs`") && error.message().contains(&root), "{error}");
    host.assert_untouched_but(&["etc"]);
}

async fn accounts_of_a_root_are_kept_and_ours_is_added(_: At) {
    let planted = Planted::new();
    let root = busybox_root(&planted);
    fs::write(format!("{root}/etc/passwd"), "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/:/bin/false").unwrap();
    fs::write(format!("{root}/etc/group"), "root:x:0:\n").unwrap();
    let sandbox = create(&root).await;
    assert_eq!(
        sh(&sandbox, "cat /etc/passwd").await.stdout,
        "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/:/bin/false\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
    );
    assert!(sh(&sandbox, "id").await.stdout.starts_with("uid=1000(user) gid=1000(user)"));
    fs::write(format!("{root}/etc/passwd"), "mine:x:1000:1000::/home/mine:/bin/sh\n").unwrap();
    let sandbox = create(&root).await;
    assert!(sh(&sandbox, "id").await.stdout.starts_with("uid=1000(mine)"));
    if is_root() {
        // Owners are those of the folder.
        chown(format!("{root}/etc/motd"), Some(33), Some(33)).unwrap();
        fs::set_permissions(format!("{root}/etc/motd"), fs::Permissions::from_mode(0o600)).unwrap();
        let sandbox = create(&root).await;
        let output =
            sh(&sandbox, "stat -c %u:%g /etc/motd /bin/busybox; cat /etc/motd; rm /bin/busybox").await;
        assert_eq!(output.stdout, "33:33\n0:0\n", "{output:?}");
        assert_eq!(output.stderr.matches("ermission denied").count(), 2, "{output:?}");
        assert_eq!(fs::metadata(format!("{root}/etc/motd")).unwrap().uid(), 33);
    }
}

async fn a_template_that_is_not_there_is_told_with_those_that_are(_: At) {
    let templates = BTreeMap::from([
        ("science".to_owned(), Template::Python("/usr/bin/python3".to_owned())),
        ("web".to_owned(), Template::Rootfs("/srv/no-such-root".to_owned())),
    ]);
    let asked = |name: &str| CreateRequest { template_id: Some(name.to_owned()), ..CreateRequest::default() };
    let error = create_of(templates.clone(), asked("nope")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.message().contains("`nope`"), "{error}");
    assert!(error.hint().unwrap().contains("science, web"), "{error}");
    let error = create_of(templates, asked("web")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.message().contains("`templates.web.rootfs`"), "{error}");
}

async fn the_machine_itself_is_no_root(_: At) {
    for path in ["/", "/etc", "/home", "/proc/self/root", "relative", "/usr/bin/env"] {
        let error = try_create(path, Vec::new()).await.err().unwrap();
        assert!(error.message().contains("`templates.tiny.rootfs`"), "{path}: {error}");
        assert!(
            [ErrorKind::PermissionDenied, ErrorKind::InvalidArgument].contains(&error.kind()),
            "{path}: {error}"
        );
    }
}

async fn a_python_is_a_template(_: At) {
    let python =
        ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|path| Path::new(path).exists());
    let python = python.unwrap().to_owned();
    let templates = BTreeMap::from([("data".to_owned(), Template::Python(python))]);
    let request = CreateRequest { template_id: Some("data".to_owned()), ..CreateRequest::default() };
    let sandbox = create_of(templates, request).await.unwrap();
    assert_eq!(crate::python(&sandbox, "print(6 * 7)").await, "42\n");
}
