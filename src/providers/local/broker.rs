//! The resident program that makes sandboxes: one for each process, started when the first is asked for.
//!
//! It is embedded in this library and started from memory: nothing to install, no file to lose its exec
//! bit. It ends when its control socket does, so it cannot outlive this process, and with it end all
//! sandboxes. If it is killed itself, its sandboxes end, and the next create starts another.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use computesdk_agent::channel;
use computesdk_agent::protocol::{BrokerReply, BrokerRequest, DATAGRAM, Failure, Plan, decode, encode};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::descriptor;
use super::error;
use super::link::Link;
use super::reserve::{Reserve, Spare};
use crate::error::{Error, ErrorKind, Result};

/// The agent, built for this platform by build.rs.
static AGENT: &[u8] = include_bytes!(env!("COMPUTESDK_AGENT_PROGRAM"));

/// How long a sandbox may take to be gone.
const END: Duration = Duration::from_secs(2);

static CURRENT: Mutex<Option<Arc<Broker>>> = Mutex::new(None);

#[derive(Debug)]
pub(super) struct Broker {
    socket: AsyncFd<OwnedFd>,
    runtime: Handle,
    next: AtomicU32,
    /// Whether it can make sandboxes, once it has said so.
    fit: watch::Sender<Option<Result<(), Failure>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    dead: bool,
    creating: HashMap<u32, (Plan, oneshot::Sender<Result<OwnedFd>>)>,
    living: HashMap<u32, watch::Sender<Option<End>>>,
    measuring: HashMap<u32, oneshot::Sender<Vec<OwnedFd>>>,
    keeping: Keeping,
    reserve: Reserve,
    /// What of the reserve was taken, and the broker has not been told.
    taken: VecDeque<BrokerRequest>,
}

/// Those who wait for a layer, by its number.
pub(super) type Keeping = HashMap<u32, oneshot::Sender<BrokerReply>>;

/// How a sandbox ended that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In whatever way.
    Gone,
    /// The kernel killed its process 1, because memory had run out.
    Starved,
}

/// A sandbox as the broker knows it. Dropped, the sandbox ends: whoever has it is the only one who could
/// still use it.
#[derive(Debug)]
pub(super) struct Ticket {
    broker: Arc<Broker>,
    number: u32,
    gone: watch::Receiver<Option<End>>,
}

impl Broker {
    /// The broker of this process, started if there is none that lives.
    pub(super) async fn current() -> Result<Arc<Self>> {
        let broker = Self::running()?;
        let mut fit = broker.fit.subscribe();
        let answer = fit.wait_for(Option::is_some).await.map(|fit| fit.clone());
        match answer {
            Ok(Some(Ok(()))) => Ok(broker),
            Ok(Some(Err(failure))) => Err(error::of_isolation(&failure)),
            _ => Err(ended()),
        }
    }

    fn running() -> Result<Arc<Self>> {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(broker) if !broker.state().dead => Ok(Arc::clone(broker)),
            _ => {
                let (socket, child) = spawn().map_err(|error| error::of_start(&error))?;
                let broker = Self::serve_at(socket, child)?;
                *current = Some(Arc::clone(&broker));
                Ok(broker)
            }
        }
    }

    fn serve_at(socket: OwnedFd, mut child: Child) -> Result<Arc<Self>> {
        let broker = Arc::new(Self {
            socket: descriptor::watch(socket)?,
            runtime: Handle::current(),
            next: AtomicU32::new(1),
            fit: watch::Sender::new(None),
            state: Mutex::default(),
        });
        let serving = Serving(Arc::clone(&broker));
        tokio::spawn(async move {
            serving.0.serve().await;
            drop(serving);
            let _ = tokio::task::spawn_blocking(move || child.wait()).await;
        });
        tracing::debug!("broker started");
        Ok(broker)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: &Arc<Self>) {
        let mut buffer = vec![0; DATAGRAM + 1];
        loop {
            let received = self
                .socket
                .async_io(Interest::READABLE, |socket| {
                    channel::receive(socket, &mut buffer, false).map_err(std::io::Error::from)
                })
                .await;
            let Ok(Some(mut received)) = received else { return };
            let mut descriptors = std::mem::take(&mut received.descriptors);
            let Some(reply) = decode(received.bytes(&buffer)) else { return };
            match reply {
                BrokerReply::Ready => drop(self.fit.send_replace(Some(Ok(())))),
                BrokerReply::Unfit { failure } => drop(self.fit.send_replace(Some(Err(failure)))),
                BrokerReply::Created { id } => {
                    self.made(id, descriptors.pop().ok_or_else(error::of_descriptors));
                }
                BrokerReply::Refused { id, failure } => self.made(id, Err(error::of_isolation(&failure))),
                BrokerReply::Spare { spare, like } => {
                    let link = descriptors.pop().ok_or_else(error::of_descriptors).and_then(Link::new);
                    match link {
                        Ok(link) => self.made_in_advance(Spare { number: spare, link }, like),
                        Err(_) => self.tell(BrokerRequest::Return { spare }),
                    }
                }
                BrokerReply::Unused => {
                    let unused = self.state().reserve.let_go();
                    self.give_back(unused);
                }
                BrokerReply::Gone { id } => self.bury(id, End::Gone),
                BrokerReply::Starved { id } => self.bury(id, End::Starved),
                BrokerReply::Kept { layer, .. } | BrokerReply::Lost { layer, .. } => {
                    let waiter = self.state().keeping.remove(&layer);
                    if let Some(waiter) = waiter {
                        let _ = waiter.send(reply);
                    }
                }
                BrokerReply::Meters { id } => {
                    let waiter = self.state().measuring.remove(&id);
                    if let Some(waiter) = waiter {
                        let _ = waiter.send(descriptors);
                    }
                }
            }
        }
    }

    fn made(self: &Arc<Self>, id: u32, made: Result<OwnedFd>) {
        let mut state = self.state();
        let Some((plan, waiter)) = state.creating.remove(&id) else { return };
        let others = if made.is_ok() { state.reserve.follow(id, plan) } else { Vec::new() };
        drop(state);
        let _ = waiter.send(made);
        self.give_back(others);
    }

    fn made_in_advance(self: &Arc<Self>, spare: Spare, like: u32) {
        let unwanted = self.state().reserve.add(spare, like);
        self.give_back(unwanted);
    }

    fn give_back(self: &Arc<Self>, spares: impl IntoIterator<Item = Spare>) {
        for Spare { number, .. } in spares {
            self.tell(BrokerRequest::Return { spare: number });
        }
    }

    fn bury(&self, id: u32, end: End) {
        let mut state = self.state();
        state.measuring.remove(&id);
        if let Some(living) = state.living.remove(&id) {
            living.send_replace(Some(end));
        }
    }

    /// Gives a sandbox; its agent speaks on the link that comes back. What a broker that is killed was about to make
    /// ends with it, so another broker is asked, once.
    pub(super) async fn create(plan: &Plan) -> Result<(Ticket, Arc<Link>)> {
        let broker = Self::current().await?;
        if let Some(made) = broker.take(plan) {
            return Ok(made);
        }
        match broker.make(plan).await? {
            Some(made) => Ok(made),
            None => Self::current().await?.make(plan).await?.ok_or_else(ended),
        }
    }

    /// Takes a sandbox that was made in advance. The broker is told as soon as whoever asked has it: to wake it takes
    /// time, and it has nothing to say to it.
    fn take(self: &Arc<Self>, plan: &Plan) -> Option<(Ticket, Arc<Link>)> {
        let mut state = self.state();
        let spare = state.reserve.take(plan)?;
        if !descriptor::is_open(self.socket.get_ref()) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        state.taken.push_back(BrokerRequest::Take { id: number, spare: spare.number });
        let (living, gone) = watch::channel(None);
        state.living.insert(number, living);
        drop(state);
        let broker = Arc::clone(self);
        tokio::spawn(async move {
            let _ = broker.when_writable(|| broker.tell_of_taken()).await;
        });
        Some((Ticket { broker: Arc::clone(self), number, gone }, spare.link))
    }

    /// Before anything else is said, since that may be the end of one.
    fn tell_of_taken(&self) -> rustix::io::Result<()> {
        let mut state = self.state();
        while let Some(request) = state.taken.front() {
            channel::send(self.socket.get_ref(), &encode(request), &[])?;
            state.taken.pop_front();
        }
        Ok(())
    }

    fn post(&self, message: &[u8], beside: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
        self.tell_of_taken()?;
        channel::send(self.socket.get_ref(), message, beside)
    }

    async fn when_writable(&self, mut work: impl FnMut() -> rustix::io::Result<()>) -> std::io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, |_| work().map_err(std::io::Error::from)).await
    }

    /// Has a sandbox made; `None` if this broker has ended.
    async fn make(self: &Arc<Self>, plan: &Plan) -> Result<Option<(Ticket, Arc<Link>)>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        let (living, gone) = watch::channel(None);
        {
            let mut state = self.state();
            if state.dead {
                return Ok(None);
            }
            state.creating.insert(number, (plan.clone(), sender));
            state.living.insert(number, living);
        }
        let ticket = Ticket { broker: Arc::clone(self), number, gone };
        let request = BrokerRequest::Create { id: number, plan: Box::new(plan.clone()) };
        match self.send(&request, None).await {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset
                ) =>
            {
                // Whoever reads its answers may not have noticed yet.
                self.state().dead = true;
                return Ok(None);
            }
            Err(error) => return Err(error::of_sending(error)),
        }
        match receiver.await {
            Ok(Ok(socket)) => Ok(Some((ticket, Link::new(socket)?))),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Whether it has ended, and all that it had with it.
    pub(super) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Lets go of a layer, and of what stands on it and nobody has asked for.
    pub(super) fn forget(self: &Arc<Self>, layer: u32) {
        let mut state = self.state();
        state.keeping.remove(&layer);
        let spares = state.reserve.let_go_of(layer);
        drop(state);
        self.give_back(spares);
        self.tell(BrokerRequest::Forget { layer });
    }

    /// Looks at who waits for layers.
    pub(super) fn keeping<T>(&self, look: impl FnOnce(&mut Keeping) -> T) -> T {
        look(&mut self.state().keeping)
    }

    /// Sends what has no answer, from where nothing can be waited for.
    pub(super) fn tell(self: &Arc<Self>, request: BrokerRequest) {
        if self.post(&encode(&request), &[]) == Err(Errno::AGAIN) {
            // Many are asking at once: it has to wait for its turn, but nobody has to wait for it.
            let broker = Arc::clone(self);
            self.runtime.spawn(async move { broker.send(&request, None).await });
        }
    }

    pub(super) async fn send(
        &self,
        request: &BrokerRequest,
        descriptor: Option<OwnedFd>,
    ) -> std::io::Result<()> {
        let message = encode(request);
        let beside: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
        self.when_writable(|| self.post(&message, &beside)).await
    }
}

impl Ticket {
    /// Begins the end of the sandbox without waiting for it.
    pub(super) fn end(&self) {
        self.broker.tell(BrokerRequest::Destroy { id: self.number });
    }

    /// Who has made it, and the number that it has there.
    pub(super) fn origin(&self) -> (Arc<Broker>, u32) {
        (Arc::clone(&self.broker), self.number)
    }

    /// Waits until nothing of the sandbox is left.
    pub(super) async fn gone(&self) -> Result<()> {
        let mut gone = self.gone.clone();
        // An error means that the broker has ended, and with it every sandbox.
        match tokio::time::timeout(END, gone.wait_for(Option::is_some)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the sandbox was killed but is not gone yet")),
        }
    }
}

impl Ticket {
    /// How the sandbox ended, whose processes are ending or gone; `None` if the broker has ended, or takes too long.
    pub(super) async fn how_it_ended(&self) -> Option<End> {
        let mut gone = self.gone.clone();
        tokio::time::timeout(END, gone.wait_for(Option::is_some)).await.ok()?.ok().and_then(|end| *end)
    }

    /// The files of its cgroups that count what it uses: see [`BrokerReply::Meters`]. One asks at a time.
    pub(super) async fn meters(&self) -> Result<Vec<OwnedFd>> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.broker.state();
            if state.dead {
                return Err(ended());
            }
            state.measuring.insert(self.number, sender);
        }
        let request = BrokerRequest::Meters { id: self.number };
        self.broker.send(&request, None).await.map_err(error::of_sending)?;
        receiver.await.map_err(|_| ended())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end();
        let mut state = self.broker.state();
        state.creating.remove(&self.number);
        state.living.remove(&self.number);
        state.measuring.remove(&self.number);
    }
}

/// The task that reads the broker's replies. When it ends, by the broker's end or by the runtime's, nobody
/// may wait for a reply any more.
struct Serving(Arc<Broker>);

impl Drop for Serving {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.dead = true;
        state.creating.clear();
        state.living.clear();
        state.measuring.clear();
        state.keeping.clear();
        state.reserve = Reserve::default();
        drop(state);
        self.0.fit.send_if_modified(|fit| {
            let silent = fit.is_none();
            if silent {
                *fit = Some(Err(Failure { step: "start the broker".to_owned(), errno: 0 }));
            }
            silent
        });
        tracing::debug!("broker ended");
    }
}

pub(super) fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, "the program that makes local sandboxes has ended")
        .with_hint("create again: another is started")
}

/// Starts the program and returns our end of its control socket.
#[expect(clippy::disallowed_methods, reason = "this provider's own program")]
fn spawn() -> std::io::Result<(OwnedFd, Child)> {
    let (ours, theirs) = socketpair()?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    let program = program()?;
    // The path is looked up by the child, while it still has the descriptor. A fixed program, no shell, and
    // nothing that would make the standard library fork: a fork copies Node's page tables.
    let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .arg0("computesdk-broker")
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok((ours, child))
}

fn socketpair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// The agent in memory, sealed so that nobody can change it while it runs.
fn program() -> std::io::Result<OwnedFd> {
    let name = c"computesdk-broker";
    match channel::sealed_with(name, MemfdFlags::EXEC, AGENT) {
        // Linux before 6.3 knows no such flag: everything may be executed there.
        Err(rustix::io::Errno::INVAL) => Ok(channel::sealed_with(name, MemfdFlags::empty(), AGENT)?),
        result => Ok(result?),
    }
}
