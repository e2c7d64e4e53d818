//! One connection: what is counted of it, and how it comes to a bad end.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// A handle to a connection, for the requests that come over it.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    world: Arc<World>,
    in_flight: AtomicU64,
    aborted: CancellationToken,
    leaving: CancellationToken,
    /// The number of the last stream that the client began.
    last_stream: AtomicU32,
    /// What is said instead of anything else, as the last.
    last_words: Mutex<Option<Vec<u8>>>,
}

impl Connection {
    /// A connection that was made just now.
    pub fn new(world: &Arc<World>) -> Self {
        world.counters.connected();
        Self(Arc::new(Inner {
            world: Arc::clone(world),
            in_flight: AtomicU64::new(0),
            aborted: CancellationToken::new(),
            leaving: CancellationToken::new(),
            last_stream: AtomicU32::new(0),
            last_words: Mutex::new(None),
        }))
    }

    /// Closes it, whatever is under way.
    pub fn abort(&self) {
        self.0.aborted.cancel();
    }

    /// When it is to be closed.
    pub async fn aborted(&self) {
        self.0.aborted.cancelled().await;
    }

    /// Lets what is under way come to its end, and takes no more.
    pub fn leave(&self) {
        self.0.leaving.cancel();
    }

    /// When no more is to be taken.
    pub async fn leaving(&self) {
        self.0.leaving.cancelled().await;
    }

    /// Closes it with a GOAWAY that says that the last stream was not looked at.
    pub fn refuse_last(&self, code: u32) {
        let last = self.0.last_stream.load(Ordering::SeqCst).saturating_sub(2);
        // Length, type, flags, stream; then the last stream that was looked at, and why (RFC 9113, 6.8).
        let mut frame = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
        frame.extend_from_slice(&last.to_be_bytes());
        frame.extend_from_slice(&code.to_be_bytes());
        *self.0.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(frame);
        // It makes the server speak, if only to be interrupted.
        self.leave();
    }

    /// A request has come.
    pub fn enter<B>(&self, request: &Request<B>) -> InFlight {
        let now = self.0.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.world.counters.requested(request, now);
        InFlight(self.clone())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.world.counters.disconnected();
    }
}

/// A request that is under way; counted until it is dropped.
#[derive(Debug)]
pub struct InFlight(Connection);

impl Drop for InFlight {
    fn drop(&mut self) {
        let inner = &self.0.0;
        inner.in_flight.fetch_sub(1, Ordering::SeqCst);
        inner.world.counters.answered();
    }
}

/// The bytes of a connection, counted; between two frames of HTTP/2 the last words can be said.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    connection: Connection,
    incoming: Option<Frames>,
    outgoing: Frames,
    silenced: bool,
}

impl<S> Wire<S> {
    /// The bytes of a connection, which are frames of HTTP/2 or not.
    pub fn new(stream: S, connection: Connection, http2: bool) -> Self {
        let incoming = http2.then_some(Frames { skip: PREFACE, ..Frames::default() });
        Self { stream, connection, incoming, outgoing: Frames::default(), silenced: false }
    }
}

/// The bytes that a client begins with, before its first frame.
const PREFACE: usize = 24;

/// Where one frame ends and the next begins.
#[derive(Debug, Default)]
struct Frames {
    head: Vec<u8>,
    skip: usize,
}

impl Frames {
    /// Takes bytes; tells the heads of the frames that begin in them.
    fn pass(&mut self, mut bytes: &[u8], mut begun: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            if self.head.len() == 9 {
                begun(&self.head);
                self.skip = usize::from(self.head[0]) << 16
                    | usize::from(self.head[1]) << 8
                    | usize::from(self.head[2]);
                self.head.clear();
            }
        }
    }

    fn between(&self) -> bool {
        self.head.is_empty() && self.skip == 0
    }
}

/// The type of the frame that begins a request.
const HEADERS: u8 = 1;

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let bytes = &buffer.filled()[before..];
        let inner = &this.connection.0;
        inner.world.counters.received(bytes.len());
        if let Some(frames) = &mut this.incoming {
            frames.pass(bytes, |head| {
                if let [_, _, _, HEADERS, _, a, b, c, d] = *head {
                    let stream = u32::from_be_bytes([a & 0x7f, b, c, d]);
                    inner.last_stream.fetch_max(stream, Ordering::SeqCst);
                }
            });
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.silenced {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let inner = &this.connection.0;
        if this.incoming.is_some() && this.outgoing.between() {
            let mut words = inner.last_words.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(frame) = &mut *words {
                while !frame.is_empty() {
                    let written = ready!(Pin::new(&mut this.stream).poll_write(context, frame))?;
                    frame.drain(..written);
                }
                ready!(Pin::new(&mut this.stream).poll_flush(context))?;
                this.silenced = true;
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
        }
        // Counted before it goes: whoever has read it may ask at once.
        let counters = &inner.world.counters;
        counters.sent(bytes.len());
        let result = Pin::new(&mut this.stream).poll_write(context, bytes);
        let written = if let Poll::Ready(Ok(written)) = result { written } else { 0 };
        counters.unsent(bytes.len() - written);
        ready!(result)?;
        if this.incoming.is_some() {
            this.outgoing.pass(&bytes[..written], |_| {});
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
