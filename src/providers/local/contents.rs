//! Contents of files on the sandbox's own file system: read and written here, through open files that the
//! agent hands out.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use computesdk_agent::own::{is_of_kernel, is_own};
use computesdk_agent::protocol::{Access, Reply, Request, Trouble};
use futures_util::{StreamExt, stream};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::error::{About, nonsense, of_file};
use super::files::{SMALL, refused};
use super::instance::LocalInstance;
use crate::error::{Error, Result};
use crate::provider::{ByteStream, Content};

/// What `st_blocks` counts in.
const BLOCK: u64 = 512;

/// Bytes written at once: between two writes an end of the sandbox is seen.
const CHUNK: usize = 4 << 20;

impl LocalInstance {
    /// The content of a file that the agent says is the sandbox's own.
    pub(super) async fn content_of(&self, path: &str, file: OwnedFd, piece: usize) -> Result<Content> {
        let stat = regular_file(&file, is_own(&file))?;
        let size = stat.st_size as u64;
        // Sparse files may claim any size; none can hold more than the disk, but for one of the host's.
        if size > self.disk().max(stat.st_blocks as u64 * BLOCK) {
            return Err(Error::invalid(format!(
                "{path} is larger than the sandbox's disk: {size} bytes, {} at most",
                self.disk()
            ))
            .with_hint("it is a sparse file; read a part of it with a command"));
        }
        if size <= SMALL.min(piece) as u64 {
            let bytes = read_at(&file, 0, size as usize).map_err(|errno| io(path, errno))?;
            return Ok(Content::from(bytes));
        }
        let reading = Reading {
            file: Arc::new(file),
            path: path.to_owned(),
            instance: self.myself()?,
            at: 0,
            size,
            piece,
        };
        let bytes = stream::try_unfold(reading, Reading::next);
        Ok(Content { size: Some(size), bytes: Box::pin(bytes) })
    }

    /// Writes a new file beside the old one and puts it into its place when it is complete.
    pub(super) async fn replace(&self, path: &str, mut content: ByteStream) -> Result<()> {
        let (id, answer) = self.ask(|id| Request::Replace { id, path: path.to_owned() }).await?;
        let (Reply::Opened { .. }, Some(file)) = (&answer.reply, answer.beside.into_iter().next()) else {
            return Err(refused(About::File, path, answer.reply));
        };
        let mut begun = Begun { instance: self, id: Some(id) };
        if self.plan().mounts.iter().any(|lent| lent.access == Access::Write) {
            // It may be on any disk of this machine.
            regular_file(&file, is_of_kernel(&file).map(|kernels| !kernels))?;
        } else {
            regular_file(&file, is_own(&file))?;
        }
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
    pub(super) async fn while_alive<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.link().closed().cancelled() => Err(self.gone()),
            done = work => Ok(done),
        }
    }
}

/// A file that is being read.
struct Reading {
    file: Arc<OwnedFd>,
    path: String,
    instance: Arc<LocalInstance>,
    at: u64,
    size: u64,
    piece: usize,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        let want = (self.size - self.at).min(self.piece as u64) as usize;
        if want == 0 {
            return Ok(None);
        }
        let (file, at) = (Arc::clone(&self.file), self.at);
        let read = blocking(move || read_at(&file, at, want));
        let bytes = self.instance.while_alive(read).await?.map_err(|errno| io(&self.path, errno))?;
        // It has become shorter meanwhile.
        if bytes.len() < want {
            self.size = at + bytes.len() as u64;
        }
        self.at += bytes.len() as u64;
        Ok(Some((bytes, self)))
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

/// A file that is safe to touch: a regular one, on a file system that is fit for it.
fn regular_file(file: &OwnedFd, is_fit: rustix::io::Result<bool>) -> Result<Stat> {
    let stat = rustix::fs::fstat(file).map_err(|_| nonsense())?;
    let fit = is_fit.map_err(|_| nonsense())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !fit {
        return Err(nonsense());
    }
    Ok(stat)
}

/// Reads straight into the memory that the bytes will stay in.
fn read_at(file: &OwnedFd, at: u64, most: usize) -> rustix::io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(most);
    while bytes.len() < most {
        let from = at + bytes.len() as u64;
        if rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), from)? == 0 {
            break;
        }
    }
    bytes.truncate(most);
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

fn io(path: &str, errno: Errno) -> Error {
    of_file(About::File, path, &Trouble::Path, errno.raw_os_error())
}
