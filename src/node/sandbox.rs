//! The class `Sandbox`.

use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{External, Object, PromiseRaw, This, Unknown};
use napi_derive::napi;

use super::convert::{self, Date};
use super::filesystem::Filesystem;
use super::plugin;
use super::provider;
use super::run::{CommandResult, Run, command_line, raise};
use crate::code::Language;
use crate::error::{Error, Result as CoreResult};
use crate::provider::{self as contract, Command, Enforcement, Status, not_yet};
use crate::sandbox as core;

#[napi]
pub struct Sandbox {
    pub(super) core: core::Sandbox,
}

#[napi]
impl Sandbox {
    #[napi(getter)]
    pub fn sandbox_id(&self) -> &str {
        self.core.id()
    }

    #[napi(getter)]
    pub fn provider(&self) -> &str {
        self.core.provider().name()
    }

    #[napi(getter)]
    pub fn filesystem(&self) -> Filesystem {
        Filesystem { sandbox: self.core.clone() }
    }

    #[napi]
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
            let output = sandbox.run_command(command, run.options).await?;
            raise(&sandbox, "runCommand", &output, wanted)?;
            Ok(CommandResult::new(&sandbox, output))
        })
    }

    #[napi]
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
            let code = sandbox.run_code(&source, language, run.command, run.options).await?;
            raise(&sandbox, "runCode", &code.output, run.throw_on_error == Some(true))?;
            let mut result = CommandResult::new(&sandbox, code.output);
            result.output = Some(format!("{}{}", result.stdout, result.stderr));
            result.language = Some(code.language.to_string());
            Ok(result)
        })
    }

    #[napi]
    pub async fn get_info(&self) -> napi::Result<SandboxInfo> {
        let info = self.core.info().await?;
        Ok(SandboxInfo::new(self.core.provider().name(), info))
    }

    #[napi]
    pub fn extend_timeout<'e>(&self, env: &'e Env, by: Unknown<'e>) -> napi::Result<PromiseRaw<'e, ()>> {
        let by = convert::millis("ms", &by)?;
        let sandbox = self.core.clone();
        env.spawn_future(async move { Ok(sandbox.extend_timeout(by).await?) })
    }

    #[napi]
    pub fn get_url<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<PromiseRaw<'e, String>> {
        let fields = convert::Fields::of("options", &options, &["port", "protocol"])?;
        let port = fields.whole("port", u16::MAX.into())?.filter(|port| *port > 0);
        let port = port.ok_or_else(|| Error::invalid("`port` must be from 1 to 65535"))? as u16;
        let protocol = fields.string("protocol")?;
        let sandbox = self.core.clone();
        env.spawn_future(async move { Ok(sandbox.url(port, protocol.as_deref()).await?) })
    }

    #[napi]
    pub async fn destroy(&self) -> napi::Result<()> {
        Ok(self.core.destroy().await?)
    }

    #[napi]
    pub async fn kill(&self) -> napi::Result<()> {
        Ok(self.core.destroy().await?)
    }

    #[napi(skip_typescript)]
    pub fn provider_handle(&self) -> provider::Handle {
        External::new(Arc::clone(self.core.provider()))
    }

    #[napi]
    pub fn get_instance<'e>(&self, env: &'e Env, this: This<'e, Object<'e>>) -> napi::Result<Object<'e>> {
        match self.core.instance().as_any().downcast_ref::<plugin::PluginInstance>() {
            Some(plugin) => plugin.native(env),
            None => Ok(this.object),
        }
    }

    /// Refuses what a later version will do, by name.
    #[napi]
    pub async fn not_yet(&self, what: String) -> napi::Result<()> {
        let error = not_yet(&format!("`{what}`"));
        Err(error.within("sandbox", Some(self.core.provider().name()), Some(self.core.id())).into())
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
    let language = named
        .map(|name| {
            Language::from_runtime(&name).ok_or_else(|| {
                Error::invalid(format!("`runtime` names no language: `{name}`"))
                    .with_hint("'python' or 'node', with or without a version")
            })
        })
        .transpose()?;
    Ok((language, run))
}

#[napi(object, object_from_js = false)]
pub struct SandboxInfo {
    pub id: String,
    pub provider: String,
    pub status: String,
    pub reason: Option<String>,
    pub created_at: Date,
    pub timeout: f64,
    pub expires_at: Option<Date>,
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    pub runtime: Option<String>,
    pub isolation: Option<Vec<String>>,
    pub limits: Option<Limits>,
}

#[napi(object, object_from_js = false)]
pub struct Limits {
    pub enforcement: String,
    pub memory: f64,
    pub disk: f64,
    pub cpus: Option<f64>,
    pub processes: u32,
}

impl SandboxInfo {
    fn new(provider: &str, info: contract::Info) -> Self {
        Self {
            id: info.id,
            provider: provider.to_owned(),
            status: match info.status {
                Status::Running => "running",
                Status::Stopped => "stopped",
                Status::Error => "error",
            }
            .to_owned(),
            reason: info.reason,
            created_at: Date(info.created_at),
            timeout: millis(info.timeout),
            expires_at: info.expires_at.map(Date),
            metadata: info.metadata,
            runtime: info.runtime,
            isolation: (!info.isolation.is_empty()).then_some(info.isolation),
            limits: info.limits.map(|limits| Limits {
                enforcement: match limits.enforcement {
                    Enforcement::Cgroup => "cgroup",
                    Enforcement::PerProcess => "per-process",
                }
                .to_owned(),
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
