//! Providers written in JavaScript: one more implementation of the contract.
//!
//! Whatever has `sandbox.{ create, getById, destroy }` is one, those of other packages included. Everything above the
//! contract then works as for our own providers. What a plug-in cannot do is built on its commands (`script`), or
//! refused by name; what it answers is read as a stranger's (`answer`).

mod answer;
mod call;
mod files;
mod instance;
mod line;
mod running;
mod script;
mod snapshots;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use napi::bindgen_prelude::{External, FnArgs, Function, Promise};
use napi_derive::napi;
use serde_json::{Value, json};

use self::call::Call;
pub use self::call::Handle;
pub(super) use self::instance::PluginInstance;
use self::running::silent;
use self::snapshots::Kept;
use super::provider;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Capabilities, CreateRequest, Filter, Info, Instance, Provider, Snapshots};

/// What a plug-in says of itself that nobody could find out.
#[derive(Clone, Copy, Debug)]
#[napi(object, object_to_js = false, js_name = "NativeFeatures")]
pub struct Features {
    /// Its `runCommand` takes a `signal`, and ends the command with all that came of it.
    pub kill: bool,
    /// Its `runCommand` takes `onStdout` and `onStderr`, and calls them as output comes.
    pub stream: bool,
    /// It has snapshots, and can list and delete them.
    pub snapshots: bool,
}

/// A provider over a plug-in; `identity` is from 1 and tells it from others. `sandboxes` serves `create`, `getById` and `list`, which give lists of sandboxes, and
/// `destroy`, which gives an empty one; `others` what gives no sandboxes.
#[napi(skip_typescript)]
pub fn plugin(
    name: String,
    identity: u32,
    features: Features,
    sandboxes: Function<'_, FnArgs<(String, Value)>, Promise<Vec<Handle>>>,
    others: Function<'_, FnArgs<(String, Value)>, Promise<Value>>,
) -> napi::Result<provider::Handle> {
    let (call, snapshots) = (Arc::new(Call::of(&sandboxes)?), Kept(Arc::new(Call::of(&others)?)));
    Ok(External::new(Arc::new(Plugin { name, identity, features, call, snapshots })))
}

struct Plugin {
    name: String,
    identity: u32,
    features: Features,
    call: Arc<Call<Vec<Handle>>>,
    snapshots: Kept,
}

impl Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Provider for Plugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> Option<u32> {
        Some(self.identity)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { kill: self.features.kill }
    }

    fn keeps_processes(&self) -> bool {
        false
    }

    fn has_own_options(&self) -> bool {
        true
    }

    async fn create(&self, request: &CreateRequest) -> Result<Arc<dyn Instance>> {
        let options = create_options(request)?;
        let function = Arc::clone(&self.call);
        let (sender, created) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            // A plug-in cannot be stopped: what it makes after its caller has gone is unmade.
            if let Err(Ok(unwanted)) = sender.send(function.call("create", options).await) {
                for handle in unwanted {
                    let _ = handle.call.call("destroy", json!([])).await;
                }
            }
        });
        let created: Vec<Handle> = created.await.map_err(|_| silent())??;
        let handle = created.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("the provider `{}` created nothing", self.name))
        })?;
        if let Some(wanted) = request.sandbox_id.as_ref().filter(|wanted| **wanted != handle.id) {
            let _ = handle.call.call("destroy", json!([])).await;
            return Err(Error::unsupported(format!(
                "`sandboxId`: the provider `{}` makes ids of its own, not `{wanted}`",
                self.name
            )));
        }
        Ok(Arc::new(PluginInstance::made(self, handle, request.runtime.clone())))
    }

    async fn connect(&self, id: &str) -> Result<Option<Arc<dyn Instance>>> {
        let found = self.call.call("getById", json!([id])).await?;
        Ok(found.into_iter().next().map(|handle| self.instance(handle)))
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Arc<dyn Instance>>> {
        let found = self.call.call("list", json!([])).await?;
        filter.choose(found.into_iter().map(|handle| self.instance(handle)).collect()).await
    }

    async fn info(&self, id: &str) -> Result<Option<Info>> {
        match self.connect(id).await? {
            Some(instance) => instance.info().await.map(Some),
            None => Ok(None),
        }
    }

    async fn has(&self, id: &str) -> Result<bool> {
        Ok(self.connect(id).await?.is_some())
    }

    async fn destroy(&self, id: &str) -> Result<()> {
        self.call.call("destroy", json!([id])).await.map(drop)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.features.snapshots.then_some(&self.snapshots as &dyn Snapshots)
    }
}

impl Plugin {
    fn instance(&self, handle: Handle) -> Arc<dyn Instance> {
        Arc::new(PluginInstance::found(self, handle))
    }
}

/// The options of a request, as upstream's providers take them: those that it was made of, and the provider's own.
fn create_options(request: &CreateRequest) -> Result<Value> {
    if request.network.is_some() || request.resources != Default::default() || !request.mounts.is_empty() {
        return Err(Error::unsupported(
            "`network`, `resources` and `mounts` cannot be passed to a plug-in provider",
        )
        .with_hint("what it takes instead goes into `providerOptions`"));
    }
    let mut options = request.own.clone().unwrap_or_default();
    let millis = |timeout: &Duration| timeout.as_millis() as u64;
    for (name, value) in [
        ("runtime", request.runtime.as_ref().map(|text| json!(text))),
        ("timeout", request.timeout.as_ref().map(millis).map(|number| json!(number))),
        ("sandboxId", request.sandbox_id.as_ref().map(|text| json!(text))),
        ("templateId", request.template_id.as_ref().map(|text| json!(text))),
        ("metadata", request.metadata.as_ref().map(|map| json!(map))),
        ("domain", request.domain.as_ref().map(|text| json!(text))),
        ("envs", (!request.envs.is_empty()).then(|| json!(request.envs))),
        ("ports", (!request.ports.is_empty()).then(|| json!(request.ports))),
    ] {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    }
    Ok(json!([options]))
}
