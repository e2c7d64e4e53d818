//! What becomes of requests: on real sockets.

pub(crate) mod server;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::{Body, Method, Request, Url};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use self::server::{Act, Server, answer};
use super::{Answer, Http, Repeat};
use crate::error::{Error, ErrorKind, Result};

const LIMIT: Duration = Duration::from_secs(10);

fn request(url: &str) -> Request {
    let url = format!("{url}/path?signature=hunter2");
    let mut request = Request::new(Method::POST, Url::parse(&url).expect("it is one"));
    *request.body_mut() = Some("body".into());
    request
}

async fn sent(server: &Server, repeat: Repeat) -> Result<Answer> {
    Http::new().expect("it can be set up").fetch(request(&server.url), repeat, LIMIT).await
}

async fn status(server: &Server, repeat: Repeat) -> u16 {
    sent(server, repeat).await.expect("it answers").status().as_u16()
}

/// Fails the first time, in one way, and succeeds after that.
async fn at_first(act: impl Fn() -> Act + Send + Sync + 'static) -> Server {
    Server::new(move |number, _| if number == 0 { act() } else { Act::Answer(answer(200, &[], "done")) })
        .await
}

#[tokio::test]
async fn a_reset_is_an_error_where_it_may_have_been_done() {
    let server = at_first(|| Act::Reset).await;
    let error = sent(&server, Repeat::Unsent).await.expect_err("it may have been done");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert!(error.message().starts_with("no answer from 127.0.0.1:"), "{error}");
    assert!(error.message().contains("os error 104"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_reset_is_nothing_where_twice_is_as_once() {
    for repeat in [Repeat::Idempotent, Repeat::Gateways] {
        let server = at_first(|| Act::Reset).await;
        assert_eq!(status(&server, repeat).await, 200);
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_asked_for_again() {
    let cut = || Act::Last("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_owned());
    let server = at_first(cut).await;
    let body = sent(&server, Repeat::Idempotent).await.expect("the second is whole").bytes().await;
    assert_eq!(body.expect("it is there"), "done");
    let server = at_first(cut).await;
    let error = sent(&server, Repeat::Unsent).await.expect_err("it was cut off");
    assert!(error.message().starts_with("the answer was cut off by 127.0.0.1:"), "{error}");
    let http = Http::new().expect("it can be set up");
    let server = at_first(cut).await;
    let answer = http.send(request(&server.url), Repeat::Idempotent).await.expect("it has a head");
    let pieces: Vec<_> = answer.stream().collect().await;
    assert_eq!(pieces[0].as_ref().expect("half of it comes"), "half");
    assert_eq!(pieces[1].as_ref().expect_err("then it ends").kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let late = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let listener = TcpListener::bind(address).await.expect("it was free");
        Server::on(listener, |_, _| Act::Answer(answer(201, &[], "")))
    });
    let http = Http::new().expect("it can be set up");
    let answer = http.send(request(&format!("http://{address}")), Repeat::Unsent).await;
    assert_eq!(answer.expect("it has come up").status().as_u16(), 201);
    assert_eq!(late.await.expect("it came").requests().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_with_its_phase() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let closed = listener.local_addr().expect("it is bound");
    drop(listener);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let plain = format!("https://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"this is no TLS\r\n").await.expect("somebody reads");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let http = Http::new().expect("it can be set up");
    for (url, phase, reason) in [
        (format!("http://{closed}"), "cannot connect to 127.0.0.1:", "os error 111"),
        (plain, "cannot agree on encryption with 127.0.0.1:", "corrupt message"),
        ("http://nowhere.invalid".to_owned(), "cannot find nowhere.invalid: ", ""),
    ] {
        let error = http.send(request(&url), Repeat::Unsent).await.expect_err(&url);
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
        assert!(error.message().starts_with(phase), "{error}");
        assert!(error.message().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    for repeat in [Repeat::Unsent, Repeat::Idempotent] {
        let server = at_first(|| Act::Answer(answer(429, &["retry-after: 1"], ""))).await;
        let begun = Instant::now();
        assert_eq!(status(&server, repeat).await, 200);
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_left_to_the_caller() {
    for header in ["retry-after: 3600", "retry-after: 20", "retry-after: Fri, 01 Jan 2100 00:00:00 GMT"] {
        let server = at_first(move || Act::Answer(answer(503, &[header], ""))).await;
        let begun = Instant::now();
        assert_eq!(status(&server, Repeat::Idempotent).await, 503);
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn statuses_are_repeated_where_they_mean_that_nothing_was_done() {
    for (code, repeat, times) in [
        (429, Repeat::Gateways, 1),
        (500, Repeat::Gateways, 1),
        (502, Repeat::Idempotent, 1),
        (502, Repeat::Gateways, 2),
        (503, Repeat::Unsent, 2),
        (504, Repeat::Unsent, 1),
        (504, Repeat::Gateways, 2),
    ] {
        let server = at_first(move || Act::Answer(answer(code, &[], "<html>"))).await;
        let expected = if times == 1 { code } else { 200 };
        assert_eq!(status(&server, repeat).await, expected, "{code} {repeat:?}");
        assert_eq!(server.requests().len(), times, "{code} {repeat:?}");
    }
}

#[tokio::test]
async fn it_is_given_up_in_the_end() {
    let server = Server::new(|_, _| Act::Answer(answer(503, &[], ""))).await;
    assert_eq!(status(&server, Repeat::Unsent).await, 503);
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_body_that_cannot_be_given_twice_is_given_once() {
    let server = at_first(|| Act::Answer(answer(503, &[], ""))).await;
    let mut once = request(&server.url);
    let pieces = futures_util::stream::iter([Ok::<_, Error>("piece")]);
    *once.body_mut() = Some(Body::wrap_stream(pieces));
    let http = Http::new().expect("it can be set up");
    let answer = http.send(once, Repeat::Idempotent).await.expect("it answers");
    assert_eq!(answer.status().as_u16(), 503);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_silent_server_is_a_timeout() {
    let server = Server::new(|_, _| Act::Silence).await;
    let http = Http::new().expect("it can be set up");
    let limit = Duration::from_millis(300);
    let error = http.fetch(request(&server.url), Repeat::Idempotent, limit).await.expect_err("it is silent");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().ends_with("within 300 ms"), "{error}");
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_not_used() {
    let server = Server::new(|_, _| Act::Last(answer(200, &[], ""))).await;
    let http = Http::new().expect("it can be set up");
    for _ in 0..20 {
        let answer = http.fetch(request(&server.url), Repeat::Unsent, LIMIT).await;
        assert_eq!(answer.expect("a new one is opened").status().as_u16(), 200);
    }
    assert_eq!(server.requests().len(), 20);
}

#[tokio::test]
async fn keys_are_not_taken_elsewhere() {
    let other = Server::new(|_, _| Act::Answer(answer(200, &[], ""))).await;
    let location = format!("location: {}/elsewhere", other.url);
    let server = Server::new(move |_, request| match request.contains("/path") {
        true => Act::Answer(answer(307, &["location: /here"], "")),
        false => Act::Answer(answer(308, &[&location], "")),
    })
    .await;
    assert_eq!(status(&server, Repeat::Gateways).await, 308);
    assert_eq!((server.requests().len(), other.requests().len()), (2, 0));
}
