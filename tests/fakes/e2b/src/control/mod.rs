//! The control plane: `api.<domain>`.
//!
//! * [`sandboxes`] – create, connect, get, kill, and how long they live.
//! * [`listing`] – lists, page by page.
//! * [`pausing`] – pause and resume.
//! * [`snapshots`] – what is kept of them.
//! * [`metrics`] – what they use.
//! * [`key`] – who may.

pub mod key;
pub mod listing;
pub mod metrics;
pub mod pausing;
pub mod sandboxes;
pub mod snapshots;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::answer::{Answer, empty, json, text};
use crate::options::Api;
use crate::request::Asked;
use crate::sandbox::Sandbox;
use crate::world::World;

/// An error of the control plane.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    message: String,
    code: Option<&'static str>,
}

impl Refusal {
    /// With a message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), code: None }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    fn answer(self) -> Answer {
        let mut body = json!({ "code": self.status.as_u16(), "message": self.message });
        if let Some(code) = self.code {
            body["error_code"] = code.into();
        }
        json(self.status, &body)
    }
}

impl From<computesdk::error::Error> for Refusal {
    fn from(error: computesdk::error::Error) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: format!("Failed to place sandbox: {error}"),
            code: Some("sandbox_create_failed"),
        }
    }
}

/// What a call comes to.
pub type Outcome = Result<Answer, Refusal>;

/// Answers a request.
pub async fn answer(world: &Arc<World>, asked: Asked) -> Answer {
    if asked.path == "/health" {
        return text(StatusCode::OK, "Health check successful");
    }
    if let Err(refusal) = key::check(&asked.headers) {
        return refusal.answer();
    }
    route(world, &asked).await.unwrap_or_else(Refusal::answer)
}

async fn route(world: &Arc<World>, asked: &Asked) -> Outcome {
    let segments: Vec<String> = asked.path.trim_matches('/').split('/').map(decoded).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let has = |api: Api| world.options.api == Api::Both || world.options.api == api;
    match (asked.method.as_str(), segments.as_slice()) {
        ("POST", ["sandboxes"]) if has(Api::V1) => sandboxes::create(world, asked, Api::V1).await,
        ("POST", ["v2", "sandboxes"]) if has(Api::V2) => sandboxes::create(world, asked, Api::V2).await,
        ("GET", ["sandboxes"]) => listing::running(world, asked),
        ("GET", ["v2", "sandboxes"]) => listing::page(world, asked),
        ("GET", ["sandboxes", "metrics"]) => metrics::of_many(world, asked).await,
        ("GET", ["sandboxes", id]) => sandboxes::get(world, id),
        ("DELETE", ["sandboxes", id]) => sandboxes::kill(world, id).await,
        ("POST", ["sandboxes", id, "connect"]) if has(Api::V1) => {
            pausing::connect(world, id, asked, Api::V1).await
        }
        ("POST", ["v2", "sandboxes", id, "connect"]) if has(Api::V2) => {
            pausing::connect(world, id, asked, Api::V2).await
        }
        ("POST", ["sandboxes", id, "timeout"]) => sandboxes::set_timeout(world, id, asked),
        ("POST", ["sandboxes", id, "refreshes"]) => sandboxes::refresh(world, id, asked),
        ("POST", ["sandboxes", id, "pause"]) => pausing::pause(world, id, asked).await,
        ("POST", ["sandboxes", id, "resume"]) => pausing::resume(world, id, asked).await,
        ("GET", ["sandboxes", id, "metrics"]) => metrics::of_one(world, id, asked).await,
        ("POST", ["sandboxes", id, "snapshots"]) => snapshots::create(world, id, asked).await,
        ("GET", ["snapshots"]) => snapshots::list(world, asked),
        ("DELETE", ["templates", id]) => snapshots::delete(world, id),
        _ => Ok(text(StatusCode::NOT_FOUND, "404 page not found")),
    }
}

fn done() -> Outcome {
    Ok(empty(StatusCode::NO_CONTENT))
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// A sandbox that a path names.
fn find(world: &World, id: &str) -> Result<Arc<Sandbox>, Refusal> {
    check_id(id)?;
    world.sandbox(id).ok_or_else(|| unknown(id))
}

fn check_id(id: &str) -> Result<(), Refusal> {
    let short = id.split('-').next().unwrap_or_default();
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if short.is_empty() || !short.bytes().all(legal) {
        return Err(Refusal::bad("Invalid sandbox ID"));
    }
    Ok(())
}

fn unknown(id: &str) -> Refusal {
    let message = format!("Sandbox \"{id}\" doesn't exist or you don't have access to it");
    Refusal::new(StatusCode::NOT_FOUND, message)
}

/// Reads a body.
fn parsed<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("Error when parsing request: {error}")))
}

/// Reads a body that may be absent.
fn parsed_or_default<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, Refusal> {
    if body.is_empty() { Ok(T::default()) } else { parsed(body) }
}
