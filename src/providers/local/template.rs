//! What a sandbox is made from: the programs of this machine, with this Python or that, a folder that is its root, or
//! what another sandbox was when it was kept.

use super::config::{Config, Template};
use super::snapshots::{self, Used};
use crate::error::{Error, ErrorKind, Result};

/// What a `template_id` leads to.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// One of the configuration's.
    Template(&'a Template),
    /// A snapshot.
    Snapshot(Used),
}

/// What is called so: the snapshot of that id, else the template of that name, else the snapshot.
pub(super) fn find<'a>(config: &'a Config, name: Option<&str>) -> Result<Option<Found<'a>>> {
    let Some(name) = name else { return Ok(None) };
    let found = snapshots::of_id(name).map(Found::Snapshot);
    let found = found.or_else(|| config.templates.get(name).map(Found::Template));
    let found = found.or_else(|| snapshots::of_name(name).map(Found::Snapshot));
    found.map(Some).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("`templateId`: there is no template or snapshot `{name}`"))
            .with_hint(names(config))
    })
}

fn names(config: &Config) -> String {
    let names: Vec<_> = config.templates.keys().cloned().chain(snapshots::names()).collect();
    if names.is_empty() {
        return "name it in local({ templates: { name: { python: '/path/to/python3' } } }), \
                or make it with sandbox.snapshot()"
            .to_owned();
    }
    format!("there is: {}", names.join(", "))
}
