//! An answer that comes as it happens, as server-sent events (HTML Standard, section 9.2).
//!
//! `stdout` and `stderr` carry `{ "text": … }`, as a command writes. The last one is `result`, with what would have been
//! the whole answer, or `error`, with what would have been that. In between, when nothing is to be told, a comment keeps
//! what lies on the way from closing the connection.
//!
//! What fails before anything was written is no stream but an answer with a status of its own, and so is code that does
//! not parse: its interpreter says that on standard error, which is why that alone does not begin a stream at once.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answer::Answer;
use crate::command::Listener;
use crate::error::{Error, ErrorKind, Result};

const NAMES: [&str; 2] = ["stdout", "stderr"];
const STDERR: usize = 1;

/// How long something that has begun may take to fail with a status of its own.
const HESITATION: Duration = Duration::from_millis(500);
/// How much of standard error may wait for that.
const HELD: usize = 16;
/// How long nothing is sent before a comment is: routers and proxies give up after 30 s and more.
const SILENCE: Duration = Duration::from_secs(15);
const COMMENT: &str = ": still at it\n\n";

/// What happens while a request is answered.
enum Happening {
    /// What can be told as it happens has begun.
    Begun,
    /// This was written to standard output (0) or standard error (1).
    Written(usize, String),
    /// The answer as a whole; nothing follows.
    Over(Box<Answer>),
}

/// Two ends: whoever does the work tells, and whoever has asked is told. `cancel` ends the work when nobody is told any
/// more.
pub(super) fn channel(most: usize, cancel: &CancellationToken) -> (Teller, Told) {
    // One at a time: what writes faster than its reader reads waits.
    let (sender, receiver) = mpsc::channel(1);
    let teller = Teller { sender, left: [most; 2] };
    (teller, Told { receiver, _work: cancel.clone().drop_guard() })
}

/// Tells what a command writes, up to a limit for each stream.
#[derive(Clone)]
pub(super) struct Teller {
    sender: mpsc::Sender<Happening>,
    left: [usize; 2],
}

impl Teller {
    /// The work has been allowed, and begins now.
    pub(super) async fn begin(&self) -> Result<()> {
        self.tell(Happening::Begun).await
    }

    /// The work is over.
    pub(super) async fn end(self, answer: Answer) {
        let _ = self.tell(Happening::Over(Box::new(answer))).await;
    }

    async fn tell(&self, happening: Happening) -> Result<()> {
        let sent = self.sender.send(happening).await;
        sent.map_err(|_| Error::new(ErrorKind::Aborted, "The client has gone"))
    }

    async fn write(&mut self, stream: usize, mut text: String) -> Result<()> {
        let left = &mut self.left[stream];
        let whole = text.len();
        let end = (0..=whole.min(*left)).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        // Once something is left out, nothing follows.
        *left = if text.len() < whole { 0 } else { *left - whole };
        if text.is_empty() {
            return Ok(());
        }
        self.tell(Happening::Written(stream, text)).await
    }
}

#[async_trait]
impl Listener for Teller {
    async fn stdout(&mut self, text: String) -> Result<()> {
        self.write(0, text).await
    }

    async fn stderr(&mut self, text: String) -> Result<()> {
        self.write(1, text).await
    }
}

/// What comes of a request. Dropped, the work ends.
pub(super) struct Told {
    receiver: mpsc::Receiver<Happening>,
    _work: DropGuard,
}

impl Told {
    /// The answer: all of it, if it is about nothing that goes on, or has failed at once; or else its events.
    pub(super) async fn answer(mut self) -> Answer {
        match self.receiver.recv().await {
            Some(Happening::Begun) => {}
            over => return whole(over),
        }
        let mut first = VecDeque::new();
        let until = Instant::now() + HESITATION;
        while let Ok(next) = timeout_at(until, self.receiver.recv()).await {
            let waits = matches!(next, Some(Happening::Written(STDERR, _))) && first.len() < HELD;
            match next {
                Some(Happening::Over(answer)) if answer.status != 200 => return *answer,
                Some(next) => first.push_back(next),
                None => return Answer::internal(),
            }
            if !waits {
                break;
            }
        }
        if first.is_empty() {
            first.push_back(Happening::Begun);
        }
        Answer::of_events(Events { first, rest: Some(self), silence: SILENCE })
    }
}

fn whole(last: Option<Happening>) -> Answer {
    match last {
        Some(Happening::Over(answer)) => *answer,
        _ => Answer::internal(),
    }
}

/// The events of an answer. Dropped, the work ends.
pub struct Events {
    first: VecDeque<Happening>,
    rest: Option<Told>,
    silence: Duration,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// A part of an answer that comes as it happens.
#[derive(Debug)]
pub struct Event {
    /// As it is to be sent.
    pub text: String,
    /// Of the last one what it was the end of; the body is in the text.
    pub last: Option<Box<Answer>>,
}

impl Events {
    /// The next; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        let told = self.rest.as_mut()?;
        let happening = match self.first.pop_front() {
            Some(first) => Ok(Some(first)),
            None => timeout(self.silence, told.receiver.recv()).await,
        };
        Some(match happening {
            Ok(Some(Happening::Written(stream, text))) => {
                let data = json!({ "text": text }).to_string();
                Event { text: event(NAMES[stream], &data), last: None }
            }
            Ok(Some(Happening::Begun)) | Err(_) => Event { text: COMMENT.to_owned(), last: None },
            Ok(last) => {
                self.rest = None;
                let mut answer = whole(last);
                let name = if answer.status == 200 { "result" } else { "error" };
                let text = event(name, &answer.body.take().unwrap_or_default());
                Event { text, last: Some(Box::new(answer)) }
            }
        })
    }
}

/// An event; `data` is in JSON, and so in one line, for those too who take more than the standard's for ends of lines.
fn event(name: &str, data: &str) -> String {
    let mut text = format!("event: {name}\ndata: ");
    for character in data.chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => text.push(character),
        }
    }
    text.push_str("\n\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::About;
    use crate::request::failure::Failure;

    fn over(status: u16) -> Answer {
        let mut answer = Answer::failed(
            Failure::told(Error::new(ErrorKind::CodeSyntax, "Syntax error: x")),
            About::default(),
        );
        answer.status = status;
        answer
    }

    async fn texts(mut events: Events) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(event) = events.next().await {
            assert_eq!(
                event.last.is_some(),
                event.text.starts_with("event: result") || event.text.starts_with("event: error")
            );
            texts.push(event.text);
        }
        texts
    }

    #[tokio::test]
    async fn what_is_written_comes_before_the_end_and_nothing_after_it() {
        let (mut teller, told) = channel(100, &CancellationToken::new());
        tokio::spawn(async move {
            teller.begin().await.unwrap();
            teller.stdout("a\u{2028}\u{85}\n".to_owned()).await.unwrap();
            teller.stderr("b".to_owned()).await.unwrap();
            teller.end(over(200)).await;
        });
        let texts = texts(told.answer().await.events.unwrap()).await;
        assert_eq!(texts[0], "event: stdout\ndata: {\"text\":\"a\\u2028\\u0085\\n\"}\n\n");
        assert_eq!(texts[1], "event: stderr\ndata: {\"text\":\"b\"}\n\n");
        assert!(texts[2].starts_with("event: result\ndata: {\"success\":"));
        assert_eq!(texts.len(), 3);
    }

    #[tokio::test]
    async fn code_that_does_not_parse_is_no_stream() {
        let (mut teller, told) = channel(100, &CancellationToken::new());
        tokio::spawn(async move {
            teller.begin().await.unwrap();
            teller.stderr("SyntaxError".to_owned()).await.unwrap();
            teller.end(over(422)).await;
        });
        let answer = told.answer().await;
        assert_eq!((answer.status, answer.events.is_none()), (422, true));
    }

    #[tokio::test]
    async fn who_says_nothing_is_still_at_it() {
        let (mut teller, told) = channel(100, &CancellationToken::new());
        tokio::spawn(async move {
            teller.begin().await.unwrap();
            tokio::time::sleep(HESITATION * 2).await;
            teller.stdout("at last".to_owned()).await.unwrap();
            teller.end(over(500)).await;
        });
        let events = told.answer().await.events.unwrap();
        let texts = texts(Events { silence: HESITATION / 5, ..events }).await;
        assert!(texts.len() > 4, "{texts:?}");
        let (comments, said) = texts.split_at(texts.len() - 2);
        assert!(comments.iter().all(|text| text == COMMENT), "{texts:?}");
        assert!(said[0].contains("at last") && said[1].starts_with("event: error"));
    }

    #[tokio::test]
    async fn a_limit_ends_between_characters_and_nothing_follows_it() {
        let (mut teller, told) = channel(4, &CancellationToken::new());
        tokio::spawn(async move {
            teller.begin().await.unwrap();
            teller.stdout("a".to_owned()).await.unwrap();
            teller.stdout("éé".to_owned()).await.unwrap();
            teller.stdout("b".to_owned()).await.unwrap();
            teller.end(over(200)).await;
        });
        let texts = texts(told.answer().await.events.unwrap()).await;
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts[1].contains("\"é\""));
    }

    #[tokio::test]
    async fn the_work_ends_with_who_is_told() {
        let work = CancellationToken::new();
        let (mut teller, told) = channel(100, &work);
        let telling = tokio::spawn(async move {
            teller.begin().await.unwrap();
            teller.stdout("a".to_owned()).await.unwrap();
            teller.stdout("b".to_owned()).await.and(teller.stdout("c".to_owned()).await)
        });
        let events = told.answer().await.events.unwrap();
        assert!(!work.is_cancelled());
        drop(events);
        assert!(work.is_cancelled());
        assert_eq!(telling.await.unwrap().unwrap_err().kind(), ErrorKind::Aborted);
    }
}
