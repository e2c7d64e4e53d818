//! A process of a container: what it writes, and messages to the agent that started it.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use computesdk_agent::protocol::{PIECE, Request};
use tokio::time::timeout;

use super::instance::DockerInstance;
use super::link::Link;
use super::stream::Stream;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Chunk, Control, Exit, Output, Size, Wanted};
use crate::providers::answers::Ending;

/// How long an agent may take to end a command that it was told to kill.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a process writes: two streams, or what its terminal shows. The relay reads each up to what was in it when the
/// process ended, and then tells that it is over.
#[derive(Debug)]
pub(super) struct DockerOutput {
    stdout: Option<Arc<Stream>>,
    stderr: Option<Arc<Stream>>,
    ending: Ending,
    ended: bool,
}

impl DockerOutput {
    pub(super) fn new(stdout: Arc<Stream>, stderr: Option<Arc<Stream>>, ending: Ending) -> Self {
        Self { stdout: Some(stdout), stderr, ending, ended: false }
    }
}

/// The next piece of a stream; empty where there will be no more. Never ready on one that is over.
async fn next(stream: Option<&Arc<Stream>>) -> Bytes {
    match stream {
        Some(stream) => stream.read(PIECE).await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

#[async_trait]
impl Output for DockerOutput {
    async fn next(&mut self, wanted: Wanted) -> Option<Chunk> {
        loop {
            if self.stdout.is_none() && self.stderr.is_none() && self.ended {
                return None;
            }
            tokio::select! {
                // What is not wanted may be all that there is: then its reader is waited for.
                () = std::future::pending() => {}
                bytes = next(self.stdout.as_ref()), if wanted.stdout => match bytes.is_empty() {
                    true => self.stdout = None,
                    false => return Some(Chunk::Stdout(bytes)),
                },
                bytes = next(self.stderr.as_ref()), if wanted.stderr => match bytes.is_empty() {
                    true => self.stderr = None,
                    false => return Some(Chunk::Stderr(bytes)),
                },
                _ = self.ending.wait_for(Option::is_some), if !self.ended => self.ended = true,
            }
        }
    }
}

/// The handle to a process.
#[derive(Debug)]
pub(super) struct DockerControl {
    instance: Arc<DockerInstance>,
    /// The link that it was started over.
    link: Arc<Link>,
    id: u32,
    pid: u32,
    input: Mutex<Option<Input>>,
    ending: Ending,
}

/// What a process reads from. Its terminal is open as long as somebody reads it.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Pipe(Arc<Stream>),
    Terminal(Weak<Stream>),
}

impl DockerControl {
    pub(super) fn new(
        instance: Arc<DockerInstance>,
        link: Arc<Link>,
        (id, pid): (u32, u32),
        input: Option<Input>,
        ending: Ending,
    ) -> Self {
        Self { instance, link, id, pid, input: Mutex::new(input), ending }
    }

    fn input(&self) -> Option<Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn terminal(&self) -> Result<Weak<Stream>> {
        match self.input() {
            Some(Input::Terminal(terminal)) => Ok(terminal),
            _ => Err(Error::unsupported("this process has no terminal")),
        }
    }

    fn has_ended(&self) -> bool {
        self.ending.borrow().is_some() || self.link.closed().is_cancelled()
    }
}

impl Drop for DockerControl {
    fn drop(&mut self) {
        self.link.forget(self.id);
    }
}

#[async_trait]
impl Control for DockerControl {
    fn pid(&self) -> u32 {
        self.pid
    }

    async fn wait(&self) -> Result<Exit> {
        let mut ending = self.ending.clone();
        // The link can end first, and then nobody knows how the process ended.
        match ending.wait_for(Option::is_some).await.ok().and_then(|exit| *exit) {
            Some(exit) => Ok(exit),
            None => Err(self.instance.lost(&self.link).await),
        }
    }

    fn has_starved(&self) -> bool {
        self.link.has_starved(self.id)
    }

    async fn write_stdin(&self, bytes: &[u8]) -> Result<()> {
        let closed = || Error::new(ErrorKind::Unavailable, "the command no longer reads its input");
        let stream = match self.input().ok_or_else(closed)? {
            Input::Pipe(stream) => stream,
            Input::Terminal(terminal) => terminal.upgrade().ok_or_else(closed)?,
        };
        stream.write(bytes).await.map_err(|error| closed().with_source(error))
    }

    async fn close_stdin(&self) -> Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Input::Pipe(stream)) = input.take_if(|input| matches!(input, Input::Pipe(_))) {
            stream.finish();
        }
        Ok(())
    }

    async fn signal(&self, signal: i32) -> Result<()> {
        self.link.tell(&Request::Signal { target: self.id, signal });
        Ok(())
    }

    async fn kill(&self) -> Result<()> {
        self.link.tell(&Request::Kill { target: self.id });
        if !self.has_ended() {
            // Something in there can have stopped what carries this: then everybody who waits is told.
            let (link, mut ending) = (Arc::clone(&self.link), self.ending.clone());
            tokio::spawn(async move {
                if timeout(PATIENCE, ending.wait_for(Option::is_some)).await.is_err() {
                    link.close();
                }
            });
        }
        Ok(())
    }

    async fn resize(&self, size: Size) -> Result<()> {
        let closed = || Error::new(ErrorKind::Unavailable, "the terminal is closed");
        self.terminal()?.upgrade().ok_or_else(closed)?.resize(size.cols, size.rows);
        Ok(())
    }

    async fn hang_up(&self, grace: Duration) -> Result<()> {
        self.terminal()?;
        let target = self.id;
        let asked = self.link.ask(|id| Request::HangUp { id, target });
        match timeout(grace, asked).await {
            Ok(Ok(_)) | Err(_) => Ok(()),
            Ok(Err(_)) => Err(self.instance.lost(&self.link).await),
        }
    }
}
