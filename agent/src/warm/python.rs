//! Python: one process that has started, and forks itself for each run (`python.py`).

use std::collections::{BTreeMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use computesdk_agent::channel;
use computesdk_agent::protocol::{Command, Interpreter};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, socketpair,
};

use crate::spawn::{self, Spawner, Started};
use crate::streams::Streams;

/// What the process runs: the text that comes first.
const FIRST: &str = "import posix;exec(posix.read(3,65536))";
const TEXT: &str = include_str!("python.py");

/// The process that forks.
pub struct Server {
    pid: i32,
    control: OwnedFd,
    program: CString,
    since: Instant,
    /// It has made one before, and in time, so the next is a matter of a moment.
    up: bool,
    next: Option<Next>,
}

/// The interpreter for the next run.
enum Next {
    Coming(OwnedFd),
    Waiting(Seat),
}

/// An interpreter that waits for its run.
pub struct Seat {
    pid: i32,
    link: OwnedFd,
}

type Result<T> = std::result::Result<T, Errno>;

impl Server {
    /// Starts it, and asks for the first interpreter.
    pub fn start(spawner: &mut Spawner, interpreter: &Interpreter) -> Result<Self> {
        let (control, theirs) = sockets()?;
        let argv = [&interpreter.program, "-c", FIRST].map(str::to_owned);
        let command = Command {
            argv: argv.into_iter().chain(interpreter.preload.iter().cloned()).collect(),
            env: interpreter.env.clone(),
            cwd: "/".to_owned(),
            stdin: false,
            terminal: None,
            script: None,
        };
        let program = spawn::program_of(&command).ok_or(Errno::NOENT)?;
        rustix::net::send(&control, TEXT.as_bytes(), rustix::net::SendFlags::NOSIGNAL)?;
        let streams = [Streams::nothing()?];
        let pid = spawner.start_waiting(&command, &streams, &theirs).map_err(|(_, errno)| errno)?;
        let mut server = Self { pid, control, program, since: Instant::now(), up: false, next: None };
        server.ask()?;
        Ok(server)
    }

    /// Asks for the next interpreter.
    fn ask(&mut self) -> Result<()> {
        let (link, theirs) = sockets()?;
        // What comes on it carries who has sent it.
        set_socket_passcred(&link, true)?;
        channel::send(&self.control, &[], &[theirs.as_fd()])?;
        self.since = Instant::now();
        self.next = Some(Next::Coming(link));
        Ok(())
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The file that it has executed.
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

    /// What tells that the interpreter has come that was asked for.
    pub fn coming(&self) -> Option<&OwnedFd> {
        match &self.next {
            Some(Next::Coming(link)) => Some(link),
            _ => None,
        }
    }

    /// Reads who has come.
    pub fn came(&mut self) -> Result<()> {
        let Some(Next::Coming(link)) = self.next.take() else { return Ok(()) };
        let pid = sender(&link)?;
        if pid == self.pid {
            return Err(Errno::BADMSG);
        }
        self.up = true;
        self.next = Some(Next::Waiting(Seat { pid, link }));
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
    pub fn refill(&mut self) -> Result<()> {
        if self.next.is_none() { self.ask() } else { Ok(()) }
    }

    /// Forgets the interpreter that waits, if it is this process, which has ended.
    pub fn forget(&mut self, pid: i32) {
        self.next.take_if(|next| matches!(next, Next::Waiting(seat) if seat.pid == pid));
    }
}

impl Seat {
    /// Who it says it is, by the kernel's word.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Makes it run `command` under the number `id`.
    ///
    /// # Errors
    ///
    /// It is not ours, or cannot be reached: nothing has run, and nothing of it will.
    pub fn run(self, id: u32, command: &Command) -> Result<Started> {
        let code = match command.argv.as_slice() {
            [_, flag, code] if flag == "-c" => code,
            _ => return Err(Errno::INVAL),
        };
        let program = spawn::program_of(command).ok_or(Errno::NOENT)?;
        let directory = directory(&command.cwd)?;
        let message = message(&program, code, &command.env);
        // A stranger that is nobody's child yet, or a command's process, is let be.
        if !spawn::is_own(self.pid) {
            return Err(Errno::CHILD);
        }
        let Streams { ours, theirs } = Streams::pipes(command.stdin)?;
        let beside = [&theirs[0], &theirs[1], &theirs[2], &directory].map(AsFd::as_fd);
        spawn::mark_other(self.pid, id).map_err(|_| Errno::PERM)?;
        spawn::go_on(self.pid);
        channel::send(&self.link, &message, &beside).inspect_err(|_| spawn::end(self.pid))?;
        Ok(Started { pid: self.pid, descriptors: ours })
    }
}

/// A directory to work in. Who may not enter it is refused here.
fn directory(path: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::fs::accessat(&directory, ".", rustix::fs::Access::EXEC_OK, rustix::fs::AtFlags::empty())?;
    Ok(directory)
}

/// The file, the code and the variables, with a NUL between each: none has one in it.
fn message(program: &CString, code: &str, env: &BTreeMap<String, String>) -> Vec<u8> {
    let mut message = program.as_bytes().to_vec();
    message.push(0);
    message.extend_from_slice(code.as_bytes());
    for (name, value) in env {
        for part in ["\0", name, "=", value] {
            message.extend_from_slice(part.as_bytes());
        }
    }
    message
}

/// Two ends of a socket that keeps messages apart. Ours never blocks.
fn sockets() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok((ours, theirs))
}

/// The process that a message comes from.
fn sender(link: &OwnedFd) -> Result<i32> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(8))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = rustix::net::recvmsg(
        link,
        &mut [std::io::IoSliceMut::new(&mut byte)],
        &mut beside,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.bytes != 1 {
        return Err(Errno::PIPE);
    }
    // Descriptors that nobody asked for are closed as they are passed over.
    let who = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(who) => Some(who.pid.as_raw_nonzero().get()),
        _ => None,
    });
    who.ok_or(Errno::BADMSG)
}
