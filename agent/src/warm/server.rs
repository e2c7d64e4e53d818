//! What has interpreters of one kind up, one after the other: the next is asked for, comes, waits, and is taken.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use computesdk_agent::protocol::{Command, Interpreter, Language};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::node::{self, Node, Offer};
use super::python::{self, Python};
use crate::spawn::{self, Spawner, Started};

pub type Result<T> = std::result::Result<T, Errno>;

/// Where interpreters come from.
pub trait Source {
    /// Asks for one.
    fn ask(&mut self, spawner: &mut Spawner) -> Result<Coming>;

    /// Reads who has come.
    fn came(&self, coming: Coming) -> Result<Seat>;

    /// The process without which none would come any more, if there is one.
    fn pid(&self) -> Option<i32>;
}

/// An interpreter that was asked for.
pub struct Coming {
    /// What it says on that it has come.
    pub link: OwnedFd,
    /// What was started for it.
    pub process: Option<Process>,
}

/// A process that is to be an interpreter.
pub struct Process {
    pub pid: i32,
    /// The core's ends of its streams: input, output, error.
    pub streams: Vec<OwnedFd>,
}

/// An interpreter that waits for its run.
pub struct Seat {
    pub pid: i32,
    pub link: OwnedFd,
    /// The core's ends of its streams, where it has had them from the beginning.
    pub streams: Option<Vec<OwnedFd>>,
}

/// What became of a run that an interpreter was given.
pub enum Begun {
    /// It runs.
    Started(Started),
    /// It says in a moment whether it runs.
    Offered(Offer),
}

impl Seat {
    /// Makes it run `command` under the number `id`.
    ///
    /// # Errors
    ///
    /// It is not ours, or cannot be reached: nothing has run, and nothing of it will.
    pub fn run(self, id: u32, command: &Command) -> Result<Begun> {
        match self.streams {
            None => python::run(self.pid, &self.link, id, command).map(Begun::Started),
            Some(streams) => node::offer(self.pid, self.link, streams, id, command).map(Begun::Offered),
        }
    }
}

/// What has interpreters up.
pub struct Server {
    source: Box<dyn Source>,
    program: CString,
    since: Instant,
    /// It has made one before, and in time, so the next is a matter of a moment.
    up: bool,
    next: Option<Next>,
}

/// The interpreter for the next run.
enum Next {
    Coming(Coming),
    Waiting(Seat),
}

impl Server {
    /// Starts it, and asks for the first interpreter.
    pub fn start(spawner: &mut Spawner, interpreter: &Interpreter) -> Result<Self> {
        let command = match interpreter.language {
            Language::Python => python::command(interpreter),
            Language::Node => node::command(interpreter),
        };
        let program = spawn::program_of(&command).ok_or(Errno::NOENT)?;
        let source: Box<dyn Source> = match interpreter.language {
            Language::Python => Box::new(Python::start(spawner, &command)?),
            Language::Node => Box::new(Node::new(command)),
        };
        let mut server = Self { source, program, since: Instant::now(), up: false, next: None };
        server.refill(spawner)?;
        Ok(server)
    }

    /// The file that the interpreters have executed.
    pub fn program(&self) -> &CString {
        &self.program
    }

    pub fn is_up(&self) -> bool {
        self.up
    }

    /// It takes longer than a moment: nobody else waits before it has come.
    pub fn late(&mut self) {
        self.up = false;
    }

    /// How long it has had for what it was asked for last.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether it was asked for none since the last was taken.
    pub fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    /// What tells that the interpreter has come that was asked for.
    pub fn coming(&self) -> Option<&OwnedFd> {
        match &self.next {
            Some(Next::Coming(coming)) => Some(&coming.link),
            _ => None,
        }
    }

    /// Reads who has come.
    pub fn came(&mut self) -> Result<()> {
        match self.next.take() {
            Some(Next::Coming(coming)) => {
                self.next = Some(Next::Waiting(self.source.came(coming)?));
                self.up = true;
            }
            other => self.next = other,
        }
        Ok(())
    }

    /// The interpreter that waits, if there is one and it is not among the `doomed`.
    pub fn take(&mut self, doomed: &HashSet<i32>) -> Option<Seat> {
        match self.next.take() {
            Some(Next::Waiting(seat)) => Some(seat).filter(|seat| !doomed.contains(&seat.pid)),
            other => {
                self.next = other;
                None
            }
        }
    }

    /// Asks for the next interpreter, if there is none.
    pub fn refill(&mut self, spawner: &mut Spawner) -> Result<()> {
        if self.next.is_none() {
            self.since = Instant::now();
            self.next = Some(Next::Coming(self.source.ask(spawner)?));
        }
        Ok(())
    }

    /// Forgets the interpreter that waits, if it is this process, which has ended. Tells whether it was.
    pub fn forget(&mut self, pid: i32) -> bool {
        self.next.take_if(|next| matches!(next, Next::Waiting(seat) if seat.pid == pid)).is_some()
    }

    /// Whether what was asked for cannot come without this process.
    pub fn needs(&self, pid: i32) -> bool {
        let coming = match &self.next {
            Some(Next::Coming(Coming { process: Some(process), .. })) => Some(process.pid),
            _ => None,
        };
        [self.source.pid(), coming].contains(&Some(pid))
    }
}

/// Two ends of a socket that keeps messages apart. Ours never blocks.
pub fn sockets() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok((ours, theirs))
}
