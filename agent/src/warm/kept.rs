//! The interpreter of one language that is kept warm: when one is started, waited for, and let go of.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use computesdk_agent::protocol::{Command, Interpreter, Language, Plan};
use rustix::io::Errno;

use super::server::{Seat, Server};
use crate::spawn::{self, Spawner};

/// How long nothing may have been asked before an interpreter is started: what is asked now comes first.
const PAUSE: Duration = Duration::from_millis(4);
/// How long likewise while the code runs that has taken the last, where the next costs as much as a start.
const WORK: Duration = Duration::from_millis(20);
/// How long code waits for an interpreter that is about to be there.
const TURN: Duration = Duration::from_millis(50);
/// How long one may take to be up, with all that it is to import.
const START: Duration = Duration::from_secs(60);
/// How often one may fail to come up, or be ended while it waits, before none is tried any more.
const TRIES: u32 = 3;
/// How long it is kept when there is no code for it.
const KEPT: Duration = Duration::from_secs(30);
/// Where fewer processes than this may be, none waits. Node.js has threads.
const ROOM: u32 = 16;
const ROOM_OF_NODE: u32 = 64;
/// Where there is less memory than this, in bytes, no Node.js waits: what there is is for code.
const MEMORY_OF_NODE: u64 = 256 << 20;
/// How long what was killed may take to make room.
const ROUNDS: u32 = 50;

/// Code that waits for its turn.
pub struct Turn {
    pub id: u32,
    pub command: Command,
    since: Instant,
}

/// What there is for a piece of code.
pub enum Place {
    /// An interpreter that is up.
    Taken(Seat),
    /// One that will be in a moment: the code is to be given to [`Kept::queue`].
    Coming,
    /// Nothing.
    Cold,
}

/// The interpreter that is kept warm: one, like the last that ran code.
pub struct Kept {
    language: Language,
    /// There is room for one in this sandbox.
    room: bool,
    wanted: Option<Interpreter>,
    /// The run that was the first to ask for it, while it runs: the sandbox is its alone.
    first: Option<u32>,
    /// The run that has taken the last, while it runs.
    last: Option<u32>,
    server: Option<Server>,
    /// How many like it did not come up, or were ended before they were of use.
    failures: u32,
    /// How many have been ended while they waited, since there was code for one.
    losses: u32,
    /// What has been killed and not been waited for.
    doomed: HashSet<i32>,
    turns: Vec<Turn>,
    asked: Instant,
}

impl Kept {
    /// In a sandbox that is made after this plan; what is `wanted` is to be up from the beginning.
    pub fn new(language: Language, plan: &Plan, wanted: Option<Interpreter>) -> Self {
        let room = match language {
            Language::Python => plan.processes >= ROOM,
            Language::Node => plan.processes >= ROOM_OF_NODE && plan.memory >= MEMORY_OF_NODE,
        };
        Self {
            language,
            room,
            wanted,
            first: None,
            last: None,
            server: None,
            failures: 0,
            losses: 0,
            doomed: HashSet::new(),
            turns: Vec::new(),
            asked: Instant::now(),
        }
    }

    /// Whether the next is there as soon as it is asked for: a fork. It is a start otherwise, and takes from what runs.
    fn is_cheap(&self) -> bool {
        self.language == Language::Python
    }

    /// What there is for command `id`, which `interpreter` is to run.
    pub fn place(
        &mut self,
        spawner: &mut Spawner,
        id: u32,
        command: &Command,
        interpreter: Interpreter,
    ) -> Place {
        self.asked = Instant::now();
        self.losses = 0;
        if !self.room {
            return Place::Cold;
        }
        if self.wanted.as_ref() != Some(&interpreter) {
            self.let_go();
            self.wanted = Some(interpreter);
            self.first = Some(id);
            self.failures = 0;
            return Place::Cold;
        }
        if self.is_cheap() {
            // It was asked for before, so it will be again: there need be no pause.
            self.start(spawner);
        }
        let Some(server) = &mut self.server else { return Place::Cold };
        if spawn::program_of(command).as_ref() != Some(server.program()) {
            self.let_go();
            return Place::Cold;
        }
        if let Some(seat) = server.take(&self.doomed) {
            self.last = Some(id);
            return Place::Taken(seat);
        }
        if self.is_soon(spawner) { Place::Coming } else { Place::Cold }
    }

    /// Whether to wait for the next takes less time than to start an interpreter.
    fn is_soon(&mut self, spawner: &mut Spawner) -> bool {
        let cheap = self.is_cheap();
        let Some(server) = &self.server else { return false };
        let is_up = server.is_up();
        if cheap {
            self.refill(spawner);
            return is_up;
        }
        is_up && server.coming().is_some() && server.age() >= WORK && self.turns.is_empty()
    }

    /// Lets code wait for the interpreter that is coming.
    pub fn queue(&mut self, id: u32, command: Command) {
        self.turns.push(Turn { id, command, since: Instant::now() });
    }

    /// What tells that an interpreter has come.
    pub fn coming(&self) -> Option<&OwnedFd> {
        self.server.as_ref()?.coming()
    }

    /// If one has come, or says so: whoever waits longest gets it.
    pub fn came(&mut self) -> Option<(Turn, Seat)> {
        let server = self.server.as_mut()?;
        if !is_readable(server.coming()?) {
            return None;
        }
        if server.came().is_err() {
            self.fail();
            return None;
        }
        self.failures = 0;
        if self.turns.is_empty() {
            return None;
        }
        let seat = server.take(&self.doomed)?;
        let turn = self.turns.remove(0);
        self.last = Some(turn.id);
        Some((turn, seat))
    }

    /// Asks for the next interpreter at once, when the one that there was has been given its run, and if it is cheap.
    pub fn refill(&mut self, spawner: &mut Spawner) {
        if self.is_cheap() {
            self.ask(spawner);
        }
    }

    fn ask(&mut self, spawner: &mut Spawner) {
        if self.server.as_mut().is_some_and(|server| server.refill(spawner).is_err()) {
            self.fail();
        }
    }

    /// Those that have waited too long, or in vain.
    pub fn too_late(&mut self) -> Vec<Turn> {
        let hopeless = self.server.is_none();
        let late: Vec<_> =
            self.turns.extract_if(.., |turn| hopeless || turn.since.elapsed() >= TURN).collect();
        if let (Some(server), false) = (&mut self.server, late.is_empty()) {
            server.late();
        }
        late
    }

    /// How long may be waited for requests before [`tend`](Self::tend) is to be called.
    pub fn patience(&self) -> Option<Duration> {
        let turn = self.turns.first().map(|turn| TURN.saturating_sub(turn.since.elapsed()));
        let rest = match (&self.server, &self.wanted) {
            (Some(server), _) if server.coming().is_some() => Some(START.saturating_sub(server.age())),
            (Some(server), _) if server.is_empty() && self.losses < TRIES => Some(self.pause()),
            (Some(_), Some(wanted)) if wanted.stays => None,
            (Some(_), _) => Some(KEPT.saturating_sub(self.asked.elapsed())),
            (None, Some(_)) if self.room && self.failures < TRIES && self.first.is_none() => Some(PAUSE),
            (None, _) => None,
        };
        turn.into_iter().chain(rest).min()
    }

    fn pause(&self) -> Duration {
        if self.last.is_some() { WORK } else { PAUSE }
    }

    /// Nothing was asked for a while.
    pub fn tend(&mut self, spawner: &mut Spawner) {
        let Some(wanted) = &self.wanted else { return };
        let stays = wanted.stays;
        match &self.server {
            Some(server) if server.coming().is_some() && server.age() < START => {}
            Some(server) if server.coming().is_some() => self.fail(),
            Some(_) if !stays && self.asked.elapsed() >= KEPT => {
                self.let_go();
                self.wanted = None;
            }
            Some(server) if server.is_empty() && self.losses < TRIES => {
                if self.asked.elapsed() >= self.pause() {
                    self.ask(spawner);
                }
            }
            None if self.first.is_none() => self.start(spawner),
            Some(_) | None => {}
        }
    }

    /// Notes that command `id` has ended.
    pub fn over(&mut self, id: u32) {
        self.first.take_if(|first| *first == id);
        self.last.take_if(|last| *last == id);
    }

    /// Notes that a process has been killed.
    pub fn doom(&mut self, pid: i32) {
        self.doomed.insert(pid);
    }

    /// Notes that a process has ended.
    pub fn ended(&mut self, pid: i32) {
        self.doomed.remove(&pid);
        let Some(server) = &mut self.server else { return };
        if server.needs(pid) {
            if server.is_up() && self.is_cheap() {
                self.let_go();
            } else {
                self.fail();
            }
        } else if server.forget(pid) {
            self.losses += 1;
        }
    }

    /// Ends whatever waits, and waits until its room is free. Tells whether there was anything.
    pub fn make_room(&mut self) -> bool {
        self.wanted = None;
        self.let_go()
    }

    fn fail(&mut self) {
        self.let_go();
        self.failures += 1;
    }

    /// Ends it with all that came of it, but runs.
    fn let_go(&mut self) -> bool {
        if self.server.take().is_none() {
            return false;
        }
        let killed = spawn::kill_waiting(&self.language).unwrap_or_default();
        // An ended process takes room until it has been waited for.
        for _ in 0..ROUNDS {
            if killed.iter().all(|pid| spawn::is_buried(*pid)) {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        self.doomed.clear();
        true
    }

    fn start(&mut self, spawner: &mut Spawner) {
        if self.server.is_some() || self.failures >= TRIES || !self.room {
            return;
        }
        if let Some(wanted) = &self.wanted {
            self.server = Server::start(spawner, wanted).ok();
            self.failures += u32::from(self.server.is_none());
        }
    }
}

/// Whether there is something to read, or nothing ever again.
fn is_readable(fd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(fd, PollFlags::IN)];
    !matches!(poll(&mut polled, Some(&Timespec::default())), Ok(0) | Err(Errno::INTR))
}
