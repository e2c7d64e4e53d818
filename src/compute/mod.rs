//! Which provider a call goes to: configuration, strategies, fall-back.

mod homes;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;

use self::homes::Homes;
use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{CreateRequest, DEFAULT_LIFE, Filter, Provider, Snapshot, Snapshots, is_same};
use crate::providers;
use crate::sandbox::{Sandbox, check_env, check_port};

/// What an instance of [`Compute`] works with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The providers, in order of priority. Empty: what this machine offers.
    pub providers: Vec<Arc<dyn Provider>>,
    /// Which of them gets the next sandbox.
    pub strategy: Strategy,
    /// Whether another is tried when one cannot create.
    pub fallback: bool,
    /// Whether a non-zero exit raises in JavaScript.
    pub strict: bool,
}

/// Which of several providers gets the next sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The first that can.
    #[default]
    Priority,
    /// Each in turn.
    RoundRobin,
}

/// Creates and finds sandboxes at the configured providers.
#[derive(Debug, Default)]
pub struct Compute {
    settings: RwLock<Settings>,
    turn: AtomicUsize,
    homes: Homes,
}

/// What several providers have, as far as they tell.
#[derive(Debug, Default)]
pub struct Listed {
    /// The sandboxes of those that have answered.
    pub sandboxes: Vec<Sandbox>,
    /// Why the others have not; each names its provider.
    pub failures: Vec<Error>,
}

impl Compute {
    /// With these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings: RwLock::new(settings), ..Self::default() }
    }

    /// Works with these settings from now on; sandboxes that exist stay where they are.
    pub fn configure(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// The settings now.
    pub fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a sandbox at the next provider, or at another if that one cannot and fall-back is on.
    pub async fn create(&self, request: &CreateRequest) -> Result<Sandbox> {
        self.create_for(request, None).await
    }

    /// Likewise, for this long at most: whatever life the request or the provider's configuration has.
    pub async fn create_for(&self, request: &CreateRequest, longest: Option<Duration>) -> Result<Sandbox> {
        check(request)?;
        let settings = self.settings();
        let (candidates, fallback) = match settings.providers.as_slice() {
            [] => (providers::of_this_machine()?, true),
            providers => (self.in_turn(providers, settings.strategy), settings.fallback),
        };
        let mut failures: Vec<Error> = Vec::new();
        for provider in candidates {
            let bounded = longest.map(|longest| bounded(&*provider, request, longest));
            match create_at(&provider, bounded.as_ref().unwrap_or(request), settings.strict).await {
                Ok(sandbox) => {
                    self.note(&sandbox);
                    return Ok(sandbox);
                }
                // What is wrong with the request is wrong everywhere.
                Err(error) if !fallback || is_final(&error) => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(none_of("create a sandbox", failures))
    }

    fn in_turn(&self, providers: &[Arc<dyn Provider>], strategy: Strategy) -> Vec<Arc<dyn Provider>> {
        let mut order = providers.to_vec();
        if strategy == Strategy::RoundRobin {
            order.rotate_left(self.turn.fetch_add(1, Ordering::Relaxed) % providers.len());
        }
        order
    }

    /// The name of the provider that is asked first.
    pub fn first(&self) -> Option<String> {
        self.all().ok()?.first().map(|provider| provider.name().to_owned())
    }

    /// The provider of this name among the configured ones.
    pub fn named(&self, name: &str) -> Result<Arc<dyn Provider>> {
        let providers = self.all()?;
        providers.iter().find(|provider| provider.name() == name).cloned().ok_or_else(|| {
            let known: Vec<_> = providers.iter().map(|provider| provider.name()).collect();
            Error::invalid(format!("no provider `{name}` is configured; there is: {}", known.join(", ")))
        })
    }

    /// Those that may have sandboxes.
    fn inhabited(&self) -> Result<Vec<Arc<dyn Provider>>> {
        let settings = self.settings();
        if settings.providers.is_empty() { providers::inhabited() } else { Ok(settings.providers) }
    }

    fn all(&self) -> Result<Vec<Arc<dyn Provider>>> {
        let settings = self.settings();
        if settings.providers.is_empty() { providers::of_this_machine() } else { Ok(settings.providers) }
    }

    /// The providers that may have a sandbox: the one that is known to have made it before all others.
    fn owners(&self, id: &str) -> Result<Vec<Arc<dyn Provider>>> {
        let mut providers = self.inhabited()?;
        if let Some(home) = self.homes.of(id)
            && let Some(at) = providers.iter().position(|provider| is_same(provider, &home))
        {
            providers[..=at].rotate_right(1);
        }
        Ok(providers)
    }

    /// Makes a sandbox at this provider, and at no other.
    pub async fn create_with(
        &self,
        provider: &Arc<dyn Provider>,
        request: &CreateRequest,
    ) -> Result<Sandbox> {
        let sandbox = create_at(provider, request, self.settings().strict).await?;
        self.note(&sandbox);
        Ok(sandbox)
    }

    /// Remembers where a sandbox lives, if it could be elsewhere.
    fn note(&self, sandbox: &Sandbox) {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let home = settings.providers.iter().find(|provider| is_same(provider, sandbox.provider()));
        if let Some(home) = home.filter(|_| settings.providers.len() > 1) {
            self.homes.note(sandbox.id(), home);
        }
    }

    /// Finds a sandbox at any of the providers. A provider that cannot answer is an error only if no other
    /// has the sandbox.
    pub async fn get(&self, id: &str) -> Result<Option<Sandbox>> {
        let strict = self.settings().strict;
        let mut failure = None;
        for provider in self.owners(id)? {
            match get_at(&provider, id, strict).await {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }

    /// The sandboxes of all providers that `filter` lets through. If some cannot answer, what the others have is given,
    /// and why those could not; if none can, that is the error.
    pub async fn list(&self, filter: &Filter) -> Result<Listed> {
        let strict = self.settings().strict;
        let providers = self.inhabited()?;
        let asked = providers.iter().map(|provider| list_at(provider, filter, strict));
        let mut listed = Listed::default();
        let mut answered = false;
        for answer in join_all(asked).await {
            match answer {
                Ok(sandboxes) => {
                    answered = true;
                    listed.sandboxes.extend(sandboxes);
                }
                Err(error) => {
                    tracing::warn!(provider = error.provider(), code = error.code(), "cannot list");
                    listed.failures.push(error);
                }
            }
        }
        if answered { Ok(listed) } else { Err(none_of("list its sandboxes", listed.failures)) }
    }

    /// Ends a sandbox where it lives, and nowhere else. Unknown: success. A provider that cannot answer is an error only
    /// if no other has the sandbox.
    pub async fn destroy(&self, id: &str) -> Result<()> {
        let providers = self.owners(id)?;
        if let [only] = providers.as_slice() {
            return destroy_at(only, id).await;
        }
        let mut failure = None;
        for provider in providers {
            match provider.has(id).await {
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                Ok(true) => return destroy_at(&provider, id).await,
                Err(error) => failure = Some(error.within("destroy", Some(provider.name()), Some(id))),
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// The request for a sandbox that is to live this long at most.
fn bounded(provider: &dyn Provider, request: &CreateRequest, longest: Duration) -> CreateRequest {
    let life = request.timeout.or(provider.life()).unwrap_or(DEFAULT_LIFE);
    // Without end is longer than anything.
    let life = if life.is_zero() { longest } else { life.min(longest) };
    CreateRequest { timeout: Some(life), ..request.clone() }
}

/// Makes a sandbox at one provider.
pub async fn create_at(
    provider: &Arc<dyn Provider>,
    request: &CreateRequest,
    strict: bool,
) -> Result<Sandbox> {
    check(request)?;
    if request.own.is_some() && !provider.has_own_options() {
        let name = provider.name();
        return Err(Error::unsupported(format!(
            "`providerOptions`: `{name}` has no options but the known ones"
        ))
        .within("create", Some(name), None));
    }
    let begun = std::time::Instant::now();
    let instance = provider
        .create(request)
        .await
        .map_err(|error| error.within("create", Some(provider.name()), None))?;
    tracing::debug!(provider = provider.name(), sandbox = instance.id(), duration = ?begun.elapsed(), "created");
    Ok(Sandbox::new(Arc::clone(provider), instance, strict))
}

/// Finds a sandbox at one provider.
pub async fn get_at(provider: &Arc<dyn Provider>, id: &str, strict: bool) -> Result<Option<Sandbox>> {
    let found = provider
        .connect(id)
        .await
        .map_err(|error| error.within("getById", Some(provider.name()), Some(id)))?;
    Ok(found.map(|instance| Sandbox::new(Arc::clone(provider), instance, strict)))
}

/// The sandboxes of one provider that `filter` lets through.
pub async fn list_at(provider: &Arc<dyn Provider>, filter: &Filter, strict: bool) -> Result<Vec<Sandbox>> {
    let found =
        provider.list(filter).await.map_err(|error| error.within("list", Some(provider.name()), None))?;
    Ok(found.into_iter().map(|instance| Sandbox::new(Arc::clone(provider), instance, strict)).collect())
}

/// Ends a sandbox at one provider.
pub async fn destroy_at(provider: &Arc<dyn Provider>, id: &str) -> Result<()> {
    provider.destroy(id).await.map_err(|error| error.within("destroy", Some(provider.name()), Some(id)))
}

/// The snapshots of one provider.
pub async fn snapshots_at(provider: &Arc<dyn Provider>) -> Result<Vec<Snapshot>> {
    let listed = async { snapshots_of(provider)?.list().await };
    listed.await.map_err(|error| error.within("snapshots.list", Some(provider.name()), None))
}

/// Deletes a snapshot of one provider. Missing: success.
pub async fn delete_snapshot_at(provider: &Arc<dyn Provider>, id: &str) -> Result<()> {
    let deleted = async { snapshots_of(provider)?.delete(id).await };
    deleted.await.map_err(|error| error.within("snapshots.delete", Some(provider.name()), None))
}

fn snapshots_of(provider: &Arc<dyn Provider>) -> Result<&dyn Snapshots> {
    provider.snapshots().ok_or_else(|| {
        Error::unsupported(format!("`snapshots`: the provider `{}` has none", provider.name()))
    })
}

/// Refuses what no provider could make.
fn check(request: &CreateRequest) -> Result<()> {
    check_env(&request.envs)?;
    request.ports.iter().try_for_each(|port| check_port("ports", *port))
}

fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Aborted | ErrorKind::AlreadyExists | ErrorKind::InvalidArgument | ErrorKind::NotFound
    )
}

/// The error where every provider failed: one is itself, several are told together.
fn none_of(what: &str, mut failures: Vec<Error>) -> Error {
    if failures.len() == 1 {
        return failures.remove(0);
    }
    let kind = failures.first().map_or(ErrorKind::Unavailable, Error::kind);
    let causes: Vec<_> = failures
        .iter()
        .map(|error| {
            let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}: {}{hint}", error.provider().unwrap_or("?"), error.message())
        })
        .collect();
    let cure = failures.iter().find_map(Error::hint).map(|hint| format!("{hint}; or ")).unwrap_or_default();
    Error::new(kind, format!("no provider can {what}: {}", causes.join("; ")))
        .with_hint(format!("{cure}configure another with compute.setConfig, or set {}", config::PROVIDER))
}
