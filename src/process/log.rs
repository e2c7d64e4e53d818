//! What a process has written: the latest of each stream, for any number of readers.
//!
//! What nobody reads is not waited for: the oldest makes room. A reader that *holds* gets everything, and the
//! process waits when it lags behind by as much as is kept; one that does not hold misses what it was too slow
//! for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::provider::{Chunk, Wanted};

/// Bytes of each stream that are kept unless the caller says otherwise.
pub(crate) const KEPT: usize = 1 << 20;
/// A reader may lag this far, however little is kept.
const SLACK: usize = 64 << 10;
/// Bytes that a reader is given at once.
const PIECE: usize = 256 << 10;

#[derive(Debug)]
pub(crate) struct Log {
    kept: usize,
    state: Mutex<State>,
    /// Changes whenever something was written, or nothing more will be.
    written: watch::Sender<()>,
    /// Tells the writer that there may be room.
    taken: Notify,
}

#[derive(Debug, Default)]
struct State {
    streams: [Tail; 2],
    ended: bool,
    has_gaps: bool,
    holding: HashMap<u64, [Option<u64>; 2]>,
    next: u64,
}

/// The latest bytes of a stream of `end` bytes.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    end: u64,
}

impl Tail {
    fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// At most `most` bytes from a place on, or from the first that is still there.
    fn from(&self, at: u64, most: usize) -> Bytes {
        let skipped = at.saturating_sub(self.start()) as usize;
        let (front, back) = self.bytes.as_slices();
        let back = &back[skipped.saturating_sub(front.len())..];
        let front = &front[skipped.min(front.len())..];
        let mut piece = Vec::with_capacity(most.min(front.len() + back.len()));
        for part in [front, back] {
            piece.extend_from_slice(&part[..part.len().min(most - piece.len())]);
        }
        Bytes::from(piece)
    }
}

impl State {
    /// How far the slowest reader that holds has come in a stream.
    fn slowest(&self, stream: usize) -> Option<u64> {
        self.holding.values().filter_map(|at| at[stream]).min()
    }

    /// Lets go of what is neither to be kept nor held by a reader.
    fn trim(&mut self, stream: usize, kept: usize) {
        let slowest = self.slowest(stream);
        let tail = &mut self.streams[stream];
        let unread = slowest.map_or(0, |at| tail.end.saturating_sub(at)) as usize;
        let surplus = tail.bytes.len().saturating_sub(unread.max(kept));
        tail.bytes.drain(..surplus);
    }
}

impl Log {
    pub(crate) fn new(kept: usize) -> Arc<Self> {
        let (written, _) = watch::channel(());
        Arc::new(Self { kept, state: Mutex::default(), written, taken: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The streams that there is room for.
    pub(crate) fn room(&self) -> Wanted {
        let state = self.state();
        let lag = self.kept.max(SLACK) as u64;
        let room = |stream: usize| {
            state.slowest(stream).is_none_or(|at| state.streams[stream].end.saturating_sub(at) < lag)
        };
        Wanted { stdout: room(0), stderr: room(1) }
    }

    /// Waits until there may be more room than before. For one writer.
    pub(crate) async fn roomier(&self) {
        self.taken.notified().await;
    }

    pub(crate) fn append(&self, chunk: &Chunk) {
        let (stream, bytes) = chunk.parts();
        let mut state = self.state();
        let tail = &mut state.streams[stream];
        tail.bytes.extend(bytes);
        tail.end += bytes.len() as u64;
        state.trim(stream, self.kept);
        drop(state);
        self.written.send_replace(());
    }

    /// Something was lost before it came here.
    pub(crate) fn note_gaps(&self) {
        self.state().has_gaps = true;
    }

    /// Nothing more will be written.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        for tail in &mut state.streams {
            tail.bytes.shrink_to_fit();
        }
        drop(state);
        self.written.send_replace(());
    }

    /// What is kept of both streams, and whether there was more.
    pub(crate) fn latest(&self) -> ([Vec<u8>; 2], bool) {
        let state = self.state();
        let latest = state.streams.each_ref().map(|tail| {
            // A reader may hold more than is kept.
            let surplus = tail.bytes.len().saturating_sub(self.kept);
            tail.bytes.iter().skip(surplus).copied().collect::<Vec<u8>>()
        });
        let more = state.streams.iter().zip(&latest).any(|(tail, kept)| tail.end > kept.len() as u64);
        (latest, more || state.has_gaps)
    }

    /// Bytes that are kept of both streams.
    pub(super) fn weight(&self) -> usize {
        self.state().streams.iter().map(|tail| tail.bytes.len()).sum()
    }

    /// A reader of what is kept and of all that follows.
    pub(crate) fn reader(self: &Arc<Self>, streams: Wanted, holds: bool) -> Reader {
        let written = self.written.subscribe();
        let mut state = self.state();
        let at = state.streams.each_ref().map(Tail::start);
        let id = state.next;
        state.next += 1;
        let wanted = [streams.stdout, streams.stderr];
        if holds {
            state.holding.insert(id, [0, 1].map(|stream| wanted[stream].then_some(at[stream])));
        }
        drop(state);
        Reader { log: Arc::clone(self), written, id, wanted, at, last: 1 }
    }
}

/// One who reads what a process writes. Dropped, nobody waits for it any more.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Log>,
    written: watch::Receiver<()>,
    id: u64,
    wanted: [bool; 2],
    at: [u64; 2],
    /// The stream of the last piece.
    last: usize,
}

impl Reader {
    /// The next piece; `None` when the process has ended and everything has been read. Dropped: nothing is
    /// lost.
    pub async fn next(&mut self) -> Option<Chunk> {
        loop {
            self.written.borrow_and_update();
            if let Some(chunk) = self.take() {
                return chunk;
            }
            // The log holds the sender, and this holds the log.
            let _ = self.written.changed().await;
        }
    }

    /// What there is to read; `Some(None)` is the end.
    fn take(&mut self) -> Option<Option<Chunk>> {
        let mut state = self.log.state();
        // In turns: one that always has something does not hide the other.
        for stream in [1 - self.last, self.last].into_iter().filter(|stream| self.wanted[*stream]) {
            let tail = &state.streams[stream];
            let from = self.at[stream].max(tail.start());
            if from == tail.end {
                continue;
            }
            let bytes = tail.from(from, PIECE);
            self.at[stream] = from + bytes.len() as u64;
            self.last = stream;
            if let Some(held) = state.holding.get_mut(&self.id) {
                held[stream] = Some(self.at[stream]);
                state.trim(stream, self.log.kept);
            }
            drop(state);
            self.log.taken.notify_one();
            return Some(Some(if stream == 0 { Chunk::Stdout(bytes) } else { Chunk::Stderr(bytes) }));
        }
        state.ended.then_some(None)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.log.state();
        if state.holding.remove(&self.id).is_some() {
            for stream in 0..state.streams.len() {
                state.trim(stream, self.log.kept);
            }
        }
        drop(state);
        self.log.taken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stdout(bytes: &'static [u8]) -> Chunk {
        Chunk::Stdout(Bytes::from_static(bytes))
    }

    #[tokio::test]
    async fn every_reader_gets_what_is_kept_and_what_follows() {
        let log = Log::new(4);
        log.append(&stdout(b"abcdef"));
        let mut late = log.reader(Wanted::BOTH, true);
        log.append(&Chunk::Stderr(Bytes::from_static(b"!")));
        log.end();
        assert_eq!(late.next().await, Some(stdout(b"cdef")));
        assert_eq!(late.next().await, Some(Chunk::Stderr(Bytes::from_static(b"!"))));
        assert_eq!(late.next().await, None);
        assert_eq!(log.latest(), ([b"cdef".to_vec(), b"!".to_vec()], true));
    }

    #[tokio::test]
    async fn one_that_holds_misses_nothing_and_makes_the_writer_wait() {
        let log = Log::new(0);
        let mut reader = log.reader(Wanted { stdout: true, stderr: false }, true);
        let piece = Chunk::Stdout(Bytes::from(vec![b'x'; SLACK]));
        assert_eq!(log.room(), Wanted::BOTH);
        log.append(&piece);
        assert_eq!(log.room(), Wanted { stdout: false, stderr: true });
        assert_eq!(reader.next().await, Some(piece));
        assert_eq!(log.room(), Wanted::BOTH);
    }

    #[tokio::test]
    async fn what_was_held_goes_when_it_is_read_or_its_reader_goes() {
        let log = Log::new(2);
        let [mut reads, leaves] = [(); 2].map(|()| log.reader(Wanted::BOTH, true));
        log.append(&stdout(b"abcdef"));
        log.end();
        assert_eq!(reads.next().await, Some(stdout(b"abcdef")));
        assert_eq!(log.weight(), 6);
        drop(leaves);
        assert_eq!(log.weight(), 2);
    }

    #[tokio::test]
    async fn one_that_does_not_hold_misses_what_it_was_too_slow_for() {
        let log = Log::new(2);
        let mut reader = log.reader(Wanted::BOTH, false);
        log.append(&stdout(b"abcd"));
        assert_eq!(log.room(), Wanted::BOTH);
        assert_eq!(reader.next().await, Some(stdout(b"cd")));
    }

    #[tokio::test]
    async fn one_that_has_gone_is_not_waited_for() {
        let log = Log::new(0);
        drop(log.reader(Wanted::BOTH, true));
        log.append(&Chunk::Stdout(Bytes::from(vec![0; SLACK])));
        assert_eq!(log.room(), Wanted::BOTH);
    }

    #[tokio::test]
    async fn a_stream_that_always_has_something_does_not_hide_the_other() {
        let log = Log::new(1 << 20);
        let mut reader = log.reader(Wanted::BOTH, true);
        log.append(&Chunk::Stdout(Bytes::from(vec![0; 2 * PIECE])));
        log.append(&Chunk::Stderr(Bytes::from_static(b"!")));
        assert!(matches!(reader.next().await, Some(Chunk::Stdout(_))));
        assert_eq!(reader.next().await, Some(Chunk::Stderr(Bytes::from_static(b"!"))));
        assert!(matches!(reader.next().await, Some(Chunk::Stdout(_))));
    }
}
