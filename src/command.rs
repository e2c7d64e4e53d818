//! Following a command to its end: reading what it writes, within its limits of time and size.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::process::Log;
use crate::provider::{self, ByteStream, Chunk, Command, Control, Exit, Instance, Process, Wanted};
use crate::signal;

/// Bytes of each stream that a result keeps unless its caller says otherwise.
pub const DEFAULT_MAX_OUTPUT: usize = 64 << 20;

/// The exit code of a command whose time was over, as `timeout(1)` has it.
pub const TIMED_OUT: i32 = 124;

/// The exit code of a command of which nobody knows how it ends.
const UNKNOWN: i32 = -1;

/// How long a killed command may take to be gone before its caller is told that it will not go.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// How a command is run.
#[derive(Default)]
pub struct RunOptions {
    /// After this long the command and all that came of it are killed.
    pub timeout: Option<Duration>,
    /// Kills the command and all that came of it when it is cancelled.
    pub cancel: CancellationToken,
    /// Bytes of each stream that the result keeps; reading goes on beyond.
    pub max_output: Option<usize>,
    /// What the command reads.
    pub stdin: Option<ByteStream>,
    /// Is told of output as it arrives.
    pub listener: Option<Box<dyn Listener>>,
}

impl Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOptions").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Somebody who wants to see output as it arrives. An error kills the command and is what the run fails
/// with; the command is not read further before the listener is ready.
#[async_trait]
pub trait Listener: Send {
    /// Text from standard output; never a part of a character.
    async fn stdout(&mut self, text: String) -> Result<()>;
    /// Text from standard error; never a part of a character.
    async fn stderr(&mut self, text: String) -> Result<()>;
}

/// What came of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output; bytes that are no UTF-8 are U+FFFD.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// The exit code; 128 + n after signal n, 124 after a timeout.
    pub exit_code: i32,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed it, or what it waited for and passed the end of on, because memory had run out. Only where
    /// that is known.
    pub oom_killed: bool,
    /// Its time was over.
    pub timed_out: bool,
    /// More was written than `max_output` let the result keep.
    pub truncated: bool,
    /// It is no longer waited for, but could not be ended: it may go on, and how it ends is not known.
    pub abandoned: bool,
    /// From start to end.
    pub duration: Duration,
}

/// Runs a command and waits for its end.
///
/// The run is over when the command itself has ended: what others hold of its pipes is not waited for.
/// Aborted, the error carries the output so far. Dropped, the command is killed.
pub async fn run(instance: &dyn Instance, command: &Command, options: RunOptions) -> Result<Output> {
    follow(instance.spawn(command), options).await
}

/// Waits for something that runs to begin and to end. Dropped, it is killed.
pub(crate) async fn follow(
    beginning: impl Future<Output = Result<Process>>,
    options: RunOptions,
) -> Result<Output> {
    let begun = Clock::now();
    let kept = Kept::Head(Head::new(options.max_output.unwrap_or(DEFAULT_MAX_OUTPUT)));
    let (limits, stdin, listener) = Limits::split(options);
    tokio::select! {
        process = begin(beginning, &limits.cancel) => {
            Following { process: process?, limits, stdin, listener, begun }.finish(kept).await
        }
        () = until(limits.deadline) => {
            let duration = begun.elapsed();
            Ok(Output { exit_code: TIMED_OUT, timed_out: true, duration, ..Output::default() })
        }
    }
}

/// What may end a command before its time.
pub(crate) struct Limits {
    deadline: Option<Instant>,
    pub(crate) cancel: CancellationToken,
}

impl Limits {
    /// The limits among the options, counted from now on, and the rest of them.
    pub(crate) fn split(options: RunOptions) -> (Self, Option<ByteStream>, Option<Box<dyn Listener>>) {
        // A sum that no clock can hold is no limit.
        let deadline = options.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        (Self { deadline, cancel: options.cancel }, options.stdin, options.listener)
    }
}

/// Waits for something to begin, unless it is cancelled before that.
pub(crate) async fn begin(
    beginning: impl Future<Output = Result<Process>>,
    cancel: &CancellationToken,
) -> Result<Process> {
    if cancel.is_cancelled() {
        return Err(aborted(None));
    }
    tokio::select! {
        process = beginning => process,
        () = cancel.cancelled() => Err(aborted(None)),
    }
}

/// A command that runs, with all that goes on around it.
pub(crate) struct Following {
    pub(crate) process: Process,
    pub(crate) limits: Limits,
    pub(crate) stdin: Option<ByteStream>,
    pub(crate) listener: Option<Box<dyn Listener>>,
    pub(crate) begun: Clock,
}

impl Following {
    /// Reads, feeds and tells until the command has ended. Dropped, the command is killed.
    pub(crate) async fn finish(self, mut kept: Kept) -> Result<Output> {
        let Self { process: Process { mut output, control }, limits, stdin, listener, begun } = self;
        let mut running = Running::new(control, limits.deadline);
        let mut audience = Audience::new(listener);
        let feeding = feed(Arc::clone(&running.control), stdin);
        tokio::pin!(feeding);
        let (mut fed, mut read) = (false, false);

        while !running.abandoned && (!read || audience.is_telling()) {
            tokio::select! {
                biased;
                () = limits.cancel.cancelled(), if running.stop.is_none() => running.end(Stop::Abort).await?,
                () = until(running.limit) => match running.stop {
                    // It has ended in time, and only its listener is late.
                    None if running.has_ended() => {
                        running.limit = None;
                        audience.hush();
                    }
                    None => running.end(Stop::Timeout).await?,
                    // The command has ended, but its listener is still at what it wrote: that is its own affair.
                    Some(_) if audience.is_telling() => {
                        audience.hush();
                        running.limit = Some(Instant::now() + KILL_GRACE);
                    }
                    Some(_) => return Err(stuck()),
                },
                result = &mut feeding, if !fed => {
                    fed = true;
                    running.fail_on(result).await?;
                }
                told = audience.told(), if audience.is_telling() => running.fail_on(told).await?,
                chunk = kept.next(&mut *output, &*running.control), if !read && !audience.is_telling() => match chunk {
                    Some(chunk) => {
                        kept.keep(&chunk);
                        audience.tell(&chunk);
                    }
                    None => {
                        read = true;
                        audience.finish();
                    }
                }
            }
        }
        kept.note_gaps(&*output);
        let ending = match running.abandoned {
            true => Ok(Exit::Code(UNKNOWN)),
            false => running.control.wait().await,
        };
        let exit = match ending {
            Ok(exit) => exit,
            // Nobody knows how it ended: with its sandbox, most likely, which kills. What it had written is still worth having.
            Err(error) => {
                running.ended = error.kind() == ErrorKind::NotFound;
                if kept.is_empty() {
                    return Err(error);
                }
                return Err(error.with_output(kept.output(
                    Exit::Signal(signal::KILL),
                    false,
                    begun.elapsed(),
                )));
            }
        };
        running.ended = true;
        let stop = running.stop.take();
        let timed_out = matches!(stop, Some(Stop::Timeout));
        let abandoned = running.abandoned;
        let oom_killed = stop.is_none() && running.control.has_starved();
        let output = Output { abandoned, oom_killed, ..kept.output(exit, timed_out, begun.elapsed()) };
        match stop {
            Some(Stop::Failure(error)) => Err(error),
            Some(Stop::Abort) => Err(aborted(Some(output))),
            Some(Stop::Timeout) | None => Ok(output),
        }
    }
}

/// Why a command was killed.
#[derive(Debug)]
enum Stop {
    Abort,
    Timeout,
    /// What read for it or wrote to it has failed.
    Failure(Error),
}

/// A command that runs, and when its waiter loses patience. Dropped before it has ended, it is killed.
struct Running {
    control: Arc<dyn Control>,
    stop: Option<Stop>,
    limit: Option<Instant>,
    ended: bool,
    /// It goes on for all that is known, because here no command can be ended.
    abandoned: bool,
}

impl Running {
    fn new(control: Arc<dyn Control>, limit: Option<Instant>) -> Self {
        Self { control, stop: None, limit, ended: false, abandoned: false }
    }

    fn has_ended(&self) -> bool {
        self.control.wait().now_or_never().is_some()
    }

    /// Kills the command, once. It has to be gone soon; where it cannot be killed, it is not waited for any longer.
    async fn end(&mut self, stop: Stop) -> Result<()> {
        self.stop = Some(stop);
        self.limit = Some(Instant::now() + KILL_GRACE);
        match self.control.kill().await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                self.abandoned = true;
                Ok(())
            }
            killed => killed,
        }
    }

    async fn fail_on(&mut self, result: Result<()>) -> Result<()> {
        match result {
            Err(error) if self.stop.is_none() => self.end(Stop::Failure(error)).await,
            _ => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let control = Arc::clone(&self.control);
            runtime.spawn(async move { control.kill().await });
        }
    }
}

fn stuck() -> Error {
    Error::new(ErrorKind::Unavailable, "the command was killed, but it has not ended")
}

async fn until(limit: Option<Instant>) {
    match limit {
        Some(limit) => sleep_until(limit).await,
        None => std::future::pending().await,
    }
}

fn aborted(output: Option<Output>) -> Error {
    let error = Error::new(ErrorKind::Aborted, "The operation was aborted");
    match output {
        Some(output) => error.with_output(output),
        None => error,
    }
}

/// Writes the command's input. A command that stops reading has what it wanted; a source that fails has
/// failed the run.
async fn feed(control: Arc<dyn Control>, source: Option<ByteStream>) -> Result<()> {
    let Some(mut source) = source else { return Ok(()) };
    while let Some(bytes) = source.next().await {
        if control.write_stdin(&bytes?).await.is_err() {
            return Ok(());
        }
    }
    let _ = control.close_stdin().await;
    Ok(())
}

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
    fn new(max: usize) -> Self {
        Self { kept: Default::default(), max, truncated: false }
    }

    fn keep(&mut self, chunk: &Chunk) {
        let (stream, bytes) = chunk.parts();
        let room = self.max - self.kept[stream].len();
        self.truncated |= bytes.len() > room;
        self.kept[stream].extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Kept {
    /// The next piece of a stream that there is room for. The end of the process waits for no reader.
    async fn next(&self, output: &mut dyn provider::Output, control: &dyn Control) -> Option<Chunk> {
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

    fn keep(&mut self, chunk: &Chunk) {
        match self {
            Self::Head(head) => head.keep(chunk),
            Self::Log(log) => log.append(chunk),
        }
    }

    /// Whether it is known that there is nothing.
    fn is_empty(&self) -> bool {
        matches!(self, Self::Head(head) if head.kept.iter().all(Vec::is_empty))
    }

    /// What was lost on the way is missing as what was not kept is.
    fn note_gaps(&mut self, output: &dyn provider::Output) {
        if output.has_gaps() {
            match self {
                Self::Head(head) => head.truncated = true,
                Self::Log(log) => log.note_gaps(),
            }
        }
    }

    fn output(self, exit: Exit, timed_out: bool, duration: Duration) -> Output {
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

/// Tells a listener of output, one piece after the other.
struct Audience {
    texts: [Utf8; 2],
    listens: bool,
    listener: Option<Box<dyn Listener>>,
    untold: VecDeque<(usize, String)>,
    telling: Option<Telling>,
}

/// A piece that the listener is at; the listener comes back with the outcome.
type Telling = Pin<Box<dyn Future<Output = (Box<dyn Listener>, Result<()>)> + Send>>;

impl Audience {
    fn new(listener: Option<Box<dyn Listener>>) -> Self {
        Self {
            texts: Default::default(),
            listens: listener.is_some(),
            listener,
            untold: VecDeque::new(),
            telling: None,
        }
    }

    fn tell(&mut self, chunk: &Chunk) {
        if self.listens {
            let (stream, bytes) = chunk.parts();
            let text = self.texts[stream].decode(bytes);
            self.add(stream, text);
        }
    }

    /// Tells what is left of a character that will not be completed.
    fn finish(&mut self) {
        for stream in 0..2 {
            let rest = self.texts[stream].finish();
            self.add(stream, rest);
        }
    }

    fn add(&mut self, stream: usize, text: String) {
        if self.listens && !text.is_empty() {
            self.untold.push_back((stream, text));
            self.tell_next();
        }
    }

    fn tell_next(&mut self) {
        if self.untold.is_empty() {
            return;
        }
        let Some(mut listener) = self.listener.take() else { return };
        let Some((stream, text)) = self.untold.pop_front() else { return };
        self.telling = Some(Box::pin(async move {
            let told = if stream == 0 { listener.stdout(text).await } else { listener.stderr(text).await };
            (listener, told)
        }));
    }

    /// Tells nothing more.
    fn hush(&mut self) {
        self.listens = false;
        self.telling = None;
        self.untold.clear();
    }

    fn is_telling(&self) -> bool {
        self.telling.is_some()
    }

    /// Waits until the listener has taken its piece, and gives it the next. One that fails hears no more.
    async fn told(&mut self) -> Result<()> {
        let Some(telling) = &mut self.telling else { return Ok(()) };
        let (listener, told) = telling.await;
        self.telling = None;
        match told {
            Ok(()) => {
                self.listener = Some(listener);
                self.tell_next();
            }
            Err(_) => self.listens = false,
        }
        told
    }
}

/// The text of the first bytes of many; cut off, it ends before the character that the cut went through.
fn first(bytes: Vec<u8>, cut: bool) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if cut && error.utf8_error().error_len().is_none() => {
            let end = error.utf8_error().valid_up_to();
            lossy(error.as_bytes()[..end].to_vec())
        }
        Err(error) => lossy(error.into_bytes()),
    }
}

/// The text of the last bytes of many; cut off, it begins after the character that the cut went through.
fn last(bytes: &[u8], cut: bool) -> String {
    let is_continued = |byte: &&u8| (0x80..=0xBF).contains(*byte);
    let skipped = if cut { bytes.iter().take(3).take_while(is_continued).count() } else { 0 };
    String::from_utf8_lossy(&bytes[skipped..]).into_owned()
}

/// Decodes a stream piece by piece without ever splitting a character.
#[derive(Debug, Default)]
pub struct Utf8 {
    /// The beginning of a character whose end has not arrived: three bytes at most.
    begun: Vec<u8>,
}

impl Utf8 {
    /// The text of what has arrived so far and was not given out yet.
    pub fn decode(&mut self, bytes: &[u8]) -> String {
        lossy(self.whole(bytes))
    }

    /// Likewise as bytes: they end where a character does.
    pub fn whole(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.begun.extend_from_slice(bytes);
        let rest = self.begun.split_off(complete(&self.begun));
        std::mem::replace(&mut self.begun, rest)
    }

    /// What is left when nothing more will arrive.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.begun)
    }

    /// The text of that.
    pub fn finish(&mut self) -> String {
        lossy(self.rest())
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Where the last character that is not still arriving ends.
fn complete(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    for (back, byte) in bytes[from..].iter().enumerate().rev() {
        let length = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => return bytes.len(),
        };
        let at = from + back;
        let arrived = &bytes[at..];
        // Bytes that can never become a character are not waited for.
        let may_come = matches!(std::str::from_utf8(arrived), Err(error) if error.error_len().is_none());
        return if arrived.len() < length && may_come { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_never_split() {
        let text = "aé☕😀z\u{FFFD}";
        for size in 1..8 {
            let mut decoder = Utf8::default();
            let mut out = String::new();
            for piece in text.as_bytes().chunks(size) {
                out.push_str(&decoder.decode(piece));
            }
            out.push_str(&decoder.finish());
            assert_eq!(out, text);
        }
    }

    #[test]
    fn pieces_decode_to_what_the_whole_decodes_to() {
        let bytes = b"a\xff\xfe\x00\xc3(\xe2\x82z\xf0\x9f\x98\xf0\x9f\x98\x80\xed\xa0\x80\xc3";
        for size in 1..bytes.len() {
            let mut decoder = Utf8::default();
            let mut out = String::new();
            for piece in bytes.chunks(size) {
                out.push_str(&decoder.decode(piece));
            }
            out.push_str(&decoder.finish());
            assert_eq!(out, String::from_utf8_lossy(bytes), "in pieces of {size}");
        }
    }

    #[test]
    fn output_that_was_cut_begins_and_ends_at_a_character() {
        assert_eq!(first(b"a\xe2\x98".to_vec(), true), "a");
        assert_eq!(first(b"a\xe2\x98".to_vec(), false), "a\u{FFFD}");
        assert_eq!(last(b"\x98\x83a", true), "a");
        assert_eq!(last(b"\x98a", false), "\u{FFFD}a");
    }
}
