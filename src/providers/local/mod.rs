//! Sandboxes on this machine, made of Linux' own isolation: no daemon, no account, nothing to install.
//!
//! * [`config`] – what `local({ … })` takes.
//! * `plan` – the configuration and a request, resolved to plain data for the agent; `interpreter` finds
//!   Python and Node on this machine, `template` what they are made from; `mounts` is what they are lent of it, and
//!   `secrets` what they are not.
//! * `broker` – the resident program that makes sandboxes; `reserve` – those that it has made in advance; `link` – the
//!   socket that leads into one.
//! * `instance`, `process` (over a `pipe` or a `pty`), `files` – the contract, spoken over that link; `contents`,
//!   `jobs` – what files hold, and what takes time.
//! * `snapshots` over `layer` – what was kept of sandboxes, for others to be made from.
//! * `warm` – interpreters that are up before there is code for them.
//! * `ports` over `listener`, `tcp`, `url` – connections from this machine to what listens inside.
//! * `network` – connections from inside to what it is allowed to reach.
//! * `metrics` – what a sandbox uses; `survey` – what this machine gives for isolation.
//! * `error` – what the kernel said, in words that tell the cause and the cure.
//!
//! On other systems than Linux the provider exists and says why it cannot work.

pub mod config;

#[cfg(target_os = "linux")]
mod broker;
#[cfg(target_os = "linux")]
mod contents;
#[cfg(target_os = "linux")]
mod descriptor;
#[cfg(target_os = "linux")]
pub(in crate::providers) mod error;
#[cfg(target_os = "linux")]
pub(in crate::providers) mod files;
#[cfg(all(target_os = "linux", any(test, fuzzing)))]
pub(crate) mod fuzz;
#[cfg(target_os = "linux")]
mod instance;
#[cfg(target_os = "linux")]
mod interpreter;
#[cfg(target_os = "linux")]
pub(in crate::providers) mod jobs;
#[cfg(target_os = "linux")]
mod layer;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
pub(in crate::providers) mod listener;
#[cfg(target_os = "linux")]
mod metrics;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod network;
#[cfg(target_os = "linux")]
mod pipe;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
pub(in crate::providers) mod ports;
#[cfg(target_os = "linux")]
pub(in crate::providers) mod process;
#[cfg(target_os = "linux")]
mod pty;
#[cfg(target_os = "linux")]
mod reserve;
#[cfg(target_os = "linux")]
mod secrets;
#[cfg(target_os = "linux")]
mod snapshots;
#[cfg(target_os = "linux")]
pub mod survey;
#[cfg(target_os = "linux")]
pub(in crate::providers) mod tcp;
#[cfg(target_os = "linux")]
mod template;
#[cfg(target_os = "linux")]
pub(in crate::providers) mod url;
#[cfg(target_os = "linux")]
mod warm;

pub use config::{Config, Template, Warm, When};

/// The provider `local`. All values of it in a process see the same sandboxes; other processes do not.
#[derive(Debug, Default)]
pub struct Local {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is nothing to configure"))]
    config: Config,
}

impl Local {
    /// With this configuration; what is wrong with it is said by the first call that needs it.
    pub fn new(config: Config) -> Self {
        Self { config }
    }
}

#[cfg(not(target_os = "linux"))]
crate::providers::not_yet!(Local, "local");

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;

    use super::instance::{self, LocalInstance};
    use super::{Local, plan};
    use crate::error::Result;
    use crate::provider::{Capabilities, CreateRequest, Filter, Info, Instance, Provider, Snapshots};

    #[async_trait]
    impl Provider for Local {
        fn name(&self) -> &str {
            "local"
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities { kill: true }
        }

        fn life(&self) -> Option<Duration> {
            self.config.timeout.map(Duration::from_millis)
        }

        async fn create(&self, request: &CreateRequest) -> Result<Arc<dyn Instance>> {
            let settings = plan::resolve(&self.config, request).await?;
            Ok(LocalInstance::create(settings).await?)
        }

        async fn connect(&self, id: &str) -> Result<Option<Arc<dyn Instance>>> {
            Ok(instance::find(id).map(|found| found as Arc<dyn Instance>))
        }

        async fn list(&self, filter: &Filter) -> Result<Vec<Arc<dyn Instance>>> {
            filter.choose(instance::all().into_iter().map(|one| one as Arc<dyn Instance>).collect()).await
        }

        async fn info(&self, id: &str) -> Result<Option<Info>> {
            match instance::find(id) {
                Some(found) => found.info().await.map(Some),
                None => Ok(None),
            }
        }

        async fn destroy(&self, id: &str) -> Result<()> {
            match instance::find(id) {
                Some(found) => found.destroy().await,
                None => Ok(()),
            }
        }

        fn snapshots(&self) -> Option<&dyn Snapshots> {
            Some(self)
        }
    }
}
