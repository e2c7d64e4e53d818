//! Contents of files, into the sandbox.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, StatusCode};

use super::Envd;
use super::content::ODD;
use super::error::{About, of_file};
use super::messages::{Empty, PathRequest};
use super::path::{parent, trimmed};
use super::process::random;
use super::script::As;
use super::version::Version;
use crate::error::{Error, Result};
use crate::provider::{ByteStream, Content, Exit};
use crate::transport::Repeat;
use crate::transport::connect::{Code, Fault, Foreign};

/// Content up to this size goes to its place at once, in one request: it arrives whole or not at all.
const SMALL: usize = 256 << 10;
/// After a write was given up: what was sent of it may still be on its way.
const SETTLE: Duration = Duration::from_millis(300);

/// Puts the file `$1` into the place of `$2`: where that leads to, if it is a link, and with mode and owner of what is
/// there.
const COMMIT: &str = r#"
new=$1
no() { rm -f -- "$new"; echo "$1" >&2; exit 1; }
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
        let mut new = Begun {
            envd: self,
            path: Some(format!("{}/.computesdk-{}", parent(path).trim_end_matches('/'), random()?)),
        };
        let written = self.write_beside(path, content, &mut new).await;
        if written.is_err() {
            let _ = tokio::time::timeout(SETTLE, new.clear()).await;
        }
        written
    }

    async fn write_beside(&self, path: &str, content: Content, new: &mut Begun<'_>) -> Result<()> {
        let beside = new.path.clone().unwrap_or_default();
        self.post(&beside, path, content, None).await?;
        let ran = self.run(As::Root, COMMIT, &[&beside, path]).await?;
        if ran.exit != Exit::Code(0) {
            return Err(of_file(About::File, path, Code::Unknown, &ran.stderr));
        }
        new.path = None;
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
        Ok(Self { boundary: random()? })
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

/// A new file that has not taken its place; removed if its writer fails or goes.
struct Begun<'a> {
    envd: &'a Envd,
    path: Option<String>,
}

impl Begun<'_> {
    /// Removes what there is of it now. What is still on its way is removed later.
    async fn clear(&self) {
        let Some(path) = self.path.clone() else { return };
        let request = PathRequest { path };
        let method = "filesystem.Filesystem/Remove";
        let _ = self.envd.call::<_, Empty>(method, &request, Repeat::Idempotent).await;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let envd = self.envd.clone();
        runtime.spawn(async move {
            let request = PathRequest { path };
            for pause in [Duration::ZERO, SETTLE] {
                tokio::time::sleep(pause).await;
                let _ =
                    envd.call::<_, Empty>("filesystem.Filesystem/Remove", &request, Repeat::Idempotent).await;
            }
        });
    }
}
