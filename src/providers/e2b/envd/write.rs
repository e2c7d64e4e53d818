//! Contents of files, into the sandbox.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, StatusCode};

use super::Envd;
use super::content::{AT_ONCE, ODD, PART};
use super::error::{About, of_file};
use super::messages::{Empty, PathRequest};
use super::path::{parent, trimmed};
use super::script::As;
use super::version::Version;
use crate::error::{Error, Result};
use crate::provider::{ByteStream, Content, Exit};
use crate::random;
use crate::transport::Repeat;
use crate::transport::connect::{Code, Fault, Foreign};

/// Content up to this size goes to its place at once, in one request: it arrives whole or not at all.
const SMALL: usize = 256 << 10;
/// From this size on, content goes in parts, several at once.
const LARGE: u64 = 4 * PART;
/// After a write was given up: what was sent of it may still be on its way.
const SETTLE: Duration = Duration::from_millis(300);

/// Puts the file `$1` into the place of `$2`: where that leads to, if it is a link, and with mode and owner of what is
/// there. If there are more arguments, it is first made of those parts.
const COMMIT: &str = r#"
new=$1
no() { rm -f -- "$new"; echo "$1" >&2; exit 1; }
if [ $# -gt 2 ]; then
  path=$2
  shift 2
  cat -- "$@" > "$new" && chown "$(stat -c %u:%g -- "$1")" "$new" || no "no space left on device"
  rm -f -- "$@"
  set -- "$new" "$path"
fi
place=$(readlink -f -- "$2" && echo .) || { [ -L "$2" ] && no "too many levels of symbolic links"; no "no such file or directory"; }
place=${place%??}
if [ -e "$place" ]; then
  [ -d "$place" ] && no "is a directory"
  [ -f "$place" ] || no "not a regular file"
  chown "$(stat -c %u:%g -- "$place")" "$new" && chmod "$(stat -c %a -- "$place")" "$new" || no "permission denied"
fi
if [ "${place%/*}" != "$(cd "${new%/*}/" && pwd -P)" ]; then
  beside="${place%/*}/${new##*/}"
  cp -p -- "$new" "$beside" || { rm -f -- "$beside"; no "no space left on device"; }
  rm -f -- "$new"
  new=$beside
fi
mv -f -- "$new" "$place" || no "permission denied"
"#;

impl Envd {
    /// Replaces a file by what a content gives.
    pub(super) async fn replace(&self, path: &str, mut content: Content) -> Result<()> {
        if trimmed(path).1 || path == "/" {
            return Err(Error::invalid(format!("is a directory: {path}")));
        }
        let mut head = BytesMut::new();
        while let Some(bytes) = content.bytes.next().await.transpose()? {
            if head.is_empty() && bytes.len() > SMALL {
                let rest = stream::iter([Ok(bytes)]).chain(content.bytes).boxed();
                return self.replace_when_complete(path, Content { bytes: rest, ..content }).await;
            }
            head.extend_from_slice(&bytes);
            if head.len() > SMALL {
                let rest = stream::iter([Ok(head.freeze())]).chain(content.bytes).boxed();
                return self.replace_when_complete(path, Content { bytes: rest, ..content }).await;
            }
        }
        tokio::select! {
            written = self.upload(path, head.freeze(), None) => written,
            odd = async {
                tokio::time::sleep(ODD).await;
                self.until_odd(path).await
            } => Err(odd),
        }
    }

    /// Writes a new file beside the old one, and puts it into its place when it is complete.
    async fn replace_when_complete(&self, path: &str, content: Content) -> Result<()> {
        let beside = format!("{}/.computesdk-{}", parent(path).trim_end_matches('/'), random::name()?);
        let mut new = Begun { envd: self, paths: vec![beside] };
        let written = self.write_beside(path, content, &mut new).await;
        if written.is_err() {
            let _ = tokio::time::timeout(SETTLE, new.clear()).await;
        }
        written
    }

    async fn write_beside(&self, path: &str, content: Content, new: &mut Begun<'_>) -> Result<()> {
        let beside = new.paths[0].clone();
        let is_large = content.size.is_some_and(|size| size >= LARGE);
        if is_large && self.version() >= Version::RAW_UPLOAD {
            self.post_in_parts(path, content.bytes, &mut new.paths).await?;
        } else {
            self.post(&beside, path, content, None).await?;
        }
        let parts = new.paths[1..].iter().map(String::as_str);
        let args: Vec<&str> = [beside.as_str(), path].into_iter().chain(parts).collect();
        let ran = self.run(As::Root, COMMIT, &args).await?;
        if ran.exit != Exit::Code(0) {
            return Err(of_file(About::File, path, Code::Unknown, &ran.stderr));
        }
        new.paths.clear();
        Ok(())
    }

    /// Sends a large content as several files at once. `paths` gets their names, after that which they are made of.
    async fn post_in_parts(&self, path: &str, bytes: ByteStream, paths: &mut Vec<String>) -> Result<()> {
        let mut parts = Parts { bytes, part: BytesMut::new(), rest: Bytes::new() };
        let mut sending = FuturesUnordered::new();
        loop {
            while sending.len() >= AT_ONCE {
                sending.next().await.transpose()?;
            }
            let part = tokio::select! {
                biased;
                Some(sent) = sending.next(), if !sending.is_empty() => {
                    sent?;
                    continue;
                }
                part = parts.fill() => part?,
            };
            if part.is_empty() {
                break;
            }
            let name = format!("{}-{}", paths[0], paths.len());
            paths.push(name.clone());
            sending.push(async move { self.post(&name, path, Content::from(part), None).await });
        }
        while let Some(sent) = sending.next().await {
            sent?;
        }
        Ok(())
    }

    /// Writes a file at once.
    pub(super) async fn upload(&self, path: &str, bytes: Bytes, user: Option<&str>) -> Result<()> {
        self.post(path, path, Content::from(bytes), user).await
    }

    /// Sends a content to `to`; errors are about `path`.
    async fn post(&self, to: &str, path: &str, content: Content, user: Option<&str>) -> Result<()> {
        let mut request = self.request(Method::POST, "files", &self.place(to, user))?;
        let failure = Failure::default();
        let bytes = failure.noted(content.bytes);
        let (kind, body, size) = if self.version() >= Version::RAW_UPLOAD {
            ("application/octet-stream".to_owned(), bytes, content.size)
        } else {
            let form = Form::new()?;
            (form.kind(), form.around(bytes), content.size.map(|size| size + form.length()))
        };
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, super::value(&kind)?);
        if let Some(size) = size {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        *request.body_mut() = Some(Body::wrap_stream(body));
        let answer = match self.send(request, Repeat::Unsent).await {
            Ok(answer) => answer,
            Err(error) => return Err(failure.taken().unwrap_or(error)),
        };
        match answer.status() {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => match failure.taken() {
                Some(error) => Err(error),
                None => Ok(()),
            },
            _ => {
                let foreign = Foreign::read(answer).await?;
                let refused = self.file_error(About::File, path, Fault::Foreign(foreign)).await;
                Err(failure.taken().unwrap_or(refused))
            }
        }
    }
}

/// What went wrong with a source: HTTP would tell it in its own words.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    fn noted(&self, bytes: ByteStream) -> ByteStream {
        let failure = self.clone();
        bytes
            .map(move |bytes| {
                bytes.map_err(|error| {
                    let copy = error.copy();
                    *failure.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    copy
                })
            })
            .boxed()
    }

    fn taken(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A form with one file in it: older versions take nothing else.
struct Form {
    boundary: String,
}

impl Form {
    fn new() -> Result<Self> {
        Ok(Self { boundary: random::name()? })
    }

    fn kind(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    fn head(&self) -> String {
        format!(
            "--{}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.boundary
        )
    }

    fn tail(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }

    fn length(&self) -> u64 {
        (self.head().len() + self.tail().len()) as u64
    }

    fn around(&self, bytes: ByteStream) -> ByteStream {
        let once = |text: String| stream::iter([Ok(Bytes::from(text))]);
        once(self.head()).chain(bytes).chain(once(self.tail())).boxed()
    }
}

/// A content in parts of equal size, but for the last.
struct Parts {
    bytes: ByteStream,
    /// What has come of the next one.
    part: BytesMut,
    /// What has come beyond that.
    rest: Bytes,
}

impl Parts {
    /// The next one, empty at the end. Dropped: nothing is lost.
    async fn fill(&mut self) -> Result<Bytes> {
        while self.part.len() < PART as usize {
            if self.rest.is_empty() {
                match self.bytes.next().await.transpose()? {
                    Some(bytes) => self.rest = bytes,
                    None => break,
                }
            }
            let room = PART as usize - self.part.len();
            self.part.extend_from_slice(&self.rest.split_to(room.min(self.rest.len())));
        }
        Ok(self.part.split().freeze())
    }
}

/// New files that have not taken their place; removed if their writer fails or goes.
struct Begun<'a> {
    envd: &'a Envd,
    paths: Vec<String>,
}

impl Begun<'_> {
    /// Removes what there is of them now. What is still on its way is removed later.
    async fn clear(&self) {
        remove(self.envd, &self.paths).await;
    }
}

async fn remove(envd: &Envd, paths: &[String]) {
    for path in paths {
        let request = PathRequest { path: path.clone() };
        let method = "filesystem.Filesystem/Remove";
        let _ = envd.call::<_, Empty>(method, &request, Repeat::Idempotent).await;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.paths.is_empty() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (envd, paths) = (self.envd.clone(), std::mem::take(&mut self.paths));
        runtime.spawn(async move {
            for pause in [Duration::ZERO, SETTLE] {
                tokio::time::sleep(pause).await;
                remove(&envd, &paths).await;
            }
        });
    }
}
