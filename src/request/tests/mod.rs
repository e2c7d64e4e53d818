//! The handler over a provider that keeps its sandboxes in memory: what is refused, told, hidden, and whose a sandbox
//! is. What sandboxes do is in `tests/conformance/requests.rs`.

mod create;
pub(crate) mod memory;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::memory::{At, Memory};
use super::create::CLIENT_OPTIONS;
use super::{Admission, Answer, Body, Gate, Handler, Head, Limits, OWNER, Open, Policy, Request};
use crate::compute::{Compute, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{CreateRequest, Network, Provider};

/// A handler, with what it works on.
struct Bench {
    handler: Arc<Handler>,
    memory: Arc<Memory>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Memory::default(), |_| {})
    }

    fn with(memory: Memory, change: impl FnOnce(&mut Policy)) -> Self {
        let memory = Arc::new(memory);
        let mut policy = Policy::default();
        change(&mut policy);
        let providers = vec![Arc::new(At(Arc::clone(&memory))) as Arc<dyn Provider>];
        let compute = Compute::new(Settings { providers, ..Settings::default() });
        Self { handler: Arc::new(Handler::new(Arc::new(compute), policy)), memory }
    }

    /// The answer to a body, its status among it.
    async fn ask(&self, body: Value) -> Value {
        self.ask_as(Arc::new(Open), body).await
    }

    async fn ask_as(&self, gate: Arc<dyn Gate>, body: Value) -> Value {
        let request = Request { body: Body::Whole(body.to_string().into()), ..Request::default() };
        told(self.handler.answer(request, gate).await)
    }

    async fn ask_text(&self, text: impl Into<Bytes>) -> Value {
        let request = Request { body: Body::Whole(text.into()), ..Request::default() };
        told(self.handler.answer(request, Arc::new(Open)).await)
    }

    fn last_asked(&self) -> CreateRequest {
        self.memory.asked.lock().unwrap().last().unwrap().clone()
    }
}

/// What the client is told; the status in it is that of the answer.
fn told(answer: Answer) -> Value {
    let body: Value = serde_json::from_str(&answer.body.unwrap()).unwrap();
    assert_eq!(body["status"], answer.status);
    assert_eq!(body["success"], answer.status == 200);
    assert_eq!(answer.failure.is_some(), answer.status != 200);
    body
}

fn refusal(body: &Value) -> (u64, &str, &str) {
    (body["status"].as_u64().unwrap(), body["code"].as_str().unwrap(), body["error"].as_str().unwrap())
}

/// Everybody is who they say.
struct Named(&'static str);

#[async_trait]
impl Gate for Named {
    async fn admit(&self, _: &'static str, _: Option<&str>) -> Result<Admission> {
        Ok(Admission::Owner(self.0.to_owned()))
    }
}

/// A gate that has its own troubles.
struct Closed(fn() -> Result<Admission>);

#[async_trait]
impl Gate for Closed {
    async fn admit(&self, _: &'static str, _: Option<&str>) -> Result<Admission> {
        (self.0)()
    }
}

const CREATE: &str = "compute.sandbox.create";
const LIST: &str = "compute.sandbox.list";
const DESTROY: &str = "compute.sandbox.destroy";
const INFO: &str = "compute.sandbox.getInfo";
const URL: &str = "compute.sandbox.getUrl";
const COMMAND: &str = "compute.sandbox.runCommand";
const CODE: &str = "compute.sandbox.runCode";

#[tokio::test]
async fn every_text_is_as_documented() {
    let bench = Bench::new();
    bench.ask(json!({ "action": CREATE })).await;
    for (body, status, message) in [
        (json!({}), 400, "action is required"),
        (json!({ "action": null }), 400, "action is required"),
        (json!({ "action": "" }), 400, "action is required"),
        (json!({ "action": 1 }), 400, "`action` must be a string, got a number"),
        (json!({ "action": "compute.sandbox.explode" }), 400, "Unknown action: compute.sandbox.explode"),
        (json!({ "action": "constructor" }), 400, "Unknown action: constructor"),
        (json!({ "action": CREATE, "colour": "red" }), 400, "Unknown field: colour"),
        (json!({ "action": LIST }), 403, "The action compute.sandbox.list is not allowed"),
        (json!({ "action": DESTROY }), 400, "sandboxId is required for destroy action"),
        (json!({ "action": INFO }), 400, "sandboxId is required for this action"),
        (json!({ "action": INFO, "sandboxId": "" }), 400, "sandboxId is required for this action"),
        (json!({ "action": COMMAND }), 400, "sandboxId is required for this action"),
        (json!({ "action": COMMAND, "sandboxId": "box-0" }), 400, "command is required"),
        (json!({ "action": CODE, "sandboxId": "box-0", "code": "" }), 400, "code is required"),
        (json!({ "action": URL, "sandboxId": "box-0" }), 400, "port is required"),
        (json!({ "action": file("readFile"), "sandboxId": "box-0" }), 400, "path is required"),
        (
            json!({ "action": file("writeFile"), "sandboxId": "box-0", "content": "" }),
            400,
            "path is required",
        ),
        (
            json!({ "action": file("writeFile"), "sandboxId": "box-0", "path": "/a" }),
            400,
            "content is required",
        ),
        (json!({ "action": file("exists"), "sandboxId": "box-0" }), 400, "path is required"),
        (json!({ "action": INFO, "sandboxId": "nobody" }), 404, "Sandbox not found: nobody"),
    ] {
        let answer = bench.ask(body.clone()).await;
        let (found, _, error) = refusal(&answer);
        assert_eq!((found, error), (status, message), "{body}");
    }
}

fn file(name: &str) -> String {
    format!("compute.sandbox.filesystem.{name}")
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let bench = Bench::new();
    for text in ["", "{", "{]", "{'action': 1}", "{\"action\":\"a\"} x", "nul", "\u{1}", "{\"a\":01}"] {
        let answer = bench.ask_text(text).await;
        assert_eq!(refusal(&answer), (400, "INVALID_ARGUMENT", "Invalid JSON in request body"), "{text}");
    }
    let answer = bench.ask_text(&b"{\"action\":\"\xff\"}"[..]).await;
    assert_eq!(refusal(&answer).2, "Invalid JSON in request body");
    for text in ["[]", "1", "\"compute.sandbox.create\"", "null", "true"] {
        let answer = bench.ask_text(text).await;
        assert_eq!(refusal(&answer).2, "The request body must be a JSON object", "{text}");
    }
    let marked = format!("\u{FEFF}{}", json!({ "action": CREATE }));
    assert_eq!(bench.ask_text(marked).await["success"], true);
}

#[tokio::test]
async fn depth_is_limited_wherever_it_is() {
    let bench = Bench::new();
    for depth in [33, 100_000] {
        let deep = format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        // A key that the action does not use is no hiding place.
        let answer = bench.ask_text(format!("{{\"action\":\"{CREATE}\",\"args\":{deep}}}")).await;
        assert_eq!(refusal(&answer).2, "The request body is nested too deeply: 32 levels at most");
    }
    let shallow = "[".repeat(40) + "\\\"" + &"{".repeat(40);
    assert_eq!(bench.ask(json!({ "action": CREATE, "content": shallow })).await["success"], true);
}

#[tokio::test]
async fn keys_that_mean_something_in_javascript_mean_nothing_here() {
    let bench = Bench::new();
    for key in ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"] {
        let at_top = bench.ask_text(format!("{{\"action\":\"{CREATE}\",\"{key}\":{{\"a\":1}}}}")).await;
        assert_eq!(refusal(&at_top).2, format!("Unknown field: {key}"));
        let nested = bench.ask(json!({ "action": CREATE, "options": { key: 1 } })).await;
        assert_eq!(refusal(&nested).2, format!("Unknown field: options.{key}"));
    }
}

#[tokio::test]
async fn what_an_action_does_not_use_is_not_looked_at() {
    let bench = Bench::new();
    let legend = json!({
        "action": CREATE, "sandboxId": "optional-id", "command": "python", "args": ["script.py"],
        "code": "print('hello')", "path": "/path/to/file", "content": "file content",
    });
    let answer = bench.ask(legend).await;
    assert_eq!((&answer["success"], &answer["sandboxId"]), (&json!(true), &json!("box-0")));
    let odd = json!({ "action": INFO, "sandboxId": "box-0", "args": { "a": 1 }, "port": "x", "options": 7 });
    assert_eq!(bench.ask(odd).await["success"], true);
}

#[tokio::test]
async fn wrong_types_are_named() {
    let bench = Bench::new();
    bench.ask(json!({ "action": CREATE })).await;
    let run = |key: &str, value: Value| json!({ "action": COMMAND, "sandboxId": "box-0", "command": "a", key: value });
    let options = |key: &str, value: Value| run("commandOptions", json!({ key: value }));
    let many: Vec<_> = (0..1025).map(|_| "a").collect();
    for (body, message) in [
        (run("command", json!(["a"])), "`command` must be a string, got an array"),
        (run("sandboxId", json!(1)), "`sandboxId` must be a string, got a number"),
        (run("args", json!("a")), "`args` must be an array of strings, got a string"),
        (run("args", json!(["a", 1])), "`args[1]` must be a string, got a number"),
        (run("args", json!(many)), "args has too many items: 1024 at most"),
        (run("commandOptions", json!([])), "`commandOptions` must be an object, got an array"),
        (options("user", json!("root")), "Unknown field: commandOptions.user"),
        (options("stdin", json!("x")), "Unknown field: commandOptions.stdin"),
        (options("cwd", json!(1)), "`commandOptions.cwd` must be a string, got a number"),
        (options("env", json!("A=1")), "`commandOptions.env` must be an object of strings, got a string"),
        (options("env", json!({ "A": 1 })), "`commandOptions.env.A` must be a string, got a number"),
        (options("timeout", json!("5")), "`commandOptions.timeout` must be a number, got a string"),
        (
            options("timeout", json!(-1)),
            "`commandOptions.timeout` must be a whole number from 0 to 9007199254740991, got -1",
        ),
        (
            options("timeout", json!(1.5)),
            "`commandOptions.timeout` must be a whole number from 0 to 9007199254740991, got 1.5",
        ),
        (options("background", json!("yes")), "`commandOptions.background` must be a boolean, got a string"),
        (
            json!({ "action": URL, "sandboxId": "box-0", "port": 70000 }),
            "`port` must be a whole number from 1 to 65535, got 70000",
        ),
        (
            json!({ "action": CODE, "sandboxId": "box-0", "code": "1", "runtime": "cobol" }),
            "`runtime` names no language: `cobol`",
        ),
    ] {
        let answer = bench.ask(body.clone()).await;
        assert_eq!(refusal(&answer), (400, "INVALID_ARGUMENT", message), "{body}");
    }
    let halved = bench.ask_text("{\"action\":\"\\ud800\"}").await;
    assert_eq!(refusal(&halved).2, "`action` cannot be read as a string");
}

#[tokio::test]
async fn sizes_are_limited() {
    let bench = Bench::new();
    bench.ask(json!({ "action": CREATE })).await;
    let most = Limits::DEFAULT.code;
    for (action, key) in [(COMMAND, "command"), (CODE, "code")] {
        let answer =
            bench.ask(json!({ "action": action, "sandboxId": "box-0", key: "a".repeat(most + 1) })).await;
        assert_eq!(
            refusal(&answer),
            (413, "TOO_LARGE", &*format!("{key} is too long: 262145 bytes, 262144 at most"))
        );
    }
    let answer = bench.ask_text(vec![b' '; Limits::DEFAULT.body + 1]).await;
    assert_eq!(refusal(&answer), (413, "TOO_LARGE", "The request body is too large: 4194304 bytes at most"));
    for (body, status, code) in [
        (Body::TooLarge, 413, "TOO_LARGE"),
        (Body::Late, 408, "BODY_TIMEOUT"),
        (Body::Broken, 499, "ABORTED"),
    ] {
        let answer = told(bench.handler.answer(Request { body, ..Request::default() }, Arc::new(Open)).await);
        assert_eq!((refusal(&answer).0, refusal(&answer).1), (status, code));
    }
    let long = bench.ask(json!({ "action": "x".repeat(5000) })).await;
    assert!(refusal(&long).2.len() < 150);
    let large =
        bench.ask(json!({ "action": file("readFile"), "sandboxId": "box-0", "path": "/large" })).await;
    assert_eq!(refusal(&large).0, 400);
    let many = bench.ask(json!({ "action": file("readdir"), "sandboxId": "box-0", "path": "/" })).await;
    assert_eq!(refusal(&many).2, "/ has too many entries: 10001, 10000 at most");
}

#[tokio::test]
async fn failures_in_a_sandbox_have_their_status() {
    let bench = Bench::new();
    bench.ask(json!({ "action": CREATE })).await;
    let at = |action: String| json!({ "action": action, "sandboxId": "box-0", "path": "/a", "content": "" });
    for (body, status, code, message) in [
        (at(file("readFile")), 404, "NOT_FOUND", "File not found: /a"),
        (at(file("writeFile")), 429, "QUOTA_EXCEEDED", "no space left in the sandbox: /a"),
        (at(file("mkdir")), 409, "ALREADY_EXISTS", "a file of that name is there: /a"),
        (at(file("remove")), 403, "PERMISSION_DENIED", "permission denied: /a"),
        (
            json!({ "action": file("readFile"), "sandboxId": "box-0", "path": "a" }),
            400,
            "INVALID_ARGUMENT",
            "`path` must be absolute, got `a`",
        ),
        (
            json!({ "action": file("readFile"), "sandboxId": "box-0", "path": "/a\0b" }),
            400,
            "INVALID_ARGUMENT",
            "`path` contains a NUL character",
        ),
        (
            json!({ "action": file("readFile"), "sandboxId": "box-0", "path": "/bytes" }),
            400,
            "NOT_UTF8",
            "/bytes is not UTF-8 text (byte 0)",
        ),
        (
            json!({ "action": URL, "sandboxId": "box-0", "port": 80, "protocol": "https" }),
            400,
            "UNSUPPORTED",
            "`protocol`: there is no TLS here",
        ),
        (
            json!({ "action": COMMAND, "sandboxId": "box-0", "command": "true" }),
            503,
            "UNAVAILABLE",
            "Internal error",
        ),
        (json!({ "action": INFO, "sandboxId": "unreachable" }), 500, "INTERNAL", "Internal error"),
    ] {
        let answer = bench.ask(body.clone()).await;
        assert_eq!(refusal(&answer), (status, code, message), "{body}");
    }
    let exists = bench.ask(at(file("exists"))).await;
    assert_eq!((&exists["success"], &exists["exists"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn the_facts_are_json_without_what_is_reserved() {
    let bench = Bench::new();
    bench.ask(json!({ "action": CREATE, "options": { "metadata": { "a": [1, null] } } })).await;
    let answer = bench.ask(json!({ "action": INFO, "sandboxId": "box-0" })).await;
    assert_eq!(
        answer,
        json!({
            "success": true, "sandboxId": "box-0", "provider": "memory", "status": 200,
            "info": {
                "id": "box-0", "provider": "memory", "status": "running", "timeout": 60000,
                "createdAt": "1970-01-01T00:00:00.000Z", "expiresAt": "1970-01-01T00:01:00.000Z",
                "metadata": { "a": [1, null] },
            },
        })
    );
    let answer = bench.ask_as(Arc::new(Named("alice")), json!({ "action": CREATE })).await;
    let id = answer["sandboxId"].as_str().unwrap();
    let facts = bench.ask_as(Arc::new(Named("alice")), json!({ "action": INFO, "sandboxId": id })).await;
    assert_eq!(facts["info"].get("metadata"), None);
    assert!(!facts.to_string().contains("alice"), "{facts}");
}

#[tokio::test]
async fn a_sandbox_exists_for_its_owner_alone() {
    let bench = Bench::with(Memory::default(), |policy| {
        policy.allow_actions(&[CREATE, LIST, DESTROY, INFO].map(str::to_owned)).unwrap();
    });
    let gates: [Arc<dyn Gate>; 3] = [Arc::new(Named("alice")), Arc::new(Named("bob")), Arc::new(Open)];
    let own = ["box-0", "box-1", "box-2"];
    for gate in &gates {
        bench.ask_as(Arc::clone(gate), json!({ "action": CREATE })).await;
    }
    for (gate, own_id) in gates.iter().zip(own) {
        let ask = async |body| bench.ask_as(Arc::clone(gate), body).await;
        for id in own {
            let seen = ask(json!({ "action": INFO, "sandboxId": id })).await;
            if id == own_id {
                assert_eq!(seen["success"], true);
                continue;
            }
            let never = ask(json!({ "action": INFO, "sandboxId": "box-9" })).await;
            let expected = never.to_string().replace("box-9", id);
            assert_eq!(seen.to_string(), expected, "somebody else's is as unknown as one that never was");
            // Nothing tells that there was something to destroy, and nothing is destroyed.
            let gone = ask(json!({ "action": DESTROY, "sandboxId": id })).await;
            assert_eq!((&gone["success"], &gone["sandboxId"]), (&json!(true), &json!(id)));
        }
        let listed = ask(json!({ "action": LIST })).await;
        assert_eq!(listed["sandboxes"], json!([{ "sandboxId": own_id, "provider": "memory" }]));
    }
    bench.ask_as(Arc::clone(&gates[0]), json!({ "action": DESTROY, "sandboxId": "box-0" })).await;
    assert_eq!(bench.memory.made.lock().unwrap().keys().collect::<Vec<_>>(), ["box-1", "box-2"]);
}

#[tokio::test]
async fn a_provider_that_forgets_owners_makes_nothing_for_them() {
    let bench = Bench::with(Memory { forgets: true, ..Memory::default() }, |_| {});
    let answer = bench.ask_as(Arc::new(Named("alice")), json!({ "action": CREATE })).await;
    assert_eq!(refusal(&answer), (500, "INTERNAL", "Internal error"));
    while !bench.memory.made.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn the_gate_decides_and_its_troubles_are_its_own() {
    let bench = Bench::new();
    let body = json!({ "action": CREATE });
    let refused = bench.ask_as(Arc::new(Closed(|| Ok(Admission::Refused))), body.clone()).await;
    assert_eq!(
        refused,
        json!({ "success": false, "error": "Not authorized", "code": "PERMISSION_DENIED", "status": 403 })
    );
    let broken = Closed(|| Err(Error::new(ErrorKind::Internal, "cannot connect to postgres://10.0.0.1")));
    let answer = bench.ask_as(Arc::new(broken), body).await;
    assert_eq!(refusal(&answer), (500, "INTERNAL", "Internal error"));
    assert!(bench.memory.made.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_action_that_takes_too_long_is_given_up() {
    let bench = Bench::with(Memory::default(), |policy| policy.limits.action = Duration::from_millis(30));
    bench.ask(json!({ "action": CREATE })).await;
    let hanging = json!({ "action": URL, "sandboxId": "box-0", "port": 80, "protocol": "wss" });
    let answer = bench.ask(hanging).await;
    assert_eq!(refusal(&answer), (504, "TIMEOUT", "The action took too long"));
}

#[tokio::test]
async fn nothing_is_done_for_a_client_that_has_gone() {
    let bench = Bench::new();
    let cancel = CancellationToken::new();
    let body = |body: Value| Body::Whole(body.to_string().into());
    cancel.cancel();
    let request = Request { head: None, body: body(json!({ "action": CREATE })), cancel };
    assert_eq!(bench.handler.answer(request, Arc::new(Open)).await.status, 499);
    assert!(bench.memory.made.lock().unwrap().is_empty());

    bench.ask(json!({ "action": CREATE })).await;
    let cancel = CancellationToken::new();
    let hanging = json!({ "action": URL, "sandboxId": "box-0", "port": 80, "protocol": "wss" });
    let request = Request { head: None, body: body(hanging), cancel: cancel.clone() };
    let (answer, ()) = tokio::join!(bench.handler.answer(request, Arc::new(Open)), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        cancel.cancel();
    });
    assert_eq!(answer.status, 499);
}

#[tokio::test]
async fn the_head_is_judged_and_answered() {
    let bench = Bench::with(Memory::default(), |policy| {
        policy.allow_origins(&["https://front.example".to_owned()]).unwrap();
    });
    let ask = async |change: fn(&mut Head)| {
        let mut head = Head {
            method: "POST".to_owned(),
            host: Some("api.example".to_owned()),
            content_type: Some("application/json".to_owned()),
            ..Head::default()
        };
        change(&mut head);
        let body = Body::Whole(json!({ "action": CREATE }).to_string().into());
        let request = Request { head: Some(head), body, ..Request::default() };
        let answer = bench.handler.answer(request, Arc::new(Open)).await;
        let headers: BTreeMap<_, _> = answer.headers.into_iter().collect();
        (answer.status, headers)
    };
    let (status, headers) = ask(|_| {}).await;
    assert_eq!(status, 200);
    assert_eq!(
        headers.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(),
        [
            ("cache-control", "no-store"),
            ("content-type", "application/json"),
            ("vary", "Origin"),
            ("x-content-type-options", "nosniff"),
        ]
    );
    let (status, headers) = ask(|head| head.method = "GET".to_owned()).await;
    assert_eq!((status, headers["allow"].as_str()), (405, "POST"));
    let (status, headers) = ask(|head| head.origin = Some("https://evil.example".to_owned())).await;
    assert_eq!((status, headers.get("access-control-allow-origin")), (403, None));
    let (status, headers) = ask(|head| head.origin = Some("https://front.example".to_owned())).await;
    assert_eq!((status, headers["access-control-allow-origin"].as_str()), (200, "https://front.example"));

    let (status, headers) = ask(|head| {
        head.method = "OPTIONS".to_owned();
        head.origin = Some("https://front.example".to_owned());
        head.asked_method = Some("POST".to_owned());
        head.asked_headers = Some("authorization".to_owned());
    })
    .await;
    assert_eq!((status, headers["access-control-allow-methods"].as_str()), (204, "POST"));
    assert_eq!(headers["access-control-allow-headers"], "authorization");
    assert!(!headers.contains_key("content-type"));
    let (status, headers) = ask(|head| {
        head.method = "OPTIONS".to_owned();
        head.origin = Some("https://evil.example".to_owned());
        head.asked_method = Some("POST".to_owned());
    })
    .await;
    assert_eq!((status, headers.get("access-control-allow-methods")), (405, None));
}

#[tokio::test]
async fn an_owner_has_so_many_sandboxes_and_no_more() {
    let bench = Bench::with(Memory::default(), |policy| policy.limits.sandboxes = Some(2));
    let create = |owner| bench.ask_as(Arc::new(Named(owner)), json!({ "action": CREATE }));
    let made = futures_util::future::join_all((0..20).map(|_| create("alice"))).await;
    assert_eq!(made.iter().filter(|answer| answer["status"] == 200).count(), 2);
    for refused in made.iter().filter(|answer| answer["status"] != 200) {
        assert_eq!(refusal(refused), (429, "QUOTA_EXCEEDED", "The quota is used up"));
    }
    let hers = made.iter().find(|answer| answer["status"] == 200).unwrap();
    for (owner, status) in [("bob", 200), ("bob", 200), ("bob", 429), ("alice", 429)] {
        assert_eq!(create(owner).await["status"], status, "{owner}");
    }
    // Those that nobody owns are counted together.
    for status in [200, 200, 429] {
        assert_eq!(bench.ask(json!({ "action": CREATE })).await["status"], status);
    }
    let destroy = json!({ "action": DESTROY, "sandboxId": hers["sandboxId"] });
    bench.ask_as(Arc::new(Named("alice")), destroy).await;
    assert_eq!(create("alice").await["status"], 200);
}

#[tokio::test]
async fn an_answer_tells_its_owner_who_asked_for_what() {
    let bench = Bench::new();
    let about = async |gate: Arc<dyn Gate>, body: Value| {
        let request = Request { body: Body::Whole(body.to_string().into()), ..Request::default() };
        let answer = bench.handler.answer(request, gate).await;
        (answer.about.action, answer.about.owner, answer.about.sandbox_id)
    };
    let alice = || Arc::new(Named("alice"));
    let (action, owner, id) = about(alice(), json!({ "action": CREATE })).await;
    assert_eq!((action, owner.as_deref()), (Some(CREATE), Some("alice")));
    let body = json!({ "action": INFO, "sandboxId": id });
    let expected = (Some(INFO), Some("alice".to_owned()), id.clone());
    assert_eq!(about(alice(), body.clone()).await, expected);
    let refused = Arc::new(Closed(|| Ok(Admission::Refused)));
    assert_eq!(about(refused, body).await, (Some(INFO), None, id));
    assert_eq!(about(alice(), json!({ "action": "explode" })).await, (None, None, None));
}
