//! What code does is the same in an interpreter that was up before and in one that was started for it.

use std::collections::BTreeMap;

use computesdk::command::Output;
use computesdk::provider::Command;

use crate::harness::{At, Case, cases};
use crate::snippets::{ENDS, SEEN, Snippet, USES, WRONG};
use crate::{always, never, python, run, until_warm, without_addresses};

pub(super) const CASES: &[Case] = cases![
    what_code_sees_is_the_same,
    what_goes_wrong_is_told_the_same,
    how_code_ends_is_the_same,
    what_code_uses_is_the_same,
    every_run_begins_anew,
    runs_at_once_have_an_interpreter_each,
    randomness_is_of_each_run,
];

async fn what_code_sees_is_the_same(_: At) {
    assert_alike(&[], SEEN).await;
}

async fn what_goes_wrong_is_told_the_same(_: At) {
    assert_alike(&[], WRONG).await;
}

async fn how_code_ends_is_the_same(_: At) {
    // Modules that were there before go another way.
    assert_alike(&["json", "logging"], ENDS).await;
}

async fn what_code_uses_is_the_same(_: At) {
    assert_alike(&[], USES).await;
}

async fn assert_alike(preload: &[&str], snippets: &[Snippet]) {
    let (warm, cold) = (always(preload).await, never().await);
    let mut differ = Vec::new();
    until_warm(&warm).await;
    for Snippet { code, stdin, env, cwd } in snippets {
        let command = || Command {
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            cwd: cwd.map(str::to_owned),
            ..Command::default()
        };
        let ours = seen(run(&warm, code, *stdin, command()).await);
        let theirs = seen(run(&cold, code, *stdin, command()).await);
        if ours != theirs {
            differ.push(format!("{code}\nwarm: {ours:?}\ncold: {theirs:?}\n"));
        }
        // What a snippet leaves in its sandbox must not make the next one cold.
        until_warm(&warm).await;
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

/// All that is seen of a run, but for where in memory things are.
fn seen(output: Output) -> (String, String, i32, Option<i32>) {
    let Output { stdout, stderr, exit_code, signal, .. } = output;
    (without_addresses(&stdout), without_addresses(&stderr), exit_code, signal)
}

async fn every_run_begins_anew(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    python(&sandbox, "x = 1; import json, sys, os; json.x = 1; sys.path.append('/x'); os.environ['X'] = '1'")
        .await;
    let seen = python(
        &sandbox,
        "import json, sys, os; print('x' in globals(), hasattr(json, 'x'), '/x' in sys.path, 'X' in os.environ)",
    );
    assert_eq!(seen.await.stdout, "False False False False\n");
    let command =
        Command { env: BTreeMap::from([("SECRET".to_owned(), "s3".to_owned())]), ..Command::default() };
    assert_eq!(run(&sandbox, "import os; print(os.environ['SECRET'])", None, command).await.stdout, "s3\n");
    // Neither later code nor anybody who looks at what waits finds what an earlier run was given.
    let look = "import os, glob\nfor path in glob.glob('/proc/[0-9]*/environ'):\n  try: print('s3' in open(path).read())\n  except OSError: pass\nprint(os.environ.get('SECRET'))";
    let seen = python(&sandbox, look).await.stdout;
    assert!(!seen.contains("True") && seen.ends_with("None\n"), "{seen}");
}

async fn runs_at_once_have_an_interpreter_each(_: At) {
    let sandbox = always(&[]).await;
    until_warm(&sandbox).await;
    let runs = (0..24).map(|number| {
        let sandbox = &sandbox;
        async move {
            let code = format!("import time; time.sleep(0.05); x = {number}; print(x)");
            assert_eq!(python(sandbox, &code).await.stdout, format!("{number}\n"));
        }
    });
    futures_util::future::join_all(runs).await;
    until_warm(&sandbox).await;
}

async fn randomness_is_of_each_run(_: At) {
    let sandbox = always(&["random", "uuid", "secrets", "tempfile"]).await;
    until_warm(&sandbox).await;
    let code = "import random, uuid, secrets, tempfile\nprint(random.random(), uuid.uuid4(), secrets.token_hex(), tempfile.mktemp())";
    let (one, other) = (python(&sandbox, code).await.stdout, python(&sandbox, code).await.stdout);
    for (one, other) in one.split_whitespace().zip(other.split_whitespace()) {
        assert_ne!(one, other);
    }
    assert_eq!(one.split_whitespace().count(), 4);
}
