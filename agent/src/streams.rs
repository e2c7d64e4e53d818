//! What a command reads and writes: pipes, or a terminal. All are made in here, so that they belong to the user
//! and can be opened again through /dev/stdout and /dev/tty.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{InputModes, OptionalActions, Winsize};

/// The two sides of a command's streams.
pub struct Streams {
    /// The core's: input if it is wanted, output, error; or a terminal's master side.
    pub ours: Vec<OwnedFd>,
    /// The command's: input, output, error; or a terminal, which is all three.
    pub theirs: Vec<OwnedFd>,
}

impl Streams {
    /// Three pipes; without `input` the first is at its end.
    pub fn pipes(input: bool) -> Result<Self> {
        let (mut ours, mut theirs) = (Vec::with_capacity(3), Vec::with_capacity(3));
        if input {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            ours.push(write);
            theirs.push(read);
        } else {
            theirs.push(rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
        }
        for _ in 0..2 {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            ours.push(read);
            theirs.push(write);
        }
        // Our ends never block the core.
        for end in &ours {
            rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK)?;
        }
        Ok(Self { ours, theirs })
    }

    /// Nothing to read, and nobody who reads.
    pub fn nothing() -> Result<OwnedFd> {
        rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
    }

    /// A terminal of this many columns and rows, on the sandbox's own devpts.
    pub fn terminal((cols, rows): (u16, u16)) -> Result<Self> {
        // Not by `openpt`, which makes another error of the one that says that there are too many.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = rustix::fs::open(c"/dev/ptmx", flags, Mode::empty())?;
        rustix::pty::unlockpt(&master)?;
        let terminal = open_peer(&master)?;
        rustix::termios::tcsetwinsize(
            &terminal,
            Winsize { ws_col: cols, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 },
        )?;
        // Backspace takes off a whole character, not a byte of it.
        let mut modes = rustix::termios::tcgetattr(&terminal)?;
        modes.input_modes |= InputModes::IUTF8;
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &modes)?;
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
        Ok(Self { ours: vec![master], theirs: vec![terminal] })
    }
}

/// Opens the terminal that belongs to a master side, by no path that anybody could have replaced (`TIOCGPTPEER`
/// in `ioctl_tty(2)`).
fn open_peer(master: &OwnedFd) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: a plain system call; the descriptor returned is new.
    unsafe {
        match libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) {
            -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
