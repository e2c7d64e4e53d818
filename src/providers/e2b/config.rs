//! What `e2b({ … })` takes, and what becomes of it: who asks, and where.

use reqwest::Url;

use crate::code::Language;
use crate::config;
use crate::error::{Error, ErrorKind, Result};
pub use crate::transport::Secret;

/// It has Python with pandas and friends, and Node.js.
const TEMPLATE: &str = "code-interpreter-v1";
const DOMAIN: &str = "e2b.app";
/// E2B's own domains: there, all sandboxes are reached at one address.
const OWN: [&str; 4] = ["e2b.app", "e2b.dev", "e2b.pro", "e2b-staging.dev"];
const PREFIX: &str = "e2b_";

/// Defaults for the sandboxes of one `e2b()`, as the user wrote them. What is absent is read from the environment by each
/// call that needs it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Who asks; else `E2B_API_KEY`.
    pub api_key: Option<Secret>,
    /// Language family or version.
    pub runtime: Option<String>,
    /// Life of a sandbox in ms.
    pub timeout: Option<u64>,
    /// What sandboxes are made from, `code-interpreter-v1` unless this says otherwise.
    pub template_id: Option<String>,
    /// Where sandboxes are made; else `E2B_API_URL`, else it is made of the domain.
    pub api_url: Option<String>,
    /// Where sandboxes are reached, all of them; else `E2B_SANDBOX_URL`, else it is made of the domain.
    pub sandbox_url: Option<String>,
    /// What addresses are made of; else `E2B_DOMAIN`, else E2B's own.
    pub domain: Option<String>,
    /// Whether E2B's programs run on this machine, where addresses that are not given lead then; else `E2B_DEBUG`.
    pub debug: Option<bool>,
}

impl Config {
    /// The template of a sandbox that names none.
    pub(super) fn template(&self) -> &str {
        self.template_id.as_deref().unwrap_or(TEMPLATE)
    }

    /// The language of a sandbox: what is asked for, or else what is configured.
    pub(super) fn language(&self, asked: Option<&str>) -> Result<Option<Language>> {
        let Some(name) = asked.or(self.runtime.as_deref()) else { return Ok(None) };
        Language::named("runtime", name).map(Some)
    }

    /// Where to ask, and as whom. A `domain` that is asked for goes before that of the configuration.
    pub(super) fn place(&self, domain: Option<&str>) -> Result<Place> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let debug = self.debug.unwrap_or_else(config::e2b_debug);
        let domain = domain.map(str::to_owned).or_else(|| given(&self.domain)).or_else(config::e2b_domain);
        let domain = domain.unwrap_or_else(|| DOMAIN.to_owned());
        let api = given(&self.api_url).or_else(config::e2b_api_url).unwrap_or_else(|| match debug {
            true => "http://localhost:3000".to_owned(),
            false => format!("https://api.{domain}"),
        });
        let api_host = Url::parse(&api).ok().and_then(|url| url.host_str().map(str::to_owned));
        let key = self.key(api_host.as_deref().is_some_and(is_own))?;
        if !is_name(&domain) {
            return Err(Error::invalid(format!("`domain` is no host name: `{domain}`"))
                .with_hint("a name such as 'e2b.app'; no protocol, no port, no path"));
        }
        let sandboxes = given(&self.sandbox_url).or_else(config::e2b_sandbox_url);
        Ok(Place {
            key,
            api: address("apiUrl", &api)?,
            sandboxes: sandboxes.map(|text| address("sandboxUrl", &text)).transpose()?,
            domain,
            debug,
        })
    }

    /// Other servers that speak as E2B does have keys of other forms.
    fn key(&self, own: bool) -> Result<Secret> {
        let given = self.api_key.clone().filter(|key| !key.reveal().is_empty());
        let Some(key) = given.or_else(|| config::e2b_api_key().map(Secret::from)) else {
            return Err(unauthenticated(
                "Missing E2B API key. Provide 'apiKey' in config or set E2B_API_KEY environment variable.",
            )
            .with_hint("keys are made at https://e2b.dev/dashboard?tab=keys"));
        };
        let wrong = "Invalid E2B API key format. E2B API keys should start with 'e2b_'.";
        if own && !key.reveal().starts_with(PREFIX) {
            return Err(unauthenticated(wrong));
        }
        if key.header().is_err() || key.reveal().trim() != key.reveal() {
            return Err(unauthenticated(wrong)
                .with_hint("it holds what no key does, such as a space or the end of a line"));
        }
        Ok(key)
    }
}

fn unauthenticated(message: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, message)
}

/// Whether a host is E2B's own.
fn is_own(host: &str) -> bool {
    OWN.iter().any(|own| host == *own || host.strip_suffix(own).is_some_and(|left| left.ends_with('.')))
}

fn is_name(domain: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    domain.len() <= 200 && !domain.is_empty() && domain.bytes().all(legal)
}

fn address(option: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url =
        url.filter(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none());
    url.ok_or_else(|| {
        Error::invalid(format!("`{option}` is no address of a server"))
            .with_hint("such as 'https://api.example.org', without a user and without a query")
    })
}

/// Where sandboxes are made and reached, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) key: Secret,
    pub(super) api: Url,
    sandboxes: Option<Url>,
    domain: String,
    debug: bool,
}

impl Place {
    /// Whether ids may have any form.
    pub(super) fn is_foreign(&self) -> bool {
        !self.api.host_str().is_some_and(is_own)
    }

    /// Where the daemon of a sandbox is reached. `domain` is what the server says about this one.
    pub(super) fn daemon(&self, domain: Option<&str>, id: &str, port: u16) -> String {
        if let Some(url) = &self.sandboxes {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        let domain = domain.unwrap_or(&self.domain);
        if !self.debug && OWN.contains(&domain) {
            return format!("https://sandbox.{domain}");
        }
        let scheme = if self.debug { "http" } else { "https" };
        format!("{scheme}://{}", self.host(Some(domain), id, port))
    }

    /// Where another server in a sandbox is reached.
    pub(super) fn direct(&self, domain: Option<&str>, id: &str, port: u16) -> String {
        match &self.sandboxes {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => {
                let scheme = if self.debug { "http" } else { "https" };
                format!("{scheme}://{}", self.host(domain, id, port))
            }
        }
    }

    /// The host, and port where there is one, at which a port of a sandbox is reached from outside.
    fn host(&self, domain: Option<&str>, id: &str, port: u16) -> String {
        if self.debug {
            return format!("localhost:{port}");
        }
        format!("{port}-{id}.{}", domain.unwrap_or(&self.domain))
    }

    /// The URL of a port. Nothing is asked for it.
    pub(super) fn url(
        &self,
        domain: Option<&str>,
        id: &str,
        port: u16,
        protocol: Option<&str>,
    ) -> Result<String> {
        let scheme = match protocol {
            None if self.debug => "http",
            None => "https",
            Some(scheme @ ("http" | "https" | "ws" | "wss")) => scheme,
            Some(other) => {
                return Err(Error::invalid(format!(
                    "`protocol` must be 'http', 'https', 'ws' or 'wss', got '{other}'"
                )));
            }
        };
        Ok(format!("{scheme}://{}", self.host(domain, id, port)))
    }
}
