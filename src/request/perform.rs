//! Doing what was asked for, within its limits, and for the one whose sandbox it is.

use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::actions::{Brief, Run, Task, Work};
use super::answer::{About, Facts, File, Listed, Outcome, Ran};
use super::create::Wish;
use super::events::Teller;
use super::failure::Failure;
use super::json::repeated;
use super::queue::{self, Place, Turn};
use super::{Handler, OWNER, alive};
use crate::command::{Listener, RunOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Filter, Info};
use crate::sandbox::Sandbox;

/// Entries of a directory that one answer holds.
const MAX_FILES: usize = 10_000;
/// Sandboxes that are asked at once whom they exist for.
const AT_ONCE: usize = 16;
/// Bytes that are kept of each stream of a command in the background.
const IN_BACKGROUND: usize = 4096;

impl Handler {
    /// Does it. What the answer is about is known better afterwards.
    pub(super) async fn perform(
        &self,
        work: Work,
        owner: Option<&str>,
        cancel: &CancellationToken,
        teller: Option<&Teller>,
        about: &mut About,
    ) -> Result<Outcome, Failure> {
        match work {
            Work::Create(wish) => {
                let sandbox = self.create(wish, owner, cancel).await?;
                about.name(&sandbox);
                Ok(Outcome::Nothing {})
            }
            Work::List => {
                let sandboxes = self.within(cancel, self.list(owner)).await.map_err(Failure::hidden)?;
                Ok(Outcome::Sandboxes(sandboxes))
            }
            Work::Destroy(id) => {
                if let Some(sandbox) = self.find(&id, owner, cancel).await? {
                    about.name(&sandbox);
                    self.within(cancel, sandbox.destroy()).await.map_err(Failure::of)?;
                }
                // One that is somebody else's is as unknown as one that never was.
                Ok(Outcome::Nothing {})
            }
            Work::Inside(id, task) => {
                let sandbox = self.find(&id, owner, cancel).await?.ok_or_else(|| {
                    let message = format!("Sandbox not found: {}", repeated(&id));
                    Failure::told(Error::new(ErrorKind::NotFound, message))
                })?;
                about.name(&sandbox);
                self.task(&sandbox, task, cancel, teller).await.map_err(Failure::of)
            }
        }
    }

    /// What `work` comes to, if the client waits for it and it takes no longer than an action may.
    async fn within<T>(
        &self,
        cancel: &CancellationToken,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let limit = self.policy.limits.action;
        let timed = async {
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                let message = format!("the action took longer than {} ms", limit.as_millis());
                Err(Error::new(ErrorKind::Timeout, message))
            })
        };
        alive(cancel, timed).await
    }

    /// A sandbox, if it exists for this owner.
    async fn find(
        &self,
        id: &str,
        owner: Option<&str>,
        cancel: &CancellationToken,
    ) -> Result<Option<Sandbox>, Failure> {
        let found = async {
            match self.compute.get(id).await? {
                Some(sandbox) if belongs(&sandbox, owner).await? => Ok(Some(sandbox)),
                _ => Ok(None),
            }
        };
        self.within(cancel, found).await.map_err(Failure::hidden)
    }

    async fn create(
        &self,
        mut wish: Wish,
        owner: Option<&str>,
        cancel: &CancellationToken,
    ) -> Result<Sandbox, Failure> {
        if let Some(owner) = owner {
            wish.stamp(owner);
        }
        let made = async {
            let _turn = self.counted(owner).await?;
            let longest = Some(self.policy.limits.life);
            let made = Made(Some(self.compute.create_for(&wish.request, longest).await?));
            if let (Some(sandbox), true) = (&made.0, owner.is_some())
                && !belongs(sandbox, owner).await?
            {
                let name = sandbox.provider().name();
                return Err(Error::unsupported(format!(
                    "the provider `{name}` does not give metadata back: its sandboxes cannot have an owner"
                )));
            }
            Ok(made)
        };
        let made = self.within(cancel, made).await.map_err(|error| wish.failure(error))?;
        made.keep().ok_or_else(|| Failure::hidden(Error::new(ErrorKind::Internal, "no sandbox was made")))
    }

    /// Refuses a sandbox more than an owner may have. No other is made for it before this turn is over.
    async fn counted(&self, owner: Option<&str>) -> Result<Option<Turn>> {
        let Some(most) = self.policy.limits.sandboxes else { return Ok(None) };
        let turn = queue::turn(Place::Owner(owner.map(str::to_owned))).await;
        let (has, mut failures) = self.all(owner).await?;
        // What cannot be counted might be too many.
        if let Some(failure) = failures.pop() {
            return Err(failure);
        }
        if has.len() >= most {
            let message = format!("there are {} sandboxes, {most} at most", has.len());
            return Err(Error::new(ErrorKind::QuotaExceeded, message));
        }
        Ok(Some(turn))
    }

    async fn list(&self, owner: Option<&str>) -> Result<Vec<Listed>> {
        Ok(self.all(owner).await?.0)
    }

    /// The sandboxes of an owner, and why some providers tell nothing of theirs.
    async fn all(&self, owner: Option<&str>) -> Result<(Vec<Listed>, Vec<Error>)> {
        let mut filter = Filter::default();
        if let Some(owner) = owner {
            filter.metadata.insert(OWNER.to_owned(), owner.into());
        }
        let found = self.compute.list(&filter).await?;
        let mine = stream::iter(found.sandboxes).map(|sandbox| async move {
            Ok::<_, Error>(belongs(&sandbox, owner).await?.then(|| Listed {
                sandbox_id: sandbox.id().to_owned(),
                provider: sandbox.provider().name().to_owned(),
            }))
        });
        let mine = mine.buffered(AT_ONCE).try_filter_map(|mine| async { Ok(mine) });
        Ok((mine.try_collect().await?, found.failures))
    }

    async fn task(
        &self,
        sandbox: &Sandbox,
        task: Task,
        cancel: &CancellationToken,
        teller: Option<&Teller>,
    ) -> Result<Outcome> {
        match task {
            Task::RunCode { source, language, run } => {
                let begun = Instant::now();
                if run.background {
                    let options = in_background(&run);
                    let spawned = sandbox.spawn_code(&source, language, run.command, options);
                    let (language, process) = self.within(cancel, spawned).await?;
                    process.release();
                    let ran = Ran::begun(process.pid(), begun.elapsed(), sandbox);
                    return Ok(Outcome::Result(Box::new(ran.of_code(language))));
                }
                let _turn = self.turn(sandbox, cancel).await?;
                let options = self.options(&run, cancel, teller).await?;
                let code = sandbox.run_code(&source, language, run.command, options).await?;
                Ok(Outcome::Result(Box::new(Ran::new(code.output, sandbox).of_code(code.language))))
            }
            Task::RunCommand(run) => {
                let begun = Instant::now();
                if run.background {
                    let options = in_background(&run);
                    let process = self.within(cancel, sandbox.spawn(run.command, options)).await?;
                    process.release();
                    let ran = Ran::begun(process.pid(), begun.elapsed(), sandbox);
                    return Ok(Outcome::Result(Box::new(ran)));
                }
                let _turn = self.turn(sandbox, cancel).await?;
                let options = self.options(&run, cancel, teller).await?;
                let output = sandbox.run_command(run.command, options).await?;
                Ok(Outcome::Result(Box::new(Ran::new(output, sandbox))))
            }
            Task::Brief(brief) => self.within(cancel, self.brief(sandbox, brief)).await,
        }
    }

    /// Waits until less than the limit runs in the sandbox.
    async fn turn(&self, sandbox: &Sandbox, cancel: &CancellationToken) -> Result<Turn> {
        let most = self.policy.limits.concurrent;
        let (provider, id) = (sandbox.provider().name().to_owned(), sandbox.id().to_owned());
        let turn = queue::turn(Place::Sandbox { provider, id, most });
        self.within(cancel, async { Ok(turn.await) }).await
    }

    /// How a command is run that is waited for, which begins now.
    async fn options(
        &self,
        run: &Run,
        cancel: &CancellationToken,
        teller: Option<&Teller>,
    ) -> Result<RunOptions> {
        if let Some(teller) = teller {
            teller.begin().await?;
        }
        let limits = &self.policy.limits;
        let listener = teller.map(|teller| Box::new(teller.clone()) as Box<dyn Listener>);
        let options = RunOptions { max_output: Some(limits.output), listener, ..RunOptions::default() };
        let most = run.timeout.unwrap_or(Duration::MAX).min(limits.action);
        Ok(RunOptions { timeout: Some(most), cancel: cancel.clone(), ..options })
    }

    async fn brief(&self, sandbox: &Sandbox, task: Brief) -> Result<Outcome> {
        let files = sandbox.filesystem();
        let done = |()| Outcome::Nothing {};
        match task {
            Brief::GetInfo => {
                let info = sandbox.info().await?;
                Ok(Outcome::Info(Box::new(Facts::new(sandbox.provider().name(), info))))
            }
            Brief::GetUrl { port, protocol } => {
                sandbox.url(port, protocol.as_deref()).await.map(Outcome::Url)
            }
            Brief::ReadFile(path) => {
                let most = self.policy.limits.body as u64;
                files.read_text_of(&path, most).await.map(Outcome::FileContent)
            }
            Brief::WriteFile { path, content } => {
                files.write(&path, bytes::Bytes::from(content)).await.map(done)
            }
            Brief::MakeDir(path) => files.make_dir(&path).await.map(done),
            Brief::ReadDir(path) => {
                let entries = files.list(&path).await?;
                if entries.len() > MAX_FILES {
                    return Err(Error::invalid(format!(
                        "{path} has too many entries: {}, {MAX_FILES} at most",
                        entries.len()
                    ))
                    .with_hint("list it with a command"));
                }
                Ok(Outcome::Files(entries.into_iter().map(|entry| File::new(&path, entry)).collect()))
            }
            Brief::Exists(path) => Ok(Outcome::Exists(files.exists(&path).await)),
            Brief::Remove(path) => files.remove(&path).await.map(done),
        }
    }
}

/// How a command is run that nobody waits for. No action reads what it writes, and a client may begin many.
fn in_background(run: &Run) -> RunOptions {
    RunOptions { timeout: run.timeout, max_output: Some(IN_BACKGROUND), ..RunOptions::default() }
}

impl About {
    fn name(&mut self, sandbox: &Sandbox) {
        self.sandbox_id = Some(sandbox.id().to_owned());
        self.provider = Some(sandbox.provider().name().to_owned());
    }
}

/// Whether a sandbox exists for this owner: for one that it names, or for nobody in particular.
async fn belongs(sandbox: &Sandbox, owner: Option<&str>) -> Result<bool> {
    match sandbox.info().await {
        Ok(info) => Ok(is_stamped(&info, owner)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        // What tells nothing of its sandboxes has never been given an owner: see `create`.
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(owner.is_none()),
        Err(error) => Err(error),
    }
}

fn is_stamped(info: &Info, owner: Option<&str>) -> bool {
    match (info.metadata.as_ref().and_then(|metadata| metadata.get(OWNER)), owner) {
        (Some(stamp), Some(owner)) => stamp == owner,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// A sandbox that nobody has been told of yet. Dropped, it is destroyed.
struct Made(Option<Sandbox>);

impl Made {
    fn keep(mut self) -> Option<Sandbox> {
        self.0.take()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let (Some(sandbox), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { sandbox.destroy().await });
        }
    }
}
