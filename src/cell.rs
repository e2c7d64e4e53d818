//! Code in an interpreter that keeps its state, followed as a process is: read, limited, interrupted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::process::{Ending, Teller};
use crate::provider::{
    Cell, CellEvent, CellStream, Chunk, Control, Exit, Kernels, Output, Process, Size, Wanted,
};
use crate::signal;

/// What a piece of code has given so far, by its kinds.
pub(crate) type Results = Arc<Mutex<Vec<serde_json::Map<String, serde_json::Value>>>>;

/// Runs a piece of code; what it gives is added to `results`.
pub(crate) async fn execute(kernels: &dyn Kernels, cell: &Cell, results: &Results) -> Result<Process> {
    let events = kernels.execute(cell).await?;
    let (teller, ending) = Ending::to_come();
    let interrupted = CancellationToken::new();
    let output = CellOutput {
        events: Some(events),
        results: Arc::clone(results),
        interrupted: interrupted.clone(),
        raised: false,
        teller,
    };
    Ok(Process { output: Box::new(output), control: Arc::new(CellControl { interrupted, ending }) })
}

struct CellOutput {
    /// Dropped, the code is interrupted.
    events: Option<CellStream>,
    results: Results,
    interrupted: CancellationToken,
    raised: bool,
    teller: Teller,
}

impl std::fmt::Debug for CellOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CellOutput").field("raised", &self.raised).finish_non_exhaustive()
    }
}

impl CellOutput {
    fn end(&mut self, ended: Result<Exit>) {
        self.events = None;
        self.teller.tell(ended);
    }
}

#[async_trait]
impl Output for CellOutput {
    async fn next(&mut self, _: Wanted) -> Option<Chunk> {
        loop {
            let events = self.events.as_mut()?;
            let event = tokio::select! {
                biased;
                () = self.interrupted.cancelled() => {
                    self.end(Ok(Exit::Signal(signal::INT)));
                    return None;
                }
                event = events.next() => event,
            };
            match event {
                Some(Ok(CellEvent::Stdout(text))) => return Some(Chunk::Stdout(text.into())),
                Some(Ok(CellEvent::Stderr(text))) => return Some(Chunk::Stderr(text.into())),
                Some(Ok(CellEvent::Result(result))) => {
                    self.results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                }
                Some(Ok(CellEvent::Raised { name, value, traceback })) => {
                    self.raised = true;
                    return Some(Chunk::Stderr(told(&name, &value, &traceback)));
                }
                Some(Err(error)) => self.end(Err(error)),
                None => self.end(Ok(Exit::Code(i32::from(self.raised)))),
            }
        }
    }
}

/// An exception as a program would tell it at its end.
fn told(name: &str, value: &str, traceback: &str) -> Bytes {
    let mut text = plain(traceback);
    if text.trim().is_empty() {
        text = format!("{name}: {value}");
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.into()
}

/// Text without what only a terminal understands.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(one) = rest.next() {
        if one != '\u{1b}' {
            plain.push(one);
            continue;
        }
        // A control sequence ends with its first letter or sign from `@` on.
        if rest.next() == Some('[') {
            rest.by_ref().find(|one| ('@'..='~').contains(one));
        }
    }
    plain
}

#[derive(Debug)]
struct CellControl {
    interrupted: CancellationToken,
    ending: Ending,
}

fn no_process() -> Error {
    Error::unsupported("code in a `context` is no process of its own")
}

#[async_trait]
impl Control for CellControl {
    fn pid(&self) -> u32 {
        0
    }
    async fn wait(&self) -> Result<Exit> {
        self.ending.wait().await
    }
    async fn write_stdin(&self, _: &[u8]) -> Result<()> {
        Err(no_process())
    }
    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }
    async fn signal(&self, _: i32) -> Result<()> {
        Err(no_process())
    }
    async fn kill(&self) -> Result<()> {
        self.interrupted.cancel();
        Ok(())
    }
    async fn resize(&self, _: Size) -> Result<()> {
        Err(no_process())
    }
    async fn hang_up(&self, _: Duration) -> Result<()> {
        Err(no_process())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;

    use super::*;
    use crate::command::{self, RunOptions};

    /// An interpreter that says the same of every piece of code, and then ends or not.
    struct Says(Vec<CellEvent>, bool);

    #[async_trait]
    impl Kernels for Says {
        async fn execute(&self, _: &Cell) -> Result<CellStream> {
            let events = stream::iter(self.0.clone().into_iter().map(Ok));
            Ok(if self.1 { events.boxed() } else { events.chain(stream::pending()).boxed() })
        }
    }

    #[tokio::test]
    async fn what_it_prints_and_gives_is_kept_apart() {
        let given = serde_json::json!({ "text": "2" }).as_object().cloned().unwrap();
        let says = Says(
            vec![
                CellEvent::Stdout("out\n".to_owned()),
                CellEvent::Result(given.clone()),
                CellEvent::Stderr("err\n".to_owned()),
            ],
            true,
        );
        let (cell, results) = (Cell::default(), Results::default());
        let running = execute(&says, &cell, &results);
        let output = command::follow(running, RunOptions::default()).await.unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!((output.exit_code, results.lock().unwrap().as_slice()), (0, &[given][..]));
    }

    #[tokio::test]
    async fn an_exception_is_a_result_in_plain_text() {
        let raised = CellEvent::Raised {
            name: "ValueError".to_owned(),
            value: "no".to_owned(),
            traceback: "\u{1b}[0;31mValueError\u{1b}[0m: no".to_owned(),
        };
        let (says, cell, results) = (Says(vec![raised], true), Cell::default(), Results::default());
        let output = command::follow(execute(&says, &cell, &results), RunOptions::default()).await.unwrap();
        assert_eq!((output.exit_code, output.stderr.as_str()), (1, "ValueError: no\n"));
    }

    #[tokio::test]
    async fn a_timeout_interrupts_it_and_keeps_what_it_has_printed() {
        let says = Says(vec![CellEvent::Stdout("so far".to_owned())], false);
        let options = RunOptions { timeout: Some(Duration::from_millis(50)), ..RunOptions::default() };
        let (cell, results) = (Cell::default(), Results::default());
        let output = command::follow(execute(&says, &cell, &results), options).await.unwrap();
        assert_eq!((output.exit_code, output.timed_out, output.stdout.as_str()), (124, true, "so far"));
    }
}
