//! Providers written in JavaScript: one more implementation of the contract.
//!
//! The door turns a plug-in's object into one function for the provider and one for each of its sandboxes:
//! `call(method, arguments)`, awaited, JSON in and out. Everything above the contract then works as for our
//! own providers. What a plug-in cannot do, or not yet through here, is refused by name.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use napi::bindgen_prelude::{External, FnArgs, FromNapiValue, Function, Object, ObjectRef, Promise};
use napi::threadsafe_function::ThreadsafeFunction;
use napi::{Env, Status, sys};
use napi_derive::napi;
use serde_json::{Value, json};

use super::error::raised;
use super::provider;
use crate::error::{Error, ErrorKind, Result};
use crate::process::Table;
use crate::provider::{
    Attached, Capabilities, Chunk, Command, Content, Control, CreateRequest, Entry, Exit, Files, Filter,
    Info, Instance, Metrics, Output, Process, Program, Provider, Running as Found, Size, Status as Life,
    Wanted, not_yet,
};

type Call<T> = ThreadsafeFunction<(String, Value), Promise<T>, FnArgs<(String, Value)>, Status, false, true>;

fn callable<T: FromNapiValue + 'static>(
    function: &Function<'_, FnArgs<(String, Value)>, Promise<T>>,
) -> napi::Result<Call<T>> {
    function
        .build_threadsafe_function::<(String, Value)>()
        .callee_handled::<false>()
        .weak::<true>()
        .build_callback(|context| Ok(FnArgs::from(context.value)))
}

async fn call<T: FromNapiValue + 'static>(function: &Call<T>, method: &str, arguments: Value) -> Result<T> {
    function.call_async_catch((method.to_owned(), arguments)).await.map_err(raised)?.await.map_err(raised)
}

/// A provider over a plug-in. `call` serves `create`, `getById` and `list`, which give lists of sandboxes,
/// and `destroy`, which gives an empty one.
#[napi(skip_typescript)]
pub fn plugin(
    name: String,
    function: Function<'_, FnArgs<(String, Value)>, Promise<Vec<Handle>>>,
) -> napi::Result<provider::Handle> {
    Ok(External::new(Arc::new(Plugin { name, call: Arc::new(callable(&function)?) })))
}

struct Plugin {
    name: String,
    call: Arc<Call<Vec<Handle>>>,
}

impl Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A sandbox of a plug-in as the door hands it over: `{ id, call, native }`.
pub struct Handle {
    id: String,
    call: Call<Value>,
    native: Native,
}

/// A reference to a plug-in's own object.
struct Native(ObjectRef<false>);

// SAFETY: the reference is resolved only where JavaScript's environment is at hand, on its thread; anywhere
// else it is a number that is carried along.
unsafe impl Sync for Native {}
// SAFETY: likewise.
unsafe impl Send for Native {}

impl FromNapiValue for Handle {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        // SAFETY: the caller's promise about `env` and `value` is passed on.
        let object = unsafe { Object::from_napi_value(env, value) }?;
        let missing = || napi::Error::from_reason("a plug-in's sandbox was handed over incomplete");
        let function: Function<'_, FnArgs<(String, Value)>, Promise<Value>> =
            object.get("call")?.ok_or_else(missing)?;
        let native: Object<'_> = object.get("native")?.ok_or_else(missing)?;
        Ok(Self {
            id: object.get("id")?.ok_or_else(missing)?,
            call: callable(&function)?,
            native: Native(native.create_ref()?),
        })
    }
}

impl napi::bindgen_prelude::TypeName for Handle {
    fn type_name() -> &'static str {
        "Handle"
    }
    fn value_type() -> napi::ValueType {
        napi::ValueType::Object
    }
}

impl napi::bindgen_prelude::ValidateNapiValue for Handle {}

#[async_trait]
impl Provider for Plugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { kill: false }
    }

    async fn create(&self, request: &CreateRequest) -> Result<Arc<dyn Instance>> {
        let options = create_options(request)?;
        let function = Arc::clone(&self.call);
        let (sender, created) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            // A plug-in cannot be stopped: what it makes after its caller has gone is unmade.
            if let Err(Ok(unwanted)) = sender.send(call(&function, "create", options).await) {
                for handle in unwanted {
                    let _ = call(&handle.call, "destroy", json!([])).await;
                }
            }
        });
        let created = created.await.map_err(|_| silent())??;
        let handle = created.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("the provider `{}` created nothing", self.name))
        })?;
        Ok(Arc::new(PluginInstance::new(handle, request.runtime.clone())))
    }

    async fn connect(&self, id: &str) -> Result<Option<Arc<dyn Instance>>> {
        let found = call(&self.call, "getById", json!([id])).await?;
        Ok(found
            .into_iter()
            .next()
            .map(|handle| Arc::new(PluginInstance::new(handle, None)) as Arc<dyn Instance>))
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Arc<dyn Instance>>> {
        let found = call(&self.call, "list", json!([])).await?;
        let all = found
            .into_iter()
            .map(|handle| Arc::new(PluginInstance::new(handle, None)) as Arc<dyn Instance>)
            .collect();
        filter.choose(all).await
    }

    async fn info(&self, id: &str) -> Result<Option<Info>> {
        match self.connect(id).await? {
            Some(instance) => instance.info().await.map(Some),
            None => Ok(None),
        }
    }

    async fn destroy(&self, id: &str) -> Result<()> {
        call(&self.call, "destroy", json!([id])).await.map(drop)
    }
}

/// The options of a request that was made of anything, as upstream's providers take them.
fn create_options(request: &CreateRequest) -> Result<Value> {
    if request.network.is_some() || request.resources != Default::default() || !request.mounts.is_empty() {
        return Err(Error::unsupported(
            "`network`, `resources` and `mounts` cannot be passed to a plug-in provider",
        ));
    }
    let mut options = json!({});
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
            options[name] = value;
        }
    }
    Ok(json!([options]))
}

/// A sandbox of a plug-in.
pub(super) struct PluginInstance {
    id: String,
    runtime: Option<String>,
    call: Arc<Call<Value>>,
    native: Native,
    started: Table,
}

impl Debug for PluginInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginInstance").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PluginInstance {
    fn new(handle: Handle, runtime: Option<String>) -> Self {
        Self {
            id: handle.id,
            runtime,
            call: Arc::new(handle.call),
            native: handle.native,
            started: Table::default(),
        }
    }

    /// The plug-in's own sandbox.
    pub(super) fn native<'e>(&self, env: &'e Env) -> napi::Result<Object<'e>> {
        self.native.0.get_value(env)
    }

    async fn file(&self, method: &str, arguments: Value) -> Result<Value> {
        call(&self.call, &format!("filesystem.{method}"), arguments).await
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
        let info = call(&self.call, "getInfo", json!([])).await?;
        Ok(Info {
            id: self.id.clone(),
            status: match info["status"].as_str() {
                Some("running") | None => Life::Running,
                Some("error") => Life::Error,
                Some(_) => Life::Stopped,
            },
            reason: None,
            created_at: moment(&info["createdAt"]).unwrap_or_else(SystemTime::now),
            timeout: Duration::from_millis(whole(&info["timeout"]).unwrap_or(0)),
            expires_at: None,
            metadata: info["metadata"].as_object().cloned(),
            runtime: self.runtime.clone(),
            isolation: Vec::new(),
            limits: None,
        })
    }

    async fn spawn(&self, command: &Command) -> Result<Process> {
        if command.stdin {
            return Err(Error::unsupported("`stdin` cannot be passed to a plug-in provider"));
        }
        if command.user.is_some() {
            return Err(Error::unsupported("`user` cannot be passed to a plug-in provider"));
        }
        let line = match &command.program {
            Program::Shell(line) => line.clone(),
            Program::Login => return Err(Error::unsupported("a plug-in provider has no terminals")),
            Program::Args(argv) => argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        };
        let mut options = json!({});
        if let Some(cwd) = &command.cwd {
            options["cwd"] = json!(cwd);
        }
        if !command.env.is_empty() {
            options["env"] = json!(command.env);
        }
        let function = Arc::clone(&self.call);
        let (sender, result) = tokio::sync::watch::channel(None);
        tokio::spawn(async move {
            let result = call(&function, "runCommand", json!([line, options])).await;
            sender.send_replace(Some(result.map_err(|error| Arc::new(Mutex::new(Some(error))))));
        });
        let control = Arc::new(Running(result.clone()));
        Ok(Process { output: Box::new(Printed { result, stderr: None, started: false }), control })
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
        let url = call(&self.call, "getUrl", json!([options])).await?;
        Ok(url.as_str().unwrap_or_default().to_owned())
    }

    async fn listens(&self, _: u16) -> Result<bool> {
        Err(Error::unsupported("`waitForPort` cannot be asked of a plug-in provider")
            .with_hint("try the URL of `getUrl` until it answers"))
    }

    async fn extend_timeout(&self, by: Duration) -> Result<()> {
        call(&self.call, "extendTimeout", json!([by.as_millis() as u64])).await.map(drop)
    }

    async fn metrics(&self) -> Result<Metrics> {
        Err(not_yet("`getMetrics` on a plug-in provider"))
    }

    async fn destroy(&self) -> Result<()> {
        call(&self.call, "destroy", json!([])).await.map(drop)
    }
}

/// A word that a POSIX shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A number that is neither negative nor broken. Large ones come as floating point.
fn whole(value: &Value) -> Option<u64> {
    value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0).map(|number| number as u64)
}

fn moment(value: &Value) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(whole(value)?))
}

/// How a plug-in's command ended.
type Ending = tokio::sync::watch::Receiver<Option<Result<Value, Failure>>>;

/// For the first who asks: it may be an exception of the plug-in's own, and there are no copies of those.
type Failure = Arc<Mutex<Option<Error>>>;

async fn ended(result: &Ending) -> Option<Result<Value, Failure>> {
    let mut result = result.clone();
    result.wait_for(Option::is_some).await.ok().and_then(|result| result.clone())
}

fn silent() -> Error {
    Error::new(ErrorKind::Unavailable, "the provider did not answer")
}

/// What a plug-in's command has printed: all at once, at its end.
#[derive(Debug)]
struct Printed {
    result: Ending,
    stderr: Option<Bytes>,
    started: bool,
}

#[async_trait]
impl Output for Printed {
    async fn next(&mut self, _: Wanted) -> Option<Chunk> {
        if self.started {
            return self.stderr.take().map(Chunk::Stderr);
        }
        let value = ended(&self.result).await?.ok()?;
        self.started = true;
        let text = |name: &str| Bytes::from(value[name].as_str().unwrap_or_default().to_owned());
        self.stderr = Some(text("stderr")).filter(|text| !text.is_empty());
        Some(Chunk::Stdout(text("stdout")))
    }
}

#[derive(Debug)]
struct Running(Ending);

#[async_trait]
impl Control for Running {
    fn pid(&self) -> u32 {
        0
    }

    async fn wait(&self) -> Result<Exit> {
        let value = ended(&self.0).await.ok_or_else(silent)?.map_err(|error| {
            error.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(silent)
        })?;
        Ok(Exit::Code(value["exitCode"].as_i64().unwrap_or(0) as i32))
    }

    async fn write_stdin(&self, _: &[u8]) -> Result<()> {
        Err(Error::unsupported("`stdin` cannot be passed to a plug-in provider"))
    }

    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }

    async fn signal(&self, _: i32) -> Result<()> {
        Err(Error::unsupported("a command of a plug-in provider cannot be signalled"))
    }

    async fn kill(&self) -> Result<()> {
        Err(Error::unsupported(
            "a command of a plug-in provider cannot be ended: `timeout` and `signal` do not work",
        ))
    }

    async fn resize(&self, _: Size) -> Result<()> {
        Err(Error::unsupported("this process has no terminal"))
    }

    async fn hang_up(&self, _: Duration) -> Result<()> {
        Err(Error::unsupported("this process has no terminal"))
    }
}

#[async_trait]
impl Files for PluginInstance {
    async fn read(&self, path: &str, _: usize) -> Result<Content> {
        let content = self.file("readFile", json!([path])).await?;
        let text = content
            .as_str()
            .ok_or_else(|| Error::unsupported("`readFile` of this plug-in provider gave no text"))?;
        Ok(Content::from(Bytes::from(text.to_owned())))
    }

    async fn write(&self, path: &str, mut content: Content) -> Result<()> {
        let mut all = BytesMut::new();
        while let Some(bytes) = content.bytes.next().await.transpose()? {
            all.extend_from_slice(&bytes);
        }
        let text = String::from_utf8(all.to_vec()).map_err(|_| {
            Error::unsupported("bytes that are no UTF-8 text cannot be passed to a plug-in provider")
        })?;
        self.file("writeFile", json!([path, text])).await.map(drop)
    }

    async fn make_dir(&self, path: &str) -> Result<()> {
        self.file("mkdir", json!([path])).await.map(drop)
    }

    async fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let entries = self.file("readdir", json!([path])).await?;
        let mut entries: Vec<_> = entries.as_array().into_iter().flatten().map(entry).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn stat(&self, path: &str) -> Result<Option<Entry>> {
        if !self.exists(path).await? {
            return Ok(None);
        }
        // What is known of it is what its directory says.
        let (directory, name) = match path.trim_end_matches('/').rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((directory, name)) => (directory, name),
            None => return Ok(Some(Entry { name: "/".to_owned(), directory: true, ..Entry::default() })),
        };
        let found = self.list(directory).await?.into_iter().find(|entry| entry.name == name);
        found.map(Some).ok_or_else(|| {
            Error::unsupported(format!("`stat` of {path}: this plug-in provider does not list what is there"))
        })
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.file("exists", json!([path])).await? == true)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.file("rename", json!([from, to])).await.map(drop)
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.file("copy", json!([from, to])).await.map(drop)
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.file("remove", json!([path])).await.map(drop)
    }
}

fn entry(entry: &Value) -> Entry {
    Entry {
        name: entry["name"].as_str().unwrap_or_default().to_owned(),
        directory: entry["type"] == "directory" || entry["isDirectory"] == true,
        size: whole(&entry["size"]),
        modified: moment(&entry["modified"]).or_else(|| moment(&entry["lastModified"])),
        symlink_target: None,
    }
}
