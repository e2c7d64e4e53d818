//! The files of a sandbox, as its user sees them.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::error::{Error, Result};
use crate::provider::{Content, Entry};
use crate::sandbox::Sandbox;

/// The longest string that JavaScript can hold, in bytes of ASCII.
const MAX_TEXT: u64 = (1 << 29) - 24;

/// The files of a sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Filesystem<'a> {
    pub(crate) sandbox: &'a Sandbox,
}

impl Filesystem<'_> {
    /// The bytes of a regular file.
    pub async fn read(&self, path: &str) -> Result<Bytes> {
        self.sandbox.operation("readFile", async { self.content(path, u64::MAX).await }).await
    }

    /// The text of a regular file. Bytes that are not UTF-8 are an error with the code `NOT_UTF8`.
    pub async fn read_text(&self, path: &str) -> Result<String> {
        self.sandbox
            .operation("readFile", async {
                let bytes = self.content(path, MAX_TEXT).await?;
                String::from_utf8(Vec::from(bytes)).map_err(|error| {
                    let at = error.utf8_error().valid_up_to();
                    Error::invalid(format!("{path} is not UTF-8 text (byte {at})"))
                        .with_code("NOT_UTF8")
                        .with_hint("read it with { encoding: 'bytes' }")
                })
            })
            .await
    }

    async fn content(&self, path: &str, most: u64) -> Result<Bytes> {
        check(path)?;
        let mut content = self.sandbox.instance().files().read(path).await?;
        let too_large = |size| {
            Error::invalid(format!("{path} is too large to be read at once: {size} bytes, {most} at most"))
                .with_hint("read it with { encoding: 'bytes' }, or a part of it with a command")
        };
        if let Some(size) = content.size.filter(|size| *size > most) {
            return Err(too_large(size));
        }
        // A file may shrink or grow while it is read: its size is a hint.
        let mut all = BytesMut::new();
        while let Some(bytes) = content.bytes.next().await.transpose()? {
            if all.is_empty() && content.size == Some(bytes.len() as u64) {
                return Ok(bytes);
            }
            if (all.len() + bytes.len()) as u64 > most {
                return Err(too_large(all.len() as u64));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// Replaces a file by these bytes, or makes it and its parents.
    pub async fn write(&self, path: &str, content: Bytes) -> Result<()> {
        self.sandbox
            .operation("writeFile", async {
                check(path)?;
                self.sandbox.instance().files().write(path, Content::from(content)).await
            })
            .await
    }

    /// Makes a directory and its parents.
    pub async fn make_dir(&self, path: &str) -> Result<()> {
        self.sandbox
            .operation("mkdir", async {
                check(path)?;
                self.sandbox.instance().files().make_dir(path).await
            })
            .await
    }

    /// The direct children of a directory, sorted by name.
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>> {
        self.sandbox
            .operation("readdir", async {
                check(path)?;
                self.sandbox.instance().files().list(path).await
            })
            .await
    }

    /// Whether anything is at a path. Never an error: anything odd is not there.
    pub async fn exists(&self, path: &str) -> bool {
        let found = self.sandbox.operation("exists", async {
            check(path)?;
            self.sandbox.instance().files().stat(path).await
        });
        matches!(found.await, Ok(Some(_)))
    }

    /// Removes a file, a link or a whole tree.
    pub async fn remove(&self, path: &str) -> Result<()> {
        self.sandbox
            .operation("remove", async {
                check(path)?;
                self.sandbox.instance().files().remove(path).await
            })
            .await
    }
}

/// The longest path that Linux takes, with the zero at its end.
const PATH_MAX: usize = 4096;

fn check(path: &str) -> Result<()> {
    if !path.starts_with('/') {
        return Err(Error::invalid(format!("`path` must be absolute, got `{path}`"))
            .with_hint("paths in a sandbox start with `/`, for example `/workspace/file.txt`"));
    }
    if path.contains('\0') {
        return Err(Error::invalid("`path` contains a NUL character"));
    }
    if path.len() >= PATH_MAX {
        return Err(Error::invalid(format!(
            "`path` is too long: {} bytes, {} at most",
            path.len(),
            PATH_MAX - 1
        )));
    }
    Ok(())
}
