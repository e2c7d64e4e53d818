//! The kernel's lists of sockets, `/proc/net/tcp` and `/proc/net/tcp6` (`proc_pid_net(5)`): of this machine, or of one
//! that is far away.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The state of a socket that listens.
const LISTENS: &str = "0A";

/// The address and port of a socket that listens, from its line:
/// `   0: 0100007F:1F90 00000000:0000 0A …`. `bytes` are those of a word as the machine of the list has them.
pub fn listener(line: &str, bytes: fn(u32) -> [u8; 4]) -> Option<(IpAddr, u16)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, state) = (fields.next()?, fields.nth(1)?);
    if state != LISTENS {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    Some((self::address(address, bytes)?, u16::from_str_radix(port, 16).ok()?))
}

/// An address as the kernel writes it: words in hexadecimal digits.
fn address(text: &str, bytes: fn(u32) -> [u8; 4]) -> Option<IpAddr> {
    let mut all = [0; 16];
    if !text.is_ascii() || text.len() > 2 * all.len() {
        return None;
    }
    for (at, word) in (0..text.len()).step_by(8).zip(all.chunks_exact_mut(4)) {
        word.copy_from_slice(&bytes(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?));
    }
    match text.len() {
        8 => Some(Ipv4Addr::new(all[0], all[1], all[2], all[3]).into()),
        32 => Some(Ipv6Addr::from(all).to_canonical()),
        _ => None,
    }
}
