//! Sandboxes of E2B's cloud, and of servers that speak as it does.
//!
//! * [`config`] – what `e2b({ … })` takes, and who asks where.
//! * `api`, `wire` – the control plane: calls, and what is said in them; `error` – what its failures mean.
//! * `request`, `metadata` – what `create` is asked for, in E2B's words.
//! * `instance`, `life`, `registry` – one sandbox, what is known about its life, and its one place in this process.
//! * `envd` – what runs in a sandbox: processes, files, terminals.

pub mod config;

mod api;
mod envd;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod instance;
mod kernel;
mod life;
mod metadata;
mod registry;
mod request;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

pub use self::config::{Config, Secret};

use self::api::Api;
use self::instance::E2bInstance;
use self::registry::{Claim, Claimed};
use self::request::{Wanted, is_made_there, is_possible_id};
use self::wire::{NewSandbox, Sandbox, State};
use crate::error::{Error, Result};
use crate::provider::{
    Capabilities, CreateRequest, Filter, Info, Instance, Provider, Snapshot, Snapshots, Status,
};
use crate::providers::to_its_end;

/// The provider `e2b`. All values of it in a process that ask with the same key share their handles.
#[derive(Debug, Default)]
pub struct E2b {
    config: Config,
}

impl E2b {
    /// With this configuration; what is wrong with it is said by the first call that needs it.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    fn api(&self, domain: Option<&str>) -> Result<Api> {
        Ok(Api { place: self.config.place(domain)? })
    }

    /// The handle of a sandbox that was found.
    fn found(&self, api: &Api, sandbox: &Sandbox) -> Arc<E2bInstance> {
        E2bInstance::of(api, sandbox, life::info(sandbox, None), request::default_timeout(&self.config))
    }

    /// Finds a sandbox, by the id of its user or of E2B.
    async fn look(&self, api: &Api, id: &str) -> Result<Option<Sandbox>> {
        if !is_possible_id(id) || registry::is_given_up(&api.place, id) {
            return Ok(None);
        }
        let remote = match registry::find_by_id(&api.place, id) {
            Some(held) => Some(held.remote().to_owned()),
            None if is_made_there(id) => Some(id.to_owned()),
            None => None,
        };
        if let Some(remote) = &remote
            && let Some((sandbox, _)) = api.get(remote).await?
        {
            return Ok(Some(sandbox));
        }
        if let Some(named) = named(api, id).await? {
            return Ok(api.get(&named).await?.map(|(sandbox, _)| sandbox));
        }
        // Other servers make ids as they like.
        if remote.is_none() && api.place.is_foreign() {
            return Ok(api.get(id).await?.map(|(sandbox, _)| sandbox));
        }
        Ok(None)
    }
}

/// The id that a sandbox has at E2B whose user gave it this one.
async fn named(api: &Api, id: &str) -> Result<Option<String>> {
    let wanted = BTreeMap::from([(metadata::ID.to_owned(), id.to_owned())]);
    let found = api.list(&wanted, None).await?;
    // A server that does not look at metadata lists all that it has.
    Ok(found.into_iter().find(|one| metadata::id(one) == id && one.id != id).map(|one| one.id))
}

/// Ends a sandbox; the end, once begun, goes on without its caller.
async fn kill(api: Api, remote: String) -> Result<bool> {
    to_its_end(async move { api.kill(&remote).await }).await
}

/// A sandbox that nobody holds yet. Dropped, it is ended.
struct Unheld {
    api: Api,
    sandbox: Option<Sandbox>,
    claimed: Option<Arc<Claimed>>,
}

impl Unheld {
    fn hold(mut self) -> Sandbox {
        self.sandbox.take().unwrap_or_default()
    }
}

impl Drop for Unheld {
    fn drop(&mut self) {
        let Some(sandbox) = self.sandbox.take() else { return };
        let (api, claimed) = (self.api.clone(), self.claimed.take());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = api.kill(&sandbox.id).await {
                    tracing::warn!(
                        sandbox = sandbox.id,
                        code = error.code(),
                        "a sandbox that nobody wants is left"
                    );
                }
                drop(claimed);
            });
        }
    }
}

/// Makes a sandbox, to its end even if the caller has gone: only then is it known what there is to be ended.
async fn make(api: &Api, new: NewSandbox, claim: Option<&Claim>) -> Result<Unheld> {
    let claimed = claim.map(Claim::kept);
    let api = api.clone();
    to_its_end(async move {
        let sandbox = api.create(&new).await?;
        Ok(Unheld { api, sandbox: Some(sandbox), claimed })
    })
    .await
}

#[async_trait]
impl Provider for E2b {
    fn name(&self) -> &str {
        "e2b"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { kill: true }
    }

    fn life(&self) -> Option<Duration> {
        self.config.timeout.map(Duration::from_millis)
    }

    async fn create(&self, request: &CreateRequest) -> Result<Arc<dyn Instance>> {
        let api = self.api(request.domain.as_deref())?;
        let Wanted { new, language, timeout } = request::resolve(&self.config, request)?;
        let claim = match &request.sandbox_id {
            None => None,
            Some(id) => {
                let claim = Claim::new(&api.place, id).await?;
                if named(&api, id).await?.is_some() {
                    return Err(registry::taken(id));
                }
                Some(claim)
            }
        };
        let begun = SystemTime::now();
        let unheld = make(&api, new, claim.as_ref()).await?;
        let version = unheld.sandbox.as_ref().map_or("", |sandbox| &sandbox.envd_version);
        if version.starts_with("0.0.") {
            return Err(Error::unsupported(format!(
                "`templateId`: the template was built for a version of E2B that is no longer spoken ({version})"
            ))
            .with_hint("build it again"));
        }
        let sandbox = unheld.hold();
        let known = Info {
            id: request.sandbox_id.clone().unwrap_or_else(|| sandbox.id.clone()),
            status: Status::Running,
            reason: None,
            created_at: begun,
            timeout,
            expires_at: begun.checked_add(timeout),
            metadata: request.metadata.clone(),
            runtime: language.map(|language| language.to_string()),
            isolation: Vec::new(),
            limits: None,
        };
        let instance = E2bInstance::of(&api, &sandbox, known, request::default_timeout(&self.config));
        instance.reach(&sandbox)?;
        Ok(instance)
    }

    async fn connect(&self, id: &str) -> Result<Option<Arc<dyn Instance>>> {
        let api = self.api(None)?;
        let Some(sandbox) = self.look(&api, id).await? else { return Ok(None) };
        let instance = self.found(&api, &sandbox);
        instance.reach(&sandbox)?;
        Ok(Some(instance))
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Arc<dyn Instance>>> {
        let api = self.api(None)?;
        let texts = metadata::given(&filter.metadata)?;
        let state = match filter.status {
            None => None,
            Some(Status::Running) => Some(State::Running),
            Some(Status::Stopped) => Some(State::Paused),
            Some(Status::Error) => return Ok(Vec::new()),
        };
        let found = api.list(&texts, state).await?;
        let wanted = found.iter().filter(|sandbox| {
            filter.accepts(&life::info(sandbox, None))
                && !registry::is_given_up(&api.place, &metadata::id(sandbox))
        });
        Ok(wanted.map(|sandbox| self.found(&api, sandbox) as Arc<dyn Instance>).collect())
    }

    async fn info(&self, id: &str) -> Result<Option<Info>> {
        let found = self.look(&self.api(None)?, id).await?;
        Ok(found.map(|sandbox| life::info(&sandbox, None)))
    }

    async fn destroy(&self, id: &str) -> Result<()> {
        let api = self.api(None)?;
        if !is_possible_id(id) {
            return Ok(());
        }
        let held = registry::find_by_id(&api.place, id).or_else(|| registry::find(&api.place, id));
        if let Some(held) = held {
            return held.destroy().await;
        }
        if is_made_there(id) && kill(api.clone(), id.to_owned()).await? {
            return Ok(());
        }
        match named(&api, id).await? {
            Some(remote) => kill(api, remote).await.map(drop),
            None if !is_made_there(id) && api.place.is_foreign() => kill(api, id.to_owned()).await.map(drop),
            None => Ok(()),
        }
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }
}

#[async_trait]
impl Snapshots for E2b {
    async fn list(&self) -> Result<Vec<Snapshot>> {
        let found = self.api(None)?.snapshots().await?;
        Ok(found.into_iter().map(|one| Snapshot { id: one.id, names: one.names }).collect())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let api = self.api(None)?;
        if id.is_empty() || id.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(Error::invalid(format!("`id` is not that of a snapshot: `{id}`")));
        }
        api.delete_snapshot(id).await.map(drop)
    }
}
