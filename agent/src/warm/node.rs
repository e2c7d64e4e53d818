//! Node.js: a process for each run, that has started before there was code for it (`node.js`).
//!
//! It cannot fork, and has the streams of its run from the beginning, because it cannot change them either. Whether it
//! takes a run it says itself, before anything of it has happened: what it could not run as an interpreter that is
//! started for it would, it leaves to that one.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use computesdk_agent::protocol::{Command, Interpreter, Language};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::python::directory;
use super::server::{Coming, Process, Result, Seat, Source, sockets};
use crate::spawn::{self, Spawner, Started};
use crate::streams::Streams;

/// What the process runs.
const TEXT: &str = include_str!("node.js");
/// It waits.
const WAITS: u8 = b'w';
/// It takes the run.
const RUNS: u8 = b'r';
/// The longest run that it can be given: bytes of code, environment and directory.
const LONGEST: usize = 192 * 1024;
/// How long it may take to say whether it takes a run.
const ANSWER: Duration = Duration::from_secs(1);

/// What starts processes that wait.
pub struct Node {
    command: Command,
}

/// What starts one.
pub fn command(interpreter: &Interpreter) -> Command {
    Command {
        argv: [&interpreter.program, "-e", TEXT].map(str::to_owned).into(),
        env: interpreter.env.clone(),
        cwd: "/".to_owned(),
        stdin: true,
        terminal: None,
        script: None,
    }
}

impl Node {
    pub fn new(command: Command) -> Self {
        Self { command }
    }
}

impl Source for Node {
    fn ask(&mut self, spawner: &mut Spawner) -> Result<Coming> {
        let (link, theirs) = sockets()?;
        let streams = Streams::pipes(true)?;
        let started = spawner.start_waiting(&Language::Node, &self.command, &streams.theirs, &theirs);
        let pid = started.map_err(|(_, errno)| errno)?;
        Ok(Coming { link, process: Some(Process { pid, streams: streams.ours }) })
    }

    fn came(&self, Coming { link, process }: Coming) -> Result<Seat> {
        let Process { pid, streams } = process.ok_or(Errno::CHILD)?;
        match heard(&link) {
            Ok(Some(WAITS)) => Ok(Seat { pid, link, streams: Some(streams) }),
            other => {
                spawn::end(pid);
                Err(other.err().unwrap_or(Errno::BADMSG))
            }
        }
    }

    fn pid(&self) -> Option<i32> {
        None
    }
}

/// A run that was offered to an interpreter.
pub struct Offer {
    started: Started,
    link: OwnedFd,
    /// Until when it may say something, unless it has been ended.
    deadline: Option<Instant>,
}

/// What an interpreter says to an offer.
pub enum Answer {
    Runs(Started),
    Declined,
}

/// Offers `command` to the interpreter that is process `pid`, under the number `id`.
pub fn offer(
    pid: i32,
    link: OwnedFd,
    mut streams: Vec<OwnedFd>,
    id: u32,
    command: &Command,
) -> Result<Offer> {
    let message = message(command)?;
    // Who may not work there is told so by an interpreter that is started for it.
    directory(&command.cwd)?;
    if !spawn::is_own(pid) {
        return Err(Errno::CHILD);
    }
    spawn::mark_other(pid, id).map_err(|_| Errno::PERM)?;
    // Before it can look.
    spawn::score(pid);
    rustix::net::send(&link, &message, SendFlags::NOSIGNAL).inspect_err(|_| spawn::end(pid))?;
    if !command.stdin {
        streams.remove(0);
    }
    let deadline = Some(Instant::now() + ANSWER);
    Ok(Offer { started: Started { pid, descriptors: streams }, link, deadline })
}

impl Offer {
    pub fn pid(&self) -> i32 {
        self.started.pid
    }

    /// What tells that it has said something.
    pub fn link(&self) -> &OwnedFd {
        &self.link
    }

    /// How long it may still take, unless it has been ended.
    pub fn rest(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Ends it. What it has said by then counts, when it [has](super::Warm::ended).
    pub fn end(&mut self) {
        self.deadline = None;
        spawn::end(self.started.pid);
    }

    /// What it says. An offer that is declined is of no use to anybody any more.
    ///
    /// # Errors
    ///
    /// It has said nothing yet: here it is again.
    pub fn answer(self) -> std::result::Result<Answer, Self> {
        match heard(&self.link) {
            Ok(Some(RUNS)) => Ok(Answer::Runs(self.started)),
            Err(Errno::AGAIN) => Err(self),
            _ => Ok(Answer::Declined),
        }
    }
}

/// The directory, whether there is input, the code and the variables, with a NUL between each: none has one in it.
fn message(command: &Command) -> Result<Vec<u8>> {
    let code = match command.argv.as_slice() {
        [_, flag, code] if flag == "-e" => code,
        _ => return Err(Errno::INVAL),
    };
    let input = if command.stdin { "in" } else { "" };
    let mut message = [command.cwd.as_str(), input, code].join("\0").into_bytes();
    for (name, value) in &command.env {
        for part in ["\0", name, "=", value] {
            message.extend_from_slice(part.as_bytes());
        }
    }
    if message.len() < LONGEST { Ok(message) } else { Err(Errno::MSGSIZE) }
}

/// What is said on a link: one byte, or nothing any more.
fn heard(link: &OwnedFd) -> Result<Option<u8>> {
    let mut said = [0];
    let (_, length) = rustix::net::recv(link, &mut said, RecvFlags::DONTWAIT)?;
    Ok((length == 1).then_some(said[0]))
}
