//! Interpreters that are up before there is code for them.
//!
//! What waits has the user of the commands, so it is as much a stranger as they are: it may have been killed, or be
//! somebody else by now. It is told nothing but its run, is believed nothing (the kernel says who it is, and marks it
//! as what the run is to be known by), and is not waited for: whatever is odd, the code runs in an interpreter that is
//! started for it. Nothing is kept here that a run could not do without.

mod python;

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use computesdk_agent::protocol::{Command, Interpreter};
use rustix::event::Timespec;

pub use self::python::Seat;
use self::python::Server;
use crate::spawn::{self, Spawner};

/// How long nothing may have been asked before an interpreter is started: what is asked now comes first.
const PAUSE: Duration = Duration::from_millis(4);
/// How long code waits for an interpreter that is about to be there.
const TURN: Duration = Duration::from_millis(50);
/// How long one may take to be up, with all that it is to import.
const START: Duration = Duration::from_secs(60);
/// How often one may fail to come up before none is tried any more.
const TRIES: u32 = 3;
/// How long it is kept when there is no code for it.
const KEPT: Duration = Duration::from_secs(30);
/// Where fewer processes than this may be, none waits.
const ROOM: u32 = 16;
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
    /// One that will be in a moment: the code is to be given to [`Warm::queue`].
    Coming,
    /// Nothing.
    Cold,
}

/// The interpreter that is kept warm: one, like the last that ran code.
pub struct Warm {
    /// There is room for one in this sandbox.
    room: bool,
    wanted: Option<Interpreter>,
    /// The run that was the first to ask for it, while it runs: the sandbox is its alone.
    first: Option<u32>,
    server: Option<Server>,
    /// How many like it did not come up, or were ended before they were of use.
    failures: u32,
    /// What has been killed and not been waited for.
    doomed: HashSet<i32>,
    turns: Vec<Turn>,
    asked: Instant,
}

impl Warm {
    /// In a sandbox of this many processes, where these are to be up from the beginning.
    pub fn new(processes: u32, interpreters: &[Interpreter]) -> Self {
        Self {
            room: processes >= ROOM,
            wanted: interpreters.first().cloned(),
            first: None,
            server: None,
            failures: 0,
            doomed: HashSet::new(),
            turns: Vec::new(),
            asked: Instant::now(),
        }
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
        // It was asked for before, so it will be again: there need be no pause.
        self.start(spawner);
        let Some(server) = &mut self.server else { return Place::Cold };
        if spawn::program_of(command).as_ref() != Some(server.program()) {
            self.let_go();
            return Place::Cold;
        }
        match server.take(&self.doomed) {
            Some(seat) => Place::Taken(seat),
            None => {
                let is_up = server.is_up();
                self.refill();
                if is_up { Place::Coming } else { Place::Cold }
            }
        }
    }

    /// Lets code wait for the interpreter that is coming.
    pub fn queue(&mut self, id: u32, command: Command) {
        self.turns.push(Turn { id, command, since: Instant::now() });
    }

    /// What tells that an interpreter has come.
    pub fn coming(&self) -> Option<&OwnedFd> {
        self.server.as_ref()?.coming()
    }

    /// One has come, or says so: whoever waits longest gets it.
    pub fn came(&mut self) -> Option<(Turn, Seat)> {
        let server = self.server.as_mut()?;
        if server.came().is_err() {
            self.fail();
            return None;
        }
        self.failures = 0;
        if self.turns.is_empty() {
            return None;
        }
        server.take(&self.doomed).map(|seat| (self.turns.remove(0), seat))
    }

    /// Asks for the next interpreter, when the one that there was has been given its run.
    pub fn refill(&mut self) {
        if self.server.as_mut().is_some_and(|server| server.refill().is_err()) {
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
    pub fn patience(&self) -> Option<Timespec> {
        let turn = self.turns.first().map(|turn| TURN.saturating_sub(turn.since.elapsed()));
        let rest = match (&self.server, &self.wanted) {
            (Some(server), _) if server.coming().is_some() => Some(START.saturating_sub(server.age())),
            (Some(_), Some(wanted)) if wanted.stays => None,
            (Some(_), _) => Some(KEPT.saturating_sub(self.asked.elapsed())),
            (None, Some(_)) if self.room && self.failures < TRIES && self.first.is_none() => Some(PAUSE),
            (None, _) => None,
        };
        Timespec::try_from(turn.into_iter().chain(rest).min()?).ok()
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
            None if self.first.is_none() => self.start(spawner),
            Some(_) | None => {}
        }
    }

    /// Notes that command `id` has ended.
    pub fn over(&mut self, id: u32) {
        self.first.take_if(|first| *first == id);
    }

    /// Ends a process that waits, or was about to, but has been told to stand still: it would never answer.
    pub fn stopped(&mut self, pid: i32) {
        if spawn::is_waiting(pid) {
            spawn::end(pid);
            self.doomed.insert(pid);
        }
    }

    /// Notes that a process has ended.
    pub fn ended(&mut self, pid: i32) {
        self.doomed.remove(&pid);
        let Some(server) = &mut self.server else { return };
        if server.pid() == pid {
            if server.is_up() {
                self.let_go();
            } else {
                self.fail();
            }
        } else {
            server.forget(pid);
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
        let killed = spawn::kill_waiting().unwrap_or_default();
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
