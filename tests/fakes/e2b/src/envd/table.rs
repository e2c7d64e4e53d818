//! The processes that an envd has started: those that run, and how those ended that do no more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use computesdk::provider::Control;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::codec::{Code, Fault};
use super::messages::{DataEvent, EndEvent, ProcessConfig, ProcessSelector};

/// What a process does, for those who listen.
#[derive(Clone, Debug)]
pub enum Event {
    /// It has written something.
    Data(DataEvent),
    /// It has ended.
    End(EndEvent),
}

/// Events that wait for a listener. A listener that is slow holds up the process, as a slow reader does.
const WAITING: usize = 64;

/// A process that runs.
#[derive(Debug)]
pub struct Running {
    /// Its number.
    pub pid: u32,
    /// What was asked for.
    pub config: ProcessConfig,
    /// A name that it was given.
    pub tag: Option<String>,
    /// The handle.
    pub control: Arc<dyn Control>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether its standard input can be written to.
    pub stdin: AtomicBool,
    /// Cancelled when nobody waits any longer for others to let go of its output.
    pub cut: CancellationToken,
    /// `None` after the end.
    listeners: Mutex<Option<Vec<mpsc::Sender<Event>>>>,
}

impl Running {
    /// One that nobody listens to yet.
    pub fn new(
        control: Arc<dyn Control>,
        config: ProcessConfig,
        tag: Option<String>,
        terminal: bool,
        stdin: bool,
    ) -> Self {
        Self {
            pid: control.pid(),
            config,
            tag,
            control,
            terminal,
            stdin: AtomicBool::new(stdin),
            cut: CancellationToken::new(),
            listeners: Mutex::new(Some(Vec::new())),
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Option<Vec<mpsc::Sender<Event>>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens from now on; `None` if it has ended.
    pub fn listen(&self) -> Option<mpsc::Receiver<Event>> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.listeners().as_mut()?.push(sender);
        Some(receiver)
    }

    /// Tells everyone who listens; what nobody listens to is lost.
    pub async fn tell(&self, event: &DataEvent) {
        let listeners = self.listeners().clone().unwrap_or_default();
        for listener in listeners {
            // One that has gone is left out.
            let _ = listener.send(Event::Data(event.clone())).await;
        }
        if let Some(listeners) = self.listeners().as_mut() {
            listeners.retain(|listener| !listener.is_closed());
        }
    }

    /// Takes away its standard input, once.
    pub fn without_stdin(&self) -> bool {
        self.stdin.swap(false, Ordering::SeqCst)
    }
}

/// How a process ended, for those who ask late.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its number.
    pub pid: u32,
    tag: Option<String>,
    /// How it ended.
    pub end: EndEvent,
    until: Instant,
}

/// The processes of an envd.
#[derive(Debug, Default)]
pub struct Processes(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: HashMap<u32, Arc<Running>>,
    ended: Vec<Ended>,
}

impl Processes {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one up; others that ended under its number or tag are forgotten.
    pub fn add(&self, process: Arc<Running>) {
        let mut inner = self.inner();
        let tag = process.tag.as_ref();
        inner.ended.retain(|one| one.pid != process.pid && (tag.is_none() || one.tag.as_ref() != tag));
        inner.running.insert(process.pid, process);
    }

    /// Notes the end of one, and tells everyone who listens.
    pub async fn end(&self, process: &Arc<Running>, end: EndEvent, retention: Duration) {
        let listeners = {
            let mut inner = self.inner();
            let now = Instant::now();
            inner.ended.retain(|one| one.until > now);
            if !retention.is_zero() {
                let until = now + retention;
                let ended = Ended { pid: process.pid, tag: process.tag.clone(), end: end.clone(), until };
                inner.ended.push(ended);
            }
            inner.running.remove(&process.pid);
            process.listeners().take().unwrap_or_default()
        };
        for listener in listeners {
            let _ = listener.send(Event::End(end.clone())).await;
        }
    }

    /// All that run.
    pub fn running(&self) -> Vec<Arc<Running>> {
        let mut running: Vec<_> = self.inner().running.values().cloned().collect();
        running.sort_by_key(|process| process.pid);
        running
    }

    /// The one that runs and is meant.
    pub fn find(&self, selector: Option<&ProcessSelector>) -> Result<Arc<Running>, Fault> {
        let inner = self.inner();
        let (found, message) = match selector {
            Some(ProcessSelector { pid: Some(pid), .. }) => {
                (inner.running.get(pid), format!("process with pid {pid} not found"))
            }
            Some(ProcessSelector { tag: Some(tag), .. }) => {
                let found = inner.running.values().find(|one| one.tag.as_ref() == Some(tag));
                (found, format!("process with tag {tag} not found"))
            }
            _ => return Err(Fault::new(Code::Unimplemented, "invalid input type <nil>")),
        };
        found.cloned().ok_or_else(|| Fault::new(Code::NotFound, message))
    }

    /// How the one that is meant ended, if that is still known.
    pub fn ended(&self, selector: Option<&ProcessSelector>) -> Option<Ended> {
        let selector = selector?;
        let now = Instant::now();
        let is = |one: &&Ended| {
            one.until > now
                && (selector.pid == Some(one.pid) || (selector.tag.is_some() && selector.tag == one.tag))
        };
        self.inner().ended.iter().rev().find(is).cloned()
    }
}
