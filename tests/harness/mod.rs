//! What the test programs share: tables of cases, one runtime, and an end to every case.

use std::fmt::Debug;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use computesdk::command::{Output, RunOptions};
use computesdk::compute;
use computesdk::provider::{Command, CreateRequest, Program, Provider};
use computesdk::providers::local::{Config, Local};
use computesdk::sandbox::Sandbox;
use libtest_mimic::{Arguments, Completion, Trial};
use tokio::runtime::Runtime;

/// How long a case may take on this machine.
const WITHIN: Duration = Duration::from_secs(30);
/// How many times as long something may take at a place that is reached through servers.
const ELSEWHERE: u32 = 5;

tokio::task_local! {
    /// How many times as long as on this machine something may take where the case runs.
    static PACE: u32;
}

/// How many times as long as on this machine something may take here.
pub(crate) fn pace() -> u32 {
    PACE.try_with(|pace| *pace).unwrap_or(1)
}

/// How many times as long something may take on this machine: more than once where it is emulated, say.
fn own_pace() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests knows the machine")]
    let told = std::env::var("COMPUTESDK_TEST_PACE");
    told.ok().and_then(|pace| pace.parse().ok()).unwrap_or(1)
}

/// One for all cases: the task that serves a broker lives in the runtime that started it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A behaviour, and the traits without which a place need not have it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [&'static str],
    pub(crate) run: fn(At) -> Pin<Box<dyn Future<Output = ()>>>,
}

/// Makes a table of async functions; `name if one & other` needs the traits `one` and `other`.
macro_rules! cases {
    ($($name:ident $(if $($needed:ident)&+)?),* $(,)?) => {
        &[$($crate::harness::Case {
            name: stringify!($name),
            needs: &[$($(stringify!($needed)),+)?],
            run: |at| Box::pin($name(at)),
        }),*]
    };
}
pub(crate) use cases;

/// What may be so at one place and not at another: the contract leaves it open, or lets it be refused.
pub(crate) const TRAITS: [(&str, &str); 14] = [
    ("kill", "Commands are signalled and killed one by one"),
    ("sizes", "`create` decides how large a sandbox is"),
    ("quotas", "Files have a limit, on a file system of the sandbox' own"),
    ("layers", "The layers of isolation are known"),
    ("json", "Metadata may be anything in JSON"),
    ("endless", "A sandbox may live without end"),
    ("one_user", "Commands run as one user, and so do those who reach for files"),
    ("streams", "The two streams of a process come apart from each other"),
    ("terminals", "Terminals are counted, apart from processes"),
    ("login_path", "What runs the login shell looks for it on the `PATH` that it is to have"),
    ("loopback", "A URL is an address of this machine, and whoever connects there is connected inside"),
    ("open_files", "Whoever reads a file has it open, and not a server in between"),
    ("measures", "What a sandbox uses is looked at when somebody asks, processes included"),
    ("snapshots", "The state of a sandbox can be kept for others"),
];

/// What a machine has not whose kernel is too old for it.
const OLD: &[Lack] = &[("snapshots", "the kernel is older than Linux 6.6")];

/// A trait that a place does not have, and why.
pub(crate) type Lack = (&'static str, &'static str);

/// The provider under test, and the traits that it does not have.
#[derive(Clone, Debug)]
pub(crate) struct At(pub(crate) Arc<dyn Provider>, pub(crate) &'static [Lack]);

impl At {
    /// Why something is not so here, if it is not.
    pub(crate) fn lacks(&self, name: &str) -> Option<&'static str> {
        assert!(TRAITS.iter().any(|(known, _)| *known == name), "no trait `{name}`");
        if name == "kill" && !self.0.capabilities().kill {
            return Some("commands cannot be killed one by one");
        }
        self.1.iter().find(|(lacked, _)| *lacked == name).map(|(_, why)| *why)
    }

    /// A sandbox with the provider's defaults.
    pub(crate) async fn sandbox(&self) -> Lent {
        self.create(CreateRequest::default()).await
    }

    /// A sandbox as it is asked for.
    pub(crate) async fn create(&self, request: CreateRequest) -> Lent {
        Lent::of(compute::create_at(&self.0, &request, false).await.unwrap())
    }
}

/// A sandbox that is destroyed when the case is over, however it ends.
#[derive(Debug)]
pub(crate) struct Lent(Sandbox);

impl Lent {
    /// One that nobody else ends.
    pub(crate) fn of(sandbox: Sandbox) -> Self {
        Self(sandbox)
    }
}

impl Deref for Lent {
    type Target = Sandbox;
    fn deref(&self) -> &Sandbox {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let sandbox = self.0.clone();
        RUNTIME.spawn(async move { sandbox.destroy().await });
    }
}

/// A line for the shell.
pub(crate) fn shell(line: impl Into<String>) -> Command {
    Command { program: Program::Shell(line.into()), ..Command::default() }
}

/// Runs a line to its end.
pub(crate) async fn sh(sandbox: &Sandbox, line: impl Into<String>) -> Output {
    sandbox.run_command(shell(line), RunOptions::default()).await.unwrap()
}

/// Waits until something that nobody announces has come about: `within` this time, on this machine.
pub(crate) async fn eventually(what: &str, within: Duration, is_so: impl AsyncFnMut() -> bool) {
    eventually_seen(what, within, is_so, |is_so| *is_so).await;
}

/// Likewise of what can be looked at: if it does not come about, what was seen at last is told.
pub(crate) async fn eventually_seen<T: Debug>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> T,
    is_so: impl Fn(&T) -> bool,
) {
    let (begun, within) = (Instant::now(), within * pace());
    loop {
        let seen = look().await;
        if is_so(&seen) {
            return;
        }
        assert!(begun.elapsed() < within, "not within {within:?}: {what}; at last {seen:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What `future` comes to; a panic if it takes longer than it may on this machine.
pub(crate) async fn soon<T>(what: &str, within: Duration, future: impl Future<Output = T>) -> T {
    let within = within * pace();
    let Ok(result) = tokio::time::timeout(within, future).await else {
        panic!("not within {within:?}: {what}");
    };
    result
}

/// A provider to test, or why it cannot be tested on this system.
pub(crate) type Place = Result<At, &'static str>;

/// The provider `local`.
pub(crate) fn local(config: Config) -> Place {
    if cfg!(target_os = "linux") {
        Ok(At(Arc::new(Local::new(config)), if is_old() { OLD } else { &[] }))
    } else {
        Err("local sandboxes are made of Linux' own isolation")
    }
}

/// Whether the kernel is older than Linux 6.6.
fn is_old() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) < (Some(6), Some(6))
}

/// Something that is said of all places together: its name, and what finds whether it is so.
pub(crate) type Page =
    (&'static str, fn(Vec<(&'static str, At)>) -> Pin<Box<dyn Future<Output = Result<(), String>>>>);

/// Runs every case at every provider, as libtest would; `threads` at once unless the caller says otherwise.
pub(crate) fn run(
    threads: Option<usize>,
    places: &[(&'static str, Place)],
    tables: &[&'static [Case]],
    pages: &[Page],
) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(threads);
    let mut trials: Vec<_> = pages.iter().map(|page| trial(*page, places.to_vec())).collect();
    for (name, place) in places {
        for case in tables.iter().copied().flatten() {
            let place = place.clone();
            trials.push(Trial::ignorable_test(format!("{name}::{}", case.name), move || {
                let at = match place {
                    Ok(at) => at,
                    Err(reason) => return Ok(Completion::ignored_with(reason)),
                };
                if let Some(why) = case.needs.iter().find_map(|needed| at.lacks(needed)) {
                    return Ok(Completion::ignored_with(format!("{}: {why}", at.0.name())));
                }
                let pace = own_pace() * if at.0.name() == "local" { 1 } else { ELSEWHERE };
                let running = soon("the end of the case", WITHIN, (case.run)(at));
                RUNTIME.block_on(PACE.scope(pace, running));
                Ok(Completion::Completed)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial((name, is_so): Page, places: Vec<(&'static str, Place)>) -> Trial {
    Trial::ignorable_test(format!("pages::{name}"), move || {
        let mut known = Vec::new();
        for (name, place) in places {
            match place {
                Ok(at) => known.push((name, at)),
                Err(why) => return Ok(Completion::ignored_with(format!("{name}: {why}"))),
            }
        }
        RUNTIME.block_on(is_so(known))?;
        Ok(Completion::Completed)
    })
}
