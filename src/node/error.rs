//! Errors on their way to JavaScript.
//!
//! An asynchronous call can neither set `error.code` nor give the error its caller's stack, so what the
//! door needs to make the real class travels as JSON in the `cause`. Were the door passed by, the message
//! would still be the right one. An exception of the user's own (thrown by `onStdout`, say) comes back as
//! it was thrown.

use napi::Status;
use serde_json::json;

use super::run::output_json;
use crate::error::{Error, ErrorKind};

impl From<Error> for napi::Error {
    fn from(error: Error) -> Self {
        if error.source_ref().is_some_and(|source| source.is::<Self>()) {
            return match error.into_source().map(|source| source.downcast::<Self>()) {
                Some(Ok(thrown)) => *thrown,
                _ => Self::from_reason("an exception was lost"),
            };
        }
        let details = json!({
            "code": error.code(),
            "kind": error.kind().code(),
            "provider": error.provider(),
            "sandboxId": error.sandbox(),
            "operation": error.operation(),
            "retryable": error.is_retryable(),
            "hint": error.hint(),
            "retryAfterMs": error.retry_after().map(|wait| wait.as_millis() as u64),
            "cause": error.source_ref().map(ToString::to_string),
            "result": error.output().map(output_json),
        });
        with_details(error.message(), &details)
    }
}

/// An error whose class and properties the door takes from `details`.
pub(super) fn with_details(message: &str, details: &serde_json::Value) -> napi::Error {
    let mut error = napi::Error::new(Status::GenericFailure, message);
    error.set_cause(napi::Error::new(Status::GenericFailure, details.to_string()));
    error
}

/// An exception that JavaScript threw while it was asked for something.
pub(super) fn thrown(error: napi::Error) -> Error {
    Error::new(ErrorKind::Internal, error.reason.clone()).with_source(error)
}
