//! Hosts in the one form in which they are compared.

use std::fmt;
use std::net::IpAddr;

/// A host that is asked for or allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Host {
    /// In lower case, in ASCII (punycode), without a dot at its end.
    Name(String),
    /// Of an IPv4 address that is written as an IPv6 address, the IPv4 address.
    Address(IpAddr),
}

impl Host {
    /// Reads a host as browsers do, so that `EXAMPLE.com.` is `example.com`, and `0x7f000001` is 127.0.0.1: a host has
    /// no second spelling that is judged in another way. `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match ::url::Host::parse(text).ok()? {
            ::url::Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                is_name(name).then(|| Self::Name(name.to_owned()))
            }
            ::url::Host::Ipv4(address) => Some(Self::Address(address.into())),
            ::url::Host::Ipv6(address) => Some(Self::Address(IpAddr::V6(address).to_canonical())),
        }
    }
}

/// Whether a text that is one to browsers is a name to name servers. Underscores are, in some names that people use.
fn is_name(text: &str) -> bool {
    let legal = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
    };
    text.len() <= 253 && text.split('.').all(legal)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        Host::parse(text).map(|host| host.to_string())
    }

    #[test]
    fn all_spellings_of_a_host_are_one() {
        for (text, expected) in [
            ("example.com", "example.com"),
            ("EXAMPLE.Com.", "example.com"),
            ("my_bucket.example.com", "my_bucket.example.com"),
            ("ex%61mple.com", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("ｅｘａｍｐｌｅ.com", "example.com"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("%31%32%37.0.0.1", "127.0.0.1"),
            ("１２７.０.０.１", "127.0.0.1"),
            ("[::1]", "::1"),
            ("[::ffff:127.0.0.1]", "127.0.0.1"),
            ("[0:0:0:0:0:ffff:7f00:1]", "127.0.0.1"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_none() {
        let long = format!("{}.org", "x".repeat(64));
        for text in [
            "",
            ".",
            "..",
            "a..b",
            "a b",
            "a/b",
            "a:80",
            "::1",
            "[::1",
            "[fe80::1%lo]",
            "a@b",
            "a\0",
            "a%00b",
            "a%2fb",
            "1.2.3.4.5",
            "256.0.0.1",
            "a.0x7f",
            "-a.b",
            "*.a",
            &long,
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
