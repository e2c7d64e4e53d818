//! When an interpreter is up, and when it is not.

use std::collections::BTreeMap;
use std::time::Duration;

use computesdk::code::Language;
use computesdk::command::RunOptions;
use computesdk::error::ErrorKind;
use computesdk::provider::{Command, CreateRequest, Resources};
use computesdk::providers::local::{Config, Warm, When};

use crate::harness::{At, Case, cases, eventually, sh, soon};
use crate::{always, is_warm, never, python, run, until_warm, with};

pub(super) const CASES: &[Case] = cases![
    an_interpreter_is_warmed_after_the_first_code,
    a_run_is_a_command_with_a_tree_that_is_killed,
    a_run_is_signalled,
    variables_that_are_read_at_the_start_are_honoured,
    what_is_installed_meanwhile_is_there,
    another_python_on_the_path_is_the_one_that_runs,
    few_processes_are_for_commands,
    what_waits_makes_room_for_what_runs,
    modules_are_there_before_they_are_asked_for,
    impossible_modules_are_refused_by_name,
    a_directory_that_is_not_there_is_an_error,
    long_code_and_large_environments_run,
];

async fn an_interpreter_is_warmed_after_the_first_code(at: At) {
    let sandbox = at.sandbox().await;
    // Nothing waits where nobody has asked.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(sh(&sandbox, "cat /proc/[0-9]*/comm | grep -c python").await.stdout, "0\n");
    assert!(!is_warm(&sandbox).await);
    until_warm(&sandbox).await;
    assert!(!is_warm(&*never().await).await);
    // It is nobody's process.
    assert!(sandbox.processes().await.unwrap().is_empty());
}

async fn a_run_is_a_command_with_a_tree_that_is_killed(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    let code = "import subprocess\nsubprocess.Popen(['setsid', 'sleep', '4711'])\nprint('up', flush=True)\nwhile True: pass";
    let options = RunOptions { timeout: Some(Duration::from_millis(500)), ..RunOptions::default() };
    let run = sandbox.run_code(code, Some(Language::Python), Command::default(), options).await.unwrap();
    assert!(run.output.timed_out);
    assert_eq!((run.output.exit_code, run.output.stdout.as_str()), (124, "up\n"));
    eventually("the tree is gone", Duration::from_secs(2), async || {
        sh(&sandbox, "grep -l 471[1] /proc/[0-9]*/cmdline").await.stdout.is_empty()
    })
    .await;
    until_warm(&sandbox).await;
}

async fn a_run_is_signalled(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    let code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\nprint('up', flush=True)\ntime.sleep(20)";
    let (_, process) = sandbox
        .spawn_code(code, Some(Language::Python), Command::default(), RunOptions::default())
        .await
        .unwrap();
    assert!(sandbox.processes().await.unwrap().iter().any(|one| one.pid() == process.pid()));
    eventually("it listens", Duration::from_secs(5), async || {
        sh(&sandbox, format!("grep -q 'SigCgt:.*4[0-9a-f][0-9a-f][0-9a-f]$' /proc/{}/status", process.pid()))
            .await
            .exit_code
            == 0
    })
    .await;
    process.control().signal(15).await.unwrap();
    let output = soon("it ends", Duration::from_secs(2), process.wait()).await.unwrap();
    assert_eq!(output.exit_code, 9, "{}", output.stderr);
}

async fn variables_that_are_read_at_the_start_are_honoured(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    for (name, value, code, seen) in [
        ("PYTHONHASHSEED", "0", "import sys; print(sys.flags.hash_randomization)", "0\n"),
        ("PYTHONPATH", "/srv/mine", "import sys; print(sys.path[1])", "/srv/mine\n"),
        ("PYTHONUNBUFFERED", "1", "import sys; print(sys.stdout.write_through)", "True\n"),
        ("TZ", "Asia/Tokyo", "import time; print(time.timezone)", "-32400\n"),
        ("HOME", "/tmp", "import site; print(site.USER_BASE)", "/tmp/.local\n"),
    ] {
        let command =
            Command { env: BTreeMap::from([(name.to_owned(), value.to_owned())]), ..Command::default() };
        assert_eq!(run(&sandbox, code, None, command).await.stdout, seen, "{name}");
    }
    until_warm(&sandbox).await;
}

async fn what_is_installed_meanwhile_is_there(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    // Where packages of the user go is not there before the first of them.
    python(
        &sandbox,
        "import site, os\np = site.getusersitepackages()\nos.makedirs(p)\nopen(p + '/mine.py', 'w').write('x = 1')",
    )
    .await;
    let import = "import mine; print(mine.x)";
    assert_eq!(python(&sandbox, import).await.stdout, "1\n");
    assert_eq!(python(&sandbox, import).await.stdout, "1\n");
    let path = "import site, os\np = site.getusersitepackages()\nopen(p + '/mine.pth', 'w').write('/srv/pth')\nos.makedirs('/srv/pth')\nopen('/srv/pth/other.py', 'w').write('x = 2')";
    python(&sandbox, path).await;
    assert_eq!(python(&sandbox, "import other; print(other.x)").await.stdout, "2\n");
    until_warm(&sandbox).await;
    assert_eq!(python(&sandbox, "import other, mine; print(other.x + mine.x)").await.stdout, "3\n");
}

async fn another_python_on_the_path_is_the_one_that_runs(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    sh(&sandbox, "mkdir -p ~/.local/bin; printf '#!/bin/sh\\necho mine' > ~/.local/bin/python3; chmod +x ~/.local/bin/python3").await;
    assert_eq!(python(&sandbox, "print(1)").await.stdout, "mine\n");
    assert_eq!(python(&sandbox, "print(1)").await.stdout, "mine\n");
    sh(&sandbox, "rm ~/.local/bin/python3").await;
    assert_eq!(python(&sandbox, "print(1)").await.stdout, "1\n");
}

async fn few_processes_are_for_commands(_: At) {
    let config = Config { warm: Warm { python: When::Always, ..Warm::default() }, ..Config::default() };
    let resources = Resources { processes: Some(4), ..Resources::default() };
    let sandbox = with(config, CreateRequest { resources, ..CreateRequest::default() }).await;
    for _ in 0..3 {
        assert!(!is_warm(&sandbox).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn what_waits_makes_room_for_what_runs(_: At) {
    let config = Config { warm: Warm { python: When::Always, ..Warm::default() }, ..Config::default() };
    let resources = Resources { processes: Some(16), ..Resources::default() };
    let sandbox = with(config, CreateRequest { resources, ..CreateRequest::default() }).await;
    until_warm(&sandbox).await;
    // All that there is, but for what waits.
    let fill = "import os, time\nn = 0\ntry:\n  while True:\n    if os.fork() == 0: time.sleep(60); os._exit(0)\n    n += 1\nexcept OSError: print(n, flush=True)\ntime.sleep(60)";
    let (_, process) = sandbox
        .spawn_code(fill, Some(Language::Python), Command::default(), RunOptions::default())
        .await
        .unwrap();
    eventually("it is full", Duration::from_secs(5), async || {
        sandbox.run_command(crate::harness::shell("true"), RunOptions::default()).await.is_ok()
    })
    .await;
    process.control().kill().await.unwrap();
    eventually("there is room", Duration::from_secs(5), async || {
        python(&sandbox, "print(1)").await.stdout == "1\n"
    })
    .await;
}

async fn modules_are_there_before_they_are_asked_for(_: At) {
    let sandbox = always(&["json", "xml.dom", "not_there"]).await;
    until_warm(&sandbox).await;
    let code = "import sys; print('json' in sys.modules, 'xml.dom' in sys.modules, 'ctypes' in sys.modules)";
    assert_eq!(python(&sandbox, code).await.stdout, "True True False\n");
    let missing = python(&sandbox, "import not_there").await;
    assert!(
        missing.stderr.ends_with("ModuleNotFoundError: No module named 'not_there'\n"),
        "{}",
        missing.stderr
    );
    // What code hangs onto them is taken down as what it hangs onto others.
    let code = "import json\nclass D:\n    def __del__(self): print('deleted')\njson.mine = D()\nd = D()";
    assert_eq!(python(&sandbox, code).await.stdout, "deleted\ndeleted\n");
    let code = "import sys; print('json' in sys.modules, 'xml.dom' in sys.modules, 'ctypes' in sys.modules)";
    let threads = BTreeMap::from([("OMP_NUM_THREADS".to_owned(), "1".to_owned())]);
    let seen = run(&sandbox, code, None, Command { env: threads, ..Command::default() }).await;
    assert_eq!(seen.stdout, "False False False\n");
}

async fn impossible_modules_are_refused_by_name(_: At) {
    for name in ["", "os; import x", "a..b", "1a", "a.", "--help"] {
        let warm = Warm { python: When::Always, preload: vec![name.to_owned()], ..Warm::default() };
        let at = At(
            std::sync::Arc::new(computesdk::providers::local::Local::new(Config {
                warm,
                ..Config::default()
            })),
            &[],
        );
        let error =
            computesdk::compute::create_at(&at.0, &CreateRequest::default(), false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(&format!("`{name}`")), "{error}");
    }
}

async fn a_directory_that_is_not_there_is_an_error(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    sh(&sandbox, "mkdir /srv/shut && chmod 000 /srv/shut && touch /srv/file").await;
    for cwd in ["/srv/missing", "/srv/file", "/srv/shut"] {
        let command = Command { cwd: Some(cwd.to_owned()), ..Command::default() };
        let run = sandbox.run_code("print(1)", Some(Language::Python), command, RunOptions::default());
        let error = run.await.unwrap_err();
        let cold = never().await;
        sh(&cold, "mkdir /srv/shut && chmod 000 /srv/shut && touch /srv/file").await;
        let command = Command { cwd: Some(cwd.to_owned()), ..Command::default() };
        let run = cold.run_code("print(1)", Some(Language::Python), command, RunOptions::default());
        assert_eq!(error.message(), run.await.unwrap_err().message());
    }
}

async fn long_code_and_large_environments_run(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    let code = format!("import os; print(len('{}'), len(os.environ['LARGE']))", "x".repeat(131_000));
    let env = BTreeMap::from([("LARGE".to_owned(), "y".repeat(100_000))]);
    let output = run(&sandbox, &code, None, Command { env, ..Command::default() }).await;
    assert_eq!(output.stdout, "131000 100000\n", "{}", output.stderr);
}
