//! Sandboxes in containers of Docker, or of another engine that speaks as Docker's does.
//!
//! * [`config`] – what `docker({ … })` takes, and where its engine is.
//! * `engine` over `wire` – the engine's calls; `error` – what it said, in words that tell the cause and the cure.
//! * `claim` – ids that are about to be given.
//! * `plan` – the configuration and a request, resolved to a container; and what a container says of its sandbox.
//! * `image` – what containers are made from, and how it comes.
//! * `program` over `tar` – the agent, which is process 1 of every container.
//! * `leftovers` – containers that nobody will ever use.
//! * `link` over `raw` – the one connection to an agent; `stream` – descriptors in there, over it.
//! * `instance`, `process`, `files`, `jobs`, `ports`, `metrics` – the contract, spoken over that link.
//!
//! The engine makes a container and ends it, and is asked for nothing else: a command is a message to the agent, as it
//! is in a local sandbox, and takes no longer than that.

#[cfg(target_os = "linux")]
mod claim;
pub mod config;

#[cfg(target_os = "linux")]
mod engine;
#[cfg(target_os = "linux")]
mod error;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod instance;
#[cfg(target_os = "linux")]
mod jobs;
#[cfg(target_os = "linux")]
mod leftovers;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod metrics;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
mod ports;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod raw;
#[cfg(target_os = "linux")]
mod stream;
#[cfg(target_os = "linux")]
mod tar;
#[cfg(target_os = "linux")]
mod wire;

pub use config::{Coming, Config, Pull, Secret, Tls, Watcher};

/// The provider `docker`. Its sandboxes are seen by every process that reaches the engine.
#[derive(Debug, Default)]
pub struct Docker {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is nothing to configure"))]
    config: Config,
}

impl Docker {
    /// With this configuration; what is wrong with it is said by the first call that needs it.
    pub fn new(config: Config) -> Self {
        Self { config }
    }
}

#[cfg(not(target_os = "linux"))]
crate::providers::not_yet!(Docker, "docker");

/// Where an engine answers, of those that are found without configuration; or why none does.
#[cfg(target_os = "linux")]
pub(crate) async fn survey() -> crate::error::Result<String> {
    let engine = engine::Engine::at(&Config::default().place()?)?;
    tokio::time::timeout(ANSWER, engine.ping()).await.unwrap_or_else(|_| {
        Err(crate::error::Error::new(crate::error::ErrorKind::Timeout, "the engine does not answer"))
    })?;
    Ok(engine.place.to_string())
}

/// Likewise.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn survey() -> crate::error::Result<String> {
    Err(refusal())
}

/// How long an engine may take to say that it is there.
#[cfg(target_os = "linux")]
const ANSWER: std::time::Duration = std::time::Duration::from_secs(2);

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;

    use super::claim::Claim;
    use super::config::{Pull, Watcher};
    use super::engine::Engine;
    use super::instance::DockerInstance;
    use super::plan::{self, ID, Wanted};
    use super::wire::{Container, NewContainer};
    use super::{Docker, image, program};
    use crate::error::{Error, ErrorKind, Result};
    use crate::provider::{Capabilities, CreateRequest, Filter, Info, Instance, Provider, is_possible_id};
    use crate::providers::to_its_end;

    #[async_trait]
    impl Provider for Docker {
        fn name(&self) -> &str {
            "docker"
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities { kill: true }
        }

        fn life(&self) -> Option<Duration> {
            self.config.timeout.map(Duration::from_millis)
        }

        async fn create(&self, request: &CreateRequest) -> Result<Arc<dyn Instance>> {
            let engine = self.engine()?;
            let wanted = plan::resolve(&self.config, request)?;
            let (pull, watcher) = (self.config.pull, self.config.on_pull.clone());
            let claim = Claim::of(&engine.place, &wanted.id).await;
            let unheld = to_its_end(async move { make(engine, wanted, pull, watcher, claim).await }).await?;
            Ok(unheld.hold()?)
        }

        async fn connect(&self, id: &str) -> Result<Option<Arc<dyn Instance>>> {
            Ok(self.find(id).await?.map(|found| found as Arc<dyn Instance>))
        }

        async fn list(&self, filter: &Filter) -> Result<Vec<Arc<dyn Instance>>> {
            let engine = self.engine()?;
            let mut found: Vec<Arc<dyn Instance>> = Vec::new();
            for listed in engine.containers(&[ID]).await?.into_iter().filter(|one| one.state == "running") {
                // It may have ended since.
                let Some(container) = engine.container(&listed.id).await? else { continue };
                let Some(instance) = living(&engine, container) else { continue };
                if filter.accepts(&instance.known()) {
                    found.push(instance);
                }
            }
            Ok(found)
        }

        async fn info(&self, id: &str) -> Result<Option<Info>> {
            match self.find(id).await? {
                Some(found) => found.info().await.map(Some),
                None => Ok(None),
            }
        }

        async fn destroy(&self, id: &str) -> Result<()> {
            match self.find(id).await? {
                Some(found) => found.destroy().await,
                None => Ok(()),
            }
        }
    }

    impl Docker {
        fn engine(&self) -> Result<Engine> {
            Engine::at(&self.config.place()?)
        }

        async fn find(&self, id: &str) -> Result<Option<Arc<DockerInstance>>> {
            if !is_possible_id(id) {
                return Ok(None);
            }
            let engine = self.engine()?;
            let container = engine.container(&NewContainer::name(id)).await?;
            Ok(container.and_then(|container| living(&engine, container)))
        }
    }

    /// The handle of the sandbox that a container is, if it is one and runs.
    fn living(engine: &Engine, container: Container) -> Option<Arc<DockerInstance>> {
        if !container.state.running {
            return None;
        }
        Some(DockerInstance::of(engine, plan::facts(container)?))
    }

    /// A sandbox that nobody holds yet. Dropped, it is removed, and only then may another have its id.
    struct Unheld(Option<(Arc<DockerInstance>, Claim)>);

    impl Unheld {
        fn hold(mut self) -> Result<Arc<DockerInstance>> {
            let made = self.0.take().map(|(instance, _)| instance);
            made.ok_or_else(|| Error::new(ErrorKind::Internal, "the sandbox was not made"))
        }
    }

    impl Drop for Unheld {
        fn drop(&mut self) {
            let Some((instance, claim)) = self.0.take() else { return };
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move {
                    if let Err(error) = instance.destroy().await {
                        let (sandbox, code) = (instance.id(), error.code());
                        tracing::warn!(sandbox, code, "a container that nobody wants is left");
                    }
                    drop(claim);
                });
            }
        }
    }

    /// Makes a sandbox, and waits until it takes commands. What goes wrong leaves nothing.
    async fn make(
        engine: Engine,
        mut wanted: Wanted,
        pull: Pull,
        watcher: Option<Arc<dyn Watcher>>,
        claim: Claim,
    ) -> Result<Unheld> {
        image::provide(&engine, &wanted.image, pull, watcher.as_deref()).await?;
        program::provide(&engine, &wanted.image).await?;
        let instance = match run(&engine, &wanted).await {
            // Somebody has removed the volume, which the engine then has made anew, empty.
            Err(error) if error.message().contains(program::PATH) => {
                program::forget(&engine);
                program::provide(&engine, &wanted.image).await?;
                run(&engine, &wanted).await
            }
            // The engine's machine has no IPv6 at all.
            Err(error) if error.message().contains(plan::IPV6) => {
                wanted.container.host_config.sysctls.clear();
                run(&engine, &wanted).await
            }
            result => result,
        }?;
        Ok(Unheld(Some((instance, claim))))
    }

    async fn run(engine: &Engine, wanted: &Wanted) -> Result<Arc<DockerInstance>> {
        let name = NewContainer::name(&wanted.id);
        let made = engine.create(&name, &wanted.container).await.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => plan::taken(&wanted.id),
            _ => of_start(error, wanted),
        })?;
        let warnings = made.warnings.unwrap_or_default();
        let begun = begin(engine, wanted, &made.id, &warnings).await;
        if begun.is_err()
            && let Err(error) = engine.remove(&made.id).await
        {
            tracing::warn!(name, code = error.code(), "a container that nobody wants is left");
        }
        begun
    }

    async fn begin(
        engine: &Engine,
        wanted: &Wanted,
        container: &str,
        warnings: &[String],
    ) -> Result<Arc<DockerInstance>> {
        let gone = || Error::new(ErrorKind::Unavailable, "the container ended while it was being made");
        let known = engine.container(container).await?.ok_or_else(gone)?;
        plan::check_limits(&wanted.container.host_config, &known, warnings)?;
        let facts = plan::facts(known).ok_or_else(gone)?;
        engine.start(container).await.map_err(|error| of_start(error, wanted))?;
        let instance = DockerInstance::of(engine, facts);
        instance.link().await?;
        instance.open_ports(&wanted.ports)?;
        Ok(instance)
    }

    /// An engine tells of what it cannot do when it starts a container, or makes one.
    fn of_start(error: Error, wanted: &Wanted) -> Error {
        if wanted.container.host_config.storage_opt.is_empty() || !error.message().contains("storage-opt") {
            return error;
        }
        of_disk(error)
    }

    fn of_disk(error: Error) -> Error {
        Error::unsupported(format!("`resources.disk`: {}", error.message()))
            .with_hint("the engine must keep its containers on xfs with project quotas; or leave `disk` out")
            .with_source(error)
    }
}
