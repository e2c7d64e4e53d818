//! The class `Sandbox`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use napi::Env;
use napi::bindgen_prelude::{External, Function, PromiseRaw, Unknown};
use napi::threadsafe_function::UnknownReturnValue;
use napi_derive::napi;

use super::convert::{self, Date};
use super::filesystem::Filesystem;
use super::process::NativeProcess;
use super::run::{CommandResult, Run, command_line, raise};
use super::terminal::NativeTerminal;
use super::{plugin, process, provider, terminal};
use crate::code::Language;
use crate::error::{Error, Result as CoreResult};
use crate::provider::{self as contract, Command};
use crate::sandbox as core;

/// An isolated place that runs commands and code and holds files. Made by `create`, found by `getById`.
///
/// After its end every call but `getInfo` and `destroy` raises `NotFoundError`, which tells why it ended. Any call may
/// raise `UnavailableError`.
///
/// @example
/// ```ts
/// await using own = await compute.sandbox.create()
/// await own.filesystem.writeFile('/app/hello.py', 'print("hello")')
/// const { stdout } = await own.runCommand('python hello.py', { cwd: '/app' })
/// ```
#[napi]
pub struct Sandbox {
    pub(super) core: core::Sandbox,
}

#[napi]
impl Sandbox {
    /// Its id, for `getById`.
    #[napi(getter)]
    pub fn sandbox_id(&self) -> &str {
        self.core.id()
    }

    /// The name of the provider that it came from, such as `'local'`.
    #[napi(getter)]
    pub fn provider(&self) -> &str {
        self.core.provider().name()
    }

    /// Its files.
    #[napi(getter)]
    pub fn filesystem(&self) -> Filesystem {
        Filesystem { sandbox: self.core.clone() }
    }

    #[napi(skip_typescript)]
    pub fn run_command<'e>(
        &self,
        env: &'e Env,
        command: Unknown<'e>,
        args: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, CommandResult>> {
        let (program, run) = command_line(&command, &args, &options)?;
        let sandbox = self.core.clone();
        env.spawn_future(async move {
            let wanted = run.throw_on_error.unwrap_or(sandbox.is_strict());
            let command = Command { program, ..run.command };
            if run.background {
                let begun = Instant::now();
                if sandbox.detaches(&run.options, run.has_signal)? {
                    let pid = sandbox.detach(&command).await?;
                    return Ok(CommandResult::of_background(pid, begun.elapsed(), &sandbox));
                }
                let process = sandbox.spawn(command, run.options).await?;
                process.release();
                return Ok(CommandResult::of_background(Some(process.pid()), begun.elapsed(), &sandbox));
            }
            let output = sandbox.run_command(command, run.options).await?;
            raise(&sandbox, "runCommand", &output, wanted)?;
            Ok(CommandResult::new(output, sandbox.id(), sandbox.provider().name()))
        })
    }

    #[napi(skip_typescript)]
    pub fn run_code<'e>(
        &self,
        env: &'e Env,
        code: Unknown<'e>,
        runtime: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, CommandResult>> {
        let source = convert::string("code", &code)?;
        let (language, run) = code_options(&runtime, &options)?;
        let sandbox = self.core.clone();
        env.spawn_future(async move {
            if run.background && run.context.is_some() {
                return Err(Error::unsupported("`background` cannot be combined with `context`")
                    .within("runCode", Some(sandbox.provider().name()), Some(sandbox.id()))
                    .into());
            }
            if run.background {
                let begun = Instant::now();
                let (language, pid) = if sandbox.detaches(&run.options, run.has_signal)? {
                    sandbox.detach_code(&source, language, run.command).await?
                } else {
                    let spawned = sandbox.spawn_code(&source, language, run.command, run.options);
                    let (language, process) = spawned.await?;
                    process.release();
                    (language, Some(process.pid()))
                };
                let mut result = CommandResult::of_background(pid, begun.elapsed(), &sandbox);
                result.output = Some(String::new());
                result.language = Some(language.to_string());
                return Ok(result);
            }
            let code = match &run.context {
                Some(context) => {
                    sandbox.run_code_in(context, &source, language, run.command, run.options).await?
                }
                None => sandbox.run_code(&source, language, run.command, run.options).await?,
            };
            raise(&sandbox, "runCode", &code.output, run.throw_on_error == Some(true))?;
            let mut result = CommandResult::new(code.output, sandbox.id(), sandbox.provider().name());
            result.output = Some(format!("{}{}", result.stdout, result.stderr));
            result.language = Some(code.language.to_string());
            result.results = code.results.map(|results| results.into_iter().map(code_output).collect());
            Ok(result)
        })
    }

    /// Starts a command; the door makes the class `Process` of what it gives.
    #[napi(skip_typescript)]
    pub fn spawn<'e>(
        &self,
        env: &'e Env,
        command: Unknown<'e>,
        args: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, NativeProcess>> {
        let (program, run) = command_line(&command, &args, &options)?;
        if run.background {
            return Err(
                Error::invalid("`background`: what `spawn` starts always goes on; leave it out").into()
            );
        }
        let sandbox = self.core.clone();
        // Its input is there to be written to, unless it is given.
        let command = Command { program, stdin: true, ..run.command };
        core::check(&command)?;
        env.spawn_future(async move {
            let process = sandbox.spawn(command, run.options).await?;
            let throw_on_error = run.throw_on_error == Some(true);
            Ok(NativeProcess { sandbox, process, owns: true, throw_on_error })
        })
    }

    #[napi(skip_typescript)]
    pub fn get_process<'e>(
        &self,
        env: &'e Env,
        pid: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, Option<NativeProcess>>> {
        let pid = convert::whole("pid", &pid, u32::MAX.into())? as u32;
        let sandbox = self.core.clone();
        env.spawn_future(async move {
            let process = sandbox.process(pid).await?;
            Ok(process.map(|process| NativeProcess { sandbox, process, owns: false, throw_on_error: false }))
        })
    }

    #[napi(skip_typescript)]
    pub fn processes<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, Vec<NativeProcess>>> {
        let sandbox = self.core.clone();
        env.spawn_future(async move {
            let handle = |process| NativeProcess {
                sandbox: sandbox.clone(),
                process,
                owns: false,
                throw_on_error: false,
            };
            Ok(sandbox.processes().await?.into_iter().map(handle).collect())
        })
    }

    /// Calls `notice` once a process that was started here has ended.
    #[napi(skip_typescript)]
    pub fn when_ended(&self, pid: u32, notice: Function<'_, (), UnknownReturnValue>) -> napi::Result<()> {
        process::when_ended(&self.core, pid, &notice)
    }

    #[napi(skip_typescript)]
    pub fn open_terminal<'e>(
        &self,
        env: &'e Env,
        options: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, NativeTerminal>> {
        let options = terminal::options(&options)?;
        let sandbox = self.core.clone();
        env.spawn_future(async move {
            let terminal = sandbox.open_terminal(options).await?;
            Ok(NativeTerminal { sandbox, terminal })
        })
    }

    #[napi(skip_typescript)]
    pub fn terminals<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, Vec<NativeTerminal>>> {
        let sandbox = self.core.clone();
        env.spawn_future(async move {
            let handle = |terminal| NativeTerminal { sandbox: sandbox.clone(), terminal };
            Ok(sandbox.terminals().await?.into_iter().map(handle).collect())
        })
    }

    #[napi(skip_typescript)]
    pub fn get_terminal<'e>(
        &self,
        env: &'e Env,
        id: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, Option<NativeTerminal>>> {
        let id = convert::string("id", &id)?;
        let sandbox = self.core.clone();
        env.spawn_future(async move {
            let terminal = sandbox.terminal(&id).await?;
            Ok(terminal.map(|terminal| NativeTerminal { sandbox, terminal }))
        })
    }

    /// The facts about it. After its end, what was last known, with the reason.
    ///
    /// @example
    /// ```ts
    /// const { status, expiresAt } = await sandbox.getInfo()
    /// ```
    #[napi]
    pub fn get_info<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, SandboxInfo>> {
        let sandbox = self.core.clone();
        env.spawn_future(async move {
            let info = sandbox.info().await?;
            Ok(SandboxInfo::new(sandbox.provider().name(), info))
        })
    }

    /// Lets it live longer, by `ms` milliseconds.
    ///
    /// @example
    /// ```ts
    /// await sandbox.extendTimeout(60_000)
    /// ```
    #[napi(ts_args_type = "ms: number", ts_return_type = "Promise<void>")]
    pub fn extend_timeout<'e>(&self, env: &'e Env, by: Unknown<'e>) -> napi::Result<PromiseRaw<'e, ()>> {
        let by = convert::millis("ms", &by)?;
        let sandbox = self.core.clone();
        env.spawn_future(async move { Ok(sandbox.extend_timeout(by).await?) })
    }

    /// A URL at which a port of it is reached from outside, at once, whether or not something listens there yet. Where
    /// nothing does, a connection fails. Each time the same; it ends with the sandbox.
    ///
    /// On the local provider it is `http://127.0.0.1:<port>`, for whatever can reach that address: programs on this
    /// machine. `'https'` and `'wss'` raise `UnsupportedError` there.
    ///
    /// @example
    /// ```ts
    /// const url = await sandbox.getUrl({ port: 3000 })
    /// const response = await fetch(`${url}/health`)
    /// ```
    #[napi(
        ts_args_type = "options: { port: number; protocol?: 'http' | 'https' | 'ws' | 'wss' | undefined }"
    )]
    pub fn get_url<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<PromiseRaw<'e, String>> {
        let fields = convert::Fields::of("options", &options, &["port", "protocol"])?;
        let port = fields.port("port")?.ok_or_else(|| Error::invalid("`port` is missing"))?;
        let protocol = fields.string("protocol")?;
        let sandbox = self.core.clone();
        env.spawn_future(async move { Ok(sandbox.url(port, protocol.as_deref()).await?) })
    }

    /// Waits until something in it listens on a port, without connecting to it. Raises `TimeoutError` if that takes too
    /// long.
    ///
    /// @example
    /// ```ts
    /// await sandbox.waitForPort(3000, { timeout: 10_000 })
    /// ```
    #[napi(ts_args_type = "port: number, options?: WaitForPortOptions", ts_return_type = "Promise<void>")]
    pub fn wait_for_port<'e>(
        &self,
        env: &'e Env,
        port: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, ()>> {
        let port = convert::port("port", &port)?;
        let fields = convert::Fields::of("options", &options, &["timeout", "signal"])?;
        let (timeout, cancel) = (fields.millis("timeout")?, fields.cancellation()?);
        let sandbox = self.core.clone();
        env.spawn_future(async move { Ok(sandbox.wait_for_port(port, timeout, &cancel).await?) })
    }

    /// Ends it and all that runs in it. Twice is fine.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn destroy<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, ()>> {
        let sandbox = self.core.clone();
        env.spawn_future(async move { Ok(sandbox.destroy().await?) })
    }

    /// The same as `destroy`.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn kill<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, ()>> {
        self.destroy(env)
    }

    #[napi(skip_typescript)]
    pub fn provider_handle(&self) -> provider::Handle {
        External::new(Arc::clone(self.core.provider()))
    }

    /// What the door finds its provider's object by.
    #[napi(skip_typescript)]
    pub fn provider_key(&self) -> f64 {
        provider::key(self.core.provider())
    }

    /// What the door finds a plug-in's own object for it by.
    #[napi(skip_typescript)]
    pub fn plugin_key(&self) -> Option<u32> {
        let plugin = self.core.instance().as_any().downcast_ref::<plugin::PluginInstance>();
        plugin.map(plugin::PluginInstance::key)
    }
}

/// `runCode(code, runtime?, options?)` and `runCode(code, options?)`.
fn code_options(runtime: &Unknown<'_>, options: &Unknown<'_>) -> CoreResult<(Option<Language>, Run)> {
    let (named, run) = if convert::is_record(runtime) {
        (None, Run::of_code(runtime)?)
    } else if convert::is_missing(runtime) {
        (None, Run::of_code(options)?)
    } else {
        (Some(convert::string("runtime", runtime)?), Run::of_code(options)?)
    };
    let named = named.or_else(|| run.runtime.clone());
    let language = named.map(|name| Language::named("runtime", &name)).transpose()?;
    Ok((language, run))
}

/// What a piece of code has given, in JavaScript's terms.
fn code_output(mut given: serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
    let is_main = given.remove("is_main_result").unwrap_or(false.into());
    let kinds =
        given.into_iter().filter(|(kind, value)| !value.is_null() && OUTPUT_KINDS.contains(&kind.as_str()));
    let mut output: serde_json::Map<_, _> = kinds.collect();
    output.insert("isMain".to_owned(), is_main);
    output.into()
}

/// The kinds in which code can give something.
const OUTPUT_KINDS: [&str; 12] =
    ["text", "html", "markdown", "svg", "png", "jpeg", "pdf", "latex", "json", "javascript", "data", "chart"];

/// The facts about a sandbox.
#[napi(object, object_from_js = false)]
pub struct SandboxInfo {
    /// The sandbox's id.
    pub id: String,
    /// The name of its provider.
    pub provider: String,
    /// Whether it lives.
    #[napi(ts_type = "SandboxStatus")]
    pub status: String,
    /// Why it no longer lives.
    pub reason: Option<String>,
    /// When it was made.
    pub created_at: Date,
    /// The life granted to it in all, in ms, extensions included. 0: until it is destroyed.
    pub timeout: f64,
    /// When it will end.
    pub expires_at: Option<Date>,
    /// What was given at its creation.
    #[napi(ts_type = "JsonObject")]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// The runtime that it has, if one was asked for.
    pub runtime: Option<String>,
    /// The layers of isolation that are on.
    pub isolation: Option<Vec<String>>,
    /// The limits in force.
    pub limits: Option<Limits>,
}

/// The limits of a sandbox.
#[napi(object, object_from_js = false)]
pub struct Limits {
    /// Whether they hold for the sandbox as a whole, or for each of its processes; or are the size of the machine that it
    /// is.
    #[napi(ts_type = "'cgroup' | 'per-process' | 'machine'")]
    pub enforcement: String,
    /// Bytes of memory.
    pub memory: f64,
    /// Bytes of files.
    pub disk: f64,
    /// Processors. Not there: all of them.
    pub cpus: Option<f64>,
    /// Processes and threads at once. Not there: as many as there is memory for.
    pub processes: Option<u32>,
}

impl SandboxInfo {
    fn new(provider: &str, info: contract::Info) -> Self {
        Self {
            id: info.id,
            provider: provider.to_owned(),
            status: info.status.name().to_owned(),
            reason: info.reason,
            created_at: Date(info.created_at),
            timeout: millis(info.timeout),
            expires_at: info.expires_at.map(Date),
            metadata: info.metadata,
            runtime: info.runtime,
            isolation: (!info.isolation.is_empty()).then_some(info.isolation),
            limits: info.limits.map(|limits| Limits {
                enforcement: limits.enforcement.name().to_owned(),
                memory: limits.memory as f64,
                disk: limits.disk as f64,
                cpus: limits.cpus,
                processes: limits.processes,
            }),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_millis() as f64
}
