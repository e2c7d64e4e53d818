//! Copying.

use std::time::Duration;

use computesdk::command::RunOptions;
use computesdk::error::{Error, ErrorKind};
use computesdk::sandbox::Sandbox;

use crate::commands::assert_apart;
use crate::files::{names, noise, text, write};
use crate::harness::{At, Case, cases, eventually, eventually_seen, pace, sh, shell, soon};
use crate::moves::tree;

pub(super) const CASES: &[Case] = cases![
    a_copy_has_the_content_and_the_mode,
    a_copy_of_a_tree_is_like_it,
    copying_makes_parents_and_follows_what_is_asked_for,
    a_copy_takes_the_place_of_a_file_in_one_step,
    copying_refuses_a_place_that_is_taken,
    copying_what_is_missing_is_not_found,
    copying_a_directory_into_itself_is_refused,
    copying_what_is_no_file_is_refused_and_leaves_nothing,
    copying_what_cannot_be_read_is_refused_and_leaves_nothing if one_user,
    copying_to_where_no_file_can_be_is_refused_and_leaves_nothing,
    a_copy_that_does_not_fit_leaves_nothing if quotas,
    holes_are_copied_as_holes,
    a_copy_of_a_very_deep_tree_ends,
    what_the_host_lends_can_be_copied,
    a_dropped_copy_leaves_nothing,
    a_killed_copy_leaves_nothing if one_user,
    a_long_copy_keeps_nobody_waiting,
];

const AT_ONCE: Duration = Duration::from_secs(2);
/// What others have to do first.
const IN_TIME: Duration = Duration::from_secs(15);

async fn refused(sandbox: &Sandbox, from: &str, to: &str) -> Error {
    sandbox.filesystem().copy(from, to).await.err().unwrap_or_else(|| panic!("{from} was copied to {to}"))
}

/// What no copy may leave behind.
async fn assert_nothing_hidden(sandbox: &Sandbox) {
    assert_eq!(sh(sandbox, "find / -xdev -name '.computesdk-*' 2>/dev/null").await.stdout, "");
}

async fn a_copy_has_the_content_and_the_mode(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    for length in [0, 1, 262_143, 262_144, 262_145, 5_000_000] {
        let content = noise(length);
        files.write("/tmp/file", content.clone()).await.unwrap();
        files.copy("/tmp/file", "/tmp/copy").await.unwrap();
        assert!(files.read("/tmp/copy").await.unwrap() == content, "{length}");
    }
    for (mode, kept) in [("751", "751"), ("400", "400"), ("1644", "1644"), ("6755", "755")] {
        sh(&sandbox, format!("chmod {mode} /tmp/file")).await;
        files.copy("/tmp/file", "/tmp/copy").await.unwrap();
        assert_eq!(sh(&sandbox, "stat -c %a:%U /tmp/copy").await.stdout, format!("{kept}:user\n"));
    }
    // It is another file.
    sh(&sandbox, "chmod 644 /tmp/copy; echo more >> /tmp/copy").await;
    assert_eq!(files.stat("/tmp/file").await.unwrap().size, Some(5_000_000));
}

async fn a_copy_of_a_tree_is_like_it(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    sh(
        &sandbox,
        r"mkdir -p /tmp/from/a/b/c '/tmp/from/ -rf *' /tmp/from/.hidden /tmp/from/shut/deep; cd /tmp/from
          seq 300 | xargs -I_ sh -c 'echo _ > a/b/_'; touch $'\xff\xfe' .hidden/file; mkdir $'\xfc'; touch $'\xfc'/in
          ln -s a/b link; ln -s /nowhere dangling; ln -s $'\xfd' odd; ln a/b/1 again; echo x > a/run; chmod 751 a/run
          touch shut/file; chmod 400 shut/file; chmod 1777 a; chmod 500 shut/deep; chmod 555 shut",
    )
    .await;
    let before = tree(&sandbox, "/tmp/from").await;
    files.copy("/tmp/from", "/tmp/to").await.unwrap();
    assert_eq!(tree(&sandbox, "/tmp/to").await, before);
    assert_eq!(tree(&sandbox, "/tmp/from").await, before);
    assert_eq!(sh(&sandbox, "cd /tmp; diff -r --no-dereference from to && echo same").await.stdout, "same\n");
    assert_eq!(names(&files.list("/tmp").await.unwrap()), ["from", "to"]);
    files.copy("/tmp/to/shut/deep/", "/tmp/empty/").await.unwrap();
    assert_eq!(sh(&sandbox, "stat -c %a /tmp/empty; ls -A /tmp/empty").await.stdout, "500\n");
}

async fn copying_makes_parents_and_follows_what_is_asked_for(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    sh(&sandbox, "cd /tmp; mkdir dir; echo in > dir/file; ln -s dir to-dir; ln -s dir/file to-file").await;
    files.copy("/tmp/to-file", "/app/a/file").await.unwrap();
    files.copy("/tmp/to-dir", "/app/b/dir").await.unwrap();
    files.copy("/tmp/to-dir/", "/usr/local/share/dir").await.unwrap();
    assert_eq!(
        tree(&sandbox, "/app").await,
        "a d 755 \na/file f 644 \nb d 755 \nb/dir d 755 \nb/dir/file f 644 \n"
    );
    for path in ["/app/a/file", "/app/b/dir/file", "/usr/local/share/dir/file"] {
        assert_eq!(text(&sandbox, path).await, "in\n");
    }
}

async fn a_copy_takes_the_place_of_a_file_in_one_step(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    files.write("/tmp/file", noise(300_000)).await.unwrap();
    files.copy("/tmp/file", "/tmp/copy").await.unwrap();
    let line = "while [ $(wc -c < /tmp/copy) = 300000 ]; do :; done; touch /tmp/verdict";
    let looking = sandbox.instance().spawn(&shell(line)).await.unwrap();
    for _ in 0..60 {
        files.copy("/tmp/file", "/tmp/copy").await.unwrap();
    }
    assert!(!files.exists("/tmp/verdict").await);
    looking.control.kill().await.unwrap();
    // A link is in the place itself; its target is not. A file may be copied onto itself.
    sh(&sandbox, "cd /tmp; echo kept > target; chmod 600 target; ln -s target link").await;
    files.copy("/tmp/file", "/tmp/link").await.unwrap();
    files.copy("/tmp/target", "/tmp/target").await.unwrap();
    assert_eq!(text(&sandbox, "/tmp/target").await, "kept\n");
    assert_eq!(tree(&sandbox, "/tmp").await, "copy f 644 \nfile f 644 \nlink f 644 \ntarget f 600 \n");
}

async fn copying_refuses_a_place_that_is_taken(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "cd /tmp; touch file; mkdir -p dir empty; touch dir/file; ln -s nowhere link").await;
    let before = tree(&sandbox, "/tmp").await;
    for (from, to) in [
        ("/tmp/file", "/tmp/empty"),
        ("/tmp/file", "/"),
        ("/tmp/dir", "/tmp/empty"),
        ("/tmp/dir", "/tmp/file"),
        ("/tmp/dir", "/tmp/link"),
        ("/tmp/dir", "/tmp/dir"),
        ("/tmp/dir", "/tmp/file/below"),
        ("/tmp/file", "/tmp/file/below"),
    ] {
        let error = refused(&sandbox, from, to).await;
        let kinds = [ErrorKind::AlreadyExists, ErrorKind::InvalidArgument];
        assert_eq!(error.kind(), kinds[usize::from(to == "/")], "{from} to {to}: {error}");
        assert!(error.message().contains(to), "{error}");
    }
    assert_eq!(tree(&sandbox, "/tmp").await, before);
}

async fn copying_what_is_missing_is_not_found(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "touch /tmp/file; ln -s nowhere /tmp/dangling").await;
    for path in ["/missing", "/missing/deeper", "/tmp/file/x", "/tmp/dangling"] {
        let error = refused(&sandbox, path, "/tmp/made/new").await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{path}: {error}");
        assert_eq!(error.message(), format!("File not found: {path}"));
        assert_eq!(error.operation(), Some("copy"));
    }
    assert_eq!(names(&sandbox.filesystem().list("/tmp").await.unwrap()), ["dangling", "file"]);
}

async fn copying_a_directory_into_itself_is_refused(at: At) {
    let sandbox = at.sandbox().await;
    sh(
        &sandbox,
        "mkdir -p /tmp/dir/below; touch /tmp/dir/file; ln -s /tmp/dir/below /tmp/way; ln -s dir /tmp/again",
    )
    .await;
    let before = tree(&sandbox, "/tmp").await;
    for (from, to) in [
        ("/tmp/dir", "/tmp/dir/new"),
        ("/tmp/dir", "/tmp/dir/a/b/c"),
        ("/tmp/dir", "/tmp/way/new"),
        ("/tmp/again", "/tmp/dir/below/x"),
        ("/tmp/dir/below/..", "/tmp/dir/below/x"),
        ("/", "/tmp/all"),
        ("/tmp", "/tmp/dir/tmp"),
    ] {
        let error = soon(to, AT_ONCE, refused(&sandbox, from, to)).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{from} to {to}: {error}");
        assert!(error.message().contains(from) && error.message().contains(to), "{error}");
    }
    assert_eq!(tree(&sandbox, "/tmp").await, before);
}

async fn copying_what_is_no_file_is_refused_and_leaves_nothing(at: At) {
    let sandbox = at.sandbox().await;
    let made = sh(
        &sandbox,
        "mkdir -p /tmp/tree/a/b /tmp/other; mkfifo /tmp/fifo /tmp/tree/a/b/pipe; touch /tmp/tree/a/file; ln -s fifo /tmp/link
         python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/tmp/other/socket\")'",
    )
    .await;
    assert_eq!(made.exit_code, 0, "{}", made.stderr);
    let waiting = sandbox.instance().spawn(&shell("cat /tmp/fifo /tmp/tree/a/b/pipe")).await.unwrap();
    let before = tree(&sandbox, "/tmp").await;
    for (from, named) in [
        ("/tmp/fifo", "/tmp/fifo"),
        ("/tmp/link", "/tmp/link"),
        ("/dev/null", "/dev/null"),
        ("/tmp/tree", "/tmp/tree/a/b/pipe"),
        ("/tmp/other", "/tmp/other/socket"),
        ("/dev", "/dev/"),
    ] {
        let error = soon(from, AT_ONCE, refused(&sandbox, from, "/tmp/copy")).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{from}: {error}");
        assert!(error.message().contains(named), "{error}");
    }
    let exit = tokio::time::timeout(Duration::from_millis(50), waiting.control.wait()).await;
    assert!(exit.is_err(), "the reader of the FIFO saw somebody come: {exit:?}");
    waiting.control.kill().await.unwrap();
    assert_eq!(tree(&sandbox, "/tmp").await, before);
}

async fn copying_what_cannot_be_read_is_refused_and_leaves_nothing(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "cd /tmp; mkdir -p tree/a/first tree/z; touch tree/a/first/x tree/z/secret; chmod 0 tree/z/secret; chmod 500 tree/a/first; chmod 500 tree/a; mkdir -p shut/in; chmod 0 shut/in").await;
    for (from, named) in [("/tmp/tree", "/tmp/tree/z/secret"), ("/tmp/shut", "/tmp/shut/in")] {
        let error = refused(&sandbox, from, "/tmp/copy").await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.message().ends_with(named), "{error}");
    }
    for to in ["/usr/bin/x", "/tmp/tree/a/x"] {
        let error = refused(&sandbox, "/etc/passwd", to).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{to}: {error}");
        assert!(error.message().contains(to), "{error}");
    }
    assert_eq!(names(&sandbox.filesystem().list("/tmp").await.unwrap()), ["shut", "tree"]);
    assert_nothing_hidden(&sandbox).await;
}

async fn copying_to_where_no_file_can_be_is_refused_and_leaves_nothing(at: At) {
    let sandbox = at.sandbox().await;
    for to in ["/proc/x", "/proc/self/x", "/dev/x"] {
        let error = refused(&sandbox, "/etc/passwd", to).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{to}: {error}");
        assert!(error.message().contains(to), "{error}");
    }
    assert_nothing_hidden(&sandbox).await;
}

async fn a_copy_that_does_not_fit_leaves_nothing(at: At) {
    let sandbox = at.create(at.small(16)).await;
    let files = sandbox.filesystem();
    sh(&sandbox, "mkdir -p /tmp/tree/a/b; chmod 700 /tmp/tree; seq 20 | xargs -I_ touch /tmp/tree/a/_").await;
    files.write("/tmp/tree/a/b/large", noise(9 << 20)).await.unwrap();
    write(&sandbox, "/tmp/old", "old").await;
    for (from, to) in [("/tmp/tree", "/tmp/copy"), ("/tmp/tree/a/b/large", "/tmp/old")] {
        for _ in 0..3 {
            let error = refused(&sandbox, from, to).await;
            assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
            assert!(error.hint().is_some());
            assert_eq!(names(&files.list("/tmp").await.unwrap()), ["old", "tree"]);
        }
    }
    assert_eq!(text(&sandbox, "/tmp/old").await, "old");
    // Names run out as well as bytes do.
    sh(&sandbox, "rm /tmp/tree/a/b/large; cd /tmp/tree/a/b; seq 3000 | xargs touch").await;
    let error = refused(&sandbox, "/tmp/tree", "/tmp/copy").await;
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    assert_eq!(names(&files.list("/tmp").await.unwrap()), ["old", "tree"]);
}

async fn holes_are_copied_as_holes(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "cd /tmp; truncate -s 10T sparse; printf begin | dd of=holes conv=notrunc status=none; truncate -s 2G holes; printf end >> holes").await;
    for (from, size) in [("/tmp/sparse", 10 << 40), ("/tmp/holes", (2 << 30) + 3)] {
        soon("a copy", AT_ONCE, sandbox.filesystem().copy(from, "/tmp/copy")).await.unwrap();
        assert_eq!(sandbox.filesystem().stat("/tmp/copy").await.unwrap().size, Some(size));
        assert_eq!(
            sh(&sandbox, "[ $(du -k /tmp/copy | cut -f1) -lt 100 ] && echo small").await.stdout,
            "small\n"
        );
    }
    assert_eq!(sh(&sandbox, "head -c 5 /tmp/copy; tail -c 3 /tmp/copy").await.stdout, "beginend");
}

async fn a_copy_of_a_very_deep_tree_ends(at: At) {
    let sandbox = at.sandbox().await;
    let line = "import os\nos.mkdir('/tmp/deep')\nos.chdir('/tmp/deep')\nfor n in range(1200):\n open('file', 'w').write(str(n))\n os.mkdir('d')\n os.chdir('d')";
    let made = sandbox.run_code(line, None, shell(""), RunOptions::default()).await.unwrap();
    assert_eq!(made.output.exit_code, 0, "{}", made.output.stderr);
    sandbox.filesystem().copy("/tmp/deep", "/tmp/copy").await.unwrap();
    let line = "import os\nos.chdir('/tmp/copy')\nfor n in range(1200):\n assert open('file').read() == str(n)\n os.chdir('d')\nprint(os.listdir())";
    let read = sandbox.run_code(line, None, shell(""), RunOptions::default()).await.unwrap();
    assert_eq!(read.output.stdout, "[]\n", "{}", read.output.stderr);
    // What goes wrong down there is told of the whole.
    let line =
        "import os\nos.chdir('/tmp/copy')\nwhile 'd' in os.listdir(): os.chdir('d')\nos.mkfifo('pipe')";
    sandbox.run_code(line, None, shell(""), RunOptions::default()).await.unwrap();
    let error = refused(&sandbox, "/tmp/copy", "/tmp/again").await;
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    sandbox.filesystem().remove("/tmp/copy").await.unwrap();
    assert_eq!(names(&sandbox.filesystem().list("/tmp").await.unwrap()), ["deep"]);
}

async fn what_the_host_lends_can_be_copied(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    files.copy("/usr/bin/env", "/tmp/env").await.unwrap();
    assert_eq!(sh(&sandbox, "cmp /usr/bin/env /tmp/env && /tmp/env echo works").await.stdout, "works\n");
    files.copy("/etc", "/tmp/etc").await.unwrap();
    assert_eq!(
        sh(&sandbox, "diff -r --no-dereference /etc /tmp/etc && stat -c %U /tmp/etc/passwd").await.stdout,
        "user\n"
    );
    files.copy("/proc/self/status", "/tmp/status").await.unwrap();
    assert!(text(&sandbox, "/tmp/status").await.starts_with("Name:"));
}

async fn a_dropped_copy_leaves_nothing(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    sh(&sandbox, "mkdir -p /tmp/tree/shut; cd /tmp/tree; seq 3000 | xargs touch; head -c 8M /dev/zero > shut/large; chmod 555 shut").await;
    for step in 0..25_u64 {
        let copying = files.copy("/tmp/tree", "/tmp/copy");
        if tokio::time::timeout(Duration::from_micros(step * step * 50), copying).await.is_ok() {
            files.rename("/tmp/copy", &format!("/tmp/done/{step}")).await.unwrap();
            sh(&sandbox, "chmod -R u+w /tmp/done; rm -rf /tmp/done").await;
        }
    }
    let look = async || files.list("/tmp").await.unwrap();
    eventually_seen("nothing is left, or all of it", IN_TIME, look, |entries| {
        matches!(names(entries)[..], ["tree"] | ["copy", "tree"])
    })
    .await;
    assert_nothing_hidden(&sandbox).await;
    if files.exists("/tmp/copy").await {
        assert_eq!(tree(&sandbox, "/tmp/copy").await, tree(&sandbox, "/tmp/tree").await);
    }
}

async fn a_killed_copy_leaves_nothing(at: At) {
    let sandbox = at.sandbox().await;
    assert_apart(&sandbox).await;
    let files = sandbox.filesystem();
    sh(
        &sandbox,
        "mkdir -p /tmp/tree/shut; cd /tmp/tree; seq 20000 | xargs touch; touch shut/file; chmod 555 shut",
    )
    .await;
    let mut killed = 0;
    for _ in 0..10 {
        let killing = sandbox.instance().spawn(&shell("sleep 0.02; exec 2>&-; kill -9 -1")).await.unwrap();
        match files.copy("/tmp/tree", "/tmp/copy").await {
            Ok(()) => sh(&sandbox, "chmod -R u+w /tmp/copy; rm -rf /tmp/copy").await,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                killed += 1;
                sh(&sandbox, "true").await
            }
        };
        killing.control.wait().await.unwrap();
        eventually("it is cleared away", IN_TIME, async || {
            names(&files.list("/tmp").await.unwrap_or_default()) == ["tree"]
        })
        .await;
    }
    assert!(killed > 0, "no copy was killed");
    assert_nothing_hidden(&sandbox).await;
}

async fn a_long_copy_keeps_nobody_waiting(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkdir /tmp/many; cd /tmp/many; seq 50000 | xargs touch").await;
    let files = sandbox.filesystem();
    let copying = files.copy("/tmp/many", "/tmp/copy");
    tokio::pin!(copying);
    let mut answered = 0;
    loop {
        tokio::select! {
            biased;
            done = &mut copying => break done.unwrap(),
            there = files.exists("/tmp/copy") => {
                answered += u32::from(!there);
            }
        }
    }
    assert!(answered > 10 / pace(), "only {answered} questions were answered meanwhile");
    assert_eq!(files.list("/tmp/copy").await.unwrap().len(), 50_000);
}
