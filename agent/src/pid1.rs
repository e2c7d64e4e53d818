//! Process 1 of a sandbox: starts what it is asked to start, tells of every end, opens files.
//!
//! One thread, one loop, nothing that can block for long: bytes never pass through here, descriptors do,
//! and work of unknown length goes into a child (`jobs`). It has no more rights than the commands that it
//! starts, and hides its memory and descriptors from them.

use std::collections::HashMap;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::Path;

use computesdk_agent::channel;
use computesdk_agent::protocol::{Command, DATAGRAM, Plan, Reply, Request, Trouble, decode};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::copy::Copy;
use crate::files::{self, Opened, Replacement};
use crate::jobs::{self, Job};
use crate::kills::Kills;
use crate::life::Life;
use crate::links::Links;
use crate::ports;
use crate::rename::rename;
use crate::seccomp::Door;
use crate::spawn::{self, Spawner, Started};
use crate::step::checked;
use crate::tree::Tree;
use crate::usage;
use crate::warm::{Begun, News, Place, Run, Seat, Turn, Warm};

/// The number of what nobody has asked for.
const NOBODY: u32 = 0;

struct Pid1 {
    links: Links,
    /// When this process ends it all, where nobody outside does.
    life: Option<Life>,
    spawner: Spawner,
    /// What runs, by process id.
    running: HashMap<i32, Running>,
    /// Requests to hang up, each with the command that is not gone yet.
    hung_up: Vec<(u32, u32)>,
    replacements: HashMap<u32, Replacement>,
    /// What jobs have left that were killed.
    rests: Vec<Tree>,
    /// How often memory was not enough, where that is counted.
    kills: Option<Kills>,
    warm: Warm,
    /// The file system that holds what the sandbox has written, where it has one of its own.
    written: Option<OwnedFd>,
}

/// A process that a request started.
struct Running {
    id: u32,
    /// Of our own making, not a command.
    job: bool,
    /// What it leaves if it is killed.
    rest: Option<Tree>,
    /// How often the kernel had killed for want of memory when it began.
    kills: u64,
    /// Somebody asked to kill it.
    doomed: bool,
}

/// What became of a request: an answer, and the descriptors to send with it.
type Answer = Result<(Reply, Vec<OwnedFd>), (Trouble, Errno)>;

/// Something to do.
#[derive(Default)]
struct Event {
    /// Who asks for something, or has gone.
    asked: Vec<u8>,
    /// Somebody wants to ask.
    called: bool,
    ended: bool,
    knocked: bool,
    came: bool,
}

/// Runs until the core closes its end of the only link, or, where there are several, until the sandbox' life is over.
/// Returns the exit code.
pub fn run(
    links: Links,
    life: Option<Life>,
    door: Option<Door>,
    kills: Option<Kills>,
    written: Option<OwnedFd>,
    plan: &Plan,
) -> i32 {
    let Ok(ends) = watch_children() else { return 1 };
    let mut pid1 = Pid1 {
        links,
        life,
        spawner: Spawner::new(plan),
        running: HashMap::new(),
        hung_up: Vec::new(),
        replacements: HashMap::new(),
        rests: Vec::new(),
        kills,
        warm: Warm::new(plan),
        written,
    };
    let mut buffer = vec![0; DATAGRAM + 1];
    loop {
        let Ok(Event { asked, called, ended, knocked, came }) = pid1.wait(&ends, door.as_ref()) else {
            return 1;
        };
        if pid1.life.as_ref().is_some_and(Life::is_over) {
            return 0;
        }
        if let Some(door) = door.as_ref().filter(|_| knocked) {
            door.answer();
        }
        if ended {
            let mut sink = [0; 128];
            while rustix::io::read(&ends, &mut sink).is_ok() {}
            pid1.reap();
            pid1.clear();
        }
        if came {
            pid1.hear();
        }
        let idle = asked.is_empty() && !(called || ended || knocked || came);
        for number in asked {
            let Some(link) = pid1.links.get(number) else { continue };
            let received = channel::receive(link, &mut buffer, true);
            match received.map(|received| received.map(|received| decode(received.bytes(&buffer)))) {
                Ok(Some(Some(request))) => pid1.answer(request),
                Ok(Some(None)) if pid1.links.is_only() => return 1,
                Ok(None) | Err(_) if pid1.links.is_only() => return 0,
                _ => pid1.hang_up(number),
            }
        }
        if called {
            pid1.let_in();
        }
        if idle {
            pid1.warm.tend(&mut pid1.spawner);
        }
        pid1.start_late();
    }
}

fn watch_children() -> std::io::Result<OwnedFd> {
    // SAFETY: plain system calls on a mask of our own; the descriptor returned is new.
    unsafe {
        let mut mask = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        libc::sigaddset(&raw mut mask, libc::SIGCHLD);
        checked(libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut()))?;
        let fd = checked(libc::signalfd(-1, &raw const mask, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

impl Pid1 {
    /// Waits until there is something to do: a request, an ended child, somebody at the door, an interpreter that says
    /// something. None of them is a time that has passed.
    fn wait(&self, ends: &OwnedFd, door: Option<&Door>) -> Result<Event, Errno> {
        let numbers = self.links.numbers();
        let watched = [Some(ends.as_fd()), door.map(Door::as_fd)];
        let polled = watched.iter().flatten().copied().chain(self.links.watched()).chain(self.warm.watched());
        let mut polled: Vec<_> = polled.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match rustix::event::poll(&mut polled, self.patience().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let mut polled = polled.iter().map(|one| !one.revents().is_empty());
        let [ended, knocked] = watched.map(|fd| fd.is_some() && polled.next().unwrap_or(false));
        let asked = numbers.into_iter().filter(|_| polled.next().unwrap_or(false)).collect();
        let called = !self.links.is_only() && polled.next().unwrap_or(false);
        Ok(Event { asked, called, ended, knocked, came: polled.any(|came| came) })
    }

    /// How long to wait for something to do.
    fn patience(&self) -> Option<Timespec> {
        let left = self.life.as_ref().and_then(Life::patience);
        [self.warm.patience(), left].into_iter().flatten().min_by_key(|time| (time.tv_sec, time.tv_nsec))
    }

    fn let_in(&mut self) {
        let bash = ["/bin/bash", "/usr/bin/bash"].iter().any(|bash| Path::new(bash).exists());
        let (running, replacements) = (&self.running, &self.replacements);
        let ids = || running.values().map(|running| running.id).chain(replacements.keys().copied());
        self.links.let_in(bash, |number| ids().any(|id| (id >> 24) as u8 == number));
        if let Some(life) = self.life.as_mut().filter(|_| !self.links.numbers().is_empty()) {
            life.begin();
        }
    }

    /// Somebody who asked has gone. What it started goes on: others may have to do with it.
    fn hang_up(&mut self, number: u8) {
        self.links.close(number);
        for (_, replacement) in self.replacements.extract_if(|id, _| (id >> 24) as u8 == number) {
            replacement.discard();
        }
    }

    fn answer(&mut self, request: Request) {
        let (id, answer) = match request {
            Request::Spawn { id, command } => (id, self.spawn(id, &command)),
            Request::Signal { target, signal } => return self.signal(target, signal),
            Request::Kill { target } => {
                self.doom(target);
                if spawn::kill_tree(target).is_err() {
                    // What cannot be found cannot be ended but with everything else.
                    // SAFETY: ends this process, and the kernel all others of the sandbox.
                    unsafe { libc::_exit(1) }
                }
                return;
            }
            Request::HangUp { id, target } => {
                if let Some(leader) = self.pid_of(target) {
                    spawn::hang_up(target, leader);
                }
                self.hung_up.push((id, target));
                return self.tell_who_is_gone();
            }
            Request::Read { id, path } => (id, self.read(id, &path)),
            Request::Write { id, path, content } => (id, done(id, files::write(&path, &content.0))),
            Request::Replace { id, path } => (id, self.replace(id, &path)),
            Request::Commit { id, target } => (id, self.commit(id, target)),
            Request::Discard { target } => {
                if let Some(replacement) = self.replacements.remove(&target) {
                    replacement.discard();
                }
                return;
            }
            Request::MakeDirectory { id, path } => (id, done(id, files::make_directory(&path))),
            Request::Stat { id, path } => {
                (id, files::stat(&path).map(|entry| (Reply::Found { id, entry }, vec![])))
            }
            Request::List { id, path } => (id, self.list(id, &path)),
            Request::Remove { id, path } => (id, self.remove(id, &path)),
            Request::Rename { id, from, to } => (id, self.rename(id, &from, &to)),
            Request::Copy { id, from, to } => {
                (id, Copy::of(&from, &to).and_then(|copy| self.job(id, Job::Copy(copy))))
            }
            Request::Socket { id, v6 } => (id, socket(id, v6)),
            Request::Listens { id, port } => (id, listens(id, port)),
            Request::Measure { id, processes } => (id, measure(id, processes)),
            Request::Written { id } => (id, self.written(id)),
            Request::Life { id } => (id, self.life(id, 0)),
            Request::Extend { id, by } => (id, self.life(id, by)),
            Request::Run { id, command, interpreter } => {
                let language = interpreter.language.clone();
                match self.warm.place(&mut self.spawner, id, &command, interpreter) {
                    Place::Taken(seat) => self.run(id, command, Some(seat)),
                    Place::Coming => self.warm.queue(&language, id, command),
                    Place::Cold => self.run(id, command, None),
                }
                return;
            }
        };
        self.tell(id, answer);
    }

    fn tell(&mut self, id: u32, answer: Answer) {
        let (reply, descriptors) = answer.unwrap_or_else(|(trouble, errno)| {
            (Reply::Failed { id, trouble, errno: errno.raw_os_error() }, vec![])
        });
        self.reply(&reply, &descriptors);
    }

    fn reply(&mut self, reply: &Reply, descriptors: &[OwnedFd]) {
        let beside: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let id = match *reply {
            Reply::Ready { .. } | Reply::Broken { .. } | Reply::Welcome { .. } => NOBODY,
            Reply::Started { id, .. }
            | Reply::Exited { id, .. }
            | Reply::Opened { id, .. }
            | Reply::Found { id, .. }
            | Reply::Done { id }
            | Reply::Failed { id, .. }
            | Reply::Socket { id }
            | Reply::Written { id }
            | Reply::Listening { id, .. }
            | Reply::Measured { id, .. }
            | Reply::Starved { id }
            | Reply::Life { id, .. } => id,
        };
        let Err(errno) = self.links.send(id, reply, &beside) else { return };
        if !self.links.is_only() && matches!(errno, Errno::AGAIN | Errno::PIPE) {
            return self.hang_up((id >> 24) as u8);
        }
        // If the core is gone, the next poll says so. But the kernel can refuse to pass descriptors, when
        // too many are in flight: then what was begun is undone, and the core told.
        match *reply {
            Reply::Started { id, pid } => {
                if let Some(running) = self.running.get_mut(&(pid as i32)) {
                    running.id = NOBODY;
                }
                let _ = spawn::kill_tree(id);
                self.refuse(id, errno);
            }
            Reply::Opened { id, .. } => {
                if let Some(replacement) = self.replacements.remove(&id) {
                    replacement.discard();
                }
                self.refuse(id, errno);
            }
            Reply::Socket { id } | Reply::Written { id } => self.refuse(id, errno),
            _ => {}
        }
    }

    fn refuse(&self, id: u32, errno: Errno) {
        let reply = Reply::Failed { id, trouble: Trouble::Program, errno: errno.raw_os_error() };
        let _ = self.links.send(id, &reply, &[]);
    }

    fn reap(&mut self) {
        loop {
            let mut status = 0;
            // SAFETY: a plain system call with a valid out pointer.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
            if pid <= 0 {
                return self.tell_who_is_gone();
            }
            if libc::WIFSTOPPED(status) {
                // A command may stop itself; what a command has stopped of ours would never answer.
                match self.running.get(&pid) {
                    Some(running) if running.job => spawn::end(pid),
                    Some(_) => {}
                    None => self.warm.stopped(pid),
                }
                continue;
            }
            // Anything else waited for code, or was orphaned in the sandbox and came here to be reaped.
            let last = self.warm.ended(pid);
            last.into_iter().for_each(|news| self.attend(news));
            if let Some(running) = self.running.remove(&pid) {
                self.warm.over(running.id);
                let (code, signal) = if libc::WIFSIGNALED(status) {
                    (0, libc::WTERMSIG(status))
                } else {
                    (libc::WEXITSTATUS(status), 0)
                };
                let (id, starved) = (running.id, self.has_starved(&running, code, signal));
                if signal != 0 {
                    self.rests.extend(running.rest);
                }
                if id != NOBODY {
                    if starved {
                        self.reply(&Reply::Starved { id }, &[]);
                    }
                    self.reply(&Reply::Exited { id, code, signal }, &[]);
                }
            }
        }
    }

    /// Whether a command ended because memory had run out: by a `SIGKILL` that nobody here sent, or with the exit code
    /// by which shells pass one on, while the kernel was killing. It counts before it kills.
    fn has_starved(&self, running: &Running, code: i32, signal: i32) -> bool {
        let killed = signal == libc::SIGKILL || code == 128 + libc::SIGKILL;
        killed && !running.doomed && !running.job && self.count_kills() > running.kills
    }

    fn count_kills(&self) -> u64 {
        self.kills.as_ref().and_then(Kills::count).unwrap_or(0)
    }

    fn doom(&mut self, target: u32) {
        if let Some(running) = self.running.values_mut().find(|running| running.id == target) {
            running.doomed = true;
        }
    }

    /// Begins to remove what killed jobs have left. What cannot be begun now is when the next process ends.
    fn clear(&mut self) {
        for rest in std::mem::take(&mut self.rests) {
            let again = rest.again().map_err(|errno| (Trouble::Path, errno));
            if again.and_then(|again| self.job(NOBODY, Job::Clear(again))).is_err() {
                self.rests.push(rest);
            }
        }
    }

    /// Answers those who wait until nothing of a command is left. Whatever is its last is reaped here.
    fn tell_who_is_gone(&mut self) {
        if self.hung_up.is_empty() {
            return;
        }
        // Where it cannot be seen, something may be.
        let Ok(left) = spawn::left() else { return };
        let gone: Vec<_> = self.hung_up.extract_if(.., |(_, target)| !left.contains(target)).collect();
        for (id, _) in gone {
            self.reply(&Reply::Done { id }, &[]);
        }
    }

    fn started(&mut self, id: u32, started: Started, job: bool) -> (Reply, Vec<OwnedFd>) {
        let running = Running { id, job, rest: None, kills: 0, doomed: false };
        self.running.insert(started.pid, running);
        (Reply::Started { id, pid: started.pid as u32 }, started.descriptors)
    }

    fn spawn(&mut self, id: u32, command: &Command) -> Answer {
        let kills = self.count_kills();
        let started = match self.spawner.start(id, command) {
            // What only waits makes room for what is to run.
            Err((Trouble::Program, Errno::AGAIN)) if self.warm.make_room() => self.spawner.start(id, command),
            started => started,
        }?;
        Ok(self.begun(id, started, kills))
    }

    /// A command runs, before which the kernel had killed so often.
    fn begun(&mut self, id: u32, started: Started, kills: u64) -> (Reply, Vec<OwnedFd>) {
        let pid = started.pid;
        let answer = self.started(id, started, false);
        if let Some(running) = self.running.get_mut(&pid) {
            running.kills = kills;
        }
        answer
    }

    /// Runs code in an interpreter that is up, if there is one and it is what it should be; else in a new one.
    fn run(&mut self, id: u32, command: Command, seat: Option<Seat>) {
        // Who takes part in a command already is not what it says.
        let seat = seat.filter(|seat| !self.running.contains_key(&seat.pid));
        let answer = match seat.map(|seat| (self.count_kills(), seat.run(id, &command))) {
            Some((kills, Ok(Begun::Offered(offer)))) => {
                return self.warm.offered(Run { id, command, kills }, offer);
            }
            Some((kills, Ok(Begun::Started(started)))) => Ok(self.begun(id, started, kills)),
            Some((_, Err(_))) | None => self.spawn(id, &command),
        };
        if answer.is_err() {
            self.warm.over(id);
        }
        self.tell(id, answer);
        self.warm.refill(&mut self.spawner);
    }

    /// Hears what interpreters say.
    fn hear(&mut self) {
        while let Some(news) = self.warm.news() {
            self.attend(news);
        }
    }

    fn attend(&mut self, news: News) {
        match news {
            News::Came(Turn { id, command, .. }, seat) => self.run(id, command, Some(seat)),
            News::Runs(Run { id, kills, .. }, started) => {
                let answer = self.begun(id, started, kills);
                self.tell(id, Ok(answer));
            }
            News::Declined(Run { id, command, .. }) => self.run(id, command, None),
        }
    }

    /// Runs code in interpreters of its own that has waited too long for one that is up.
    fn start_late(&mut self) {
        for Turn { id, command, .. } in self.warm.too_late() {
            self.run(id, command, None);
        }
    }

    fn signal(&mut self, target: u32, signal: i32) {
        if signal == libc::SIGKILL {
            self.doom(target);
        }
        if let Some(pid) = self.pid_of(target) {
            // SAFETY: a plain system call; a child that has not been reaped keeps its number.
            unsafe { libc::kill(pid, signal) };
        }
    }

    fn pid_of(&self, target: u32) -> Option<i32> {
        self.running.iter().find(|(_, running)| running.id == target).map(|(pid, _)| *pid)
    }

    fn job(&mut self, id: u32, job: Job) -> Answer {
        let refused = |errno| (Trouble::Path, errno);
        let rest = job.rest().map_err(refused)?;
        let started = jobs::start(id, &self.links, job).map_err(refused)?;
        let pid = started.pid;
        let answer = self.started(id, started, true);
        if let Some(running) = self.running.get_mut(&pid) {
            running.rest = rest;
        }
        Ok(answer)
    }

    fn read(&mut self, id: u32, path: &str) -> Answer {
        match files::open(path)? {
            Opened::Ours { file, size } => Ok((Reply::Opened { id, size }, vec![file])),
            Opened::Foreign { file } => self.job(id, Job::Read(file)),
        }
    }

    fn replace(&mut self, id: u32, path: &str) -> Answer {
        let (replacement, file) = files::replace(path)?;
        self.replacements.insert(id, replacement);
        Ok((Reply::Opened { id, size: 0 }, vec![file]))
    }

    fn commit(&mut self, id: u32, target: u32) -> Answer {
        let replacement = self.replacements.remove(&target).ok_or((Trouble::Path, Errno::BADF))?;
        done(id, replacement.commit())
    }

    fn rename(&mut self, id: u32, from: &str, to: &str) -> Answer {
        match rename(from, to)? {
            None => Ok((Reply::Done { id }, vec![])),
            Some(copy) => self.job(id, Job::Copy(copy)),
        }
    }

    fn written(&self, id: u32) -> Answer {
        let written = self.written.as_ref().ok_or((Trouble::Path, Errno::NOSYS))?;
        let written = rustix::io::fcntl_dupfd_cloexec(written, 0).map_err(|errno| (Trouble::Path, errno))?;
        Ok((Reply::Written { id }, vec![written]))
    }

    /// Tells of the sandbox' life, which is longer by so many milliseconds from now on.
    fn life(&mut self, id: u32, by: u64) -> Answer {
        let life = self.life.as_mut().ok_or((Trouble::Path, Errno::NOSYS))?;
        life.extend(by);
        let (granted, left, since) = life.told();
        Ok((Reply::Life { id, granted, left, since }, vec![]))
    }

    fn list(&mut self, id: u32, path: &str) -> Answer {
        let directory = files::open_directory(path)?;
        self.job(id, Job::List(directory))
    }

    fn remove(&mut self, id: u32, path: &str) -> Answer {
        match files::remove(path)? {
            None => Ok((Reply::Done { id }, vec![])),
            Some(tree) => self.job(id, Job::Remove(tree)),
        }
    }
}

fn done(id: u32, result: Result<(), (Trouble, Errno)>) -> Answer {
    result.map(|()| (Reply::Done { id }, vec![]))
}

fn socket(id: u32, v6: bool) -> Answer {
    let socket = ports::socket(v6).map_err(|errno| (Trouble::Path, errno))?;
    Ok((Reply::Socket { id }, vec![socket]))
}

fn listens(id: u32, port: u16) -> Answer {
    let listens = ports::listens(port).map_err(|errno| (Trouble::Path, errno))?;
    Ok((Reply::Listening { id, listens }, vec![]))
}

fn measure(id: u32, processes: bool) -> Answer {
    let usage = usage::measure(processes).map_err(|errno| (Trouble::Path, errno))?;
    Ok((Reply::Measured { id, usage }, vec![]))
}
