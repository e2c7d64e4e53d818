//! The places that make sandboxes, side by side. Adding one: a folder, a line in [`BY_NAME`].

use std::sync::Arc;

use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Provider;

#[cfg(target_os = "linux")]
mod answers;
pub mod docker;
pub mod e2b;
pub mod local;

type Make = fn() -> Arc<dyn Provider>;

/// Every provider, made with its defaults.
const BY_NAME: &[(&str, Make)] = &[
    ("local", || Arc::new(local::Local::default())),
    ("docker", || Arc::new(docker::Docker::default())),
    ("e2b", || Arc::new(e2b::E2b::default())),
];

/// Those that are asked where none is named, one after the other.
const UNNAMED: [&str; 2] = ["local", "docker"];

/// The provider that this machine offers where none is configured: the one that `COMPUTESDK_PROVIDER`
/// names, else the first that can create of local and docker.
pub fn of_this_machine() -> Result<Vec<Arc<dyn Provider>>> {
    match config::default_provider() {
        None => UNNAMED.into_iter().map(by_name).collect(),
        Some(name) => by_name(&name).map(|provider| vec![provider]),
    }
}

/// Those of them that may have sandboxes: an engine that nobody has named need not be there.
pub fn inhabited() -> Result<Vec<Arc<dyn Provider>>> {
    let mut all = of_this_machine()?;
    if config::default_provider().is_none() && !docker::config::may_be_here() {
        all.retain(|provider| provider.name() != "docker");
    }
    Ok(all)
}

/// What `work` comes to. Once begun, it goes on to its end, even if nobody waits for that any more.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "the call was cut off").with_source(error))
    })
}

/// What they are called.
pub fn names() -> Vec<&'static str> {
    BY_NAME.iter().map(|(name, _)| *name).collect()
}

fn by_name(name: &str) -> Result<Arc<dyn Provider>> {
    BY_NAME.iter().find(|(known, _)| *known == name).map(|(_, make)| make()).ok_or_else(|| {
        let known = names().join(", ");
        Error::invalid(format!("{} names no provider: `{name}`; there is: {known}", config::PROVIDER))
    })
}

/// A provider that cannot work on this system: it can be named and configured, and refuses, by name.
#[cfg(not(target_os = "linux"))]
macro_rules! not_yet {
    ($provider:ident, $name:literal) => {
        #[async_trait::async_trait]
        impl crate::provider::Provider for $provider {
            fn name(&self) -> &str {
                $name
            }
            fn capabilities(&self) -> crate::provider::Capabilities {
                Default::default()
            }
            async fn create(
                &self,
                _: &crate::provider::CreateRequest,
            ) -> crate::error::Result<std::sync::Arc<dyn crate::provider::Instance>> {
                Err(refusal())
            }
            async fn connect(
                &self,
                _: &str,
            ) -> crate::error::Result<Option<std::sync::Arc<dyn crate::provider::Instance>>> {
                Err(refusal())
            }
            async fn list(
                &self,
                _: &crate::provider::Filter,
            ) -> crate::error::Result<Vec<std::sync::Arc<dyn crate::provider::Instance>>> {
                Err(refusal())
            }
            async fn info(&self, _: &str) -> crate::error::Result<Option<crate::provider::Info>> {
                Err(refusal())
            }
            async fn destroy(&self, _: &str) -> crate::error::Result<()> {
                Err(refusal())
            }
        }

        fn refusal() -> crate::error::Error {
            crate::provider::not_yet(concat!("the provider `", $name, "`"))
        }
    };
}
#[cfg(not(target_os = "linux"))]
pub(crate) use not_yet;
