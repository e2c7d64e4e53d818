//! A program in the sandbox that keeps variables: one for each context.

use std::collections::BTreeMap;
use std::sync::Arc;

use computesdk::error::{Error, ErrorKind, Result};
use computesdk::provider::{Chunk, Command, Control, Output, Program, Wanted};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, mpsc};

use crate::sandbox::Sandbox;

const PYTHON: &str = include_str!("driver.py");
const JAVASCRIPT: &str = include_str!("driver.js");

const SIGINT: i32 = 2;

/// A language that there is a kernel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Python, by the `python3` of the sandbox.
    Python,
    /// JavaScript, by its `node`.
    JavaScript,
}

impl Language {
    /// The one of this name.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "python" => Some(Self::Python),
            "javascript" => Some(Self::JavaScript),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
        }
    }

    fn program(self) -> Vec<String> {
        let argv = match self {
            Self::Python => ["python3", "-u", "-c", PYTHON].as_slice(),
            Self::JavaScript => &["node", "-e", JAVASCRIPT],
        };
        argv.iter().map(|&argument| argument.to_owned()).collect()
    }

    /// Code that sets variables of the environment. Values are not escaped: the server does not either.
    fn setting(self, variables: &BTreeMap<String, String>) -> String {
        let lines = variables.iter().map(|(name, value)| match self {
            Self::Python => format!("import os; os.environ['{name}'] = '{value}'"),
            Self::JavaScript => format!("process.env['{name}'] = '{value}'"),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Code that takes them away again.
    fn deleting(self, variables: &BTreeMap<String, String>) -> String {
        let lines = variables.keys().map(|name| match self {
            Self::Python => format!("import os; del os.environ['{name}']"),
            Self::JavaScript => format!("delete process.env['{name}']"),
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A line that a kernel answers with.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Count { count: u64 },
    Stream { stream: String, text: String },
    Data { data: Map<String, Value>, main: bool },
    Error { error: Map<String, Value> },
    Idle { idle: bool },
}

/// A kernel.
#[derive(Debug)]
pub struct Kernel {
    language: Language,
    control: Arc<dyn Control>,
    /// One piece of code at a time has it.
    lines: Mutex<Lines>,
}

/// What it answers.
#[derive(Debug)]
struct Lines {
    output: Box<dyn Output>,
    buffer: Vec<u8>,
    /// Answers of a request that was left are not of the next.
    pending: usize,
}

impl Kernel {
    /// Starts one that works in a directory. One that is not there is passed over, as the server does.
    pub async fn start(sandbox: &Sandbox, language: Language, cwd: &str) -> Result<Arc<Self>> {
        let command =
            Command { program: Program::Args(language.program()), stdin: true, ..Command::default() };
        let process = sandbox.instance.spawn(&command).await?;
        let lines = Lines { output: process.output, buffer: Vec::new(), pending: 0 };
        let kernel = Arc::new(Self { language, control: process.control, lines: Mutex::new(lines) });
        kernel.ask(&mut *kernel.lines.lock().await, json!({ "cwd": cwd })).await?;
        Ok(kernel)
    }

    /// Ends it.
    pub async fn end(&self) {
        // One that has gone with its sandbox needs no end.
        let _ = self.control.kill().await;
    }

    /// Runs code after all that ran before; what it prints and gives goes to `to`, as lines of the server. When
    /// nobody listens any more, the code is interrupted.
    pub async fn execute(&self, code: &str, variables: &BTreeMap<String, String>, to: &mpsc::Sender<Value>) {
        let mut lines = self.lines.lock().await;
        let code = match variables.is_empty() {
            true => code.to_owned(),
            false => self.indented(code, &self.language.setting(variables)),
        };
        if self.converse(&mut lines, &code, to).await.is_err() {
            let lost = json!({
                "type": "error",
                "name": "UnexpectedEndOfExecution",
                "value": "Connection to the execution was closed before the execution was finished",
                "traceback": "",
            });
            let _ = to.send(lost).await;
            return;
        }
        if !variables.is_empty() {
            let request = json!({ "code": self.language.deleting(variables), "silent": true });
            // A kernel that is gone is told of by the next call.
            let _ = self.ask(&mut lines, request).await;
        }
    }

    /// Puts lines before code, as far to the right as that begins.
    fn indented(&self, code: &str, before: &str) -> String {
        let first = code.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let indent = &first[..first.len() - first.trim_start().len()];
        let before: Vec<_> = before.lines().map(|line| format!("{indent}{line}")).collect();
        format!("{}\n{code}", before.join("\n"))
    }

    async fn converse(&self, lines: &mut Lines, code: &str, to: &mpsc::Sender<Value>) -> Result<()> {
        lines.settle().await?;
        self.send(lines, &json!({ "code": code, "silent": false })).await?;
        loop {
            let line = tokio::select! {
                line = lines.next() => line?,
                () = to.closed() => {
                    self.control.signal(SIGINT).await?;
                    return Ok(());
                }
            };
            if matches!(line, Line::Idle { idle: true }) {
                lines.pending -= 1;
                return Ok(());
            }
            let _ = to.send(told(line)).await;
        }
    }

    /// Asks for something whose answer is that it is done.
    async fn ask(&self, lines: &mut Lines, request: Value) -> Result<()> {
        lines.settle().await?;
        self.send(lines, &request).await?;
        lines.settle().await
    }

    async fn send(&self, lines: &mut Lines, request: &Value) -> Result<()> {
        lines.pending += 1;
        self.control.write_stdin(format!("{request}\n").as_bytes()).await
    }
}

impl Lines {
    /// Waits until all that was asked is done.
    async fn settle(&mut self) -> Result<()> {
        while self.pending > 0 {
            if matches!(self.next().await?, Line::Idle { idle: true }) {
                self.pending -= 1;
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Line> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|error| {
                    Error::new(ErrorKind::Internal, format!("the kernel speaks in tongues: {error}"))
                });
            }
            match self.output.next(Wanted::BOTH).await {
                Some(Chunk::Stdout(bytes)) => self.buffer.extend_from_slice(&bytes),
                // What it says there is of its own end.
                Some(Chunk::Stderr(_)) => {}
                None => return Err(Error::new(ErrorKind::Unavailable, "the kernel has ended")),
            }
        }
    }
}

/// A line as the server writes it.
fn told(line: Line) -> Value {
    match line {
        Line::Count { count } => json!({ "type": "number_of_executions", "execution_count": count }),
        Line::Stream { stream, text } => {
            json!({ "type": stream, "text": text, "timestamp": jiff::Timestamp::now() })
        }
        Line::Data { data, main } => result(data, main),
        Line::Error { mut error } => {
            error.insert("type".to_owned(), "error".into());
            Value::Object(error)
        }
        Line::Idle { .. } => Value::Null,
    }
}

/// The kinds of a result that have a name of their own.
const KINDS: [(&str, &str); 10] = [
    ("text/plain", "text"),
    ("text/html", "html"),
    ("text/markdown", "markdown"),
    ("image/svg+xml", "svg"),
    ("image/png", "png"),
    ("image/jpeg", "jpeg"),
    ("application/pdf", "pdf"),
    ("text/latex", "latex"),
    ("application/json", "json"),
    ("application/javascript", "javascript"),
];

fn result(mut data: Map<String, Value>, main: bool) -> Value {
    let mut result = Map::new();
    result.insert("type".to_owned(), "result".into());
    for (kind, name) in KINDS {
        if let Some(value) = data.remove(kind) {
            result.insert(name.to_owned(), value);
        }
    }
    // A text that is quoted is given without its quotes.
    if let Some(Value::String(text)) = result.get_mut("text")
        && let Some(inner) = ['\'', '"'].iter().find_map(|&q| text.strip_prefix(q)?.strip_suffix(q))
    {
        *text = inner.to_owned();
    }
    result.insert("extra".to_owned(), Value::Object(data));
    result.insert("is_main_result".to_owned(), main.into());
    Value::Object(result)
}
