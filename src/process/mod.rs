//! Processes that go on while others look: started, read by any number of readers, written to, waited for,
//! found again by their numbers.

mod ending;
mod log;
mod table;
mod turns;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use tokio::sync::watch;

pub(crate) use self::ending::{Ending, Teller};
pub use self::log::Reader;
pub(crate) use self::log::{KEPT, Log};
pub use self::table::Table;
pub(crate) use self::turns::Turns;
use crate::command::{self, Following, Kept, Limits, Output, RunOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{self, Command, Control, Instance, Wanted};

/// How long after the end of a process a write may take to say that it had gone well.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A process of a sandbox. Dropped, it goes on.
pub struct Process {
    control: Arc<dyn Control>,
    log: Arc<Log>,
    outcome: Outcome,
    /// Reads nothing, but keeps everything, until it is known who reads.
    hold: Mutex<Option<Reader>>,
    writes: Turns,
}

/// What came of it, once it has ended.
type Outcome = watch::Receiver<Option<Ended>>;

/// The end of a process. The first who asks gets the error itself, with whatever it was made of; others a copy.
#[derive(Clone)]
struct Ended {
    at: Clock,
    result: Result<Output, Arc<Mutex<Error>>>,
}

impl Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl Process {
    /// Starts a command and lets it go on, within its options: a time limit or an abort ends it, and its
    /// listener is told until it ends. A time that is over before the start ends it right after.
    pub(crate) async fn start(
        instance: &dyn Instance,
        command: &Command,
        options: RunOptions,
    ) -> Result<Arc<Self>> {
        let begun = Clock::now();
        let log = Log::new(options.max_output.unwrap_or(KEPT));
        let hold = log.reader(Wanted::BOTH, true);
        let (limits, stdin, listener) = Limits::split(options);
        let process = command::begin(instance.spawn(command), &limits.cancel).await?;
        let following = Following { process, limits, stdin, listener, begun };
        Ok(Arc::new(Self::watch(following, log, Some(hold))))
    }

    /// A process that was started elsewhere, from now on.
    pub(crate) fn attached(process: provider::Process) -> Arc<Self> {
        let (limits, stdin, listener) = Limits::split(RunOptions::default());
        let following = Following { process, limits, stdin, listener, begun: Clock::now() };
        Arc::new(Self::watch(following, Log::new(KEPT), None))
    }

    fn watch(following: Following, log: Arc<Log>, hold: Option<Reader>) -> Self {
        let control = Arc::clone(&following.process.control);
        let (sender, outcome) = watch::channel(None);
        let written = Arc::clone(&log);
        tokio::spawn(async move {
            let control = Arc::clone(&following.process.control);
            let result = following.finish(Kept::Log(Arc::clone(&written))).await;
            // Whoever still holds a handle holds no descriptor by it.
            let _ = control.close_stdin().await;
            if let Err(error) = &result {
                tracing::debug!(code = error.code(), "a process failed");
            }
            let result = result.map_err(|error| Arc::new(Mutex::new(error)));
            sender.send_replace(Some(Ended { at: Clock::now(), result }));
            written.end();
        });
        Self { control, log, outcome, hold: Mutex::new(hold), writes: Turns::default() }
    }

    /// Its number in the sandbox.
    pub fn pid(&self) -> u32 {
        self.control.pid()
    }

    /// Whether its end has been seen.
    pub fn has_ended(&self) -> bool {
        self.ended_at().is_some()
    }

    /// When its end was seen.
    pub(crate) fn ended_at(&self) -> Option<Clock> {
        self.outcome.borrow().as_ref().map(|ended| ended.at)
    }

    /// Its exit code, if it has ended well.
    pub fn exit_code(&self) -> Option<i32> {
        self.outcome
            .borrow()
            .as_ref()
            .and_then(|ended| ended.result.as_ref().ok().map(|output| output.exit_code))
    }

    /// Bytes of its output that are kept.
    pub(crate) fn weight(&self) -> usize {
        self.log.weight()
    }

    /// Waits for its end, however it comes.
    pub async fn until_ended(&self) {
        self.ending().await;
    }

    fn ending(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut outcome = self.outcome.clone();
        async move {
            let _ = outcome.wait_for(Option::is_some).await;
        }
    }

    /// Waits for its end. Any number of waiters get the same answer: the latest output, and how it ended.
    pub async fn wait(&self) -> Result<Output> {
        let mut outcome = self.outcome.clone();
        let ended = outcome.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        match ended.map(|ended| ended.result) {
            Some(Ok(output)) => Ok(command::with_latest(output, &self.log)),
            Some(Err(error)) => {
                let mut held = error.lock().unwrap_or_else(PoisonError::into_inner);
                let copy = held.copy();
                let error = std::mem::replace(&mut *held, copy);
                Err(match error.output().cloned() {
                    Some(output) => error.with_output(command::with_latest(output, &self.log)),
                    None => error,
                })
            }
            None => Err(Error::new(ErrorKind::Unavailable, "the process is no longer watched")),
        }
    }

    /// A reader of these streams, from what is kept of them on. One that holds gets everything: the process
    /// waits for it; one that does not misses what it was too slow for.
    pub fn reader(&self, streams: Wanted, holds: bool) -> Reader {
        self.log.reader(streams, holds)
    }

    /// From now on nothing is kept for readers yet to come but the latest.
    pub fn release(&self) {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Writes to its standard input, after all that was asked for before. One that no longer reads is
    /// `Unavailable`.
    pub fn write(&self, bytes: Bytes) -> impl Future<Output = Result<()>> + Send + use<> {
        let (mut turn, control) = (self.writes.take(), Arc::clone(&self.control));
        let ended = self.ending();
        let closed = || Error::new(ErrorKind::Unavailable, "the process has ended");
        async move {
            let writing = async {
                turn.come().await;
                control.write_stdin(&bytes).await
            };
            tokio::pin!(writing);
            tokio::select! {
                biased;
                written = &mut writing => return written,
                () = ended => {}
            }
            // It may have ended because of what was written, and word of that has come first.
            tokio::time::timeout(LAST_WORD, writing).await.unwrap_or_else(|_| Err(closed()))
        }
    }

    /// Ends its standard input, after all that was written before. Twice is fine.
    pub fn end_input(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let (mut turn, control) = (self.writes.take(), Arc::clone(&self.control));
        let ended = self.ending();
        async move {
            tokio::select! {
                closed = async {
                    turn.come().await;
                    control.close_stdin().await
                } => closed,
                () = ended => Ok(()),
            }
        }
    }

    /// Its handle.
    pub fn control(&self) -> &Arc<dyn Control> {
        &self.control
    }
}
