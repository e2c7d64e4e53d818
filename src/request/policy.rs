//! What a handler lets through: closed by default, and opened by its owner.

use std::time::Duration;

use super::actions;
use super::create::CLIENT_OPTIONS;
use crate::error::{Error, Result};
use crate::provider::CreateRequest;

/// What a handler lets through, and within which limits.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The actions that may be asked for, by name.
    pub actions: Vec<&'static str>,
    /// The keys of `options` that a client may set.
    pub create_options: Vec<&'static str>,
    /// What every sandbox is made with, where the client does not say otherwise.
    pub create_defaults: CreateRequest,
    /// Limits of every request.
    pub limits: Limits,
    /// Other sites whose pages may ask.
    pub origins: Vec<String>,
}

/// Limits of every request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body, and of a file that is read.
    pub body: usize,
    /// Bytes of a command or of code.
    pub code: usize,
    /// Bytes of each output stream.
    pub output: usize,
    /// Commands and codes that run at once in a sandbox; the others wait.
    pub concurrent: usize,
    /// Sandboxes that an owner has at once.
    pub sandboxes: Option<usize>,
    /// Time of an action.
    pub action: Duration,
    /// Life of a sandbox.
    pub life: Duration,
}

impl Limits {
    /// Those that hold unless the owner says otherwise.
    pub const DEFAULT: Self = Self {
        body: 4 << 20,
        code: 256 << 10,
        output: 1 << 20,
        concurrent: 4,
        sandboxes: None,
        action: Duration::from_secs(60),
        life: Duration::from_secs(15 * 60),
    };
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            actions: actions::open_names().collect(),
            create_options: vec!["runtime", "timeout", "metadata"],
            create_defaults: CreateRequest::default(),
            limits: Limits::DEFAULT,
            origins: Vec::new(),
        }
    }
}

impl Policy {
    /// Lets these actions through, and no other.
    pub fn allow_actions(&mut self, names: &[String]) -> Result<()> {
        self.actions = known("allowedActions", names, &actions::names().collect::<Vec<_>>())?;
        Ok(())
    }

    /// Lets a client set these keys of `options`, and no other.
    pub fn allow_create_options(&mut self, names: &[String]) -> Result<()> {
        self.create_options = known("allowedCreateOptions", names, &CLIENT_OPTIONS)?;
        Ok(())
    }

    /// Lets the pages of these sites ask.
    pub fn allow_origins(&mut self, origins: &[String]) -> Result<()> {
        self.origins = origins.iter().map(|origin| checked_origin(origin)).collect::<Result<_>>()?;
        Ok(())
    }

    /// Makes every sandbox with these options.
    pub fn create_with(&mut self, defaults: CreateRequest) -> Result<()> {
        if defaults.metadata.as_ref().is_some_and(|metadata| metadata.contains_key(super::OWNER)) {
            return Err(Error::invalid(format!(
                "`createDefaults.metadata` has the key `{}`, which `authorize` sets",
                super::OWNER
            )));
        }
        self.create_defaults = defaults;
        Ok(())
    }
}

fn known(option: &str, names: &[String], known: &[&'static str]) -> Result<Vec<&'static str>> {
    let find = |name: &String| {
        known.iter().find(|known| *known == name).copied().ok_or_else(|| {
            Error::invalid(format!("`{option}` has an entry that cannot be allowed: `{name}`"))
                .with_hint(format!("there is: {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

/// An origin as browsers send it: scheme and host, with a port that is not the scheme's own.
fn checked_origin(origin: &str) -> Result<String> {
    let wrong = || {
        Error::invalid(format!("`allowedOrigins` has an entry that is no origin: `{origin}`")).with_hint(
            "an origin is as in 'https://app.example.com' or 'http://localhost:3000', and nothing more",
        )
    };
    let lower = origin.to_ascii_lowercase();
    let (scheme, host) = lower.split_once("://").ok_or_else(wrong)?;
    let is_name = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]_+".contains(&byte))
    };
    if !is_name(scheme) || !is_name(host) {
        return Err(wrong());
    }
    let host = super::head::without_default_port(scheme, host);
    Ok(format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_cannot_be_allowed() {
        let mut policy = Policy::default();
        for name in ["compute.sandbox.explode", "", "constructor", "*"] {
            assert!(policy.allow_actions(&[name.to_owned()]).is_err(), "{name}");
        }
        for name in ["mounts", "provider", "providerOptions", "signal", "options", "__proto__"] {
            let error = policy.allow_create_options(&[name.to_owned()]).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
        policy.allow_actions(&["compute.sandbox.list".to_owned()]).unwrap();
        assert_eq!(policy.actions, ["compute.sandbox.list"]);
    }

    #[test]
    fn an_origin_is_one_and_nothing_more() {
        let allowed = |origin: &str| {
            let mut policy = Policy::default();
            policy.allow_origins(&[origin.to_owned()]).map(|()| policy.origins.remove(0))
        };
        for (given, kept) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("chrome-extension://abc", "chrome-extension://abc"),
        ] {
            assert_eq!(allowed(given).unwrap(), kept);
        }
        for given in [
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://*.a",
            "https://a b",
        ] {
            assert!(allowed(given).is_err(), "{given}");
        }
    }

    #[test]
    fn an_owner_is_not_set_by_default() {
        let mut metadata = serde_json::Map::new();
        metadata.insert(super::super::OWNER.to_owned(), "alice".into());
        let defaults = CreateRequest { metadata: Some(metadata), ..CreateRequest::default() };
        assert!(Policy::default().create_with(defaults).is_err());
    }
}
