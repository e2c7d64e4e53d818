//! What is told while an image comes, in JavaScript's terms.

use async_trait::async_trait;
use napi::Status;
use napi::bindgen_prelude::FnArgs;
use napi::threadsafe_function::ThreadsafeFunction;
use napi_derive::napi;

use super::convert::{Fields, Returned};
use super::error::thrown;
use crate::error::Result;
use crate::providers::docker::{Coming, Watcher};

/// What has happened to an image that comes from its registry.
#[napi(object, object_from_js = false)]
pub struct PullProgress {
    /// The image, by the name that it was asked for.
    pub image: String,
    /// In the engine's words: `Downloading`, `Pull complete`, …
    pub status: String,
    /// The layer that this is about; without one, it is about the whole image.
    pub layer: Option<String>,
    /// Bytes of the layer that are there, where the engine says so.
    pub current: Option<f64>,
    /// Bytes that the layer has, where the engine says so.
    pub total: Option<f64>,
}

/// Awaited, as those are that take output; it does not keep the process alive.
type Callback = ThreadsafeFunction<PullProgress, Returned, FnArgs<(PullProgress,)>, Status, false, true>;

/// Who is told, if anybody is to be.
pub(super) fn watcher(fields: &Fields<'_>) -> Result<Option<JsWatcher>> {
    let Some(function) = fields.function::<FnArgs<(PullProgress,)>, Returned>("onPull")? else {
        return Ok(None);
    };
    let callback = function
        .build_threadsafe_function::<PullProgress>()
        .callee_handled::<false>()
        .weak::<true>()
        .build_callback(|context| Ok(FnArgs::from((context.value,))))
        .map_err(thrown)?;
    Ok(Some(JsWatcher(callback)))
}

pub(super) struct JsWatcher(Callback);

impl std::fmt::Debug for JsWatcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JsWatcher")
    }
}

#[async_trait]
impl Watcher for JsWatcher {
    async fn comes(&self, Coming { image, status, layer, current, total }: Coming) -> Result<()> {
        let bytes = |count: Option<u64>| count.map(|count| count as f64);
        let progress = PullProgress { image, status, layer, current: bytes(current), total: bytes(total) };
        match self.0.call_async_catch(progress).await.map_err(thrown)? {
            Returned::Nothing => Ok(()),
            Returned::Later(promise) => promise.await.map(drop).map_err(thrown),
        }
    }
}
