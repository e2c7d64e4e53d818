//! Python: one process that has started, and forks itself for each run (`python.py`).

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use computesdk_agent::channel;
use computesdk_agent::protocol::{Command, Interpreter, Language};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::server::{Coming, Result, Seat, Source, sockets};
use crate::spawn::{self, Spawner, Started};
use crate::streams::Streams;

/// What the process runs: the text that comes first.
const FIRST: &str = "import posix;exec(posix.read(3,65536))";
const TEXT: &str = include_str!("python.py");

/// The process that forks.
pub struct Python {
    pid: i32,
    control: OwnedFd,
}

/// What starts it.
pub fn command(interpreter: &Interpreter) -> Command {
    let argv = [&interpreter.program, "-c", FIRST].map(str::to_owned);
    Command {
        argv: argv.into_iter().chain(interpreter.preload.iter().cloned()).collect(),
        env: interpreter.env.clone(),
        cwd: "/".to_owned(),
        stdin: false,
        terminal: None,
        script: None,
    }
}

impl Python {
    pub fn start(spawner: &mut Spawner, command: &Command) -> Result<Self> {
        let (control, theirs) = sockets()?;
        rustix::net::send(&control, TEXT.as_bytes(), rustix::net::SendFlags::NOSIGNAL)?;
        let streams = [Streams::nothing()?];
        let started = spawner.start_waiting(&Language::Python, command, &streams, &theirs);
        Ok(Self { pid: started.map_err(|(_, errno)| errno)?, control })
    }
}

impl Source for Python {
    fn ask(&mut self, _: &mut Spawner) -> Result<Coming> {
        let (link, theirs) = sockets()?;
        // What comes on it carries who has sent it.
        set_socket_passcred(&link, true)?;
        channel::send(&self.control, &[], &[theirs.as_fd()])?;
        Ok(Coming { link, process: None })
    }

    fn came(&self, coming: Coming) -> Result<Seat> {
        let pid = sender(&coming.link)?;
        if pid == self.pid {
            return Err(Errno::BADMSG);
        }
        Ok(Seat { pid, link: coming.link, streams: None })
    }

    fn pid(&self) -> Option<i32> {
        Some(self.pid)
    }
}

/// Has the interpreter that is `pid` by the kernel's word run `command` under the number `id`.
pub fn run(pid: i32, link: &OwnedFd, id: u32, command: &Command) -> Result<Started> {
    let code = match command.argv.as_slice() {
        [_, flag, code] if flag == "-c" => code,
        _ => return Err(Errno::INVAL),
    };
    let program = spawn::program_of(command).ok_or(Errno::NOENT)?;
    let directory = directory(&command.cwd)?;
    let message = message(&program, code, &command.env);
    // A stranger that is nobody's child yet, or a command's process, is let be.
    if !spawn::is_own(pid) {
        return Err(Errno::CHILD);
    }
    let Streams { ours, theirs } = Streams::pipes(command.stdin)?;
    let beside = [&theirs[0], &theirs[1], &theirs[2], &directory].map(AsFd::as_fd);
    spawn::mark_other(pid, id).map_err(|_| Errno::PERM)?;
    spawn::go_on(pid);
    channel::send(link, &message, &beside).inspect_err(|_| spawn::end(pid))?;
    Ok(Started { pid, descriptors: ours })
}

/// A directory to work in. Who may not enter it is refused here.
pub fn directory(path: &str) -> Result<OwnedFd> {
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
