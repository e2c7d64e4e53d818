//! A provider that keeps its sandboxes in memory, with files that fail in many ways.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::process::Table;
use crate::provider::{
    Attached, Capabilities, Command, Content, CreateRequest, Entry, Files, Filter, Info, Instance, Metrics,
    Process, Provider, Running, Status,
};
use crate::request::Limits;

/// What it was asked for, and what it answers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Its name, if it is not `memory`.
    pub(crate) name: &'static str,
    pub(crate) made: Mutex<BTreeMap<String, Arc<Kept>>>,
    pub(crate) asked: Mutex<Vec<CreateRequest>>,
    /// What creating fails with.
    pub(crate) failure: Mutex<Option<Error>>,
    /// Sandboxes have metadata, but it is not given back.
    pub(crate) forgets: bool,
    pub(crate) life: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Kept {
    id: String,
    metadata: Option<Map<String, Value>>,
    started: Table,
}

/// The provider over it.
#[derive(Debug)]
pub(crate) struct At(pub(crate) Arc<Memory>);

#[async_trait]
impl Provider for At {
    fn name(&self) -> &str {
        if self.0.name.is_empty() { "memory" } else { self.0.name }
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities { kill: true }
    }
    fn life(&self) -> Option<Duration> {
        self.0.life
    }
    async fn create(&self, request: &CreateRequest) -> Result<Arc<dyn Instance>> {
        if let Some(error) = self.0.failure.lock().unwrap().take() {
            return Err(error);
        }
        self.0.asked.lock().unwrap().push(request.clone());
        let mut made = self.0.made.lock().unwrap();
        let id = request.sandbox_id.clone().unwrap_or_else(|| format!("box-{}", made.len()));
        let metadata = request.metadata.clone().filter(|_| !self.0.forgets);
        let kept = Arc::new(Kept { id: id.clone(), metadata, started: Table::default() });
        made.insert(id, Arc::clone(&kept));
        Ok(Arc::new(One(kept, Arc::clone(&self.0))))
    }
    async fn connect(&self, id: &str) -> Result<Option<Arc<dyn Instance>>> {
        if id == "unreachable" {
            return Err(Error::invalid("the key in /srv/key is wrong"));
        }
        let found = self.0.made.lock().unwrap().get(id).cloned();
        Ok(found.map(|kept| Arc::new(One(kept, Arc::clone(&self.0))) as Arc<dyn Instance>))
    }
    async fn list(&self, filter: &Filter) -> Result<Vec<Arc<dyn Instance>>> {
        let all: Vec<_> = self.0.made.lock().unwrap().values().cloned().collect();
        let handle = |kept| Arc::new(One(kept, Arc::clone(&self.0))) as Arc<dyn Instance>;
        filter.choose(all.into_iter().map(handle).collect()).await
    }
    async fn info(&self, id: &str) -> Result<Option<Info>> {
        match self.connect(id).await? {
            Some(found) => found.info().await.map(Some),
            None => Ok(None),
        }
    }
    async fn destroy(&self, id: &str) -> Result<()> {
        self.0.made.lock().unwrap().remove(id);
        Ok(())
    }
}

#[derive(Debug)]
struct One(Arc<Kept>, Arc<Memory>);

#[async_trait]
impl Instance for One {
    fn id(&self) -> &str {
        &self.0.id
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn runtime(&self) -> Option<&str> {
        None
    }
    async fn info(&self) -> Result<Info> {
        Ok(Info {
            id: self.0.id.clone(),
            status: Status::Running,
            reason: None,
            created_at: SystemTime::UNIX_EPOCH,
            timeout: Duration::from_secs(60),
            expires_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)),
            metadata: self.0.metadata.clone(),
            runtime: None,
            isolation: Vec::new(),
            limits: None,
        })
    }
    async fn spawn(&self, _: &Command) -> Result<Process> {
        Err(Error::new(ErrorKind::Unavailable, "10.0.0.1 does not answer"))
    }
    fn started(&self) -> &Table {
        &self.0.started
    }
    async fn attach(&self, _: u32) -> Result<Option<Attached>> {
        Ok(None)
    }
    async fn processes(&self) -> Result<Vec<Running>> {
        Ok(Vec::new())
    }
    fn files(&self) -> &dyn Files {
        self
    }
    async fn url(&self, port: u16, protocol: Option<&str>) -> Result<String> {
        match protocol {
            // As a provider that does not answer.
            Some("wss") => std::future::pending().await,
            Some("https") => Err(Error::unsupported("`protocol`: there is no TLS here")),
            _ => Ok(format!("http://127.0.0.1:{port}")),
        }
    }
    async fn listens(&self, _: u16) -> Result<bool> {
        Ok(false)
    }
    async fn extend_timeout(&self, _: Duration) -> Result<()> {
        Ok(())
    }
    async fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::default())
    }
    async fn destroy(&self) -> Result<()> {
        self.1.made.lock().unwrap().remove(&self.0.id);
        Ok(())
    }
}

#[async_trait]
impl Files for One {
    async fn read(&self, path: &str, _: usize) -> Result<Content> {
        match path {
            "/large" => Ok(Content::from(Bytes::from(vec![b'a'; Limits::DEFAULT.body + 1]))),
            "/bytes" => Ok(Content::from(Bytes::from_static(b"\xff"))),
            _ => Err(Error::new(ErrorKind::NotFound, format!("File not found: {path}"))),
        }
    }
    async fn write(&self, _: &str, _: Content) -> Result<()> {
        Err(Error::new(ErrorKind::QuotaExceeded, "no space left in the sandbox: /a"))
    }
    async fn make_dir(&self, path: &str) -> Result<()> {
        Err(Error::new(ErrorKind::AlreadyExists, format!("a file of that name is there: {path}")))
    }
    async fn list(&self, _: &str) -> Result<Vec<Entry>> {
        Ok((0..10_001).map(|number| Entry { name: number.to_string(), ..Entry::default() }).collect())
    }
    async fn stat(&self, _: &str) -> Result<Option<Entry>> {
        Ok(None)
    }
    async fn rename(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
    async fn copy(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
    async fn remove(&self, path: &str) -> Result<()> {
        Err(Error::new(ErrorKind::PermissionDenied, format!("permission denied: {path}")))
    }
}
