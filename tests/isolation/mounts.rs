//! What is lent to a sandbox: what it may do with it, and whose what it makes is.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use computesdk::compute;
use computesdk::error::{Error, ErrorKind};
use computesdk::provider::{CreateRequest, Mount, MountMode, Provider, Resources};
use computesdk::providers::local::{Config, Local};
use computesdk::sandbox::Sandbox;

use crate::harness::{At, Case, Lent, cases, eventually, sh};
use crate::{CANARY, Planted, is_root};

pub(super) const CASES: &[Case] = cases![
    what_is_mounted_read_only_is_read_and_never_changed,
    what_is_written_through_a_mount_belongs_to_the_owner_on_the_host,
    files_are_moved_and_removed_through_a_mount,
    what_is_written_to_a_copy_stays_in_the_sandbox,
    a_file_is_mounted_by_itself,
    a_mount_lies_in_another,
    the_mounts_of_the_provider_and_of_the_request_are_both_there,
    the_file_api_reaches_what_is_mounted,
    a_mount_ends_with_its_sandbox,
    sandboxes_made_in_advance_have_the_mounts_that_are_asked_for,
];

pub(super) fn mount(source: &str, target: &str, mode: MountMode) -> Mount {
    Mount { source: source.to_owned(), target: target.to_owned(), mode, force: false }
}

pub(super) async fn try_with(mounts: Vec<Mount>) -> Result<Lent, Error> {
    let local: Arc<dyn Provider> = Arc::new(Local::new(Config::default()));
    let request = CreateRequest { mounts, ..CreateRequest::default() };
    compute::create_at(&local, &request, false).await.map(Lent::of)
}

pub(super) async fn with(mounts: Vec<Mount>) -> Lent {
    try_with(mounts).await.unwrap()
}

pub(super) async fn with_one(planted: &Planted, mode: MountMode) -> Lent {
    with(vec![mount(planted.path(), "/app", mode)]).await
}

/// Planted by somebody who is neither root nor a sandbox, where that can be.
pub(super) fn planted_by_somebody() -> (Planted, (u32, u32)) {
    let planted = Planted::new();
    let somebody = (4321, 4322);
    if is_root() {
        for path in [planted.path(), &planted.file()] {
            chown(path, Some(somebody.0), Some(somebody.1)).unwrap();
        }
        return (planted, somebody);
    }
    let found = fs::metadata(planted.path()).unwrap();
    (planted, (found.uid(), found.gid()))
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

async fn what_is_mounted_read_only_is_read_and_never_changed(_: At) {
    let (planted, _) = planted_by_somebody();
    let file = planted.file();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let sandbox = with_one(&planted, MountMode::ReadOnly).await;
    assert_eq!(sh(&sandbox, "cat /app/file").await.stdout, CANARY);
    for line in [
        "echo x > /app/file",
        "echo x > /app/new",
        "mkdir /app/d",
        "rm /app/file",
        "mv /app/file /app/other",
        "ln /app/file /app/other",
        "ln -s x /app/link",
        "chmod 777 /app/file",
        "touch /app/file",
        "truncate -s 0 /app/file",
        "mknod /app/pipe p",
        "mount -o remount,rw /app || umount /app",
    ] {
        let output = sh(&sandbox, line).await;
        assert_ne!(output.exit_code, 0, "{line}: {output:?}");
    }
    planted.assert_untouched();
    // It is the directory itself: what changes there is seen.
    fs::write(&file, "later").unwrap();
    assert_eq!(sh(&sandbox, "cat /app/file").await.stdout, "later");
}

async fn what_is_written_through_a_mount_belongs_to_the_owner_on_the_host(_: At) {
    let (planted, somebody) = planted_by_somebody();
    let sandbox = with_one(&planted, MountMode::ReadWrite).await;
    let line = "cd /app && echo more >> file && mkdir -p d/e && echo new > d/e/f && ln -s f d/e/l && \
                stat -c %u:%g . file d/e/f d/e/l && chmod 640 d/e/f && id -u";
    let output = sh(&sandbox, line).await;
    assert_eq!(output.stdout, "1000:1000\n1000:1000\n1000:1000\n1000:1000\n1000\n", "{}", output.stderr);
    let made = |name: &str| format!("{}/{name}", planted.path());
    assert_eq!(fs::read_to_string(planted.file()).unwrap(), format!("{CANARY}more\n"));
    assert_eq!(fs::read_to_string(made("d/e/f")).unwrap(), "new\n");
    for name in ["d", "d/e", "d/e/f", "d/e/l"] {
        assert_eq!(owner(made(name)), somebody, "{name}");
    }
    assert_eq!(fs::metadata(made("d/e/f")).unwrap().mode() & 0o7777, 0o640);
    if is_root() {
        // What belongs to others is seen as nobody's, and is not changed.
        fs::write(made("roots"), CANARY).unwrap();
        assert_eq!(sh(&sandbox, "stat -c %u /app/roots").await.stdout, "65534\n");
        assert_ne!(sh(&sandbox, "echo x >> /app/roots").await.exit_code, 0);
        assert_eq!(fs::read_to_string(made("roots")).unwrap(), CANARY);
    }
}

async fn files_are_moved_and_removed_through_a_mount(_: At) {
    let (planted, _) = planted_by_somebody();
    let sandbox = with_one(&planted, MountMode::ReadWrite).await;
    let output =
        sh(&sandbox, "cd /app && mkdir d && mv file d/moved && mv d e && cp e/moved x && rm x").await;
    assert_eq!(output.exit_code, 0, "{}", output.stderr);
    let moved = format!("{}/e/moved", planted.path());
    assert_eq!(fs::read_to_string(&moved).unwrap(), CANARY);
    let output =
        sh(&sandbox, "mv /app/e/moved /tmp/taken && rm -r /app/e && ls -A /app && cat /tmp/taken").await;
    assert_eq!(output.stdout, CANARY, "{}", output.stderr);
    assert_eq!(fs::read_dir(planted.path()).unwrap().count(), 0);
}

async fn what_is_written_to_a_copy_stays_in_the_sandbox(_: At) {
    let (planted, _) = planted_by_somebody();
    fs::set_permissions(planted.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let sandbox = with_one(&planted, MountMode::Copy).await;
    let line = "cd /app && cat file && echo more >> file && mkdir d && echo new > d/f && \
                stat -c ' %u:%g' file d/f && mv file renamed && ls && cat renamed && rm renamed && ls";
    let output = sh(&sandbox, line).await;
    let expected = format!("{CANARY} 1000:1000\n 1000:1000\nd\nrenamed\n{CANARY}more\nd\n");
    assert_eq!(output.stdout, expected, "{}", output.stderr);
    planted.assert_untouched();
    // Each has a copy of its own.
    let other = with_one(&planted, MountMode::Copy).await;
    assert_eq!(sh(&other, "ls /app").await.stdout, "file\n");
    // A file of the host's is read however large it is, and all that the sandbox writes there counts.
    fs::write(format!("{}/large", planted.path()), vec![b'x'; 5 << 20]).unwrap();
    let resources = Resources { disk: Some(4 << 20), ..Resources::default() };
    let mounts = vec![mount(planted.path(), "/app", MountMode::Copy)];
    let local: Arc<dyn Provider> = Arc::new(Local::new(Config { resources, mounts, ..Config::default() }));
    let small = Lent::of(compute::create_at(&local, &CreateRequest::default(), false).await.unwrap());
    assert_eq!(small.filesystem().read("/app/large").await.unwrap().len(), 5 << 20);
    fs::remove_file(format!("{}/large", planted.path())).unwrap();
    let full = sh(&small, "head -c 5000000 /dev/zero > /app/mine").await;
    assert!(full.stderr.contains("No space left"), "{}", full.stderr);
    planted.assert_untouched();
}

async fn a_file_is_mounted_by_itself(_: At) {
    let (planted, somebody) = planted_by_somebody();
    let sandbox = with(vec![
        mount(&planted.file(), "/data/in/config.txt", MountMode::ReadOnly),
        mount(&planted.file(), "/data/out.txt", MountMode::ReadWrite),
    ])
    .await;
    assert_eq!(
        sh(&sandbox, "cat /data/in/config.txt; ls /data/in").await.stdout,
        format!("{CANARY}config.txt\n")
    );
    assert_ne!(sh(&sandbox, "echo x > /data/in/config.txt").await.exit_code, 0);
    assert_eq!(sh(&sandbox, "echo out > /data/out.txt").await.exit_code, 0);
    assert_eq!(fs::read_to_string(planted.file()).unwrap(), "out\n");
    assert_eq!(owner(planted.file()), somebody);
    assert_eq!(sh(&sandbox, "cat /data/in/config.txt").await.stdout, "out\n");
}

async fn a_mount_lies_in_another(_: At) {
    let (outer, inner) = (Planted::new(), Planted::new());
    let mounts = |at: &str| {
        vec![mount(inner.path(), at, MountMode::ReadWrite), mount(outer.path(), "/app", MountMode::ReadOnly)]
    };
    let error = try_with(mounts("/app/inner")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.message().contains("/app/inner"), "{error}");
    outer.assert_untouched();
    fs::create_dir(format!("{}/inner", outer.path())).unwrap();
    let sandbox = with(mounts("/app/inner")).await;
    assert_eq!(sh(&sandbox, "cd /app; ls . inner; echo x > inner/x; ! echo x > x").await.exit_code, 0);
    assert!(fs::exists(format!("{}/x", inner.path())).unwrap());
    assert_eq!(fs::read_dir(format!("{}/inner", outer.path())).unwrap().count(), 0);
}

async fn the_mounts_of_the_provider_and_of_the_request_are_both_there(_: At) {
    let planted = Planted::new();
    let mounts = vec![mount(planted.path(), "/one", MountMode::ReadOnly)];
    let local: Arc<dyn Provider> = Arc::new(Local::new(Config { mounts, ..Config::default() }));
    let create = async |target: &str| {
        let mounts = vec![mount(planted.path(), target, MountMode::Copy)];
        let request = CreateRequest { mounts, ..CreateRequest::default() };
        compute::create_at(&local, &request, false).await.map(Lent::of)
    };
    let sandbox = create("/two").await.unwrap();
    assert_eq!(sh(&sandbox, "cat /one/file /two/file").await.stdout, CANARY.repeat(2));
    let error = create("/one").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.message().contains("`/one`"), "{error}");
}

async fn the_file_api_reaches_what_is_mounted(_: At) {
    let (planted, somebody) = planted_by_somebody();
    let sandbox = with_one(&planted, MountMode::ReadWrite).await;
    let files = sandbox.filesystem();
    assert_eq!(files.read("/app/file").await.unwrap(), CANARY);
    files.write("/app/d/new", Bytes::from_static(b"small")).await.unwrap();
    let large = Bytes::from(vec![b'x'; 3 << 20]);
    files.write("/app/d/large", large.clone()).await.unwrap();
    assert_eq!(files.read("/app/d/large").await.unwrap(), large);
    files.rename("/app/d/new", "/app/d/renamed").await.unwrap();
    files.copy("/app/d", "/app/copy").await.unwrap();
    files.rename("/app/copy", "/home/user/copy").await.unwrap();
    files.rename("/home/user/copy", "/app/back").await.unwrap();
    let made = |name: &str| format!("{}/{name}", planted.path());
    for name in ["d/renamed", "back/renamed"] {
        assert_eq!(fs::read_to_string(made(name)).unwrap(), "small");
        assert_eq!(owner(made(name)), somebody);
    }
    assert_eq!(fs::read(made("back/large")).unwrap(), large);
    files.remove("/app/d").await.unwrap();
    assert!(!fs::exists(made("d")).unwrap());
    let read_only = with_one(&planted, MountMode::ReadOnly).await;
    let error = read_only.filesystem().write("/app/file", Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(fs::read_to_string(planted.file()).unwrap(), CANARY);
}

async fn a_mount_ends_with_its_sandbox(_: At) {
    let planted = Planted::new();
    let kinds = MountMode::ALL.map(|mode| mount(planted.path(), &format!("/{}", mode.name()), mode));
    let sandbox = with(kinds.to_vec()).await;
    let tables = || {
        let tables = fs::read_dir("/proc").unwrap().flatten();
        let tables = tables.filter_map(|entry| fs::read_to_string(entry.path().join("mountinfo")).ok());
        tables.filter(|table| table.contains(planted.path().rsplit('/').next().unwrap())).count()
    };
    assert!(tables() > 0 || !is_root());
    // What runs in it ends first, and nothing holds the directory.
    drop(sandbox.spawn(crate::harness::shell("cd /rw; sleep 1000"), Default::default()).await);
    sandbox.destroy().await.unwrap();
    eventually("the mounts are gone", Duration::from_secs(12), async || tables() == 0).await;
    planted.assert_untouched();
    fs::remove_dir_all(planted.path()).unwrap();
}

async fn sandboxes_made_in_advance_have_the_mounts_that_are_asked_for(_: At) {
    let planted = Planted::new();
    let local: Arc<dyn Provider> = Arc::new(Local::new(Config::default()));
    let create = async |name: &str, mode| {
        let source = format!("{}/{name}", planted.path());
        let request =
            CreateRequest { mounts: vec![mount(&source, "/app", mode)], ..CreateRequest::default() };
        compute::create_at(&local, &request, false).await.map(Lent::of).unwrap()
    };
    let content =
        async |sandbox: &Sandbox| sh(sandbox, "cat /app/name; touch /app/x 2>&- && echo rw").await.stdout;
    let make = |name: &str| {
        fs::create_dir(format!("{}/{name}", planted.path())).unwrap();
        fs::write(format!("{}/{name}/name", planted.path()), name).unwrap();
    };
    make("one");
    make("two");
    for _ in 0..3 {
        for (name, mode) in
            [("one", MountMode::ReadOnly), ("one", MountMode::Copy), ("two", MountMode::ReadOnly)]
        {
            let sandbox = create(name, mode).await;
            let expected = if mode == MountMode::Copy { format!("{name}rw\n") } else { name.to_owned() };
            assert_eq!(content(&sandbox).await, expected);
            // Time for those that are like it to be made.
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    // Another directory at the same path is another directory.
    fs::rename(format!("{}/two", planted.path()), format!("{}/three", planted.path())).unwrap();
    make("two");
    fs::write(format!("{}/two/name", planted.path()), "new").unwrap();
    assert_eq!(content(&*create("two", MountMode::ReadOnly).await).await, "new");
}
