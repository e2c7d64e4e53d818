//! The token that stands for an `AbortSignal` on this side.
//!
//! napi's own type for signals replaces the user's `onabort`, misses signals that are aborted already, and
//! keeps an entry for every call; the door listens to the signal instead and cancels this.

use napi::bindgen_prelude::External;
use napi_derive::napi;
use tokio_util::sync::CancellationToken;

#[napi(skip_typescript)]
pub fn cancellation() -> External<CancellationToken> {
    External::new(CancellationToken::new())
}

#[napi(skip_typescript)]
pub fn cancel(token: &External<CancellationToken>) {
    token.cancel();
}
