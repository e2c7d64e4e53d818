//! The socket to the agent of a sandbox: requests out, answers and descriptors in.
//!
//! Any number of callers use one link at once; each request has a number that its answer carries. What
//! comes in is read as if an attacker had written it: an answer nobody waits for is dropped, and a message
//! that makes no sense ends the link.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use computesdk_agent::channel::{self, Received};
use computesdk_agent::protocol::{Reply, Request, decode, encode};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::Lost::Closed;
use super::descriptor::{self, watch};
use super::error;
use crate::error::Result;
use crate::providers::answers::{self, Answers, Heard};

/// The largest message of an agent, with room to spare: an entry with a name and a link.
const REPLY: usize = 16 * 1024;

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Lost {
    /// The link is closed: the sandbox has ended.
    Closed,
    /// This machine refused to send it.
    Unsent(std::io::Error),
}

/// An answer, with the descriptors that came beside it.
pub(super) type Answer = answers::Answer<OwnedFd>;

#[derive(Debug)]
pub(super) struct Link {
    /// Gone when the link is closed, however long others keep the link.
    socket: Mutex<Option<Arc<AsyncFd<OwnedFd>>>>,
    next: AtomicU32,
    answers: Mutex<Answers<OwnedFd>>,
    closed: CancellationToken,
    myself: Weak<Self>,
}

impl Link {
    /// A link over this socket.
    pub(super) fn new(socket: OwnedFd) -> Result<Arc<Self>> {
        rustix::io::ioctl_fionbio(&socket, true).map_err(|errno| error::of_start(&errno.into()))?;
        let socket = Mutex::new(Some(Arc::new(watch(socket)?)));
        Ok(Arc::new_cyclic(|myself| Self {
            socket,
            next: AtomicU32::new(1),
            answers: Mutex::default(),
            closed: CancellationToken::new(),
            myself: Weak::clone(myself),
        }))
    }

    fn answers(&self) -> MutexGuard<'_, Answers<OwnedFd>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn socket(&self) -> Result<Arc<AsyncFd<OwnedFd>>, Lost> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Closed)
    }

    /// Reads one message.
    pub(super) async fn receive(&self) -> Result<(Reply, Vec<OwnedFd>), Lost> {
        let mut buffer = [0; REPLY];
        let received: Option<Received> = self
            .socket()?
            .async_io(Interest::READABLE, |socket| {
                channel::receive(socket, &mut buffer, false).map_err(std::io::Error::from)
            })
            .await
            .map_err(|_| Closed)?;
        let mut received = received.ok_or(Closed)?;
        let descriptors = std::mem::take(&mut received.descriptors);
        let reply = decode(received.bytes(&buffer)).ok_or(Closed)?;
        Ok((reply, descriptors))
    }

    /// Hands answers to their waiters until one of the sides closes.
    pub(super) async fn serve(&self) {
        while let Some(Ok((reply, descriptors))) = self.closed.run_until_cancelled(self.receive()).await {
            self.deliver(reply, descriptors);
        }
    }

    /// Ends everything that waits for an answer or an end, and the agent, which lives as long as its link.
    pub(super) fn close(&self) {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut answers = self.answers();
        self.closed.cancel();
        answers.clear();
    }

    /// Whether a command that has ended was killed because memory had run out.
    pub(super) fn has_starved(&self, id: u32) -> bool {
        self.answers().has_starved(id)
    }

    /// Nobody will ask any more how a command has ended.
    pub(super) fn forget(&self, id: u32) {
        self.answers().forget(id);
    }

    /// Is cancelled when the link is closed.
    pub(super) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Whether the sandbox lives: the kernel closes the other end of the link, which is process 1's, before it ends any
    /// other process.
    pub(super) fn is_open(&self) -> bool {
        self.socket().is_ok_and(|socket| descriptor::is_open(socket.get_ref()))
    }

    fn deliver(&self, reply: Reply, descriptors: Vec<OwnedFd>) {
        let heard = self.answers().hear(reply, descriptors);
        if let Heard::Unwanted(answer) = heard {
            self.undo(&answer);
        }
    }

    fn undo(&self, answer: &Answer) {
        if let Some(request) = answer.undoing() {
            self.tell(request);
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask(&self, request: impl FnOnce(u32) -> Request) -> Result<(u32, Answer), Lost> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let receiver = {
            let mut answers = self.answers();
            if self.closed.is_cancelled() {
                return Err(Closed);
            }
            answers.expect(id)
        };
        let mut asked = Asked { link: self, id, sent: false, receiver };
        self.send(&request(id)).await?;
        asked.sent = true;
        let answer = (&mut asked.receiver).await.map_err(|_| Closed)?;
        Ok((id, answer))
    }

    /// Sends a request that has no answer.
    pub(super) async fn send(&self, request: &Request) -> Result<(), Lost> {
        let message = encode(request);
        let send = |socket: &OwnedFd| channel::send(socket, &message, &[]).map_err(std::io::Error::from);
        self.socket()?.async_io(Interest::WRITABLE, send).await.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Closed,
            _ => Lost::Unsent(error),
        })
    }

    /// Sends a request that has no answer, from where nothing can be waited for.
    pub(super) fn tell(&self, request: Request) {
        let Ok(socket) = self.socket() else { return };
        let Err(errno) = channel::send(socket.get_ref(), &encode(&request), &[]) else { return };
        match (errno, self.myself.upgrade(), Handle::try_current()) {
            (Errno::PIPE, ..) => {}
            // Many are asking at once: it has to wait for its turn, but nobody has to wait for it.
            (Errno::AGAIN, Some(link), Ok(runtime)) => {
                runtime.spawn(async move { link.send(&request).await });
            }
            _ => tracing::warn!(%errno, "cannot reach a sandbox"),
        }
    }
}

/// Somebody who waits for an answer. Dropped, an answer that was not seen any more is undone, as soon as it has come.
struct Asked<'a> {
    link: &'a Link,
    id: u32,
    sent: bool,
    receiver: oneshot::Receiver<Answer>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.sent {
            // There will be no answer.
            self.link.answers().expect_no_more(self.id);
        }
        self.receiver.close();
        if let Ok(answer) = self.receiver.try_recv() {
            self.link.undo(&answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    /// Says all of this, whenever there is room.
    async fn say(socket: &OwnedFd, replies: impl Iterator<Item = Reply>) {
        for reply in replies {
            while channel::send(socket, &encode(&reply), &[]) == Err(Errno::AGAIN) {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn answers_that_nobody_asked_for_take_no_memory_and_no_time() {
        let (ours, theirs) = pair();
        let link = Link::new(ours).unwrap();
        let started = |id| Reply::Started { id, pid: 1 };
        let flood = (0..5000).flat_map(|id| [started(id), Reply::Starved { id }, Reply::Done { id }]);
        tokio::select! {
            () = link.serve() => panic!("each of them makes sense"),
            () = async { say(&theirs, flood).await; say(&theirs, [Reply::Done { id: 0 }].into_iter()).await } => {}
        }
        let answers = link.answers();
        assert!(answers.is_empty(), "{answers:?}");
        let answered = rustix::net::recv(&theirs, &mut [0_u8; 64][..], RecvFlags::empty());
        assert!(answered.is_err(), "it was answered");
    }

    #[tokio::test]
    async fn what_was_asked_for_by_somebody_who_has_gone_is_undone_once() {
        let (ours, theirs) = pair();
        let link = Link::new(ours).unwrap();
        let asked = link.ask(|id| Request::Remove { id, path: "/x".to_owned() });
        assert!(tokio::time::timeout(Duration::from_millis(20), asked).await.is_err());
        let mut bytes = [0_u8; 256];
        let receive = |bytes: &mut [u8]| channel::receive(&theirs, bytes, true).unwrap().unwrap();
        let received = receive(&mut bytes);
        let Some(Request::Remove { id, .. }) = decode(received.bytes(&bytes)) else { panic!("it was sent") };
        for _ in 0..2 {
            let message = encode(&Reply::Started { id, pid: 1 });
            rustix::net::send(&theirs, &[&[0], &message[..]].concat(), SendFlags::empty()).unwrap();
            let (reply, descriptors) = link.receive().await.unwrap();
            link.deliver(reply, descriptors);
        }
        let received = receive(&mut bytes);
        assert_eq!(decode(received.bytes(&bytes)), Some(Request::Kill { target: id }));
        assert!(rustix::net::recv(&theirs, &mut bytes[..], RecvFlags::empty()).is_err(), "more was said");
    }
}
