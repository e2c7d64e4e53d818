//! Files of a container.
//!
//! The agent resolves every path and opens what is there; bytes come and go over the link, by the piece.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use computesdk_agent::protocol::{Blob, Reply, Request, Trouble};
use futures_util::{StreamExt, stream};
use rustix::io::Errno;

use super::instance::DockerInstance;
use super::jobs::Job;
use super::link::{Answer, Link};
use super::stream::Stream;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{ByteStream, Content, Entry, Files};
use crate::providers::local::error::{About, nonsense, of_file};
use crate::providers::local::files::{LISTING, SMALL, entries, entry, refused};

#[async_trait]
impl Files for DockerInstance {
    async fn read(&self, path: &str, piece: usize) -> Result<Content> {
        let (id, answer, link) = self.ask(|id| Request::Read { id, path: path.to_owned() }).await?;
        let mut beside = answer.beside.into_iter();
        match (answer.reply, beside.next(), answer.ending) {
            (Reply::Opened { size, .. }, Some(file), _) => {
                // Sparse files may claim any size; none can hold more than there is.
                let most = self.limits().disk;
                if size > most {
                    let message =
                        format!("{path} is larger than the sandbox's disk: {size} bytes, {most} at most");
                    return Err(Error::invalid(message)
                        .with_hint("it is a sparse file; read a part of it with a command"));
                }
                let reading = Reading {
                    file,
                    link,
                    path: path.to_owned(),
                    instance: self.myself()?,
                    left: size,
                    piece,
                };
                let bytes = stream::try_unfold(reading, Reading::next);
                Ok(Content { size: Some(size), bytes: Box::pin(bytes) })
            }
            (Reply::Started { .. }, Some(pipe), Some(ending)) => {
                let job = Job::new(self, link, id, path, ending)?;
                let bytes = stream::try_unfold(Some((job, pipe)), async |passing| {
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
        let (id, answer, link) = self.ask(|id| Request::List { id, path: path.to_owned() }).await?;
        let Answer { reply, beside, ending } = answer;
        let (Reply::Started { .. }, Some(pipe), Some(ending)) = (&reply, beside.into_iter().next(), ending)
        else {
            return Err(refused(About::Directory, path, reply));
        };
        let job = Job::new(self, link, id, path, ending)?;
        let listing = job.read_all(&pipe, LISTING).await?;
        job.done(About::Directory).await?;
        let mut entries = entries(&listing).ok_or_else(nonsense)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn stat(&self, path: &str) -> Result<Option<Entry>> {
        let (_, answer, _) = self.ask(|id| Request::Stat { id, path: path.to_owned() }).await?;
        let missing = [Errno::NOENT, Errno::NOTDIR].map(Errno::raw_os_error);
        match answer.reply {
            Reply::Found { entry: found, .. } => Ok(Some(entry(found))),
            Reply::Failed { errno, .. } if missing.contains(&errno) => Ok(None),
            reply => Err(refused(About::File, path, reply)),
        }
    }

    async fn remove(&self, path: &str) -> Result<()> {
        let (id, answer, link) = self.ask(|id| Request::Remove { id, path: path.to_owned() }).await?;
        match (answer.reply, answer.ending) {
            (Reply::Done { .. }, _) => Ok(()),
            (Reply::Started { .. }, Some(ending)) => {
                Job::new(self, link, id, path, ending)?.done(About::File).await
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

impl DockerInstance {
    /// Asks for something whose only answer is that it is done.
    async fn done(&self, about: About, path: &str, request: impl FnOnce(u32) -> Request) -> Result<()> {
        match self.ask(request).await?.1.reply {
            Reply::Done { .. } => Ok(()),
            reply => Err(refused(about, path, reply)),
        }
    }

    /// Writes a new file beside the old one and puts it into its place when it is complete.
    async fn replace(&self, path: &str, mut content: ByteStream) -> Result<()> {
        let (id, answer, link) = self.ask(|id| Request::Replace { id, path: path.to_owned() }).await?;
        let (Reply::Opened { .. }, Some(file)) = (&answer.reply, answer.beside.into_iter().next()) else {
            return Err(refused(About::File, path, answer.reply));
        };
        let mut begun = Begun { link: Arc::clone(&link), id: Some(id) };
        while let Some(bytes) = self.while_alive(content.next()).await?.transpose()? {
            if let Err(error) = file.write(&bytes).await {
                if link.closed().is_cancelled() {
                    return Err(self.lost(&link).await);
                }
                let errno = error.raw_os_error().unwrap_or(0);
                return Err(of_file(About::File, path, &Trouble::Path, errno));
            }
        }
        file.finish();
        drop(file);
        // Over the same link: another would not know of it.
        let asked = link.ask(|commit| Request::Commit { id: commit, target: id });
        let Ok((_, answer)) = tokio::time::timeout(super::instance::PATIENCE, asked)
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, "the sandbox does not answer"))?
        else {
            return Err(self.lost(&link).await);
        };
        match answer.reply {
            Reply::Done { .. } => {
                begun.id = None;
                Ok(())
            }
            reply => Err(refused(About::File, path, reply)),
        }
    }

    /// What `work` comes to, or the error of a sandbox that has ended meanwhile.
    async fn while_alive<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let ended = self.ended();
        tokio::select! {
            biased;
            () = ended.cancelled() => Err(self.gone()),
            done = work => Ok(done),
        }
    }
}

/// A file that is being read.
struct Reading {
    file: Stream,
    link: Arc<Link>,
    path: String,
    instance: Arc<DockerInstance>,
    /// Bytes that it had when it was opened and that have not come: what is added meanwhile is not read.
    left: u64,
    piece: usize,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        let want = self.left.min(self.piece as u64) as usize;
        if want == 0 {
            return Ok(None);
        }
        let mut bytes = BytesMut::new();
        while bytes.len() < want {
            match self.file.read(want - bytes.len()).await {
                Ok(more) if more.is_empty() => break,
                Ok(more) if bytes.is_empty() && more.len() == want => {
                    self.left -= want as u64;
                    return Ok(Some((more, self)));
                }
                Ok(more) => bytes.extend_from_slice(&more),
                Err(_) if self.link.closed().is_cancelled() => {
                    return Err(self.instance.lost(&self.link).await);
                }
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(0);
                    return Err(of_file(About::File, &self.path, &Trouble::Path, errno));
                }
            }
        }
        // It has become shorter meanwhile.
        self.left = if bytes.len() < want { 0 } else { self.left - want as u64 };
        Ok((!bytes.is_empty()).then(|| (bytes.freeze(), self)))
    }
}

/// A new file that has not taken its place; forgotten if its writer fails or goes.
struct Begun {
    link: Arc<Link>,
    id: Option<u32>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(target) = self.id {
            self.link.tell(&Request::Discard { target });
        }
    }
}
