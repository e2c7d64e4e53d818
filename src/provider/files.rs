//! Files of a sandbox.

use std::fmt::Debug;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::ByteStream;
use crate::error::Result;

/// Files of a sandbox. Paths are absolute; the core has checked that.
#[async_trait]
pub trait Files: Send + Sync {
    /// Opens a regular file. Anything else is refused, and never waited for. What can be read piece by piece
    /// comes in pieces of at most `piece` bytes, each when it is asked for. Dropped, the content lets go of
    /// the file.
    async fn read(&self, path: &str, piece: usize) -> Result<Content>;

    /// Likewise, for a caller who takes it for text; where that is another way to read.
    async fn read_text(&self, path: &str) -> Result<Content> {
        self.read(path, usize::MAX).await
    }

    /// Replaces a file by what `content` gives, which is asked for more when that is written. Makes parents,
    /// writes through links, keeps mode and owner; where the provider can, a failure leaves the old content.
    async fn write(&self, path: &str, content: Content) -> Result<()>;

    /// Makes a directory and its parents. There already: success. A file in the way: `AlreadyExists`.
    async fn make_dir(&self, path: &str) -> Result<()>;

    /// The direct children of a directory, sorted by name.
    async fn list(&self, path: &str) -> Result<Vec<Entry>>;

    /// What is at a path, links followed; `None` if nothing is. The name is the path's last, `/` for the
    /// root; a path that is a link itself has a `symlink_target`.
    async fn stat(&self, path: &str) -> Result<Option<Entry>>;

    /// Whether anything is at a path, links followed.
    async fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.stat(path).await?.is_some())
    }

    /// Gives a file, a directory or a link (not its target) another path. Makes the parents of `to`.
    ///
    /// * `to` is the new path itself, never a directory to put something into. A file takes the place of
    ///   whatever is there, in one step; a directory there, or anything where a directory is to go, is
    ///   `AlreadyExists`.
    /// * The same path: success. Missing: `NotFound`. A directory into itself: `InvalidArgument`.
    async fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Copies a file or a whole tree, modes included. Makes the parents of `to`.
    ///
    /// * `to` is as for `rename`, and nothing is there before the copy is complete; a failure leaves nothing.
    /// * `from` is followed if it is a link; links below it are copied as they are.
    /// * A pipe, socket or device, at `from` or below it: `InvalidArgument`, as for a directory into itself.
    async fn copy(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a file, a link (not its target) or a whole tree. Missing: `NotFound`.
    async fn remove(&self, path: &str) -> Result<()>;
}

/// The content of a file.
pub struct Content {
    /// Bytes in all, if known in advance.
    pub size: Option<u64>,
    /// The bytes.
    pub bytes: ByteStream,
}

impl Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("size", &self.size).finish_non_exhaustive()
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self { size: Some(bytes.len() as u64), bytes: Box::pin(futures_util::stream::iter([Ok(bytes)])) }
    }
}

impl From<ByteStream> for Content {
    fn from(bytes: ByteStream) -> Self {
        Self { size: None, bytes }
    }
}

/// An entry of a directory, or what is at a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its name; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// A directory, or a link to one. Everything else counts as a file.
    pub directory: bool,
    /// Bytes; 0 for directories. A plug-in may not know.
    pub size: Option<u64>,
    /// Last change. A plug-in may not know.
    pub modified: Option<SystemTime>,
    /// Where a symbolic link points.
    pub symlink_target: Option<String>,
}
