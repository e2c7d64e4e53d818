//! The table of actions: what each is called, whether it is open, and how its request is read.

use std::time::Duration;

use super::create::Wish;
use super::failure::TOO_LARGE;
use super::json::{Object, repeated};
use super::{Policy, language};
use crate::code::Language;
use crate::error::{Error, Result};
use crate::provider::{Command, Program};

/// The keys of a body.
pub(super) const KEYS: [&str; 12] = [
    "action",
    "sandboxId",
    "command",
    "args",
    "code",
    "runtime",
    "path",
    "content",
    "port",
    "protocol",
    "options",
    "commandOptions",
];

/// Something that can be asked for.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: &'static str,
    /// Whether it may be asked for unless the owner says otherwise.
    open: bool,
    /// Reads what it needs of a body; the rest is not looked at.
    read: Read,
}

const TABLE: [Action; 13] = [
    open("compute.sandbox.create", |body, policy| Ok(Work::Create(Wish::read(body, policy)?))),
    closed("compute.sandbox.list", |_, _| Ok(Work::List)),
    open("compute.sandbox.destroy", |body, _| {
        Ok(Work::Destroy(required(body, "sandboxId", " for destroy action")?))
    }),
    open("compute.sandbox.getInfo", |body, _| brief(body, || Ok(Brief::GetInfo))),
    open("compute.sandbox.getUrl", |body, _| {
        brief(body, || Ok(Brief::GetUrl { port: port(body)?, protocol: body.text("protocol")? }))
    }),
    open("compute.sandbox.runCode", |body, policy| inside(body, || run_code(body, policy))),
    open("compute.sandbox.runCommand", |body, policy| inside(body, || run_command(body, policy))),
    open("compute.sandbox.filesystem.readFile", |body, _| brief(body, || Ok(Brief::ReadFile(path(body)?)))),
    open("compute.sandbox.filesystem.writeFile", |body, _| brief(body, || write_file(body))),
    open("compute.sandbox.filesystem.mkdir", |body, _| brief(body, || Ok(Brief::MakeDir(path(body)?)))),
    open("compute.sandbox.filesystem.readdir", |body, _| brief(body, || Ok(Brief::ReadDir(path(body)?)))),
    open("compute.sandbox.filesystem.exists", |body, _| brief(body, || Ok(Brief::Exists(path(body)?)))),
    open("compute.sandbox.filesystem.remove", |body, _| brief(body, || Ok(Brief::Remove(path(body)?)))),
];

type Read = fn(&Object<'_>, &Policy) -> Result<Work>;

const fn open(name: &'static str, read: Read) -> Action {
    Action { name, open: true, read }
}

const fn closed(name: &'static str, read: Read) -> Action {
    Action { name, open: false, read }
}

/// The names of all actions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|action| action.name)
}

/// The names of those that may be asked for unless the owner says otherwise.
pub(super) fn open_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter(|action| action.open).map(|action| action.name)
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    Create(Wish),
    List,
    Destroy(String),
    Inside(String, Task),
}

/// What is to be done in a sandbox.
#[derive(Debug)]
pub(super) enum Task {
    RunCode { source: String, language: Option<Language>, run: Run },
    RunCommand(Run),
    Brief(Brief),
}

/// What is done at once.
#[derive(Debug)]
pub(super) enum Brief {
    GetInfo,
    GetUrl { port: u16, protocol: Option<String> },
    ReadFile(String),
    WriteFile { path: String, content: String },
    MakeDir(String),
    ReadDir(String),
    Exists(String),
    Remove(String),
}

/// How something is run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) command: Command,
    pub(super) timeout: Option<Duration>,
    pub(super) background: bool,
}

impl Work {
    /// The sandbox that it is about.
    pub(super) fn sandbox_id(&self) -> Option<&str> {
        match self {
            Self::Create(_) | Self::List => None,
            Self::Destroy(id) | Self::Inside(id, _) => Some(id),
        }
    }
}

impl Action {
    /// The one that a body asks for.
    pub(super) fn of(body: &Object<'_>) -> Result<&'static Self> {
        let name = required(body, "action", "")?;
        TABLE
            .iter()
            .find(|action| action.name == name)
            .ok_or_else(|| Error::invalid(format!("Unknown action: {}", repeated(&name))))
    }

    /// What it is to do.
    pub(super) fn read(&self, body: &Object<'_>, policy: &Policy) -> Result<Work> {
        (self.read)(body, policy)
    }
}

fn inside(body: &Object<'_>, task: impl FnOnce() -> Result<Task>) -> Result<Work> {
    let id = required(body, "sandboxId", " for this action")?;
    Ok(Work::Inside(id, task()?))
}

fn brief(body: &Object<'_>, task: impl FnOnce() -> Result<Brief>) -> Result<Work> {
    inside(body, || task().map(Task::Brief))
}

/// A text that must be there and not be empty.
fn required(body: &Object<'_>, key: &str, why: &str) -> Result<String> {
    body.text(key)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Error::invalid(format!("{key} is required{why}")))
}

fn path(body: &Object<'_>) -> Result<String> {
    required(body, "path", "")
}

fn port(body: &Object<'_>) -> Result<u16> {
    let port = body.whole("port", 1, u16::MAX.into())?;
    port.map(|port| port as u16).ok_or_else(|| Error::invalid("port is required"))
}

fn write_file(body: &Object<'_>) -> Result<Brief> {
    let path = path(body)?;
    // An empty file is a file.
    let content = body.text("content")?.ok_or_else(|| Error::invalid("content is required"))?;
    Ok(Brief::WriteFile { path, content })
}

fn run_code(body: &Object<'_>, policy: &Policy) -> Result<Task> {
    let source = bounded(required(body, "code", "")?, "code", policy)?;
    let language = body.text("runtime")?.map(|name| language("runtime", &name)).transpose()?;
    Ok(Task::RunCode { source, language, run: run(body, Program::default())? })
}

fn run_command(body: &Object<'_>, policy: &Policy) -> Result<Task> {
    let line = bounded(required(body, "command", "")?, "command", policy)?;
    let program = match body.texts("args")? {
        None => Program::Shell(line),
        Some(args) => Program::Args([vec![line], args].concat()),
    };
    Ok(Task::RunCommand(run(body, program)?))
}

fn bounded(text: String, key: &str, policy: &Policy) -> Result<String> {
    let (length, most) = (text.len(), policy.limits.code);
    if length > most {
        let message = format!("{key} is too long: {length} bytes, {most} at most");
        return Err(Error::invalid(message).with_code(TOO_LARGE));
    }
    Ok(text)
}

fn run(body: &Object<'_>, program: Program) -> Result<Run> {
    let options = body.object("commandOptions", &["cwd", "env", "timeout", "background"])?;
    Ok(Run {
        command: Command {
            program,
            cwd: options.text("cwd")?,
            env: options.pairs("env")?.unwrap_or_default(),
            ..Command::default()
        },
        timeout: options.whole("timeout", 0, u64::MAX)?.filter(|time| *time > 0).map(Duration::from_millis),
        background: options.flag("background")? == Some(true),
    })
}
