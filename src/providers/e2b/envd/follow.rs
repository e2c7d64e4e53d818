//! Following a process to its end, over a stream that can fall silent, be cut, or outlive it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, OptionFuture};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::error::{is_gone, nonsense, of_refusal, silent};
use super::messages::{
    DataEvent, Empty, EntryResponse, FileType, PathRequest, ProcessEvent, ProcessResponse, ProcessSelector,
    SendSignalRequest, Signal,
};
use super::process::exit_of;
use super::script::As;
use super::{Envd, Health};
use crate::error::{Error, ErrorKind, Result};
use crate::process::Teller;
use crate::provider::{Chunk, Exit};
use crate::signal;
use crate::transport::Repeat;
use crate::transport::connect::{Code, Fault, Messages, Refusal};

/// How long a stream may be silent: more than twice as long as the server was asked to be.
const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(400) } else { Duration::from_secs(12) };
/// The longest that one is waited for whose server never gives a sign of life by itself.
const LONGEST_PATIENCE: Duration = Duration::from_secs(192);
/// How soon after each other a process whose stream was cut is looked for again.
const AGAIN: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// How long that may take in all.
const LOST: Duration = Duration::from_secs(15);
/// When a process is looked at for the first time, to see whether only others hold its output open; then after twice
/// as long each time, so that what was over is noticed after twice the time that it took, at the latest.
const LOOK: Duration = Duration::from_millis(500);
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// After the end of a process: how long what it wrote last may take to arrive, and how much that can be.
const LATE: Duration = Duration::from_millis(100);
const LATE_BYTES: usize = 256 << 10;

/// A process, and who wants to know what becomes of it.
pub(super) struct Following {
    pub(super) envd: Envd,
    pub(super) process: ProcessSelector,
    pub(super) pid: u32,
    pub(super) is_terminal: bool,
    pub(super) messages: Messages<ProcessResponse>,
    pub(super) output: mpsc::UnboundedSender<Chunk>,
    pub(super) room: Arc<Semaphore>,
    pub(super) gaps: Arc<AtomicBool>,
}

/// What a message was.
enum Said {
    /// Output of so many bytes.
    Output(usize),
    /// A sign of life.
    Alive,
    /// The end.
    End(Exit),
}

impl Following {
    /// Follows it until it has ended, or nobody wants to know any more.
    pub(super) async fn follow(mut self, teller: Teller) {
        let (output, envd, over) = (self.output.clone(), self.envd.clone(), self.envd.over());
        let outcome = tokio::select! {
            outcome = self.until_the_end() => outcome,
            ((), ()) = async { tokio::join!(output.closed(), teller.unheard()) } => return,
            // The connections of a sandbox that has ended need not say so.
            () = over.cancelled() => Err(envd.gone().await),
        };
        teller.tell(outcome);
        // Nobody waits for the end of the stream, which has nothing more to say.
        let Self { mut messages, output: own, .. } = self;
        drop((output, own));
        let _ = timeout(LATE, messages.finish()).await;
    }

    async fn until_the_end(&mut self) -> Result<Exit> {
        let (mut patience, mut gives_signs) = (PATIENCE, false);
        // However often the process is looked at meanwhile.
        let mut heard = Instant::now();
        let mut look = LOOK;
        let mut next_look = Instant::now() + look;
        let mut looking: OptionFuture<BoxFuture<'static, Option<Exit>>> = None.into();
        let mut is_looking = false;
        loop {
            tokio::select! {
                said = timeout_at(heard + patience, self.messages.next()) => match said {
                    Ok(Ok(Some(response))) => {
                        match self.hear(response).await? {
                            Said::End(exit) => return Ok(exit),
                            Said::Alive => gives_signs = true,
                            Said::Output(_) => {}
                        }
                        heard = Instant::now();
                    }
                    Ok(Err(Fault::Refused(refusal))) => return Err(of_refusal(&refusal)),
                    Ok(Err(Fault::Nonsense(reason))) => return Err(nonsense(&reason)),
                    Ok(Ok(None) | Err(Fault::Lost(_) | Fault::Foreign(_))) => {
                        self.gaps.store(true, Ordering::Relaxed);
                        self.listen_again().await?;
                        heard = Instant::now();
                    }
                    Err(_) => {
                        if self.envd.health().await == Health::Gone {
                            return Err(self.envd.gone().await);
                        }
                        // Some servers never give a sign of life: their silence means less each time.
                        if gives_signs {
                            self.gaps.store(true, Ordering::Relaxed);
                        } else {
                            patience = (patience * 2).min(LONGEST_PATIENCE);
                        }
                        self.listen_again().await?;
                        heard = Instant::now();
                    }
                },
                () = sleep_until(next_look), if !is_looking && !self.is_terminal => {
                    let (envd, pid) = (self.envd.clone(), self.pid);
                    let looked: BoxFuture<'static, _> = Box::pin(async move { envd.exit_of(pid).await });
                    looking = Some(looked).into();
                    is_looking = true;
                }
                exit = &mut looking, if is_looking => {
                    (is_looking, looking) = (false, None.into());
                    if let Some(exit) = exit.flatten() {
                        return self.hear_the_last(exit).await;
                    }
                    look = (look * 2).min(LONGEST_LOOK);
                    next_look = Instant::now() + look;
                }
            }
        }
    }

    /// Passes on what was said. Waits for room, unless everything is taken.
    async fn hear(&mut self, response: ProcessResponse) -> Result<Said> {
        let Some(ProcessEvent { data, end, .. }) = response.event else { return Ok(Said::Alive) };
        if let Some(end) = end {
            return Ok(Said::End(exit_of(&end)));
        }
        let Some(DataEvent { stdout, stderr, pty }) = data else { return Ok(Said::Alive) };
        let chunk = match (stdout.or(pty), stderr) {
            (Some(bytes), _) => Chunk::Stdout(bytes),
            (None, Some(bytes)) => Chunk::Stderr(bytes),
            (None, None) => return Ok(Said::Alive),
        };
        let length = chunk.parts().1.len();
        if self.output.is_closed() {
            self.tell_that_nobody_reads();
            return Ok(Said::Output(length));
        }
        self.until_there_is_room().await?;
        let _ = self.output.send(chunk);
        Ok(Said::Output(length))
    }

    /// Waits for a reader, as long as there is something to read from.
    async fn until_there_is_room(&mut self) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                room = self.room.acquire() => {
                    if let Ok(room) = room {
                        room.forget();
                    }
                    return Ok(());
                }
                () = self.output.closed() => return Ok(()),
                () = sleep(PATIENCE) => {
                    if self.envd.health().await == Health::Gone {
                        return Err(self.envd.gone().await);
                    }
                }
            }
        }
    }

    /// The writer is told, as a pipe would tell it.
    fn tell_that_nobody_reads(&self) {
        if self.is_terminal || self.room.is_closed() {
            return;
        }
        self.room.close();
        let (envd, pid) = (self.envd.clone(), self.pid);
        tokio::spawn(async move { envd.send_signal(signal::PIPE, pid).await });
    }

    /// Finds the process again whose stream was lost.
    async fn listen_again(&mut self) -> Result<()> {
        let begun = Instant::now();
        for pause in AGAIN {
            sleep(pause).await;
            match self.envd.connect(self.process.clone()).await {
                Ok((messages, _)) => {
                    self.messages = messages;
                    return Ok(());
                }
                Err(Fault::Refused(Refusal { code: Code::NotFound, .. })) => return Err(ended_unheard()),
                Err(Fault::Foreign(foreign)) if is_gone(&foreign) => return Err(self.envd.gone().await),
                Err(_) if begun.elapsed() < LOST => {}
                Err(_) => break,
            }
        }
        Err(silent())
    }

    /// The process has ended, and its stream has not: others hold it open. What it wrote itself has been sent.
    async fn hear_the_last(&mut self, exit: Exit) -> Result<Exit> {
        let mut heard = 0;
        while heard < LATE_BYTES {
            match timeout(LATE, self.messages.next()).await {
                Ok(Ok(Some(response))) => match self.hear(response).await? {
                    Said::End(exit) => return Ok(exit),
                    Said::Output(bytes) => heard += bytes,
                    Said::Alive => {}
                },
                _ => break,
            }
        }
        Ok(exit)
    }
}

fn ended_unheard() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the connection was cut, and the command has ended meanwhile: it is not known how",
    )
    .with_hint("newer templates remember how commands have ended: build the template again")
}

impl Envd {
    /// How a process has ended that envd still waits for, because others hold its output open.
    async fn exit_of(&self, pid: u32) -> Option<Exit> {
        // The program of one that has ended leads nowhere; nothing needs to be started to see that.
        let request = PathRequest { path: format!("/proc/{pid}/exe") };
        let found: Result<EntryResponse> =
            self.call("filesystem.Filesystem/Stat", &request, Repeat::Idempotent).await;
        match found {
            Ok(EntryResponse { entry: Some(program) }) if program.kind != FileType::File as i32 => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // It waits for nothing but the others, and is told not to. Nobody else hears the signal.
                let process = Some(ProcessSelector::by_pid(pid));
                let request = SendSignalRequest { process, signal: Signal::Term.into() };
                let _ = self.call::<_, Empty>("process.Process/SendSignal", &request, Repeat::Unsent).await;
                return None;
            }
            _ => return None,
        }
        let ran = self.run(As::Root, r#"cat "/proc/$1/stat""#, &[&pid.to_string()]).await.ok()?;
        exit_of_dead(&String::from_utf8_lossy(&ran.stdout))
    }
}

/// How a process has ended that nobody has waited for yet, by its line in `/proc` (`proc_pid_stat(5)`).
fn exit_of_dead(stat: &str) -> Option<Exit> {
    // Its name can have anything in it.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    if !matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    let status: i32 = fields.get(49)?.parse().ok()?;
    Some(match status & 0x7F {
        0 => Exit::Code(status >> 8 & 0xFF),
        signal => Exit::Signal(signal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_dead_has_ended() {
        let line =
            |state: &str, status: &str| format!("7 (a) Z b) {state} 1 {} {status}\n", ["0"; 47].join(" "));
        assert_eq!(exit_of_dead(&line("S", "0")), None);
        assert_eq!(exit_of_dead(&line("Z", "768")), Some(Exit::Code(3)));
        assert_eq!(exit_of_dead(&line("Z", "9")), Some(Exit::Signal(9)));
        assert_eq!(exit_of_dead(&line("Z", "139")), Some(Exit::Signal(11)));
        assert_eq!(exit_of_dead(""), None);
    }
}
