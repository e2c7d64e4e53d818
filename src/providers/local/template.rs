//! What a sandbox is made from: the programs of this machine, with this Python or that, or a folder that is its root.

use std::collections::BTreeMap;

use super::config::{Config, Template};
use crate::error::{Error, ErrorKind, Result};

/// The template of this name; every name is one of the configuration's.
pub(super) fn find<'a>(config: &'a Config, name: Option<&str>) -> Result<Option<&'a Template>> {
    let Some(name) = name else { return Ok(None) };
    config.templates.get(name).map(Some).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("`templateId`: there is no template `{name}`"))
            .with_hint(names(&config.templates))
    })
}

fn names(templates: &BTreeMap<String, Template>) -> String {
    if templates.is_empty() {
        return "name it in local({ templates: { name: { python: '/path/to/python3' } } })".to_owned();
    }
    let names: Vec<_> = templates.keys().map(String::as_str).collect();
    format!("there is: {}", names.join(", "))
}
