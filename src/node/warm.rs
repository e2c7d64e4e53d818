//! The option `warm` of `local({ … })`.

use super::convert::{self, Fields};
use crate::error::Result;
use crate::providers::local::{Warm, When};

/// Which interpreters are to be started before there is code for them, and when.
pub(super) fn warm(fields: &Fields<'_>) -> Result<Warm> {
    let Some(value) = fields.get("warm")? else { return Ok(Warm::default()) };
    if !convert::is_record(&value) {
        let when = if fields.boolean("warm")? == Some(false) { When::Never } else { When::Later };
        return Ok(Warm { python: when, node: when, ..Warm::default() });
    }
    let fields = Fields::of("warm", &value, &["python", "node"])?;
    let node = when(&fields, "node")?;
    match fields.get("python")? {
        Some(value) if convert::is_record(&value) => {
            let fields = Fields::of("warm.python", &value, &["preload"])?;
            let preload = fields.strings("preload")?.unwrap_or_default();
            Ok(Warm { python: When::Always, preload, node })
        }
        _ => Ok(Warm { python: when(&fields, "python")?, node, ..Warm::default() }),
    }
}

fn when(fields: &Fields<'_>, name: &str) -> Result<When> {
    Ok(match fields.boolean(name)? {
        None => When::Later,
        Some(true) => When::Always,
        Some(false) => When::Never,
    })
}
