//! The parts of a port's URL that the caller decides.

use std::net::{IpAddr, Ipv4Addr};

use crate::error::{Error, Result};

/// What a URL begins with: `http` unless the caller says otherwise.
pub(in crate::providers) fn scheme(protocol: Option<&str>) -> Result<&str> {
    match protocol {
        None => Ok("http"),
        Some(plain @ ("http" | "ws")) => Ok(plain),
        Some(secure @ ("https" | "wss")) => Err(Error::unsupported(format!(
            "`protocol`: a sandbox's ports are reached as they are, without TLS: no '{secure}'"
        ))
        .with_hint(format!("use '{}'", secure.trim_end_matches('s')))),
        Some(other) => {
            Err(Error::invalid(format!("`protocol` must be 'http', 'https', 'ws' or 'wss', got '{other}'")))
        }
    }
}

/// The host in every URL of a sandbox: its `domain`, else the loopback address.
pub(in crate::providers) fn host(domain: Option<&str>) -> Result<String> {
    let Some(domain) = domain else { return Ok(Ipv4Addr::LOCALHOST.to_string()) };
    match domain.parse() {
        Ok(IpAddr::V4(_)) => Ok(domain.to_owned()),
        Ok(IpAddr::V6(_)) => Ok(format!("[{domain}]")),
        Err(_) if is_name(domain) => Ok(domain.to_owned()),
        Err(_) => Err(Error::invalid(format!("`domain` is no host name: `{domain}`")).with_hint(
            "a name such as 'localhost' or 'box.example.org', or an IP address; no port, no path",
        )),
    }
}

/// Whether a text is a host name. One that ends in a number is read as an address wherever URLs are read.
fn is_name(text: &str) -> bool {
    let legal = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit()) || label.starts_with("0x");
    text.len() <= 253 && text.split('.').all(legal) && !text.rsplit('.').next().is_some_and(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_domain_is_a_host_name_or_an_address() {
        for (domain, expected) in [
            (None, "127.0.0.1"),
            (Some("localhost"), "localhost"),
            (Some("my-box.Example.org"), "my-box.Example.org"),
            (Some("3000.example.org"), "3000.example.org"),
            (Some("192.0.2.1"), "192.0.2.1"),
            (Some("::1"), "[::1]"),
        ] {
            assert_eq!(host(domain).expect("it is one"), expected);
        }
    }

    #[test]
    fn what_no_url_could_hold_is_refused() {
        let long = format!("{}.org", "x".repeat(64));
        let longer = "a.".repeat(126) + "org";
        for domain in [
            "",
            ".",
            "a..b",
            "a.",
            "-a",
            "a-",
            "a b",
            "a:80",
            "http://a",
            "a/b",
            "a@b",
            "a#",
            "é",
            "a\0",
            "[::1]",
            "fe80::1%lo",
            "127.1",
            "256.0.0.1",
            "a.0x7f",
            "a\n",
            &long,
            &longer,
        ] {
            let error = host(Some(domain)).expect_err(domain);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains("`domain`"), "{error}");
        }
    }

    #[test]
    fn a_protocol_is_honoured_or_refused() {
        assert_eq!(scheme(None).expect("it has a default"), "http");
        assert_eq!(scheme(Some("ws")).expect("it needs no TLS"), "ws");
        for protocol in ["https", "wss"] {
            let error = scheme(Some(protocol)).expect_err("it needs TLS");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
        for protocol in ["", "HTTP", "ftp", "http:"] {
            assert_eq!(scheme(Some(protocol)).expect_err(protocol).kind(), ErrorKind::InvalidArgument);
        }
    }
}
