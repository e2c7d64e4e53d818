//! The daemon in a sandbox: processes, files, terminals.

use async_trait::async_trait;

use super::access::Access;
use crate::error::Result;
use crate::provider::{Command, Content, Entry, Files, Process, not_yet};

/// The daemon of one sandbox.
#[derive(Debug)]
pub(super) struct Envd {
    access: Access,
}

impl Envd {
    pub(super) fn new(access: Access) -> Self {
        Self { access }
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) async fn spawn(&self, _: &Command) -> Result<Process> {
        Err(not_yet("`spawn` on `e2b`"))
    }

    pub(super) async fn attach(&self, _: u32) -> Result<Option<Process>> {
        Err(not_yet("`getProcess` on `e2b`"))
    }

    pub(super) async fn processes(&self) -> Result<Vec<u32>> {
        Err(not_yet("`processes` on `e2b`"))
    }

    pub(super) async fn listens(&self, _: u16) -> Result<bool> {
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
