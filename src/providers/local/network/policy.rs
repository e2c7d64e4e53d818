//! What a sandbox may reach, as its user wrote it, and what that means for one host and port.

use super::address::Trust;
use super::host::Host;
use crate::error::{Error, Result};
use crate::provider::Network;

/// The ports of a host that is allowed without one.
const PORTS: [u16; 2] = [80, 443];

/// Hosts that can be named. Each exact one has listeners of its own.
const MOST: usize = 256;

/// What a sandbox may reach.
#[derive(Clone, Debug)]
pub(super) enum Policy {
    /// Every public host.
    Full,
    /// These.
    Allow(Vec<Entry>),
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Exactly(Host),
    /// All names that end like this, which begins with a dot.
    Below(String),
}

impl Policy {
    /// The policy that is asked for, if any network is.
    pub(super) fn of(network: &Network) -> Result<Option<Self>> {
        match network {
            Network::None => Ok(None),
            Network::Full => Ok(Some(Self::Full)),
            Network::Allow(list) if list.len() > MOST => {
                Err(Error::invalid(format!("`network.allow` has {} entries, {MOST} at most", list.len()))
                    .with_hint("a wildcard such as '*.example.com' covers many"))
            }
            Network::Allow(list) => {
                let entries = list.iter().enumerate().map(|(at, text)| Entry::parse(at, text));
                entries.collect::<Result<_>>().map(|entries| Some(Self::Allow(entries)))
            }
        }
    }

    /// How far a host is to be trusted at a port, or why it is refused.
    pub(super) fn judge(&self, host: &Host, port: u16) -> Result<Trust, &'static str> {
        let Self::Allow(entries) = self else { return Ok(Trust::Public) };
        let mut verdict = Err("no entry of `network.allow` is about it");
        for entry in entries.iter().filter(|entry| entry.is_about(host)) {
            match &entry.hosts {
                _ if !entry.ports().contains(&port) => {
                    verdict = verdict.or(Err("`network.allow` has other ports for it"));
                }
                Hosts::Exactly(_) => return Ok(Trust::Named),
                Hosts::Below(_) => verdict = Ok(Trust::Public),
            }
        }
        verdict
    }

    /// The names that are allowed exactly, with a port each, as the user wrote them: one can come twice.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, u16)> {
        let entries = if let Self::Allow(entries) = self { entries.as_slice() } else { &[] };
        entries.iter().flat_map(|entry| {
            let name =
                if let Hosts::Exactly(Host::Name(name)) = &entry.hosts { Some(name.as_str()) } else { None };
            name.into_iter().flat_map(|name| entry.ports().iter().map(move |port| (name, *port)))
        })
    }
}

impl Entry {
    fn parse(at: usize, text: &str) -> Result<Self> {
        Self::read(text).map_err(|wrong| {
            Error::invalid(format!("`network.allow[{at}]` {wrong}: `{}`", text.escape_debug()))
                .with_hint("host names, such as 'example.com', '*.example.com' or 'example.com:8080'")
        })
    }

    /// Reads an entry, or tells what is wrong with it.
    fn read(text: &str) -> Result<Self, &'static str> {
        if text.contains("://") {
            return Err("has a scheme, which is not looked at");
        }
        if text.contains(['/', '?', '#', '\\']) {
            return Err("has a path, which is not looked at");
        }
        if text.contains(['@', '%']) {
            return Err("has more than a host and a port");
        }
        let (host, port) = split(text)?;
        let hosts = match host.strip_prefix("*.") {
            None if host == "*" => return Err("allows everything: that is `network: 'full'`"),
            None => Hosts::Exactly(exact(host)?),
            Some(domain) => match Host::parse(domain) {
                Some(Host::Name(name)) => Hosts::Below(format!(".{name}")),
                _ => return Err("has no domain behind its `*.`"),
            },
        };
        Ok(Self { hosts, port })
    }

    fn is_about(&self, host: &Host) -> bool {
        match (&self.hosts, host) {
            (Hosts::Exactly(allowed), host) => allowed == host,
            (Hosts::Below(end), Host::Name(name)) => name.len() > end.len() && name.ends_with(end),
            (Hosts::Below(_), Host::Address(_)) => false,
        }
    }

    fn ports(&self) -> &[u16] {
        self.port.as_ref().map_or(&PORTS, std::slice::from_ref)
    }
}

/// A host and its port, if it has one. An IPv6 address is in brackets.
fn split(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let behind = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = text[behind..].find(':').map(|colon| behind + colon) else { return Ok((text, None)) };
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    if port.contains(':') {
        return Err("has more than one `:`; an IPv6 address stands in brackets");
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    match port.parse() {
        Ok(port) if digits => Ok((host, Some(port))),
        _ => Err("has no port from 1 to 65535 behind its `:`"),
    }
}

/// A host of exactly one spelling, but for case, a dot at the end of a name, and letters beyond ASCII: an address that
/// is written in a clever way is more likely an accident.
fn exact(text: &str) -> Result<Host, &'static str> {
    if text.contains('*') {
        return Err("has a `*` elsewhere than as its first label");
    }
    match Host::parse(text) {
        None => Err("is no host name"),
        Some(Host::Address(address)) if text.trim_matches(['[', ']']) != address.to_string() => {
            Err("is an address in an unusual form")
        }
        Some(host) => Ok(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn policy(list: &[&str]) -> Result<Policy> {
        let network = Network::Allow(list.iter().map(ToString::to_string).collect());
        Ok(Policy::of(&network)?.expect("a list is a policy"))
    }

    fn judged(policy: &Policy, host: &str, port: u16) -> Option<Trust> {
        policy.judge(&Host::parse(host).expect(host), port).ok()
    }

    #[test]
    fn a_name_is_allowed_at_the_ports_of_the_web_unless_it_has_one() {
        let policy = policy(&["Example.com", "other.org:8080", "other.org:22"]).expect("these are entries");
        for (host, port, trust) in [
            ("example.com", 80, Some(Trust::Named)),
            ("EXAMPLE.COM.", 443, Some(Trust::Named)),
            ("example.com", 8080, None),
            ("other.org", 8080, Some(Trust::Named)),
            ("other.org", 22, Some(Trust::Named)),
            ("other.org", 443, None),
            ("www.example.com", 443, None),
            ("example.com.evil.org", 443, None),
            ("evilexample.com", 443, None),
            ("example.co", 443, None),
            ("127.0.0.1", 80, None),
        ] {
            assert_eq!(judged(&policy, host, port), trust, "{host}:{port}");
        }
    }

    #[test]
    fn a_wildcard_is_all_below_it_and_not_itself() {
        let policy = policy(&["*.example.com", "www.example.com:8080"]).expect("these are entries");
        for (host, port, trust) in [
            ("a.example.com", 443, Some(Trust::Public)),
            ("a.b.example.com.", 80, Some(Trust::Public)),
            ("www.example.com", 8080, Some(Trust::Named)),
            ("www.example.com", 443, Some(Trust::Public)),
            ("example.com", 443, None),
            ("evilexample.com", 443, None),
            ("a.example.com.evil.org", 443, None),
            ("a.example.com", 22, None),
        ] {
            assert_eq!(judged(&policy, host, port), trust, "{host}:{port}");
        }
    }

    #[test]
    fn full_is_every_host_but_trusts_none() {
        let policy = Policy::of(&Network::Full).expect("it is possible").expect("it is a policy");
        assert_eq!(judged(&policy, "example.com", 22), Some(Trust::Public));
        assert_eq!(judged(&policy, "127.0.0.1", 80), Some(Trust::Public));
        assert!(Policy::of(&Network::None).expect("it is possible").is_none());
    }

    #[test]
    fn an_address_is_allowed_as_it_is_written_and_found_in_every_form() {
        let policy = policy(&["127.0.0.1:8080", "[::1]:8080", "[2606:4700::1]"]).expect("these are entries");
        for host in ["127.0.0.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]", "[::1]", "[0:0::1]"] {
            assert_eq!(judged(&policy, host, 8080), Some(Trust::Named), "{host}");
            assert_eq!(judged(&policy, host, 80), None, "{host}");
        }
        assert_eq!(judged(&policy, "[2606:4700::1]", 443), Some(Trust::Named));
    }

    #[test]
    fn an_entry_that_is_no_host_is_refused_by_name() {
        for (text, says) in [
            ("", "is no host name"),
            ("http://example.com", "scheme"),
            ("example.com/path", "path"),
            ("example.com?x", "path"),
            ("user@example.com", "more than a host"),
            ("ex%61mple.com", "more than a host"),
            ("*", "'full'"),
            ("*:443", "'full'"),
            ("*.", "no domain"),
            ("*.*.com", "no domain"),
            ("*.127.0.0.1", "no domain"),
            ("a.*.com", "first label"),
            ("*a.com", "first label"),
            ("example.com:", "no port"),
            ("example.com:0", "no port"),
            ("example.com:080", "no port"),
            ("example.com:+80", "no port"),
            ("example.com:65536", "no port"),
            ("example.com:http", "no port"),
            ("example.com:80:80", "more than one `:`"),
            ("::1", "brackets"),
            ("0x7f000001", "unusual"),
            ("127.1", "unusual"),
            ("[::ffff:127.0.0.1]", "unusual"),
            ("[::1", "brackets"),
            ("exa mple.com", "is no host name"),
            ("example..com", "is no host name"),
            (" example.com", "is no host name"),
        ] {
            let error = policy(&["fine.example", text]).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().starts_with("`network.allow[1]` "), "{error}");
            assert!(error.message().contains(says), "{text}: {error}");
        }
        let many = vec!["example.com"; MOST + 1];
        assert!(policy(&many).expect_err("there are too many").message().contains("256 at most"));
    }

    #[test]
    fn exact_names_are_told_with_their_ports() {
        let policy = policy(&["b.org", "*.c.org", "a.org:8080", "127.0.0.1"]).expect("these are entries");
        let names: Vec<_> = policy.names().collect();
        assert_eq!(names, [("b.org", 80), ("b.org", 443), ("a.org", 8080)]);
    }

    #[test]
    fn any_text_is_read_without_panic_and_allows_only_what_it_says() {
        let mut random = fastrand::Rng::with_seed(1);
        let pieces =
            ["*", ".", ":", "[", "]", "a", "com", "80", "0", "%", "é", "-", "::", "127", "/", "@", " ", "\0"];
        for _ in 0..100_000 {
            let text: String = (0..random.u8(..8)).map(|_| pieces[random.usize(..pieces.len())]).collect();
            if let Ok(policy) = policy(&[&text]) {
                assert_eq!(judged(&policy, "evil.example", 443), None, "{text}");
                assert_eq!(judged(&policy, "10.0.0.1", 443), None, "{text}");
            }
        }
    }
}
