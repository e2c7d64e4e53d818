//! A request that the proxy passes on, and the answer to it: over a connection of its own, in the task of whoever asked.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::proxy::HEAD;

type Connection = Pin<Box<http1::Connection<TokioIo<TcpStream>, Incoming>>>;

/// The body of an answer of the proxy.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its own words, if it has any left.
    Own(Option<Bytes>),
    /// What a server answers, as it comes.
    Passed {
        /// What has come.
        body: Incoming,
        /// What brings it, until that is all.
        connection: Option<Connection>,
    },
}

/// Sends a request over a fresh connection and waits for the head of the answer.
pub(super) async fn pass_on(
    server: TcpStream,
    request: Request<Incoming>,
) -> Result<Response<Answer>, hyper::Error> {
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(server)).await?;
    let mut connection = Some(Box::pin(connection));
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = std::future::poll_fn(|context| {
        drive(&mut connection, context);
        answer.as_mut().poll(context)
    });
    let answer = answer.await?;
    Ok(answer.map(|body| Answer::Passed { body, connection }))
}

/// Lets a connection go on. How it ends, its requests and answers tell.
fn drive(connection: &mut Option<Connection>, context: &mut Context<'_>) {
    if let Some(running) = connection
        && running.as_mut().poll(context).is_ready()
    {
        *connection = None;
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Own(words) => Poll::Ready(words.take().map(|words| Ok(Frame::data(words)))),
            Self::Passed { body, connection } => {
                drive(connection, context);
                Pin::new(body).poll_frame(context).map_err(io::Error::other)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(words) => words.is_none(),
            Self::Passed { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(words) => SizeHint::with_exact(words.as_ref().map_or(0, |words| words.len() as u64)),
            Self::Passed { body, .. } => body.size_hint(),
        }
    }
}
