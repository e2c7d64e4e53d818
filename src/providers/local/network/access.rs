//! What a sandbox may reach, and what that means for its files and its environment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use super::policy::Policy;
use crate::error::Result;
use crate::provider::Network;

/// Where the proxy listens inside: on an address that nothing else has a reason to take.
pub(super) const PROXY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 111, 0, 1), 3128);

/// The first of the addresses that stand for names.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 111, 1, 0);

/// Names that mean the sandbox itself, whatever is allowed: only the proxy leads to others of that name.
const ITSELF: [&str; 2] = ["localhost", "sandbox"];

/// Who goes there directly. The rest of 127.0.0.0/8 cannot be written so that all programs understand it.
const NOT_BY_PROXY: &str = "localhost,127.0.0.1,::1";

/// All certificates in one file, as the distributions have them. What is in the host's is in the sandbox's.
const CERTIFICATES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"];

/// What tells programs of a file with certificates: OpenSSL's and curl, Python's, git, Node's.
const TRUSTED_BY: [&str; 5] =
    ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS"];

/// What a sandbox may reach, with an address of the sandbox's own for each exact name.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    policy: Policy,
    names: BTreeMap<String, (Ipv4Addr, BTreeSet<u16>)>,
    environment: BTreeMap<String, String>,
}

impl Access {
    /// What is asked for; `None` if that is nothing. The certificates of this machine are in most sandboxes, but not in
    /// one with another root.
    pub(crate) fn of(network: Option<&Network>, has_certificates: bool) -> Result<Option<Self>> {
        let Some(policy) = network.map(Policy::of).transpose()?.flatten() else { return Ok(None) };
        let mut ports: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
        for (name, port) in policy.names().filter(|(name, _)| !ITSELF.contains(name)) {
            ports.entry(name.to_owned()).or_default().insert(port);
        }
        let addresses = (u32::from(FIRST)..).map(Ipv4Addr::from);
        let names = ports.into_iter().zip(addresses).map(|((name, ports), at)| (name, (at, ports))).collect();
        Ok(Some(Self { policy, names, environment: environment(has_certificates) }))
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the sandbox has to know by name: (address, name).
    pub(crate) fn names(&self) -> Vec<(String, String)> {
        self.names.iter().map(|(name, (at, _))| (at.to_string(), name.clone())).collect()
    }

    /// Where programs that know no proxy connect, and where that leads.
    pub(super) fn doors(&self) -> impl Iterator<Item = (SocketAddrV4, &str, u16)> {
        self.names.iter().flat_map(|(name, (at, ports))| {
            ports.iter().map(move |port| (SocketAddrV4::new(*at, *port), name.as_str(), *port))
        })
    }

    /// What programs look for in their environment.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }
}

/// The proxy, and the certificates of this machine: programs that bring their own would not trust what it trusts.
fn environment(has_certificates: bool) -> BTreeMap<String, String> {
    let proxy = format!("http://{PROXY}");
    let proxies =
        ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].map(|name| (name, proxy.as_str()));
    let exceptions = ["NO_PROXY", "no_proxy"].map(|name| (name, NOT_BY_PROXY));
    // From version 24 on, Node's own `fetch` and `http` follow the variables above if they are told to.
    let node = [("NODE_USE_ENV_PROXY", "1")];
    let file = CERTIFICATES.into_iter().find(|path| Path::new(path).is_file());
    let certificates = file.filter(|_| has_certificates).map(|file| TRUSTED_BY.map(|name| (name, file)));
    let all = proxies.into_iter().chain(exceptions).chain(node).chain(certificates.into_iter().flatten());
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(list: &[&str]) -> Access {
        let network = Network::Allow(list.iter().map(ToString::to_string).collect());
        Access::of(Some(&network), true).expect("it is possible").expect("it is a network")
    }

    #[test]
    fn no_network_is_no_access() {
        assert!(Access::of(None, true).expect("it is possible").is_none());
        assert!(Access::of(Some(&Network::None), true).expect("it is possible").is_none());
    }

    #[test]
    fn each_exact_name_has_one_address_and_its_ports() {
        let access =
            allowed(&["b.org", "A.org:22", "*.c.org", "a.org:8080", "1.1.1.1", "localhost:80", "b.org"]);
        let names = [("127.111.1.0", "a.org"), ("127.111.1.1", "b.org")];
        assert_eq!(access.names(), names.map(|(at, name)| (at.to_owned(), name.to_owned())));
        let doors: Vec<_> = access.doors().map(|(at, name, port)| format!("{at} {name}:{port}")).collect();
        assert_eq!(
            doors,
            [
                "127.111.1.0:22 a.org:22",
                "127.111.1.0:8080 a.org:8080",
                "127.111.1.1:80 b.org:80",
                "127.111.1.1:443 b.org:443",
            ]
        );
    }

    #[test]
    fn the_same_list_in_another_order_is_the_same_to_a_sandbox() {
        assert_eq!(allowed(&["a.org", "b.org"]).names(), allowed(&["b.org", "a.org"]).names());
    }

    #[test]
    fn programs_are_told_of_the_proxy_in_both_spellings() {
        let access = allowed(&[]);
        let environment = access.environment();
        for name in ["HTTP_PROXY", "https_proxy"] {
            assert_eq!(environment[name], "http://127.111.0.1:3128");
        }
        assert_eq!(environment["no_proxy"], "localhost,127.0.0.1,::1");
    }
}
