//! The connection to the agent of a container: requests out, answers and streams in, over one program that the engine
//! runs in there for this process.
//!
//! Any number of callers use one link at once; each request has a number that its answer carries. What comes in is
//! read as if an attacker had written it: an answer nobody waits for is dropped, and a message that makes no sense, or
//! more bytes than there was room for, end the link.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use computesdk_agent::frames::{Frames, ORDER, REPORT, put, put_feed};
use computesdk_agent::protocol::{Blob, Order, Reply, Report, Request, encode};
use reqwest::Upgraded;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::raw::Raw;
use super::stream::{Flow, Stream};
use crate::providers::answers::{self, Answers, Heard};

/// Bytes read from the engine at once.
const CHUNK: usize = 64 * 1024;

/// Streams that one link may have: descriptors of this side are none, but memory is.
const STREAMS: usize = 16 * 1024;

/// A request has no answer: the link is closed, or it was never sent.
#[derive(Debug)]
pub(super) struct Lost;

/// An answer, with the streams that came beside it.
pub(super) type Answer = answers::Answer<Stream>;

/// What the agent says first.
#[derive(Debug)]
pub(super) struct Welcome {
    pub(super) bash: bool,
    pub(super) user: String,
    pub(super) home: String,
}

#[derive(Debug)]
pub(super) struct Link {
    out: mpsc::UnboundedSender<Vec<u8>>,
    welcome: Welcome,
    state: Mutex<State>,
    closed: CancellationToken,
    myself: Weak<Self>,
}

#[derive(Debug, Default)]
struct State {
    /// The highest byte of the numbers of requests.
    number: u8,
    next: u32,
    answers: Answers<Stream>,
    streams: HashMap<u32, Arc<Flow>>,
    /// The latest number of a stream: each is larger than the one before.
    latest: u32,
}

/// The receiving half of a link that is open.
#[derive(Debug)]
pub(super) struct Incoming {
    connection: ReadHalf<Upgraded>,
    raw: Raw,
    reports: Frames,
}

impl Incoming {
    /// The next message. `None` is the end, or what makes none.
    async fn next(&mut self) -> Option<Report> {
        let mut buffer = vec![0; CHUNK];
        loop {
            match self.reports.take() {
                Ok(Some(report)) => return Some(report),
                Ok(None) => {}
                Err(_) => return None,
            }
            let read = self.connection.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            let reports = &mut self.reports;
            self.raw.feed(&buffer[..read], |bytes| reports.feed(bytes)).ok()?;
        }
    }

    /// What the program in there complained of.
    pub(super) fn complaint(&self) -> String {
        self.raw.complaint()
    }
}

impl Link {
    /// Opens a link over a connection to the relay, and waits until it is greeted. On failure, what was said instead.
    pub(super) async fn open(connection: Upgraded) -> Result<(Arc<Self>, Incoming), String> {
        let (read, write) = tokio::io::split(connection);
        let mut incoming = Incoming { connection: read, raw: Raw::default(), reports: Frames::new(REPORT) };
        let Some(Report::Told { reply: Reply::Welcome { number, bash, user, home }, .. }) =
            incoming.next().await
        else {
            return Err(incoming.complaint());
        };
        let (out, orders) = mpsc::unbounded_channel();
        let link = Arc::new_cyclic(|myself| Self {
            out,
            welcome: Welcome { bash, user, home },
            state: Mutex::new(State { number, ..State::default() }),
            closed: CancellationToken::new(),
            myself: Weak::clone(myself),
        });
        tokio::spawn(write_all(write, orders, link.closed.clone()));
        Ok((link, incoming))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Hands answers to their waiters until one of the sides closes.
    pub(super) async fn serve(&self, incoming: &mut Incoming) {
        while let Some(Some(report)) = self.closed.run_until_cancelled(incoming.next()).await {
            if !self.heed(report) {
                tracing::warn!("the agent of a sandbox sent what makes no sense");
                return;
            }
        }
    }

    /// False if it makes no sense.
    fn heed(&self, report: Report) -> bool {
        let flow = |number| self.state().streams.get(&number).cloned();
        match report {
            Report::Told { reply, streams } => {
                let Some(streams) = self.opened(streams) else { return false };
                self.deliver(reply, streams)
            }
            // What nobody has to do with any more may still be on its way.
            Report::Read { stream, bytes } => flow(stream).is_none_or(|flow| flow.take(bytes.0)),
            Report::Taken { stream, bytes } => flow(stream).is_none_or(|flow| flow.taken(bytes as usize)),
            Report::End { stream, errno } => flow(stream).is_none_or(|flow| {
                flow.end(errno);
                true
            }),
            Report::Refused { stream, errno } => flow(stream).is_none_or(|flow| {
                flow.refuse(errno);
                true
            }),
            Report::Connected { stream } => flow(stream).is_none_or(|flow| {
                flow.connect();
                true
            }),
        }
    }

    /// Streams that have come, with numbers that none had before.
    fn opened(&self, numbers: Vec<u32>) -> Option<Vec<Stream>> {
        let mut state = self.state();
        let mut opened = Vec::new();
        for number in numbers {
            if number <= state.latest || state.streams.len() >= STREAMS {
                drop(state);
                return None;
            }
            state.latest = number;
            let flow = Arc::<Flow>::default();
            state.streams.insert(number, Arc::clone(&flow));
            opened.push(Stream::new(number, Weak::clone(&self.myself), flow));
        }
        Some(opened)
    }

    /// Ends everything that waits for an answer, an end or bytes.
    pub(super) fn close(&self) {
        let streams = {
            let mut state = self.state();
            self.closed.cancel();
            state.answers.clear();
            std::mem::take(&mut state.streams)
        };
        streams.values().for_each(|flow| flow.close());
    }

    /// Whether a command that has ended was killed because memory had run out.
    pub(super) fn has_starved(&self, id: u32) -> bool {
        self.state().answers.has_starved(id)
    }

    /// Nobody will ask any more how a command has ended.
    pub(super) fn forget(&self, id: u32) {
        self.state().answers.forget(id);
    }

    /// Is cancelled when the link is closed.
    pub(super) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// False if it brings streams that nobody has asked for: to let go of them is something to say for each, and there
    /// is no end to what an agent can send.
    fn deliver(&self, reply: Reply, streams: Vec<Stream>) -> bool {
        let heard = self.state().answers.hear(reply, streams);
        match heard {
            Heard::Taken => true,
            Heard::Unwanted(answer) => {
                self.undo(&answer);
                true
            }
            Heard::Unasked(beside) => beside.is_empty(),
        }
    }

    fn undo(&self, answer: &Answer) {
        if let Some(request) = answer.undoing() {
            self.tell(&request);
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask(&self, request: impl FnOnce(u32) -> Request) -> Result<(u32, Answer), Lost> {
        let (id, receiver) = {
            let mut state = self.state();
            if self.closed.is_cancelled() {
                return Err(Lost);
            }
            let id = state.free_number();
            (id, state.answers.expect(id))
        };
        let mut asked = Asked { link: self, receiver };
        self.tell(&request(id));
        let answer = (&mut asked.receiver).await.map_err(|_| Lost)?;
        Ok((id, answer))
    }

    /// Sends a request that has no answer.
    pub(super) fn tell(&self, request: &Request) {
        self.order(&Order::Ask { request: Blob(encode(request)) });
    }

    pub(super) fn order(&self, order: &Order) {
        let mut bytes = Vec::with_capacity(64);
        put(&mut bytes, order);
        // One that is longer than the relay takes would be the end of it.
        if bytes.len() <= ORDER {
            let _ = self.out.send(bytes);
        }
    }

    /// Sends bytes to a stream. Their number is bounded by what the stream has room for.
    pub(super) fn feed(&self, stream: u32, content: &[u8]) {
        let mut bytes = Vec::with_capacity(content.len() + 16);
        put_feed(&mut bytes, stream, content);
        let _ = self.out.send(bytes);
    }

    /// Nobody has to do with a stream any more.
    pub(super) fn leave(&self, stream: u32) {
        if self.state().streams.remove(&stream).is_some() {
            self.order(&Order::Leave { stream });
        }
    }
}

impl State {
    /// A number for a request. There are 16 million, and those that are in use are passed over.
    fn free_number(&mut self) -> u32 {
        loop {
            self.next = (self.next + 1) & 0xff_ffff;
            let id = u32::from(self.number) << 24 | self.next;
            if self.next != 0 && !self.answers.expects(id) {
                return id;
            }
        }
    }
}

async fn write_all(
    mut to: WriteHalf<Upgraded>,
    mut orders: mpsc::UnboundedReceiver<Vec<u8>>,
    closed: CancellationToken,
) {
    let writing = async {
        while let Some(mut bytes) = orders.recv().await {
            // What was ordered meanwhile goes with it.
            while bytes.len() < CHUNK {
                let Ok(more) = orders.try_recv() else { break };
                bytes.extend_from_slice(&more);
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    closed.run_until_cancelled(writing).await;
    let _ = to.shutdown().await;
}

/// Somebody who waits for an answer. Dropped, an answer that was not seen any more is undone, as soon as it has come.
struct Asked<'a> {
    link: &'a Link,
    receiver: oneshot::Receiver<Answer>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(answer) = self.receiver.try_recv() {
            self.link.undo(&answer);
        }
    }
}
