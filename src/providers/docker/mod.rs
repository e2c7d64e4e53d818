//! Sandboxes of the Docker Engine API: named and typed, not built in this version.

use std::sync::Arc;

use async_trait::async_trait;

use crate::config;
use crate::error::{Error, Result};
use crate::provider::{Capabilities, CreateRequest, Filter, Info, Instance, Provider, not_yet};
use crate::transport;

/// Sandboxes of the Docker Engine API. Every call is refused, by name.
#[derive(Debug)]
pub struct Docker;

#[async_trait]
impl Provider for Docker {
    fn name(&self) -> &str {
        "docker"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn create(&self, _: &CreateRequest) -> Result<Arc<dyn Instance>> {
        let socket = config::docker_socket();
        // Who relies on what this machine offers is told what it has.
        let there = transport::answers_on_socket(&socket, "/_ping").await;
        let answers = if there { "an engine answers" } else { "no engine answers either" };
        Err(refusal().with_hint(format!("{answers} at {}", socket.display())))
    }

    async fn connect(&self, _: &str) -> Result<Option<Arc<dyn Instance>>> {
        Err(refusal())
    }

    async fn list(&self, _: &Filter) -> Result<Vec<Arc<dyn Instance>>> {
        Err(refusal())
    }

    async fn info(&self, _: &str) -> Result<Option<Info>> {
        Err(refusal())
    }

    async fn destroy(&self, _: &str) -> Result<()> {
        Err(refusal())
    }
}

fn refusal() -> Error {
    not_yet("the provider `docker`")
}
