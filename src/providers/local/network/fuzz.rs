//! What a sandbox says to its proxy, and what hosts can be called.

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;

use super::super::fuzz::with_runtime;
use super::host::Host;
use super::policy::Policy;
use super::proxy;
use crate::provider::Network;

/// An entry of the list, and a host that is asked for, which is the rest of the lines.
pub(crate) fn policy(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (entry, asked) = text.split_once('\n').unwrap_or((&text, ""));
    let asked = Host::parse(asked);
    if let Some(host @ Host::Name(name)) = &asked {
        assert_eq!(Host::parse(name).as_ref(), Some(host), "a host has one form");
    }
    let Ok(Some(policy)) = Policy::of(&Network::Allow(vec![entry.to_owned()])) else { return };
    for (name, port) in policy.names() {
        assert_eq!(Host::parse(name), Some(Host::Name(name.to_owned())));
        assert!(policy.judge(&Host::Name(name.to_owned()), port).is_ok());
    }
    // What is allowed has a name for it in what was allowed.
    if let Some(host) = asked
        && (0..=u16::MAX).step_by(443).any(|port| policy.judge(&host, port).is_ok())
    {
        let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
        let allowed = entry.rsplit_once(':').map_or(entry, |(host, _)| host);
        let allowed = Host::parse(allowed.trim_start_matches("*.")).expect("it is one").to_string();
        assert_eq!(last(&allowed), last(&host.to_string()));
    }
}

/// Requests as a program in the sandbox writes them: what is passed on names the host that is judged, and no other.
pub(crate) fn proxy(bytes: &[u8]) {
    let served = async |request: Request<Incoming>| {
        let target = |(host, port): (&str, u16)| (host.to_owned(), port);
        if request.method() == Method::CONNECT {
            let _ = proxy::to_connect(&request).map(target);
        } else if let Ok((host, _)) = proxy::to_pass_on(&request).map(target)
            && let Ok(request) = proxy::rewritten(request)
        {
            assert!(request.uri().authority().is_none() && request.uri().scheme().is_none());
            let named: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
            let [named] = named[..] else { panic!("{named:?}") };
            let named = named.to_str().expect("it is a host").to_owned();
            assert!(named.strip_prefix(&host).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')));
            assert!(!request.headers().contains_key(header::PROXY_AUTHORIZATION));
            assert!(!request.headers().contains_key(header::UPGRADE));
        }
        Ok::<_, Infallible>(proxy::own(StatusCode::FORBIDDEN, "no"))
    };
    with_runtime(|runtime| {
        runtime.block_on(async {
            let client = TokioIo::new(tokio::io::join(bytes, tokio::io::sink()));
            let _ = proxy::server().serve_connection(client, service_fn(served)).await;
        });
    });
}
