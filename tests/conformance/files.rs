//! Files.

use std::time::Duration;

use bytes::Bytes;
use computesdk::error::{Error, ErrorKind};
use computesdk::provider::{Content, Entry};
use computesdk::sandbox::Sandbox;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use crate::harness::{At, Case, cases, eventually, sh, shell, soon};

pub(super) const CASES: &[Case] = cases![
    what_is_written_is_read,
    content_that_comes_in_pieces_is_written_whole,
    writing_makes_parents,
    writing_replaces_the_whole,
    writing_keeps_mode_and_owner,
    writing_goes_through_links,
    links_in_a_circle_are_refused,
    a_write_that_fails_leaves_the_old_content,
    a_dropped_write_leaves_the_old_content,
    readers_see_one_version_or_the_other,
    a_full_disk_is_an_error_and_nothing_worse if quotas,
    only_regular_files_are_read_and_written,
    a_sparse_file_of_10_tib_is_refused_at_once,
    a_sparse_file_within_the_disk_is_read,
    a_file_that_shrinks_or_grows_is_read_all_the_same if open_files,
    text_must_be_utf_8,
    what_is_missing_is_not_found,
    an_impossible_path_is_refused,
    two_dots_stay_in_the_sandbox,
    many_callers_at_once_are_served,
];

/// What must not wait for anything.
const AT_ONCE: Duration = Duration::from_secs(2);

pub(super) async fn write(sandbox: &Sandbox, path: &str, content: &'static str) {
    sandbox.filesystem().write(path, Bytes::from_static(content.as_bytes())).await.unwrap();
}

pub(super) async fn text(sandbox: &Sandbox, path: &str) -> String {
    sandbox.filesystem().read_text(path).await.unwrap()
}

pub(super) fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

/// Bytes without a pattern that a fault could hide in.
pub(super) fn noise(length: usize) -> Bytes {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(next).collect()
}

async fn what_is_written_is_read(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    for length in [0, 1, 49_151, 49_152, 49_153, 65_536, 4 << 20, (4 << 20) + 1, 20_000_000] {
        let content = noise(length);
        files.write("/tmp/file", content.clone()).await.unwrap();
        assert!(files.read("/tmp/file").await.unwrap() == content, "{length}");
        assert_eq!(sh(&sandbox, "wc -c < /tmp/file").await.stdout.trim(), length.to_string());
    }
    write(&sandbox, "/tmp/text", "é\r\n☕\0").await;
    assert_eq!(text(&sandbox, "/tmp/text").await, "é\r\n☕\0");
}

async fn content_that_comes_in_pieces_is_written_whole(at: At) {
    let sandbox = at.sandbox().await;
    let content = noise(300_000);
    for size in [1000, 50_000, 300_000] {
        let pieces: Vec<_> = content.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let streamed = Content { size: None, bytes: stream::iter(pieces).boxed() };
        sandbox.instance().files().write("/tmp/file", streamed).await.unwrap();
        assert!(sandbox.filesystem().read("/tmp/file").await.unwrap() == content, "in pieces of {size}");
    }
}

async fn writing_makes_parents(at: At) {
    let sandbox = at.sandbox().await;
    for path in ["/app/a/b/c.txt", "/analysis.txt", "/workspace/x/y", "/tmp/p//q/./r"] {
        write(&sandbox, path, "here").await;
        assert_eq!(text(&sandbox, path).await, "here");
    }
    // They are the user's.
    let output = sh(
        &sandbox,
        "echo more >> /app/a/b/c.txt && touch /app/a/d && stat -c %U /app /app/a/b/c.txt | uniq",
    )
    .await;
    assert_eq!(output.stdout, sh(&sandbox, "id -un").await.stdout, "{}", output.stderr);
}

async fn writing_replaces_the_whole(at: At) {
    let sandbox = at.sandbox().await;
    write(&sandbox, "/tmp/file", "a long content").await;
    write(&sandbox, "/tmp/file", "short").await;
    assert_eq!(text(&sandbox, "/tmp/file").await, "short");
    assert_eq!(names(&sandbox.filesystem().list("/tmp").await.unwrap()), ["file"]);
}

async fn writing_keeps_mode_and_owner(at: At) {
    let sandbox = at.sandbox().await;
    write(&sandbox, "/tmp/file", "#!/bin/sh\necho one").await;
    assert_eq!(sh(&sandbox, "stat -c %a /tmp/file; chmod 751 /tmp/file").await.stdout, "644\n");
    write(&sandbox, "/tmp/file", "#!/bin/sh\necho two").await;
    assert_eq!(sh(&sandbox, "stat -c %a:%U /tmp/file; /tmp/file").await.stdout, "751:user\ntwo\n");
    sandbox.filesystem().write("/tmp/file", noise(100_000)).await.unwrap();
    assert_eq!(sh(&sandbox, "stat -c %a:%U /tmp/file").await.stdout, "751:user\n");
}

async fn writing_goes_through_links(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkdir -p /tmp/a/b; cd /tmp/a; echo old > file; ln -s ../file b/relative; ln -s /tmp/a/b/relative chain; ln -s b/made dangling; ln -s /tmp/a/b dir").await;
    for (link, target, length) in [
        ("/tmp/a/b/relative", "/tmp/a/file", 3),
        ("/tmp/a/chain", "/tmp/a/file", 100_000),
        ("/tmp/a/dangling", "/tmp/a/b/made", 4),
        ("/tmp/a/dir/new", "/tmp/a/b/new", 5),
    ] {
        let content = noise(length);
        sandbox.filesystem().write(link, content.clone()).await.unwrap();
        assert!(sandbox.filesystem().read(target).await.unwrap() == content, "{link}");
    }
    assert_eq!(
        sh(&sandbox, "cd /tmp/a; readlink b/relative chain dangling dir | wc -l; find . -type f | sort")
            .await
            .stdout,
        "4\n./b/made\n./b/new\n./file\n"
    );
}

async fn links_in_a_circle_are_refused(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "ln -s /tmp/b /tmp/a; ln -s /tmp/a /tmp/b; ln -s self /tmp/self").await;
    let files = sandbox.filesystem();
    for path in ["/tmp/a", "/tmp/self", "/tmp/a/x"] {
        let read = soon("an answer", AT_ONCE, files.read(path)).await.unwrap_err();
        let written = soon("an answer", AT_ONCE, files.write(path, Bytes::new())).await.unwrap_err();
        for error in [read, written] {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{path}: {error}");
        }
        assert!(!files.exists(path).await);
    }
    assert_eq!(names(&files.list("/tmp").await.unwrap()), ["a", "b", "self"]);
    files.remove("/tmp/a").await.unwrap();
}

async fn a_write_that_fails_leaves_the_old_content(at: At) {
    let sandbox = at.sandbox().await;
    write(&sandbox, "/tmp/file", "old").await;
    for before in [10, 100_000, 10_000_000] {
        let pieces = [Ok(noise(before)), Err(Error::invalid("the source broke"))];
        let content = Content { size: None, bytes: stream::iter(pieces).boxed() };
        let error = sandbox.instance().files().write("/tmp/file", content).await.unwrap_err();
        assert_eq!(error.message(), "the source broke");
        assert_eq!(text(&sandbox, "/tmp/file").await, "old");
        assert_nothing_beside(&sandbox).await;
    }
}

/// What was begun is removed. Where it is far away, it may arrive after that, and is removed again.
async fn assert_nothing_beside(sandbox: &Sandbox) {
    eventually("nothing is left beside it", AT_ONCE, async || {
        names(&sandbox.filesystem().list("/tmp").await.unwrap()) == ["file"]
    })
    .await;
}

async fn a_dropped_write_leaves_the_old_content(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.instance().files();
    write(&sandbox, "/tmp/file", "old").await;
    for step in 0..30_u64 {
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 100_000]))).take(50);
        let content =
            Content { size: None, bytes: endless.chain(stream::once(std::future::pending())).boxed() };
        let _ =
            tokio::time::timeout(Duration::from_micros(step * 100), files.write("/tmp/file", content)).await;
        assert_eq!(text(&sandbox, "/tmp/file").await, "old");
    }
    assert_nothing_beside(&sandbox).await;
}

async fn readers_see_one_version_or_the_other(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    let versions = [Bytes::from(vec![b'a'; 200_000]), Bytes::from(vec![b'b'; 100_000])];
    files.write("/tmp/file", versions[0].clone()).await.unwrap();
    let writing = join_all((0..40).map(|n| files.write("/tmp/file", versions[n % 2].clone())));
    let reading = join_all((0..40).map(|_| files.read("/tmp/file")));
    let (written, read) = tokio::join!(writing, reading);
    written.into_iter().for_each(Result::unwrap);
    for content in read {
        assert!(versions.contains(&content.unwrap()));
    }
    assert_eq!(names(&files.list("/tmp").await.unwrap()), ["file"]);
}

async fn a_full_disk_is_an_error_and_nothing_worse(at: At) {
    let sandbox = at.create(at.small(16)).await;
    let files = sandbox.filesystem();
    write(&sandbox, "/tmp/file", "old").await;
    let error = files.write("/tmp/file", noise(20 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    assert!(error.hint().is_some());
    eventually("its part is given back", AT_ONCE, async || {
        names(&files.list("/tmp").await.unwrap()) == ["file"]
    })
    .await;
    let output =
        sh(&sandbox, "head -c 1G /dev/zero > /tmp/fill; echo $?; df /tmp | tail -1 | cut -c1-5").await;
    assert!(output.stdout.starts_with("1\n"), "{output:?}");
    for length in [1, 100_000] {
        let error = files.write("/tmp/file", noise(length)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    }
    assert_eq!(text(&sandbox, "/tmp/file").await, "old");
    assert_eq!(sh(&sandbox, "echo still here").await.stdout, "still here\n");
    files.remove("/tmp/fill").await.unwrap();
    files.write("/tmp/file", noise(8 << 20)).await.unwrap();
}

async fn only_regular_files_are_read_and_written(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    let made = sh(
        &sandbox,
        "mkfifo /tmp/fifo; mkdir /tmp/dir; ln -s fifo /tmp/link; ln -s /dev/zero /tmp/zero; \
         python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/tmp/socket\")'",
    )
    .await;
    assert_eq!(made.exit_code, 0, "{}", made.stderr);
    // Somebody waits at the other end, and must go on waiting.
    let waiting = sandbox.instance().spawn(&shell("cat /tmp/fifo")).await.unwrap();
    for path in [
        "/tmp/fifo",
        "/tmp/link",
        "/tmp/dir",
        "/tmp",
        "/",
        "/tmp/socket",
        "/dev/zero",
        "/tmp/zero",
        "/dev/null",
        "/dev/tty",
    ] {
        let read = soon(path, AT_ONCE, files.read(path)).await.unwrap_err();
        assert_eq!(read.kind(), ErrorKind::InvalidArgument, "{path}: {read}");
        for length in [1, 100_000] {
            let written = soon(path, AT_ONCE, files.write(path, noise(length))).await.unwrap_err();
            let kinds = [ErrorKind::InvalidArgument, ErrorKind::PermissionDenied];
            assert!(kinds.contains(&written.kind()), "{path}: {written}");
        }
    }
    let exit = tokio::time::timeout(Duration::from_millis(50), waiting.control.wait()).await;
    assert!(exit.is_err(), "the reader of the FIFO saw somebody come: {exit:?}");
    waiting.control.kill().await.unwrap();
}

async fn a_sparse_file_of_10_tib_is_refused_at_once(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    let made = sh(&sandbox, "truncate -s 10T /tmp/sparse && ln -s sparse /tmp/link").await;
    assert_eq!(made.exit_code, 0, "{}", made.stderr);
    for path in ["/tmp/sparse", "/tmp/link"] {
        let error = soon("an answer", AT_ONCE, files.read(path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    let entries = files.list("/tmp").await.unwrap();
    assert!(entries.iter().all(|entry| entry.size == Some(10 << 40)), "{entries:?}");
    write(&sandbox, "/tmp/link", "small").await;
    assert_eq!(text(&sandbox, "/tmp/sparse").await, "small");
}

async fn a_sparse_file_within_the_disk_is_read(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "truncate -s 64M /tmp/sparse; printf end >> /tmp/sparse").await;
    let content = sandbox.filesystem().read("/tmp/sparse").await.unwrap();
    assert_eq!(content.len(), (64 << 20) + 3);
    assert!(content.ends_with(b"\0end"));
}

async fn a_file_that_shrinks_or_grows_is_read_all_the_same(at: At) {
    let sandbox = at.sandbox().await;
    let line =
        "cd /tmp; while :; do truncate -s 20M f; truncate -s 0 f; printf x >> f; truncate -s 9M f; done";
    let restless = sandbox.instance().spawn(&shell(line)).await.unwrap();
    eventually("it is there", AT_ONCE, async || sandbox.filesystem().exists("/tmp/f").await).await;
    for _ in 0..30 {
        let content = soon("an end", AT_ONCE, sandbox.filesystem().read("/tmp/f")).await.unwrap();
        assert!(content.len() <= 20 << 20);
    }
    restless.control.kill().await.unwrap();
}

async fn text_must_be_utf_8(at: At) {
    let sandbox = at.sandbox().await;
    sandbox.filesystem().write("/tmp/bytes", Bytes::from_static(b"ab\xff")).await.unwrap();
    let error = sandbox.filesystem().read_text("/tmp/bytes").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, "NOT_UTF8"));
    assert_eq!(sandbox.filesystem().read("/tmp/bytes").await.unwrap(), &b"ab\xff"[..]);
}

async fn what_is_missing_is_not_found(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    sh(&sandbox, "ln -s /nowhere /tmp/dangling; touch /tmp/file").await;
    for path in ["/missing", "/missing/deeper", "/tmp/dangling", "/tmp/file/x"] {
        let error = files.read(path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{path}: {error}");
        assert_eq!(error.message(), format!("File not found: {path}"));
    }
    for path in ["/missing", "/missing/deeper", "/tmp/dangling"] {
        let error = files.list(path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{path}: {error}");
        assert_eq!(error.message(), format!("Directory not found: {path}"));
    }
    for path in ["/missing", "/missing/deeper", "/tmp/file/x"] {
        let error = files.remove(path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{path}: {error}");
        assert_eq!(error.message(), format!("File not found: {path}"));
    }
    assert_eq!(files.list("/tmp/file").await.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

async fn an_impossible_path_is_refused(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    let (long, long_name) = (format!("/{}", "x/".repeat(3000)), format!("/tmp/{}", "n".repeat(256)));
    for path in ["", "tmp/x", "./x", "~", "C:\\x", "/tmp/a\0b", &long, &long_name] {
        let errors = [
            files.read(path).await.unwrap_err(),
            files.write(path, Bytes::new()).await.unwrap_err(),
            files.make_dir(path).await.unwrap_err(),
            files.list(path).await.unwrap_err(),
            files.remove(path).await.unwrap_err(),
            files.stat(path).await.unwrap_err(),
            files.open(path).await.err().unwrap(),
            files.rename(path, "/tmp/other").await.unwrap_err(),
            files.rename("/etc/passwd", path).await.unwrap_err(),
            files.copy(path, "/tmp/other").await.unwrap_err(),
            files.copy("/etc/passwd", path).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{path:?}: {error}");
        }
        assert!(!files.exists(path).await);
    }
    let error = files.write("/", Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

async fn two_dots_stay_in_the_sandbox(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    assert_eq!(
        text(&sandbox, "/../../../../etc/hostname").await,
        sh(&sandbox, "cat /etc/hostname").await.stdout
    );
    write(&sandbox, "/tmp/../../../../../up", "here").await;
    assert_eq!(text(&sandbox, "/up").await, "here");
    sh(&sandbox, "ln -s ../../../../../../.. /tmp/root").await;
    write(&sandbox, "/tmp/root/up", "again").await;
    assert_eq!(text(&sandbox, "/up").await, "again");
    assert_eq!(names(&files.list("/tmp/root/..").await.unwrap()), names(&files.list("/").await.unwrap()));
}

async fn many_callers_at_once_are_served(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    let one = async |n: usize| {
        let (path, content) = (format!("/data/{n}/file"), noise(n * 3000));
        files.write(&path, content.clone()).await.unwrap();
        assert!(files.read(&path).await.unwrap() == content);
        assert_eq!(names(&files.list(&format!("/data/{n}")).await.unwrap()), ["file"]);
        files.remove(&format!("/data/{n}")).await.unwrap();
    };
    join_all((0..60).map(one)).await;
    assert!(files.list("/data").await.unwrap().is_empty());
}
