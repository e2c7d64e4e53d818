//! The data plane: envd, the program that runs in every sandbox of E2B and does there what it is asked for.

use std::sync::Weak;

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::provider::{Command, Content, Entry, Files, Process, not_yet};

/// The port that it listens on.
pub(crate) const PORT: u16 = 49983;

/// Where envd of a sandbox is, and what opens it.
pub(crate) struct Endpoint {
    /// Its address, without a path.
    pub(crate) base: String,
    /// The sandbox.
    pub(crate) sandbox: String,
    /// What it asks for, if it asks for anything.
    pub(crate) token: Option<String>,
    /// What it is able to.
    pub(crate) version: Version,
}

/// A version of envd.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version;

impl Version {
    /// Reads a version.
    pub(crate) fn read(_: &str) -> Self {
        Self
    }
}

/// Who knows what has become of a sandbox that is not found.
#[async_trait]
pub(crate) trait Fate: Send + Sync {
    /// The error of every call to it.
    async fn told(&self) -> Error;
}

/// envd of a sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Envd;

impl Envd {
    /// That of a sandbox. Nothing is sent.
    pub(crate) fn new(_: Endpoint) -> Result<Self> {
        Ok(Self)
    }

    /// Says who is to be asked when the sandbox is not found.
    pub(crate) fn ask_about_its_end(&self, _: Weak<dyn Fate>) {}

    pub(crate) async fn spawn(&self, _: &Command) -> Result<Process> {
        Err(not_yet("`spawn` on `e2b`"))
    }

    pub(crate) async fn attach(&self, _: u32) -> Result<Option<Process>> {
        Err(not_yet("`getProcess` on `e2b`"))
    }

    pub(crate) async fn processes(&self) -> Result<Vec<u32>> {
        Err(not_yet("`processes` on `e2b`"))
    }

    pub(crate) async fn listens(&self, _: u16) -> Result<bool> {
        Err(not_yet("`waitForPort` on `e2b`"))
    }
}

#[async_trait]
impl Files for Envd {
    async fn read(&self, _: &str, _: usize) -> Result<Content> {
        Err(not_yet("files on `e2b`"))
    }

    async fn write(&self, _: &str, _: Content) -> Result<()> {
        Err(not_yet("files on `e2b`"))
    }

    async fn make_dir(&self, _: &str) -> Result<()> {
        Err(not_yet("files on `e2b`"))
    }

    async fn list(&self, _: &str) -> Result<Vec<Entry>> {
        Err(not_yet("files on `e2b`"))
    }

    async fn stat(&self, _: &str) -> Result<Option<Entry>> {
        Err(not_yet("files on `e2b`"))
    }

    async fn rename(&self, _: &str, _: &str) -> Result<()> {
        Err(not_yet("files on `e2b`"))
    }

    async fn copy(&self, _: &str, _: &str) -> Result<()> {
        Err(not_yet("files on `e2b`"))
    }

    async fn remove(&self, _: &str) -> Result<()> {
        Err(not_yet("files on `e2b`"))
    }
}
