//! What `docker({ … })` takes, and where its engine is.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::code::{self, Language};
use crate::config;
use crate::error::{Error, Result};
use crate::provider::{Network, Resources};
use crate::transport::Credentials;
pub use crate::transport::Secret;

/// Where neither an image nor a language is asked for.
const IMAGE: &str = "python:3-slim";

/// Where engines listen on this machine: Docker's, and Podman's compatible one. The first that is there is asked.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/podman/podman.sock"];
/// Likewise of a user's own, below `XDG_RUNTIME_DIR`.
const OWN_SOCKETS: [&str; 2] = ["docker.sock", "podman/podman.sock"];

/// Defaults for the sandboxes of one `docker()`, as the user wrote them.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The image that sandboxes are made from.
    pub image: Option<String>,
    /// Path of the engine's socket.
    pub socket_path: Option<String>,
    /// Address of the engine, as in `DOCKER_HOST`.
    pub host: Option<String>,
    /// Who the engine at an address is, and who asks.
    pub tls: Option<Tls>,
    /// Limits.
    pub resources: Resources,
    /// What they may reach; nothing unless this says otherwise.
    pub network: Option<Network>,
    /// Life of a sandbox in ms.
    pub timeout: Option<u64>,
    /// Language family or version.
    pub runtime: Option<String>,
    /// What is done about an image.
    pub pull: Pull,
    /// Who is told while one comes.
    pub on_pull: Option<Arc<dyn Watcher>>,
}

/// Is told what happens while an image comes from its registry.
#[async_trait]
pub trait Watcher: Debug + Send + Sync {
    /// Something has happened. What comes next waits until this returns; an error ends the pull, and the create.
    async fn comes(&self, news: Coming) -> Result<()>;
}

/// What has happened to an image that comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coming {
    /// The image.
    pub image: String,
    /// In the engine's words: `Downloading`, `Pull complete`, …
    pub status: String,
    /// The layer that this is about; none, if it is the image.
    pub layer: Option<String>,
    /// Bytes of the layer that are there.
    pub current: Option<u64>,
    /// Bytes that it has.
    pub total: Option<u64>,
}

/// Certificates and a key, as PEM.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Who may speak for the engine.
    pub ca: Option<String>,
    /// Who asks.
    pub cert: Option<String>,
    /// The key that proves it.
    pub key: Option<Secret>,
}

/// When an image is asked of its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// If the engine does not have it.
    #[default]
    Missing,
    /// Never.
    Never,
    /// For each sandbox.
    Always,
}

/// Where an engine is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Socket(PathBuf),
    Address(String, Option<Credentials>),
}

impl Config {
    /// Where its engine is: what is configured, or else what the environment says, or else what is there.
    pub(super) fn place(&self) -> Result<Place> {
        match (&self.socket_path, &self.host) {
            (Some(_), Some(_)) => {
                Err(Error::invalid("`socketPath` and `host` both say where the engine is; give one of them"))
            }
            (Some(path), None) => Ok(Place::Socket(PathBuf::from(path))),
            (None, Some(host)) => self.address("host", host),
            (None, None) => match config::docker_host() {
                Some(host) => self.address(config::DOCKER_HOST, &host),
                None => Ok(Place::Socket(socket_here())),
            },
        }
    }

    fn address(&self, option: &str, text: &str) -> Result<Place> {
        let hint = "such as 'unix:///var/run/docker.sock' or 'tcp://10.0.0.7:2376'";
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| Error::invalid(format!("`{option}` is no address: `{text}`")).with_hint(hint))?;
        let rest = rest.trim_end_matches('/');
        match scheme {
            "unix" => Ok(Place::Socket(PathBuf::from(rest))),
            "tcp" | "http" | "https" if !rest.is_empty() && !rest.contains(['/', '@', '?', '#', ' ']) => {
                let credentials = self.credentials(scheme == "https")?;
                Ok(Place::Address(rest.to_owned(), credentials))
            }
            "ssh" => Err(Error::unsupported(format!(
                "`{option}`: no engine is reached through ssh: `{text}`"
            ))
            .with_hint(
                "let ssh forward the socket: `ssh -N -L /tmp/docker.sock:/var/run/docker.sock user@host`, \
                     and give `socketPath: '/tmp/docker.sock'`",
            )),
            "npipe" | "fd" => {
                Err(Error::unsupported(format!("`{option}`: no engine is reached through `{scheme}://`"))
                    .with_hint(hint))
            }
            _ => Err(Error::invalid(format!("`{option}` is no address: `{text}`")).with_hint(hint)),
        }
    }

    /// Who the engine is to be and who asks: what is configured, or else the files that Docker's own programs read.
    fn credentials(&self, encrypted: bool) -> Result<Option<Credentials>> {
        if let Some(tls) = &self.tls {
            let client = match (&tls.cert, &tls.key) {
                (Some(cert), Some(key)) => Some((cert.clone().into_bytes(), key.clone())),
                (None, None) => None,
                _ => return Err(Error::invalid("`tls.cert` and `tls.key` belong together; one is missing")),
            };
            return Ok(Some(Credentials { ca: tls.ca.clone().map(String::into_bytes), client }));
        }
        let Some(folder) = config::docker_certificates() else {
            return Ok(encrypted.then(Credentials::default));
        };
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|error| {
                Error::invalid(format!("{} cannot be read: {error}", path.display()))
                    .with_hint("DOCKER_CERT_PATH names a folder with ca.pem, cert.pem and key.pem")
            })
        };
        let key = String::from_utf8_lossy(&read("key.pem")?).into_owned();
        Ok(Some(Credentials { ca: Some(read("ca.pem")?), client: Some((read("cert.pem")?, key.into())) }))
    }

    /// The image of a sandbox: the one that is asked for, or configured, or else that of its language.
    pub(super) fn image(&self, asked: Option<&str>, runtime: Option<&str>) -> Result<String> {
        let named = asked.map(|name| ("templateId", name));
        let named = named.or(self.image.as_deref().map(|name| ("image", name)));
        let Some((option, name)) = named else { return image_of(runtime) };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(&byte);
        if name.is_empty() || name.len() > 512 || !name.bytes().all(legal) {
            return Err(Error::invalid(format!("`{option}` names no image: `{name}`"))
                .with_hint("such as 'python:3-slim' or 'ghcr.io/me/mine:1.2'"));
        }
        Ok(name.to_owned())
    }

    /// The language of a sandbox, as it was asked for.
    pub(super) fn runtime<'a>(&'a self, asked: Option<&'a str>) -> Option<&'a str> {
        asked.or(self.runtime.as_deref())
    }
}

/// The official image of a language, in the version that its name asks for.
fn image_of(runtime: Option<&str>) -> Result<String> {
    let Some(name) = runtime else { return Ok(IMAGE.to_owned()) };
    Ok(match (Language::named("runtime", name)?, code::version(name)) {
        (Language::Python, version) => format!("python:{}-slim", version.unwrap_or("3")),
        (Language::Node, version) => format!("node:{}-slim", version.unwrap_or("lts")),
    })
}

/// The socket that the environment names, or the first that is there, or else Docker's own, which an error can name.
pub(crate) fn socket_here() -> PathBuf {
    let named = config::docker_host().and_then(|host| host.strip_prefix("unix://").map(PathBuf::from));
    if let Some(named) = named {
        return named;
    }
    let own =
        config::runtime_directory().into_iter().flat_map(|folder| OWN_SOCKETS.map(|name| folder.join(name)));
    let mut all = SOCKETS.map(PathBuf::from).into_iter().chain(own);
    all.find(|path| path.exists()).unwrap_or_else(|| PathBuf::from(SOCKETS[0]))
}

/// Whether there may be an engine: one is named, or its socket is there.
pub(crate) fn may_be_here() -> bool {
    config::docker_host().is_some() || socket_here().exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn at(host: &str) -> Result<Place> {
        Config { host: Some(host.to_owned()), ..Config::default() }.place()
    }

    #[test]
    fn an_address_is_a_socket_or_a_host() {
        assert!(matches!(at("unix:///run/a.sock"), Ok(Place::Socket(path)) if path.ends_with("a.sock")));
        assert!(
            matches!(at("tcp://10.0.0.7:2375"), Ok(Place::Address(host, None)) if host == "10.0.0.7:2375")
        );
        assert!(matches!(at("https://d.example:2376/"), Ok(Place::Address(_, Some(_)))));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_a_cure() {
        for (host, kind) in [
            ("ssh://me@there", ErrorKind::Unsupported),
            ("npipe:////./pipe/docker_engine", ErrorKind::Unsupported),
            ("10.0.0.7:2375", ErrorKind::InvalidArgument),
            ("tcp://", ErrorKind::InvalidArgument),
            ("tcp://me@there/path", ErrorKind::InvalidArgument),
            ("gopher://there", ErrorKind::InvalidArgument),
        ] {
            let error = at(host).expect_err(host);
            assert_eq!(error.kind(), kind, "{host}");
            assert!(error.message().contains("`host`") && error.hint().is_some(), "{error}");
        }
        let both =
            Config { host: Some("tcp://a:1".into()), socket_path: Some("/a".into()), ..Config::default() };
        assert_eq!(both.place().expect_err("one too many").kind(), ErrorKind::InvalidArgument);
        let half = Tls { cert: Some("x".into()), ..Tls::default() };
        let half = Config { host: Some("tcp://a:1".into()), tls: Some(half), ..Config::default() };
        assert!(half.place().expect_err("no key").message().contains("tls.key"));
    }

    #[test]
    fn an_image_is_what_is_asked_for_or_that_of_the_language() {
        let image = |asked, runtime| Config::default().image(asked, runtime).expect("there is one");
        assert_eq!(image(None, None), "python:3-slim");
        assert_eq!(image(None, Some("python3.9")), "python:3.9-slim");
        assert_eq!(image(None, Some("node")), "node:lts-slim");
        assert_eq!(image(None, Some("nodejs16")), "node:16-slim");
        assert_eq!(image(Some("a/b:1"), Some("node")), "a/b:1");
        let mine = Config { image: Some("mine".into()), ..Config::default() };
        assert_eq!(mine.image(None, Some("node")).expect("it is named"), "mine");
        for wrong in ["", "a b", "a\nb", "é", "a?b", "a&b"] {
            let error = mine.image(Some(wrong), None).expect_err(wrong);
            assert!(error.message().contains("`templateId`"), "{error}");
        }
        assert!(Config::default().image(None, Some("cobol")).is_err());
    }
}
