//! The options of a request handler.

use std::time::Duration;

use napi::bindgen_prelude::Unknown;

use super::convert::Fields;
use super::create::{self, Create};
use crate::error::{Error, Result};
use crate::request::{Limits, Policy};

const OPTIONS: [&str; 5] =
    ["allowedActions", "allowedCreateOptions", "createDefaults", "limits", "allowedOrigins"];
const LIMITS: [&str; 7] = ["body", "code", "output", "action", "life", "concurrent", "sandboxes"];

/// What a handler lets through.
pub(super) fn policy(options: &Unknown<'_>) -> Result<Policy> {
    let fields = Fields::of("options", options, &OPTIONS)?;
    let mut policy = Policy::default();
    if let Some(names) = fields.strings("allowedActions")? {
        policy.allow_actions(&names)?;
    }
    if let Some(names) = fields.strings("allowedCreateOptions")? {
        policy.allow_create_options(&names)?;
    }
    if let Some(origins) = fields.strings("allowedOrigins")? {
        policy.allow_origins(&origins)?;
    }
    if let Some(defaults) = fields.get("createDefaults")? {
        let given = Fields::of("createDefaults", &defaults, &create::OPTIONS)?;
        for other in ["provider", "signal", "mounts"] {
            if given.get(other)?.is_some() {
                return Err(Error::invalid(format!("`createDefaults` has no option `{other}`"))
                    .with_hint("the provider is an option of the handler itself, and has its own `mounts`"));
            }
        }
        policy.create_with(Create::read(&defaults)?.request)?;
    }
    if let Some(given) = fields.get("limits")? {
        policy.limits = limits(&given, policy.limits)?;
    }
    Ok(policy)
}

fn limits(given: &Unknown<'_>, defaults: Limits) -> Result<Limits> {
    let fields = Fields::of("limits", given, &LIMITS)?;
    let number = |key: &str| -> Result<Option<usize>> {
        let number = positive(key, fields.whole(key, usize::MAX as u64)?)?;
        Ok(number.map(|number| number as usize))
    };
    let time = |key: &str, default| -> Result<Duration> {
        let time = fields.millis(key)?;
        positive(key, time.map(|time| time.as_millis() as u64))?;
        Ok(time.unwrap_or(default))
    };
    Ok(Limits {
        body: number("body")?.unwrap_or(defaults.body),
        code: number("code")?.unwrap_or(defaults.code),
        output: number("output")?.unwrap_or(defaults.output),
        concurrent: number("concurrent")?.unwrap_or(defaults.concurrent),
        sandboxes: number("sandboxes")?.or(defaults.sandboxes),
        action: time("action", defaults.action)?,
        life: time("life", defaults.life)?,
    })
}

/// Elsewhere 0 is without a limit: here it would be a trap.
fn positive(key: &str, number: Option<u64>) -> Result<Option<u64>> {
    match number {
        Some(0) => Err(Error::invalid(format!("`limits.{key}` must be 1 or more, got 0"))),
        number => Ok(number),
    }
}
