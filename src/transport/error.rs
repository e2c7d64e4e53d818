//! What goes wrong before there is an answer.

use crate::error::{Error, ErrorKind};

/// A request that got no answer, or only a part of it. The message says in which phase that was, and why; it holds
/// no address with a key in it.
pub(super) fn failed(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let phase = if error.is_connect() {
        "cannot connect"
    } else if error.is_timeout() {
        "no answer in time"
    } else if error.is_body() || error.is_decode() {
        "the answer was cut off"
    } else {
        "the request failed"
    };
    let mut reason = String::new();
    let mut source = std::error::Error::source(&error);
    while let Some(below) = source {
        reason = below.to_string();
        source = below.source();
    }
    let message = if reason.is_empty() { phase.to_owned() } else { format!("{phase}: {reason}") };
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}
