//! Watched directories: a program in the sandbox tells what the kernel tells it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use computesdk::provider::{Chunk, Command, Control, Output, Process, Program, Wanted};
use http::{HeaderMap, Response};
use tokio::sync::mpsc;

use super::codec::{Code, Fault, Writer, end};
use super::entry;
use super::messages::{Empty, FilesystemEvent, WatchDirResponse, WatchRequest, Watcher, WatcherEvents};
use super::rpc::Call;
use crate::answer::{Answer, Broken, flowing};
use crate::options::Version;
use crate::request::header;
use crate::sandbox::Sandbox;
use crate::world::random;

const PROGRAM: &str = include_str!("watch.py");

/// The events after which there is nothing to be told about.
const REMOVED: i32 = 3;
const RENAMED: i32 = 4;

/// How long nothing happens before the caller is told that there is still somebody.
const KEEPALIVE: Duration = Duration::from_secs(90);

/// A directory that is watched.
#[derive(Debug)]
struct Watch {
    root: String,
    entries: bool,
    control: Arc<dyn Control>,
    output: Box<dyn Output>,
    buffer: Vec<u8>,
}

impl Watch {
    async fn start(call: &Call<'_>, request: &WatchRequest) -> Result<Self, Fault> {
        let root = call.path(&request.path)?;
        let found = call.sandbox.instance.files().stat(&root).await;
        let found = found.map_err(|error| failed(&format!("error statting path {root}: {error}")))?;
        match found {
            None => {
                let message = format!("path {root} not found: stat {root}: no such file or directory");
                return Err(Fault::new(Code::NotFound, message));
            }
            Some(found) if !found.directory => {
                let message = format!("path {root} not a directory: %!w(<nil>)");
                return Err(Fault::new(Code::InvalidArgument, message));
            }
            Some(_) => {}
        }
        let version = call.options.envd_version;
        let recursive = request.recursive && version >= Version::RECURSIVE_WATCH;
        let argv = ["python3", "-S", "-c", PROGRAM, &root, if recursive { "1" } else { "0" }];
        let argv = argv.map(str::to_owned).to_vec();
        let command = Command { program: Program::Args(argv), ..Command::default() };
        let spawned = call.sandbox.instance.spawn(&command).await;
        let Process { output, control } =
            spawned.map_err(|error| failed(&format!("error creating watcher: {error}")))?;
        let entries = request.include_entry && version >= Version::EVENT_ENTRIES;
        let mut watch = Self { root, entries, control, output, buffer: Vec::new() };
        match watch.line().await {
            Some(line) if line == "ready" => Ok(watch),
            _ => Err(failed(&format!("error adding path {} to watcher", watch.root))),
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.buffer.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            match self.output.next(Wanted::BOTH).await? {
                Chunk::Stdout(bytes) => self.buffer.extend_from_slice(&bytes),
                Chunk::Stderr(_) => {}
            }
        }
    }

    async fn next(&mut self, sandbox: &Sandbox) -> Option<FilesystemEvent> {
        let line = self.line().await?;
        let (kind, name): (i32, String) = serde_json::from_str(&line).ok()?;
        let entry = match self.entries && ![REMOVED, RENAMED].contains(&kind) {
            // What is gone already has none.
            true => entry::at(sandbox, &format!("{}/{name}", self.root)).await.unwrap_or_default(),
            false => None,
        };
        Some(FilesystemEvent { name, kind, entry })
    }
}

fn failed(message: &str) -> Fault {
    Fault::new(Code::Internal, message)
}

/// Tells what happens in a directory for as long as somebody listens.
pub async fn watch_dir(call: &Call<'_>, request: WatchRequest, writer: Writer) -> Result<Answer, Fault> {
    let mut watch = Watch::start(call, &request).await?;
    let interval = keepalive(&call.headers);
    let limit = super::start::deadline(&call.headers)?;
    let sandbox = Arc::clone(call.sandbox);
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Broken>>(16);
    tokio::spawn(async move {
        tokio::select! {
            () = tell(&mut watch, &sandbox, &sender, writer, interval) => {}
            () = sender.closed() => {}
            () = super::start::passed(limit) => {
                let fault = Fault::new(Code::DeadlineExceeded, "context deadline exceeded");
                let _ = sender.send(Ok(fault.trailer())).await;
            }
        }
        // A program that has gone with its sandbox needs no end.
        let _ = watch.control.kill().await;
    });
    Ok(Response::new(flowing(super::start::stream_of(receiver))))
}

fn keepalive(headers: &HeaderMap) -> Duration {
    let asked = header(headers, "keepalive-ping-interval").and_then(|text| text.parse().ok());
    asked.filter(|&seconds: &u64| seconds > 0).map_or(KEEPALIVE, Duration::from_secs)
}

async fn tell(
    watch: &mut Watch,
    sandbox: &Sandbox,
    to: &mpsc::Sender<Result<Bytes, Broken>>,
    writer: Writer,
    interval: Duration,
) {
    let mut message = WatchDirResponse { start: Some(Empty {}), ..WatchDirResponse::default() };
    loop {
        // Failing to send is the caller having gone, which ends this from outside.
        let _ = to.send(Ok(writer.write(&message))).await;
        message = WatchDirResponse::default();
        tokio::select! {
            event = watch.next(sandbox) => match event {
                Some(event) => message.filesystem = Some(event),
                None => break,
            },
            () = tokio::time::sleep(interval) => message.keepalive = Some(Empty {}),
        }
    }
    let _ = to.send(Ok(end())).await;
}

/// The watchers that are asked for what they have seen.
#[derive(Debug, Default)]
pub struct Watchers(Mutex<HashMap<String, Seen>>);

#[derive(Debug)]
struct Seen {
    control: Arc<dyn Control>,
    events: Arc<Mutex<Vec<FilesystemEvent>>>,
}

impl Watchers {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a watcher.
pub async fn create(call: &Call<'_>, request: WatchRequest) -> Result<Watcher, Fault> {
    let mut watch = Watch::start(call, &request).await?;
    let id = random::<20>(b"abcdefghijklmnopqrstuvwxyz0123456789");
    let watcher_id = format!("w{}", id.map_err(|error| failed(&error.to_string()))?);
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Seen { control: Arc::clone(&watch.control), events: Arc::clone(&events) };
    call.sandbox.envd.watchers.all().insert(watcher_id.clone(), seen);
    let sandbox = Arc::clone(call.sandbox);
    tokio::spawn(async move {
        while let Some(event) = watch.next(&sandbox).await {
            events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        }
    });
    Ok(Watcher { watcher_id })
}

fn unknown(id: &str) -> Fault {
    Fault::new(Code::NotFound, format!("watcher with id {id} not found"))
}

/// What a watcher has seen since the last time.
pub fn events(call: &Call<'_>, request: Watcher) -> Result<WatcherEvents, Fault> {
    let all = call.sandbox.envd.watchers.all();
    let seen = all.get(&request.watcher_id).ok_or_else(|| unknown(&request.watcher_id))?;
    let events = std::mem::take(&mut *seen.events.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(WatcherEvents { events })
}

/// Ends a watcher.
pub async fn remove(call: &Call<'_>, request: Watcher) -> Result<Empty, Fault> {
    let seen = call.sandbox.envd.watchers.all().remove(&request.watcher_id);
    let seen = seen.ok_or_else(|| unknown(&request.watcher_id))?;
    // A program that has gone with its sandbox needs no end.
    let _ = seen.control.kill().await;
    Ok(Empty {})
}
