//! The files of a sandbox, as its user sees them.

use std::future::ready;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::{ByteStream, Content, Entry};
use crate::sandbox::Sandbox;

/// The longest string that JavaScript can hold, in bytes of ASCII.
const MAX_TEXT: u64 = (1 << 29) - 24;

/// The most that is read at once of a file that does not tell how long it is.
const MAX_UNKNOWN: u64 = 256 << 20;

/// Bytes of each piece of a file that is read as a stream.
const PIECE: usize = 1 << 20;

/// The files of a sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Filesystem<'a> {
    pub(crate) sandbox: &'a Sandbox,
}

impl Filesystem<'_> {
    /// The bytes of a regular file.
    pub async fn read(&self, path: &str) -> Result<Bytes> {
        self.sandbox
            .operation("readFile", async {
                check("path", path)?;
                let content = self.sandbox.instance().files().read(path, usize::MAX).await?;
                whole(path, content, u64::MAX).await
            })
            .await
    }

    /// The text of a regular file. Bytes that are not UTF-8 are an error with the code `NOT_UTF8`.
    pub async fn read_text(&self, path: &str) -> Result<String> {
        self.read_text_of(path, MAX_TEXT).await
    }

    /// Likewise of a file that has this many bytes at most.
    pub async fn read_text_of(&self, path: &str, most: u64) -> Result<String> {
        self.sandbox
            .operation("readFile", async {
                check("path", path)?;
                let content = self.sandbox.instance().files().read_text(path).await?;
                let bytes = whole(path, content, most.min(MAX_TEXT)).await?;
                String::from_utf8(Vec::from(bytes)).map_err(|error| {
                    let at = error.utf8_error().valid_up_to();
                    Error::invalid(format!("{path} is not UTF-8 text (byte {at})"))
                        .with_code("NOT_UTF8")
                        .with_hint("read it with { encoding: 'bytes' }")
                })
            })
            .await
    }

    /// The content of a regular file, piece by piece. It is open when this is ready; dropped, the stream
    /// closes it.
    pub async fn open(&self, path: &str) -> Result<ByteStream> {
        let open = async {
            check("path", path)?;
            self.sandbox.instance().files().read(path, PIECE).await
        };
        let content = self.sandbox.operation("readFile", open).await?;
        let sandbox = self.sandbox.clone();
        let located =
            move |error: Error| error.within("readFile", Some(sandbox.provider().name()), Some(sandbox.id()));
        let full = |piece: &Result<Bytes>| ready(!piece.as_ref().is_ok_and(Bytes::is_empty));
        Ok(content.bytes.filter(full).map(move |piece| piece.map_err(&located)).boxed())
    }

    /// Replaces a file by this content, be it bytes or a stream, or makes it and its parents. A failure, be it
    /// of the stream's, leaves the old content.
    pub async fn write(&self, path: &str, content: impl Into<Content>) -> Result<()> {
        self.sandbox
            .operation("writeFile", async {
                check("path", path)?;
                self.sandbox.instance().files().write(path, content.into()).await
            })
            .await
    }

    /// Makes a directory and its parents.
    pub async fn make_dir(&self, path: &str) -> Result<()> {
        self.sandbox
            .operation("mkdir", async {
                check("path", path)?;
                self.sandbox.instance().files().make_dir(path).await
            })
            .await
    }

    /// The direct children of a directory, sorted by name.
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>> {
        self.sandbox
            .operation("readdir", async {
                check("path", path)?;
                self.sandbox.instance().files().list(path).await
            })
            .await
    }

    /// Whether anything is at a path. Never an error: anything odd is not there.
    pub async fn exists(&self, path: &str) -> bool {
        let found = self.sandbox.operation("exists", async {
            check("path", path)?;
            self.sandbox.instance().files().exists(path).await
        });
        matches!(found.await, Ok(true))
    }

    /// What is at a path, links followed.
    pub async fn stat(&self, path: &str) -> Result<Entry> {
        self.sandbox
            .operation("stat", async {
                check("path", path)?;
                let found = self.sandbox.instance().files().stat(path).await?;
                found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("File not found: {path}")))
            })
            .await
    }

    /// Gives a file, a directory or a link another path, and makes the parents of that. A file takes the place
    /// of what is there; a directory that is in the way is an error.
    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.sandbox
            .operation("rename", async {
                check("from", from)?;
                check("to", to)?;
                self.sandbox.instance().files().rename(from, to).await
            })
            .await
    }

    /// Copies a file or a whole tree, and makes the parents of the copy. A file takes the place of what is
    /// there; a directory that is in the way is an error. Nothing is ever half copied.
    pub async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.sandbox
            .operation("copy", async {
                check("from", from)?;
                check("to", to)?;
                self.sandbox.instance().files().copy(from, to).await
            })
            .await
    }

    /// Removes a file, a link or a whole tree.
    pub async fn remove(&self, path: &str) -> Result<()> {
        self.sandbox
            .operation("remove", async {
                check("path", path)?;
                self.sandbox.instance().files().remove(path).await
            })
            .await
    }
}

/// All of a content that has this many bytes at most.
async fn whole(path: &str, mut content: Content, most: u64) -> Result<Bytes> {
    let most = if content.size.is_none() { most.min(MAX_UNKNOWN) } else { most };
    let too_large = |size| {
        Error::invalid(format!("{path} is too large to be read at once: {size} bytes, {most} at most"))
            .with_hint("read it with { encoding: 'stream' }, or a part of it with a command")
    };
    if let Some(size) = content.size.filter(|size| *size > most) {
        return Err(too_large(size));
    }
    // A file may shrink or grow while it is read: its size is a hint.
    let mut all = BytesMut::new();
    while let Some(bytes) = content.bytes.next().await.transpose()? {
        if all.is_empty() {
            if content.size == Some(bytes.len() as u64) {
                return Ok(bytes);
            }
            all.reserve(content.size.unwrap_or(0).min(MAX_UNKNOWN) as usize);
        }
        if (all.len() + bytes.len()) as u64 > most {
            return Err(too_large((all.len() + bytes.len()) as u64));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}

/// The longest path that Linux takes, with the zero at its end.
const PATH_MAX: usize = 4096;

fn check(name: &str, path: &str) -> Result<()> {
    if !path.starts_with('/') {
        return Err(Error::invalid(format!("`{name}` must be absolute, got `{path}`"))
            .with_hint("paths in a sandbox start with `/`, for example `/workspace/file.txt`"));
    }
    if path.contains('\0') {
        return Err(Error::invalid(format!("`{name}` contains a NUL character")));
    }
    if path.len() >= PATH_MAX {
        return Err(Error::invalid(format!(
            "`{name}` is too long: {} bytes, {} at most",
            path.len(),
            PATH_MAX - 1
        )));
    }
    Ok(())
}
