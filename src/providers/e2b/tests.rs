//! The control plane, against a server on this machine that does what a test says.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::json;

use super::error::{self, About};
use super::{Config, E2b, Secret, is_made_there, is_possible_id, request};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{CreateRequest, Filter, Network, Provider, Resources, Status};
use crate::transport::tests::server::{Act, Server, answer};

const ID: &str = "ihk3v9yyx2rx0n8zjl8wq";

fn config(url: &str) -> Config {
    Config {
        api_key: Some(Secret::from("e2b_hunter2")),
        api_url: Some(url.to_owned()),
        domain: Some("boxes.example".to_owned()),
        ..Config::default()
    }
}

fn provider(server: &Server) -> E2b {
    E2b::new(config(&server.url))
}

fn json_answer(status: u16, body: &serde_json::Value) -> Act {
    Act::Answer(answer(status, &["content-type: application/json"], &body.to_string()))
}

fn time(from_now: i64) -> String {
    (Timestamp::now() + jiff::SignedDuration::from_secs(from_now)).to_string()
}

/// A sandbox as E2B tells of it.
fn detail(state: &str, ends_in: i64) -> serde_json::Value {
    json!({
        "sandboxID": ID, "templateID": "t", "clientID": "c", "envdVersion": "0.6.13", "envdAccessToken": "hunter2",
        "startedAt": time(-100), "endAt": time(ends_in), "state": state, "cpuCount": 2, "memoryMB": 512,
        "diskSizeMB": 1024, "metadata": { "user": "u", "computesdk.runtime": "python", "computesdk.later": "x" },
        "domain": null,
    })
}

fn body_of(request: &str) -> serde_json::Value {
    let (_, body) = request.split_once("\r\n\r\n").expect("it has a body");
    serde_json::from_str(body).expect("it is JSON")
}

fn line_of(request: &str) -> &str {
    request.lines().next().expect("it has a line")
}

/// What is asked with a key, of the same server each time: the last tells whether anything was sent.
async fn every_call(provider: &E2b) -> Vec<Error> {
    vec![
        provider.create(&CreateRequest::default()).await.map(drop).expect_err("create"),
        provider.connect(ID).await.map(drop).expect_err("connect"),
        provider.list(&Filter::default()).await.map(drop).expect_err("list"),
        provider.info(ID).await.map(drop).expect_err("info"),
        provider.destroy(ID).await.expect_err("destroy"),
        provider.snapshots().expect("it has some").list().await.map(drop).expect_err("snapshots"),
        provider.snapshots().expect("it has some").delete("s").await.expect_err("delete"),
    ]
}

#[tokio::test]
async fn a_key_of_another_form_is_refused_before_anything_is_sent() {
    for (key, api) in [("hunter2", None), ("E2B_1", Some("https://api.e2b.dev")), ("sk_e2b_1", None)] {
        let config =
            Config { api_key: Some(Secret::from(key)), api_url: api.map(str::to_owned), ..Config::default() };
        for error in every_call(&E2b::new(config)).await {
            assert_eq!(error.kind(), ErrorKind::Unauthenticated);
            assert_eq!(error.message(), "Invalid E2B API key format. E2B API keys should start with 'e2b_'.");
        }
    }
}

#[tokio::test]
async fn other_servers_have_keys_of_other_forms() {
    let server = Server::new(|_, _| json_answer(200, &json!([]))).await;
    let config = Config { api_key: Some(Secret::from("whatever")), ..config(&server.url) };
    assert!(E2b::new(config).list(&Filter::default()).await.expect("it answers").is_empty());
    assert!(server.requests()[0].contains("x-api-key: whatever"));
    for key in ["with\nline", "with space at the end "] {
        let config = Config { api_key: Some(Secret::from(key)), ..super::tests::config(&server.url) };
        for error in every_call(&E2b::new(config)).await {
            assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        }
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_wrong_address_is_named() {
    for (config, option) in [
        (Config { api_url: Some("nonsense".to_owned()), ..config("") }, "`apiUrl`"),
        (config("ftp://a.example"), "`apiUrl`"),
        (config("https://user:secret@a.example"), "`apiUrl`"),
        (Config { sandbox_url: Some("x".to_owned()), ..config("http://127.0.0.1:1") }, "`sandboxUrl`"),
        (Config { domain: Some("https://e2b.app".to_owned()), ..config("http://127.0.0.1:1") }, "`domain`"),
    ] {
        for error in every_call(&E2b::new(config)).await {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(error.message().contains(option) && !error.message().contains("secret"), "{error}");
        }
    }
}

#[test]
fn addresses_are_made_as_e2b_makes_them() {
    let place = |config: Config| {
        Config { api_key: Some(Secret::from("e2b_1")), ..config }.place(None).expect("it is complete")
    };
    let own = place(Config::default());
    assert_eq!(own.api.as_str(), "https://api.e2b.app/");
    assert_eq!(own.daemon(None, "i1", 49983), "https://sandbox.e2b.app");
    assert_eq!(own.daemon(Some("eu.example"), "i1", 49983), "https://49983-i1.eu.example");
    for (protocol, url) in [
        (None, "https://3000-i1.e2b.app"),
        (Some("http"), "http://3000-i1.e2b.app"),
        (Some("wss"), "wss://3000-i1.e2b.app"),
    ] {
        assert_eq!(own.url(None, "i1", 3000, protocol).expect("it is spoken"), url);
    }
    let error = own.url(None, "i1", 3000, Some("ftp")).expect_err("it is not");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);

    let other = place(Config { domain: Some("a.example".to_owned()), ..Config::default() });
    assert_eq!(other.api.as_str(), "https://api.a.example/");
    assert_eq!(other.daemon(None, "i1", 49983), "https://49983-i1.a.example");

    let proxied =
        place(Config { sandbox_url: Some("http://127.0.0.1:3001/".to_owned()), ..Config::default() });
    assert_eq!(proxied.daemon(None, "i1", 49983), "http://127.0.0.1:3001");

    let here = place(Config { debug: Some(true), ..Config::default() });
    assert_eq!(here.api.as_str(), "http://localhost:3000/");
    assert_eq!(here.daemon(None, "i1", 49983), "http://localhost:49983");
    assert_eq!(here.url(None, "i1", 3000, None).expect("it is spoken"), "http://localhost:3000");
}

#[tokio::test]
async fn create_says_what_was_asked_for() {
    let made = json!({ "sandboxID": ID, "envdVersion": "0.6.13", "envdAccessToken": "hunter2" });
    let server = Server::new(move |_, request| match request.starts_with("GET") {
        true => json_answer(200, &json!([])),
        false => json_answer(201, &made),
    })
    .await;
    let request = CreateRequest {
        runtime: Some("python3.12".to_owned()),
        timeout: Some(Duration::from_millis(60_001)),
        sandbox_id: Some("mine".to_owned()),
        metadata: Some([("user".to_owned(), "u".into())].into_iter().collect()),
        envs: [("A".to_owned(), "b".to_owned())].into(),
        ports: vec![3000],
        network: Some(Network::Allow(vec!["pypi.org".to_owned()])),
        ..CreateRequest::default()
    };
    let instance = provider(&server).create(&request).await.expect("it is made");
    assert_eq!((instance.id(), instance.runtime()), ("mine", Some("python")));
    let url = instance.url(3000, None).await.expect("it has one");
    assert_eq!(url, format!("https://3000-{ID}.boxes.example"));
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let asked =
        "GET /v2/sandboxes?limit=100&state=running%2Cpaused&metadata=computesdk%25252Eid%3Dmine HTTP/1.1";
    assert_eq!(line_of(&requests[0]), asked);
    assert_eq!(line_of(&requests[1]), "POST /sandboxes HTTP/1.1");
    assert!(requests[1].contains("x-api-key: e2b_hunter2"));
    let expected = json!({
        "templateID": "code-interpreter-v1", "timeout": 61, "secure": true, "envVars": { "A": "b" },
        "metadata": { "user": "u", "computesdk.id": "mine", "computesdk.runtime": "python" },
        "network": { "allowOut": ["pypi.org"], "denyOut": ["0.0.0.0/0"] },
    });
    assert_eq!(body_of(&requests[1]), expected);
    assert!(!format!("{instance:?}").contains("hunter2"), "{instance:?}");
}

#[test]
fn the_network_is_honoured() {
    for (network, allowed) in [
        (None, None),
        (Some(Network::Full), Some(true)),
        (Some(Network::None), Some(false)),
        // An empty list is nothing, never everything.
        (Some(Network::Allow(Vec::new())), Some(false)),
    ] {
        let asked = CreateRequest { network, ..CreateRequest::default() };
        let wanted = request::resolve(&Config::default(), &asked).expect("it can");
        assert_eq!(wanted.new.allow_internet_access, allowed);
        assert!(wanted.new.network.is_none());
    }
}

#[test]
fn what_e2b_has_no_word_for_is_refused() {
    let refusal = |request: CreateRequest| -> Error {
        request::resolve(&Config::default(), &request).map(drop).expect_err("it is refused")
    };
    let resources = Resources { memory: Some(1), ..Resources::default() };
    let error = refusal(CreateRequest { resources, ..CreateRequest::default() });
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("`resources.memory`"));
    let error = refusal(CreateRequest { timeout: Some(Duration::ZERO), ..CreateRequest::default() });
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("`timeout: 0`"));
    for (key, value) in [("n", json!(1)), ("computesdk.id", json!("x")), ("o", json!({}))] {
        let metadata = [(key.to_owned(), value)].into_iter().collect();
        let error = refusal(CreateRequest { metadata: Some(metadata), ..CreateRequest::default() });
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(&format!("`metadata.{key}`")), "{error}");
    }
    for id in ["", "a b", "a/b", "..", "é", &"x".repeat(129)] {
        let error = refusal(CreateRequest { sandbox_id: Some(id.to_owned()), ..CreateRequest::default() });
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{id}");
    }
    let error = refusal(CreateRequest { runtime: Some("ruby".to_owned()), ..CreateRequest::default() });
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::InvalidArgument, "`runtime` names no language: `ruby`")
    );
    let enforced = Resources { enforce: Some(true), ..Resources::default() };
    let asked = CreateRequest { resources: enforced, ..CreateRequest::default() };
    request::resolve(&Config::default(), &asked).expect("a machine has its size");
}

#[test]
fn ids_of_e2b_are_told_from_those_of_users() {
    for (id, possible, made_there) in [
        (ID, true, true),
        ("ihk3v9yyx2rx0n8zjl8wq-6532622b", true, true),
        ("mine", true, false),
        ("My-Sandbox_of_2026.11.22", true, false),
        ("", false, false),
        ("a/../b", false, false),
    ] {
        assert_eq!((is_possible_id(id), is_made_there(id)), (possible, made_there), "{id}");
    }
}

#[tokio::test]
async fn an_older_server_is_asked_in_the_older_way_and_a_newer_one_in_its_own() {
    let made = json!({ "sandboxID": ID, "envdVersion": "0.6.13" });
    let server = Server::new(move |_, request| match request.starts_with("POST /v2/") {
        true => json_answer(201, &made),
        false => Act::Answer(answer(404, &[], "404 page not found")),
    })
    .await;
    for _ in 0..2 {
        provider(&server).create(&CreateRequest::default()).await.expect("it is made");
    }
    let lines: Vec<_> = server.requests().iter().map(|request| line_of(request).to_owned()).collect();
    let expected = ["POST /sandboxes HTTP/1.1", "POST /v2/sandboxes HTTP/1.1", "POST /v2/sandboxes HTTP/1.1"];
    assert_eq!(lines, expected);
    assert!(body_of(&server.requests()[1]).get("secure").is_none());
}

#[tokio::test]
async fn a_missing_template_is_no_older_server() {
    let refusal = json!({ "code": 404, "message": "template 'none' not found" });
    let server = Server::new(move |_, _| json_answer(404, &refusal)).await;
    let request = CreateRequest { template_id: Some("none".to_owned()), ..CreateRequest::default() };
    let error = provider(&server).create(&request).await.map(drop).expect_err("there is none");
    assert_eq!((error.kind(), error.status()), (ErrorKind::NotFound, Some(404)));
    assert!(error.message().contains("`none`"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn create_is_not_done_twice() {
    let server = Server::new(|_, _| Act::Reset).await;
    let error = provider(&server).create(&CreateRequest::default()).await.map(drop).expect_err("it is lost");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_create_that_nobody_waits_for_is_undone() {
    let made = json!({ "sandboxID": ID, "envdVersion": "0.6.13" });
    let server = Server::new(move |_, request| match request.starts_with("POST") {
        true => {
            std::thread::sleep(Duration::from_millis(200));
            json_answer(201, &made)
        }
        false => Act::Answer(answer(204, &[], "")),
    })
    .await;
    let provider = provider(&server);
    let request = CreateRequest::default();
    let create = tokio::time::timeout(Duration::from_millis(50), provider.create(&request));
    assert!(create.await.is_err());
    let mut lines = Vec::new();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        lines = server.requests().iter().map(|request| line_of(request).to_owned()).collect();
        if lines.len() == 2 {
            break;
        }
    }
    assert_eq!(lines, ["POST /sandboxes HTTP/1.1".to_owned(), format!("DELETE /sandboxes/{ID} HTTP/1.1")]);
}

#[tokio::test]
async fn a_taken_id_is_told() {
    let taken = json!([{ "sandboxID": ID, "metadata": { "computesdk.id": "mine" } }]);
    let server = Server::new(move |_, _| json_answer(200, &taken)).await;
    let request = CreateRequest { sandbox_id: Some("mine".to_owned()), ..CreateRequest::default() };
    let error = provider(&server).create(&request).await.map(drop).expect_err("it is taken");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn the_facts_are_those_that_e2b_tells() {
    let server = Server::new(|_, _| json_answer(200, &detail("running", 200))).await;
    let instance = provider(&server).connect(ID).await.expect("it answers").expect("it is there");
    let info = instance.info().await.expect("it answers");
    assert_eq!((info.status, info.reason), (Status::Running, None));
    assert_eq!(info.timeout.as_secs_f64().round(), 300.0);
    let left = info.expires_at.expect("it has an end").duration_since(SystemTime::now()).expect("to come");
    assert!((195..=200).contains(&left.as_secs()), "{left:?}");
    assert_eq!(info.runtime.as_deref(), Some("python"));
    assert_eq!(serde_json::Value::from(info.metadata.expect("it has some")), json!({ "user": "u" }));
    let limits = info.limits.expect("its size is known");
    assert_eq!((limits.memory, limits.cpus, limits.processes), (512 << 20, Some(2.0), None));
    assert!(
        server.requests().iter().all(|request| request.starts_with("GET /sandboxes/ihk3v9yyx2rx0n8zjl8wq "))
    );
}

#[tokio::test]
async fn handles_of_one_sandbox_share_what_was_started() {
    let server = Server::new(|_, request| match request.starts_with("GET /v2/") {
        true => json_answer(200, &json!([detail("running", 200)])),
        false => json_answer(200, &detail("running", 200)),
    })
    .await;
    let one = provider(&server).connect(ID).await.expect("it answers").expect("it is there");
    let two = provider(&server).list(&Filter::default()).await.expect("it answers").remove(0);
    assert!(std::ptr::eq(one.started(), two.started()));
    let other_key = Config { api_key: Some(Secret::from("e2b_other")), ..config(&server.url) };
    let other = E2b::new(other_key).connect(ID).await.expect("it answers").expect("it is there");
    assert!(!std::ptr::eq(one.started(), other.started()));
}

#[tokio::test]
async fn an_unknown_id_is_none_and_its_end_a_success() {
    let server = Server::new(|_, request| match line_of(request) {
        line if line.starts_with("GET /v2/") => json_answer(200, &json!([])),
        _ => json_answer(404, &json!({ "code": 404, "message": "Sandbox \"x\" doesn't exist" })),
    })
    .await;
    let provider = provider(&server);
    for id in [ID, "mine"] {
        assert!(provider.connect(id).await.expect("it answers").is_none(), "{id}");
        provider.destroy(id).await.expect("there is nothing to end");
    }
    let sent = server.requests().len();
    for id in ["", "a b", "../x"] {
        assert!(provider.connect(id).await.expect("no id looks so").is_none(), "{id}");
        provider.destroy(id).await.expect("there is nothing to end");
    }
    assert_eq!(server.requests().len(), sent);
}

#[tokio::test]
async fn an_id_of_a_user_is_resolved_with_one_list() {
    let server = Server::new(|_, request| match line_of(request) {
        line if line.starts_with("GET /v2/") => {
            json_answer(200, &json!([{ "sandboxID": ID, "metadata": { "computesdk.id": "mine" } }]))
        }
        line if line.starts_with("DELETE") => Act::Answer(answer(204, &[], "")),
        _ => {
            let mut told = detail("running", 200);
            told["metadata"]["computesdk.id"] = json!("mine");
            json_answer(200, &told)
        }
    })
    .await;
    let provider = provider(&server);
    provider.destroy("mine").await.expect("it is ended");
    let instance = provider.connect("mine").await.expect("it answers").expect("it is there");
    assert_eq!(instance.id(), "mine");
    // Its id at E2B is known now.
    provider.destroy("mine").await.expect("it is ended");
    let lines: Vec<_> = server.requests().iter().map(|request| request[..12].to_owned()).collect();
    assert_eq!(lines, ["GET /v2/sand", "DELETE /sand", "GET /v2/sand", "GET /sandbox", "DELETE /sand"]);
    let error = instance.files().exists("/").await.expect_err("it has ended");
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::NotFound, "the sandbox `mine` is gone: it was destroyed")
    );
    assert_eq!(instance.info().await.expect("what is known").reason.as_deref(), Some("it was destroyed"));
}

#[tokio::test]
async fn all_pages_are_listed() {
    let server = Server::new(|number, _| {
        let page = json!([{ "sandboxID": format!("i{number}"), "startedAt": time(0), "state": "paused" }]);
        let next = format!("x-next-token: {}", number + 1);
        let headers = if number < 2 { vec![next.as_str()] } else { Vec::new() };
        Act::Answer(answer(200, &headers, &page.to_string()))
    })
    .await;
    let metadata = [("a b".to_owned(), json!("c&d"))].into_iter().collect();
    let filter = Filter { status: Some(Status::Stopped), metadata };
    // The server does not look at metadata; what it lists is looked through here.
    assert!(provider(&server).list(&filter).await.expect("it answers").is_empty());
    let requests = server.requests();
    let first = "GET /v2/sandboxes?limit=100&state=paused&metadata=a%252520b%3Dc%252526d HTTP/1.1";
    assert_eq!(line_of(&requests[0]), first);
    assert!(line_of(&requests[2]).contains("nextToken=2"), "{}", requests[2]);
}

#[tokio::test]
async fn life_is_extended_by_what_is_left() {
    let server = Server::new(|_, request| match request.starts_with("GET") {
        true => json_answer(200, &detail("running", 200)),
        false => Act::Answer(answer(204, &[], "")),
    })
    .await;
    let instance = provider(&server).connect(ID).await.expect("it answers").expect("it is there");
    instance.extend_timeout(Duration::from_millis(60_500)).await.expect("it is extended");
    let requests = server.requests();
    assert_eq!(line_of(&requests[2]), format!("POST /sandboxes/{ID}/timeout HTTP/1.1"));
    let timeout = body_of(&requests[2])["timeout"].as_u64().expect("it is a number");
    assert!((260..=261).contains(&timeout), "{timeout}");
}

/// What is known of a sandbox after E2B has said this about it.
async fn afterwards(ends_in: i64, then: impl Fn() -> Act + Send + Sync + 'static) -> (Error, Status, String) {
    let server = Server::new(move |number, _| match number {
        0 => json_answer(200, &detail("running", ends_in)),
        _ => then(),
    })
    .await;
    let instance = provider(&server).connect(ID).await.expect("it answers").expect("it is there");
    let info = instance.info().await.expect("it answers");
    assert_eq!(info.timeout.as_secs_f64().round() as i64, 100 + ends_in);
    let error = instance.extend_timeout(Duration::from_secs(1)).await.expect_err("it does not run");
    (error, info.status, info.reason.expect("there is one"))
}

#[tokio::test]
async fn expired_ended_and_paused_are_told_apart() {
    let missing = || json_answer(404, &json!({ "code": 404, "message": "Sandbox doesn't exist" }));
    let (error, status, reason) = afterwards(-1, missing).await;
    assert_eq!((error.kind(), status), (ErrorKind::NotFound, Status::Stopped));
    assert_eq!(reason, "its time was over (timeout: 99000 ms)");
    assert_eq!(error.message(), format!("the sandbox `{ID}` is gone: {reason}"));
    let (error, status, reason) = afterwards(100, missing).await;
    assert_eq!(
        (error.kind(), status, reason.as_str()),
        (ErrorKind::NotFound, Status::Stopped, "it was ended")
    );
    let (error, status, reason) = afterwards(100, || json_answer(200, &detail("paused", -5))).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
    assert_eq!((status, reason.as_str()), (Status::Stopped, "paused"));
    assert_eq!(error.message(), format!("the sandbox `{ID}` is paused"));
}

#[tokio::test]
async fn a_sandbox_is_paused_and_resumed() {
    let server = Server::new(|_, request| match line_of(request) {
        line if line.contains("/pause") => {
            json_answer(409, &json!({ "message": "Error pausing sandbox - sandbox 'x' is already paused" }))
        }
        line if line.contains("/connect") => {
            json_answer(201, &json!({ "sandboxID": ID, "envdAccessToken": "new" }))
        }
        line if line.contains("/snapshots") => {
            json_answer(201, &json!({ "snapshotID": "team/s:v1", "names": null }))
        }
        _ => json_answer(200, &detail("running", 200)),
    })
    .await;
    let instance = provider(&server).connect(ID).await.expect("it answers").expect("it is there");
    let pausing = instance.pausing().expect("it can");
    pausing.pause().await.expect("it is paused already");
    pausing.resume(Some(Duration::from_millis(1500))).await.expect("it is resumed");
    pausing.resume(None).await.expect("it runs");
    let snapshot = instance.snapshotting().expect("it can").snapshot(Some("s")).await.expect("it is made");
    assert_eq!((snapshot.id.as_str(), snapshot.names.len()), ("team/s:v1", 0));
    let requests = server.requests();
    assert_eq!(body_of(&requests[1]), json!({}));
    assert_eq!(body_of(&requests[2]), json!({ "timeout": 2 }));
    assert_eq!(body_of(&requests[3]), json!({ "timeout": 300 }));
    assert_eq!(body_of(&requests[4]), json!({ "name": "s" }));
}

#[tokio::test]
async fn ids_are_encoded() {
    let server = Server::new(|_, _| Act::Answer(answer(204, &[], ""))).await;
    let provider = provider(&server);
    let snapshots = provider.snapshots().expect("it has some");
    snapshots.delete("team/snap%?#:v1").await.expect("it is deleted");
    let line = server.requests()[0].clone();
    assert_eq!(line_of(&line), "DELETE /templates/team%2Fsnap%25%3F%23:v1 HTTP/1.1");
    for id in ["", "..", "a/../b"] {
        let refused: Result<()> = snapshots.delete(id).await;
        assert_eq!(refused.expect_err("it is none").kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(server.requests().len(), 1);
}

fn refused(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Error {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().expect("it is a name"), HeaderValue::from_static(value)))
        .collect();
    let status = StatusCode::from_u16(status).expect("it is one");
    error::refused(About::Sandbox("s"), status, &headers, body.as_bytes(), &Secret::from("e2b_hunter2"))
}

#[test]
fn failures_of_the_control_plane_have_their_kinds() {
    use ErrorKind::{
        InvalidArgument, NotFound, PermissionDenied, QuotaExceeded, RateLimited, Unauthenticated, Unavailable,
    };
    let concurrent =
        r#"{"code":429,"message":"you have reached the maximum number of concurrent E2B sandboxes (20)"}"#;
    for (status, body, kind, words) in [
        (400, r#"{"code":400,"message":"Timeout must be greater than 0"}"#, InvalidArgument, "Timeout must"),
        (400, r#"{"message":"Timeout cannot be greater than 1 hours"}"#, QuotaExceeded, "quota exceeded"),
        (401, r#"{"message":"Invalid API key e2b_hunter2"}"#, Unauthenticated, "authentication failed"),
        (403, r#"{"message":"team blocked"}"#, PermissionDenied, "team blocked"),
        (404, "", NotFound, "`s`"),
        (409, r#"{"message":"is being killed"}"#, Unavailable, "is being killed"),
        (429, r#"{"message":"Rate limit exceeded"}"#, RateLimited, "Rate limit exceeded"),
        (429, concurrent, QuotaExceeded, "quota exceeded"),
        (
            500,
            r#"{"message":"no","error_code":"sandbox_create_failed"}"#,
            Unavailable,
            "(sandbox_create_failed)",
        ),
        (502, "<html><body>Bad Gateway</body></html>", Unavailable, "502 Bad Gateway"),
        (504, "upstream request timeout", Unavailable, "upstream request timeout"),
        (418, "", Unavailable, "418"),
    ] {
        let error = refused(status, &[("x-request-id", "r1")], body);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(words), "{error}");
        assert_eq!((error.status(), error.request_id()), (Some(status), Some("r1")));
        let all = format!("{error:?}");
        assert!(!all.contains("hunter2") && !all.contains("<html"), "{all}");
    }
    let error = refused(429, &[("retry-after", "7")], "");
    assert_eq!((error.kind(), error.retry_after()), (RateLimited, Some(Duration::from_secs(7))));
    assert!(!refused(418, &[], "").is_retryable());
}
