//! A command of a plug-in's, from its start to its end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::Features;
use super::answer::Answer;
use super::call::Call;
use super::line;
use crate::error::{Error, ErrorKind, Result};
use crate::node::convert;
use crate::provider::{Chunk, Command, Control, Exit, Output, Process, Size, Wanted};

/// How much earlier than ours a limit of the plug-in's own may come to be over, by its clock.
const SKEW: Duration = Duration::from_millis(20);

/// What came of a command.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    pub(super) stdout: Bytes,
    pub(super) stderr: Bytes,
    pub(super) exit_code: i32,
    /// Its number in the sandbox, if the plug-in tells one.
    pub(super) pid: Option<u32>,
}

impl Ran {
    pub(super) fn read(value: &Value) -> Result<Self> {
        let answer = Answer::new("runCommand", value);
        Ok(Self {
            stdout: answer.content("stdout")?,
            stderr: answer.content("stderr")?,
            exit_code: answer.exit_code()?,
            pid: answer.whole("pid")?.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
        })
    }
}

/// Starts a command. It is asked for in a task of its own: a plug-in goes on whether or not anybody waits.
pub(super) fn start(call: &Arc<Call<Value>>, features: Features, command: &Command) -> Result<Process> {
    let line = line::line(command)?;
    let job = Job::new(features);
    let mut options = json!({});
    if let Some(limit) = command.limit {
        options["timeout"] = json!(limit.as_millis() as u64);
    }
    let (sender, ending) = watch::channel(None);
    let (function, number, command) = (Arc::clone(call), job.number, command.clone());
    tokio::spawn(async move {
        let begun = Instant::now();
        let asked =
            json!([line, options, { "job": number, "kill": features.kill, "stream": features.stream }]);
        let ran = function.call("runCommand", asked).await.and_then(|value| ended(&command, &value));
        if command.limit.is_some_and(|limit| begun.elapsed() + SKEW >= limit) {
            // The plug-in's own limit may have ended it. Ours tells so, and is over in a moment.
            tokio::time::sleep(2 * SKEW).await;
        }
        sender.send_replace(Some(ran.map_err(|error| Arc::new(Mutex::new(error)))));
    });
    let output = Printed { live: job.live, ending: ending.clone(), told: [0; 2], rest: None };
    let control = Running { call: Arc::clone(call), job: number, features, ending };
    Ok(Process { output: Box::new(output), control: Arc::new(control) })
}

fn ended(command: &Command, value: &Value) -> Result<Ran> {
    let ran = Ran::read(value)?;
    if line::lacks_directory(command, &ran.stdout) {
        let cwd = command.cwd.as_deref().unwrap_or_default();
        return Err(Error::new(ErrorKind::NotFound, format!("`cwd`: Directory not found: {cwd}")));
    }
    Ok(ran)
}

/// Those whose output is told as it comes, by the number that the door has of each.
static LIVE: LazyLock<Mutex<HashMap<u32, mpsc::UnboundedSender<Chunk>>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A command as the door knows it.
struct Job {
    number: u32,
    live: Option<Live>,
}

impl Job {
    fn new(features: Features) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { number, live: features.stream.then(|| Live::new(number)) }
    }
}

/// What comes of its output before its end. Dropped, the rest goes nowhere.
#[derive(Debug)]
struct Live {
    number: u32,
    chunks: mpsc::UnboundedReceiver<Chunk>,
}

impl Live {
    fn new(number: u32) -> Self {
        let (sender, chunks) = mpsc::unbounded_channel();
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        Self { number, chunks }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// What a plug-in's `onStdout` (0) or `onStderr` (1) was told of a command.
#[napi(skip_typescript)]
pub fn plugin_printed(job: u32, stream: u32, content: Unknown<'_>) -> napi::Result<()> {
    let bytes = convert::bytes("the output", &content)?;
    let chunk = if stream == 0 { Chunk::Stdout(bytes) } else { Chunk::Stderr(bytes) };
    if let Some(live) = LIVE.lock().unwrap_or_else(PoisonError::into_inner).get(&job) {
        let _ = live.send(chunk);
    }
    Ok(())
}

/// How a command ended. The first who asks gets the error itself, which may be an exception; others a copy.
type Ending = watch::Receiver<Option<Result<Ran, Arc<Mutex<Error>>>>>;

async fn end(ending: &Ending) -> Result<Ran, Arc<Mutex<Error>>> {
    let mut ending = ending.clone();
    let ended = ending.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
    ended.unwrap_or_else(|| Err(Arc::new(Mutex::new(silent()))))
}

pub(super) fn silent() -> Error {
    Error::new(ErrorKind::Unavailable, "the provider did not answer")
}

/// What a command has written: as it comes, where that is told, and all the rest at its end.
#[derive(Debug)]
struct Printed {
    live: Option<Live>,
    ending: Ending,
    /// Bytes of each stream that have come.
    told: [usize; 2],
    /// What was missing of each at the end.
    rest: Option<[Bytes; 2]>,
}

impl Printed {
    fn tell(&mut self, chunk: Chunk) -> Chunk {
        let (stream, bytes) = match &chunk {
            Chunk::Stdout(bytes) => (0, bytes),
            Chunk::Stderr(bytes) => (1, bytes),
        };
        self.told[stream] += bytes.len();
        chunk
    }
}

#[async_trait]
impl Output for Printed {
    async fn next(&mut self, _: Wanted) -> Option<Chunk> {
        if self.rest.is_none() {
            let chunk = match &mut self.live {
                None => None,
                Some(live) => tokio::select! {
                    biased;
                    chunk = live.chunks.recv() => chunk,
                    _ = end(&self.ending) => live.chunks.try_recv().ok(),
                },
            };
            if let Some(chunk) = chunk {
                return Some(self.tell(chunk));
            }
            let ran = end(&self.ending).await.ok()?;
            let missing = |all: Bytes, told: usize| all.slice(told.min(all.len())..);
            self.rest = Some([missing(ran.stdout, self.told[0]), missing(ran.stderr, self.told[1])]);
        }
        let [stdout, stderr] = self.rest.as_mut()?;
        if !stdout.is_empty() {
            return Some(Chunk::Stdout(std::mem::take(stdout)));
        }
        (!stderr.is_empty()).then(|| Chunk::Stderr(std::mem::take(stderr)))
    }
}

struct Running {
    call: Arc<Call<Value>>,
    job: u32,
    features: Features,
    ending: Ending,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("job", &self.job).finish_non_exhaustive()
    }
}

#[async_trait]
impl Control for Running {
    fn pid(&self) -> u32 {
        0
    }

    async fn wait(&self) -> Result<Exit> {
        match end(&self.ending).await {
            Ok(ran) => Ok(Exit::Code(ran.exit_code)),
            Err(error) => {
                let mut held = error.lock().unwrap_or_else(PoisonError::into_inner);
                let copy = held.copy();
                Err(std::mem::replace(&mut *held, copy))
            }
        }
    }

    async fn write_stdin(&self, _: &[u8]) -> Result<()> {
        Err(Error::unsupported("`stdin` cannot be passed to a plug-in provider"))
    }

    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }

    async fn signal(&self, _: i32) -> Result<()> {
        Err(Error::unsupported("a command of a plug-in provider cannot be signalled"))
    }

    async fn kill(&self) -> Result<()> {
        if !self.features.kill {
            return Err(Error::unsupported("a command of this plug-in provider cannot be ended"));
        }
        self.call.call("kill", json!([self.job])).await.map(drop)
    }

    async fn resize(&self, _: Size) -> Result<()> {
        Err(Error::unsupported("this process has no terminal"))
    }

    async fn hang_up(&self, _: Duration) -> Result<()> {
        Err(Error::unsupported("this process has no terminal"))
    }
}
