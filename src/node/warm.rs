//! The option `warm` of `local({ … })`.

use super::convert::{self, Fields};
use crate::error::Result;
use crate::provider::not_yet;
use crate::providers::local::Warm;

/// When interpreters are to be started before there is code for them.
pub(super) fn warm(fields: &Fields<'_>) -> Result<Warm> {
    let Some(value) = fields.get("warm")? else { return Ok(Warm::Later) };
    if !convert::is_record(&value) {
        return Ok(if fields.boolean("warm")? == Some(false) { Warm::Never } else { Warm::Later });
    }
    let fields = Fields::of("warm", &value, &["python", "node"])?;
    if fields.get("node")?.is_some() {
        return Err(not_yet("`local({ warm: { node } })`"));
    }
    let Some(value) = fields.get("python")? else { return Ok(Warm::Later) };
    if !convert::is_record(&value) {
        let always = fields.boolean("python")? == Some(true);
        return Ok(if always { Warm::Always { preload: Vec::new() } } else { Warm::Never });
    }
    let fields = Fields::of("warm.python", &value, &["preload"])?;
    Ok(Warm::Always { preload: fields.strings("preload")?.unwrap_or_default() })
}
