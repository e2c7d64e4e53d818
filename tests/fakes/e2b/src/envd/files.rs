//! What the endpoints for the content of files share, and `/files/compose`.

use std::sync::Arc;

use computesdk::error::ErrorKind;
use computesdk::provider::Content;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::path::{is_user, name, resolved};
use super::refused;
use super::words;
use crate::answer::{Answer, json};
use crate::options::{Options, Version};
use crate::request::{Query, header};
use crate::sandbox::Sandbox;

/// Bytes that a file is read in.
pub(super) const PIECE: usize = 256 << 10;

/// An answer that is an error.
pub(super) type Refused = (StatusCode, String);

pub(super) fn bad(message: impl Into<String>) -> Refused {
    (StatusCode::BAD_REQUEST, message.into())
}

pub(super) fn failed(message: impl Into<String>) -> Refused {
    (StatusCode::INTERNAL_SERVER_ERROR, message.into())
}

/// The user that is named, or the default.
pub(super) fn user<'a>(options: &Options, named: Option<&'a str>) -> Result<&'a str, Refused> {
    match named {
        Some(name) if is_user(name) => Ok(name),
        Some(name) => Err((
            StatusCode::UNAUTHORIZED,
            format!("error looking up user '{name}': user: unknown user {name}"),
        )),
        None if options.envd_version >= Version::DEFAULT_USER => Ok("user"),
        None => Err(bad("username not provided")),
    }
}

/// What is answered about a file that was written.
pub(super) fn written(path: &str) -> Value {
    json!({ "name": name(path), "path": path, "type": "file" })
}

#[derive(Debug, Deserialize)]
struct Compose {
    #[serde(default)]
    source_paths: Vec<String>,
    #[serde(default)]
    destination: String,
    username: Option<String>,
}

/// The longest list of files.
const LONGEST: usize = 1 << 20;

/// Puts files together into one; they are gone afterwards.
pub(super) async fn compose(options: &Options, sandbox: &Arc<Sandbox>, request: Request<Incoming>) -> Answer {
    match composed(options, sandbox, request).await {
        Ok(answer) => answer,
        Err((status, message)) => refused(status, message),
    }
}

async fn composed(
    options: &Options,
    sandbox: &Sandbox,
    request: Request<Incoming>,
) -> Result<Answer, Refused> {
    let body = Limited::new(request.into_body(), LONGEST).collect().await;
    let body = body.map_err(|error| bad(format!("invalid request body: {error}")))?.to_bytes();
    let asked: Compose =
        serde_json::from_slice(&body).map_err(|error| bad(format!("invalid request body: {error}")))?;
    if asked.source_paths.is_empty() {
        return Err(bad("source_paths must not be empty"));
    }
    if asked.destination.is_empty() {
        return Err(bad("destination is required"));
    }
    let user = user(options, asked.username.as_deref())?;
    let to = resolved(&asked.destination, user)
        .map_err(|why| bad(format!("error resolving destination path: {why}")))?;
    let files = sandbox.instance.files();
    let mut sources = Vec::new();
    let mut contents = Vec::new();
    for source in &asked.source_paths {
        let path = resolved(source, user)
            .map_err(|why| bad(format!("error resolving source path \"{source}\": {why}")))?;
        if path == to {
            return Err(bad(format!("source path \"{source}\" cannot be the same as destination")));
        }
        let content = files.read(&path, PIECE).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, format!("source file not found: {source}")),
            ErrorKind::InvalidArgument => bad(format!("source path is not a regular file: {source}")),
            _ => failed(format!("error opening source file {source}: {}", words::of(&error))),
        })?;
        contents.push(content.bytes);
        sources.push(path);
    }
    let content = Content { size: None, bytes: stream::iter(contents).flatten().boxed() };
    files.write(&to, content).await.map_err(|error| match error.kind() {
        ErrorKind::QuotaExceeded => {
            (StatusCode::INSUFFICIENT_STORAGE, "not enough disk space available".to_owned())
        }
        _ => failed(format!("error composing source: {}", words::of(&error))),
    })?;
    for source in sources {
        // One that is named twice is gone the second time.
        let _ = files.remove(&source).await;
    }
    Ok(json(StatusCode::OK, &written(&to)))
}

/// The headers and the query that tell who may.
pub(super) fn allowed(
    sandbox: &Sandbox,
    request: &Request<Incoming>,
    operation: &str,
) -> Result<Query, Refused> {
    let query = Query::of(request.uri().query());
    super::signature::check(sandbox.token.as_deref(), request.headers(), &query, operation)
        .map_err(|why| (StatusCode::UNAUTHORIZED, why.to_owned()))?;
    Ok(query)
}

/// The body of a request, decompressed if it says that it is compressed.
pub(super) fn plain(
    options: &Options,
    request: Request<Incoming>,
) -> Result<computesdk::provider::ByteStream, Refused> {
    let encoding = header(request.headers(), "content-encoding").unwrap_or_default().to_ascii_lowercase();
    let bytes = http_body_util::BodyDataStream::new(request.into_body()).map_err(|error| {
        computesdk::error::Error::new(ErrorKind::Aborted, format!("the body breaks off: {error}"))
    });
    match encoding.as_str() {
        "" | "identity" => Ok(bytes.boxed()),
        "gzip" if options.envd_version >= Version::GZIP => Ok(super::upload::unzipped(bytes.boxed()).boxed()),
        // Older ones do not look.
        _ if options.envd_version < Version::GZIP => Ok(bytes.boxed()),
        other => Err(bad(format!(
            "error decompressing request body: unsupported Content-Encoding: {other}, supported: [gzip]"
        ))),
    }
}
