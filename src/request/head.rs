//! What the head of a request says about who asks, and how.

use super::Policy;
use super::failure::{METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE};
use crate::error::{Error, ErrorKind, Result};

/// The method, and the headers that matter.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The method.
    pub method: String,
    /// The host of the URL, with its port.
    pub url_host: Option<String>,
    /// `Host`.
    pub host: Option<String>,
    /// `X-Forwarded-Host`.
    pub forwarded_host: Option<String>,
    /// `Origin`.
    pub origin: Option<String>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Accept`.
    pub accept: Option<String>,
    /// `Access-Control-Request-Method`.
    pub asked_method: Option<String>,
    /// `Access-Control-Request-Headers`.
    pub asked_headers: Option<String>,
}

impl Head {
    /// Where the page that asks is from, if that is another site that may ask.
    pub(super) fn allowed_origin(&self, policy: &Policy) -> Option<&str> {
        let origin = self.origin.as_deref()?;
        policy.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)).then_some(origin)
    }

    /// Whether a browser asks on behalf of a page if that page may ask.
    pub(super) fn is_preflight(&self) -> bool {
        self.method == "OPTIONS" && self.asked_method.is_some()
    }

    /// The headers that a browser asks for on behalf of a page, if they are names of headers.
    pub(super) fn asked_headers(&self) -> &str {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_, ".contains(&byte);
        self.asked_headers.as_deref().filter(|names| names.bytes().all(is_name)).unwrap_or("content-type")
    }

    /// Whether the answer may come as it happens.
    pub(super) fn takes_events(&self) -> bool {
        let kinds = self.accept.as_deref().unwrap_or_default().split(',');
        kinds.map(essence).any(|kind| kind.eq_ignore_ascii_case("text/event-stream"))
    }

    /// Refuses what is no request for an action, and what a page of another site has sent.
    pub(super) fn check(&self, policy: &Policy) -> Result<()> {
        if self.method != "POST" {
            return Err(Error::new(ErrorKind::Unsupported, "Only POST requests are supported")
                .with_code(METHOD_NOT_ALLOWED));
        }
        if self.allowed_origin(policy).is_none() && self.is_of_another_site() {
            return Err(Error::new(ErrorKind::PermissionDenied, "Requests from other sites are refused")
                .with_hint("name the site in `allowedOrigins` if its pages may ask"));
        }
        // Also what keeps a form of another site out: it cannot send JSON.
        let kind = self.content_type.as_deref().unwrap_or_default();
        if !essence(kind).eq_ignore_ascii_case("application/json") {
            return Err(
                Error::invalid("The content type must be application/json").with_code(UNSUPPORTED_MEDIA_TYPE)
            );
        }
        Ok(())
    }

    /// Whether a page asks that is not one of this very host. A program that is no browser says nothing of pages.
    fn is_of_another_site(&self) -> bool {
        let of_another = |site: &str| !matches!(site, "same-origin" | "none");
        // Of the same site is not enough: `one.example.com` may be somebody else's than `two.example.com`.
        if self.fetch_site.as_deref().is_some_and(of_another) {
            return true;
        }
        let Some(origin) = &self.origin else { return false };
        let origin = origin.to_ascii_lowercase();
        let Some((scheme, host)) = origin.split_once("://") else { return true };
        let host = without_default_port(scheme, host);
        let is_it = |own: &str| without_default_port(scheme, own.trim()).eq_ignore_ascii_case(host);
        // A page cannot make its browser send the header of a proxy without a preflight, which is refused.
        let forwarded = self.forwarded_host.as_deref().and_then(|hosts| hosts.split(',').next());
        let own = self.host.as_deref().or(self.url_host.as_deref());
        ![own, forwarded].into_iter().flatten().any(is_it)
    }
}

/// A media type without its parameters.
fn essence(kind: &str) -> &str {
    kind.split(';').next().unwrap_or_default().trim()
}

/// A host without the port that its scheme has anyway.
pub(super) fn without_default_port<'a>(scheme: &str, host: &'a str) -> &'a str {
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return host,
    };
    host.strip_suffix(port).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post() -> Head {
        Head {
            method: "POST".to_owned(),
            host: Some("app.example.com".to_owned()),
            content_type: Some("application/json".to_owned()),
            ..Head::default()
        }
    }

    fn refusal(head: &Head) -> Option<(&'static str, String)> {
        head.check(&Policy::default()).err().map(|error| (error.code(), error.message().to_owned()))
    }

    #[test]
    fn other_methods_are_refused() {
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post", "", "TRACE"] {
            let head = Head { method: method.to_owned(), ..post() };
            let expected = ("METHOD_NOT_ALLOWED", "Only POST requests are supported".to_owned());
            assert_eq!(refusal(&head), Some(expected), "{method}");
        }
        assert_eq!(refusal(&post()), None);
    }

    #[test]
    fn only_json_is_taken() {
        let with = |kind: Option<&str>| Head { content_type: kind.map(str::to_owned), ..post() };
        for kind in ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
        {
            assert_eq!(refusal(&with(Some(kind))), None, "{kind}");
        }
        for kind in [
            None,
            Some(""),
            Some("text/plain"),
            Some("text/plain;application/json"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data; boundary=a"),
            Some("application/jsonp"),
            Some("application/json, text/plain"),
        ] {
            let (code, _) = refusal(&with(kind)).expect("it is not JSON");
            assert_eq!(code, "UNSUPPORTED_MEDIA_TYPE", "{kind:?}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let with = |site: Option<&str>, origin: Option<&str>| Head {
            fetch_site: site.map(str::to_owned),
            origin: origin.map(str::to_owned),
            ..post()
        };
        for (site, origin) in [
            (None, None),
            (Some("none"), None),
            (Some("same-origin"), Some("https://app.example.com")),
            (None, Some("https://app.example.com")),
            (None, Some("https://APP.example.com:443")),
            (None, Some("http://app.example.com:80")),
        ] {
            assert_eq!(refusal(&with(site, origin)), None, "{site:?} {origin:?}");
        }
        for (site, origin) in [
            (Some("cross-site"), None),
            (Some("cross-site"), Some("https://app.example.com")),
            (Some("same-site"), Some("https://other.example.com")),
            (Some("same-site"), None),
            (Some("whatever"), None),
            (Some("same-origin"), Some("https://evil.example")),
            (None, Some("https://evil.example")),
            (None, Some("null")),
            (None, Some("")),
            (None, Some("https://app.example.com.evil.example")),
            (None, Some("https://app.example.com:8443")),
            (None, Some("https://evil.example/app.example.com")),
        ] {
            let (code, message) = refusal(&with(site, origin)).expect("it is of another site");
            assert_eq!(code, "PERMISSION_DENIED", "{site:?} {origin:?}: {message}");
        }
    }

    #[test]
    fn the_own_host_is_what_the_client_asked_for() {
        let origin = Some("https://app.example.com".to_owned());
        let behind = Head {
            host: Some("10.0.0.7:3000".to_owned()),
            forwarded_host: Some("app.example.com, inner".to_owned()),
            origin: origin.clone(),
            ..post()
        };
        assert_eq!(refusal(&behind), None);
        let url_host = Some("app.example.com".to_owned());
        let without = Head { host: None, url_host: url_host.clone(), origin: origin.clone(), ..post() };
        assert_eq!(refusal(&without), None);
        // An adapter may write anything into the URL where there is a header.
        let other = Head { host: Some("other".to_owned()), url_host, origin, ..post() };
        assert!(refusal(&other).is_some());
    }

    #[test]
    fn a_site_that_is_named_may_ask() {
        let mut policy = Policy::default();
        policy.allow_origins(&["https://front.example".to_owned()]).unwrap();
        let of = |origin: &str| Head {
            origin: Some(origin.to_owned()),
            fetch_site: Some("cross-site".to_owned()),
            ..post()
        };
        assert!(of("https://front.example").check(&policy).is_ok());
        for origin in
            ["http://front.example", "https://front.example:444", "https://front.example.evil", "null"]
        {
            assert!(of(origin).check(&policy).is_err(), "{origin}");
        }
    }

    #[test]
    fn asked_headers_are_names() {
        let with = |names: &str| Head { asked_headers: Some(names.to_owned()), ..post() };
        assert_eq!(with("authorization, content-type").asked_headers(), "authorization, content-type");
        assert_eq!(with("a\r\nset-cookie: b").asked_headers(), "content-type");
        assert_eq!(post().asked_headers(), "content-type");
    }
}
