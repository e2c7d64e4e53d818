//! The code interpreter.

use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;

use crate::answer::{Answer, text};
use crate::sandbox::Sandbox;

/// Answers a request.
pub async fn answer(_: &Arc<Sandbox>, request: Request<Incoming>) -> Answer {
    match request.uri().path() {
        "/health" => text(StatusCode::OK, "\"OK\""),
        _ => text(StatusCode::NOT_FOUND, "{\"detail\":\"Not Found\"}"),
    }
}
