//! Small scripts of ours, run in the sandbox for what envd has no call for. They are for any POSIX shell, with
//! the tools of coreutils or busybox.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Envd;
use super::error::silent;
use super::messages::{
    Empty, ProcessConfig, ProcessEvent, ProcessResponse, ProcessSelector, SendSignalRequest, Signal,
    StartRequest,
};
use super::process::{exit_of, keepalives};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Chunk, Exit};
use crate::random;
use crate::signal;
use crate::transport::Repeat;
use crate::transport::connect::{Code, Fault, Messages, Refusal};

/// What the tags of these scripts begin with.
const TAG: &str = "computesdk-script-";
/// How long one may be silent before its sandbox is given up: the server was asked to say something more often.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the end of its stream may take after its own.
const LAST: Duration = Duration::from_millis(100);
/// The most that one may write: a listing, at the longest.
const MOST: usize = 128 << 20;

/// Whether a tag is that of a script.
pub(super) fn is_ours(tag: Option<&str>) -> bool {
    tag.is_some_and(|tag| tag.starts_with(TAG))
}

/// Who runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum As {
    /// root, where there is one: it sees and does what belongs to anybody.
    Root,
    /// The user that commands run as.
    User,
}

/// A script that runs. Dropped before its end, it is ended.
pub(super) struct Script {
    envd: Envd,
    tag: String,
    messages: Messages<ProcessResponse>,
    ended: Option<Exit>,
}

/// What came of a script.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) stdout: Bytes,
    pub(super) stderr: String,
    pub(super) exit: Exit,
}

impl Envd {
    /// Runs a script to its end.
    pub(super) async fn run(&self, who: As, script: &str, args: &[&str]) -> Result<Ran> {
        let mut running = self.script(who, script, args).await?;
        let (mut stdout, mut stderr) = (BytesMut::new(), BytesMut::new());
        while let Some(chunk) = running.next().await? {
            let (stream, bytes) = chunk.parts();
            let kept = if stream == 0 { &mut stdout } else { &mut stderr };
            kept.extend_from_slice(bytes);
            if kept.len() > MOST {
                return Err(Error::new(
                    ErrorKind::QuotaExceeded,
                    "the sandbox has more to say than can be held",
                ));
            }
        }
        let exit = running.ended.unwrap_or(Exit::Signal(signal::KILL));
        Ok(Ran { stdout: stdout.freeze(), stderr: String::from_utf8_lossy(&stderr).into_owned(), exit })
    }

    /// Starts a script.
    pub(super) async fn script(&self, who: As, script: &str, args: &[&str]) -> Result<Script> {
        match self.script_as((who == As::Root).then_some("root"), script, args).await {
            // An image may have no root.
            Err(Fault::Refused(Refusal { code: Code::Unauthenticated, .. })) if who == As::Root => {
                match self.script_as(None, script, args).await {
                    Ok(script) => Ok(script),
                    Err(fault) => Err(self.error(fault).await),
                }
            }
            Ok(script) => Ok(script),
            Err(fault) => Err(self.error(fault).await),
        }
    }

    async fn script_as(&self, user: Option<&str>, script: &str, args: &[&str]) -> Result<Script, Fault> {
        let tag = format!("{TAG}{}", random::name()?);
        let config = ProcessConfig {
            cmd: "/bin/sh".to_owned(),
            args: ["-c", script, "computesdk"].iter().chain(args).map(|&arg| arg.to_owned()).collect(),
            cwd: Some("/".to_owned()),
            ..ProcessConfig::default()
        };
        let request =
            StartRequest { process: Some(config), tag: Some(tag.clone()), stdin: Some(false), pty: None };
        let mut headers = self.acting_as(user)?;
        keepalives(&mut headers);
        // Whoever is no longer interested when it has started has not stopped it.
        let starting = Starting { envd: self, tag: Some(&tag) };
        let mut messages: Messages<ProcessResponse> =
            self.service().stream("process.Process/Start", &request, &headers).await?;
        // A refusal comes in place of the start.
        messages.next().await?;
        starting.done();
        Ok(Script { envd: self.clone(), tag, messages, ended: None })
    }

    /// Ends a script, without waiting for that.
    fn end_script(&self, tag: &str) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (envd, process) = (self.clone(), Some(ProcessSelector::by_tag(tag)));
        runtime.spawn(async move {
            // Not killed: those that have made something clear it away.
            let request = SendSignalRequest { process, signal: Signal::Term.into() };
            envd.call::<_, Empty>("process.Process/SendSignal", &request, Repeat::Idempotent).await
        });
    }
}

/// A script that is being started.
struct Starting<'a> {
    envd: &'a Envd,
    tag: Option<&'a str>,
}

impl Starting<'_> {
    fn done(mut self) {
        self.tag = None;
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if let Some(tag) = self.tag {
            self.envd.end_script(tag);
        }
    }
}

impl Script {
    /// The next piece of what it writes; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>> {
        while self.ended.is_none() {
            let next = tokio::time::timeout(PATIENCE, self.messages.next()).await.map_err(|_| silent())?;
            let message = match next {
                Ok(message) => message,
                Err(fault) => return Err(self.envd.error(fault).await),
            };
            let Some(ProcessResponse { event }) = message else {
                return Err(Error::new(ErrorKind::Unavailable, "the sandbox stopped working on it"));
            };
            match event {
                Some(ProcessEvent { end: Some(end), .. }) => {
                    self.ended = Some(exit_of(&end));
                    let _ = tokio::time::timeout(LAST, self.messages.finish()).await;
                }
                Some(ProcessEvent { data: Some(data), .. }) => {
                    if let Some(bytes) = data.stdout {
                        return Ok(Some(Chunk::Stdout(bytes)));
                    }
                    if let Some(bytes) = data.stderr {
                        return Ok(Some(Chunk::Stderr(bytes)));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// How it ended, if it has.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.ended
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.envd.end_script(&self.tag);
        }
    }
}
