//! The broker: makes sandboxes on request, notices their ends, and goes when the Node process goes.
//!
//! It is one thread, so that the clone of it that becomes a sandbox is a whole process and no lock is held
//! in it by somebody who is not there. It never sees a command, a file or a secret: those go straight from
//! the core to the sandbox. What is kept of a sandbox is copied by a child, with no more than the sandbox's rights.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use computesdk_agent::channel;
use computesdk_agent::protocol::{BrokerReply, BrokerRequest, DATAGRAM, Failure, Plan, decode, encode};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::cgroups::{Cgroup, Cgroups};
use crate::host;
use crate::identity::{Identities, Identity};
use crate::layers::{Layers, Outcome};
use crate::lent;
use crate::living::{Living, Name, Register};
use crate::sandbox::{self, Ground};
use crate::spares::Spares;
use crate::stage;
use crate::step::{Result, Step, checked};

/// By how much more or less than others this process is to be ended when memory runs out.
const SPARED: &str = "/proc/self/oom_score_adj";

/// How long a group may stay whose last process has not quite left, until it is tried again.
const LINGER: Duration = Duration::from_millis(100);

struct Broker {
    control: OwnedFd,
    identities: Identities,
    cgroups: Option<Cgroups>,
    ground: Ground,
    living: Register,
    spares: Spares,
    layers: Layers,
}

/// A sandbox whose process 1 waits for requests.
struct Made {
    pid: i32,
    /// Where they come from: whoever has it has the sandbox.
    link: OwnedFd,
}

/// Runs until the core closes its end of the control socket, which is standard input.
pub fn run() -> ExitCode {
    // SAFETY: descriptor 0 is the control socket and nothing else in this process refers to it.
    let control = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(0) };
    let ends = match settle() {
        Ok(ends) => ends,
        Err(failure) => return unfit(&control, failure),
    };
    let mut broker = match Broker::prepare(control) {
        Ok(broker) => broker,
        Err((control, failure)) => return unfit(&control, failure),
    };
    broker.reply(&BrokerReply::Ready);
    broker.serve(&ends);
    // Every process 1 has asked to die with its parent. The last thing to leave behind are empty cgroups.
    broker.living.pids().for_each(kill);
    while !broker.living.is_empty() && broker.bury(0) {}
    if let Some(cgroups) = broker.cgroups {
        cgroups.remove();
    }
    ExitCode::SUCCESS
}

/// Kills a child that has not been waited for: the number is its own until then.
fn kill(pid: i32) {
    // SAFETY: a plain system call.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn unfit(control: &OwnedFd, failure: Failure) -> ExitCode {
    let _ = channel::send(control, &encode(&BrokerReply::Unfit { failure }), &[]);
    ExitCode::FAILURE
}

/// Leaves the Node process' session, descriptors and privileges of scheduling behind, and turns SIGCHLD into
/// something to read.
fn settle() -> Result<OwnedFd> {
    // SAFETY: plain system calls; nothing in this process owns a descriptor above 2 yet.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
        libc::setsid();
        libc::prctl(libc::PR_SET_NAME, c"computesdk".as_ptr());
        libc::umask(0o022);
        be_common();
        let mut mask = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        libc::sigaddset(&raw mut mask, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut());
        // What a parent ignores is handed down: of SIGCHLD, there would be nobody to wait for, and the
        // commands expect to be reached by the others.
        for signal in (1..=64).filter(|signal| *signal != libc::SIGPIPE) {
            libc::signal(signal, libc::SIG_DFL);
        }
        let fd = checked(libc::signalfd(-1, &raw const mask, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))
            .step("watch for ended processes")?;
        Ok(<OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd as i32))
    }
}

/// A service may come before others on a processor, and be spared when memory runs out. What it runs for
/// strangers is not to have that from it; giving it up is always allowed.
fn be_common() {
    let common = libc::sched_param { sched_priority: 0 };
    // SAFETY: plain system calls with a valid pointer.
    unsafe {
        let policy = libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK;
        if policy == libc::SCHED_FIFO || policy == libc::SCHED_RR {
            libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const common);
        }
        if libc::getpriority(libc::PRIO_PROCESS, 0) < 0 {
            libc::setpriority(libc::PRIO_PROCESS, 0, 0);
        }
    }
    let spared = std::fs::read_to_string(SPARED).is_ok_and(|score| score.starts_with('-'));
    if spared {
        let _ = std::fs::write(SPARED, "0");
    }
}

impl Broker {
    fn prepare(control: OwnedFd) -> std::result::Result<Self, (OwnedFd, Failure)> {
        let made = (|| {
            let cgroups = Cgroups::find();
            let identities = Identities::find()?;
            stage::set_up(&identities)?;
            Ok((identities, cgroups, Ground::lay()?))
        })();
        match made {
            Ok((identities, cgroups, ground)) => {
                let (living, spares, layers) = (Register::default(), Spares::default(), Layers::default());
                Ok(Self { control, identities, cgroups, ground, living, spares, layers })
            }
            Err(failure) => Err((control, failure)),
        }
    }

    fn serve(&mut self, ends: &OwnedFd) {
        let mut buffer = vec![0; DATAGRAM + 1];
        loop {
            let mut polled = [PollFd::new(&self.control, PollFlags::IN), PollFd::new(ends, PollFlags::IN)];
            let (patience, linger) =
                (self.spares.patience(), self.cgroups.as_ref().is_some_and(Cgroups::linger));
            let first = patience.into_iter().chain(linger.then_some(LINGER)).min();
            let timeout = first.and_then(|first| Timespec::try_from(first).ok());
            match rustix::event::poll(&mut polled, timeout.as_ref()) {
                Ok(0) if first == patience => {
                    self.tend_spares();
                    continue;
                }
                Ok(0) => {
                    if let Some(cgroups) = &mut self.cgroups {
                        cgroups.sweep();
                    }
                    continue;
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            let [asked, ended] = polled.map(|one| !one.revents().is_empty());
            if ended {
                let mut sink = [0; 128];
                while rustix::io::read(ends, &mut sink).is_ok() {}
                while self.bury(libc::WNOHANG) {}
            }
            if asked && !self.answer(&mut buffer) {
                return;
            }
        }
    }

    /// Answers one request; false when the core has gone.
    fn answer(&mut self, buffer: &mut [u8]) -> bool {
        let Ok(Some(mut received)) = channel::receive(&self.control, buffer, true) else {
            return false;
        };
        match decode(received.bytes(buffer)) {
            Some(BrokerRequest::Create { id, plan }) => {
                if let Err(failure) = self.create(id, *plan) {
                    self.reply(&BrokerReply::Refused { id, failure });
                }
            }
            // For a sandbox that is not there `Gone` has been said already.
            Some(BrokerRequest::Destroy { id }) => self.end(Name::Sandbox(id)),
            Some(BrokerRequest::Take { id, spare }) => self.take(id, spare),
            Some(BrokerRequest::Return { spare }) => {
                self.spares.give_back(spare);
                self.end(Name::Spare(spare));
            }
            Some(BrokerRequest::Meters { id }) => self.send_meters(id),
            Some(BrokerRequest::Keep { id, layer, bytes, files }) => {
                if let Err(failure) = self.keep(id, layer, received.descriptors.pop(), (bytes, files)) {
                    self.reply(&BrokerReply::Lost { layer, failure });
                }
            }
            Some(BrokerRequest::Forget { layer }) => {
                self.spares.want_none_on(layer);
                self.layers.forget(layer);
            }
            None => return false,
        }
        true
    }

    /// Makes a sandbox for the core.
    fn create(&mut self, id: u32, plan: Plan) -> Result<()> {
        let made = self.make(Name::Sandbox(id), &plan)?;
        self.hand_over(&BrokerReply::Created { id }, &made)?;
        self.spares.want(id, plan);
        Ok(())
    }

    /// The core has taken a spare.
    fn take(&mut self, id: u32, spare: u32) {
        if self.living.rename(Name::Spare(spare), Name::Sandbox(id)) {
            self.spares.take();
        } else {
            self.reply(&BrokerReply::Gone { id });
        }
    }

    fn end(&mut self, name: Name) {
        if let Some(living) = self.living.get_mut(name) {
            living.doomed = true;
            kill(living.pid);
        }
    }

    fn hand_over(&self, reply: &BrokerReply, made: &Made) -> Result<()> {
        channel::send(&self.control, &encode(reply), &[made.link.as_fd()])
            .inspect_err(|_| kill(made.pid))
            .step("hand a sandbox over")
    }

    /// Makes a sandbox, which says on its link what became of it.
    fn make(&mut self, name: Name, plan: &Plan) -> Result<Made> {
        let identity = self.identities.take()?;
        let [(gate, child_gate), (link, child_link)] = [sockets()?, sockets()?];
        let limits = self.cgroups.as_mut().and_then(|cgroups| cgroups.make(plan));

        let pid = match sandbox::clone(identity.owner()).step("create namespaces") {
            Ok(0) => sandbox::become_pid1(plan, &self.ground, &identity, limits, &child_gate, child_link),
            Ok(pid) => pid,
            Err(failure) => {
                if let (Some(cgroups), Some(limits)) = (&mut self.cgroups, limits) {
                    cgroups.drop(limits);
                }
                self.identities.give_back(identity);
                return Err(failure);
            }
        };
        drop((child_gate, child_link));
        let ready = admit(pid, plan, &identity, &self.layers, &gate);
        let cgroup = limits.map(Cgroup::shut);
        self.living.add(Living { pid, name, identity, cgroup, doomed: false });
        if let Name::Spare(_) = name {
            self.spares.add();
        }
        ready.map(|()| Made { pid, link }).inspect_err(|_| kill(pid))
    }

    /// Begins to keep what a sandbox has written. The sandbox itself has handed it out: whoever looks at it has no more
    /// rights than the sandbox.
    fn keep(&mut self, id: u32, layer: u32, written: Option<OwnedFd>, most: (u64, u64)) -> Result<()> {
        let written = written.ok_or(Errno::MFILE).step("find what it has written")?;
        let living = self.living.get(Name::Sandbox(id));
        let living = living.ok_or(Errno::SRCH).step("find the sandbox")?;
        self.layers.keep(layer, written, &living.identity, most)
    }

    /// Nothing was asked for a while: makes the next spare, or asks for all of them back.
    fn tend_spares(&mut self) {
        match self.spares.wanted().cloned() {
            // Whoever asks for one will be told why.
            Some((like, plan)) if self.make_spare(like, &plan).is_err() => self.spares.want_none(),
            Some(_) => {}
            None if self.spares.are_unused() => self.reply(&BrokerReply::Unused),
            None => {}
        }
    }

    fn make_spare(&mut self, like: u32, plan: &Plan) -> Result<()> {
        let spare = self.spares.number();
        let made = self.make(Name::Spare(spare), plan)?;
        self.hand_over(&BrokerReply::Spare { spare, like }, &made)
    }

    /// Waits for an ended process; false if there is none.
    fn bury(&mut self, flags: i32) -> bool {
        let mut status = 0;
        // SAFETY: a plain system call with a valid out pointer.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        if pid <= 0 {
            return false;
        }
        if let Some(Outcome { layer, result }) = self.layers.ended(pid, status) {
            let reply = result.map(|bytes| BrokerReply::Kept { layer, bytes });
            let lost = |errno| Failure { step: "keep a snapshot".to_owned(), errno };
            self.reply(&reply.unwrap_or_else(|errno| BrokerReply::Lost { layer, failure: lost(errno) }));
        }
        if let Some(living) = self.living.remove(pid) {
            let starved = self.has_starved(&living, status);
            if let (Some(cgroups), Some(cgroup)) = (&mut self.cgroups, living.cgroup) {
                cgroups.drop(cgroup);
            }
            self.identities.give_back(living.identity);
            match living.name {
                Name::Sandbox(id) if starved => self.reply(&BrokerReply::Starved { id }),
                Name::Sandbox(id) => self.reply(&BrokerReply::Gone { id }),
                Name::Spare(_) => {
                    self.spares.forget(living.doomed);
                    // Nor may the others last.
                    if !living.doomed {
                        self.reply(&BrokerReply::Unused);
                    }
                }
            }
        }
        true
    }

    /// Whether the kernel killed a process 1 because memory had run out. Nobody inside can send it a signal that it
    /// has not asked for, and a kill that was asked for here is known.
    fn has_starved(&self, living: &Living, status: i32) -> bool {
        let killed = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL && !living.doomed;
        let group = self.cgroups.as_ref().zip(living.cgroup.as_ref()).filter(|_| killed);
        group.is_some_and(|(cgroups, cgroup)| cgroups.starved(cgroup))
    }

    fn send_meters(&self, id: u32) {
        let living = self.living.get(Name::Sandbox(id));
        let group = self.cgroups.as_ref().zip(living.and_then(|living| living.cgroup.as_ref()));
        let meters = group.map_or_else(Vec::new, |(cgroups, cgroup)| cgroups.meters(cgroup));
        let beside: Vec<_> = meters.iter().map(AsFd::as_fd).collect();
        // Refused, if too many descriptors are in flight: then there are none.
        if channel::send(&self.control, &encode(&BrokerReply::Meters { id }), &beside).is_err() {
            self.reply(&BrokerReply::Meters { id });
        }
    }

    fn reply(&self, reply: &BrokerReply) {
        // If the core is gone, the next poll says so.
        let _ = channel::send(&self.control, &encode(reply), &[]);
    }
}

/// Two ends of a socket that keeps messages apart.
fn sockets() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .step("make a socket")
}

/// Does for the clone what only its parent may, then opens the gate.
fn admit(pid: i32, plan: &Plan, identity: &Identity, layers: &Layers, gate: &OwnedFd) -> Result<()> {
    identity.apply(pid)?;
    let host = host::open(plan, identity, pid)?;
    let forms: Vec<u8> = host.iter().map(|(form, _)| form.to_byte()).collect();
    let trees: Vec<BorrowedFd<'_>> = host.iter().map(|(_, tree)| tree.as_fd()).collect();
    channel::send(gate, &forms, &trees).step("open the gate")?;
    if lent::any(plan) {
        lent::hand_over(plan, identity, pid, gate)?;
    }
    if plan.layers.is_empty() { Ok(()) } else { layers.hand_over(plan, identity, pid, gate) }
}
