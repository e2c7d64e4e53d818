//! Create, get and kill; and how long a sandbox lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Outcome, Refusal, check_id, done, find, parsed, unknown};
use crate::answer::json;
use crate::options::Api;
use crate::request::Asked;
use crate::sandbox::{Sandbox, State, Wishes};
use crate::world::{Origin, World};

/// What a sandbox has, as the templates of E2B do.
pub const CPUS: u32 = 2;
pub const MEMORY_MB: u64 = 2048;

/// MiB of files that a sandbox of a template may have: of `disk-16` 16, of most 1024.
pub fn disk_mb(template: &str) -> u64 {
    template.strip_prefix(SMALL).and_then(|size| size.parse().ok()).unwrap_or(1024)
}
/// What the names of templates begin with that say how much that is.
pub const SMALL: &str = "disk-";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewSandbox {
    #[serde(rename = "templateID")]
    template_id: String,
    timeout: Option<i64>,
    #[serde(default)]
    secure: bool,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    env_vars: BTreeMap<String, String>,
    #[serde(rename = "allow_internet_access")]
    internet: Option<bool>,
    #[serde(default)]
    auto_pause: bool,
    auto_resume: Option<AutoResume>,
    network: Option<Value>,
    mcp: Option<Value>,
    iam: Option<Value>,
    volume_mounts: Option<Vec<Value>>,
}

#[derive(Debug, Default, Deserialize)]
struct AutoResume {
    #[serde(default)]
    enabled: bool,
}

pub(super) async fn create(world: &Arc<World>, asked: &Asked, api: Api) -> Outcome {
    let new: NewSandbox = parsed(&asked.body)?;
    for (name, given) in [
        ("mcp", new.mcp.is_some()),
        ("iam", new.iam.is_some()),
        ("volumeMounts", new.volume_mounts.as_ref().is_some_and(|mounts| !mounts.is_empty())),
    ] {
        if given {
            return Err(Refusal::bad(format!("`{name}` is not enabled for your team")));
        }
    }
    let default = if api == Api::V1 { 15 } else { 300 };
    let timeout = timeout(world, new.timeout.unwrap_or(default))?;
    let auto_resume = new.auto_resume.unwrap_or_default().enabled;
    if auto_resume && !new.auto_pause {
        return Err(Refusal::bad("autoResume can only be enabled when autoPause is enabled"));
    }
    let (name, tag) = new.template_id.split_once(':').unwrap_or((&new.template_id, "default"));
    let name = name.rsplit('/').next().unwrap_or_default();
    if name.is_empty() {
        return Err(Refusal::bad(format!("Invalid template reference: {}", new.template_id)));
    }
    let Some(origin) = world.origin(&new.template_id, name) else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("template '{name}' not found")));
    };
    if matches!(origin, Origin::Template) && !["default", "latest"].contains(&tag) {
        let message = format!("tag '{tag}' does not exist for template '{name}'");
        return Err(Refusal::new(StatusCode::NOT_FOUND, message));
    }
    if world.running() >= world.options.max_sandboxes {
        let message = format!(
            "you have reached the maximum number of concurrent E2B sandboxes ({}). If you need more, please visit 'https://e2b.dev/docs/billing'",
            world.options.max_sandboxes
        );
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, message));
    }
    let public = new.network.as_ref().and_then(|network| network.get("allowPublicTraffic"));
    let secure = api == Api::V2 || new.secure;
    let private = public == Some(&Value::Bool(false));
    if private && !secure {
        return Err(Refusal::bad("allowPublicTraffic can only be disabled for secure sandboxes"));
    }
    let template = match &origin {
        // A sandbox from a snapshot can do what its template can.
        Origin::Snapshot(kept) => kept.template.clone(),
        Origin::Template => name.to_owned(),
    };
    let wishes = Wishes {
        alias: matches!(origin, Origin::Template).then(|| name.to_owned()),
        template,
        metadata: new.metadata,
        envs: new.env_vars,
        secure,
        private,
        auto_pause: new.auto_pause,
        auto_resume,
        internet: new.internet,
        network: new.network,
    };
    let sandbox = world.create(wishes, timeout, origin).await?;
    Ok(json(StatusCode::CREATED, &described(world, &sandbox)))
}

/// A life that was asked for, in seconds.
pub(super) fn timeout(world: &World, seconds: i64) -> Result<Duration, Refusal> {
    let most = world.options.max_hours;
    match u64::try_from(seconds) {
        Ok(seconds) if seconds > most * 3600 => {
            Err(Refusal::bad(format!("Timeout cannot be greater than {most} hours")))
        }
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(Refusal::bad("Timeout must be greater than 0")),
    }
}

/// What create and connect answer.
pub(super) fn described(world: &World, sandbox: &Sandbox) -> Value {
    let mut value = json!({
        "sandboxID": sandbox.id,
        "templateID": sandbox.wishes.template,
        "clientID": "6532622b",
        "envdVersion": world.options.envd_version.to_string(),
        "domain": world.options.domain,
        "trafficAccessToken": sandbox.traffic_token,
    });
    if let Some(alias) = &sandbox.wishes.alias {
        value["alias"] = alias.as_str().into();
    }
    if let Some(token) = &sandbox.token {
        value["envdAccessToken"] = token.as_str().into();
    }
    value
}

/// What a list says about a sandbox.
pub(super) fn listed(world: &World, sandbox: &Sandbox) -> Value {
    let state = if sandbox.state() == State::Paused { "paused" } else { "running" };
    let mut value = json!({
        "sandboxID": sandbox.id,
        "templateID": sandbox.wishes.template,
        "clientID": "6532622b",
        "envdVersion": world.options.envd_version.to_string(),
        "startedAt": sandbox.started_at(),
        "endAt": sandbox.end_at(),
        "cpuCount": CPUS,
        "memoryMB": MEMORY_MB,
        "diskSizeMB": disk_mb(&sandbox.wishes.template),
        "state": state,
        "volumeMounts": [],
    });
    if !sandbox.wishes.metadata.is_empty() {
        value["metadata"] = json!(sandbox.wishes.metadata);
    }
    if let Some(alias) = &sandbox.wishes.alias {
        value["alias"] = alias.as_str().into();
    }
    value
}

pub(super) fn get(world: &World, id: &str) -> Outcome {
    let sandbox = find(world, id)?;
    let mut value = listed(world, &sandbox);
    value["domain"] = json!(world.options.domain);
    value["allowInternetAccess"] = json!(sandbox.wishes.internet);
    value["lifecycle"] = json!({
        "onTimeout": if sandbox.wishes.auto_pause { "pause" } else { "kill" },
        "autoResume": sandbox.wishes.auto_resume,
    });
    if let Some(network) = &sandbox.wishes.network {
        value["network"] = network.clone();
    }
    if let Some(token) = &sandbox.token {
        value["envdAccessToken"] = token.as_str().into();
    }
    Ok(json(StatusCode::OK, &value))
}

pub(super) async fn kill(world: &World, id: &str) -> Outcome {
    check_id(id)?;
    if world.kill(id).await { done() } else { Err(unknown(id)) }
}

#[derive(Debug, Deserialize)]
struct Timeout {
    timeout: i64,
}

pub(super) fn set_timeout(world: &World, id: &str, asked: &Asked) -> Outcome {
    check_id(id)?;
    let Timeout { timeout } = parsed(&asked.body)?;
    // More than a sandbox may live is what it may live, and less than nothing is nothing.
    let timeout =
        Duration::from_secs(u64::try_from(timeout).unwrap_or(0).min(world.options.max_hours * 3600));
    running(world, id)?.live_for(timeout, true);
    done()
}

/// The least that a refresh gives, in seconds.
const LEAST: u64 = 15;

#[derive(Debug, Deserialize)]
struct Refresh {
    duration: Option<u64>,
}

pub(super) fn refresh(world: &World, id: &str, asked: &Asked) -> Outcome {
    check_id(id)?;
    let Refresh { duration } = parsed(&asked.body)?;
    if duration.is_some_and(|duration| duration > 3600) {
        return Err(Refusal::bad("validation error: duration must be at most 3600"));
    }
    let duration = Duration::from_secs(duration.unwrap_or(LEAST).max(LEAST));
    running(world, id)?.live_for(duration, false);
    done()
}

/// A sandbox that has a clock: a paused one is not known to those who turn it.
fn running(world: &World, id: &str) -> Result<Arc<Sandbox>, Refusal> {
    let sandbox = find(world, id)?;
    match sandbox.state() {
        State::Running | State::Snapshotting => Ok(sandbox),
        State::Paused | State::Pausing => Err(unknown(id)),
    }
}
