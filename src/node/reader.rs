//! The class `NativeReader`: bytes that JavaScript asks for piece by piece. The door makes streams of it.

use std::sync::Arc;

use futures_util::StreamExt;
use napi::Env;
use napi::bindgen_prelude::{PromiseRaw, Uint8Array};
use napi_derive::napi;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::provider::ByteStream;

/// Gives the pieces of a stream, one for each call.
#[napi]
pub struct NativeReader {
    /// Gone at its end, after a failure, and when it is closed.
    stream: Arc<Mutex<Option<ByteStream>>>,
    closed: CancellationToken,
}

impl NativeReader {
    pub(super) fn new(stream: ByteStream) -> Self {
        Self { stream: Arc::new(Mutex::new(Some(stream))), closed: CancellationToken::new() }
    }
}

#[napi]
impl NativeReader {
    /// The next piece, `null` at the end.
    #[napi(skip_typescript)]
    pub fn next<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, Option<Uint8Array>>> {
        let (stream, closed) = (Arc::clone(&self.stream), self.closed.clone());
        env.spawn_future(async move {
            let mut stream = stream.lock().await;
            let Some(open) = &mut *stream else { return Ok(None) };
            let piece = closed.run_until_cancelled(open.next()).await.flatten();
            if !matches!(piece, Some(Ok(_))) || closed.is_cancelled() {
                *stream = None;
            }
            Ok(piece.transpose()?.map(|bytes| Uint8Array::new(Vec::from(bytes))))
        })
    }

    /// Lets go of the stream, at once. A call that waits for a piece gets `null`.
    #[napi(skip_typescript)]
    pub fn close(&self) {
        self.closed.cancel();
        // Where the lock is taken, whoever has it sees the token.
        if let Ok(mut stream) = self.stream.try_lock() {
            *stream = None;
        }
    }
}
