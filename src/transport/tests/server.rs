//! A server on this machine that does what a test says, on real sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
pub(crate) enum Act {
    /// These bytes are sent, and the connection stays open.
    Answer(String),
    /// These bytes are sent, and the connection is closed.
    Last(String),
    /// The connection is reset.
    Reset,
    /// Nothing is ever sent.
    Silence,
}

/// Requests as they came: the line, the headers, the body.
type Requests = Arc<Mutex<Vec<String>>>;

pub(crate) struct Server {
    pub(crate) url: String,
    requests: Requests,
}

impl Server {
    /// Does `act` for each request, which is given with its number, from 0.
    pub(crate) async fn new(act: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        Self::on(listener, act)
    }

    pub(crate) fn on(
        listener: TcpListener,
        act: impl Fn(usize, &str) -> Act + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let requests = Requests::default();
        let (act, seen) = (Arc::new(act), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&act), Arc::clone(&seen)));
            }
        });
        Self { url, requests }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("nobody panics").clone()
    }
}

async fn serve(mut stream: TcpStream, act: Arc<impl Fn(usize, &str) -> Act>, seen: Requests) {
    while let Some(request) = read(&mut stream).await {
        let number = {
            let mut seen = seen.lock().expect("nobody panics");
            seen.push(request.clone());
            seen.len() - 1
        };
        match act(number, &request) {
            Act::Answer(text) => stream.write_all(text.as_bytes()).await.expect("somebody reads"),
            Act::Last(text) => return stream.write_all(text.as_bytes()).await.expect("somebody reads"),
            Act::Reset => return stream.set_zero_linger().expect("it is open"),
            Act::Silence => tokio::time::sleep(Duration::from_secs(60)).await,
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let chunked = head.contains("transfer-encoding: chunked");
            if body.len() >= length.unwrap_or(0) && (!chunked || body.ends_with("0\r\n\r\n")) {
                return Some(text);
            }
        }
        let read = stream.read_buf(&mut bytes).await.ok()?;
        if read == 0 {
            return None;
        }
    }
}

/// An answer with these headers and this body.
pub(crate) fn answer(status: u16, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}
