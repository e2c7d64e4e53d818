//! Who asks process 1: one core, which made the sandbox and holds the other end of a socket; or, in a container, any
//! number of cores, each through a relay that comes to a socket of a name.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use computesdk_agent::channel;
use computesdk_agent::protocol::{Reply, encode};
use rustix::io::Result;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

/// The name of the socket: in no directory, and known in this network namespace alone.
const NAME: &[u8] = b"computesdk";

/// How long a relay may leave an answer unread. Commands can stop it; then it is one no more.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of the list of accounts that are read, and letters of a name.
const MOST_ACCOUNTS: u64 = 1 << 20;
const LONGEST_NAME: usize = 256;

/// The most relays at once.
const MOST: u8 = 128;

/// Everybody who asks.
pub struct Links {
    open: Vec<(u8, OwnedFd)>,
    /// Where more come from; without it, the one that there is is the only one.
    door: Option<OwnedFd>,
}

impl Links {
    /// The only one.
    pub fn one(link: OwnedFd) -> Self {
        Self { open: vec![(0, link)], door: None }
    }

    /// Whoever comes.
    pub fn many() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let door = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::bind(&door, &SocketAddrUnix::new_abstract_name(NAME)?)?;
        rustix::net::listen(&door, i32::from(MOST))?;
        Ok(Self { open: Vec::new(), door: Some(door) })
    }

    /// What there is to wait for: everybody, in this order, and then the door.
    pub fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.open.iter().map(|(_, link)| link.as_fd()).chain(self.door.iter().map(AsFd::as_fd))
    }

    /// The numbers of everybody, in the order of [`watched`](Self::watched).
    pub fn numbers(&self) -> Vec<u8> {
        self.open.iter().map(|(number, _)| *number).collect()
    }

    /// Who has this number.
    pub fn get(&self, number: u8) -> Option<&OwnedFd> {
        self.open.iter().find(|(known, _)| *known == number).map(|(_, link)| link)
    }

    /// Whether all is over when this one has gone.
    pub fn is_only(&self) -> bool {
        self.door.is_none()
    }

    /// Lets go of one.
    pub fn close(&mut self, number: u8) {
        self.open.retain(|(known, _)| *known != number);
    }

    /// Sends an answer to who asked for it.
    pub fn send(&self, id: u32, reply: &Reply, beside: &[BorrowedFd<'_>]) -> Result<()> {
        let number = if self.is_only() { 0 } else { (id >> 24) as u8 };
        // Nobody is left to whom it would mean anything.
        let Some(link) = self.get(number) else { return Ok(()) };
        channel::send(link, &encode(reply), beside)
    }

    /// Lets in who has come, if it is a relay that the engine has started; `is_taken` tells of numbers that are not
    /// to be given again.
    pub fn let_in(&mut self, bash: bool, is_taken: impl Fn(u8) -> bool) {
        let Some(door) = &self.door else { return };
        let Ok(link) = rustix::net::accept_with(door, SocketFlags::CLOEXEC) else { return };
        let free = (1..=MOST).find(|number| self.get(*number).is_none() && !is_taken(*number));
        let (Some(number), true) = (free, is_from_outside(&link)) else { return };
        let patient = sockopt::set_socket_timeout(&link, sockopt::Timeout::Send, Some(PATIENCE));
        let welcome = encode(&Reply::Welcome { number, bash, user: user(), home: home() });
        if patient.and_then(|()| channel::send(&link, &welcome, &[])).is_ok() {
            self.open.push((number, link));
        }
    }

    /// In a child that is to serve nobody: closes them all.
    pub fn close_in_child(&self) {
        for fd in self.watched() {
            // SAFETY: the child has no use for it, and ends without looking at it again.
            unsafe { libc::close(fd.as_raw_fd()) };
        }
    }
}

/// Comes to the process 1 of this namespace, to ask.
pub fn call() -> Result<OwnedFd> {
    let link =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&link, &SocketAddrUnix::new_abstract_name(NAME)?)?;
    Ok(link)
}

/// Whether the process at the other end was put into this pid namespace from outside it, as the engine does: its
/// parent is none of this namespace. Whatever a command starts has a parent here, if only process 1.
fn is_from_outside(link: &OwnedFd) -> bool {
    let Ok(peer) = sockopt::socket_peercred(link) else { return false };
    let stat = std::fs::read(format!("/proc/{}/stat", peer.pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| parent(&stat) == Some(0))
}

/// The fourth field (`proc_pid_stat(5)`). The second is a name that may be anything, in brackets.
fn parent(stat: &[u8]) -> Option<u32> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(&stat[end + 1..]).ok()?.split_whitespace().nth(1)?.parse().ok()
}

/// Where the engine says that this user is at home.
#[expect(clippy::disallowed_methods, reason = "the core cannot look here")]
fn home() -> String {
    std::env::var("HOME").unwrap_or_default()
}

/// The name of this user, if it has one here. What the file says is the image's word, and only ever told.
fn user() -> String {
    let own = rustix::process::getuid().as_raw().to_string();
    let mut accounts = Vec::new();
    if let Ok(file) = std::fs::File::open("/etc/passwd") {
        let _ = file.take(MOST_ACCOUNTS).read_to_end(&mut accounts);
    }
    let accounts = String::from_utf8_lossy(&accounts);
    let named = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == own).then(|| name.chars().take(LONGEST_NAME).collect())
    });
    named.unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_whatever_the_process_calls_itself() {
        assert_eq!(parent(b"7 (a) S 3) R 0 7 7 0"), Some(0));
        assert_eq!(parent(b"7 (\xff 0) S 12 7 7 0"), Some(12));
        assert_eq!(parent(b"7 (a"), None);
        assert_eq!(parent(b""), None);
    }

    #[test]
    fn what_this_process_has_started_is_not_from_outside() {
        let pair =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        assert!(!is_from_outside(&pair.expect("there are sockets").0));
    }
}
