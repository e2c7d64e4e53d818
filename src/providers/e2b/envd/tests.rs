//! What is done about a server that falls silent, breaks off, or speaks less than it should: on real sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt;
use prost::Message;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::messages::{DataEvent, Empty, EndEvent, ProcessEvent, ProcessResponse, StartEvent};
use super::{Endpoint, Envd, Version};
use crate::command::{self, RunOptions};
use crate::error::ErrorKind;
use crate::provider::{Cell, CellEvent, Command, Kernels, Program};

/// What a server does about a request.
enum Act {
    /// Answers with this status, type and body.
    Answer(u16, &'static str, Vec<u8>),
    /// Begins a stream, and then closes the connection, or says nothing more.
    Begin(Vec<u8>, After),
}

#[derive(Clone, Copy, PartialEq)]
enum After {
    Close,
    Silence,
}

const PROTO: &str = "application/connect+proto";
const JSON: &str = "application/json";

/// A server on this machine that does with each request what it is told, by its number and path.
struct Server {
    base: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn new(act: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (act, log) = (Arc::new(act), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (act, log) = (Arc::clone(&act), Arc::clone(&log));
                tokio::spawn(serve(client, act, log));
            }
        });
        Self { base, seen }
    }

    fn envd(&self, version: &str) -> Envd {
        let mut headers = HeaderMap::new();
        let mut token = HeaderValue::from_static("secret");
        token.set_sensitive(true);
        headers.insert("x-access-token", token);
        let server = || super::Server { base: self.base.clone(), headers: headers.clone() };
        Envd::new(Endpoint {
            sandbox: "itest".to_owned(),
            token: Some("secret".to_owned().into()),
            version: Version::read(version),
            daemon: server(),
            interpreter: server(),
        })
        .unwrap()
    }

    /// What was asked for: paths, and the codec of each that is not binary.
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

type Acting = Arc<dyn Fn(usize, &str) -> Act + Send + Sync>;

async fn serve(client: TcpStream, act: Acting, log: Arc<Mutex<Vec<String>>>) {
    let mut client = BufReader::new(client);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if client.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line.to_lowercase());
        }
        let mut body = vec![0; length];
        client.read_exact(&mut body).await.unwrap();
        let path = head.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().to_owned();
        let codec = if head.contains("json\r\n") { " as json" } else { "" };
        let number = {
            let mut seen = log.lock().unwrap();
            seen.push(format!("{path}{codec}"));
            seen.len() - 1
        };
        match act(number, &format!("{path}{codec}")) {
            Act::Answer(status, kind, body) => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                client.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
            }
            Act::Begin(body, after) => {
                let head = format!(
                    "HTTP/1.1 200 X\r\ncontent-type: {PROTO}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
                    body.len()
                );
                client.write_all(&[head.as_bytes(), &body, b"\r\n"].concat()).await.unwrap();
                if after == After::Silence {
                    tokio::time::sleep(Duration::from_secs(30)).await;
                }
                return;
            }
        }
    }
}

fn enveloped(event: ProcessEvent) -> Vec<u8> {
    let message = ProcessResponse { event: Some(event) }.encode_to_vec();
    [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
}

fn started() -> Vec<u8> {
    enveloped(ProcessEvent { start: Some(StartEvent { pid: 7 }), ..ProcessEvent::default() })
}

fn wrote(text: &'static str) -> Vec<u8> {
    let data = DataEvent { stdout: Some(text.into()), ..DataEvent::default() };
    enveloped(ProcessEvent { data: Some(data), ..ProcessEvent::default() })
}

fn alive() -> Vec<u8> {
    enveloped(ProcessEvent { keepalive: Some(Empty {}), ..ProcessEvent::default() })
}

fn ended(exit_code: i32) -> Vec<u8> {
    let end = EndEvent { exit_code, exited: true, status: format!("exit status {exit_code}"), error: None };
    let end = enveloped(ProcessEvent { end: Some(end), ..ProcessEvent::default() });
    [&end[..], b"\x02\0\0\0\x02{}"].concat()
}

fn refused(code: &str) -> Act {
    let error = format!(r#"{{"error":{{"code":"{code}","message":"process with tag x not found"}}}}"#);
    let end = [&[2][..], &(error.len() as u32).to_be_bytes(), error.as_bytes()].concat();
    Act::Answer(200, PROTO, end)
}

fn gone() -> Act {
    Act::Answer(
        502,
        JSON,
        br#"{"sandboxId":"itest","message":"The sandbox was not found","code":502}"#.to_vec(),
    )
}

async fn run(envd: &Envd) -> crate::error::Result<command::Output> {
    let command = Command { program: Program::Shell("x".to_owned()), ..Command::default() };
    let running = command::follow(envd.spawn(&command), RunOptions::default());
    tokio::time::timeout(Duration::from_secs(10), running).await.expect("it settles")
}

#[tokio::test]
async fn a_stream_that_is_cut_is_taken_up_again() {
    let server = Server::new(|_, path| match path {
        "start" => Act::Begin([started(), wrote("one ")].concat(), After::Close),
        "connect" => Act::Answer(200, PROTO, [started(), wrote("two"), ended(3)].concat()),
        other => panic!("{other}"),
    })
    .await;
    let output = run(&server.envd("0.6.13")).await.unwrap();
    assert_eq!((output.stdout.as_str(), output.exit_code), ("one two", 3));
    assert!(output.truncated, "something may have been lost in between");
    assert_eq!(server.seen(), ["start", "connect"]);
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_taken_up_again_if_the_sandbox_lives() {
    let server = Server::new(|_, path| match path {
        "start" => Act::Begin([started(), wrote("one "), alive()].concat(), After::Silence),
        "health" => Act::Answer(204, JSON, Vec::new()),
        "connect" => Act::Answer(200, PROTO, [started(), wrote("two"), ended(0)].concat()),
        "stat" => Act::Answer(200, "application/proto", Vec::new()),
        other => panic!("{other}"),
    })
    .await;
    let output = run(&server.envd("0.6.13")).await.unwrap();
    assert_eq!((output.stdout.as_str(), output.exit_code, output.truncated), ("one two", 0, true));
}

#[tokio::test]
async fn a_sandbox_that_dies_leaves_the_output_so_far() {
    for after in [After::Close, After::Silence] {
        let server = Server::new(move |_, path| match path {
            "start" => Act::Begin([started(), wrote("so far")].concat(), after),
            _ => gone(),
        })
        .await;
        let error = run(&server.envd("0.6.13")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains("itest"), "{error}");
        assert_eq!(error.output().unwrap().stdout, "so far");
    }
}

#[tokio::test]
async fn a_start_that_is_cut_is_repeated_only_if_it_surely_did_not_happen() {
    let act = |number: usize, path: &str| match path {
        "start" if number == 0 => Act::Begin(Vec::new(), After::Close),
        "start" => Act::Answer(200, PROTO, [started(), ended(0)].concat()),
        "connect" => refused("not_found"),
        _ => Act::Answer(200, "application/proto", Vec::new()),
    };
    let server = Server::new(act).await;
    assert_eq!(run(&server.envd("0.6.13")).await.unwrap().exit_code, 0);
    assert_eq!(server.seen(), ["start", "connect", "start"]);
    // An older one forgets what has ended.
    let server = Server::new(act).await;
    let error = run(&server.envd("0.6.11")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("not known whether it ran"), "{error}");
    assert_eq!(server.seen()[..2], ["start", "connect"]);
    // One that did happen is followed.
    let server = Server::new(|_, path| match path {
        "start" => Act::Begin(Vec::new(), After::Close),
        _ => Act::Answer(200, PROTO, [started(), wrote("it ran"), ended(5)].concat()),
    })
    .await;
    let output = run(&server.envd("0.6.11")).await.unwrap();
    assert_eq!((output.stdout.as_str(), output.exit_code, output.truncated), ("it ran", 5, true));
}

#[tokio::test]
async fn json_is_spoken_where_binary_is_not_and_remembered() {
    for status in [415, 404] {
        let server = Server::new(move |_, path| match path {
            "start" => Act::Answer(status, "text/plain", b"404 page not found".to_vec()),
            "start as json" => {
                let frames: Vec<u8> = [
                    r#"{"event":{"start":{"pid":7}}}"#,
                    r#"{"event":{"data":{"stdout":"aGkK"}}}"#,
                    r#"{"event":{"end":{"exited":true,"status":"exit status 0"}}}"#,
                ]
                .iter()
                .flat_map(|text| [&[0][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat())
                .chain(*b"\x02\0\0\0\x02{}")
                .collect();
                Act::Answer(200, "application/connect+json", frames)
            }
            other => panic!("{other}"),
        })
        .await;
        for _ in 0..3 {
            assert_eq!(run(&server.envd("0.6.13")).await.unwrap().stdout, "hi\n");
        }
        assert_eq!(server.seen(), ["start", "start as json", "start as json", "start as json"]);
    }
}

#[tokio::test]
async fn what_the_proxy_says_is_told_apart() {
    for (status, body, kind) in [
        (502, r#"{"message":"The sandbox was not found","code":502}"#, ErrorKind::NotFound),
        (
            502,
            r#"{"message":"The sandbox is running but port is not open","port":49983}"#,
            ErrorKind::Unavailable,
        ),
        (502, "", ErrorKind::Unavailable),
        (
            429,
            r#"{"message":"The sandbox has too many concurrent incoming connections"}"#,
            ErrorKind::RateLimited,
        ),
        (409, "The sandbox is still transitioning. Try again in a moment.", ErrorKind::Unavailable),
        (403, "no", ErrorKind::PermissionDenied),
        (401, r#"{"code":401,"message":"unauthorized access"}"#, ErrorKind::Unauthenticated),
        (504, "upstream request timeout", ErrorKind::Timeout),
        (503, "<html>secret</html>", ErrorKind::Unavailable),
    ] {
        let server = Server::new(move |_, _| Act::Answer(status, JSON, body.as_bytes().to_vec())).await;
        let error = run(&server.envd("0.6.13")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {body}: {error}");
        assert!(!error.message().contains('<') && !error.message().is_empty(), "{error}");
    }
}

#[tokio::test]
async fn a_token_is_told_to_nobody() {
    let server = Server::new(|_, _| gone()).await;
    let envd = server.envd("0.6.13");
    let told = format!("{envd:?} {:?}", run(&envd).await.unwrap_err());
    assert!(!told.contains("secret"), "{told}");
}

async fn cell(envd: &Envd, context: &str) -> crate::error::Result<Vec<CellEvent>> {
    let cell = Cell { language: "node".to_owned(), context: context.to_owned(), ..Cell::default() };
    envd.execute(&cell).await?.try_collect().await
}

#[tokio::test]
async fn a_context_is_made_once_and_again_when_it_is_forgotten() {
    let server = Server::new(|number, path| match path {
        "contexts as json" => Act::Answer(200, JSON, format!(r#"{{"id":"c{number}"}}"#).into_bytes()),
        "execute as json" if number == 2 => Act::Answer(404, "text/plain", b"Context c0 not found".to_vec()),
        "execute as json" => {
            let lines = r#"{"type":"stdout","text":"hi"}
{"type":"keepalive"}
{"type":"end_of_execution"}
"#;
            Act::Answer(200, "application/json", lines.into())
        }
        other => panic!("{other}"),
    })
    .await;
    let envd = server.envd("0.6.13");
    for _ in 0..2 {
        assert_eq!(cell(&envd, "a").await.unwrap(), [CellEvent::Stdout("hi".to_owned())]);
    }
    let (context, execute) = ("contexts as json", "execute as json");
    assert_eq!(server.seen(), [context, execute, execute, context, execute]);
    cell(&envd, "b").await.unwrap();
    assert_eq!(server.seen()[5..], [context, execute]);
}

#[tokio::test]
async fn where_there_are_no_interpreters_that_is_said() {
    let closed = r#"{"message":"The sandbox is running but port is not open","port":49999,"code":502}"#;
    let server = Server::new(move |_, _| Act::Answer(502, JSON, closed.into())).await;
    let error = cell(&server.envd("0.6.13"), "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.message().contains("`context`") && error.hint().is_some_and(|hint| hint.contains("template"))
    );
}

#[tokio::test]
async fn code_that_is_cut_off_is_no_success() {
    let server = Server::new(|_, path| match path {
        "contexts as json" => Act::Answer(201, JSON, br#"{"id":"c"}"#.to_vec()),
        "execute as json" => Act::Answer(200, JSON, b"{\"type\":\"stdout\",\"text\":\"hi\"}\n".to_vec()),
        _ => Act::Answer(204, JSON, Vec::new()),
    })
    .await;
    assert_eq!(cell(&server.envd("0.6.13"), "a").await.unwrap_err().kind(), ErrorKind::Unavailable);
}
