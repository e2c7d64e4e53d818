//! One descriptor of process 1's, as the core sees it: a pipe, a terminal, a file or a socket.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use computesdk_agent::protocol::WINDOW;
use rustix::event::PollFlags;
use rustix::fs::{FileType, OFlags};
use rustix::io::{Errno, Result};
use rustix::net::{Shutdown, sockopt};
use rustix::termios::Winsize;

/// How long what was shown before the end of a process may take to arrive at its terminal, if others keep that open,
/// and how much it can be: the kernel's buffers hold less (`tty_buffer.c`). The rest is theirs.
const REST: Duration = Duration::from_millis(200);
const SHOWN: usize = 128 * 1024;
/// How often a terminal is looked at that nobody holds any more, though its process runs: it can be opened again.
const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Stream {
    fd: OwnedFd,
    kind: Kind,
    /// The request that it came of.
    of: u32,
    reads: bool,
    writes: bool,
    /// Bytes that may still be sent of what it reads.
    room: usize,
    /// What is to be written to it.
    pending: VecDeque<Vec<u8>>,
    /// Nothing more comes to be written.
    finished: bool,
    /// What is still to be read, once whoever writes to it has ended.
    left: Option<usize>,
    /// When reading it ends, or begins again.
    until: Option<Instant>,
    /// What it shows is for nobody.
    ignored: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pipe,
    Terminal,
    File,
    /// Connected to nothing yet; on the way; connected.
    Socket(Connection),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    None,
    Begun,
    Made,
}

impl Stream {
    /// Takes a descriptor of process 1's, that came of a request.
    pub fn new(fd: OwnedFd, of: u32, ignored: bool) -> Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        let kind = match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::Fifo => Kind::Pipe,
            FileType::CharacterDevice => Kind::Terminal,
            FileType::RegularFile => Kind::File,
            FileType::Socket => Kind::Socket(Connection::None),
            _ => return Err(Errno::INVAL),
        };
        if kind != Kind::File {
            rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        }
        if let Kind::Socket(_) = kind {
            // Closed before it has ended, it is reset: half an answer never looks whole.
            sockopt::set_socket_linger(&fd, Some(Duration::ZERO))?;
            sockopt::set_tcp_nodelay(&fd, true)?;
        }
        let access = flags & OFlags::RWMODE;
        Ok(Self {
            fd,
            kind,
            of,
            reads: access != OFlags::WRONLY,
            writes: access != OFlags::RDONLY,
            room: WINDOW,
            pending: VecDeque::new(),
            finished: false,
            left: None,
            until: None,
            ignored,
        })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub fn of(&self) -> u32 {
        self.of
    }

    /// When there is something to do without anybody's doing.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// What is to be waited for; `room` tells whether what is read can be told.
    pub fn interest(&self, room: bool, now: Instant) -> PollFlags {
        match self.kind {
            Kind::Socket(Connection::None) => return PollFlags::empty(),
            Kind::Socket(Connection::Begun) => return PollFlags::OUT,
            _ => {}
        }
        let mut interest = PollFlags::empty();
        let pausing = self.left.is_none() && self.until.is_some_and(|until| now < until);
        if self.reads && room && self.room > 0 && !pausing {
            interest |= PollFlags::IN;
        }
        if !self.pending.is_empty() {
            interest |= PollFlags::OUT;
        }
        interest
    }

    /// Reads what there is room for. `Some(Err(0))` is the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Option<std::result::Result<usize, i32>> {
        if !self.reads
            || self.room == 0
            || self.until.is_some_and(|until| self.left.is_none() && Instant::now() < until)
        {
            return None;
        }
        let most = buffer.len().min(self.room).min(self.left.unwrap_or(usize::MAX));
        let read = match self.kind {
            // Another socket may have its flags changed by nobody, but this costs nothing.
            Kind::Socket(_) => {
                rustix::net::recv(&self.fd, &mut buffer[..most], rustix::net::RecvFlags::DONTWAIT)
                    .map(|(read, _)| read)
            }
            _ => rustix::io::read(&self.fd, &mut buffer[..most]),
        };
        match read {
            Ok(0) | Err(Errno::IO) if self.kind == Kind::Terminal && self.left.is_none() => {
                self.until = Some(Instant::now() + PAUSE);
                None
            }
            Ok(0) => Some(Err(0)),
            Ok(read) => {
                if !self.ignored {
                    self.room -= read;
                }
                if let Some(left) = &mut self.left {
                    *left -= read;
                }
                Some(Ok(read))
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(Errno::IO) if self.kind == Kind::Terminal => Some(Err(0)),
            Err(errno) => Some(Err(errno.raw_os_error())),
        }
    }

    /// Whether all that was to be read has been.
    pub fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// Whoever writes to it has ended: it is read up to what is in it now. Whether that is nothing.
    pub fn writer_has_ended(&mut self) -> bool {
        if !self.reads {
            return true;
        }
        let left = match self.kind {
            Kind::Terminal => {
                self.until = Some(Instant::now() + REST);
                SHOWN
            }
            _ => rustix::io::ioctl_fionread(&self.fd).map_or(0, |bytes| bytes as usize),
        };
        self.left = Some(left);
        left == 0
    }

    /// Whether what was waited for would have come by now.
    pub fn is_too_late(&mut self, now: Instant) -> bool {
        match self.until {
            Some(until) if now >= until => {
                let over = self.left.is_some() && self.room > 0;
                // Else it is looked at again, or its reader waited for.
                self.until = self.left.map(|_| now + REST);
                over
            }
            _ => false,
        }
    }

    /// The core has room for so many bytes more.
    pub fn grant(&mut self, bytes: usize) {
        self.room = self.room.saturating_add(bytes).min(WINDOW);
    }

    /// Takes what is to be written.
    pub fn feed(&mut self, bytes: Vec<u8>) {
        if self.writes && !bytes.is_empty() {
            self.pending.push_back(bytes);
        }
    }

    /// Nothing more comes to be written.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Writes what can be written now. How many bytes that are, and why no more ever can be.
    pub fn write(&mut self) -> (usize, Option<Errno>) {
        let mut taken = 0;
        while let Some(bytes) = self.pending.front_mut() {
            let written = match self.kind {
                Kind::Socket(_) => rustix::net::send(
                    &self.fd,
                    bytes,
                    rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL,
                ),
                _ => rustix::io::write(&self.fd, bytes),
            };
            match written {
                Ok(written) => {
                    taken += written;
                    if written == bytes.len() {
                        self.pending.pop_front();
                    } else {
                        bytes.drain(..written);
                    }
                }
                Err(Errno::AGAIN) => return (taken, None),
                Err(Errno::INTR) => {}
                Err(errno) => return (taken, Some(errno)),
            }
        }
        if self.finished && self.writes {
            if let Kind::Socket(_) = self.kind {
                let _ = sockopt::set_socket_linger(&self.fd, None);
                let _ = rustix::net::shutdown(&self.fd, Shutdown::Write);
            }
            self.writes = self.kind == Kind::Terminal;
        }
        (taken, None)
    }

    /// Whether there is nothing more to do with it.
    pub fn is_done(&self) -> bool {
        !self.reads && !self.writes
    }

    /// Nothing more can be written.
    pub fn stop_writing(&mut self) {
        self.pending.clear();
        self.writes = false;
    }

    /// Nothing more can be read. Whether something may still be written.
    pub fn stop_reading(&mut self, broken: bool) -> bool {
        self.reads = false;
        !broken && self.writes && matches!(self.kind, Kind::Socket(_))
    }

    /// Nobody is there any more to whom what it shows could be told. Whether it is read on.
    pub fn is_read_for_nobody(&mut self) -> bool {
        self.ignored = true;
        self.room = WINDOW;
        self.pending.clear();
        self.reads && matches!(self.kind, Kind::Pipe | Kind::Terminal)
    }

    /// Tells a terminal its size; the kernel tells what runs in the foreground.
    pub fn resize(&self, cols: u16, rows: u16) {
        let size = Winsize { ws_col: cols, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = rustix::termios::tcsetwinsize(&self.fd, size);
    }

    /// Connects a socket to a port of the loopback address; `connected` tells of the outcome.
    pub fn connect(&mut self, v6: bool, port: u16) -> Result<()> {
        if self.kind != Kind::Socket(Connection::None) {
            return Err(Errno::NOTSOCK);
        }
        let address = match v6 {
            true => SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            false => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        self.kind = Kind::Socket(Connection::Begun);
        match rustix::net::connect(&self.fd, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// What came of connecting, once.
    pub fn connected(&mut self) -> Option<Result<()>> {
        if self.kind != Kind::Socket(Connection::Begun) {
            return None;
        }
        self.kind = Kind::Socket(Connection::Made);
        Some(sockopt::socket_error(&self.fd).and_then(|outcome| outcome).and_then(|()| {
            // Where nobody listens, the kernel may choose for a connection the very port that it leads to.
            let itself = rustix::net::getpeername(&self.fd)? == Some(rustix::net::getsockname(&self.fd)?);
            if itself { Err(Errno::CONNREFUSED) } else { Ok(()) }
        }))
    }
}
