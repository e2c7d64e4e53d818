//! What listens inside: how it is reached from outside, and waited for.

use std::io::{self, ErrorKind as Io};
use std::time::{Duration, Instant};

use computesdk::error::{ErrorKind, Result};
use computesdk::provider::{Command, CreateRequest, Process, Program, Wanted};
use computesdk::sandbox::Sandbox;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::harness::{At, Case, cases, eventually, sh, soon};

pub(super) const CASES: &[Case] = cases![
    a_url_is_given_at_once_and_each_time_the_same,
    a_server_is_reached_over_a_connection_that_is_kept if loopback,
    a_server_is_reached_whatever_loopback_address_it_has if loopback,
    what_listens_is_seen_whatever_loopback_address_it_has,
    each_side_can_end_its_half_first if loopback,
    an_answer_that_is_cut_off_does_not_look_whole if loopback,
    a_server_that_reads_no_further_is_heard_all_the_same if loopback,
    five_hundred_connections_work_at_once if loopback,
    where_nothing_listens_a_connection_is_reset_at_once if loopback,
    sandboxes_with_the_same_port_are_apart if loopback,
    ports_are_reached_from_the_beginning if loopback,
    an_impossible_port_is_refused,
    the_domain_is_the_host_of_the_url,
    what_is_no_port_and_no_protocol_is_refused,
    destroy_closes_connections_and_the_way_in if loopback,
    the_end_of_its_time_closes_connections_and_the_way_in if loopback,
    what_listens_already_is_not_waited_for,
    what_listens_later_is_waited_for,
    what_is_waited_for_is_not_used_up,
    what_is_connected_does_not_listen,
    what_never_listens_is_a_timeout,
    waiting_ends_with_the_sandbox,
    waiting_can_be_given_up,
];

const SOON: Duration = Duration::from_secs(10);

/// Starts a program that serves, and waits until it does.
async fn serve(sandbox: &Sandbox, port: u16, source: &str) -> Process {
    let process = start(sandbox, source).await;
    wait_for(sandbox, port).await.unwrap();
    process
}

async fn start(sandbox: &Sandbox, source: &str) -> Process {
    let argv = ["python3", "-c", source].map(str::to_owned).into();
    let command = Command { program: Program::Args(argv), ..Command::default() };
    sandbox.instance().spawn(&command).await.unwrap()
}

async fn wait_for(sandbox: &Sandbox, port: u16) -> Result<()> {
    sandbox.wait_for_port(port, Some(Duration::from_secs(20)), &CancellationToken::new()).await
}

/// Serves every client in a thread of its own, by `each`, which has it as `c`.
fn server(port: u16, each: &str) -> String {
    format!(
        "import socket, threading, time
def each(c):
  {}
s = socket.create_server(('127.0.0.1', {port}), backlog=1024)
while True:
  threading.Thread(target=each, args=(s.accept()[0],), daemon=True).start()",
        each.replace('\n', "\n  ")
    )
}

const ECHO: &str = "while b := c.recv(65536): c.sendall(b)\nc.close()";
const ENDLESS: &str = "while True: c.sendall(bytes(65536))";

async fn connect(sandbox: &Sandbox, port: u16) -> TcpStream {
    connect_to(&sandbox.url(port, None).await.unwrap()).await.unwrap()
}

async fn connect_to(url: &str) -> io::Result<TcpStream> {
    TcpStream::connect(url.strip_prefix("http://").unwrap()).await
}

/// Everything up to the end.
async fn rest(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    soon("the end", SOON, client.read_to_end(&mut all)).await?;
    Ok(all)
}

/// Reads until the connection is reset, which it must be.
async fn assert_reset(client: &mut TcpStream, what: &str) {
    let mut buffer = vec![0; 1 << 16];
    let error = soon(what, SOON, async {
        loop {
            match client.read(&mut buffer).await {
                Ok(0) => panic!("an end that looks good: {what}"),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    })
    .await;
    assert_eq!(error.kind(), Io::ConnectionReset, "{what}");
}

/// Whoever connects to a port is turned away: by a reset, as early as while connecting.
async fn assert_unreached(sandbox: &Sandbox, port: u16) {
    let begun = Instant::now();
    match connect_to(&sandbox.url(port, None).await.unwrap()).await {
        Ok(mut client) => assert_reset(&mut client, "nobody is reached").await,
        Err(error) => assert_eq!(error.kind(), Io::ConnectionReset),
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

async fn a_url_is_given_at_once_and_each_time_the_same(at: At) {
    let sandbox = at.sandbox().await;
    let url = soon("the URL", Duration::from_secs(1), sandbox.url(3000, None)).await.unwrap();
    let scheme = at.measures().scheme;
    assert!(url.starts_with(&format!("{scheme}://")), "{url}");
    assert_eq!(sandbox.url(3000, Some(scheme)).await.unwrap(), url);
    let (ws, ws_url) = (scheme.replace("http", "ws"), url.replacen("http", "ws", 1));
    assert_eq!(sandbox.url(3000, Some(&ws)).await.unwrap(), ws_url);
    assert_ne!(sandbox.url(3001, None).await.unwrap(), url);
    let again = at.0.connect(sandbox.id()).await.unwrap().unwrap();
    assert_eq!(again.url(3000, None).await.unwrap(), url);
}

async fn a_server_is_reached_over_a_connection_that_is_kept(at: At) {
    let sandbox = at.sandbox().await;
    let source = "from http.server import *
class H(BaseHTTPRequestHandler):
  protocol_version = 'HTTP/1.1'
  count = 0
  def do_POST(self):
    self.count += 1
    body = self.rfile.read(int(self.headers['content-length'])).upper() + str(self.count).encode()
    self.send_response(200); self.send_header('content-length', str(len(body))); self.end_headers(); self.wfile.write(body)
  def log_message(*a): pass
ThreadingHTTPServer(('', 8000), H).serve_forever()";
    let _server = serve(&sandbox, 8000, source).await;
    let mut client = connect(&sandbox, 8000).await;
    for turn in 1..=50 {
        let request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
        client.write_all(request).await.unwrap();
        let expected = format!("\r\n\r\nHELLO{turn}");
        let mut answer = Vec::new();
        while !answer.ends_with(expected.as_bytes()) {
            let read = soon("the answer", SOON, client.read_buf(&mut answer)).await.unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
}

/// Serves at each of five addresses, on ports 9001 to 9005, for ever: each client gets the number of its port.
const ADDRESSES: &str = "import socket
for port, family, host in ((1, 2, '127.0.0.1'), (2, 2, '0.0.0.0'), (3, 10, '::1'), (4, 10, '::')):
  s = socket.socket(family); s.bind((host, 9000 + port)); s.listen(); last = s; globals()[f's{port}'] = s
only = socket.socket(10); only.setsockopt(41, 26, 1); only.bind(('::', 9005)); only.listen()
import select
while True:
  for s in select.select([s1, s2, s3, s4, only], [], [])[0]: c, _ = s.accept(); c.send(str(s.getsockname()[1]).encode()); c.close()";

async fn a_server_is_reached_whatever_loopback_address_it_has(at: At) {
    let sandbox = at.sandbox().await;
    let _server = serve(&sandbox, 9005, ADDRESSES).await;
    for port in 9001..=9005 {
        let answer = rest(&mut connect(&sandbox, port).await).await.unwrap();
        assert_eq!(answer, port.to_string().into_bytes());
    }
}

async fn what_listens_is_seen_whatever_loopback_address_it_has(at: At) {
    let sandbox = at.sandbox().await;
    let _server = serve(&sandbox, 9005, ADDRESSES).await;
    for port in 9001..=9005 {
        assert!(sandbox.instance().listens(port).await.unwrap(), "{port}");
    }
    assert!(!sandbox.instance().listens(9006).await.unwrap());
}

async fn each_side_can_end_its_half_first(at: At) {
    let sandbox = at.sandbox().await;
    let all = "all = b''\nwhile b := c.recv(65536): all += b\ntime.sleep(0.1); c.sendall(b'got %d' % len(all)); c.close()";
    let _all = serve(&sandbox, 9001, &server(9001, all)).await;
    let mut client = connect(&sandbox, 9001).await;
    client.write_all(&vec![7; 3_000_000]).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap(), b"got 3000000");

    let first = "c.sendall(b'no more'); c.shutdown(socket.SHUT_WR)
all = b''\nwhile b := c.recv(65536): all += b\nopen('/tmp/got', 'wb').write(all)";
    let _first = serve(&sandbox, 9002, &server(9002, first)).await;
    let mut client = connect(&sandbox, 9002).await;
    assert_eq!(rest(&mut client).await.unwrap(), b"no more");
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.write_all(b"more and ").await.unwrap();
    client.write_all(b"more").await.unwrap();
    drop(client);
    eventually("it has arrived", SOON, async || sh(&sandbox, "cat /tmp/got").await.stdout == "more and more")
        .await;
}

async fn an_answer_that_is_cut_off_does_not_look_whole(at: At) {
    let sandbox = at.sandbox().await;
    let cut = "import struct
c.sendall(b'half an ans'); time.sleep(0.1)
c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()";
    let _server = serve(&sandbox, 9001, &server(9001, cut)).await;
    let mut client = connect(&sandbox, 9001).await;
    assert_reset(&mut client, "what the server has reset").await;

    // And the other way round: what a client resets is reset inside.
    let told = "try: c.recv(1); r = c.recv(1)\nexcept OSError as e: r = e.strerror\nopen('/tmp/told', 'w').write(str(r))";
    let _server = serve(&sandbox, 9002, &server(9002, told)).await;
    let mut client = connect(&sandbox, 9002).await;
    client.write_all(b"x").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.set_zero_linger().unwrap();
    drop(client);
    eventually("the server is told", SOON, async || {
        sh(&sandbox, "cat /tmp/told").await.stdout == "Connection reset by peer"
    })
    .await;
}

async fn a_server_that_reads_no_further_is_heard_all_the_same(at: At) {
    let sandbox = at.sandbox().await;
    let refusing = "c.recv(10); c.sendall(b'too long'); time.sleep(0.1); c.close()";
    let _server = serve(&sandbox, 9001, &server(9001, refusing)).await;
    for _ in 0..20 {
        let (mut reading, mut writing) = connect(&sandbox, 9001).await.into_split();
        let sending = async {
            let request = vec![0; 1 << 20];
            while writing.write_all(&request).await.is_ok() {}
        };
        let mut answer = [0; 8];
        let (read, ()) = soon("both ends", SOON, async {
            tokio::join!(async { reading.read_exact(&mut answer).await.map(drop) }, sending)
        })
        .await;
        read.unwrap();
        assert_eq!(&answer, b"too long");
    }
}

async fn five_hundred_connections_work_at_once(at: At) {
    let sandbox = at.sandbox().await;
    let echo = "import asyncio
async def each(r, w):
  while b := await r.read(65536): w.write(b); await w.drain()
  w.close()
async def main(): await (await asyncio.start_server(each, '127.0.0.1', 9001, backlog=1024)).serve_forever()
asyncio.run(main())";
    let _server = serve(&sandbox, 9001, echo).await;
    let url = sandbox.url(9001, None).await.unwrap();
    let connected = join_all((0..500).map(|_| connect_to(&url))).await;
    let turns = connected.into_iter().enumerate().map(async |(number, client)| {
        let mut client = client.unwrap();
        let message = format!("{number} ").repeat(100 + number);
        client.write_all(message.as_bytes()).await.unwrap();
        let mut answer = vec![0; message.len()];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, message.as_bytes());
        client
    });
    // All of them are open until the last has its answer.
    let mut clients = soon("all answers", Duration::from_secs(15), join_all(turns)).await;
    for client in &mut clients {
        client.shutdown().await.unwrap();
        assert_eq!(rest(client).await.unwrap(), b"");
    }
}

async fn where_nothing_listens_a_connection_is_reset_at_once(at: At) {
    let sandbox = at.sandbox().await;
    for port in [1, 22, 3000, 65535] {
        assert_unreached(&sandbox, port).await;
    }
    // What was tried too early works when it is there.
    let _server = serve(&sandbox, 3000, &server(3000, "c.sendall(b'here'); c.close()")).await;
    assert_eq!(rest(&mut connect(&sandbox, 3000).await).await.unwrap(), b"here");
}

async fn sandboxes_with_the_same_port_are_apart(at: At) {
    let (one, other) = (at.sandbox().await, at.sandbox().await);
    let _one = serve(&one, 9001, &server(9001, "c.sendall(b'one'); c.close()")).await;
    let _other = serve(&other, 9001, &server(9001, "c.sendall(b'other'); c.close()")).await;
    assert_eq!(rest(&mut connect(&one, 9001).await).await.unwrap(), b"one");
    assert_eq!(rest(&mut connect(&other, 9001).await).await.unwrap(), b"other");
    let third = at.sandbox().await;
    assert!(!third.instance().listens(9001).await.unwrap());
    assert_unreached(&third, 9001).await;
}

async fn ports_are_reached_from_the_beginning(at: At) {
    let request = CreateRequest { ports: vec![9001, 9002, 9001], ..CreateRequest::default() };
    let sandbox = at.create(request).await;
    let _server = serve(&sandbox, 9002, &server(9002, "c.sendall(b'here'); c.close()")).await;
    assert_eq!(rest(&mut connect(&sandbox, 9002).await).await.unwrap(), b"here");
    assert_ne!(sandbox.url(9001, None).await.unwrap(), sandbox.url(9002, None).await.unwrap());
}

async fn an_impossible_port_is_refused(at: At) {
    let request = CreateRequest { ports: vec![80, 0], ..CreateRequest::default() };
    let error = computesdk::compute::create_at(&at.0, &request, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("`ports`"), "{error}");
}

async fn the_domain_is_the_host_of_the_url(at: At) {
    let request = CreateRequest { domain: Some("box.example.org".to_owned()), ..CreateRequest::default() };
    let sandbox = at.create(request).await;
    let url = sandbox.url(3000, None).await.unwrap();
    assert!(url.contains("box.example.org"), "{url}");
    let request = CreateRequest { domain: Some("no domain".to_owned()), ..CreateRequest::default() };
    let error = computesdk::compute::create_at(&at.0, &request, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("`domain`"), "{error}");
}

async fn what_is_no_port_and_no_protocol_is_refused(at: At) {
    let sandbox = at.sandbox().await;
    let error = sandbox.url(0, None).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidArgument, Some("getUrl")));
    assert_eq!(wait_for(&sandbox, 0).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let error = sandbox.url(80, Some("ftp")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    for protocol in ["https", "wss"] {
        if let Err(error) = sandbox.url(80, Some(protocol)).await {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains(protocol), "{error}");
        }
    }
}

/// A client that is in the middle of a download, and one on which nothing happens.
async fn busy_and_idle(sandbox: &Sandbox) -> [TcpStream; 2] {
    let _endless = serve(sandbox, 9001, &server(9001, ENDLESS)).await;
    let _echo = serve(sandbox, 9002, &server(9002, ECHO)).await;
    let (mut busy, mut idle) = (connect(sandbox, 9001).await, connect(sandbox, 9002).await);
    busy.read_exact(&mut vec![0; 10_000_000]).await.unwrap();
    idle.write_all(b"x").await.unwrap();
    idle.read_exact(&mut [0]).await.unwrap();
    [busy, idle]
}

async fn destroy_closes_connections_and_the_way_in(at: At) {
    let sandbox = at.sandbox().await;
    let url = sandbox.url(9001, None).await.unwrap();
    let clients = busy_and_idle(&sandbox).await;
    soon("the end", Duration::from_secs(2), sandbox.destroy()).await.unwrap();
    assert_eq!(connect_to(&url).await.unwrap_err().kind(), Io::ConnectionRefused);
    for mut client in clients {
        assert_reset(&mut client, "the sandbox was destroyed").await;
    }
    for error in [sandbox.url(9001, None).await.unwrap_err(), sandbox.url(1, None).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("destroyed"), "{error}");
    }
}

async fn the_end_of_its_time_closes_connections_and_the_way_in(at: At) {
    let timeout = Some(Duration::from_secs(8));
    let sandbox = at.create(CreateRequest { timeout, ..CreateRequest::default() }).await;
    let url = sandbox.url(9001, None).await.unwrap();
    for mut client in busy_and_idle(&sandbox).await {
        assert_reset(&mut client, "its time was over").await;
    }
    eventually("the way in is closed", SOON, async || {
        connect_to(&url).await.is_err_and(|error| error.kind() == Io::ConnectionRefused)
    })
    .await;
}

async fn what_listens_already_is_not_waited_for(at: At) {
    let sandbox = at.sandbox().await;
    let _server = serve(&sandbox, 9001, &server(9001, ECHO)).await;
    soon("the answer", Duration::from_secs(1), wait_for(&sandbox, 9001)).await.unwrap();
}

async fn what_listens_later_is_waited_for(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import socket, time
s = socket.socket(); s.bind(('127.0.0.1', 9001)); time.sleep(0.5)
open('/tmp/listens', 'w').close(); s.listen(); time.sleep(60)";
    let _server = start(&sandbox, source).await;
    let (first, second) = tokio::join!(wait_for(&sandbox, 9001), wait_for(&sandbox, 9001));
    first.and(second).unwrap();
    assert!(sandbox.filesystem().exists("/tmp/listens").await, "it was bound, but did not listen yet");
}

async fn what_is_waited_for_is_not_used_up(at: At) {
    let sandbox = at.sandbox().await;
    let once = "import socket
s = socket.create_server(('127.0.0.1', 9001), backlog=0); c, _ = s.accept(); s.close(); c.sendall(b'only you'); c.close()";
    let server = serve(&sandbox, 9001, once).await;
    for _ in 0..20 {
        wait_for(&sandbox, 9001).await.unwrap();
    }
    if at.lacks("loopback").is_none() {
        assert_eq!(rest(&mut connect(&sandbox, 9001).await).await.unwrap(), b"only you");
    } else {
        let client = "import socket; print(socket.create_connection(('127.0.0.1', 9001)).recv(99).decode())";
        let heard = sh(&sandbox, format!("python3 -c \"{client}\"")).await;
        assert_eq!(heard.stdout, "only you\n", "{}", heard.stderr);
    }
    server.control.wait().await.unwrap();
    assert!(!sandbox.instance().listens(9001).await.unwrap());
}

async fn what_is_connected_does_not_listen(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import socket, time
s = socket.create_server(('127.0.0.1', 9001)); c = socket.create_connection(('127.0.0.1', 9001)); a, _ = s.accept(); s.close()
elsewhere = socket.create_server(('127.0.0.2', 9002)); print('ready', flush=True); time.sleep(60)";
    let mut process = start(&sandbox, source).await;
    process.output.next(Wanted::BOTH).await.unwrap();
    for port in [9001, 9002] {
        assert!(!sandbox.instance().listens(port).await.unwrap(), "{port}");
        if at.lacks("loopback").is_none() {
            assert_unreached(&sandbox, port).await;
        }
    }
}

async fn what_never_listens_is_a_timeout(at: At) {
    let sandbox = at.sandbox().await;
    let begun = Instant::now();
    let timeout = Some(Duration::from_millis(200));
    let error = sandbox.wait_for_port(9001, timeout, &CancellationToken::new()).await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_millis(200) && begun.elapsed() < SOON);
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Timeout, Some("waitForPort")));
    assert!(error.message().contains("9001") && error.message().contains("200 ms"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("output")));
}

async fn waiting_ends_with_the_sandbox(at: At) {
    let sandbox = at.sandbox().await;
    // Without a limit of its own.
    let (timeout, cancel) = (Some(Duration::ZERO), CancellationToken::new());
    let waiting = sandbox.wait_for_port(9001, timeout, &cancel);
    let destroying = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        sandbox.destroy().await.unwrap();
    };
    let (waited, ()) = soon("both ends", SOON, async { tokio::join!(waiting, destroying) }).await;
    let error = waited.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("destroyed"), "{error}");
}

async fn waiting_can_be_given_up(at: At) {
    let sandbox = at.sandbox().await;
    let cancel = CancellationToken::new();
    let waiting = sandbox.wait_for_port(9001, None, &cancel);
    let giving_up = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
    };
    let (waited, ()) = soon("both ends", SOON, async { tokio::join!(waiting, giving_up) }).await;
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::Aborted);
    let waited = sandbox.wait_for_port(9001, None, &cancel).await;
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::Aborted, "given up before");
}
