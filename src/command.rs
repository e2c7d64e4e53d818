//! Running a command to its end: reading what it writes, within its limits of time and size.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::{ByteStream, Chunk, Command, Control, Exit, Instance, Process};

/// Bytes of each stream that a result keeps unless its caller says otherwise.
pub const DEFAULT_MAX_OUTPUT: usize = 64 << 20;

/// The exit code of a command whose time was over, as `timeout(1)` has it.
pub const TIMED_OUT: i32 = 124;

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
    /// Its time was over.
    pub timed_out: bool,
    /// More was written than `max_output` let the result keep.
    pub truncated: bool,
    /// From start to end.
    pub duration: Duration,
}

/// Runs a command and waits for its end.
///
/// The run is over when the command itself has ended: what others hold of its pipes is not waited for.
/// Aborted, the error carries the output so far. Dropped, the command is killed.
pub async fn run(instance: &dyn Instance, command: &Command, options: RunOptions) -> Result<Output> {
    let begun = Clock::now();
    let RunOptions { timeout, cancel, max_output, stdin, listener } = options;
    if cancel.is_cancelled() {
        return Err(aborted(None));
    }
    // A sum that no clock can hold is no limit.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let Process { mut output, control } = tokio::select! {
        process = instance.spawn(command) => process?,
        () = cancel.cancelled() => return Err(aborted(None)),
        () = until(deadline) => {
            let duration = begun.elapsed();
            return Ok(Output { exit_code: TIMED_OUT, timed_out: true, duration, ..Output::default() });
        }
    };
    let mut running = Running::new(control, deadline);
    let mut collected = Collector::new(max_output.unwrap_or(DEFAULT_MAX_OUTPUT), listener);
    let feeding = feed(Arc::clone(&running.control), stdin);
    tokio::pin!(feeding);
    let (mut fed, mut read) = (false, false);

    while !read || collected.is_telling() {
        tokio::select! {
            biased;
            () = cancel.cancelled(), if running.stop.is_none() => running.end(Stop::Abort).await?,
            () = until(running.limit) => match running.stop {
                None => running.end(Stop::Timeout).await?,
                // The command has ended, but its listener is still at what it wrote: that is its own affair.
                Some(_) if collected.is_telling() => {
                    collected.hush();
                    running.limit = Some(Instant::now() + KILL_GRACE);
                }
                Some(_) => return Err(stuck()),
            },
            result = &mut feeding, if !fed => {
                fed = true;
                running.fail_on(result).await?;
            }
            told = collected.told(), if collected.is_telling() => running.fail_on(told).await?,
            chunk = output.next(), if !read && !collected.is_telling() => match chunk {
                Some(chunk) => collected.take(chunk),
                None => {
                    read = true;
                    collected.finish();
                }
            }
        }
    }
    let exit = running.control.wait().await?;
    running.ended = true;
    let stop = running.stop.take();
    let output = |stop| collected.output(exit, stop, begun.elapsed());
    match stop {
        Some(Stop::Failure(error)) => Err(error),
        Some(Stop::Abort) => Err(aborted(Some(output(false)))),
        Some(Stop::Timeout) => Ok(output(true)),
        None => Ok(output(false)),
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
}

impl Running {
    fn new(control: Arc<dyn Control>, limit: Option<Instant>) -> Self {
        Self { control, stop: None, limit, ended: false }
    }

    /// Kills the command, once. It has to be gone soon.
    async fn end(&mut self, stop: Stop) -> Result<()> {
        self.stop = Some(stop);
        self.limit = Some(Instant::now() + KILL_GRACE);
        self.control.kill().await
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

/// Keeps output up to a limit and tells the listener, one piece after the other.
struct Collector {
    kept: [Vec<u8>; 2],
    texts: [Utf8; 2],
    max: usize,
    truncated: bool,
    listens: bool,
    listener: Option<Box<dyn Listener>>,
    untold: VecDeque<(usize, String)>,
    telling: Option<Telling>,
}

/// A piece that the listener is at; the listener comes back with the outcome.
type Telling = Pin<Box<dyn Future<Output = (Box<dyn Listener>, Result<()>)> + Send>>;

impl Collector {
    fn new(max: usize, listener: Option<Box<dyn Listener>>) -> Self {
        Self {
            kept: Default::default(),
            texts: Default::default(),
            max,
            truncated: false,
            listens: listener.is_some(),
            listener,
            untold: VecDeque::new(),
            telling: None,
        }
    }

    fn take(&mut self, chunk: Chunk) {
        let (stream, bytes) = match chunk {
            Chunk::Stdout(bytes) => (0, bytes),
            Chunk::Stderr(bytes) => (1, bytes),
        };
        let room = self.max - self.kept[stream].len();
        self.truncated |= bytes.len() > room;
        self.kept[stream].extend_from_slice(&bytes[..bytes.len().min(room)]);
        if self.listens {
            let text = self.texts[stream].decode(&bytes);
            self.tell(stream, text);
        }
    }

    /// Tells what is left of a character that will not be completed.
    fn finish(&mut self) {
        for stream in 0..2 {
            let rest = self.texts[stream].finish();
            self.tell(stream, rest);
        }
    }

    fn tell(&mut self, stream: usize, text: String) {
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

    fn output(self, exit: Exit, timed_out: bool, duration: Duration) -> Output {
        let [stdout, stderr] = self.kept.map(|bytes| text(bytes, self.truncated));
        let (code, signal) = match exit {
            Exit::Code(code) => (code, None),
            Exit::Signal(signal) => (128 + signal, Some(signal)),
        };
        Output {
            stdout,
            stderr,
            exit_code: if timed_out { TIMED_OUT } else { code },
            signal,
            timed_out,
            truncated: self.truncated,
            duration,
        }
    }
}

/// The text of all bytes; one that was cut off ends before the character that the cut went through.
fn text(bytes: Vec<u8>, cut: bool) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if cut && error.utf8_error().error_len().is_none() => {
            let end = error.utf8_error().valid_up_to();
            String::from_utf8_lossy(&error.as_bytes()[..end]).into_owned()
        }
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
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
        self.begun.extend_from_slice(bytes);
        let end = complete(&self.begun);
        let text = String::from_utf8_lossy(&self.begun[..end]).into_owned();
        self.begun.drain(..end);
        text
    }

    /// What is left when nothing more will arrive.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned()
    }
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
    fn output_that_was_cut_ends_at_a_character() {
        assert_eq!(text(b"a\xe2\x98".to_vec(), true), "a");
        assert_eq!(text(b"a\xe2\x98".to_vec(), false), "a\u{FFFD}");
    }
}
