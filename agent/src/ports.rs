//! The ports of a sandbox, for the core: sockets that lead into its network, and what listens there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use computesdk_agent::sockets::listener;
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

/// Bytes that are read of each list of sockets. Some thousand that listen fit in; more are read by nobody, so
/// that process 1 answers others meanwhile.
const MOST: u64 = 1 << 20;

/// A TCP socket, connected to nothing. It belongs to the network that it was made in, whoever uses it.
pub fn socket(v6: bool) -> Result<OwnedFd> {
    let family = if v6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
}

/// Whether something listens on a port where a connection to the loopback address reaches it. Nothing is
/// connected, so a server that serves one client is not used up.
pub fn listens(port: u16) -> Result<bool> {
    for list in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let found = match File::open(list) {
            Ok(file) => is_listed(BufReader::new(file.take(MOST)), port),
            // Without IPv6 there is no such list.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Err(error),
        };
        if found.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Looks for a port in a list of sockets. Those that listen come first, in both lists (the kernel's
/// documentation of `/proc/net/tcp` says so); the others can be many and are not read.
fn is_listed(mut list: impl BufRead, port: u16) -> io::Result<bool> {
    let mut line = String::new();
    list.read_line(&mut line)?;
    loop {
        line.clear();
        if list.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        if !line.ends_with('\n') {
            return Err(Errno::FBIG.into());
        }
        match listener(&line, u32::to_ne_bytes) {
            Some((address, number)) if number == port && is_reached(address) => return Ok(true),
            Some(_) => {}
            None => return Ok(false),
        }
    }
}

fn is_reached(address: IpAddr) -> bool {
    address.is_unspecified()
        || [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(&address)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";
    const REST: &str = "00000000:00000000 00:00000000 00000000  1000        0 29 1 0 100 0 0 10 0\n";

    fn lists(lines: &[&str], port: u16) -> io::Result<bool> {
        let lines: String = lines.iter().map(|line| format!("{line} {REST}")).collect();
        is_listed(format!("{HEAD}{lines}").as_bytes(), port)
    }

    #[test]
    fn what_listens_where_it_is_reached_is_found() {
        let any = "   0: 00000000:1F90 00000000:0000 0A";
        for line in [
            any,
            "4711: 0100007F:1F90 00000000:0000 0A",
            "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A",
            "   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A",
            "   0: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A",
        ] {
            if cfg!(target_endian = "little") {
                assert!(lists(&[line], 8080).expect("it is read"), "{line}");
            }
            assert!(!lists(&[line], 8081).expect("it is read"), "{line}");
        }
        assert!(lists(&["   0: 0200007F:0050 00000000:0000 0A", any], 8080).expect("it is read"));
    }

    #[test]
    fn what_only_is_connected_or_is_reached_elsewhere_is_not() {
        for line in [
            "   0: 0100007F:1F90 0100007F:A000 01",
            "   0: 0200007F:1F90 00000000:0000 0A",
            "   0: 00000000000000000000000002000000:1F90 00000000000000000000000000000000:0000 0A",
        ] {
            assert!(!lists(&[line], 8080).expect("it is read"), "{line}");
        }
        assert!(!lists(&[], 8080).expect("it is read"));
    }

    #[test]
    fn a_list_that_is_too_long_is_an_error_and_no_answer() {
        let line = format!("   0: 00000000:0001 00000000:0000 0A {REST}");
        let list = format!("{HEAD}{}", line.repeat(20)).into_bytes();
        let cut = &list[..list.len() - 5];
        assert!(is_listed(cut, 8080).is_err());
        assert!(is_listed(cut, 1).expect("it was read before"));
    }

    #[test]
    fn any_list_is_read_without_panic() {
        let mut random = fastrand::Rng::with_seed(1);
        let line = format!("   0: 00000000000000000000000001000000:1F90 00000000:0000 0A {REST}");
        let seed = format!("{HEAD}{line}{line}").into_bytes();
        for _ in 0..100_000 {
            let mut bytes = seed.clone();
            for _ in 0..=random.u8(..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(..=bytes.len()));
            let _ = is_listed(&bytes[..], 8080);
        }
    }

    #[test]
    fn this_machines_own_list_is_understood() {
        for host in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
            let Ok(server) = TcpListener::bind((host, 0)) else { continue };
            let port = server.local_addr().expect("it is bound").port();
            assert!(listens(port).expect("the lists can be read"), "{host}");
            drop(server);
            assert!(!listens(port).expect("the lists can be read"), "{host}");
        }
    }

    #[test]
    fn a_socket_is_connected_to_nothing() {
        for v6 in [false, true] {
            let socket = socket(v6).expect("there is TCP");
            assert_eq!(rustix::net::getpeername(&socket), Err(Errno::NOTCONN));
        }
    }
}
