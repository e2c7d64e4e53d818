//! What this machine can isolate: tried, and told layer by layer with the cause and the cure of what is missing.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::terminal;
use crate::command::RunOptions;
use crate::compute;
use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Command, CreateRequest, Info, Program, Provider};
use crate::providers::docker;
use crate::providers::local::{Config, Local};

/// How long the command of the sandbox may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// All that was found. The form that programs read.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    local: Tried,
    checks: Vec<Check>,
    providers: Vec<Check>,
}

/// How it went to make a sandbox and to run `true` in it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tried {
    works: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// One thing that was looked for.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    /// `yes`, `no`, or `unknown`.
    state: &'static str,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

/// Looks, and tells; 0 if sandboxes can be made on this machine.
pub async fn doctor(json: bool) -> i32 {
    let (local, made) = match attempt().await {
        Ok((tried, info)) => (tried, Some(info)),
        Err(error) => (Tried::failed(&error), None),
    };
    let checks = checks(made.as_ref()).await;
    let report = Report { version: env!("CARGO_PKG_VERSION"), local, checks, providers: providers().await };
    let text = match serde_json::to_string_pretty(&report) {
        Ok(text) if json => text + "\n",
        _ => report.text(),
    };
    let told = terminal::say(&text);
    if report.local.works { told } else { 1 }
}

/// Makes a sandbox, runs a command in it, and ends it.
async fn attempt() -> Result<(Tried, Info)> {
    let local: Arc<dyn Provider> = Arc::new(Local::new(Config { spares: Some(0), ..Config::default() }));
    // The first of a process takes longer: interpreters are looked for, and the program that makes it is started.
    compute::create_at(&local, &CreateRequest::default(), false).await?.destroy().await?;
    let begun = Instant::now();
    let sandbox = compute::create_at(&local, &CreateRequest::default(), false).await?;
    let created = begun.elapsed();
    let info = sandbox.info().await;
    let command = Command { program: Program::Args(vec!["true".to_owned()]), ..Command::default() };
    let options = RunOptions { timeout: Some(PATIENCE), ..RunOptions::default() };
    let output = sandbox.run_command(command, options).await;
    sandbox.destroy().await?;
    let (info, output) = (info?, output?);
    if output.exit_code != 0 {
        let message = format!("`true` ended with {}: {}", output.exit_code, output.stderr.trim_end());
        return Err(Error::new(ErrorKind::Internal, message));
    }
    let tried = Tried {
        works: true,
        create_ms: Some(millis(created)),
        command_ms: Some(millis(output.duration)),
        error: None,
        hint: None,
    };
    Ok((tried, info))
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

impl Tried {
    fn failed(error: &Error) -> Self {
        Self {
            works: false,
            create_ms: None,
            command_ms: None,
            error: Some(error.message().to_owned()),
            hint: error.hint().map(str::to_owned),
        }
    }
}

#[cfg(target_os = "linux")]
async fn checks(made: Option<&Info>) -> Vec<Check> {
    use crate::providers::local::survey::survey;

    let state = |there| match there {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    let findings = survey(made).await.into_iter();
    findings
        .map(|finding| {
            let (cause, cure) = finding.lack.unzip();
            Check { name: finding.name, state: state(finding.there), found: finding.found, cause, cure }
        })
        .collect()
}

#[cfg(not(target_os = "linux"))]
async fn checks(_: Option<&Info>) -> Vec<Check> {
    Vec::new()
}

/// Whether the others would have what they need. Of a key only whether there is one.
async fn providers() -> Vec<Check> {
    let engine = docker::survey().await;
    let key = config::e2b_api_key().is_some();
    vec![
        Check {
            name: "docker",
            state: if engine.is_ok() { "yes" } else { "no" },
            found: match &engine {
                Ok(place) => format!("an engine answers at {place}"),
                Err(_) => "no engine answers".to_owned(),
            },
            cause: engine.as_ref().err().map(|error| error.message().to_owned()),
            cure: engine.as_ref().err().and_then(|error| error.hint().map(str::to_owned)),
        },
        Check {
            name: "e2b",
            state: if key { "yes" } else { "no" },
            found: if key { "E2B_API_KEY is set" } else { "E2B_API_KEY is not set" }.to_owned(),
            cause: (!key).then(|| "E2B asks for a key".to_owned()),
            cure: (!key).then(|| "set E2B_API_KEY, if sandboxes are to be made at E2B".to_owned()),
        },
    ]
}

impl Report {
    /// For people.
    fn text(&self) -> String {
        let mut text = format!("computesdk {}\n\n", self.version);
        // Writing to a string does not fail.
        let _ = match (&self.local.error, self.local.create_ms.zip(self.local.command_ms)) {
            (None, Some((created, ran))) => {
                writeln!(text, "local works: a sandbox was made in {created} ms and ran `true` in {ran} ms\n")
            }
            (error, _) => {
                let hint =
                    self.local.hint.as_deref().map_or_else(String::new, |hint| format!("\n  cure: {hint}"));
                writeln!(text, "local does not work: {}{hint}\n", error.as_deref().unwrap_or_default())
            }
        };
        self.checks.iter().for_each(|check| check.tell(&mut text));
        text.push_str("\nOther providers\n\n");
        self.providers.iter().for_each(|check| check.tell(&mut text));
        text
    }
}

impl Check {
    fn tell(&self, text: &mut String) {
        let state = if self.state == "unknown" { "?" } else { self.state };
        let _ = writeln!(text, "  {state:<4} {:<13} {}", self.name, self.found);
        for (word, said) in [("cause", &self.cause), ("cure", &self.cure)] {
            if let Some(said) = said {
                let _ = writeln!(text, "  {:<4} {:<13} {word}: {said}", "", "");
            }
        }
    }
}
