//! Files of a local sandbox.
//!
//! The agent resolves every path and hands out open files; bytes go between this process and the file. The
//! files are on the sandbox's own memory file system: reading and writing them cannot hang, and this
//! process looks before it touches. Anything else (`/proc`, what is mounted from the host) is copied by a
//! process in the sandbox, through a pipe.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::BytesMut;
use computesdk_agent::protocol::{self, Blob, Reply, Request, decode};
use futures_util::{StreamExt, stream};
use rustix::io::Errno;

use super::error::{About, nonsense, of_file};
use super::instance::LocalInstance;
use super::jobs::Job;
use super::link::Answer;
use super::pipe::Pipe;
use crate::error::{Error, Result};
use crate::provider::{Content, Entry, Files};

/// Content up to this size goes in one message, without a thread.
pub(in crate::providers) const SMALL: usize = 48 * 1024;
/// The longest listing, in bytes: more than all files of a sandbox can be called.
pub(in crate::providers) const LISTING: usize = 128 << 20;

#[async_trait]
impl Files for LocalInstance {
    async fn read(&self, path: &str, piece: usize) -> Result<Content> {
        let (id, answer) = self.ask(|id| Request::Read { id, path: path.to_owned() }).await?;
        let mut beside = answer.beside.into_iter();
        match (answer.reply, beside.next(), answer.ending) {
            (Reply::Opened { .. }, Some(file), _) => self.content_of(path, file, piece).await,
            (Reply::Started { .. }, Some(pipe), Some(ending)) => {
                let job = Job::new(self, id, path, ending)?;
                let bytes = stream::try_unfold(Some((job, Pipe::new(pipe)?)), async |passing| {
                    let Some((job, pipe)) = passing else { return Ok(None) };
                    let bytes = job.read(&pipe).await?;
                    if bytes.is_empty() {
                        return job.done(About::File).await.map(|()| None);
                    }
                    Ok(Some((bytes, Some((job, pipe)))))
                });
                Ok(Content { size: None, bytes: Box::pin(bytes) })
            }
            (reply, ..) => Err(refused(About::File, path, reply)),
        }
    }

    async fn write(&self, path: &str, mut content: Content) -> Result<()> {
        // Small content is gathered and goes in one message; whatever is larger flows.
        let mut head = BytesMut::new();
        while let Some(bytes) = self.while_alive(content.bytes.next()).await?.transpose()? {
            if head.is_empty() && bytes.len() > SMALL {
                return self
                    .replace(path, stream::once(async { Ok(bytes) }).chain(content.bytes).boxed())
                    .await;
            }
            head.extend_from_slice(&bytes);
            if head.len() > SMALL {
                let head = head.freeze();
                return self
                    .replace(path, stream::once(async { Ok(head) }).chain(content.bytes).boxed())
                    .await;
            }
        }
        let content = Blob(head.to_vec());
        self.done(About::File, path, |id| Request::Write { id, path: path.to_owned(), content }).await
    }

    async fn make_dir(&self, path: &str) -> Result<()> {
        self.done(About::Directory, path, |id| Request::MakeDirectory { id, path: path.to_owned() }).await
    }

    async fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let (id, answer) = self.ask(|id| Request::List { id, path: path.to_owned() }).await?;
        let Answer { reply, beside, ending } = answer;
        let (Reply::Started { .. }, Some(pipe), Some(ending)) = (&reply, beside.into_iter().next(), ending)
        else {
            return Err(refused(About::Directory, path, reply));
        };
        let job = Job::new(self, id, path, ending)?;
        let listing = job.read_all(&Pipe::new(pipe)?, LISTING).await?;
        job.done(About::Directory).await?;
        let mut entries = entries(&listing).ok_or_else(nonsense)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn stat(&self, path: &str) -> Result<Option<Entry>> {
        let (_, answer) = self.ask(|id| Request::Stat { id, path: path.to_owned() }).await?;
        let missing = [Errno::NOENT, Errno::NOTDIR].map(Errno::raw_os_error);
        match answer.reply {
            Reply::Found { entry: found, .. } => Ok(Some(entry(found))),
            Reply::Failed { errno, .. } if missing.contains(&errno) => Ok(None),
            reply => Err(refused(About::File, path, reply)),
        }
    }

    async fn remove(&self, path: &str) -> Result<()> {
        let (id, answer) = self.ask(|id| Request::Remove { id, path: path.to_owned() }).await?;
        match (answer.reply, answer.ending) {
            (Reply::Done { .. }, _) => Ok(()),
            (Reply::Started { .. }, Some(ending)) => {
                Job::new(self, id, path, ending)?.done(About::File).await
            }
            (reply, _) => Err(refused(About::File, path, reply)),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let request = |id| Request::Rename { id, from: from.to_owned(), to: to.to_owned() };
        let asked = self.ask(request).await?;
        self.copied(from, to, asked).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let request = |id| Request::Copy { id, from: from.to_owned(), to: to.to_owned() };
        let asked = self.ask(request).await?;
        self.copied(from, to, asked).await
    }
}

impl LocalInstance {
    /// Asks for something whose only answer is that it is done.
    pub(super) async fn done(
        &self,
        about: About,
        path: &str,
        request: impl FnOnce(u32) -> Request,
    ) -> Result<()> {
        match self.ask(request).await?.1.reply {
            Reply::Done { .. } => Ok(()),
            reply => Err(refused(about, path, reply)),
        }
    }
}

pub(in crate::providers) fn refused(about: About, path: &str, reply: Reply) -> Error {
    match reply {
        Reply::Failed { trouble, errno, .. } => of_file(about, path, &trouble, errno),
        _ => nonsense(),
    }
}

/// The entries of a listing; `None` if it is none.
pub(in crate::providers) fn entries(mut listing: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !listing.is_empty() {
        let (length, rest) = listing.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        entries.push(entry(decode(bytes)?));
        listing = rest;
    }
    Some(entries)
}

/// An entry as an agent tells of it.
pub(in crate::providers) fn entry(entry: protocol::Entry) -> Entry {
    let text = |blob: Blob| String::from_utf8_lossy(&blob.0).into_owned();
    let since = Duration::from_millis(entry.modified.unsigned_abs());
    let modified = if entry.modified < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(since)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(since)
    };
    Entry {
        name: text(entry.name),
        directory: entry.directory,
        size: Some(entry.size),
        modified,
        symlink_target: entry.link.map(text),
    }
}
