//! TCP sockets: those that lead into a sandbox, and bytes between two of them.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use computesdk_agent::protocol::{Reply, Request};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketType, ipproto, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;

use super::descriptor::watch;
use super::link::{Link, Lost};

/// Bytes carried at once. They are held only while they are on their way, so that a connection on which
/// nothing happens costs none.
const CHUNK: usize = 256 * 1024;

/// How long nothing may come before a look whether the other side still exists: one that has ended its half
/// and then itself is not noticed otherwise.
const QUIET: Duration = Duration::from_secs(60);

/// A connected socket.
#[derive(Debug)]
pub(in crate::providers) struct Socket {
    fd: AsyncFd<OwnedFd>,
    /// Whether writing has failed. The kernel tells of a reset once, and then only that there is no more to
    /// read, as at a good end.
    broken: AtomicBool,
}

impl Socket {
    /// Takes a socket that is connected, or is about to be. Closed before [`Self::finish`], it is reset: half
    /// an answer never looks whole.
    pub(in crate::providers) fn new(fd: OwnedFd) -> io::Result<Self> {
        sockopt::set_socket_linger(&fd, Some(Duration::ZERO))?;
        look_after(&fd)?;
        Ok(Self { fd: watch(fd).map_err(io::Error::other)?, broken: AtomicBool::new(false) })
    }

    /// Likewise, one that the runtime has watched in another way until now.
    pub(super) fn from_stream(stream: TcpStream) -> io::Result<Self> {
        Self::new(stream.into_std()?.into())
    }

    /// Reads what is there; empty at the end.
    pub(in crate::providers) async fn read(&self) -> io::Result<Vec<u8>> {
        let read = |fd: &OwnedFd| {
            let mut buffer = Vec::with_capacity(CHUNK);
            // Never waits, whoever else may have the socket and change its flags.
            rustix::net::recv(fd, rustix::buffer::spare_capacity(&mut buffer), RecvFlags::DONTWAIT)?;
            Ok(buffer)
        };
        let bytes = self.fd.async_io(Interest::READABLE, read).await?;
        if bytes.is_empty() && self.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(bytes)
    }

    /// Writes all of it.
    pub(in crate::providers) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while !bytes.is_empty() {
            let write = |fd: &OwnedFd| Ok(rustix::net::send(fd, bytes, flags)?);
            let written = self.fd.async_io(Interest::WRITABLE, write).await;
            let written = written.inspect_err(|_| self.broken.store(true, Ordering::Relaxed))?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Tells the other side that no more will come; one that is gone has no need to know.
    pub(in crate::providers) fn finish(&self) {
        let _ = sockopt::set_socket_linger(self.fd.get_ref(), None);
        let _ = rustix::net::shutdown(self.fd.get_ref(), Shutdown::Write);
    }
}

/// Lets a connection tell what there is to tell at once, and notice when nobody is there any more.
pub(super) fn look_after(socket: impl AsFd) -> rustix::io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, QUIET)?;
    sockopt::set_socket_keepalive(&socket, true)
}

/// Carries bytes both ways, and the end of each, until both have come. An error is the end of both.
pub(super) async fn carry(link: &Link, client: &Socket, inside: &Socket) -> io::Result<()> {
    tokio::try_join!(one_way(link, client, inside), one_way(link, inside, client)).map(drop)
}

async fn one_way(link: &Link, from: &Socket, to: &Socket) -> io::Result<()> {
    loop {
        let bytes = from.read().await?;
        if bytes.is_empty() {
            // A server that is killed with its sandbox has not come to the end of what it had to say.
            if !link.is_open() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            to.finish();
            return Ok(());
        }
        // Whoever reads no further may have answered all the same, as a server that refuses a long request
        // does: the other way brings the answer, and then the reset.
        if to.write(&bytes).await.is_err() {
            return Ok(());
        }
    }
}

/// Connects to an address of the sandbox at the other end of a link.
pub(super) async fn connect(link: &Link, to: SocketAddr) -> io::Result<Socket> {
    let fd = inside(link, to.is_ipv6()).await?;
    match rustix::net::connect(&fd, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    // Watched only now: a socket that is connected to nothing looks ready.
    let socket = Socket::new(fd)?;
    drop(socket.fd.writable().await?);
    let fd = socket.fd.get_ref();
    sockopt::socket_error(fd)??;
    if leads_to_itself(fd)? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(socket)
}

/// Listens on an address of the sandbox at the other end of a link. Below 1024 too, where nothing inside may: the
/// kernel asks for the rights of whoever binds, and this process made the sandbox's user namespace.
pub(super) async fn listen(link: &Link, at: SocketAddrV4, backlog: i32) -> io::Result<OwnedFd> {
    let fd = inside(link, false).await?;
    rustix::net::bind(&fd, &at)?;
    rustix::net::listen(&fd, backlog)?;
    Ok(fd)
}

/// A socket of the network of the sandbox at the other end of a link.
async fn inside(link: &Link, v6: bool) -> io::Result<OwnedFd> {
    let answer = link.ask(|id| Request::Socket { id, v6 }).await;
    let (_, answer) = answer.map_err(|lost| match lost {
        Lost::Closed => io::ErrorKind::NotConnected.into(),
        Lost::Unsent(error) => error,
    })?;
    match (answer.reply, answer.beside.into_iter().next()) {
        (Reply::Socket { .. }, Some(fd)) => {
            fresh(fd, if v6 { AddressFamily::INET6 } else { AddressFamily::INET })
        }
        (Reply::Failed { errno, .. }, _) => Err(io::Error::from_raw_os_error(errno)),
        _ => Err(io::Error::other("no socket came")),
    }
}

/// Whether a socket is its own other end: where nobody listens, the kernel may choose for a connection the
/// very port that it leads to.
fn leads_to_itself(fd: &OwnedFd) -> io::Result<bool> {
    Ok(rustix::net::getpeername(fd)? == Some(rustix::net::getsockname(fd)?))
}

/// Takes a descriptor from an agent, if it is a TCP socket that is connected to nothing.
fn fresh(fd: OwnedFd, family: AddressFamily) -> io::Result<OwnedFd> {
    let is_socket =
        rustix::fs::fstat(&fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    let is_fresh = is_socket
        && sockopt::socket_domain(&fd) == Ok(family)
        && sockopt::socket_type(&fd) == Ok(SocketType::STREAM)
        && sockopt::socket_protocol(&fd) == Ok(Some(ipproto::TCP))
        && sockopt::socket_acceptconn(&fd) == Ok(false)
        && rustix::net::getpeername(&fd) == Err(Errno::NOTCONN);
    if !is_fresh {
        return Err(io::Error::other("what came is no fresh socket"));
    }
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

    use rustix::net::{SocketFlags, socket_with};

    use super::*;

    fn tcp() -> OwnedFd {
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .expect("there is TCP")
    }

    #[test]
    fn a_socket_that_is_connected_to_nothing_is_taken_and_waits_no_more() {
        let fd = fresh(tcp(), AddressFamily::INET).expect("it is fresh");
        assert!(rustix::fs::fcntl_getfl(&fd).expect("it is open").contains(OFlags::NONBLOCK));
    }

    #[test]
    fn anything_else_is_refused() {
        let file: OwnedFd = std::fs::File::open("/proc/self/stat").expect("it can be read").into();
        let (pipe, _other) = rustix::pipe::pipe().expect("there are pipes");
        let datagrams: OwnedFd = UdpSocket::bind("127.0.0.1:0").expect("there is a port").into();
        let unix = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let server = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let client = TcpStream::connect(server.local_addr().expect("it is bound")).expect("it listens");
        for (what, fd) in [
            ("a file", file),
            ("a pipe", pipe),
            ("datagrams", datagrams),
            ("of this machine", unix.expect("there are such")),
            ("connected", client.into()),
            ("listening", server.into()),
        ] {
            assert!(fresh(fd, AddressFamily::INET).is_err(), "{what}");
        }
        assert!(fresh(tcp(), AddressFamily::INET6).is_err(), "of the other family");
    }

    #[test]
    fn a_connection_to_itself_is_told_from_others() {
        let fd = tcp();
        rustix::net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
        let own = rustix::net::getsockname(&fd).expect("it is bound");
        rustix::net::connect(&fd, &own).expect("TCP lets both ends be one");
        assert!(leads_to_itself(&fd).expect("it is connected"));

        let server = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let client = TcpStream::connect(server.local_addr().expect("it is bound")).expect("it listens");
        assert!(!leads_to_itself(&client.into()).expect("it is connected"));
    }
}
