//! `Start` and `Connect`: a process, and what it does as a stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use computesdk::error::{Error, ErrorKind};
use computesdk::provider::{Chunk, Command, Exit, Size};
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::codec::{Code, Fault, Writer, end};
use super::holder::Held;
use super::messages::{
    DataEvent, Empty, EndEvent, ProcessConfig, ProcessEvent, ProcessResponse, Selected, StartEvent,
    StartRequest,
};
use super::path::resolved;
use super::table::{Event, Running};
use super::words;
use crate::answer::{Broken, flowing};
use crate::options::{Options, Version};
use crate::request::header;
use crate::sandbox::Sandbox;

/// The most in one event: of a pipe, and of a terminal.
const PIPED: usize = 32 << 10;
const SHOWN: usize = 16 << 10;

/// Pieces of an answer that wait to be sent.
const WAITING: usize = 16;

/// How long nothing happens before the caller is told that there is still somebody.
const KEEPALIVE: Duration = Duration::from_secs(90);

/// Starts a process.
pub async fn start(
    options: &Options,
    sandbox: &Arc<Sandbox>,
    headers: &HeaderMap,
    user: &str,
    request: StartRequest,
) -> Result<Listening, Fault> {
    let deadline = deadline(headers)?;
    let config = request.process.unwrap_or_default();
    let cwd = resolved(config.cwd.as_deref().unwrap_or_default(), user)
        .map_err(|why| Fault::new(Code::InvalidArgument, why))?;
    if options.echo {
        return Ok(Listening::echo(deadline));
    }
    let size = request.pty.map(|pty| pty.size.unwrap_or_default());
    let stdin = size.is_none() && (request.stdin.unwrap_or(true) || options.envd_version < Version::NO_STDIN);
    let argv = std::iter::once(&config.cmd).chain(&config.args).cloned().collect();
    let command = Command {
        cwd: Some(cwd.clone()),
        env: config.envs.clone().into_iter().collect(),
        stdin,
        terminal: size.as_ref().map(|size| Size { cols: size.cols as u16, rows: size.rows as u16 }),
        ..Command::default()
    };
    let held = Held::start(&*sandbox.instance, command, argv).await;
    let held = held.map_err(|error| not_started(&config, &cwd, &error))?;
    let running =
        Arc::new(Running::new(Arc::clone(&held.control), config, request.tag, size.is_some(), stdin));
    let events = running.listen();
    sandbox.envd.processes.add(Arc::clone(&running));
    let retention =
        if options.envd_version >= Version::EXIT_RETENTION { options.exit_retention } else { Duration::ZERO };
    tokio::spawn(watch(Arc::clone(sandbox), Arc::clone(&running), held, deadline, retention));
    Ok(Listening { pid: running.pid, events, ended: None, deadline })
}

fn not_started(config: &ProcessConfig, cwd: &str, error: &Error) -> Fault {
    let message = match error.kind() {
        ErrorKind::NotFound => format!("cwd '{cwd}' does not exist"),
        _ => {
            let line = std::iter::once(&config.cmd).chain(&config.args).cloned().collect::<Vec<_>>();
            format!("error starting process '{}': fork/exec /bin/sh: {}", line.join(" "), words::of(error))
        }
    };
    Fault::new(Code::InvalidArgument, message)
}

/// Attaches to a process; to one that ended a while ago, to hear how.
pub fn connect(sandbox: &Sandbox, headers: &HeaderMap, request: Selected) -> Result<Listening, Fault> {
    let deadline = deadline(headers)?;
    let selector = request.process.as_ref();
    let processes = &sandbox.envd.processes;
    match processes.find(selector) {
        Ok(process) => {
            let events = process.listen();
            // It may have ended just now.
            let ended =
                if events.is_none() { processes.ended(selector).map(|ended| ended.end) } else { None };
            Ok(Listening { pid: process.pid, events, ended, deadline })
        }
        Err(fault) => match processes.ended(selector) {
            Some(ended) => Ok(Listening { pid: ended.pid, events: None, ended: Some(ended.end), deadline }),
            None => Err(fault),
        },
    }
}

/// When a call is over, if it says.
pub(super) fn deadline(headers: &HeaderMap) -> Result<Option<Instant>, Fault> {
    let Some(text) = header(headers, "connect-timeout-ms").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let ms: u64 = text.parse().map_err(|_| {
        Fault::new(Code::InvalidArgument, format!("strconv.Atoi: parsing \"{text}\": invalid syntax"))
    })?;
    Ok((ms > 0).then(|| Instant::now() + Duration::from_millis(ms)))
}

/// Reads what a process writes until it ends, whether or not anyone listens; at its deadline, kills it. What
/// came of it is left.
async fn watch(
    sandbox: Arc<Sandbox>,
    process: Arc<Running>,
    mut held: Held,
    deadline: Option<Instant>,
    retention: Duration,
) {
    let mut killed = false;
    loop {
        tokio::select! {
            chunk = held.next(&process.cut) => match chunk {
                Some(chunk) => tell(&process, chunk).await,
                None => break,
            },
            () = passed(deadline), if !killed => {
                killed = true;
                // One that has gone needs no signal.
                let _ = process.control.signal(9).await;
                process.cut.cancel();
            }
        }
    }
    // A sandbox that has ended tells nothing more to anyone.
    let Ok(exit) = process.control.wait().await else { return };
    sandbox.envd.processes.end(&process, ended(exit), retention).await;
}

async fn tell(process: &Running, chunk: Chunk) {
    let most = if process.terminal { SHOWN } else { PIPED };
    let (mut bytes, error) = match chunk {
        Chunk::Stdout(bytes) => (bytes, false),
        Chunk::Stderr(bytes) => (bytes, true),
    };
    while !bytes.is_empty() {
        let piece = Some(bytes.split_to(bytes.len().min(most)));
        let event = match (process.terminal, error) {
            (true, _) => DataEvent { pty: piece, ..DataEvent::default() },
            (false, false) => DataEvent { stdout: piece, ..DataEvent::default() },
            (false, true) => DataEvent { stderr: piece, ..DataEvent::default() },
        };
        process.tell(&event).await;
    }
}

fn ended(exit: Exit) -> EndEvent {
    match exit {
        Exit::Code(code) => {
            let status = format!("exit status {code}");
            let error = (code != 0).then(|| status.clone());
            EndEvent { exit_code: code, exited: true, status, error }
        }
        Exit::Signal(signal) => {
            let status = format!("signal: {}", signal_name(signal));
            EndEvent { exit_code: -1, exited: false, error: Some(status.clone()), status }
        }
    }
}

/// What Go calls a signal.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// Somebody who listens to a process.
#[derive(Debug)]
pub struct Listening {
    pid: u32,
    events: Option<mpsc::Receiver<Event>>,
    ended: Option<EndEvent>,
    deadline: Option<Instant>,
}

impl Listening {
    /// To what has written a line and ended.
    fn echo(deadline: Option<Instant>) -> Self {
        let (sender, events) = mpsc::channel(2);
        let line = DataEvent { stdout: Some(Bytes::from_static(b"echo\n")), ..DataEvent::default() };
        for event in [Event::Data(line), Event::End(ended(Exit::Code(0)))] {
            // There is room for both.
            let _ = sender.try_send(event);
        }
        Self { pid: 1, events: Some(events), ended: None, deadline }
    }

    /// The answer: everything that happens from now on. The caller may go; the process does not notice.
    pub fn answer(self, writer: Writer, headers: &HeaderMap) -> Response<crate::answer::Body> {
        let asked = header(headers, "keepalive-ping-interval").and_then(|text| text.parse().ok());
        let interval = asked.filter(|&seconds: &u64| seconds > 0).map_or(KEEPALIVE, Duration::from_secs);
        let (sender, receiver) = mpsc::channel::<Result<Bytes, Broken>>(WAITING);
        tokio::spawn(async move {
            let trailer = match self.listen(&sender, writer, interval).await {
                Ok(()) => end(),
                Err(fault) => fault.trailer(),
            };
            let _ = sender.send(Ok(trailer)).await;
        });
        let mut answer = Response::new(flowing(stream_of(receiver)));
        *answer.status_mut() = StatusCode::OK;
        answer
    }

    async fn listen(
        mut self,
        to: &mpsc::Sender<Result<Bytes, Broken>>,
        writer: Writer,
        interval: Duration,
    ) -> Result<(), Fault> {
        let event = |event| writer.write(&ProcessResponse { event: Some(event) });
        let end = |end| event(ProcessEvent { end: Some(end), ..ProcessEvent::default() });
        let start = StartEvent { pid: self.pid };
        // Failing to send is the caller having gone: the last attempt to send notices that too.
        let _ = to.send(Ok(event(ProcessEvent { start: Some(start), ..ProcessEvent::default() }))).await;
        let Some(events) = &mut self.events else {
            let ended = self.ended.ok_or_else(|| {
                Fault::new(Code::Unknown, "end event channel closed before sending end event")
            })?;
            let _ = to.send(Ok(end(ended))).await;
            return Ok(());
        };
        loop {
            let next = tokio::select! {
                next = events.recv() => next,
                () = passed(self.deadline) => {
                    return Err(Fault::new(Code::DeadlineExceeded, "context deadline exceeded"));
                }
                () = to.closed() => return Ok(()),
                () = tokio::time::sleep(interval) => {
                    let keepalive = ProcessEvent { keepalive: Some(Empty {}), ..ProcessEvent::default() };
                    let _ = to.send(Ok(event(keepalive))).await;
                    continue;
                }
            };
            match next {
                Some(Event::Data(data)) => {
                    let data = ProcessEvent { data: Some(data), ..ProcessEvent::default() };
                    let _ = to.send(Ok(event(data))).await;
                }
                Some(Event::End(ended)) => {
                    let _ = to.send(Ok(end(ended))).await;
                    return Ok(());
                }
                // The sandbox has ended: the connection is cut, and nothing is said.
                None => std::future::pending().await,
            }
        }
    }
}

pub(super) fn stream_of<T: Send + 'static>(
    receiver: mpsc::Receiver<T>,
) -> impl futures_util::Stream<Item = T> + Send {
    futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

pub(super) async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
