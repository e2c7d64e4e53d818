//! A sandbox of a plug-in.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::{Call, Handle};
use super::running::{self, Ran};
use super::snapshots::snapshot;
use super::{Features, Plugin, line};
use crate::error::{Error, ErrorKind, Result};
use crate::process::Table;
use crate::provider::{
    Attached, Command, Detaching, Files, Info, Instance, Metrics, Process, Running as Found, Snapshot,
    Snapshotting, not_yet,
};

/// A sandbox of a plug-in.
pub(in crate::node) struct PluginInstance {
    id: String,
    key: u32,
    runtime: Option<String>,
    /// When it was made, if that was here.
    made_at: Option<SystemTime>,
    methods: Vec<String>,
    pub(super) call: Arc<Call<Value>>,
    features: Features,
    started: Table,
}

impl Debug for PluginInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginInstance").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PluginInstance {
    /// One that was found.
    pub(super) fn found(plugin: &Plugin, handle: Handle) -> Self {
        Self {
            id: handle.id,
            key: handle.key,
            runtime: None,
            made_at: None,
            methods: handle.methods,
            call: Arc::new(handle.call),
            features: plugin.features,
            started: Table::default(),
        }
    }

    /// One that was made just now, for code in this language.
    pub(super) fn made(plugin: &Plugin, handle: Handle, runtime: Option<String>) -> Self {
        Self { runtime, made_at: Some(SystemTime::now()), ..Self::found(plugin, handle) }
    }

    /// What the door finds the plug-in's own object by.
    pub(in crate::node) fn key(&self) -> u32 {
        self.key
    }

    /// Whether it has a method.
    pub(super) fn has(&self, method: &str) -> bool {
        self.methods.iter().any(|known| known == method)
    }
}

#[async_trait]
impl Instance for PluginInstance {
    fn id(&self) -> &str {
        &self.id
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn runtime(&self) -> Option<&str> {
        self.runtime.as_deref()
    }

    async fn info(&self) -> Result<Info> {
        let info = self.call.call("getInfo", json!([])).await?;
        let answer = Answer::new("getInfo", &info);
        let created_at = answer.moment("createdAt")?.or(self.made_at).ok_or_else(|| {
            Error::unsupported("`getInfo` of this plug-in provider does not tell `createdAt`")
        })?;
        Ok(Info {
            id: self.id.clone(),
            status: answer.status()?,
            reason: answer.text("reason")?,
            created_at,
            timeout: Duration::from_millis(answer.whole("timeout")?.unwrap_or(0)),
            expires_at: answer.moment("expiresAt")?,
            metadata: answer.object("metadata")?,
            runtime: self.runtime.clone(),
            isolation: Vec::new(),
            limits: None,
        })
    }

    async fn spawn(&self, command: &Command) -> Result<Process> {
        running::start(&self.call, self.features, command)
    }

    fn started(&self) -> &Table {
        &self.started
    }

    async fn attach(&self, _: u32) -> Result<Option<Attached>> {
        Err(Error::unsupported("a plug-in provider has no `getProcess`"))
    }

    async fn processes(&self) -> Result<Vec<Found>> {
        Err(Error::unsupported("a plug-in provider has neither `processes` nor terminals"))
    }

    fn files(&self) -> &dyn Files {
        self
    }

    async fn url(&self, port: u16, protocol: Option<&str>) -> Result<String> {
        let mut options = json!({ "port": port });
        if let Some(protocol) = protocol {
            options["protocol"] = json!(protocol);
        }
        let given = self.call.call("getUrl", json!([options])).await?;
        let Some(url) = given.as_str().filter(|url| url.contains("://")) else {
            return Err(Error::new(ErrorKind::Internal, format!("`getUrl` gave no URL: {given}")));
        };
        if let Some(protocol) = protocol.filter(|protocol| !url.starts_with(&format!("{protocol}://"))) {
            return Err(Error::unsupported(format!("`protocol: '{protocol}'`: the provider gave {url}")));
        }
        Ok(url.to_owned())
    }

    async fn listens(&self, _: u16) -> Result<bool> {
        Err(Error::unsupported("`waitForPort` cannot be asked of a plug-in provider")
            .with_hint("try the URL of `getUrl` until it answers"))
    }

    async fn extend_timeout(&self, by: Duration) -> Result<()> {
        self.call.call("extendTimeout", json!([by.as_millis() as u64])).await.map(drop)
    }

    async fn metrics(&self) -> Result<Metrics> {
        Err(not_yet("`getMetrics` on a plug-in provider"))
    }

    async fn destroy(&self) -> Result<()> {
        self.call.call("destroy", json!([])).await.map(drop)
    }

    fn detaching(&self) -> Option<&dyn Detaching> {
        Some(self)
    }

    fn snapshotting(&self) -> Option<&dyn Snapshotting> {
        self.has("snapshot").then_some(self as &dyn Snapshotting)
    }
}

#[async_trait]
impl Detaching for PluginInstance {
    async fn detach(&self, command: &Command) -> Result<Option<u32>> {
        let asked = json!([line::detached(command)?, { "background": true }, {}]);
        let ran = Ran::read(&self.call.call("runCommand", asked).await?)?;
        if ran.exit_code != 0 {
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            let message = format!("the command has not begun: exit code {}: {}", ran.exit_code, said.trim());
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(ran.pid)
    }
}

#[async_trait]
impl Snapshotting for PluginInstance {
    async fn snapshot(&self, name: Option<&str>) -> Result<Snapshot> {
        let options = name.map_or_else(|| json!({}), |name| json!({ "name": name }));
        snapshot(&self.call.call("snapshot", json!([options])).await?)
    }
}
