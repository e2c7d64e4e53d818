//! What is said to E2B's control plane, and what it says. Times are in seconds. Whatever is absent in an answer has a
//! default: not all servers that speak so say all of it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::transport::Secret;

/// The longest time that can be said.
const LONGEST: u64 = i32::MAX as u64;

/// A time as it is said: whole seconds, never less than what was asked for, if it can be said at all.
pub(super) fn seconds(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    whole.min(LONGEST)
}

/// `POST /sandboxes`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewSandbox {
    #[serde(rename = "templateID")]
    pub(super) template_id: String,
    pub(super) timeout: u64,
    /// The older call makes sandboxes that anybody can talk to unless this is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secure: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) env_vars: BTreeMap<String, String>,
    #[serde(rename = "allow_internet_access", skip_serializing_if = "Option::is_none")]
    pub(super) allow_internet_access: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<NewNetwork>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewNetwork {
    pub(super) allow_out: Vec<String>,
    pub(super) deny_out: Vec<String>,
}

/// `POST /sandboxes/{id}/timeout` and `/connect`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Timeout {
    pub(super) timeout: u64,
}

/// `POST /sandboxes/{id}/snapshots`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct NewSnapshot<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
}

/// A sandbox, in any of the answers that tell of one: what was made has its tokens and no times, what is listed has its
/// times and no tokens, and what was asked for has both.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Sandbox {
    #[serde(rename = "sandboxID")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) envd_version: String,
    #[serde(deserialize_with = "secret")]
    pub(super) envd_access_token: Option<Secret>,
    pub(super) domain: Option<String>,
    #[serde(deserialize_with = "time")]
    pub(super) started_at: Option<SystemTime>,
    #[serde(deserialize_with = "time")]
    pub(super) end_at: Option<SystemTime>,
    #[serde(deserialize_with = "or_default")]
    pub(super) state: State,
    #[serde(deserialize_with = "or_default")]
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) cpu_count: Option<f64>,
    #[serde(rename = "memoryMB")]
    pub(super) memory_mb: Option<u64>,
    #[serde(rename = "diskSizeMB")]
    pub(super) disk_mb: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Paused,
    /// Also what a later version may have a word for.
    #[default]
    #[serde(other)]
    Running,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Snapshot {
    #[serde(rename = "snapshotID")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) names: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metric {
    #[serde(deserialize_with = "time")]
    pub(super) timestamp: Option<SystemTime>,
    pub(super) cpu_count: f64,
    pub(super) cpu_used_pct: f64,
    pub(super) mem_used: u64,
    pub(super) mem_total: u64,
    pub(super) disk_used: u64,
    pub(super) disk_total: u64,
}

/// The body of an answer of failure.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    #[serde(deserialize_with = "or_default")]
    pub(super) message: String,
    /// A word for programs; servers may invent more.
    pub(super) error_code: Option<String>,
}

/// `null` is as good as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

fn secret<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(value)?;
    Ok(text.filter(|text| !text.is_empty()).map(Secret::from))
}

/// RFC 3339. What is no time is as good as nothing.
fn time<'de, D: Deserializer<'de>>(value: D) -> Result<Option<SystemTime>, D::Error> {
    let text = Option::<String>::deserialize(value)?;
    Ok(text.and_then(|text| text.parse::<Timestamp>().ok()).map(SystemTime::from))
}
