//! envd, the program in every sandbox of E2B that the data plane leads to.
//!
//! * [`codec`], [`json`], [`messages`] – the Connect protocol and what is said in it.
//! * [`rpc`] – which call a request is.
//! * [`start`], [`process`] – what runs, and what is done to it; [`table`] has all of it, [`holder`] knows when
//!   nobody can write any more.
//! * [`filesystem`], [`entry`], [`watch`] – files by name.
//! * [`files`], [`download`], [`upload`] – files by content; [`signature`] – who may.
//! * [`path`] – what paths and users mean; [`words`] – what the kernel says.

pub mod codec;
pub mod download;
pub mod entry;
pub mod files;
pub mod filesystem;
pub mod holder;
pub mod json;
pub mod messages;
pub mod path;
pub mod process;
pub mod rpc;
pub mod signature;
pub mod start;
pub mod table;
pub mod upload;
pub mod watch;
pub mod words;

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use crate::answer::{Answer, empty, json, text, with};
use crate::options::{Options, Version};
use crate::request::header;
use crate::sandbox::{Sandbox, timestamp};
use crate::usage::Usage;

/// What the envd of one sandbox knows.
#[derive(Debug, Default)]
pub struct Envd {
    /// What it has started.
    pub processes: table::Processes,
    /// What it watches.
    pub watchers: watch::Watchers,
}

/// What orchestrators use, and nobody else may.
const RESERVED: [&str; 7] =
    ["/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw", "/upgrade"];

/// Answers a request for a sandbox' envd.
pub async fn answer(options: &Options, sandbox: &Arc<Sandbox>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    if RESERVED.contains(&path.as_str()) {
        return text(
            StatusCode::NOT_FOUND,
            "This endpoint is reserved for the E2B control plane and cannot be reached from outside",
        );
    }
    // These tell by themselves who may.
    let open = matches!(
        (request.method(), path.as_str()),
        (&Method::GET, "/health" | "/files") | (&Method::POST, "/files")
    );
    if !open
        && sandbox
            .token
            .as_deref()
            .is_some_and(|token| header(request.headers(), "x-access-token") != Some(token))
    {
        return refused(
            StatusCode::UNAUTHORIZED,
            "unauthorized access, please provide a valid access token or method signing if supported",
        );
    }
    match (request.method(), path.as_str()) {
        (&Method::GET, "/health") => with(empty(StatusCode::NO_CONTENT), "cache-control", "no-store"),
        (&Method::GET, "/envs") => {
            with(json(StatusCode::OK, &sandbox.variables()), "cache-control", "no-store")
        }
        (&Method::GET, "/metrics") if options.envd_version >= Version::METRICS => metrics(sandbox).await,
        (&Method::GET, "/files") => download::answer(options, sandbox, &request).await,
        (&Method::POST, "/files") => upload::answer(options, sandbox, request).await,
        (&Method::POST, "/files/compose") if options.envd_version >= Version::COMPOSE => {
            files::compose(options, sandbox, request).await
        }
        _ => rpc::answer(options, sandbox, request).await,
    }
}

/// An error of the endpoints that are no calls.
pub fn refused(status: StatusCode, message: impl Into<String>) -> Answer {
    json(status, &json!({ "code": status.as_u16(), "message": message.into() }))
}

async fn metrics(sandbox: &Sandbox) -> Answer {
    let usage = match Usage::of(sandbox).await {
        Ok(usage) => usage,
        Err(error) => return refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    json(
        StatusCode::OK,
        &json!({
            "ts": timestamp(std::time::SystemTime::now()).as_second(),
            "cpu_count": usage.cpu_count,
            "cpu_used_pct": usage.cpu_used_pct,
            "mem_total_mib": usage.mem_total >> 20,
            "mem_used_mib": usage.mem_used >> 20,
            "mem_total": usage.mem_total,
            "mem_used": usage.mem_used,
            "mem_cache": 0,
            "disk_used": usage.disk_used,
            "disk_total": usage.disk_total,
        }),
    )
}
