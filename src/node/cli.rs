//! The command line, as `bin/computesdk.js` calls it.

use napi::Env;
use napi::bindgen_prelude::{External, PromiseRaw};
use napi_derive::napi;
use tokio_util::sync::CancellationToken;

use crate::cli;

/// Does what was typed; the exit code.
#[napi(skip_typescript)]
pub fn command_line<'e>(
    env: &'e Env,
    words: Vec<String>,
    cancel: &External<CancellationToken>,
) -> napi::Result<PromiseRaw<'e, i32>> {
    let cancel = CancellationToken::clone(cancel);
    env.spawn_future(async move { Ok(cli::main(words, cancel).await) })
}

/// What was typed after `mcp`, as JSON.
#[napi(skip_typescript)]
pub fn mcp_settings(words: Vec<String>) -> napi::Result<String> {
    Ok(cli::mcp::settings(words)?.to_string())
}
