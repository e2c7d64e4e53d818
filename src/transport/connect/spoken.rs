//! Which codec servers take, as far as it is known.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use reqwest::StatusCode;

use super::codec::Codec;

const UNKNOWN: u8 = 0;
const BINARY: u8 = 1;
const JSON: u8 = 2;

/// What servers of one make take.
#[derive(Debug, Default)]
pub(super) struct Spoken(AtomicU8);

impl Spoken {
    /// What is known of servers of this make, for all of this process.
    pub(super) fn by(make: &str) -> Arc<Self> {
        static KNOWN: LazyLock<Mutex<HashMap<String, Arc<Spoken>>>> = LazyLock::new(Mutex::default);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(make.to_owned()).or_default())
    }

    /// What to speak: binary until it is known that it is not taken.
    pub(super) fn codec(&self) -> Codec {
        if self.0.load(Ordering::Relaxed) == JSON { Codec::Json } else { Codec::Binary }
    }

    /// It has been taken.
    pub(super) fn is(&self, codec: Codec) {
        let known = if codec == Codec::Json { JSON } else { BINARY };
        self.0.store(known, Ordering::Relaxed);
    }

    /// Whether such an answer to binary can mean that only JSON is taken: where binary was taken before, only
    /// one that says so.
    pub(super) fn may_be_json(&self, status: StatusCode) -> bool {
        let unclear = [
            StatusCode::BAD_REQUEST,
            StatusCode::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED,
            StatusCode::NOT_ACCEPTABLE,
            StatusCode::UNPROCESSABLE_ENTITY,
            StatusCode::NOT_IMPLEMENTED,
        ];
        status == StatusCode::UNSUPPORTED_MEDIA_TYPE
            || self.0.load(Ordering::Relaxed) == UNKNOWN && unclear.contains(&status)
    }
}
