//! Interpreters that keep their state: a server of E2B's templates for code, beside envd in the sandbox.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Request, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::envd::{Envd, Health};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{ByteStream, Cell, CellEvent, CellStream};
use crate::transport::connect::{Fault, Foreign};
use crate::transport::{Answer, Http, Repeat};

/// The port that it listens on.
pub(crate) const PORT: u16 = 49999;

/// How long it may be silent before it is asked whether its sandbox is still there; it says something every 5 s.
const PATIENCE: Duration = Duration::from_secs(12);
/// The longest line: a picture can be one.
const LONGEST: usize = 256 << 20;

/// The interpreters of one sandbox.
pub(crate) struct Kernel {
    base: String,
    headers: HeaderMap,
    /// The ids of the contexts that were made, by name and language.
    contexts: Mutex<HashMap<(String, String), Context>>,
}

/// The id of a context, once it is made.
type Context = Arc<OnceCell<String>>;

impl Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("base", &self.base).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct NewContext<'a> {
    language: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<&'a str>,
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

#[derive(Serialize)]
struct Execute<'a> {
    code: &'a str,
    context_id: &'a str,
    env_vars: &'a std::collections::BTreeMap<String, String>,
}

impl Kernel {
    /// Those at an address, which get these headers with every request.
    pub(crate) fn new(base: &str, headers: HeaderMap) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), headers, contexts: Mutex::default() }
    }

    /// Runs a piece of code, as [`Kernels::execute`](crate::provider::Kernels::execute) says. `envd` knows whether the
    /// sandbox is there.
    pub(crate) async fn execute(&self, envd: &Envd, cell: &Cell) -> Result<CellStream> {
        let key = (cell.context.clone(), language(&cell.language).to_owned());
        let context = self.context(&key);
        let id = context.get_or_try_init(|| self.make(envd, &key.1, cell.cwd.as_deref())).await?;
        if let Some(answer) = self.begin(envd, cell, id).await? {
            return Ok(events(envd, answer));
        }
        // The interpreters were started anew, and it is forgotten there: so it is here, and begins again.
        self.forget(&key, &context);
        let context = self.context(&key);
        let id = context.get_or_try_init(|| self.make(envd, &key.1, cell.cwd.as_deref())).await?;
        match self.begin(envd, cell, id).await? {
            Some(answer) => Ok(events(envd, answer)),
            None => Err(Error::new(ErrorKind::Unavailable, "the sandbox forgets its contexts at once")),
        }
    }

    fn context(&self, key: &(String, String)) -> Context {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(contexts.entry(key.clone()).or_default())
    }

    fn forget(&self, key: &(String, String), context: &Context) {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        if contexts.get(key).is_some_and(|known| Arc::ptr_eq(known, context)) {
            contexts.remove(key);
        }
    }

    async fn make(&self, envd: &Envd, language: &str, cwd: Option<&str>) -> Result<String> {
        let answer = self.post(envd, "contexts", &NewContext { language, cwd }).await?;
        if !answer.status().is_success() {
            return Err(refused(envd, Foreign::read(answer).await?).await);
        }
        let made: Made = serde_json::from_slice(&answer.bytes().await?).map_err(nonsense)?;
        Ok(made.id)
    }

    /// Begins to run a piece of code; `None` if there is no such context.
    async fn begin(&self, envd: &Envd, cell: &Cell, context: &str) -> Result<Option<Answer>> {
        let execute = Execute { code: &cell.source, context_id: context, env_vars: &cell.env };
        let answer = self.post(envd, "execute", &execute).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(answer)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refused(envd, Foreign::read(answer).await?).await),
        }
    }

    /// Sends a request. It waits for its turn there, as long as the sandbox lives.
    async fn post(&self, envd: &Envd, path: &str, body: &impl Serialize) -> Result<Answer> {
        let address = format!("{}/{path}", self.base);
        let url = Url::parse(&address)
            .map_err(|error| Error::invalid(format!("`{address}` is no URL: {error}")))?;
        let mut request = Request::new(Method::POST, url);
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(serde_json::to_vec(body).map_err(nonsense)?.into());
        let answer = Http::shared()?.send(request, Repeat::Unsent);
        tokio::pin!(answer);
        loop {
            match timeout(PATIENCE, &mut answer).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => return Err(envd.error(Fault::Lost(error)).await),
                Err(_) if envd.health().await == Health::Gone => return Err(envd.gone().await),
                Err(_) => {}
            }
        }
    }
}

/// What it calls a language.
fn language(name: &str) -> &str {
    match name {
        "node" => "javascript",
        name => name,
    }
}

/// The error of an answer that is none of the interpreters'.
async fn refused(envd: &Envd, foreign: Foreign) -> Error {
    let is_closed = foreign.status == StatusCode::BAD_GATEWAY
        && String::from_utf8_lossy(&foreign.body).contains("port is not open");
    if is_closed {
        return Error::unsupported("`context`: this sandbox has no interpreters that keep their state")
            .with_hint("create it from the template `code-interpreter-v1`, or one that is built on it");
    }
    envd.error(Fault::Foreign(foreign)).await
}

fn nonsense(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, "the interpreter answered what cannot be understood").with_source(error)
}

/// What a piece of code prints and gives. Dropped, the connection is closed, which interrupts the code.
fn events(envd: &Envd, answer: Answer) -> CellStream {
    let running =
        Running { envd: envd.clone(), bytes: answer.stream(), lines: Lines::default(), is_over: false };
    stream::try_unfold(running, Running::next).boxed()
}

struct Running {
    envd: Envd,
    bytes: ByteStream,
    lines: Lines,
    is_over: bool,
}

impl Running {
    async fn next(mut self) -> Result<Option<(CellEvent, Self)>> {
        while !self.is_over {
            if let Some(line) = self.lines.next() {
                match read(&line)? {
                    Line::Event(event) => {
                        // Nothing follows an exception but the end.
                        self.is_over = matches!(event, CellEvent::Raised { .. });
                        return Ok(Some((event, self)));
                    }
                    Line::End => self.is_over = true,
                    Line::Nothing => {}
                }
                continue;
            }
            match timeout(PATIENCE, self.bytes.next()).await {
                Ok(Some(Ok(bytes))) => self.lines.push(&bytes)?,
                Ok(Some(Err(error))) => return Err(self.envd.error(Fault::Lost(error)).await),
                Ok(None) => {
                    let cut = Error::new(ErrorKind::Unavailable, "the code was cut off before its end");
                    return Err(self.envd.error(Fault::Lost(cut)).await);
                }
                Err(_) => {
                    let silent = Error::new(ErrorKind::Unavailable, "the interpreter does not answer");
                    return Err(self.envd.error(Fault::Lost(silent)).await);
                }
            }
        }
        Ok(None)
    }
}

/// Lines, out of bytes that arrive in pieces of any size.
#[derive(Default)]
struct Lines {
    bytes: BytesMut,
    /// Up to here there is no end of a line.
    seen: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > LONGEST {
            return Err(Error::new(ErrorKind::QuotaExceeded, "the code gave more at once than can be held"));
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Bytes> {
        let Some(at) = self.bytes[self.seen..].iter().position(|byte| *byte == b'\n') else {
            self.seen = self.bytes.len();
            return None;
        };
        let line = self.bytes.split_to(self.seen + at + 1).freeze();
        self.seen = 0;
        Some(line)
    }
}

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Event(CellEvent),
    End,
    /// A sign of life, or what nobody needs to know.
    Nothing,
}

pub(super) fn read(line: &[u8]) -> Result<Line> {
    if line.trim_ascii().is_empty() {
        return Ok(Line::Nothing);
    }
    let mut said: Map<String, Value> = serde_json::from_slice(line).map_err(nonsense)?;
    let kind = said.remove("type");
    let mut text = |key: &str| match said.remove(key) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    Ok(match kind.as_ref().and_then(Value::as_str) {
        Some("stdout") => Line::Event(CellEvent::Stdout(text("text"))),
        Some("stderr") => Line::Event(CellEvent::Stderr(text("text"))),
        Some("error") => {
            let (name, value, traceback) = (text("name"), text("value"), text("traceback"));
            if name == "UnexpectedEndOfExecution" {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("the interpreter has ended: {value}"),
                )
                .with_hint("it may have had too little memory; its variables are lost"));
            }
            Line::Event(CellEvent::Raised { name, value, traceback })
        }
        Some("result") => {
            said.remove("extra");
            Line::Event(CellEvent::Result(said))
        }
        Some("end_of_execution") => Line::End,
        _ => Line::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_wherever_they_are_split() {
        let told = b"{\"type\":\"stdout\",\"text\":\"a\"}\n\n{\"type\":\"end_of_execution\"}\n";
        for at in 0..=told.len() {
            let mut lines = Lines::default();
            let mut read_so_far = Vec::new();
            for piece in [&told[..at], &told[at..]] {
                lines.push(piece).unwrap();
                while let Some(line) = lines.next() {
                    read_so_far.push(read(&line).unwrap());
                }
            }
            let out = Line::Event(CellEvent::Stdout("a".to_owned()));
            assert_eq!(read_so_far, [out, Line::Nothing, Line::End], "split at {at}");
        }
    }

    #[test]
    fn what_an_interpreter_says_is_understood() {
        let result =
            read(br#"{"type":"result","text":"2","png":"iVBO","extra":{},"is_main_result":true}"#).unwrap();
        let Line::Event(CellEvent::Result(given)) = result else { panic!("{result:?}") };
        let kinds: Vec<_> = given.keys().map(String::as_str).collect();
        assert_eq!(kinds, ["is_main_result", "png", "text"]);
        let raised = read(br#"{"type":"error","name":"E","value":"v","traceback":"t"}"#).unwrap();
        let [name, value, traceback] = ["E", "v", "t"].map(str::to_owned);
        assert_eq!(raised, Line::Event(CellEvent::Raised { name, value, traceback }));
        for nothing in
            [r#"{"type":"keepalive"}"#, r#"{"type":"number_of_executions","execution_count":1}"#, "{}"]
        {
            assert_eq!(read(nothing.as_bytes()).unwrap(), Line::Nothing);
        }
        let lost =
            read(br#"{"type":"error","name":"UnexpectedEndOfExecution","value":"killed","traceback":""}"#);
        assert_eq!(lost.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(read(b"<html>").is_err());
    }
}
