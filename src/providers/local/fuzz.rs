//! What comes out of a sandbox, whose process 1 may be anybody's by now; and what the broker and process 1 read.

use std::cell::RefCell;
use std::fmt::Debug;
use std::os::fd::{AsFd, OwnedFd};

use computesdk_agent::channel::{self, sealed};
use computesdk_agent::protocol::{
    Blob, BrokerReply, BrokerRequest, Entry, Halt, Plan, Reply, Request, Wire, decode, encode,
};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use tokio::runtime::Runtime;

use super::files::entries;
use super::link::Link;
pub(crate) use super::network::fuzz::{policy, proxy};

/// Messages in all directions: what can be read can be written, and reads the same again.
pub(crate) fn messages(bytes: &[u8]) {
    same_again::<Request>(bytes);
    same_again::<Reply>(bytes);
    same_again::<BrokerRequest>(bytes);
    same_again::<BrokerReply>(bytes);
    same_again::<Plan>(bytes);
    same_again::<Entry>(bytes);
    same_again::<Halt>(bytes);
}

fn same_again<T: Wire + Debug + PartialEq>(bytes: &[u8]) {
    if let Some(message) = decode::<T>(bytes) {
        assert_eq!(decode::<T>(&encode(&message)).as_ref(), Some(&message));
    }
}

/// Datagrams, with a descriptor beside them or without.
pub(crate) fn channel(bytes: &[u8]) {
    let (ours, theirs) = pair();
    channel::send(&theirs, bytes, &[]).expect("it can be sent");
    let mut buffer = [0; 16 * 1024];
    if bytes.len() < buffer.len() {
        let received = channel::receive(&ours, &mut buffer, false).expect("it is one").expect("it has come");
        assert_eq!(received.bytes(&buffer), bytes);
    } else {
        assert!(channel::receive(&ours, &mut buffer, false).is_err());
    }
    if bytes.is_empty() {
        return;
    }
    let part = &bytes[..bytes.len().min(buffer.len() + 1)];
    for large in [false, true] {
        rustix::net::send(&theirs, part, SendFlags::empty()).expect("it can be sent");
        let _ = channel::receive(&ours, &mut buffer, large);
    }
    let memfd = sealed(bytes).expect("there is memory");
    channel::send(&theirs, bytes, &[memfd.as_fd()]).expect("it can be sent");
    let received = channel::receive(&ours, &mut buffer, false);
    assert!(received.map_or(true, |received| received.is_some_and(|one| one.descriptors.len() == 1)));
}

/// Answers that nobody has asked for: datagrams, each behind its length as one byte.
pub(crate) fn link(bytes: &[u8]) {
    with_runtime(|runtime| {
        runtime.block_on(async {
            let (ours, theirs) = pair();
            let link = Link::new(ours).expect("it can be watched");
            let say = async {
                let mut rest = bytes;
                while let Some((length, behind)) = rest.split_first() {
                    let (datagram, behind) = behind.split_at(usize::from(*length).min(behind.len()));
                    if !datagram.is_empty() {
                        let _ = rustix::net::send(&theirs, datagram, SendFlags::DONTWAIT);
                    }
                    rest = behind;
                    tokio::task::yield_now().await;
                }
                drop(theirs);
            };
            let ask = async {
                let id = |id| Request::Stat { id, path: "/".to_owned() };
                let _ = link.ask(id).await;
            };
            let serve = async {
                link.serve().await;
                link.close();
            };
            tokio::join!(serve, say, ask);
            assert!(!link.is_open());
        });
    });
}

/// The list of a directory, and the report of a copy.
pub(crate) fn listing(bytes: &[u8]) {
    if let Some(entries) = entries(bytes) {
        assert!(entries.len() <= bytes.len());
    }
    let whole = encode(&Blob(bytes.to_vec()));
    assert_eq!(decode::<Blob>(&whole), Some(Blob(bytes.to_vec())));
}

fn pair() -> (OwnedFd, OwnedFd) {
    let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
    rustix::net::socketpair(kind.0, kind.1, kind.2, None).expect("there are sockets")
}

/// Lends the runtime of this thread.
pub(super) fn with_runtime<T>(work: impl FnOnce(&Runtime) -> T) -> T {
    thread_local! {
        static RUNTIME: RefCell<Runtime> = RefCell::new(
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is a runtime"),
        );
    }
    RUNTIME.with_borrow(work)
}
