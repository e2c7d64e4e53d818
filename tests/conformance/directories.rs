//! Directories, and what is in them: made, listed, looked at, removed.

use std::time::Duration;

use computesdk::command::RunOptions;
use computesdk::error::ErrorKind;
use computesdk::provider::Entry;

use super::files::{names, text, write};
use crate::harness::{At, Case, cases, sh, shell};

pub(super) const CASES: &[Case] = cases![
    mkdir_makes_parents_and_is_silent_twice,
    mkdir_over_a_file_already_exists,
    listing_tells_name_kind_size_and_time,
    listing_is_sorted_and_has_direct_children_only,
    listing_takes_any_legal_name,
    listing_many_entries_is_complete,
    stat_follows_links_and_names_what_it_found,
    exists_is_never_an_error,
    remove_takes_files_links_and_trees,
    remove_never_follows_links,
    remove_of_a_very_deep_tree_ends,
    remove_of_what_cannot_go_is_refused,
    a_long_removal_keeps_nobody_waiting,
];

async fn mkdir_makes_parents_and_is_silent_twice(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    for path in ["/data/a/b/c", "/data/a/b/c", "/data/a/b/c/", "/data//a/./b/d", "/", "/tmp", "/usr/bin"] {
        files.make_dir(path).await.unwrap();
    }
    sh(&sandbox, "ln -s /data /tmp/link").await;
    files.make_dir("/tmp/link").await.unwrap();
    files.make_dir("/tmp/link/e").await.unwrap();
    assert_eq!(
        sh(&sandbox, "cd /data && find . | sort && stat -c %a a/b && touch a/b/c/mine").await.stdout,
        ".\n./a\n./a/b\n./a/b/c\n./a/b/d\n./e\n755\n"
    );
}

async fn mkdir_over_a_file_already_exists(at: At) {
    let sandbox = at.sandbox().await;
    write(&sandbox, "/tmp/file", "kept").await;
    let error = sandbox.filesystem().make_dir("/tmp/file").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let error = sandbox.filesystem().make_dir("/tmp/file/below").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::InvalidArgument), "{error}");
    assert_eq!(text(&sandbox, "/tmp/file").await, "kept");
}

async fn listing_tells_name_kind_size_and_time(at: At) {
    let sandbox = at.sandbox().await;
    sh(
        &sandbox,
        "cd /tmp; printf 12345 > file; touch -d @1000000000.5 file; mkdir dir; touch -d @-1 dir; mkfifo pipe; \
         ln -s dir to-dir; ln -s file to-file; ln -s nowhere dangling",
    )
    .await;
    let entries = sandbox.filesystem().list("/tmp").await.unwrap();
    let one = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
    assert_eq!(names(&entries), ["dangling", "dir", "file", "pipe", "to-dir", "to-file"]);
    let directories: Vec<_> =
        entries.iter().filter(|entry| entry.directory).map(|entry| entry.name.as_str()).collect();
    assert_eq!(directories, ["dir", "to-dir"]);
    assert_eq!((one("file").size, one("to-file").size, one("dir").size), (Some(5), Some(5), Some(0)));
    assert_eq!(one("to-dir").symlink_target.as_deref(), Some("dir"));
    assert_eq!(one("dangling").symlink_target.as_deref(), Some("nowhere"));
    assert_eq!(one("file").symlink_target, None);
    let epoch = std::time::SystemTime::UNIX_EPOCH;
    assert_eq!(one("file").modified, Some(epoch + Duration::from_millis(1_000_000_000_500)));
    assert_eq!(one("dir").modified, Some(epoch - Duration::from_secs(1)));
}

async fn listing_is_sorted_and_has_direct_children_only(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    sh(&sandbox, "mkdir /tmp/empty; cd /tmp; touch b a B .hidden 10 9; mkdir -p c/d").await;
    assert_eq!(
        names(&files.list("/tmp").await.unwrap()),
        [".hidden", "10", "9", "B", "a", "b", "c", "empty"]
    );
    assert!(files.list("/tmp/empty").await.unwrap().is_empty());
    assert!(names(&files.list("/").await.unwrap()).contains(&"tmp"));
}

async fn listing_takes_any_legal_name(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    let long = "n".repeat(255);
    let odd = ["a\nb", "-rf", " x ", "😀", "*", "\"'\\", "\u{1}\u{7f}", "...", &long];
    for name in odd {
        let path = format!("/tmp/{name}");
        write(&sandbox, &path, "odd").await;
        assert_eq!(text(&sandbox, &path).await, "odd", "{name:?}");
    }
    // Not UTF-8: as an entry, as a link's target, and as a directory with something in it.
    sh(&sandbox, r"cd /tmp; touch $'\xff\xfe'; ln -s $'\xfd' link; mkdir $'\xfc'; touch $'\xfc'/below").await;
    let entries = files.list("/tmp").await.unwrap();
    let mut expected: Vec<_> = odd.into_iter().chain(["\u{FFFD}\u{FFFD}", "link", "\u{FFFD}"]).collect();
    expected.sort_unstable();
    assert_eq!(names(&entries), expected);
    let link = entries.iter().find(|entry| entry.name == "link").unwrap();
    assert_eq!(link.symlink_target.as_deref(), Some("\u{FFFD}"));
    files
        .remove("/tmp")
        .await
        .unwrap_or_else(|error| assert_ne!(error.kind(), ErrorKind::Internal, "{error}"));
    assert_eq!(sh(&sandbox, "ls -A /tmp").await.stdout, "");
}

async fn listing_many_entries_is_complete(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkdir /tmp/many; cd /tmp/many; seq -w 20000 | xargs touch").await;
    let entries = sandbox.filesystem().list("/tmp/many").await.unwrap();
    assert!(names(&entries) == (1..=20_000).map(|n| format!("{n:05}")).collect::<Vec<_>>());
}

async fn stat_follows_links_and_names_what_it_found(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    sh(&sandbox, "cd /tmp; printf 123 > file; touch -d @1000000000.25 file; ln -s file link; ln -s /usr dir; ln -s nowhere dangling; mkfifo fifo").await;
    let modified = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_250);
    let file = Entry {
        name: "file".to_owned(),
        directory: false,
        size: Some(3),
        modified: Some(modified),
        symlink_target: None,
    };
    assert_eq!(files.stat("/tmp/file").await.unwrap(), file);
    let link = Entry { name: "link".to_owned(), symlink_target: Some("file".to_owned()), ..file };
    assert_eq!(files.stat("/tmp//./link").await.unwrap(), link);
    for (path, name, target) in [
        ("/", "/", None),
        ("///", "/", None),
        ("/tmp/", "tmp", None),
        ("/tmp/dir", "dir", Some("/usr")),
        ("/tmp/dir/", "dir", Some("/usr")),
        ("/tmp/dir/bin", "bin", None),
    ] {
        let found = files.stat(path).await.unwrap();
        assert!(found.directory, "{path}");
        let found = (found.name.as_str(), found.size, found.symlink_target.as_deref());
        assert_eq!(found, (name, Some(0), target), "{path}");
    }
    for path in ["/tmp/fifo", "/dev/null", "/proc/self/status"] {
        assert!(!files.stat(path).await.unwrap().directory, "{path}");
    }
    for path in ["/tmp/dangling", "/nowhere", "/tmp/file/x", "/tmp/file/", "/tmp/nowhere/x"] {
        let error = files.stat(path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{path}: {error}");
        assert_eq!(error.message(), format!("File not found: {path}"));
        assert_eq!(sandbox.instance().files().stat(path).await.unwrap(), None, "{path}");
    }
}

async fn exists_is_never_an_error(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    sh(&sandbox, "mkfifo /tmp/fifo; mkdir -m 0 /tmp/closed; ln -s nowhere /tmp/dangling").await;
    for path in ["/", "/etc/passwd", "/tmp/fifo", "/dev/zero", "/tmp/closed", "/tmp/../etc"] {
        assert!(files.exists(path).await, "{path}");
    }
    for path in
        ["", "x", "/nowhere", "/tmp/closed/x", "/tmp/dangling", "/etc/passwd/x", "/a\0b", &"/x".repeat(9999)]
    {
        assert!(!files.exists(path).await, "{path}");
    }
}

async fn remove_takes_files_links_and_trees(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    sh(&sandbox, "cd /tmp; touch file; mkfifo fifo; ln -s nowhere dangling; mkdir empty; mkdir -p tree/a/b/c tree/.x; seq 500 | xargs -I_ touch tree/a/b/_; chmod 500 tree/a/b; ln -s /etc tree/link").await;
    for name in ["file", "fifo", "dangling", "empty", "empty-again/"] {
        let path = format!("/tmp/{name}");
        if name.ends_with('/') {
            files.make_dir(&path).await.unwrap();
        }
        files.remove(&path).await.unwrap();
        assert_eq!(files.remove(&path).await.unwrap_err().kind(), ErrorKind::NotFound, "{name}");
    }
    // A directory that its owner may not write to keeps its tree.
    if at.lacks("one_user").is_none() {
        let error = files.remove("/tmp/tree").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    sh(&sandbox, "chmod 700 /tmp/tree/a/b").await;
    files.remove("/tmp/tree").await.unwrap();
    assert_eq!(sh(&sandbox, "ls -A /tmp; ls /etc/passwd").await.stdout, "/etc/passwd\n");
}

async fn remove_never_follows_links(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "cd /tmp; mkdir kept; touch kept/file; ln -s kept link; mkdir tree; ln -s ../kept tree/link; ln -s /tmp/kept tree/other").await;
    for path in ["/tmp/link", "/tmp/tree"] {
        sandbox.filesystem().remove(path).await.unwrap();
    }
    assert_eq!(sh(&sandbox, "find /tmp | sort").await.stdout, "/tmp\n/tmp/kept\n/tmp/kept/file\n");
}

async fn remove_of_a_very_deep_tree_ends(at: At) {
    let sandbox = at.sandbox().await;
    let line = "import os\nos.mkdir('/tmp/deep')\nos.chdir('/tmp/deep')\nfor _ in range(3000):\n os.mkdir('d')\n os.chdir('d')";
    let made = sandbox.run_code(line, None, shell(""), RunOptions::default()).await.unwrap();
    assert_eq!(made.output.exit_code, 0, "{}", made.output.stderr);
    sandbox.filesystem().remove("/tmp/deep").await.unwrap();
    assert!(!sandbox.filesystem().exists("/tmp/deep").await);
}

async fn remove_of_what_cannot_go_is_refused(at: At) {
    let sandbox = at.sandbox().await;
    for path in ["/", "//", "/tmp/..", "/tmp/.", "/proc", "/proc/self", "/dev/null", "/proc/self/fd/0"] {
        let error = sandbox.filesystem().remove(path).await.unwrap_err();
        let kinds = [ErrorKind::InvalidArgument, ErrorKind::PermissionDenied, ErrorKind::NotFound];
        assert!(kinds.contains(&error.kind()), "{path}: {error}");
    }
    assert_eq!(sh(&sandbox, "echo $$ > /dev/null && ls -d /tmp /proc/self/status").await.exit_code, 0);
}

async fn a_long_removal_keeps_nobody_waiting(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkdir /tmp/many; cd /tmp/many; seq 50000 | xargs touch").await;
    let files = sandbox.filesystem();
    let removing = files.remove("/tmp/many");
    tokio::pin!(removing);
    let mut answered = 0;
    loop {
        tokio::select! {
            biased;
            done = &mut removing => break done.unwrap(),
            there = files.exists("/etc/passwd") => {
                assert!(there);
                answered += 1;
            }
        }
    }
    assert!(answered > 10, "only {answered} questions were answered meanwhile");
}
