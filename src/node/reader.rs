//! Streams that come out of a sandbox, piece by piece. The door makes Web streams of them.

use std::sync::Arc;

use futures_util::StreamExt;
use napi::Env;
use napi::bindgen_prelude::{PromiseRaw, Uint8Array};
use napi_derive::napi;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::provider::ByteStream;

#[napi]
pub struct NativeReader {
    bytes: Arc<Mutex<Option<ByteStream>>>,
    closed: CancellationToken,
}

impl NativeReader {
    pub(super) fn new(bytes: ByteStream) -> Self {
        Self { bytes: Arc::new(Mutex::new(Some(bytes))), closed: CancellationToken::new() }
    }
}

#[napi]
impl NativeReader {
    /// The next piece; `null` at the end, and after `close`.
    #[napi(skip_typescript)]
    pub fn next<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, Option<Uint8Array>>> {
        let (bytes, closed) = (Arc::clone(&self.bytes), self.closed.clone());
        env.spawn_future(async move {
            let mut held = bytes.lock().await;
            let next = async {
                match held.as_mut() {
                    Some(bytes) => bytes.next().await.transpose(),
                    None => Ok(None),
                }
            };
            let piece: Result<_> = closed.run_until_cancelled(next).await.unwrap_or(Ok(None));
            if !matches!(piece, Ok(Some(_))) {
                held.take();
            }
            Ok(piece?.map(|bytes| Uint8Array::new(Vec::from(bytes))))
        })
    }

    /// Gives up what is left.
    #[napi(skip_typescript)]
    pub fn close<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, ()>> {
        self.closed.cancel();
        let bytes = Arc::clone(&self.bytes);
        env.spawn_future(async move {
            bytes.lock().await.take();
            Ok(())
        })
    }
}
