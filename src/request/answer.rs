//! What comes of a request: a status, headers, and JSON.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};

use super::events::Events;
use super::failure::{Failure, METHOD_NOT_ALLOWED};
use super::head::Head;
use crate::code::Language;
use crate::command::Output;
use crate::error::Error;
use crate::provider::{Entry, Info, Limits};
use crate::signal;

/// An answer, ready to be sent.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body, in JSON, if there is one.
    pub body: Option<String>,
    /// The body, where it comes as it happens.
    pub events: Option<Events>,
    /// What it is about.
    pub about: About,
    /// What went wrong, in full. Not for the client.
    pub failure: Option<Error>,
}

/// How long a browser may remember that a page of another site may ask, in seconds.
const REMEMBERED: &str = "600";

impl Answer {
    /// What is told where even the telling has failed.
    pub fn internal() -> Self {
        let error = Error::new(crate::error::ErrorKind::Internal, "the answer could not be made");
        Self::failed(Failure::hidden(error), About::default())
    }

    pub(super) fn done(outcome: &Outcome, about: About) -> Self {
        let body = serde_json::to_string(&Success { success: true, about: &about, status: 200, outcome });
        match body {
            Ok(body) => Self { about, ..Self::new(200, Some(body)) },
            Err(_) => Self::internal(),
        }
    }

    pub(super) fn failed(failure: Failure, about: About) -> Self {
        let Failure { status, code, message, error } = failure;
        let refusal = Refusal { success: false, error: &message, code, about: &about, status };
        let mut answer = Self::new(status, serde_json::to_string(&refusal).ok());
        if code == METHOD_NOT_ALLOWED {
            answer.headers.push(("allow", "POST".to_owned()));
        }
        if let Some(wait) = error.retry_after() {
            answer.headers.push(("retry-after", wait.as_secs_f64().ceil().to_string()));
        }
        Self { about, failure: Some(error), ..answer }
    }

    /// That a page of another site may ask.
    pub(super) fn preflight(head: &Head) -> Self {
        let mut answer = Self::new(204, None);
        answer.headers.extend([
            ("access-control-allow-methods", "POST".to_owned()),
            ("access-control-allow-headers", head.asked_headers().to_owned()),
            ("access-control-max-age", REMEMBERED.to_owned()),
        ]);
        answer
    }

    /// One that comes as it happens.
    pub(super) fn of_events(events: Events) -> Self {
        let headers = [
            // What compresses, or buffers, keeps an answer until it has much of it, unless it is told not to.
            ("cache-control", "no-store, no-transform"),
            ("x-accel-buffering", "no"),
            ("x-content-type-options", "nosniff"),
            ("content-type", "text/event-stream"),
        ];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).into();
        Self { headers, events: Some(events), ..Self::new(200, None) }
    }

    fn new(status: u16, body: Option<String>) -> Self {
        let mut headers =
            vec![("cache-control", "no-store".to_owned()), ("x-content-type-options", "nosniff".to_owned())];
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        Self { status, headers, body, events: None, about: About::default(), failure: None }
    }

    /// Lets the page that has asked read it.
    pub(super) fn let_read(&mut self, origin: &str) {
        self.headers.extend([
            ("access-control-allow-origin", origin.to_owned()),
            ("access-control-allow-credentials", "true".to_owned()),
        ]);
    }
}

/// What an answer is about, as far as it is known.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// The name of its provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What was asked for. Not for the client.
    #[serde(skip)]
    pub action: Option<&'static str>,
    /// On whose behalf. Not for the client.
    #[serde(skip)]
    pub owner: Option<String>,
}

#[derive(Serialize)]
struct Success<'a> {
    success: bool,
    #[serde(flatten)]
    about: &'a About,
    status: u16,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

#[derive(Serialize)]
struct Refusal<'a> {
    success: bool,
    error: &'a str,
    code: &'a str,
    #[serde(flatten)]
    about: &'a About,
    status: u16,
}

/// What an action gives, under the name that the client finds it by.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Outcome {
    Result(Box<Ran>),
    Info(Box<Facts>),
    Url(String),
    FileContent(String),
    Files(Vec<File>),
    Exists(bool),
    Sandboxes(Vec<Listed>),
    #[serde(untagged)]
    Nothing {},
}

/// What came of a command or of code.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ran {
    stdout: String,
    stderr: String,
    exit_code: i32,
    duration_ms: u64,
    execution_time: u64,
    sandbox_id: String,
    provider: String,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    #[serde(skip_serializing_if = "is_false")]
    timed_out: bool,
    #[serde(skip_serializing_if = "is_false")]
    abandoned: bool,
    #[serde(skip_serializing_if = "is_false")]
    oom_killed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "is_false")]
    is_background: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'static str>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Ran {
    pub(super) fn new(output: Output, sandbox: &crate::sandbox::Sandbox) -> Self {
        // Whole milliseconds, and never none: something was done.
        let duration_ms = (output.duration.as_millis() as u64).max(1);
        Self {
            exit_code: output.exit_code,
            duration_ms,
            execution_time: duration_ms,
            sandbox_id: sandbox.id().to_owned(),
            provider: sandbox.provider().name().to_owned(),
            truncated: output.truncated,
            timed_out: output.timed_out,
            abandoned: output.abandoned,
            oom_killed: output.oom_killed,
            signal: output.signal.map(signal::name),
            stdout: output.stdout,
            stderr: output.stderr,
            ..Self::default()
        }
    }

    /// Of something that has begun and goes on.
    pub(super) fn begun(pid: u32, duration: Duration, sandbox: &crate::sandbox::Sandbox) -> Self {
        let output = Output { duration, ..Output::default() };
        Self { pid: Some(pid), is_background: true, ..Self::new(output, sandbox) }
    }

    /// Of code in this language.
    pub(super) fn of_code(mut self, language: Language) -> Self {
        self.output = Some([&*self.stdout, &*self.stderr].concat());
        self.language = Some(language.as_str());
        self
    }
}

/// The facts about a sandbox.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Facts {
    id: String,
    provider: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    created_at: String,
    timeout: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    isolation: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Bounds>,
}

#[derive(Debug, Serialize)]
struct Bounds {
    enforcement: &'static str,
    memory: u64,
    disk: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<u32>,
}

impl Facts {
    pub(super) fn new(provider: &str, info: Info) -> Self {
        let mut metadata = info.metadata;
        let was_stamped = metadata.as_mut().is_some_and(|metadata| metadata.remove(super::OWNER).is_some());
        Self {
            id: info.id,
            provider: provider.to_owned(),
            status: info.status.name(),
            reason: info.reason,
            created_at: iso(info.created_at),
            timeout: info.timeout.as_millis() as u64,
            expires_at: info.expires_at.map(iso),
            metadata: metadata.filter(|metadata| !(was_stamped && metadata.is_empty())),
            runtime: info.runtime,
            isolation: info.isolation,
            limits: info.limits.map(Bounds::new),
        }
    }
}

impl Bounds {
    fn new(limits: Limits) -> Self {
        Self {
            enforcement: limits.enforcement.name(),
            memory: limits.memory,
            disk: limits.disk,
            cpus: limits.cpus,
            processes: limits.processes,
        }
    }
}

/// What is in a directory.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    path: String,
    is_directory: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symlink_target: Option<String>,
}

impl File {
    pub(super) fn new(directory: &str, entry: Entry) -> Self {
        let modified = entry.modified.map(iso);
        Self {
            path: format!("{}/{}", directory.trim_end_matches('/'), entry.name),
            name: entry.name,
            kind: if entry.directory { "directory" } else { "file" },
            size: entry.size,
            last_modified: modified.clone(),
            modified,
            is_directory: entry.directory,
            symlink_target: entry.symlink_target,
        }
    }
}

/// A sandbox in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    pub(super) sandbox_id: String,
    pub(super) provider: String,
}

/// A moment as JavaScript's `toISOString` has it. One that no calendar has is the beginning of 1970.
fn iso(moment: SystemTime) -> String {
    let moment = jiff::Timestamp::try_from(moment).unwrap_or_default();
    format!("{moment:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_as_in_javascript() {
        let after = |millis| iso(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(after(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(after(1_709_164_800_007), "2024-02-29T00:00:00.007Z");
        assert_eq!(after(1_709_164_799_999), "2024-02-28T23:59:59.999Z");
    }

    #[test]
    fn the_last_answer_of_all_is_json_too() {
        let answer = Answer::internal();
        let body: Value = serde_json::from_str(&answer.body.unwrap()).unwrap();
        assert_eq!(
            (answer.status, body),
            (
                500,
                serde_json::json!({ "success": false, "error": "Internal error", "code": "INTERNAL", "status": 500 })
            )
        );
    }
}
