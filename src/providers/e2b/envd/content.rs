//! Contents of files, from the sandbox.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::Envd;
use super::error::{About, not_regular, of_file, words};
use super::path::{is_device, is_made_up};
use super::script::{As, Script};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{ByteStream, Chunk, Content, Exit};
use crate::transport::connect::{Code, Fault, Foreign};
use crate::transport::{Answer, Repeat};

/// How long an answer may take until it is asked whether there will ever be one: opening a pipe waits for somebody
/// at its other end.
pub(super) const ODD: Duration = Duration::from_millis(300);
/// No disk of a sandbox is larger; what claims to be is full of holes.
const LARGEST: u64 = 1 << 40;
/// How often a content that was cut off is asked for again from there on.
const RESUMES: u32 = 3;

impl Envd {
    /// The content of a regular file.
    pub(super) async fn content(&self, path: &str, piece: usize) -> Result<Content> {
        if is_made_up(path) {
            return self.content_that_is_made_up(path, piece).await;
        }
        if is_device(path) {
            self.check_regular(path).await?;
        }
        let answer = self.open(path).await?;
        let Some(size) = length(&answer) else {
            return Ok(Content { size: None, bytes: pieces(answer.stream(), piece) });
        };
        if size == 0 {
            // What is no file has nothing to give either.
            self.check_regular(path).await?;
            return Ok(Content::from(Bytes::new()));
        }
        if size > LARGEST {
            return Err(Error::invalid(format!(
                "{path} is too large to be read: {size} bytes, {LARGEST} at most"
            ))
            .with_hint("it is a sparse file; read a part of it with a command"));
        }
        let reading = Reading {
            envd: self.clone(),
            path: path.to_owned(),
            bytes: answer.stream(),
            at: 0,
            size,
            resumes: 0,
        };
        let bytes = stream::try_unfold(reading, Reading::next).boxed();
        Ok(Content { size: Some(size), bytes: pieces(bytes, piece) })
    }

    /// Waits for the head of an answer, and looks meanwhile whether there can be one.
    async fn open(&self, path: &str) -> Result<Answer> {
        let request = self.request(Method::GET, "files", &self.place(path, None))?;
        let asking = self.send(request, Repeat::Idempotent);
        tokio::pin!(asking);
        let answer = match tokio::time::timeout(ODD, &mut asking).await {
            Ok(answer) => answer?,
            Err(_) => tokio::select! {
                answer = &mut asking => answer?,
                odd = self.until_odd(path) => return Err(odd),
            },
        };
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let foreign = Foreign::read(answer).await?;
        if words(&foreign).contains("can't seek") {
            self.check_regular(path).await?;
        }
        Err(self.file_error(About::File, path, Fault::Foreign(foreign)).await)
    }

    /// Looks whether a path leads to what is no regular file; never ready if not.
    pub(super) async fn until_odd(&self, path: &str) -> Error {
        match self.check_regular(path).await {
            Err(error) if error.kind() == ErrorKind::InvalidArgument => error,
            _ => std::future::pending().await,
        }
    }

    /// Where in the sandbox, as a query.
    pub(super) fn place<'a>(&self, path: &'a str, user: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
        let user = self.user(user).map(|user| ("username", user));
        [("path", path)].into_iter().chain(user).collect()
    }

    /// What the kernel makes up is longer than it says: it is read by a process in there.
    async fn content_that_is_made_up(&self, path: &str, piece: usize) -> Result<Content> {
        let script = r#"[ -f "$1" ] || [ ! -e "$1" ] || [ -d "$1" ] || { echo "not a regular file" >&2; exit 1; }
            exec cat -- "$1""#;
        let script = self.script(As::User, script, &[path]).await?;
        let mut copying = Copying { script, path: path.to_owned(), complaint: String::new() };
        // An error comes before anything else.
        let first = copying.next().await?;
        let rest = stream::try_unfold(copying, async |mut copying| {
            Ok(copying.next().await?.map(|bytes| (bytes, copying)))
        });
        let bytes = stream::iter(first.map(Ok)).chain(rest).boxed();
        Ok(Content { size: None, bytes: pieces(bytes, piece) })
    }
}

/// A content in pieces that are not too large.
fn pieces(bytes: ByteStream, most: usize) -> ByteStream {
    let split = move |bytes: Result<Bytes>| {
        let mut rest = Some(bytes);
        stream::iter(std::iter::from_fn(move || match rest.take()? {
            Ok(mut bytes) if bytes.len() > most => {
                let piece = bytes.split_to(most);
                rest = Some(Ok(bytes));
                Some(Ok(piece))
            }
            other => Some(other),
        }))
    };
    bytes.flat_map(split).boxed()
}

fn length(answer: &Answer) -> Option<u64> {
    answer.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A file that is being read.
struct Reading {
    envd: Envd,
    path: String,
    bytes: ByteStream,
    at: u64,
    size: u64,
    resumes: u32,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        while self.at < self.size {
            match self.bytes.next().await {
                Some(Ok(bytes)) => {
                    self.at += bytes.len() as u64;
                    return Ok(Some((bytes, self)));
                }
                Some(Err(cut)) => {
                    if !self.resume(cut).await? {
                        return Ok(None);
                    }
                }
                None => {
                    let cut = Error::new(ErrorKind::Unavailable, "the content was cut off before its end");
                    if !self.resume(cut).await? {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Goes on where the content was cut off; tells whether there is more of it. A file that is changed while it is
    /// read is read as it is at each moment.
    async fn resume(&mut self, cut: Error) -> Result<bool> {
        if self.resumes == RESUMES {
            return Err(cut);
        }
        self.resumes += 1;
        let mut request = self.envd.request(Method::GET, "files", &self.envd.place(&self.path, None))?;
        let from = HeaderValue::from_str(&format!("bytes={}-", self.at)).map_err(|_| cut.copy())?;
        request.headers_mut().insert(RANGE, from);
        let answer = self.envd.send(request, Repeat::Idempotent).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                self.bytes = answer.stream();
                Ok(true)
            }
            // It has become shorter meanwhile.
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(false),
            StatusCode::OK if length(&answer).is_some_and(|length| length <= self.at) => Ok(false),
            // Not every server gives parts.
            StatusCode::OK => Err(cut),
            _ => {
                let foreign = Foreign::read(answer).await?;
                Err(self.envd.file_error(About::File, &self.path, Fault::Foreign(foreign)).await)
            }
        }
    }
}

/// A file that a process in the sandbox copies to its output.
struct Copying {
    script: Script,
    path: String,
    complaint: String,
}

impl Copying {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(chunk) = self.script.next().await? {
            match chunk {
                Chunk::Stdout(bytes) => return Ok(Some(bytes)),
                Chunk::Stderr(bytes) => self.complaint.push_str(&String::from_utf8_lossy(&bytes)),
            }
        }
        match self.script.exit() {
            Some(Exit::Code(0)) => Ok(None),
            _ if self.complaint.contains("regular file") => Err(not_regular(&self.path)),
            _ => Err(of_file(About::File, &self.path, Code::Unknown, &self.complaint)),
        }
    }
}
