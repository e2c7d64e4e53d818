//! `sandbox.{ create, getById, list, destroy }` of a `Compute` and of a provider.

use std::sync::Arc;

use napi::bindgen_prelude::{External, Object, PromiseRaw, ToNapiValue, Unknown};
use napi::{Env, sys};
use napi_derive::napi;

use super::convert::{self, Fields};
use super::create::Create;
use super::sandbox::Sandbox;
use crate::compute::{self as core, Settings, Strategy};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Filter, Provider, Status, is_same};

const OPTIONS: [&str; 6] =
    ["provider", "defaultProvider", "providers", "providerStrategy", "fallbackOnError", "throwOnError"];

/// Whose sandboxes a call is about.
#[derive(Clone)]
enum Scope {
    Provider(Arc<dyn Provider>),
    Compute(Arc<core::Compute>),
}

/// What the door's `Compute` and its providers call. One for each of them.
pub struct Sandboxes {
    scope: Scope,
    /// Whether a non-zero exit raises unless the configuration says otherwise.
    strict: bool,
}

/// `(id)` and `(provider, id)`.
fn provider_and_id(first: &Unknown<'_>, second: &Unknown<'_>) -> Result<(Option<Arc<dyn Provider>>, String)> {
    if convert::is_missing(second) {
        return Ok((None, convert::string("sandboxId", first)?));
    }
    Ok((Some(convert::provider("provider", first)?), convert::string("sandboxId", second)?))
}

/// Those of one provider.
#[napi(skip_typescript)]
pub fn sandboxes_of_provider(provider: Unknown<'_>) -> napi::Result<External<Sandboxes>> {
    Ok(External::new(Sandboxes {
        scope: Scope::Provider(convert::provider("provider", &provider)?),
        strict: false,
    }))
}

/// Those of whatever will be configured.
#[napi(skip_typescript)]
pub fn sandboxes_of_compute(strict: bool) -> External<Sandboxes> {
    let core = core::Compute::new(Settings { strict, ..Settings::default() });
    External::new(Sandboxes { scope: Scope::Compute(Arc::new(core)), strict })
}

#[napi(skip_typescript)]
pub fn configure(of: &External<Sandboxes>, config: Unknown<'_>) -> napi::Result<()> {
    if let Scope::Compute(core) = &of.scope {
        core.configure(settings(&config, of.strict)?);
    }
    Ok(())
}

#[napi(skip_typescript)]
pub fn create<'e>(
    env: &'e Env,
    of: &External<Sandboxes>,
    options: Unknown<'e>,
) -> napi::Result<PromiseRaw<'e, Sandbox>> {
    let Create { request, cancel, provider } = Create::read(&options)?;
    let named = match (&provider, &of.scope) {
        (None, Scope::Compute(_)) => None,
        (None, Scope::Provider(provider)) => Some(Arc::clone(provider)),
        (Some(value), Scope::Compute(core)) if !convert::is_external(value) => {
            Some(core.named(&convert::string("provider", value)?)?)
        }
        (Some(value), _) => Some(convert::provider("provider", value)?),
    };
    let (scope, strict) = (of.scope.clone(), of.is_strict());
    env.spawn_future(async move {
        let created = async {
            match (&named, &scope) {
                (Some(provider), Scope::Compute(core)) => core.create_with(provider, &request).await,
                (Some(provider), _) | (None, Scope::Provider(provider)) => {
                    core::create_at(provider, &request, strict).await
                }
                (None, Scope::Compute(core)) => core.create(&request).await,
            }
        };
        let core = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                Err(Error::new(ErrorKind::Aborted, "The operation was aborted").within("create", None, None))
            }
            created = created => created,
        }?;
        Ok(Sandbox { core })
    })
}

#[napi(skip_typescript)]
pub fn get_by_id<'e>(
    env: &'e Env,
    of: &External<Sandboxes>,
    first: Unknown<'e>,
    second: Unknown<'e>,
) -> napi::Result<PromiseRaw<'e, Option<Sandbox>>> {
    let (provider, id) = provider_and_id(&first, &second)?;
    let (scope, strict) = (of.scope.clone(), of.is_strict());
    env.spawn_future(async move {
        let found = match (&provider, &scope) {
            (Some(provider), _) | (None, Scope::Provider(provider)) => {
                core::get_at(provider, &id, strict).await
            }
            (None, Scope::Compute(core)) => core.get(&id).await,
        };
        Ok(found?.map(|core| Sandbox { core }))
    })
}

#[napi(skip_typescript)]
pub fn list<'e>(
    env: &'e Env,
    of: &External<Sandboxes>,
    provider: Unknown<'e>,
    options: Unknown<'e>,
) -> napi::Result<PromiseRaw<'e, Listed>> {
    let provider = match convert::is_missing(&provider) {
        true => None,
        false => Some(convert::provider("provider", &provider)?),
    };
    let filter = filter(&options)?;
    let (scope, strict) = (of.scope.clone(), of.is_strict());
    env.spawn_future(async move {
        let found = match (&provider, &scope) {
            (Some(provider), _) | (None, Scope::Provider(provider)) => {
                let sandboxes = core::list_at(provider, &filter, strict).await;
                sandboxes.map(|sandboxes| core::Listed { sandboxes, failures: Vec::new() })
            }
            (None, Scope::Compute(core)) => core.list(&filter).await,
        };
        Ok(Listed(found?))
    })
}

/// What providers have, for the door: `{ sandboxes, failures }`.
pub struct Listed(core::Listed);

impl ToNapiValue for Listed {
    unsafe fn to_napi_value(raw: sys::napi_env, Self(listed): Self) -> napi::Result<sys::napi_value> {
        let env = Env::from_raw(raw);
        let mut object = Object::new(&env)?;
        let sandboxes: Vec<_> = listed.sandboxes.into_iter().map(|core| Sandbox { core }).collect();
        object.set("sandboxes", sandboxes)?;
        let mut failures = env.create_array(0)?;
        for failure in listed.failures {
            let error = napi::JsError::from(napi::Error::from(failure)).into_unknown(env);
            failures.insert(error)?;
        }
        object.set("failures", failures)?;
        // SAFETY: the caller's promise about the environment is passed on.
        unsafe { Object::to_napi_value(raw, object) }
    }
}

#[napi(skip_typescript)]
pub fn destroy<'e>(
    env: &'e Env,
    of: &External<Sandboxes>,
    first: Unknown<'e>,
    second: Unknown<'e>,
) -> napi::Result<PromiseRaw<'e, ()>> {
    let (provider, id) = provider_and_id(&first, &second)?;
    let scope = of.scope.clone();
    env.spawn_future(async move {
        match (&provider, &scope) {
            (Some(provider), _) | (None, Scope::Provider(provider)) => core::destroy_at(provider, &id).await,
            (None, Scope::Compute(core)) => core.destroy(&id).await,
        }?;
        Ok(())
    })
}

impl Sandboxes {
    /// What they are made and found by.
    pub(super) fn compute(&self) -> Arc<core::Compute> {
        match &self.scope {
            Scope::Provider(provider) => Self::of_one(Arc::clone(provider)),
            Scope::Compute(core) => Arc::clone(core),
        }
    }

    /// What those of one provider are made and found by.
    pub(super) fn of_one(provider: Arc<dyn Provider>) -> Arc<core::Compute> {
        Arc::new(core::Compute::new(Settings { providers: vec![provider], ..Settings::default() }))
    }

    fn is_strict(&self) -> bool {
        match &self.scope {
            Scope::Provider(_) => false,
            Scope::Compute(core) => core.settings().strict,
        }
    }
}

fn filter(options: &Unknown<'_>) -> Result<Filter> {
    let fields = Fields::of("options", options, &["metadata", "status"])?;
    let status = match fields.string("status")?.as_deref() {
        None => None,
        Some("running") => Some(Status::Running),
        Some("stopped") => Some(Status::Stopped),
        Some(other) => {
            return Err(Error::invalid(format!(
                "`options.status` must be 'running' or 'stopped', got '{other}'"
            )));
        }
    };
    Ok(Filter { metadata: fields.json("metadata")?.unwrap_or_default(), status })
}

fn settings(config: &Unknown<'_>, strict: bool) -> Result<Settings> {
    let fields = Fields::of("config", config, &OPTIONS)?;
    let (provider, default) = (fields.provider("provider")?, fields.provider("defaultProvider")?);
    if provider.is_some() && default.is_some() {
        tracing::warn!("both `provider` and `defaultProvider` are configured: `defaultProvider` is used");
    }
    let mut providers: Vec<_> = default.or(provider).into_iter().collect();
    for provider in fields.providers("providers")?.unwrap_or_default() {
        if !providers.iter().any(|known| is_same(known, &provider)) {
            providers.push(provider);
        }
    }
    let strategy = match fields.string("providerStrategy")?.as_deref() {
        None | Some("priority") => Strategy::Priority,
        Some("round-robin") => Strategy::RoundRobin,
        Some(other) => {
            return Err(Error::invalid(format!(
                "`config.providerStrategy` must be 'priority' or 'round-robin', got '{other}'"
            )));
        }
    };
    Ok(Settings {
        providers,
        strategy,
        fallback: fields.boolean("fallbackOnError")?.unwrap_or(true),
        strict: fields.boolean("throwOnError")?.unwrap_or(strict),
    })
}
