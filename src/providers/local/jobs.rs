//! Waiting for the jobs of a sandbox's agent: processes in there that do what takes time.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use computesdk_agent::protocol::{Blob, Halt, Reply, Request, Trouble, decode};

use super::error::{About, nonsense, of_copy, of_file};
use super::instance::{LocalInstance, PATIENCE};
use super::link::Answer;
use super::pipe::Pipe;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Exit;
use crate::providers::answers::Ending;

/// Bytes read from a pipe at once: what it holds.
const PIPE: usize = 64 * 1024;

/// The longest [`Halt`]: a path.
pub(in crate::providers) const HALT: usize = 8 * 1024;

/// A job that runs. Dropped before it has ended, it is killed.
pub(super) struct Job {
    instance: Arc<LocalInstance>,
    id: u32,
    path: String,
    /// Tells of its end; gone once that has come.
    ending: Option<Ending>,
}

impl Job {
    /// A job that the agent has started for the sake of a path.
    pub(super) fn new(instance: &LocalInstance, id: u32, path: &str, ending: Ending) -> Result<Self> {
        Ok(Self { instance: instance.myself()?, id, path: path.to_owned(), ending: Some(ending) })
    }

    /// What `work` comes to. It is waited for, but not for ever: commands can stop the job and starve it.
    async fn within_patience<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
            let message = format!("the sandbox took longer than {} s for {}", PATIENCE.as_secs(), self.path);
            Err(Error::new(ErrorKind::Timeout, message))
        })
    }

    /// Waits for its end: 0, or what the kernel said.
    pub(super) async fn end(mut self) -> Result<i32> {
        let Some(mut ending) = self.ending.clone() else { return Ok(0) };
        let exit = self
            .within_patience(async { Ok(ending.wait_for(Option::is_some).await.ok().and_then(|exit| *exit)) })
            .await?;
        self.ending = None;
        match exit {
            Some(Exit::Code(errno)) => Ok(errno),
            // A command can kill whatever works for us in there.
            Some(Exit::Signal(_)) => {
                let message = format!("the sandbox stopped working on {}", self.path);
                Err(Error::new(ErrorKind::Unavailable, message))
            }
            None => Err(self.instance.gone()),
        }
    }

    /// Waits for its end, which must be a good one.
    pub(super) async fn done(self, about: About) -> Result<()> {
        let path = self.path.clone();
        match self.end().await? {
            0 => Ok(()),
            errno => Err(of_file(about, &path, &Trouble::Path, errno)),
        }
    }

    /// The next piece of what it writes; empty at the end.
    pub(super) async fn read(&self, pipe: &Pipe) -> Result<Bytes> {
        self.within_patience(async { pipe.read(PIPE).await.map_err(|_| nonsense()) }).await
    }

    /// Everything that it writes, up to `most` bytes.
    pub(super) async fn read_all(&self, pipe: &Pipe, most: usize) -> Result<Bytes> {
        let read = async {
            let mut all = BytesMut::new();
            loop {
                let bytes = pipe.read(PIPE).await.map_err(|_| nonsense())?;
                if bytes.is_empty() {
                    return Ok(all.freeze());
                }
                all.extend_from_slice(&bytes);
                if all.len() > most {
                    let message = format!("{} is longer than {most} bytes", self.path);
                    return Err(Error::new(ErrorKind::QuotaExceeded, message));
                }
            }
        };
        self.within_patience(read).await
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.ending.is_some() {
            self.instance.tell_now(Request::Kill { target: self.id });
        }
    }
}

impl LocalInstance {
    /// Waits for a rename or a copy, which says what it failed at.
    pub(super) async fn copied(&self, from: &str, to: &str, (id, answer): (u32, Answer)) -> Result<()> {
        let Answer { reply, beside, ending } = answer;
        let nowhere = |trouble| Halt { trouble, below: Blob::default() };
        match (reply, beside.into_iter().next(), ending) {
            (Reply::Done { .. }, ..) => Ok(()),
            (Reply::Failed { trouble, errno, .. }, ..) => Err(of_copy(from, to, nowhere(trouble), errno)),
            (Reply::Started { .. }, Some(pipe), Some(ending)) => {
                let job = Job::new(self, id, from, ending)?;
                let halt = job.read_all(&Pipe::new(pipe)?, HALT).await?;
                match job.end().await? {
                    0 => Ok(()),
                    errno => {
                        let halt = decode(&halt).unwrap_or_else(|| nowhere(Trouble::Path));
                        Err(of_copy(from, to, halt, errno))
                    }
                }
            }
            _ => Err(nonsense()),
        }
    }
}
