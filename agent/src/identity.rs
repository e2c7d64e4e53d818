//! Who the processes of a sandbox are to the host.
//!
//! A broker that is root of the machine gives each sandbox 65,536 user ids of its own, high up where no
//! account is, so that two sandboxes are strangers to each other and to every user of the host. Any other
//! broker has one id to give: its own. Inside, commands are always [`USER`].

use std::fs;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::step::{Result, Step, checked};

/// The user and the group that commands run as inside.
pub const USER: u32 = 1000;

/// The ids of one sandbox.
const RANGE: u32 = 65_536;
/// The first id given away: systemd's table of user ids has nothing from here up to 2^31
/// (<https://systemd.io/UIDS-GIDS/>).
const FIRST: u32 = 0x7000_0000;
/// Sandboxes whose ids one broker reserves at a time.
const BLOCK: u32 = 16;
const BLOCKS: u32 = (0x8000_0000 - FIRST) / RANGE / BLOCK;

/// What this broker can give to sandboxes.
pub enum Identities {
    /// Root of the machine: ranges, taken in blocks that no other broker has.
    Ranges(Vec<Block>),
    /// Anybody else: the one id that the broker runs as.
    Own { uid: u32, gid: u32 },
}

/// Ranges that this broker has reserved.
pub struct Block {
    number: u32,
    /// The first ids of those that no sandbox has.
    free: Vec<u32>,
    _lock: OwnedFd,
}

impl Block {
    /// The first id of each of its ranges.
    fn ranges(number: u32) -> impl Iterator<Item = u32> {
        (0..BLOCK).map(move |n| FIRST + (number * BLOCK + n) * RANGE)
    }
}

/// The ids of one sandbox.
pub enum Identity {
    /// `RANGE` ids from this one on.
    Range(u32),
    /// One id: the broker's own.
    Own { uid: u32, gid: u32 },
}

impl Identities {
    /// Finds out which of the two this broker is.
    pub fn find() -> Result<Self> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let whole = fs::read_to_string("/proc/self/uid_map")
            .step("read /proc/self/uid_map")?
            .split_whitespace()
            .eq(["0", "0", "4294967295"]);
        Ok(if uid == 0 && whole { Self::Ranges(Vec::new()) } else { Self::Own { uid, gid } })
    }

    /// The ids for one more sandbox.
    pub fn take(&mut self) -> Result<Identity> {
        match self {
            Self::Own { uid, gid } => Ok(Identity::Own { uid: *uid, gid: *gid }),
            Self::Ranges(blocks) => {
                let range = blocks.iter_mut().find_map(|block| block.free.pop());
                let range = match range {
                    Some(range) => range,
                    None => {
                        let mut block = reserve_block()?;
                        let range =
                            block.free.pop().ok_or(rustix::io::Errno::AGAIN).step("reserve user ids")?;
                        blocks.push(block);
                        range
                    }
                };
                Ok(Identity::Range(range))
            }
        }
    }

    /// Takes the ids of a sandbox that is gone. Of blocks that nobody uses one is kept.
    pub fn give_back(&mut self, identity: Identity) {
        let (Self::Ranges(blocks), Identity::Range(first)) = (self, identity) else { return };
        if let Some(block) =
            blocks.iter_mut().find(|block| Block::ranges(block.number).any(|range| range == first))
        {
            block.free.push(first);
        }
        let mut unused = 0;
        blocks.retain(|block| {
            unused += usize::from(block.free.len() == BLOCK as usize);
            block.free.len() < BLOCK as usize || unused <= 1
        });
    }
}

/// Reserves a block of ranges among all brokers of the machine: the name of an abstract socket belongs to
/// whoever binds it first and is free again when that process ends, however it ends.
fn reserve_block() -> Result<Block> {
    let start = rustix::process::getpid().as_raw_nonzero().get() as u32;
    for n in 0..BLOCKS {
        let number = (start + n) % BLOCKS;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
                .step("make a socket")?;
        let name = format!("computesdk-ids-{number}");
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).step("name a socket")?;
        match rustix::net::bind(&socket, &address) {
            Ok(()) => {
                return Ok(Block { number, free: Block::ranges(number).collect(), _lock: socket });
            }
            Err(rustix::io::Errno::ADDRINUSE) => {}
            Err(errno) => return Err(errno).step("reserve user ids"),
        }
    }
    Err(rustix::io::Errno::AGAIN).step("reserve user ids: every range is in use")
}

impl Identity {
    /// Maps the ids into the user namespace of a fresh clone.
    pub fn apply(&self, pid: i32) -> Result<()> {
        match *self {
            Self::Range(first) => {
                write_map(pid, "uid_map", &format!("0 {first} {RANGE}"))?;
                write_map(pid, "gid_map", &format!("0 {first} {RANGE}"))
            }
            Self::Own { uid, gid } => {
                write_map(pid, "setgroups", "deny")?;
                write_map(pid, "uid_map", &format!("{USER} {uid} 1"))?;
                write_map(pid, "gid_map", &format!("{USER} {gid} 1"))
            }
        }
    }

    /// What the host knows the sandbox's user as, where that is nobody of its own.
    pub fn user(&self) -> Option<u32> {
        match *self {
            Self::Range(first) => Some(first + USER),
            Self::Own { .. } => None,
        }
    }

    /// Who is to own the sandbox's user namespace, where that need not be who this broker is: root inside, as whom
    /// nothing ever runs.
    pub fn owner(&self) -> Option<u32> {
        match *self {
            Self::Range(first) => Some(first),
            Self::Own { .. } => None,
        }
    }

    /// Whether the sandbox has ids that no process of the host has.
    pub fn ranged(&self) -> bool {
        matches!(self, Self::Range(_))
    }
}

fn write_map(pid: i32, file: &str, content: &str) -> Result<()> {
    fs::write(format!("/proc/{pid}/{file}"), content).step(format!("write {file}"))
}

/// Moves this process into a user namespace of its own in which it has every capability, and a mount
/// namespace; its id stays what it was. For a broker that is not root.
pub fn enter_own_namespaces(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: a plain system call in a process of one thread.
    checked(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) })
        .step("create a user namespace")?;
    for (file, content) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{uid} {uid} 1")),
        ("gid_map", format!("{gid} {gid} 1")),
    ] {
        fs::write(format!("/proc/self/{file}"), content).step(format!("write {file}"))?;
    }
    Ok(())
}

/// Becomes [`USER`], with every capability over the own user namespace still in hand: what is made from
/// here on belongs to the user.
pub fn become_user(ranged: bool) -> Result<()> {
    // SAFETY: plain system calls in a process of one thread.
    unsafe {
        if ranged {
            checked(libc::setgroups(0, std::ptr::null())).step("drop groups")?;
            checked(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0)).step("keep capabilities")?;
            checked(libc::setresgid(USER, USER, USER)).step("become the user")?;
            checked(libc::setresuid(USER, USER, USER)).step("become the user")?;
            crate::privileges::raise_capabilities()?;
        }
    }
    Ok(())
}
