//! Files of a local sandbox.
//!
//! The agent resolves every path and hands out open files; bytes go between this process and the file. The
//! files are on the sandbox's own memory file system: reading and writing them cannot hang, and this
//! process looks before it touches. Anything else (`/proc`, what is mounted from the host) is copied by a
//! process in the sandbox, through a pipe.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use computesdk_agent::own::is_own;
use computesdk_agent::protocol::{self, Blob, Reply, Request, Trouble, decode};
use futures_util::{StreamExt, stream};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::error::{About, nonsense, of_file};
use super::instance::{LocalInstance, PATIENCE};
use super::link::{Answer, Ending};
use super::pipe::Pipe;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{ByteStream, Content, Entry, Exit, Files};

/// Content up to this size goes in one message, without a thread.
const SMALL: usize = 48 * 1024;
/// Bytes read or written at once otherwise.
const CHUNK: usize = 4 << 20;
/// The longest listing, in bytes: more than all files of a sandbox can be called.
const LISTING: usize = 128 << 20;
/// The most that is read of what is not the sandbox's own, whose size nobody can tell in advance.
const FOREIGN: usize = 256 << 20;
const PIPE: usize = 64 * 1024;

#[async_trait]
impl Files for LocalInstance {
    async fn read(&self, path: &str) -> Result<Content> {
        let (id, answer) = self.ask(|id| Request::Read { id, path: path.to_owned() }).await?;
        let mut descriptors = answer.descriptors.into_iter();
        match (answer.reply, descriptors.next(), answer.ending) {
            (Reply::Opened { .. }, Some(file), _) => self.content_of(path, file).await,
            (Reply::Started { .. }, Some(pipe), Some(ending)) => {
                let path = path.to_owned();
                let instance = self.myself()?;
                let bytes = stream::once(async move {
                    let read = async {
                        let bytes = read_all(Pipe::new(pipe)?, FOREIGN, &path).await?;
                        instance.outcome(About::File, &path, ending).await?;
                        Ok(bytes)
                    };
                    instance.job(id, &path, read).await
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
        let Answer { reply, descriptors, ending } = answer;
        let (Reply::Started { .. }, Some(pipe), Some(ending)) =
            (&reply, descriptors.into_iter().next(), ending)
        else {
            return Err(refused(About::Directory, path, reply));
        };
        let list = async {
            let listing = read_all(Pipe::new(pipe)?, LISTING, path).await?;
            self.outcome(About::Directory, path, ending).await?;
            Ok(listing)
        };
        let listing = self.job(id, path, list).await?;
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
                self.job(id, path, self.outcome(About::File, path, ending)).await
            }
            (reply, _) => Err(refused(About::File, path, reply)),
        }
    }
}

impl LocalInstance {
    /// Waits for a job, but not for ever: commands can stop it and starve it.
    async fn job<T>(&self, id: u32, path: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(result) => result,
            Err(_) => {
                self.tell_now(Request::Kill { target: id });
                let message = format!("the sandbox took longer than {} s for {path}", PATIENCE.as_secs());
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// Asks for something whose only answer is that it is done.
    async fn done(&self, about: About, path: &str, request: impl FnOnce(u32) -> Request) -> Result<()> {
        match self.ask(request).await?.1.reply {
            Reply::Done { .. } => Ok(()),
            reply => Err(refused(about, path, reply)),
        }
    }

    /// How a job ended: its exit code is what the kernel said.
    async fn outcome(&self, about: About, path: &str, mut ending: Ending) -> Result<()> {
        let exit = ending.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
        match exit {
            Some(Exit::Code(0)) => Ok(()),
            Some(Exit::Code(errno)) => Err(of_file(about, path, &Trouble::Path, errno)),
            // A command can kill whatever works for us in there.
            Some(Exit::Signal(_)) => {
                Err(Error::new(ErrorKind::Unavailable, format!("the sandbox stopped working on {path}")))
            }
            None => Err(self.gone()),
        }
    }

    /// The content of a file that the agent says is the sandbox's own.
    async fn content_of(&self, path: &str, file: OwnedFd) -> Result<Content> {
        let size = own_file(&file)?;
        // Sparse files may claim any size; none can hold more than the disk.
        if size > self.disk() {
            return Err(Error::invalid(format!(
                "{path} is larger than the sandbox's disk: {size} bytes, {} at most",
                self.disk()
            ))
            .with_hint("it is a sparse file; read a part of it with a command"));
        }
        if size <= SMALL as u64 {
            let bytes = read_at(&file, 0, size as usize).map_err(|errno| io(path, errno))?;
            return Ok(Content::from(bytes));
        }
        let file = Arc::new(file);
        let path = path.to_owned();
        let instance = self.myself()?;
        let bytes = stream::try_unfold(0, move |at: u64| {
            let (file, path, instance) = (Arc::clone(&file), path.clone(), Arc::clone(&instance));
            async move {
                if instance.link().closed().is_cancelled() {
                    return Err(instance.gone());
                }
                let want = (size - at).min(CHUNK as u64) as usize;
                if want == 0 {
                    return Ok(None);
                }
                let bytes =
                    blocking(move || read_at(&file, at, want)).await.map_err(|errno| io(&path, errno))?;
                let next = if bytes.is_empty() { size } else { at + bytes.len() as u64 };
                Ok(Some((bytes, next)))
            }
        });
        Ok(Content { size: Some(size), bytes: Box::pin(bytes) })
    }

    /// Writes a new file beside the old one and puts it into its place when it is complete.
    async fn replace(&self, path: &str, mut content: ByteStream) -> Result<()> {
        let (id, answer) = self.ask(|id| Request::Replace { id, path: path.to_owned() }).await?;
        let (Reply::Opened { .. }, Some(file)) = (&answer.reply, answer.descriptors.into_iter().next())
        else {
            return Err(refused(About::File, path, answer.reply));
        };
        let mut begun = Begun { instance: self, id: Some(id) };
        own_file(&file)?;
        let file = Arc::new(file);
        while let Some(mut bytes) = self.while_alive(content.next()).await?.transpose()? {
            // The file outlives the sandbox while it is open here: in small steps, its end is noticed.
            while !bytes.is_empty() {
                let (file, piece) = (Arc::clone(&file), bytes.split_to(bytes.len().min(CHUNK)));
                let written = blocking(move || write_all(&file, &piece));
                self.while_alive(written).await?.map_err(|errno| io(path, errno))?;
            }
        }
        drop(file);
        self.done(About::File, path, |commit| Request::Commit { id: commit, target: id }).await?;
        begun.id = None;
        Ok(())
    }

    /// What `work` comes to, or the error of a sandbox that has ended meanwhile.
    async fn while_alive<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.link().closed().cancelled() => Err(self.gone()),
            done = work => Ok(done),
        }
    }
}

/// A new file that has not taken its place; forgotten if its writer fails or goes.
struct Begun<'a> {
    instance: &'a LocalInstance,
    id: Option<u32>,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(target) = self.id {
            self.instance.tell_now(Request::Discard { target });
        }
    }
}

/// The size of a file that is safe to touch: a regular one, on the sandbox's own file system.
fn own_file(file: &OwnedFd) -> Result<u64> {
    let stat = rustix::fs::fstat(file).map_err(|_| nonsense())?;
    let own = is_own(file).map_err(|_| nonsense())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !own {
        return Err(nonsense());
    }
    Ok(stat.st_size as u64)
}

fn read_at(file: &OwnedFd, at: u64, most: usize) -> rustix::io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(most);
    while bytes.len() < most {
        let from = at + bytes.len() as u64;
        if rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), from)? == 0 {
            break;
        }
    }
    Ok(Bytes::from(bytes))
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::write(file, bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Runs work that moves many bytes away from the threads that serve everybody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> rustix::io::Result<T> + Send + 'static,
) -> rustix::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Errno::CANCELED))
}

/// Everything that comes through a pipe, up to `most` bytes.
async fn read_all(pipe: Pipe, most: usize, path: &str) -> Result<Bytes> {
    let mut all = BytesMut::new();
    loop {
        let bytes = pipe.read(PIPE).await.map_err(|_| nonsense())?;
        if bytes.is_empty() {
            return Ok(all.freeze());
        }
        all.extend_from_slice(&bytes);
        if all.len() > most {
            return Err(Error::new(ErrorKind::QuotaExceeded, format!("{path} is longer than {most} bytes")));
        }
    }
}

fn refused(about: About, path: &str, reply: Reply) -> Error {
    match reply {
        Reply::Failed { trouble, errno, .. } => of_file(about, path, &trouble, errno),
        _ => nonsense(),
    }
}

fn io(path: &str, errno: Errno) -> Error {
    of_file(About::File, path, &Trouble::Path, errno.raw_os_error())
}

fn entries(mut listing: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !listing.is_empty() {
        let (length, rest) = listing.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        entries.push(entry(decode(bytes)?));
        listing = rest;
    }
    Some(entries)
}

fn entry(entry: protocol::Entry) -> Entry {
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
