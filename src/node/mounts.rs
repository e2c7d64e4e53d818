//! What of this machine a sandbox is to see, and what it is to be made from.

use std::collections::BTreeMap;

use super::convert::Fields;
use crate::error::{Error, Result};
use crate::provider::{Mount, MountMode};
use crate::providers::local::Template;

const MOUNT: [&str; 4] = ["source", "target", "mode", "force"];
const TEMPLATE: [&str; 2] = ["rootfs", "python"];

/// The option `mounts`.
pub(super) fn mounts(fields: &Fields<'_>) -> Result<Vec<Mount>> {
    fields.records("mounts", &MOUNT, |mount| {
        Ok(Mount {
            source: mount.required("source")?,
            target: mount.required("target")?,
            mode: mode(&mount.required("mode")?)?,
            force: mount.boolean("force")?.unwrap_or(false),
        })
    })
}

fn mode(name: &str) -> Result<MountMode> {
    MountMode::ALL.into_iter().find(|mode| mode.name() == name).ok_or_else(|| {
        Error::invalid(format!("`mounts.mode` must be 'ro', 'rw' or 'copy', got '{name}'"))
            .with_hint("'copy' reads what is there, and what is written stays in the sandbox")
    })
}

/// The option `templates`.
pub(super) fn templates(fields: &Fields<'_>) -> Result<BTreeMap<String, Template>> {
    fields.named("templates", &TEMPLATE, |template| {
        match (template.string("rootfs")?, template.string("python")?) {
            (Some(path), None) => Ok(Template::Rootfs(path)),
            (None, Some(path)) => Ok(Template::Python(path)),
            (None, None) => Err(template.missing("rootfs").with_hint("or `python`: one of the two")),
            (Some(_), Some(_)) => Err(Error::invalid(
                "`templates`: one that has `rootfs` takes its Python from there, and has no `python`",
            )),
        }
    })
}
