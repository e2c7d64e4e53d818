//! What is told while an image comes, in JavaScript's terms.

use async_trait::async_trait;
use napi_derive::napi;

use super::callback::Callback;
use super::convert::Fields;
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

/// Who is told, if anybody is to be.
pub(super) fn watcher(fields: &Fields<'_>) -> Result<Option<JsWatcher>> {
    Ok(Callback::of(fields, "onPull")?.map(JsWatcher))
}

pub(super) struct JsWatcher(Callback<PullProgress>);

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
        self.0.tell(progress).await
    }
}
