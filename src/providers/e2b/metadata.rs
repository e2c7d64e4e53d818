//! What a sandbox' metadata at E2B holds: the user's texts, and ours, which users do not see.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::wire::Sandbox;
use crate::code::Language;
use crate::error::{Error, Result};

/// What our keys begin with.
const RESERVED: &str = "computesdk.";
/// The id that a user gave.
pub(super) const ID: &str = "computesdk.id";
/// The language that was asked for.
pub(super) const RUNTIME: &str = "computesdk.runtime";

/// What a user gives, as texts.
pub(super) fn given(metadata: &Map<String, Value>) -> Result<BTreeMap<String, String>> {
    metadata
        .iter()
        .map(|(key, value)| {
            if key.starts_with(RESERVED) {
                return Err(Error::invalid(format!(
                    "`metadata.{key}`: keys that begin with `{RESERVED}` are reserved"
                )));
            }
            match value {
                Value::String(text) => Ok((key.clone(), text.clone())),
                _ => {
                    Err(Error::invalid(format!("`metadata.{key}` must be a string: E2B keeps nothing else"))
                        .with_hint("make a text of it with JSON.stringify"))
                }
            }
        })
        .collect()
}

/// What a user gave; `None` if that was nothing.
pub(super) fn of_user(sandbox: &Sandbox) -> Option<Map<String, Value>> {
    let own = sandbox.metadata.iter().filter(|(key, _)| !key.starts_with(RESERVED));
    let own: Map<_, _> = own.map(|(key, text)| (key.clone(), Value::from(text.clone()))).collect();
    (!own.is_empty()).then_some(own)
}

/// The id by which its user knows a sandbox.
pub(super) fn id(sandbox: &Sandbox) -> String {
    sandbox.metadata.get(ID).unwrap_or(&sandbox.id).clone()
}

/// Its language, if one was asked for.
pub(super) fn runtime(sandbox: &Sandbox) -> Option<String> {
    let name = sandbox.metadata.get(RUNTIME)?;
    Language::from_runtime(name).map(|language| language.to_string())
}
