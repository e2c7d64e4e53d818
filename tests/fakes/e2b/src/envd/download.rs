//! `GET /files`: a file, a part of one, or one that is compressed on the way, as Go serves it.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use computesdk::error::ErrorKind;
use computesdk::provider::{ByteStream, Chunk, Command, Content, Program, Wanted};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;

use super::files::{PIECE, Refused, allowed, bad, failed, user};
use super::path::{name, resolved};
use super::refused;
use super::words;
use crate::answer::{Answer, Broken, empty, flowing, text, with};
use crate::control::sandboxes::disk_mb;
use crate::options::{Options, Version};
use crate::request::header;
use crate::sandbox::{Sandbox, timestamp};

/// Answers with a file.
pub(super) async fn answer(options: &Options, sandbox: &Arc<Sandbox>, request: &Request<Incoming>) -> Answer {
    match download(options, sandbox, request).await {
        Ok(answer) => answer,
        Err((status, message)) => refused(status, message),
    }
}

async fn download(
    options: &Options,
    sandbox: &Sandbox,
    request: &Request<Incoming>,
) -> Result<Answer, Refused> {
    let query = allowed(sandbox, request, "read")?;
    let user = user(options, query.get("username"))?;
    let asked = query.get("path").unwrap_or_default();
    let path = resolved(asked, user)
        .map_err(|why| bad(format!("error expanding and resolving path '{asked}': {why}")))?;
    let files = sandbox.instance.files();
    let found = files.stat(&path).await;
    let found = found.map_err(|error| {
        failed(format!("error checking if path exists '{path}': stat {path}: {}", words::of(&error)))
    })?;
    let found = found.ok_or_else(|| (StatusCode::NOT_FOUND, format!("path '{path}' does not exist")))?;
    if found.directory {
        return Err(bad(format!("path '{path}' is a directory")));
    }
    let headers = request.headers();
    let conditional = ["range", "if-modified-since", "if-none-match", "if-range"]
        .iter()
        .any(|name| headers.contains_key(*name));
    let gzip = options.envd_version >= Version::GZIP && accepts_gzip(headers)? && !conditional;
    let disk = disk_mb(&sandbox.wishes.template) << 20;
    let content = match files.read(&path, PIECE).await {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err((StatusCode::NOT_FOUND, format!("path '{path}' does not exist")));
        }
        // Full of holes, which a local sandbox does not read.
        Err(_) if found.size.is_some_and(|size| size > disk) => printed(sandbox, &path).await?,
        Err(error) => {
            let reason = words::of(&error);
            return Err(failed(format!("error opening file '{path}': open {path}: {reason}")));
        }
    };
    let file = File {
        name: name(&path).to_owned(),
        size: content.size.or(found.size).unwrap_or_default(),
        modified: timestamp(found.modified.unwrap_or(std::time::SystemTime::UNIX_EPOCH)),
    };
    let answer = if gzip {
        let answer = Response::new(flowing(zipped(content.bytes)));
        let answer = with(answer, "content-encoding", "gzip");
        with(answer, "content-type", by_extension(&file.name).unwrap_or("application/octet-stream"))
    } else {
        file.serve(headers, content.bytes).await
    };
    let disposition = format!("inline; filename=\"{}\"", file.name.replace(['"', '\\'], "_"));
    Ok(with(with(answer, "content-disposition", &disposition), "vary", "Accept-Encoding"))
}

/// The content of a file, as a program prints it.
async fn printed(sandbox: &Sandbox, path: &str) -> Result<Content, Refused> {
    let argv = ["cat", "--", path].map(str::to_owned).to_vec();
    let command = Command { program: Program::Args(argv), ..Command::default() };
    let process = sandbox.instance.spawn(&command).await;
    let process = process.map_err(|error| failed(format!("error opening file '{path}': {error}")))?;
    let bytes = stream::unfold(process.output, async |mut output| {
        let (Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) = output.next(Wanted::BOTH).await?;
        Some((Ok(bytes), output))
    });
    Ok(Content { size: None, bytes: bytes.boxed() })
}

/// Whether gzip is what a caller likes best; the error is that nothing suits.
fn accepts_gzip(headers: &HeaderMap) -> Result<bool, Refused> {
    let Some(text) = header(headers, "accept-encoding").filter(|text| !text.is_empty()) else {
        return Ok(false);
    };
    let mut wanted: Vec<(String, f32)> = text.split(',').map(quality).collect();
    let of = |name: &str| wanted.iter().find(|(known, _)| known == name).map(|(_, quality)| *quality);
    let no_identity = of("identity") == Some(0.0) || (of("*") == Some(0.0) && of("identity").is_none());
    wanted.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    for (name, quality) in wanted {
        match name.as_str() {
            _ if quality == 0.0 => {}
            "gzip" => return Ok(true),
            "identity" => return Ok(false),
            "*" => return Ok(no_identity),
            _ => {}
        }
    }
    if no_identity {
        let message = "error parsing Accept-Encoding: no acceptable encoding found, supported: [gzip]";
        return Err((StatusCode::NOT_ACCEPTABLE, message.to_owned()));
    }
    Ok(false)
}

fn quality(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q=")).and_then(|text| text.parse().ok());
    (name, quality.unwrap_or(1.0))
}

fn zipped(bytes: ByteStream) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    let begun = Some((bytes, GzEncoder::new(Vec::new(), Compression::default())));
    stream::try_unfold(begun, async move |state| {
        let Some((mut bytes, mut encoder)) = state else { return Ok::<_, Broken>(None) };
        match bytes.next().await {
            Some(piece) => {
                encoder.write_all(&piece?)?;
                let zipped = std::mem::take(encoder.get_mut());
                Ok(Some((Bytes::from(zipped), Some((bytes, encoder)))))
            }
            None => Ok(Some((Bytes::from(encoder.finish()?), None))),
        }
    })
}

/// A file that is served.
struct File {
    name: String,
    size: u64,
    modified: Timestamp,
}

impl File {
    /// The whole, a part, or word that nothing has changed.
    async fn serve(&self, headers: &HeaderMap, mut bytes: ByteStream) -> Answer {
        let modified = self.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if header(headers, "if-modified-since").is_some_and(|since| self.unchanged(since)) {
            return with(empty(StatusCode::NOT_MODIFIED), "last-modified", &modified);
        }
        let current = header(headers, "if-range").is_none_or(|since| since == modified);
        let range = header(headers, "range").filter(|_| current);
        let (status, start, length) = match range.map(|range| self.part(range)) {
            None | Some(Part::Whole) => (StatusCode::OK, 0, self.size),
            Some(Part::Of(start, length)) => (StatusCode::PARTIAL_CONTENT, start, length),
            Some(Part::Nothing) => {
                let answer = text(StatusCode::RANGE_NOT_SATISFIABLE, "invalid range: failed to overlap\n");
                return with(answer, "content-range", &format!("bytes */{}", self.size));
            }
        };
        let first = bytes.next().await;
        let kind = by_extension(&self.name).unwrap_or_else(|| match &first {
            Some(Ok(bytes)) => sniffed(bytes),
            _ => "text/plain; charset=utf-8",
        });
        let bytes = part_of(stream::iter(first).chain(bytes).boxed(), start, length);
        let mut answer = Response::new(flowing(bytes));
        *answer.status_mut() = status;
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {start}-{}/{}", start + length - 1, self.size);
            answer = with(answer, "content-range", &range);
        }
        answer = with(answer, "content-length", &length.to_string());
        answer = with(answer, "last-modified", &modified);
        answer = with(answer, "accept-ranges", "bytes");
        with(answer, "content-type", kind)
    }

    fn unchanged(&self, since: &str) -> bool {
        let since = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(since);
        since.is_ok_and(|since| self.modified.as_second() <= since.as_second())
    }

    /// What a range stands for. Several at once are not served as such: the whole is a legal answer.
    fn part(&self, range: &str) -> Part {
        let Some(range) = range.strip_prefix("bytes=").filter(|range| !range.contains(',')) else {
            return Part::Whole;
        };
        let Some((start, end)) = range.trim().split_once('-') else { return Part::Nothing };
        match (start.parse::<u64>(), end.parse::<u64>()) {
            (Ok(start), _) if start >= self.size => Part::Nothing,
            (Ok(start), Ok(end)) if end >= start => Part::Of(start, end.min(self.size - 1) - start + 1),
            (Ok(start), Err(_)) if end.is_empty() => Part::Of(start, self.size - start),
            (Err(_), Ok(last)) if start.is_empty() && last > 0 && self.size > 0 => {
                let length = last.min(self.size);
                Part::Of(self.size - length, length)
            }
            _ => Part::Nothing,
        }
    }
}

enum Part {
    Whole,
    Of(u64, u64),
    Nothing,
}

fn part_of(bytes: ByteStream, start: u64, length: u64) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    let begun = (bytes, start, length);
    stream::try_unfold(begun, async |(mut bytes, mut skip, mut left)| {
        while left > 0 {
            let Some(mut piece) = bytes.try_next().await? else { break };
            let skipped = skip.min(piece.len() as u64);
            skip -= skipped;
            let _ = piece.split_to(skipped as usize);
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= piece.len() as u64;
            if !piece.is_empty() {
                return Ok(Some((piece, (bytes, skip, left))));
            }
        }
        Ok::<_, Broken>(None)
    })
}

fn by_extension(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension {
        "txt" => "text/plain; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "xml" => "text/xml; charset=utf-8",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "gz" => "application/gzip",
        "zip" => "application/zip",
        "wasm" => "application/wasm",
        _ => return None,
    })
}

/// What content of a file without a telling name looks like.
fn sniffed(bytes: &[u8]) -> &'static str {
    let start = &bytes[..bytes.len().min(512)];
    let binary = |byte: &u8| matches!(byte, 0..=8 | 11 | 14..=26 | 28..=31);
    if start.iter().any(binary) { "application/octet-stream" } else { "text/plain; charset=utf-8" }
}
