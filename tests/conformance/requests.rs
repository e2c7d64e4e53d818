//! What comes of requests in real sandboxes: all actions, and the limits of what they run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use computesdk::compute::{Compute, Settings};
use computesdk::request::{Body, Events, Handler, Head, Open, Policy, Request};
use computesdk::sandbox::Sandbox;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::commands::assert_gone;
use crate::harness::{At, Case, cases, eventually, pace, sh};

pub(super) const CASES: &[Case] = cases![
    every_action_does_what_it_says,
    what_fails_in_a_command_is_a_result,
    a_command_ends_with_its_time if kill,
    output_is_kept_to_its_limit,
    a_command_ends_with_its_client if kill,
    what_goes_on_in_the_background_outlives_its_request if kill,
    many_requests_at_once,
    so_many_commands_run_at_once_and_no_more,
    what_a_command_writes_is_told_as_it_comes,
    a_command_ends_with_its_reader if kill,
];

fn handler(at: &At, change: impl FnOnce(&mut Policy)) -> Arc<Handler> {
    let mut policy = Policy::default();
    change(&mut policy);
    let compute = Compute::new(Settings { providers: vec![Arc::clone(&at.0)], ..Settings::default() });
    Arc::new(Handler::new(Arc::new(compute), policy))
}

async fn ask(handler: &Arc<Handler>, body: Value) -> Value {
    ask_until(handler, body, CancellationToken::new()).await
}

async fn ask_until(handler: &Arc<Handler>, body: Value, cancel: CancellationToken) -> Value {
    let request = Request { head: None, body: Body::Whole(body.to_string().into()), cancel };
    let answer = handler.answer(request, Arc::new(Open)).await;
    serde_json::from_str(&answer.body.unwrap()).unwrap()
}

/// A command, in a sandbox.
fn command(sandbox: &Sandbox, command: &str, options: Value) -> Value {
    json!({
        "action": "compute.sandbox.runCommand", "sandboxId": sandbox.id(), "command": command,
        "commandOptions": options,
    })
}

async fn every_action_does_what_it_says(at: At) {
    let handler = handler(&at, |_| {});
    let made =
        ask(&handler, json!({ "action": "compute.sandbox.create", "options": { "timeout": 60_000 } })).await;
    let id = made["sandboxId"].as_str().unwrap();
    assert_eq!(made, json!({ "success": true, "sandboxId": id, "provider": at.0.name(), "status": 200 }));
    let does = async |action: &str, more: Value| {
        let mut body = json!({ "action": format!("compute.sandbox.{action}"), "sandboxId": id });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut answer = ask(&handler, body).await;
        assert_eq!(answer["success"], true, "{action}: {answer}");
        answer
            .as_object_mut()
            .unwrap()
            .retain(|key, _| !["success", "sandboxId", "provider", "status"].contains(&key.as_str()));
        answer
    };
    let file = json!({ "path": "/data/a.txt", "content": "caf\u{e9}\n" });
    assert_eq!(does("filesystem.writeFile", file.clone()).await, json!({}));
    assert_eq!(does("filesystem.readFile", file.clone()).await, json!({ "fileContent": "caf\u{e9}\n" }));
    assert_eq!(does("filesystem.mkdir", json!({ "path": "/data/b" })).await, json!({}));
    let files = does("filesystem.readdir", json!({ "path": "/data" })).await;
    assert_eq!(files["files"][0]["name"], "a.txt");
    assert_eq!(files["files"][0]["size"], 6);
    assert!(files["files"][0]["modified"].as_str().unwrap().ends_with('Z'));
    assert_eq!(files["files"][1]["type"], "directory");
    assert_eq!(does("filesystem.exists", file.clone()).await, json!({ "exists": true }));
    assert_eq!(does("filesystem.remove", file.clone()).await, json!({}));
    assert_eq!(does("filesystem.exists", file).await, json!({ "exists": false }));

    let ran = does(
        "runCommand",
        json!({ "command": "echo $A; pwd", "commandOptions": { "cwd": "/tmp", "env": { "A": "b" } } }),
    )
    .await;
    assert_eq!(ran["result"]["stdout"], "b\n/tmp\n");
    let exact = does("runCommand", json!({ "command": "echo", "args": ["$A", "a  b"] })).await;
    assert_eq!(exact["result"]["stdout"], "$A a  b\n");
    let code = does("runCode", json!({ "code": "print(1 + 1)" })).await;
    assert_eq!((&code["result"]["output"], &code["result"]["language"]), (&json!("2\n"), &json!("python")));
    let code = does("runCode", json!({ "code": "console.log(1 + 1)", "runtime": "node" })).await;
    assert_eq!(code["result"]["language"], "node");

    let info = does("getInfo", json!({})).await;
    assert_eq!((&info["info"]["id"], &info["info"]["timeout"]), (&json!(id), &json!(60_000)));
    let url = does("getUrl", json!({ "port": 8080 })).await;
    assert!(url["url"].as_str().unwrap().starts_with("http"));
    assert_eq!(does("destroy", json!({})).await, json!({}));
    assert_eq!(does("destroy", json!({})).await, json!({}));
    let gone = ask(&handler, json!({ "action": "compute.sandbox.getInfo", "sandboxId": id })).await;
    assert_eq!((&gone["status"], &gone["error"]), (&json!(404), &json!(format!("Sandbox not found: {id}"))));
}

async fn what_fails_in_a_command_is_a_result(at: At) {
    let (sandbox, handler) = (at.sandbox().await, handler(&at, |_| {}));
    let failed = ask(&handler, command(&sandbox, "echo out; echo err >&2; exit 3", json!({}))).await;
    assert_eq!((&failed["success"], &failed["result"]["exitCode"]), (&json!(true), &json!(3)));
    assert_eq!(
        (&failed["result"]["stdout"], &failed["result"]["stderr"]),
        (&json!("out\n"), &json!("err\n"))
    );
    let killed = ask(&handler, command(&sandbox, "kill -9 $$", json!({}))).await;
    assert_eq!(
        (&killed["result"]["exitCode"], &killed["result"]["signal"]),
        (&json!(137), &json!("SIGKILL"))
    );
    let nowhere = ask(&handler, command(&sandbox, "true", json!({ "cwd": "/nowhere" }))).await;
    assert_eq!((&nowhere["status"], &nowhere["code"]), (&json!(404), &json!("NOT_FOUND")));
    let broken = json!({
        "action": "compute.sandbox.runCode", "sandboxId": sandbox.id(), "code": "def f(:", "runtime": "python",
    });
    let broken = ask(&handler, broken).await;
    assert_eq!((&broken["status"], &broken["code"]), (&json!(422), &json!("CODE_SYNTAX")));
    assert!(broken["error"].as_str().unwrap().starts_with("Syntax error"));
}

async fn a_command_ends_with_its_time(at: At) {
    let sandbox = at.sandbox().await;
    let handler = handler(&at, |policy| policy.limits.action = Duration::from_millis(500));
    let begun = Instant::now();
    for options in [json!({}), json!({ "timeout": 60_000 }), json!({ "timeout": 100 })] {
        let answer = ask(&handler, command(&sandbox, "echo begun; sleep 321 & sleep 321", options)).await;
        let result = &answer["result"];
        assert_eq!((&result["timedOut"], &result["exitCode"]), (&json!(true), &json!(124)), "{answer}");
        assert_eq!(result["stdout"], "begun\n");
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_gone(&sandbox, "sleep 321").await;
}

async fn output_is_kept_to_its_limit(at: At) {
    let (sandbox, handler) = (at.sandbox().await, handler(&at, |_| {}));
    let answer = ask(&handler, command(&sandbox, "head -c 3000000 /dev/zero | tr '\\0' a", json!({}))).await;
    assert_eq!(answer["result"]["stdout"].as_str().unwrap().len(), 1 << 20);
    assert_eq!((&answer["result"]["truncated"], &answer["result"]["exitCode"]), (&json!(true), &json!(0)));
}

async fn a_command_ends_with_its_client(at: At) {
    let (sandbox, handler) = (at.sandbox().await, handler(&at, |_| {}));
    let cancel = CancellationToken::new();
    let body = command(&sandbox, "sleep 432 & sleep 432", json!({}));
    let (answer, ()) = tokio::join!(ask_until(&handler, body, cancel.clone()), async {
        let begun = async || sh(&sandbox, "pgrep -fcx 'sleep 432'").await.stdout != "0\n";
        eventually("it has begun", Duration::from_secs(10), begun).await;
        cancel.cancel();
    });
    assert_eq!((&answer["status"], &answer["code"]), (&json!(499), &json!("ABORTED")));
    assert_gone(&sandbox, "sleep 432").await;
}

async fn what_goes_on_in_the_background_outlives_its_request(at: At) {
    let sandbox = at.sandbox().await;
    let handler = handler(&at, |policy| policy.limits.action = Duration::from_millis(200) * pace());
    let cancel = CancellationToken::new();
    let body = command(&sandbox, "sleep 2; touch /tmp/done", json!({ "background": true }));
    let answer = ask_until(&handler, body, cancel.clone()).await;
    assert_eq!((&answer["result"]["isBackground"], &answer["result"]["exitCode"]), (&json!(true), &json!(0)));
    assert!(answer["result"]["pid"].as_u64().unwrap() > 0);
    cancel.cancel();
    let is_done = async || sandbox.filesystem().exists("/tmp/done").await;
    eventually("it is done", Duration::from_secs(10), is_done).await;
    let limited = command(&sandbox, "sleep 543", json!({ "background": true, "timeout": 100 }));
    ask(&handler, limited).await;
    let is_gone = async || sh(&sandbox, "pgrep -fcx 'sleep 543'").await.stdout == "0\n";
    eventually("its own time has ended it", Duration::from_secs(10), is_gone).await;
}

async fn many_requests_at_once(at: At) {
    let (sandbox, handler) = (at.sandbox().await, handler(&at, |_| {}));
    let asked = (0..100).map(|number| ask(&handler, command(&sandbox, &format!("echo {number}"), json!({}))));
    for (number, answer) in join_all(asked).await.into_iter().enumerate() {
        assert_eq!(answer["result"]["stdout"], format!("{number}\n"), "{answer}");
    }
}

async fn so_many_commands_run_at_once_and_no_more(at: At) {
    let sandbox = at.sandbox().await;
    let handler = handler(&at, |policy| policy.limits.concurrent = 2);
    // Each waits, for a second at most, until there are more than two of it, and tells whether it has seen that.
    let line = "mkdir /tmp/at/$$; for i in $(seq 20); do \
        test $(ls /tmp/at | wc -l) -gt 2 && echo many; sleep 0.05; done; rmdir /tmp/at/$$";
    sh(&sandbox, "mkdir /tmp/at").await;
    let begun = Instant::now();
    for answer in join_all((0..6).map(|_| ask(&handler, command(&sandbox, line, json!({}))))).await {
        assert_eq!(answer["result"]["stdout"], "", "{answer}");
    }
    assert!(begun.elapsed() > Duration::from_secs(3));
}

/// The events of a command.
async fn events(handler: &Arc<Handler>, body: Value) -> Events {
    let head = Head {
        method: "POST".to_owned(),
        content_type: Some("application/json".to_owned()),
        accept: Some("text/event-stream".to_owned()),
        ..Head::default()
    };
    let request =
        Request { head: Some(head), body: Body::Whole(body.to_string().into()), ..Request::default() };
    handler.answer(request, Arc::new(Open)).await.events.expect("it comes as it happens")
}

async fn what_a_command_writes_is_told_as_it_comes(at: At) {
    let (sandbox, handler) = (at.sandbox().await, handler(&at, |_| {}));
    let body = command(&sandbox, "echo on; sleep 1; echo off; exit 3", json!({}));
    let mut told = events(&handler, body).await;
    let mut texts = Vec::new();
    while let Some(event) = told.next().await {
        texts.push(event.text);
    }
    texts.retain(|text| !text.starts_with(':'));
    let (last, written) = texts.split_last().unwrap();
    assert_eq!(written.iter().filter(|text| text.starts_with("event: stdout\n")).count(), written.len());
    assert!(written.concat().contains("on\\n") && written.concat().contains("off\\n"), "{texts:?}");
    assert!(
        last.starts_with("event: result\ndata: {\"success\":true") && last.contains("\"exitCode\":3"),
        "{last}"
    );
}

async fn a_command_ends_with_its_reader(at: At) {
    let (sandbox, handler) = (at.sandbox().await, handler(&at, |_| {}));
    let body = command(&sandbox, "sleep 433 & echo on; sleep 433", json!({}));
    let mut told = events(&handler, body).await;
    let begun = async || sh(&sandbox, "pgrep -fcx 'sleep 433'").await.stdout != "0\n";
    eventually("it has begun", Duration::from_secs(10), begun).await;
    assert!(told.next().await.is_some());
    drop(told);
    assert_gone(&sandbox, "sleep 433").await;
}
