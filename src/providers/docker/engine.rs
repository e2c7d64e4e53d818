//! The calls of the Docker Engine API that are needed, each once.

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode, Upgraded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::config::Place;
use super::error::{nonsense, of_answer, unreachable};
use super::wire::{Container, Image, Listed, Made, NewContainer, Said, Stats};
use crate::error::{ErrorKind, Result};
use crate::transport::{Response, Server};

const JSON: Option<&str> = Some("application/json");
const TAR: Option<&str> = Some("application/x-tar");

/// An engine.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    server: Server,
    /// Where it is, for messages and to tell it from others.
    pub(super) place: Arc<str>,
}

impl Engine {
    pub(super) fn at(place: &Place) -> Result<Self> {
        let (server, place) = match place {
            Place::Socket(path) => (Server::on_socket(path)?, format!("unix://{}", path.display())),
            Place::Address(host, credentials) => {
                (Server::at(host, credentials.as_ref())?, format!("tcp://{host}"))
            }
        };
        Ok(Self { server, place: place.into() })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: impl Into<reqwest::Body>,
    ) -> Result<Response> {
        let sent = self.server.send(method, path, kind, body).await;
        sent.map_err(|error| unreachable(&self.place, error))
    }

    async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<Option<T>> {
        match read(what, self.send(Method::GET, path, None, "").await?).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            result => result.map(Some),
        }
    }

    async fn post<T: DeserializeOwned>(&self, what: &str, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_string(body).map_err(|_| nonsense(what))?;
        read(what, self.send(Method::POST, path, JSON, body).await?).await
    }

    /// Whether it is there.
    pub(super) async fn ping(&self) -> Result<()> {
        good("answer", self.send(Method::GET, "/_ping", None, "").await?).await.map(drop)
    }

    /// What the engine knows of an image; `None` if it does not have it.
    pub(super) async fn image(&self, name: &str) -> Result<Option<Image>> {
        self.get("look at an image", &format!("/images/{name}/json")).await
    }

    /// Has an image come from its registry: what is told of it meanwhile, a line for each piece of news.
    pub(super) async fn pull(&self, name: &str) -> Result<Response> {
        let path = format!("/images/create?fromImage={}", escaped(name));
        good("pull an image", self.send(Method::POST, &path, None, "").await?).await
    }

    /// Makes a container of this name; it does not run yet. A name that is taken is `AlreadyExists`.
    pub(super) async fn create(&self, name: &str, container: &impl Serialize) -> Result<Made> {
        self.post("make a container", &format!("/containers/create?name={}", escaped(name)), container).await
    }

    pub(super) async fn start(&self, container: &str) -> Result<()> {
        let path = format!("/containers/{container}/start");
        good("start a container", self.send(Method::POST, &path, None, "").await?).await.map(drop)
    }

    /// What the engine knows of a container, by its id or its name.
    pub(super) async fn container(&self, container: &str) -> Result<Option<Container>> {
        self.get("look at a container", &format!("/containers/{}/json", escaped(container))).await
    }

    /// Bytes of files that a container has of its own.
    pub(super) async fn size(&self, container: &str) -> Result<u64> {
        let path = format!("/containers/{container}/json?size=true");
        let container = self.get::<Container>("look at a container", &path).await?;
        Ok(container.and_then(|container| container.size_rw).unwrap_or(0))
    }

    /// The containers with all of these labels, running or not.
    pub(super) async fn containers(&self, labels: &[&str]) -> Result<Vec<Listed>> {
        let filters = json!({ "label": labels }).to_string();
        let path = format!("/containers/json?all=true&filters={}", escaped(&filters));
        self.get("list containers", &path).await.map(Option::unwrap_or_default)
    }

    /// Ends a container and forgets it. One that is not there, or is about to go, has been.
    pub(super) async fn remove(&self, container: &str) -> Result<()> {
        let path = format!("/containers/{}?force=true&v=true", escaped(container));
        match good("remove a container", self.send(Method::DELETE, &path, None, "").await?).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Starts a program in a container, as a user of this number, whose streams are what is given: what is read from it is in the engine's
    /// frames.
    pub(super) async fn exec(&self, container: &str, user: u32, command: &[&str]) -> Result<Upgraded> {
        let what = "start a program in a container";
        let body = json!({
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
            "Cmd": command, "User": format!("{user}:{user}"), "WorkingDir": "/",
        });
        let exec: Made = self.post(what, &format!("/containers/{container}/exec"), &body).await?;
        let path = format!("/exec/{}/start", escaped(&exec.id));
        let taken = self.server.take_over(&path, json!({ "Detach": false, "Tty": false }).to_string()).await;
        match taken.map_err(|error| unreachable(&self.place, error))? {
            Ok(connection) => Ok(connection),
            Err(response) => {
                good(what, response).await?;
                Err(nonsense("it does not hand over the connection"))
            }
        }
    }

    /// Makes sure that there is a volume of this name.
    pub(super) async fn make_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<()> {
        let body = json!({ "Name": name, "Labels": labels });
        self.post::<serde_json::Value>("make a volume", "/volumes/create", &body).await.map(drop)
    }

    /// Whether there is a file of this size in a container.
    pub(super) async fn has_file(&self, container: &str, path: &str, size: usize) -> Result<bool> {
        let path = format!("/containers/{container}/archive?path={}", escaped(path));
        let response = self.send(Method::HEAD, &path, None, "").await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let stat = response.header("x-docker-container-path-stat").and_then(decoded);
        Ok(stat.is_some_and(|stat| stat["size"].as_u64() == Some(size as u64)))
    }

    /// Puts what is in an archive into a directory of a container.
    pub(super) async fn put(&self, container: &str, directory: &str, archive: Vec<u8>) -> Result<()> {
        let path = format!("/containers/{container}/archive?path={}", escaped(directory));
        good("put a file into a container", self.send(Method::PUT, &path, TAR, archive).await?)
            .await
            .map(drop)
    }

    /// What a container uses now.
    pub(super) async fn stats(&self, container: &str) -> Result<Option<Stats>> {
        let path = format!("/containers/{container}/stats?stream=false&one-shot=true");
        self.get("measure a container", &path).await
    }
}

impl NewContainer {
    /// Its name at the engine.
    pub(super) fn name(id: &str) -> String {
        format!("computesdk-{id}")
    }
}

async fn good(what: &str, response: Response) -> Result<Response> {
    let status = response.status();
    // 304: it is so already.
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let body = response.bytes().await?;
    let said: Option<Said> = serde_json::from_slice(&body).ok();
    let said = said.map_or_else(|| String::from_utf8_lossy(&body).into_owned(), |said| said.message);
    Err(of_answer(what, status, &said))
}

async fn read<T: DeserializeOwned>(what: &str, response: Response) -> Result<T> {
    let body = good(what, response).await?.bytes().await?;
    serde_json::from_slice(&body).map_err(|error| nonsense(what).with_source(error))
}

fn decoded(header: &str) -> Option<serde_json::Value> {
    use base64::Engine as _;
    serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(header).ok()?).ok()
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
