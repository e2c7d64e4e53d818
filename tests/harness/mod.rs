//! What the test programs share: tables of cases, one runtime, and an end to every case.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use computesdk::command::{Output, RunOptions};
use computesdk::compute;
use computesdk::provider::{Capabilities, Command, CreateRequest, Program, Provider};
use computesdk::providers::local::{Config, Local};
use computesdk::sandbox::Sandbox;
use libtest_mimic::{Arguments, Completion, Trial};
use tokio::runtime::Runtime;

/// How long a case may take.
const WITHIN: Duration = Duration::from_secs(30);

/// One for all cases: the task that serves a broker lives in the runtime that started it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A behaviour, and the capability without which a provider need not have it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) needs: Option<Gate>,
    pub(crate) run: fn(At) -> Pin<Box<dyn Future<Output = ()>>>,
}

/// A capability by name.
pub(crate) type Gate = (&'static str, fn(Capabilities) -> bool);

/// Makes a table of async functions; `name if flag` needs the capability `flag`.
macro_rules! cases {
    ($($name:ident $(if $flag:ident)?),* $(,)?) => {
        &[$($crate::harness::Case {
            name: stringify!($name),
            needs: [$(Some((stringify!($flag), (|can| can.$flag) as fn(computesdk::provider::Capabilities) -> bool)),)? None][0],
            run: |at| Box::pin($name(at)),
        }),*]
    };
}
pub(crate) use cases;

/// The provider under test.
#[derive(Clone, Debug)]
pub(crate) struct At(pub(crate) Arc<dyn Provider>);

impl At {
    /// A sandbox with the provider's defaults.
    pub(crate) async fn sandbox(&self) -> Lent {
        self.create(CreateRequest::default()).await
    }

    /// A sandbox as it is asked for.
    pub(crate) async fn create(&self, request: CreateRequest) -> Lent {
        Lent(compute::create_at(&self.0, &request, false).await.unwrap())
    }
}

/// A sandbox that is destroyed when the case is over, however it ends.
#[derive(Debug)]
pub(crate) struct Lent(Sandbox);

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

/// Waits until something that nobody announces has come about.
pub(crate) async fn eventually(what: &str, within: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What `future` comes to; a panic if it takes longer.
pub(crate) async fn soon<T>(what: &str, within: Duration, future: impl Future<Output = T>) -> T {
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
        Ok(At(Arc::new(Local::new(config))))
    } else {
        Err("local sandboxes are made of Linux' own isolation")
    }
}

/// Runs every case at every provider, as libtest would; `threads` at once unless the caller says otherwise.
pub(crate) fn run(
    threads: Option<usize>,
    places: &[(&'static str, Place)],
    tables: &[&'static [Case]],
) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(threads);
    let mut trials = Vec::new();
    for (name, place) in places {
        for case in tables.iter().copied().flatten() {
            let place = place.clone();
            trials.push(Trial::ignorable_test(format!("{name}::{}", case.name), move || {
                let at = match place {
                    Ok(at) => at,
                    Err(reason) => return Ok(Completion::ignored_with(reason)),
                };
                if let Some((flag, _)) = case.needs.filter(|(_, is_there)| !is_there(at.0.capabilities())) {
                    return Ok(Completion::ignored_with(format!(
                        "{} has no capability `{flag}`",
                        at.0.name()
                    )));
                }
                RUNTIME.block_on(soon("the end of the case", WITHIN, (case.run)(at)));
                Ok(Completion::Completed)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
