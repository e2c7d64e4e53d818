//! Contents of files, from the sandbox.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Method, StatusCode};

use super::Envd;
use super::error::{About, not_regular, of_file, silent, words};
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
/// How often in a row a part that was cut off is asked for again, from there on, and nothing comes.
const RESUMES: u32 = 3;
/// Larger files are read in parts of this size, several at once: one stream alone is held up by the way there and back.
pub(super) const PART: u64 = 4 << 20;
/// Parts that are on their way, or wait for their turn in memory.
pub(super) const AT_ONCE: usize = 4;

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
        let Some(size) = total(&answer) else {
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
        let here = if answer.status() == StatusCode::PARTIAL_CONTENT { size.min(PART) } else { size };
        let first = Part { envd: self.clone(), path: Arc::from(path), at: 0, end: here };
        let rest: Vec<Part> = (here..size)
            .step_by(PART as usize)
            .map(|at| Part { at, end: size.min(at + PART), ..first.clone() })
            .collect();
        let rest = stream::iter(rest).map(Part::whole).buffered(AT_ONCE);
        // A part that is shorter than it should be is the last: the file has become shorter meanwhile.
        let rest = rest.scan(false, |is_over, part| {
            let part = (!*is_over).then_some(part);
            *is_over |= part.as_ref().is_some_and(|part| part.as_ref().is_ok_and(|(_, is_whole)| !is_whole));
            ready(part.map(|part| part.map(|(bytes, _)| bytes)))
        });
        let bytes = first.follow(answer.stream()).chain(rest).boxed();
        Ok(Content { size: Some(size), bytes: pieces(bytes, piece) })
    }

    /// Waits for the head of an answer, and looks meanwhile whether there can be one.
    async fn open(&self, path: &str) -> Result<Answer> {
        let asking = self.ask_for(path, 0, PART);
        tokio::pin!(asking);
        let answer = match tokio::time::timeout(ODD, &mut asking).await {
            Ok(answer) => answer?,
            Err(_) => tokio::select! {
                answer = &mut asking => answer?,
                odd = self.until_odd(path) => return Err(odd),
            },
        };
        // Some servers find that there is no part of what is empty.
        let given = [StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE];
        if given.contains(&answer.status()) {
            return Ok(answer);
        }
        let foreign = Foreign::read(answer).await?;
        if words(&foreign).contains("can't seek") {
            self.check_regular(path).await?;
        }
        Err(self.file_error(About::File, path, Fault::Foreign(foreign)).await)
    }

    /// Asks for a part of a file.
    async fn ask_for(&self, path: &str, at: u64, end: u64) -> Result<Answer> {
        let mut request = self.request(Method::GET, "files", &self.place(path, None))?;
        request.headers_mut().insert(RANGE, super::value(&format!("bytes={at}-{}", end - 1))?);
        self.send(request, Repeat::Idempotent).await
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

/// Bytes of the whole file that an answer has, or has a part of.
fn total(answer: &Answer) -> Option<u64> {
    if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return Some(0);
    }
    match answer.headers().get(CONTENT_RANGE) {
        Some(range) => range.to_str().ok()?.rsplit('/').next()?.parse().ok(),
        None => length(answer),
    }
}

/// A part of a file that is being read. A file that is changed meanwhile is read as it is at each moment.
#[derive(Clone)]
struct Part {
    envd: Envd,
    path: Arc<str>,
    at: u64,
    end: u64,
}

impl Part {
    /// All of it, and whether that is as much as it should be.
    async fn whole(self) -> Result<(Bytes, bool)> {
        let length = (self.end - self.at) as usize;
        let mut pieces = self.follow(stream::empty().boxed());
        let mut all = BytesMut::with_capacity(length);
        while let Some(bytes) = pieces.next().await.transpose()? {
            all.extend_from_slice(&bytes);
        }
        let is_whole = all.len() == length;
        Ok((all.freeze(), is_whole))
    }

    /// What comes of it over a connection, and over others where that is cut off.
    fn follow(self, bytes: ByteStream) -> ByteStream {
        stream::try_unfold((self, bytes, 0), async |(mut part, mut bytes, mut resumes)| {
            while part.at < part.end {
                let cut = match bytes.next().await {
                    Some(Ok(piece)) => {
                        part.at += piece.len() as u64;
                        return Ok(Some((piece, (part, bytes, 0))));
                    }
                    Some(Err(error)) => Some(error),
                    None => None,
                };
                if resumes == RESUMES {
                    return Err(cut.unwrap_or_else(silent));
                }
                resumes += 1;
                match part.resume(cut).await? {
                    Some(more) => bytes = more,
                    None => return Ok(None),
                }
            }
            Ok(None)
        })
        .boxed()
    }

    /// What is left of it; `None` if the file has become shorter.
    async fn resume(&self, cut: Option<Error>) -> Result<Option<ByteStream>> {
        let answer = self.envd.ask_for(&self.path, self.at, self.end).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => Ok(Some(answer.stream())),
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(None),
            StatusCode::OK if length(&answer).is_some_and(|length| length <= self.at) => Ok(None),
            // Not every server gives parts.
            StatusCode::OK => Err(cut.unwrap_or_else(silent)),
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
