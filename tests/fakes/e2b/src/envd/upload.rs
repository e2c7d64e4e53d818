//! `POST /files`: files from the parts of a form, or from the body itself.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use computesdk::error::{Error, ErrorKind};
use computesdk::provider::{ByteStream, Content};
use flate2::write::GzDecoder;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use multer::Multipart;
use serde_json::Value;

use super::files::{Refused, allowed, bad, failed, plain, user, written};
use super::path::resolved;
use super::refused;
use super::words;
use crate::answer::{Answer, text};
use crate::options::{Options, Version};
use crate::request::header;
use crate::sandbox::Sandbox;

/// Writes what a request brings.
pub(super) async fn answer(options: &Options, sandbox: &Arc<Sandbox>, request: Request<Incoming>) -> Answer {
    match upload(options, sandbox, request).await {
        // The server does not say that this is JSON.
        Ok(written) => text(StatusCode::OK, Value::Array(written).to_string()),
        Err((status, message)) => refused(status, message),
    }
}

async fn upload(
    options: &Options,
    sandbox: &Sandbox,
    request: Request<Incoming>,
) -> Result<Vec<Value>, Refused> {
    let query = allowed(sandbox, &request, "write")?;
    let length = header(request.headers(), "content-length").and_then(|text| text.parse::<u64>().ok());
    let kind = header(request.headers(), "content-type").unwrap_or_default().to_owned();
    let body = plain(options, request)?;
    let user = user(options, query.get("username"))?.to_owned();
    let media = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let write = Writing { sandbox, user: &user, length };
    if media == "application/octet-stream" && options.envd_version >= Version::OCTETS {
        let path =
            query.get("path").ok_or_else(|| bad("path query parameter is required for raw body upload"))?;
        return Ok(vec![write.file(path, body, &[]).await?]);
    }
    if !media.starts_with("multipart/") {
        return Err(bad(format!(
            "unsupported content type: {kind}, expected multipart/form-data or application/octet-stream"
        )));
    }
    let boundary = multer::parse_boundary(&kind)
        .map_err(|error| failed(format!("error parsing multipart form: {error}")))?;
    let mut form = Multipart::new(body, boundary);
    let mut done = Vec::new();
    let broken = |error: multer::Error| failed(format!("error reading form: {error}"));
    while let Some(part) = form.next_field().await.map_err(broken)? {
        if part.name() != Some("file") {
            continue;
        }
        let path = query.get("path").or(part.file_name()).map(str::to_owned);
        let path = path.ok_or_else(|| bad("error getting multipart custom part file name: no filename"))?;
        let bytes = part.map_err(|error| Error::new(ErrorKind::Aborted, error.to_string()));
        let entry = write.file(&path, bytes.boxed(), &done).await?;
        done.push(entry);
    }
    Ok(done)
}

/// Writes files for a user.
struct Writing<'a> {
    sandbox: &'a Sandbox,
    user: &'a str,
    /// Bytes of the request, if it says.
    length: Option<u64>,
}

impl Writing<'_> {
    /// Writes one, unless it is among those that are `done`.
    async fn file(&self, path: &str, bytes: ByteStream, done: &[Value]) -> Result<Value, Refused> {
        let path = resolved(path, self.user).map_err(|why| bad(format!("error resolving path: {why}")))?;
        if done.iter().any(|entry| entry["path"] == path.as_str()) {
            return Err(bad(format!(
                "you cannot upload multiple files to the same path '{path}' in one upload request, only the first specified file was uploaded"
            )));
        }
        let files = self.sandbox.instance.files();
        let found = files.stat(&path).await;
        let found = found.map_err(|error| {
            failed(format!("error getting file info: stat {path}: {}", words::of(&error)))
        })?;
        if found.is_some_and(|found| found.directory) {
            return Err(bad(format!("path is a directory: {path}")));
        }
        files.write(&path, Content::from(bytes)).await.map_err(|error| self.reason(&path, &error))?;
        Ok(written(&path))
    }

    fn reason(&self, path: &str, error: &Error) -> Refused {
        match error.kind() {
            ErrorKind::QuotaExceeded => {
                let message = match self.length {
                    Some(length) => {
                        format!("attempted to write {length} bytes: not enough disk space available")
                    }
                    None => "not enough disk space available".to_owned(),
                };
                (StatusCode::INSUFFICIENT_STORAGE, message)
            }
            _ => failed(format!("error opening file: open {path}: {}", words::of(error))),
        }
    }
}

/// What compressed bytes are when they are not compressed.
pub(super) fn unzipped(bytes: ByteStream) -> impl Stream<Item = computesdk::error::Result<Bytes>> + Send {
    let begun = Some((bytes, GzDecoder::new(Vec::new())));
    stream::try_unfold(begun, async |state| {
        let Some((mut bytes, mut decoder)) = state else { return Ok(None) };
        match bytes.next().await {
            Some(piece) => {
                decoder.write_all(&piece?).map_err(unreadable)?;
                let plain = std::mem::take(decoder.get_mut());
                Ok(Some((Bytes::from(plain), Some((bytes, decoder)))))
            }
            None => {
                let rest = decoder.finish().map_err(unreadable)?;
                Ok(Some((Bytes::from(rest), None)))
            }
        }
    })
}

fn unreadable(error: std::io::Error) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("error decompressing request body: {error}"))
}
