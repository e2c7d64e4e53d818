//! The proxy, spoken to as programs in a sandbox do, and worse; servers and names of these tests' own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::link::Link;
use super::dial::Dialer;
use super::policy::Policy;
use super::proxy;
use crate::provider::{Contact, Network};

/// A name server of nobody's: `loop.…` is this machine, `meta.…` what a cloud tells its machines, `mixed.…` two private
/// addresses, `none.…` nowhere.
pub(super) fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let at = |octets: [u8; 4]| SocketAddr::from((octets, port));
    match name.split('.').next() {
        Some("loop") => Ok(vec![at([127, 0, 0, 1])]),
        Some("meta") => Ok(vec![at([169, 254, 169, 254])]),
        Some("mixed") => Ok(vec![at([127, 0, 0, 1]), at([10, 0, 0, 1])]),
        Some("none") => Ok(Vec::new()),
        _ => Err(io::Error::other("no such name")),
    }
}

/// A dialer that may reach these hosts.
pub(super) fn allowing(list: &[&str]) -> Dialer {
    dialer(&Network::Allow(list.iter().map(ToString::to_string).collect()))
}

pub(super) fn dialer(network: &Network) -> Dialer {
    Dialer::with(Policy::of(network).expect("it is possible").expect("it is a network"), resolve)
}

pub(super) async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

/// A proxy that serves its clients until it is dropped.
struct Proxy {
    port: u16,
    dialer: Arc<Dialer>,
    serving: JoinHandle<()>,
    _other_end: OwnedFd,
}

impl Proxy {
    async fn new(dialer: Dialer) -> Self {
        let (listener, port) = listener().await;
        let (ours, other_end) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("a pair");
        rustix::io::ioctl_fionbio(&ours, true).expect("it is a socket");
        let link = Link::new(ours).expect("it can be watched");
        let dialer = Arc::new(dialer);
        let judge = Arc::clone(&dialer);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (judge, link) = (Arc::clone(&judge), Arc::clone(&link));
                let client = client.into_std().expect("it is a socket");
                tokio::spawn(async move { proxy::serve(client.into(), &judge, &link).await });
            }
        });
        Self { port, dialer, serving, _other_end: other_end }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.expect("it listens")
    }

    /// What it answers to some bytes, until it ends the connection.
    async fn answer(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.write_all(bytes.as_ref()).await.expect("it is read");
        rest(&mut client).await
    }

    fn log(&self) -> Vec<Contact> {
        self.dialer.log().entries()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Everything until the end; a reset is one.
async fn rest(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(Duration::from_secs(20), client.read_to_end(&mut bytes)).await.expect("it ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A server that answers each connection with these bytes, once it has read a head, and gives all that it read.
async fn server(answer: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (listener, port) = listener().await;
    let (sender, received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let (mut read, mut piece) = (Vec::new(), [0; 4096]);
                while !String::from_utf8_lossy(&read).contains("\r\n\r\n") {
                    match client.read(&mut piece).await {
                        Ok(length) if length > 0 => read.extend_from_slice(&piece[..length]),
                        _ => break,
                    }
                }
                let _ = client.write_all(answer.as_bytes()).await;
                while let Ok(length) = client.read(&mut piece).await {
                    if length == 0 {
                        break;
                    }
                    read.extend_from_slice(&piece[..length]);
                }
                let _ = sender.send(String::from_utf8_lossy(&read).into_owned());
            });
        }
    });
    (port, received)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nX-Kept: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_is_passed_on_without_what_is_between_neighbours() {
    let (port, mut received) = server(OK).await;
    let proxy = Proxy::new(allowing(&[&format!("loop.example:{port}")])).await;
    let answer = proxy
        .answer(format!(
            "GET http://LOOP.example:{port}/path?q HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: Basic x\r\n\
             Proxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\nConnection: close, X-Mine, Host\r\nX-Mine: 1\r\n\
             X-Kept: 2\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(answer.contains("x-kept: 2") && !answer.to_lowercase().contains("secret"), "{answer}");
    assert!(!answer.contains("keep-alive"), "{answer}");
    let request = received.recv().await.expect("it came").to_lowercase();
    assert!(request.starts_with("get /path?q http/1.1\r\n"), "{request}");
    assert!(
        request.contains(&format!("host: loop.example:{port}\r\n")) && request.contains("x-kept: 2"),
        "{request}"
    );
    for gone in ["other.example", "proxy-", "te:", "upgrade", "x-mine"] {
        assert!(!request.contains(gone), "{gone} in {request}");
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_forbidden_in_every_form() {
    let (port, mut received) = server(OK).await;
    let proxy = Proxy::new(allowing(&[&format!("loop.example:{port}"), "*.wild.example"])).await;
    for target in [
        format!("127.0.0.1:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f000001:{port}"),
        format!("0177.0.0.1:{port}"),
        format!("127.1:{port}"),
        format!("127.0.0.1.:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[::ffff:7f00:1]:{port}"),
        format!("loop.example.evil.org:{port}"),
        format!("evilloop.example:{port}"),
        format!("loop.wild.example:{port}"),
        "loop.wild.example:443".to_owned(),
        "meta.wild.example:80".to_owned(),
        "169.254.169.254:80".to_owned(),
        "wild.example:443".to_owned(),
        "loop.example:443".to_owned(),
        "localhost:80".to_owned(),
    ] {
        for request in [
            format!("CONNECT {target} HTTP/1.1\r\nHost: loop.example:{port}\r\nConnection: close\r\n\r\n"),
            format!(
                "GET http://{target}/ HTTP/1.1\r\nHost: loop.example:{port}\r\nConnection: close\r\n\r\n"
            ),
        ] {
            let answer = proxy.answer(&request).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{request}{answer}");
        }
    }
    assert!(proxy.log().iter().all(|entry| !entry.allowed && entry.reason.is_some()), "{:?}", proxy.log());
    assert!(received.try_recv().is_err(), "nothing came");
}

#[tokio::test]
async fn what_is_no_request_to_a_proxy_is_a_bad_one() {
    let proxy = Proxy::new(dialer(&Network::Full)).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: loop.example\r\n\r\n",
        "GET https://loop.example/ HTTP/1.1\r\n\r\n",
        "GET ftp://loop.example/ HTTP/1.1\r\n\r\n",
        "GET http://user@loop.example/ HTTP/1.1\r\n\r\n",
        "GET http://loop.example:0/ HTTP/1.1\r\n\r\n",
        "GET http://loop.example:99999/ HTTP/1.1\r\n\r\n",
        "GET http://loop.example:+80/ HTTP/1.1\r\n\r\n",
        "GET http://loop.example@evil.org:80/ HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "CONNECT loop.example HTTP/1.1\r\n\r\n",
        "CONNECT loop.example: HTTP/1.1\r\n\r\n",
        "CONNECT loop.example:0 HTTP/1.1\r\n\r\n",
        "CONNECT loop.example:65536 HTTP/1.1\r\n\r\n",
        "CONNECT user@loop.example:443 HTTP/1.1\r\n\r\n",
        "CONNECT loop.example:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        "CONNECT loop.example:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET http://loop.example/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET http://loop.example/ HTTP/1.1\r\nA : b\r\n\r\n",
        "GET http://loop.example/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "GET http://loop.example/ HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
        "GET http://loop.example/ HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
        "GET http://loop.example/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "nonsense\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\r\n\r\n",
    ] {
        let mut client = proxy.connect().await;
        client.write_all(request.as_bytes()).await.expect("it is read");
        client.shutdown().await.expect("it is open");
        let answer = rest(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{request:?}: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 403 "), "{request:?}: {answer}");
    }
    assert_eq!(proxy.log(), []);
}

#[tokio::test]
async fn each_request_of_a_connection_is_judged_by_itself() {
    let (port, mut received) = server(OK).await;
    let proxy = Proxy::new(allowing(&[&format!("loop.example:{port}")])).await;
    let allowed = format!("GET http://loop.example:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let last = format!(
        "GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: loop.example:{port}\r\nConnection: close\r\n\r\n"
    );
    let answer = proxy.answer(format!("{allowed}{allowed}{last}")).await;
    let statuses: Vec<_> = answer
        .matches("HTTP/1.1 ")
        .zip(answer.split("HTTP/1.1 ").skip(1))
        .map(|(_, rest)| &rest[..3])
        .collect();
    assert_eq!(statuses, ["200", "200", "403"], "{answer}");
    received.recv().await.expect("the first came");
    received.recv().await.expect("the second came");
    assert!(received.try_recv().is_err(), "the third did not");
}

#[tokio::test]
async fn a_redirect_is_a_request_of_its_own() {
    let (port, _received) =
        server("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = Proxy::new(allowing(&[&format!("loop.example:{port}")])).await;
    let request = |url: &str| format!("GET {url} HTTP/1.1\r\nConnection: close\r\n\r\n");
    let answer = proxy.answer(request(&format!("http://loop.example:{port}/"))).await;
    assert!(answer.contains("location: http://169.254.169.254/"), "{answer}");
    assert!(proxy.answer(request("http://169.254.169.254/")).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn a_request_of_two_lengths_is_one_of_one_length() {
    let (port, mut received) = server(OK).await;
    let proxy = Proxy::new(allowing(&[&format!("loop.example:{port}")])).await;
    let url = format!("http://loop.example:{port}/");
    let hidden = format!("GET http://127.0.0.1:{port}/hidden HTTP/1.1\r\nHost: x\r\n\r\n");
    for lengths in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 99",
    ] {
        let answer = proxy.answer(format!("POST {url} HTTP/1.1\r\n{lengths}\r\n\r\n0\r\n\r\n{hidden}")).await;
        let request = received.recv().await.expect("it came").to_lowercase();
        assert!(!request.contains("hidden") && !request.contains("content-length: 5"), "{request}");
        assert!(!request.contains("content-length: 99"), "{request}");
        assert!(!answer.contains("200 OK\r\n") || answer.matches("200 OK").count() == 1, "{answer}");
    }
}

#[tokio::test]
async fn after_connect_there_are_only_bytes() {
    let (listener, port) = listener().await;
    let proxy = Proxy::new(allowing(&[&format!("loop.example:{port}")])).await;
    let mut client = proxy.connect().await;
    // What is sent before the answer is part of them, and so is a request within.
    let inner = "CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n";
    let head = format!("CONNECT loop.example:{port} HTTP/1.1\r\nHost: loop.example\r\n\r\n");
    client.write_all(format!("{head}{inner}").as_bytes()).await.expect("it is read");
    let (mut server, _) = listener.accept().await.expect("it comes");
    let mut got = vec![0; inner.len()];
    server.read_exact(&mut got).await.expect("it is told");
    assert_eq!(got, inner.as_bytes());
    server.write_all(b"hello").await.expect("it is read");
    server.shutdown().await.expect("it is open");
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    client.write_all(b"bye").await.expect("each side ends by itself");
    client.shutdown().await.expect("it is open");
    assert_eq!(rest(&mut server).await, "bye");
    assert_eq!(proxy.log().len(), 1);
}

#[tokio::test]
async fn a_body_is_streamed_both_ways() {
    let (listener, port) = listener().await;
    let proxy = Proxy::new(allowing(&[&format!("loop.example:{port}")])).await;
    let mut client = proxy.connect().await;
    let head = format!(
        "POST http://loop.example:{port}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.expect("it is read");
    let mut leave = [0; 25];
    client.read_exact(&mut leave).await.expect("it is told to go on");
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"3\r\none\r\n").await.expect("it is read");
    let (mut server, _) = listener.accept().await.expect("it comes");
    let read_until = async |from: &mut TcpStream, end: &str| {
        let mut read = String::new();
        while !read.ends_with(end) {
            let mut byte = [0];
            from.read_exact(&mut byte).await.expect("there is more");
            read.push(byte[0] as char);
        }
        read
    };
    assert!(!read_until(&mut server, "3\r\none\r\n").await.to_lowercase().contains("expect"));
    server
        .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n")
        .await
        .expect("it is read");
    assert!(read_until(&mut client, "4\r\nfour\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
    client.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.expect("it is read");
    assert_eq!(read_until(&mut server, "0\r\n\r\n").await, "3\r\ntwo\r\n0\r\n\r\n");
    server.write_all(b"0\r\n\r\n").await.expect("it is read");
    assert_eq!(read_until(&mut client, "0\r\n\r\n").await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_head_without_an_end_is_not_kept() {
    let proxy = Proxy::new(dialer(&Network::Full)).await;
    let mut client = proxy.connect().await;
    client.write_all(b"GET http://loop.example/ HTTP/1.1\r\nA: ").await.expect("it is read");
    let long = vec![b'x'; 1 << 20];
    let _ = client.write_all(&long).await;
    let answer = rest(&mut client).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_not_waited_for() {
    let proxy = Proxy::new(dialer(&Network::Full)).await;
    let mut silent = proxy.connect().await;
    let mut slow = proxy.connect().await;
    let dripping = async {
        for _ in 0..15 {
            let _ = slow.write_all(b"G").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        rest(&mut slow).await
    };
    let (nothing, answer) = tokio::join!(rest(&mut silent), dripping);
    assert_eq!(nothing, "");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn what_a_server_answers_in_its_own_way_is_a_bad_gateway() {
    for nonsense in
        ["", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"]
    {
        let (listener, port) = listener().await;
        let proxy = Proxy::new(allowing(&[&format!("loop.example:{port}")])).await;
        let serving = async {
            let (mut client, _) = listener.accept().await.expect("it comes");
            let _ = client.read(&mut [0; 4096]).await;
            client.write_all(nonsense.as_bytes()).await.expect("it is read");
        };
        let request = format!("GET http://loop.example:{port}/ HTTP/1.1\r\nConnection: close\r\n\r\n");
        let (answer, ()) = tokio::join!(proxy.answer(request), serving);
        assert!(answer.starts_with("HTTP/1.1 502 "), "{nonsense:?}: {answer}");
    }
}

#[tokio::test]
async fn any_bytes_are_read_without_panic_and_reach_nothing_that_is_not_allowed() {
    let mut random = fastrand::Rng::with_seed(1);
    let (port, mut received) = server(OK).await;
    let proxy = Proxy::new(allowing(&["none.example"])).await;
    let seeds = [
        format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: none.example\r\n\r\n"),
        format!(
            "POST http://loop.example:{port}/ HTTP/1.1\r\nHost: none.example\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
        ),
    ];
    for round in 0..2000 {
        let mut bytes = seeds[round % seeds.len()].clone().into_bytes();
        for _ in 0..=random.u8(..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        let mut client = proxy.connect().await;
        let _ = client.write_all(&bytes).await;
        let _ = client.shutdown().await;
        let answer = rest(&mut client).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{:?}: {answer}", String::from_utf8_lossy(&bytes));
    }
    assert!(proxy.log().iter().all(|entry| !entry.allowed), "{:?}", proxy.log());
    assert!(received.try_recv().is_err(), "nothing came");
}
