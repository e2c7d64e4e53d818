//! What is kept of what a command writes.

use std::sync::Arc;
use std::time::Duration;

use super::text::{first, last};
use super::{Output, TIMED_OUT};
use crate::process::Log;
use crate::provider::{self, Chunk, Control, Exit, Wanted};

/// Where output is kept: the first of it for a result, or the latest of it for whoever looks.
pub(crate) enum Kept {
    Head(Head),
    Log(Arc<Log>),
}

/// The first bytes of each stream.
pub(crate) struct Head {
    kept: [Vec<u8>; 2],
    max: usize,
    truncated: bool,
}

impl Head {
    fn keep(&mut self, chunk: &Chunk) {
        let (stream, bytes) = chunk.parts();
        let room = self.max - self.kept[stream].len();
        self.truncated |= bytes.len() > room;
        self.kept[stream].extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Kept {
    /// The first of it, up to `max` bytes of each stream.
    pub(super) fn head(max: usize) -> Self {
        Self::Head(Head { kept: Default::default(), max, truncated: false })
    }

    /// The next piece of a stream that there is room for. The end of the process waits for no reader.
    pub(super) async fn next(
        &self,
        output: &mut dyn provider::Output,
        control: &dyn Control,
    ) -> Option<Chunk> {
        let Self::Log(log) = self else { return output.next(Wanted::BOTH).await };
        loop {
            let room = log.room();
            if room == Wanted::BOTH {
                return output.next(room).await;
            }
            tokio::select! {
                chunk = output.next(room), if room.stdout || room.stderr => return chunk,
                () = log.roomier() => {}
                _ = control.wait() => return output.next(Wanted::BOTH).await,
            }
        }
    }

    pub(super) fn keep(&mut self, chunk: &Chunk) {
        match self {
            Self::Head(head) => head.keep(chunk),
            Self::Log(log) => log.append(chunk),
        }
    }

    /// Whether it is known that there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Head(head) if head.kept.iter().all(Vec::is_empty))
    }

    /// What was lost on the way is missing as what was not kept is.
    pub(super) fn note_gaps(&mut self, output: &dyn provider::Output) {
        if output.has_gaps() {
            match self {
                Self::Head(head) => head.truncated = true,
                Self::Log(log) => log.note_gaps(),
            }
        }
    }

    pub(super) fn output(self, exit: Exit, timed_out: bool, duration: Duration) -> Output {
        let ([stdout, stderr], truncated) = match self {
            Self::Head(head) => (head.kept.map(|bytes| first(bytes, head.truncated)), head.truncated),
            // Whoever asks for the latest takes it from the log: kept as text too, it would be there twice.
            Self::Log(_) => Default::default(),
        };
        let (code, signal) = match exit {
            Exit::Code(code) => (code, None),
            Exit::Signal(signal) => (128 + signal, Some(signal)),
        };
        let exit_code = if timed_out { TIMED_OUT } else { code };
        let (oom_killed, abandoned) = (false, false);
        Output { stdout, stderr, exit_code, signal, oom_killed, timed_out, truncated, abandoned, duration }
    }
}

/// Completes what came of a process by the latest that its log has.
pub(crate) fn with_latest(output: Output, log: &Log) -> Output {
    let (kept, truncated) = log.latest();
    let [stdout, stderr] = kept.map(|bytes| last(&bytes, truncated));
    Output { stdout, stderr, truncated, ..output }
}
