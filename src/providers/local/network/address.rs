//! Addresses that only whoever is named exactly may lead to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// How much a host is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Its exact name is on the list: it may be anywhere.
    Named,
    /// It is only one of many, and whoever owns its name says where it is: it must be on the public internet.
    Public,
}

/// Why an address is not dialled, if it is not.
pub(super) fn refusal(address: IpAddr, trust: Trust) -> Option<&'static str> {
    match (kind(address), trust) {
        (Kind::Public, Trust::Public) if is_own(address) => Some("an address of this machine"),
        (Kind::Public, _) | (Kind::Private(_), Trust::Named) => None,
        (Kind::Private(what) | Kind::Nobody(what), _) => Some(what),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    /// One that means something else on every network, or somebody who trusts all who can reach it.
    Private(&'static str),
    /// One that is nobody's.
    Nobody(&'static str),
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => kind_of_v4(address),
        IpAddr::V6(address) => kind_of_v6(address),
    }
}

/// After IANA's registry of special addresses. Those for documentation are left: nothing private is there.
fn kind_of_v4(address: Ipv4Addr) -> Kind {
    match address.octets() {
        [0, ..] => Kind::Nobody("an unspecified address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Kind::Private("a private address"),
        [100, 64..=127, ..] => Kind::Private("a shared address"),
        [127, ..] => Kind::Private("a loopback address"),
        [169, 254, ..] => Kind::Private("a link-local address"),
        // Azure tells each machine about itself here, though the address looks like anybody's.
        [168, 63, 129, 16] => Kind::Private("a metadata address"),
        [192, 0, 0, _] | [198, 18..=19, ..] => Kind::Private("a special address"),
        [224..=239, ..] => Kind::Nobody("a multicast address"),
        [240..=255, ..] => Kind::Nobody("a reserved address"),
        _ => Kind::Public,
    }
}

/// The public ones are all in 2000::/3, but for those that have an IPv4 address in them and lead to that.
fn kind_of_v6(address: Ipv6Addr) -> Kind {
    let words = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match words {
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Nobody("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Private("a loopback address"),
        // Mapped, compatible, translated (SIIT, NAT64), and 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => kind_of_v4(v4(high, low)),
        [0x2001, 0, ..] => Kind::Private("an address of a tunnel"),
        [0x2000..=0x3fff, ..] => Kind::Public,
        [0xfc00..=0xfdff, ..] => Kind::Private("a private address"),
        [0xfe80..=0xfeff, ..] => Kind::Private("a link-local address"),
        [0xff00..=0xffff, ..] => Kind::Nobody("a multicast address"),
        _ => Kind::Private("a special address"),
    }
}

/// Whether an address is this machine's: what it is reached from is then the same. Nothing is sent.
fn is_own(address: IpAddr) -> bool {
    let reached_from = || -> io::Result<IpAddr> {
        let any: IpAddr =
            if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::from((any, 0)))?;
        socket.connect(SocketAddr::from((address, 1)))?;
        Ok(socket.local_addr()?.ip())
    };
    // Where it is not reached at all, it is not here.
    reached_from().is_ok_and(|from| from == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_public(text: &str) -> bool {
        kind(text.parse().expect(text)) == Kind::Public
    }

    #[test]
    fn what_is_not_on_the_public_internet_is_told() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::1",
            "2002:a00:1::",
            "fc00::1",
            "fd00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
            "5f00::1",
        ] {
            assert!(!is_public(text), "{text}");
        }
    }

    #[test]
    fn what_is_on_it_is_let_through() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "169.253.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.169.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "203.0.113.80",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
        ] {
            assert!(is_public(text), "{text}");
        }
    }

    #[test]
    fn whoever_is_named_may_be_private_but_not_nobody() {
        let refused = |text: &str, trust| refusal(text.parse().expect(text), trust).is_some();
        for text in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1"] {
            assert!(!refused(text, Trust::Named), "{text}");
            assert!(refused(text, Trust::Public), "{text}");
        }
        for text in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1"] {
            assert!(refused(text, Trust::Named), "{text}");
        }
    }

    #[test]
    fn this_machine_knows_its_own_addresses() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_own(Ipv4Addr::new(192, 0, 2, 1).into()));
    }
}
