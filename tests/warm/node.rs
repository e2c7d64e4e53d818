//! Node.js that was up before there is code for it: code is the same, and what waits harms nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use computesdk::code::Language;
use computesdk::command::{Output, RunOptions};
use computesdk::process::Process;
use computesdk::provider::{ByteStream, Command, CreateRequest, Program, Resources};
use computesdk::providers::local::{Config, Warm, When};
use computesdk::sandbox::Sandbox;
use futures_util::stream;

use crate::harness::{At, Case, Lent, cases, eventually, sh, soon};
use crate::scripts::{ENDS, GIVEN, LEFT, SEEN, USES, WRONG};
use crate::snippets::Snippet;
use crate::{never, with, without_addresses};

pub(super) const CASES: &[Case] = cases![
    what_a_script_sees_is_the_same,
    what_a_script_is_given_is_the_same,
    what_goes_wrong_with_a_script_is_told_the_same,
    how_a_script_ends_is_the_same,
    what_a_script_uses_is_the_same,
    what_cannot_be_the_same_is_left,
    a_node_is_warmed_after_the_first_script,
    both_languages_are_warm,
    every_script_has_a_node_of_its_own,
    scripts_at_once_run_once_each,
    variables_that_node_reads_at_the_start_are_honoured,
    another_node_on_the_path_is_the_one_that_runs,
    little_room_is_for_commands,
    what_waits_gives_way,
    a_script_is_a_command_with_a_tree_that_is_killed,
    a_directory_that_cannot_be_entered_is_an_error,
    long_scripts_run,
    who_kills_what_waits_makes_scripts_start_cold,
    who_stops_what_waits_holds_no_script_up,
    an_impostor_gains_nothing,
];

const SOON: Duration = Duration::from_secs(10);
/// The limit by which the kernel shows what waits (`RLIMIT_RTTIME`).
const MARK: u64 = (1 << 41) + 1;

/// A sandbox that has a Node.js from the beginning.
async fn always() -> Lent {
    let warm = Warm { node: When::Always, ..Warm::default() };
    with(Config { warm, ..Config::default() }, CreateRequest::default()).await
}

/// The process that waits, if one does.
async fn waiting(sandbox: &Sandbox) -> Option<u32> {
    // What has not come yet still has its text for an argument.
    let look = format!(
        "for p in $(grep -ls {MARK} /proc/[0-9]*/limits); do p=${{p%/limits}}; grep -qas writeSync $p/cmdline || echo ${{p#/proc/}}; done"
    );
    sh(sandbox, look).await.stdout.trim().parse().ok()
}

async fn until_waiting(sandbox: &Sandbox) -> u32 {
    let mut pid = None;
    eventually("a Node.js waits", SOON, async || {
        // What looks takes time, and a Node.js is started when nobody does.
        tokio::time::sleep(Duration::from_millis(10)).await;
        pid = waiting(sandbox).await;
        pid.is_some()
    })
    .await;
    // It is seen a moment before process 1 has heard of it.
    tokio::time::sleep(Duration::from_millis(30)).await;
    pid.unwrap()
}

async fn begin(sandbox: &Sandbox, snippet: &Snippet) -> Arc<Process> {
    let Snippet { code, stdin, env, cwd } = snippet;
    let command = Command {
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        cwd: cwd.map(str::to_owned),
        ..Command::default()
    };
    let stdin =
        stdin.map(|text| -> ByteStream { Box::pin(stream::iter([Ok(Bytes::from_static(text.as_bytes()))])) });
    let options = RunOptions { stdin, timeout: Some(Duration::from_secs(20)), ..RunOptions::default() };
    sandbox.spawn_code(code, Some(Language::Node), command, options).await.unwrap().1
}

/// Runs a script to its end, and tells whether it was in a Node.js that waited.
async fn script(sandbox: &Sandbox, snippet: &Snippet) -> (Output, bool) {
    let pid = waiting(sandbox).await;
    let process = begin(sandbox, snippet).await;
    let was_warm = Some(process.pid()) == pid;
    (process.wait().await.unwrap(), was_warm)
}

async fn node(sandbox: &Sandbox, code: &'static str) -> (Output, bool) {
    script(sandbox, &crate::snippets::plain(code)).await
}

async fn what_a_script_sees_is_the_same(_: At) {
    assert_alike(SEEN, true).await;
}

async fn what_a_script_is_given_is_the_same(_: At) {
    assert_alike(GIVEN, true).await;
}

async fn what_goes_wrong_with_a_script_is_told_the_same(_: At) {
    assert_alike(WRONG, true).await;
}

async fn how_a_script_ends_is_the_same(_: At) {
    assert_alike(ENDS, true).await;
}

async fn what_a_script_uses_is_the_same(_: At) {
    assert_alike(USES, true).await;
}

async fn what_cannot_be_the_same_is_left(_: At) {
    assert_alike(LEFT, false).await;
}

async fn assert_alike(snippets: &[Snippet], warm: bool) {
    let (sandbox, cold) = (always().await, never().await);
    let mut differ = Vec::new();
    for snippet in snippets {
        let (theirs, pid) = tokio::join!(begin(&cold, snippet), until_waiting(&sandbox));
        let theirs = theirs.wait().await.unwrap();
        let ours = begin(&sandbox, snippet).await;
        let was_warm = ours.pid() == pid;
        let ours = ours.wait().await.unwrap();
        let (ours, theirs) = (seen(ours), seen(theirs));
        if ours != theirs || was_warm != warm {
            differ.push(format!("{}\nwarm: {ours:?}, {was_warm}\ncold: {theirs:?}\n", snippet.code));
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

/// All that is seen of a run, but for the functions of Node.js' own that called the code, process ids, and where in
/// memory things are.
fn seen(output: Output) -> (String, String, i32, Option<i32>) {
    let is_caller = |line: &&str| {
        let line = line.trim_start();
        let numbered = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let is_frame = line.starts_with("at ") || numbered.starts_with(": ");
        let is_own = ["(node:", "at node:", ": node:", "[eval]-wrapper"].iter().any(|own| line.contains(own));
        is_frame && is_own || line.trim_end().ends_with("lines matching cause stack trace ...")
    };
    let without_id = |line: &str| match line.strip_prefix("(node:") {
        Some(rest) => format!("(node:…{}", rest.trim_start_matches(|letter: char| letter.is_ascii_digit())),
        None => line.to_owned(),
    };
    let but = |text: String| -> String {
        text.split_inclusive('\n').filter(|line| !is_caller(line)).map(without_id).collect()
    };
    let Output { stdout, stderr, exit_code, signal, .. } = output;
    (without_addresses(&but(stdout)), without_addresses(&but(stderr)), exit_code, signal)
}

async fn a_node_is_warmed_after_the_first_script(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "true").await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(waiting(&sandbox).await, None, "nobody has asked");
    assert!(!node(&sandbox, "console.log(1)").await.1);
    until_waiting(&sandbox).await;
    let (output, was_warm) = node(&sandbox, "console.log(1)").await;
    assert!(was_warm && output.stdout == "1\n", "{output:?}");
    // It is nobody's process.
    until_waiting(&sandbox).await;
    assert!(sandbox.processes().await.unwrap().is_empty());
}

async fn both_languages_are_warm(_: At) {
    let warm = Warm { python: When::Always, node: When::Always, ..Warm::default() };
    let sandbox = with(Config { warm, ..Config::default() }, CreateRequest::default()).await;
    for _ in 0..3 {
        until_waiting(&sandbox).await;
        crate::until_warm(&sandbox).await;
        assert!(node(&sandbox, "console.log(1)").await.1);
        crate::until_warm(&sandbox).await;
    }
    // One is ended, and the other is not.
    sh(&sandbox, format!("kill -9 {}", until_waiting(&sandbox).await)).await;
    crate::until_warm(&sandbox).await;
}

async fn every_script_has_a_node_of_its_own(_: At) {
    let sandbox = always().await;
    until_waiting(&sandbox).await;
    node(&sandbox, "globalThis.x = 1; require('fs').x = 1; process.env.X = '1'; Array.prototype.x = 1").await;
    until_waiting(&sandbox).await;
    let (output, was_warm) =
        node(&sandbox, "console.log(typeof x, require('fs').x, process.env.X, [].x, Math.random() !== 0)")
            .await;
    assert!(was_warm);
    assert_eq!(output.stdout, "undefined undefined undefined undefined true\n");
    until_waiting(&sandbox).await;
    let random = "console.log(Math.random(), crypto.randomUUID())";
    let one = node(&sandbox, random).await.0.stdout;
    until_waiting(&sandbox).await;
    assert_ne!(one, node(&sandbox, random).await.0.stdout);
}

async fn scripts_at_once_run_once_each(_: At) {
    let sandbox = always().await;
    until_waiting(&sandbox).await;
    let runs = (0..12).map(|number| {
        let sandbox = &sandbox;
        async move {
            let code =
                format!("require('fs').appendFileSync('/tmp/ran', '{number}\\n'); console.log({number})");
            let run =
                sandbox.run_code(&code, Some(Language::Node), Command::default(), RunOptions::default());
            assert_eq!(run.await.unwrap().output.stdout, format!("{number}\n"));
        }
    });
    futures_util::future::join_all(runs).await;
    assert_eq!(sh(&sandbox, "sort -n /tmp/ran | tr '\\n' ' '").await.stdout, "0 1 2 3 4 5 6 7 8 9 10 11 ");
    until_waiting(&sandbox).await;
}

async fn variables_that_node_reads_at_the_start_are_honoured(_: At) {
    let sandbox = always().await;
    let with = |code, env| Snippet { code, stdin: None, env, cwd: None };
    for (snippet, seen) in [
        (
            with(
                "console.log(require('http').maxHeaderSize)",
                &[("NODE_OPTIONS", "--max-http-header-size=9000")],
            ),
            "9000\n",
        ),
        (
            with(
                "console.log(require('module').globalPaths.includes('/srv/mine'))",
                &[("NODE_PATH", "/srv/mine")],
            ),
            "true\n",
        ),
        (with("console.log(new Date(0).getHours())", &[("TZ", "Asia/Tokyo")]), "9\n"),
        (with("console.log(process.listenerCount('warning'))", &[("NODE_NO_WARNINGS", "1")]), "0\n"),
    ] {
        until_waiting(&sandbox).await;
        let (output, was_warm) = script(&sandbox, &snippet).await;
        assert!(!was_warm && output.stdout == seen, "{:?}: {output:?}", snippet.env);
    }
}

async fn another_node_on_the_path_is_the_one_that_runs(_: At) {
    let sandbox = always().await;
    until_waiting(&sandbox).await;
    sh(&sandbox, "mkdir -p ~/.local/bin; printf '#!/bin/sh\\necho mine' > ~/.local/bin/node; chmod +x ~/.local/bin/node").await;
    for _ in 0..3 {
        assert_eq!(node(&sandbox, "console.log(1)").await.0.stdout, "mine\n");
    }
    sh(&sandbox, "rm ~/.local/bin/node").await;
    assert_eq!(node(&sandbox, "console.log(1)").await.0.stdout, "1\n");
}

async fn little_room_is_for_commands(_: At) {
    for resources in [
        Resources { processes: Some(32), ..Resources::default() },
        Resources { memory: Some(192 << 20), ..Resources::default() },
    ] {
        let warm = Warm { node: When::Always, ..Warm::default() };
        let request = CreateRequest { resources, ..CreateRequest::default() };
        let sandbox = with(Config { warm, ..Config::default() }, request).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(waiting(&sandbox).await, None);
    }
}

async fn what_waits_gives_way(_: At) {
    let warm = Warm { node: When::Always, ..Warm::default() };
    let resources = Resources { processes: Some(64), ..Resources::default() };
    let request = CreateRequest { resources, ..CreateRequest::default() };
    let sandbox = with(Config { warm, ..Config::default() }, request).await;
    until_waiting(&sandbox).await;
    let fill = "import os, time\ntry:\n  while True:\n    if os.fork() == 0: time.sleep(60); os._exit(0)\nexcept OSError: open('/tmp/full', 'w')\ntime.sleep(60)";
    let fill = Command {
        program: Program::Args(["python3", "-c", fill].map(str::to_owned).into()),
        ..Command::default()
    };
    let process = sandbox.spawn(fill, RunOptions::default()).await.unwrap();
    eventually("it is full", SOON, async || sandbox.filesystem().exists("/tmp/full").await).await;
    let run = sandbox.run_command(crate::harness::shell("true"), RunOptions::default());
    assert_eq!(run.await.unwrap().exit_code, 0);
    process.control().kill().await.unwrap();
    eventually("there is room for a script", SOON, async || {
        node(&sandbox, "console.log(1)").await.0.stdout == "1\n"
    })
    .await;
}

async fn a_script_is_a_command_with_a_tree_that_is_killed(_: At) {
    let sandbox = always().await;
    let pid = until_waiting(&sandbox).await;
    let code = "require('child_process').spawn('setsid', ['sleep', '4712'], { detached: true, stdio: 'ignore' }); console.log('up'); for (;;);";
    let options = RunOptions { timeout: Some(Duration::from_millis(700)), ..RunOptions::default() };
    let (_, process) =
        sandbox.spawn_code(code, Some(Language::Node), Command::default(), options).await.unwrap();
    assert_eq!(process.pid(), pid);
    let output = process.wait().await.unwrap();
    assert!(output.timed_out && output.stdout == "up\n", "{output:?}");
    eventually("the tree is gone", SOON, async || {
        sh(&sandbox, "grep -l 471[2] /proc/[0-9]*/cmdline").await.stdout.is_empty()
    })
    .await;
    // And one that listens hears a signal.
    let pid = until_waiting(&sandbox).await;
    let code = "process.on('SIGTERM', () => process.exit(9)); setInterval(() => {}, 1000); require('fs').writeFileSync('/tmp/listens', '')";
    let process = begin(&sandbox, &crate::snippets::plain(code)).await;
    assert_eq!(process.pid(), pid);
    eventually("it listens", SOON, async || sh(&sandbox, "test -e /tmp/listens").await.exit_code == 0).await;
    process.control().signal(15).await.unwrap();
    assert_eq!(soon("it ends", SOON, process.wait()).await.unwrap().exit_code, 9);
}

async fn a_directory_that_cannot_be_entered_is_an_error(_: At) {
    let (sandbox, cold) = (always().await, never().await);
    let make = "mkdir /srv/shut && chmod 000 /srv/shut && touch /srv/file";
    sh(&sandbox, make).await;
    sh(&cold, make).await;
    for cwd in ["/srv/missing", "/srv/file", "/srv/shut"] {
        until_waiting(&sandbox).await;
        let error = async |sandbox: &Sandbox| {
            let command = Command { cwd: Some(cwd.to_owned()), ..Command::default() };
            let run = sandbox.run_code("1", Some(Language::Node), command, RunOptions::default());
            run.await.unwrap_err().message().to_owned()
        };
        assert_eq!(error(&sandbox).await, error(&cold).await);
    }
}

async fn long_scripts_run(_: At) {
    let sandbox = always().await;
    for (length, large) in [(60_000, 10), (131_000, 10), (100_000, 100_000)] {
        until_waiting(&sandbox).await;
        let code = format!("console.log('{}'.length, process.env.LARGE.length)", "x".repeat(length));
        let env = BTreeMap::from([("LARGE".to_owned(), "y".repeat(large))]);
        let command = Command { env, ..Command::default() };
        let run = sandbox.run_code(&code, Some(Language::Node), command, RunOptions::default());
        assert_eq!(run.await.unwrap().output.stdout, format!("{length} {large}\n"));
    }
}

async fn who_kills_what_waits_makes_scripts_start_cold(_: At) {
    let sandbox = always().await;
    for _ in 0..8 {
        until_waiting(&sandbox).await;
        sh(&sandbox, "kill -9 -1").await;
        let (output, _) = soon("a script ends", SOON, node(&sandbox, "console.log(1)")).await;
        assert_eq!((output.stdout.as_str(), output.exit_code), ("1\n", 0), "{output:?}");
    }
    // Killed while it is given its run, it has taken it, or another runs it.
    for _ in 0..8 {
        let pid = until_waiting(&sandbox).await;
        let kill = format!("kill -9 {pid}");
        let (_, (output, _)) = tokio::join!(sh(&sandbox, kill), node(&sandbox, "console.log(1)"));
        assert!(output.stdout == "1\n" || output.signal == Some(9), "{output:?}");
    }
}

async fn who_stops_what_waits_holds_no_script_up(_: At) {
    let sandbox = always().await;
    for _ in 0..6 {
        until_waiting(&sandbox).await;
        sh(&sandbox, "kill -STOP -1").await;
        let (output, _) = soon("a script runs", SOON, node(&sandbox, "console.log(1)")).await;
        assert_eq!((output.stdout.as_str(), output.exit_code), ("1\n", 0), "{output:?}");
    }
}

async fn an_impostor_gains_nothing(_: At) {
    let sandbox = always().await;
    until_waiting(&sandbox).await;
    // From now on, whatever waits is a program of the sandbox' own, and so is whatever runs.
    let plant = r#"mkdir -p ~/.local/bin; cat > ~/.local/bin/node <<'END'
#!/usr/bin/python3
import os, socket, sys, time
if 'writeSync' not in sys.argv[2]:
    os.execv('/proc/self/exe', ['python3', '-c', 'print("mine")'])
mode, link = open('/tmp/mode').read(), socket.socket(fileno=3)
if mode == 'much': link.send(b'w' * 60000)
if mode == 'other': link.send(b'x')
if mode == 'hangs': time.sleep(600)
link.send(b'w')
run = link.recv(1 << 18)
if mode == 'declines': link.send(b'n')
if mode == 'silent': time.sleep(600)
if mode == 'closes': link.close(); time.sleep(600)
if mode == 'stops': os.kill(os.getpid(), 19)
if mode == 'twice': link.send(b'r'); link.send(b'r'); link.send(b'w'); print('taken')
if mode == 'forks' and os.fork() == 0: link.send(b'r'); time.sleep(600)
END
chmod +x ~/.local/bin/node"#;
    sh(&sandbox, plant).await;
    for mode in ["much", "other", "hangs", "declines", "silent", "closes", "stops", "twice", "forks", "ends"]
    {
        sh(&sandbox, format!("echo -n {mode} > /tmp/mode")).await;
        for _ in 0..4 {
            let run = async {
                let options = RunOptions { timeout: Some(Duration::from_secs(4)), ..RunOptions::default() };
                sandbox.run_code("1", Some(Language::Node), Command::default(), options).await.unwrap().output
            };
            let output = soon("a script ends", SOON, run).await;
            assert!(["mine\n", "taken\n", ""].contains(&output.stdout.as_str()), "{mode}: {output:?}");
            assert!(!output.stdout.is_empty() || mode == "forks" || mode == "twice", "{mode}: {output:?}");
            let output = soon("commands run", SOON, sh(&sandbox, "echo here")).await;
            assert_eq!(output.stdout, "here\n", "{mode}");
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
    sh(&sandbox, "rm ~/.local/bin/node").await;
    assert_eq!(soon("a script runs", SOON, node(&sandbox, "console.log(1)")).await.0.stdout, "1\n");
}
