//! Renaming.

use computesdk::error::{Error, ErrorKind};
use computesdk::sandbox::Sandbox;

use crate::files::{names, text, write};
use crate::harness::{At, Case, cases, pace, sh, shell};

pub(super) const CASES: &[Case] = cases![
    renaming_moves_files_directories_and_links,
    renaming_makes_parents,
    renaming_takes_the_place_of_a_file_in_one_step,
    renaming_refuses_a_place_that_is_taken,
    renaming_to_the_same_path_does_nothing,
    renaming_one_of_two_names_of_a_file_leaves_the_other,
    renaming_what_is_missing_is_not_found,
    renaming_a_directory_into_itself_is_refused,
    renaming_crosses_file_systems,
    a_directory_of_a_lower_layer_is_renamed_if_it_may_be if one_user,
    what_cannot_be_taken_away_is_not_renamed,
    what_cannot_go_there_stays_where_it_is,
];

/// All there is below a directory, but for its name.
pub(super) async fn tree(sandbox: &Sandbox, path: &str) -> String {
    let line = format!("cd '{path}' && find . -mindepth 1 -printf '%P %y %m %l\\n' | sort");
    let output = sh(sandbox, line).await;
    assert_eq!(output.exit_code, 0, "{}", output.stderr);
    output.stdout
}

async fn refused(sandbox: &Sandbox, from: &str, to: &str) -> Error {
    sandbox.filesystem().rename(from, to).await.err().unwrap_or_else(|| panic!("{from} became {to}"))
}

async fn renaming_moves_files_directories_and_links(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    sh(&sandbox, "cd /tmp; printf content > file; chmod 751 file; mkdir -p dir/below; echo in > dir/below/file; ln -s file link; ln -s nowhere dangling; mkfifo fifo").await;
    let before = tree(&sandbox, "/tmp/dir").await;
    for (from, to) in [
        ("/tmp/file", "/tmp/new file"),
        ("/tmp/dir/", "/home/user/dir/"),
        ("/tmp/link", "/tmp/also"),
        ("/tmp/dangling", "/tmp/hanging"),
        ("/tmp/fifo", "/tmp/pipe"),
    ] {
        files.rename(from, to).await.unwrap();
    }
    assert_eq!(tree(&sandbox, "/home/user/dir").await, before);
    assert_eq!(
        tree(&sandbox, "/tmp").await,
        "also l 777 file\nhanging l 777 nowhere\nnew file f 751 \npipe p 644 \n"
    );
    assert_eq!(text(&sandbox, "/tmp/new file").await, "content");
}

async fn renaming_makes_parents(at: At) {
    let sandbox = at.sandbox().await;
    write(&sandbox, "/tmp/file", "here").await;
    sandbox.filesystem().rename("/tmp/file", "/app/a//b/./c").await.unwrap();
    assert_eq!(text(&sandbox, "/app/a/b/c").await, "here");
    sandbox.filesystem().rename("/app/a/b", "/data/x/y").await.unwrap();
    assert_eq!(text(&sandbox, "/data/x/y/c").await, "here");
    assert_eq!(sh(&sandbox, "stat -c %a:%U /app /data/x | uniq").await.stdout, "755:user\n");
}

async fn renaming_takes_the_place_of_a_file_in_one_step(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    write(&sandbox, "/tmp/file", "0").await;
    let line = "while cat /tmp/file > /tmp/seen; do :; done; echo gone > /tmp/verdict";
    let looking = sandbox.instance().spawn(&shell(line)).await.unwrap();
    for _ in 0..200 / pace() {
        write(&sandbox, "/tmp/next", "1").await;
        files.rename("/tmp/next", "/tmp/file").await.unwrap();
    }
    assert!(!files.exists("/tmp/verdict").await);
    looking.control.kill().await.unwrap();
    // A link is in the place itself; its target is not.
    sh(&sandbox, "cd /tmp; rm -f seen; mkdir dir; echo kept > target; ln -s target link; ln -s dir to-dir; mkfifo fifo").await;
    for place in ["/tmp/link", "/tmp/to-dir", "/tmp/fifo"] {
        write(&sandbox, "/tmp/next", "new").await;
        files.rename("/tmp/next", place).await.unwrap();
        assert_eq!(text(&sandbox, place).await, "new");
    }
    assert_eq!(
        tree(&sandbox, "/tmp").await,
        "dir d 755 \nfifo f 644 \nfile f 644 \nlink f 644 \ntarget f 644 \nto-dir f 644 \n"
    );
    assert_eq!(text(&sandbox, "/tmp/target").await, "kept\n");
}

async fn renaming_refuses_a_place_that_is_taken(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "cd /tmp; touch file other; mkdir -p dir/full empty; touch dir/file; ln -s nowhere link; ln -s file to-file").await;
    let before = tree(&sandbox, "/tmp").await;
    for (from, to) in [
        ("/tmp/file", "/tmp/empty"),
        ("/tmp/file", "/tmp/dir"),
        ("/tmp/file", "/tmp"),
        ("/tmp/link", "/tmp/empty/"),
        ("/tmp/dir", "/tmp/empty"),
        ("/tmp/dir", "/tmp/file"),
        ("/tmp/dir", "/tmp/link"),
        ("/tmp/empty", "/tmp/dir/full"),
        ("/tmp/file", "/tmp/other/below"),
        // From one file system to another.
        ("/tmp/file", "/usr/local/share"),
        ("/tmp/dir", "/usr/local/lib"),
    ] {
        let error = refused(&sandbox, from, to).await;
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{from} to {to}: {error}");
        assert!(error.message().contains(to), "{error}");
    }
    assert_eq!(tree(&sandbox, "/tmp").await, before);
}

async fn renaming_to_the_same_path_does_nothing(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "cd /tmp; echo x > file; mkdir -p dir/below; ln -s file link; ln -s /tmp again").await;
    let before = tree(&sandbox, "/tmp").await;
    for (from, to) in [
        ("/tmp/file", "/tmp/file"),
        ("/tmp/file", "/tmp/../tmp//file"),
        ("/tmp/file", "/tmp/again/file"),
        ("/tmp/dir", "/tmp/dir/"),
        ("/tmp/dir/below", "/tmp/dir/below"),
        ("/tmp/link", "/tmp/link"),
    ] {
        sandbox.filesystem().rename(from, to).await.unwrap();
    }
    assert_eq!(tree(&sandbox, "/tmp").await, before);
}

async fn renaming_one_of_two_names_of_a_file_leaves_the_other(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "cd /tmp; echo x > one; ln one two").await;
    sandbox.filesystem().rename("/tmp/one", "/tmp/two").await.unwrap();
    assert_eq!(names(&sandbox.filesystem().list("/tmp").await.unwrap()), ["two"]);
}

async fn renaming_what_is_missing_is_not_found(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "touch /tmp/file").await;
    for path in ["/missing", "/missing/deeper", "/tmp/file/x"] {
        let error = refused(&sandbox, path, "/tmp/made/new").await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{path}: {error}");
        assert_eq!(error.message(), format!("File not found: {path}"));
        assert_eq!(error.operation(), Some("rename"));
    }
    assert_eq!(names(&sandbox.filesystem().list("/tmp").await.unwrap()), ["file"]);
}

async fn renaming_a_directory_into_itself_is_refused(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkdir -p /tmp/dir/below; touch /tmp/dir/file; ln -s /tmp/dir/below /tmp/way").await;
    let before = tree(&sandbox, "/tmp").await;
    for to in ["/tmp/dir/new", "/tmp/dir/a/b/c", "/tmp/way/new", "/tmp/dir/below/../x", "/tmp/dir/file/x"] {
        let error = refused(&sandbox, "/tmp/dir", to).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{to}: {error}");
    }
    assert_eq!(tree(&sandbox, "/tmp").await, before);
    for path in ["/", "/tmp/..", "/tmp/.", "/proc", "/usr", "/dev/shm"] {
        let error = refused(&sandbox, path, "/home/user/new").await;
        let kinds = [ErrorKind::InvalidArgument, ErrorKind::PermissionDenied];
        assert!(kinds.contains(&error.kind()), "{path}: {error}");
    }
    assert!(!sandbox.filesystem().exists("/home/user/new").await);
}

async fn renaming_crosses_file_systems(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    sh(&sandbox, "cd /tmp; printf content > file; chmod 741 file; ln -s file link; ln -s nowhere dangling; mkdir -p dir/a/.hidden dir/closed; ln -s ../file dir/link; echo x > dir/a/x; chmod 400 dir/a/x; touch old").await;
    let before = tree(&sandbox, "/tmp").await;
    for (there, and_back) in [("/usr/local/share/new", "/tmp"), ("/dev/shm/new", "/tmp")] {
        for name in ["file", "link", "dangling", "dir"] {
            let (here, there) = (format!("{and_back}/{name}"), format!("{there}/{name}"));
            files.rename(&here, &there).await.unwrap();
            assert_ne!(sh(&sandbox, format!("ls -d {here}")).await.exit_code, 0, "{here} is still there");
        }
        let moved = before.replace("old f 644 \n", "");
        assert_eq!(tree(&sandbox, there).await, moved);
        // A file takes a file's place here too.
        files.rename(&format!("{there}/file"), "/tmp/old").await.unwrap();
        assert_eq!(text(&sandbox, "/tmp/old").await, "content");
        files.rename("/tmp/old", "/tmp/file").await.unwrap();
        for name in ["link", "dangling", "dir"] {
            files.rename(&format!("{there}/{name}"), &format!("{and_back}/{name}")).await.unwrap();
        }
        assert_eq!(tree(&sandbox, there).await, "");
        sh(&sandbox, "touch /tmp/old").await;
        assert_eq!(tree(&sandbox, "/tmp").await, before);
    }
}

async fn a_directory_of_a_lower_layer_is_renamed_if_it_may_be(at: At) {
    let sandbox = at.sandbox().await;
    let before = tree(&sandbox, "/etc").await;
    let inside = tree(&sandbox, "/etc/ssl").await;
    // Whose it is depends on who made the sandbox: only root can give it an owner of its own.
    let mine = sh(&sandbox, "[ -O /etc/ssl ]").await.exit_code == 0;
    for to in ["/etc/elsewhere", "/tmp/elsewhere"] {
        let renamed = sandbox.filesystem().rename("/etc/ssl", to).await;
        if mine {
            renamed.unwrap();
            assert_eq!(tree(&sandbox, to).await, inside);
            assert!(!sandbox.filesystem().exists("/etc/ssl").await);
            sandbox.filesystem().rename(to, "/etc/ssl").await.unwrap();
        } else {
            assert_eq!(renamed.unwrap_err().kind(), ErrorKind::PermissionDenied);
            assert!(!sandbox.filesystem().exists(to).await);
        }
        assert_eq!(tree(&sandbox, "/etc").await, before);
    }
}

async fn what_cannot_be_taken_away_is_not_renamed(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "cd /tmp; mkdir -p tree/kept; touch tree/kept/file tree/other; chmod 555 tree/kept; mkdir shut; touch shut/file; chmod 555 shut").await;
    let before = tree(&sandbox, "/tmp").await;
    let not_mine = [
        ("/usr/bin/env", "/tmp/env"),
        ("/usr/bin/env", "/usr/local/env"),
        ("/usr/bin", "/tmp/bin"),
        ("/tmp/tree", "/usr/local/share/tree"),
        ("/tmp/shut/file", "/tmp/file"),
        ("/tmp/shut/file", "/usr/local/share/file"),
    ];
    let not_mine = if at.lacks("one_user").is_none() { &not_mine[..] } else { &[] };
    let nobodys = [("/proc/self/status", "/tmp/status"), ("/dev/null", "/tmp/null")];
    for &(from, to) in not_mine.iter().chain(&nobodys) {
        let error = refused(&sandbox, from, to).await;
        let kinds = [ErrorKind::PermissionDenied, ErrorKind::InvalidArgument];
        assert!(kinds.contains(&error.kind()), "{from}: {error}");
        assert!(error.message().contains(from), "{error}");
        assert_eq!(sh(&sandbox, format!("ls -d {to}")).await.stdout, "", "{to}");
    }
    assert_eq!(tree(&sandbox, "/tmp").await, before);
    let left =
        sh(&sandbox, "find / -xdev -name '.computesdk-*'; find /usr/local -name '.computesdk-*'").await;
    assert_eq!(left.stdout, "");
}

async fn what_cannot_go_there_stays_where_it_is(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "cd /tmp; touch file; mkdir -p dir/sub; mkdir shut; chmod 555 shut").await;
    let before = tree(&sandbox, "/tmp").await;
    let not_mine: &[_] = match at.lacks("one_user") {
        None => &["/usr/bin/not-there", "/tmp/shut/file"],
        Some(_) => &[],
    };
    for from in ["/tmp/file", "/tmp/dir"] {
        for &to in ["/proc/file", "/proc/self/x", "/dev/file"].iter().chain(not_mine) {
            let error = refused(&sandbox, from, to).await;
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{from} to {to}: {error}");
            assert!(error.message().contains(to), "{error}");
        }
    }
    assert_eq!(tree(&sandbox, "/tmp").await, before);
}
