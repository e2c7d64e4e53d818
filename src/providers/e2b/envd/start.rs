//! Starting processes, and finding those that others have started.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::Envd;
use super::error::{nonsense, of_refusal, silent};
use super::follow::Following;
use super::messages::{
    Empty, ListResponse, ProcessConfig, ProcessInfo, ProcessRequest, ProcessResponse, ProcessSelector,
    StartRequest,
};
use super::process::{E2bControl, E2bOutput, Input, keepalives};
use super::tree::MARK;
use super::version::Version;
use crate::error::{Error, ErrorKind, Result};
use crate::process::Ending;
use crate::provider::{Attached, Command, Process, Program};
use crate::random;
use crate::signal;
use crate::transport::Repeat;
use crate::transport::connect::{Code, Fault, Messages, Refusal};

/// How long a start may take until it is asked what has become of it.
const START: Duration = Duration::from_secs(15);
/// How long finding a process again may take.
const ATTACH: Duration = Duration::from_secs(5);
/// After a connection was cut: what it carried may still be on its way.
const SETTLE: Duration = Duration::from_millis(200);
/// How often a start that surely has not arrived is repeated.
const STARTS: u32 = 2;
/// Pieces of output that are taken before somebody asks for them: half a MiB.
const ROOM: usize = 16;
/// An argument may have this many bytes, with its end: a longer line goes by way of a file.
const LONGEST_LINE: usize = (128 << 10) - 1;

const BASH: &str = "/bin/bash";

/// A start, as it will be asked for.
struct Plan {
    request: StartRequest,
    headers: HeaderMap,
    tag: String,
    mark: String,
    input: Input,
    cwd: Option<String>,
    user: Option<String>,
    /// A script that is put into the sandbox first, with its path.
    script: Option<(String, String)>,
}

/// A stream of a process, and its number.
pub(super) type Heard = (Messages<ProcessResponse>, u32);

impl Envd {
    /// Starts a command, as [`Instance::spawn`](crate::provider::Instance::spawn) says.
    pub(crate) async fn spawn(&self, command: &Command) -> Result<Process> {
        let plan = self.plan(command)?;
        let (ready, taken) = oneshot::channel();
        let envd = self.clone();
        // Whoever no longer waits for it cannot stop it on its way: it goes on, and what it has started is killed.
        tokio::spawn(async move {
            if !ready.is_closed() {
                let started = envd.start(plan).await.map(|process| Unclaimed(Some(process)));
                let _ = ready.send(started);
            }
        });
        let started = taken.await.map_err(|_| nonsense("a start was not answered"))?;
        started?.claim().ok_or_else(|| nonsense("a start was not answered"))
    }

    fn plan(&self, command: &Command) -> Result<Plan> {
        let id = random::name()?;
        let tag = command.tag.clone().unwrap_or_else(|| format!("computesdk-{id}"));
        let input = match command {
            Command { terminal: Some(_), .. } => Input::Terminal,
            Command { stdin: true, .. } => Input::Pipe,
            _ => Input::Nothing,
        };
        if input == Input::Pipe && self.version() < Version::CLOSE_STDIN {
            return Err(Error::unsupported(format!(
                "`stdin`: this sandbox's envd is of version {}, and can end no input before {}",
                self.version(),
                Version::CLOSE_STDIN
            ))
            .with_hint("build its template again, or write the input to a file and redirect it"));
        }
        let (mut argv, script) = argv(&command.program, &id);
        if input == Input::Nothing && self.version() < Version::CLOSED_STDIN {
            let redirected = ["/bin/sh", "-c", "exec \"$@\" </dev/null", "sh"].map(str::to_owned);
            argv = redirected.into_iter().chain(argv).collect();
        }
        let mut env = command.env.clone();
        if input == Input::Terminal {
            for name in ["LANG", "LC_ALL"] {
                env.entry(name.to_owned()).or_insert_with(|| "C.UTF-8".to_owned());
            }
        }
        let mark = format!("{}-{id}", kind_of(input));
        env.insert(MARK.to_owned(), mark.clone());
        let mut argv = argv.into_iter();
        let process = ProcessConfig {
            cmd: argv.next().unwrap_or_default(),
            args: argv.collect(),
            envs: env,
            cwd: command.cwd.clone(),
        };
        let request = StartRequest {
            process: Some(process),
            pty: command.terminal.map(Into::into),
            tag: Some(tag.clone()),
            stdin: Some(input == Input::Pipe),
        };
        let mut headers = self.acting_as(command.user.as_deref())?;
        keepalives(&mut headers);
        let (cwd, user) = (command.cwd.clone(), command.user.clone());
        Ok(Plan { request, headers, tag, mark, input, cwd, user, script })
    }

    async fn start(&self, plan: Plan) -> Result<Process> {
        if let Some((path, script)) = &plan.script {
            self.upload(path, script.clone().into(), plan.user.as_deref()).await?;
        }
        let (heard, is_new) = self.start_once(&plan).await?;
        Ok(self.process(heard, Some(plan.tag), plan.mark, plan.input, !is_new))
    }

    /// Starts it once and no more, however often that takes; tells whether all that it writes will be heard.
    async fn start_once(&self, plan: &Plan) -> Result<(Heard, bool)> {
        let mut starts = 1;
        loop {
            let opening = async {
                let method = "process.Process/Start";
                first(self.service().stream(method, &plan.request, &plan.headers).await?).await
            };
            let cut = match tokio::time::timeout(START, opening).await {
                Ok(Ok(heard)) => return Ok((heard, true)),
                Ok(Err(Fault::Refused(refusal))) => return Err(of_start(plan, &refusal)),
                Ok(Err(Fault::Lost(error))) => Some(error),
                Ok(Err(fault)) => return Err(self.error(fault).await),
                Err(_) => None,
            };
            tokio::time::sleep(SETTLE).await;
            match self.connect(ProcessSelector::by_tag(&plan.tag)).await {
                Ok(heard) => return Ok((heard, false)),
                Err(Fault::Refused(Refusal { code: Code::NotFound, .. })) => match cut {
                    // What has ended would be known too.
                    Some(_) if self.version() >= Version::KEEPS_EXITS && starts < STARTS => starts += 1,
                    cut => return Err(self.unknown_start(&plan.mark, cut)),
                },
                Err(fault @ Fault::Foreign(_)) => return Err(self.error(fault).await),
                // The first failure tells more.
                Err(fault) => return Err(self.error(cut.map_or(fault, Fault::Lost)).await),
            }
        }
    }

    /// The error of a start of which nobody knows whether it came about. Whatever came of it is killed.
    fn unknown_start(&self, mark: &str, cut: Option<Error>) -> Error {
        let (envd, mark) = (self.clone(), carried(mark));
        tokio::spawn(async move { envd.kill_tree(&mark, None).await });
        let error = Error::new(
            ErrorKind::Unavailable,
            "the connection was cut before the command had started: it is not known whether it ran",
        )
        .with_hint("run it again if doing so twice does no harm");
        match cut {
            Some(cut) => error.with_source(cut),
            None => error,
        }
    }

    /// Listens to a process that runs, or has ended a short while ago.
    pub(super) async fn connect(&self, process: ProcessSelector) -> Result<Heard, Fault> {
        let mut headers = HeaderMap::new();
        keepalives(&mut headers);
        let request = ProcessRequest { process: Some(process) };
        let opening = async {
            first(self.service().stream("process.Process/Connect", &request, &headers).await?).await
        };
        tokio::time::timeout(ATTACH, opening).await.unwrap_or_else(|_| Err(Fault::Lost(silent())))
    }

    /// Finds a process that runs, by its number.
    pub(crate) async fn attach(&self, pid: u32) -> Result<Option<Attached>> {
        let list: ListResponse = self.call("process.Process/List", &Empty {}, Repeat::Idempotent).await?;
        let Some(found) = list.processes.into_iter().find(|process| process.pid == pid) else {
            return Ok(None);
        };
        match self.connect(ProcessSelector::by_pid(pid)).await {
            Ok(heard) => {
                let ProcessInfo { config, tag, .. } = found;
                let mark = config.and_then(|mut config| config.envs.remove(MARK));
                let input = input_of(mark.as_deref());
                // Nothing carries the mark of what was started by somebody else.
                let mark = mark.map_or_else(random::name, Ok)?;
                let process = self.process(heard, tag.clone(), mark, input, false);
                Ok(Some(Attached { process, tag }))
            }
            Err(Fault::Refused(Refusal { code: Code::NotFound, .. })) => Ok(None),
            Err(fault) => Err(self.error(fault).await),
        }
    }

    /// A process whose stream has begun.
    fn process(
        &self,
        heard: Heard,
        tag: Option<String>,
        mark: String,
        input: Input,
        has_gaps: bool,
    ) -> Process {
        let (messages, pid) = heard;
        let room = Arc::new(Semaphore::new(ROOM));
        let gaps = Arc::new(AtomicBool::new(has_gaps));
        let (output, chunks) = mpsc::unbounded_channel();
        let (teller, ending) = Ending::to_come();
        let following = Following {
            envd: self.clone(),
            process: tag.map_or_else(|| ProcessSelector::by_pid(pid), |tag| ProcessSelector::by_tag(&tag)),
            pid,
            is_terminal: input == Input::Terminal,
            messages,
            output,
            room: Arc::clone(&room),
            gaps: Arc::clone(&gaps),
        };
        tokio::spawn(following.follow(teller));
        let control = E2bControl {
            envd: self.clone(),
            pid,
            mark: carried(&mark),
            input,
            input_ended: AtomicBool::new(false),
            room: Arc::clone(&room),
            ending,
        };
        Process { output: Box::new(E2bOutput { chunks, next: None, room, gaps }), control: Arc::new(control) }
    }
}

/// The mark as an environment has it.
fn carried(mark: &str) -> String {
    format!("{MARK}={mark}")
}

/// A mark tells what its process reads from, for those who find it later.
fn kind_of(input: Input) -> &'static str {
    match input {
        Input::Nothing => "command",
        Input::Pipe => "stdin",
        Input::Terminal => "terminal",
    }
}

fn input_of(mark: Option<&str>) -> Input {
    match mark.and_then(|mark| mark.split_once('-')) {
        Some(("command", _)) => Input::Nothing,
        Some(("terminal", _)) => Input::Terminal,
        _ => Input::Pipe,
    }
}

/// Waits until a stream says which process it is about.
async fn first(mut messages: Messages<ProcessResponse>) -> Result<Heard, Fault> {
    loop {
        match messages.next().await? {
            Some(ProcessResponse { event: Some(event) }) => {
                if let Some(start) = event.start {
                    return Ok((messages, start.pid));
                }
            }
            Some(_) => {}
            None => return Err(Fault::Nonsense("a process that never began has ended".to_owned())),
        }
    }
}

/// The words of a command, and the script that has to be there for it.
fn argv(program: &Program, id: &str) -> (Vec<String>, Option<(String, String)>) {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    match program {
        Program::Args(argv) => (argv.clone(), None),
        Program::Login => (words(&[BASH, "-i", "-l"]), None),
        Program::Shell(line) if line.len() <= LONGEST_LINE => (words(&[BASH, "-l", "-c", line]), None),
        Program::Shell(line) => {
            let path = format!("/tmp/.computesdk-{id}");
            // It is open by then; and the numbers of its lines stay what they are.
            let script = format!("rm -f {path}; {line}");
            (words(&[BASH, "-l", &path]), Some((path, script)))
        }
    }
}

/// The error of a command that envd would not start.
fn of_start(plan: &Plan, refusal: &Refusal) -> Error {
    let says = |words: &str| refusal.message.ends_with(words);
    let cwd = plan.cwd.as_deref().unwrap_or("the working directory");
    if refusal.code == Code::Unauthenticated && refusal.message.contains("invalid") {
        let user = plan.user.as_deref().unwrap_or("the template's");
        return Error::invalid(format!("`user`: the sandbox has no user `{user}`"))
            .with_hint("name one that its template has, or leave `user` out");
    }
    if refusal.message.starts_with("cwd '") && says("does not exist") || says("no such file or directory") {
        return Error::new(ErrorKind::NotFound, format!("Directory not found: {cwd}"));
    }
    if says("not a directory") {
        return Error::invalid(format!("not a directory: {cwd}"));
    }
    if says("permission denied") {
        return Error::new(ErrorKind::PermissionDenied, format!("permission denied: {cwd}"));
    }
    if says("argument list too long") {
        return Error::invalid("arguments and environment are too long together")
            .with_hint("write them to a file, or give them as `stdin`");
    }
    if says("resource temporarily unavailable")
        || says("cannot allocate memory")
        || says("too many open files")
    {
        return Error::new(
            ErrorKind::Unavailable,
            "the sandbox has no processes, memory or descriptors left",
        )
        .with_hint("wait for some commands to end, or use a template with more");
    }
    of_refusal(refusal)
}

/// A process that its caller has not taken yet. Dropped, it is killed.
struct Unclaimed(Option<Process>);

impl Unclaimed {
    fn claim(mut self) -> Option<Process> {
        self.0.take()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(Process { control, .. }) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                // It has hardly begun: nothing can have come of it yet that would be lost sight of.
                let _ = control.signal(signal::KILL).await;
                control.kill().await
            });
        }
    }
}
