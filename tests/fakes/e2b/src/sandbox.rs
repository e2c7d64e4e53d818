//! One sandbox of the fake: a local sandbox, and what E2B knows about it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use computesdk::error::Result;
use computesdk::provider::{Chunk, Command, Exit, Instance, Program, Wanted};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::envd::Envd;
use crate::interpreter::contexts::Contexts;

/// What a sandbox was created with.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The template, without its tag.
    pub template: String,
    /// A name that the template goes by.
    pub alias: Option<String>,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// Environment of every command.
    pub envs: BTreeMap<String, String>,
    /// envd asks for an access token.
    pub secure: bool,
    /// Other ports ask for a token too.
    pub private: bool,
    /// It is paused when its time is over, instead of killed.
    pub auto_pause: bool,
    /// A request resumes it.
    pub auto_resume: bool,
    /// As it was asked for; told, and not enforced.
    pub internet: Option<bool>,
    /// As it was asked for; told, and not enforced.
    pub network: Option<serde_json::Value>,
}

/// What a sandbox is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Running,
    /// It is being paused.
    Pausing,
    /// Its processes stand still and nothing reaches it.
    Paused,
    /// A snapshot is being taken of it.
    Snapshotting,
}

impl State {
    /// As error messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Snapshotting => "snapshotting",
        }
    }
}

#[derive(Debug)]
struct Life {
    state: State,
    started_at: SystemTime,
    end_at: SystemTime,
    /// Cancelled when what is open now is cut: at a pause and at the end.
    connections: CancellationToken,
}

/// One sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// Its id.
    pub id: String,
    /// What it was created with.
    pub wishes: Wishes,
    /// The id of the snapshot that it was made from.
    pub origin: Option<String>,
    /// What envd asks for.
    pub token: Option<String>,
    /// What other ports ask for.
    pub traffic_token: Option<String>,
    /// Where everything runs.
    pub instance: Arc<dyn Instance>,
    /// What envd knows.
    pub envd: Envd,
    /// What its code interpreter knows.
    pub contexts: Contexts,
    life: Mutex<Life>,
    /// When its time is over; none while it is paused.
    deadline: watch::Sender<Option<tokio::time::Instant>>,
    open: AtomicUsize,
}

impl Sandbox {
    /// A sandbox that runs from now on.
    pub fn new(
        id: String,
        wishes: Wishes,
        origin: Option<String>,
        tokens: (Option<String>, Option<String>),
        instance: Arc<dyn Instance>,
        timeout: Duration,
    ) -> Self {
        let now = SystemTime::now();
        let life = Life {
            state: State::Running,
            started_at: now,
            end_at: now + timeout,
            connections: CancellationToken::new(),
        };
        Self {
            id,
            wishes,
            origin,
            token: tokens.0,
            traffic_token: tokens.1,
            instance,
            envd: Envd::default(),
            contexts: Contexts::default(),
            life: Mutex::new(life),
            deadline: watch::Sender::new(Some(tokio::time::Instant::now() + timeout)),
            open: AtomicUsize::new(0),
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.life().state
    }

    /// When it was started last.
    pub fn started_at(&self) -> Timestamp {
        timestamp(self.life().started_at)
    }

    /// When it ends; of a paused one: when it was paused.
    pub fn end_at(&self) -> Timestamp {
        timestamp(self.life().end_at)
    }

    /// Cancelled when what is open now is cut.
    pub fn connections(&self) -> CancellationToken {
        self.life().connections.clone()
    }

    /// Goes from one state to another, if it is in that one.
    pub fn shift(&self, from: State, to: State) -> Result<(), State> {
        let mut life = self.life();
        if life.state != from {
            return Err(life.state);
        }
        life.state = to;
        Ok(())
    }

    /// Gives it this long from now on. `shorten` says whether that may be less than it has.
    pub fn live_for(&self, timeout: Duration, shorten: bool) {
        let mut life = self.life();
        let end_at = SystemTime::now() + timeout;
        if shorten || end_at > life.end_at {
            life.end_at = end_at;
            self.deadline.send_replace(Some(tokio::time::Instant::now() + timeout));
        }
    }

    /// Waits until its time is over.
    pub async fn expired(&self) {
        let mut deadline = self.deadline.subscribe();
        loop {
            let until = *deadline.borrow_and_update();
            let over = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => return,
                // The sender is this sandbox' own.
                _ = deadline.changed() => {}
            }
        }
    }

    /// Makes its processes stand still, cuts what is open, and stops its clock. It is `Pausing` before.
    pub async fn pause(&self) -> Result<()> {
        let stopped = self.to_all("STOP").await;
        let mut life = self.life();
        life.connections.cancel();
        life.state = State::Paused;
        life.end_at = SystemTime::now();
        self.deadline.send_replace(None);
        stopped
    }

    /// Lets its processes go on, for this long. It is `Paused` before.
    pub async fn resume(&self, timeout: Duration) -> Result<()> {
        self.to_all("CONT").await?;
        let mut life = self.life();
        let now = SystemTime::now();
        life.connections = CancellationToken::new();
        life.state = State::Running;
        life.started_at = now;
        life.end_at = now + timeout;
        self.deadline.send_replace(Some(tokio::time::Instant::now() + timeout));
        Ok(())
    }

    /// Ends everything.
    pub async fn end(&self) {
        self.life().connections.cancel();
        self.deadline.send_replace(None);
        // What is gone already has nothing left to end.
        let _ = self.instance.destroy().await;
    }

    /// Sends a signal to all processes but the one that sends it and the sandbox's first.
    async fn to_all(&self, signal: &str) -> Result<()> {
        self.output(&["/bin/sh", "-c", &format!("kill -{signal} -1 2>/dev/null; :")]).await.map(drop)
    }

    /// Runs a program to its end, for what it prints.
    pub async fn output(&self, argv: &[&str]) -> Result<Printed> {
        self.output_with(argv, None).await
    }

    /// Likewise, with something to read.
    pub async fn output_with(&self, argv: &[&str], input: Option<&[u8]>) -> Result<Printed> {
        let argv = argv.iter().map(|&argument| argument.to_owned()).collect();
        let command = Command { program: Program::Args(argv), stdin: input.is_some(), ..Command::default() };
        let process = self.instance.spawn(&command).await?;
        let mut output = process.output;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let writing = async {
            if let Some(input) = input {
                // What does not read to the end says why in its exit code.
                let _ = process.control.write_stdin(input).await;
                let _ = process.control.close_stdin().await;
            }
        };
        let reading = async {
            while let Some(chunk) = output.next(Wanted::BOTH).await {
                match chunk {
                    Chunk::Stdout(bytes) => stdout.extend_from_slice(&bytes),
                    Chunk::Stderr(bytes) => stderr.extend_from_slice(&bytes),
                }
            }
        };
        tokio::join!(writing, reading);
        let exit = process.control.wait().await?;
        Ok(Printed { stdout, stderr, exit })
    }

    /// The variables that it was created with, and those that every sandbox has.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.wishes.envs.clone();
        variables.extend(own_variables(&self.id, &self.wishes.template));
        variables
    }

    /// Counts a request; `None` if there are too many.
    pub fn enter(self: &Arc<Self>, most: usize) -> Option<Visit> {
        let before = self.open.fetch_add(1, Ordering::SeqCst);
        let visit = Visit(Arc::clone(self));
        (before < most).then_some(visit)
    }
}

/// What E2B sets in every sandbox.
pub fn own_variables(id: &str, template: &str) -> BTreeMap<String, String> {
    [("E2B_SANDBOX", "true"), ("E2B_SANDBOX_ID", id), ("E2B_TEMPLATE_ID", template)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// What a program printed.
#[derive(Debug)]
pub struct Printed {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub exit: Exit,
}

/// A request that is under way; counted until it is dropped.
#[derive(Debug)]
pub struct Visit(Arc<Sandbox>);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A moment as it is written down.
pub fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_default()
}
