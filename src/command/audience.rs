//! Somebody who wants to see what a command writes as it comes.

use std::collections::VecDeque;
use std::pin::Pin;

use async_trait::async_trait;

use super::text::Utf8;
use crate::error::Result;
use crate::provider::Chunk;

/// Somebody who wants to see output as it arrives. An error kills the command and is what the run fails
/// with; the command is not read further before the listener is ready.
#[async_trait]
pub trait Listener: Send {
    /// Text from standard output; never a part of a character.
    async fn stdout(&mut self, text: String) -> Result<()>;
    /// Text from standard error; never a part of a character.
    async fn stderr(&mut self, text: String) -> Result<()>;
}

/// Tells a listener of output, one piece after the other.
pub(super) struct Audience {
    texts: [Utf8; 2],
    listens: bool,
    listener: Option<Box<dyn Listener>>,
    untold: VecDeque<(usize, String)>,
    telling: Option<Telling>,
}

/// A piece that the listener is at; the listener comes back with the outcome.
type Telling = Pin<Box<dyn Future<Output = (Box<dyn Listener>, Result<()>)> + Send>>;

impl Audience {
    pub(super) fn new(listener: Option<Box<dyn Listener>>) -> Self {
        Self {
            texts: Default::default(),
            listens: listener.is_some(),
            listener,
            untold: VecDeque::new(),
            telling: None,
        }
    }

    pub(super) fn tell(&mut self, chunk: &Chunk) {
        if self.listens {
            let (stream, bytes) = chunk.parts();
            let text = self.texts[stream].decode(bytes);
            self.add(stream, text);
        }
    }

    /// Tells what is left of a character that will not be completed.
    pub(super) fn finish(&mut self) {
        for stream in 0..2 {
            let rest = self.texts[stream].finish();
            self.add(stream, rest);
        }
    }

    fn add(&mut self, stream: usize, text: String) {
        if self.listens && !text.is_empty() {
            self.untold.push_back((stream, text));
            self.tell_next();
        }
    }

    fn tell_next(&mut self) {
        if self.untold.is_empty() {
            return;
        }
        let Some(mut listener) = self.listener.take() else { return };
        let Some((stream, text)) = self.untold.pop_front() else { return };
        self.telling = Some(Box::pin(async move {
            let told = if stream == 0 { listener.stdout(text).await } else { listener.stderr(text).await };
            (listener, told)
        }));
    }

    /// Tells nothing more.
    pub(super) fn hush(&mut self) {
        self.listens = false;
        self.telling = None;
        self.untold.clear();
    }

    pub(super) fn is_telling(&self) -> bool {
        self.telling.is_some()
    }

    /// Waits until the listener has taken its piece, and gives it the next. One that fails hears no more.
    pub(super) async fn told(&mut self) -> Result<()> {
        let Some(telling) = &mut self.telling else { return Ok(()) };
        let (listener, told) = telling.await;
        self.telling = None;
        match told {
            Ok(()) => {
                self.listener = Some(listener);
                self.tell_next();
            }
            Err(_) => self.listens = false,
        }
        told
    }
}
