//! Errors on their way to JavaScript.
//!
//! An asynchronous call can neither set `error.code` nor give the error its caller's stack, so what the
//! door needs to make the real class travels as JSON in the `cause`. Were the door passed by, the message
//! would still be the right one. An exception of the user's own (thrown by `onStdout`, say) comes back as
//! it was thrown.

use napi::Status;
use serde::Serialize;

use super::run::CommandResult;
use crate::error::{Error, ErrorKind};

/// What the door makes the real error of.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Details<'a> {
    /// Decides the class.
    pub(super) kind: &'a str,
    pub(super) code: &'a str,
    pub(super) provider: Option<&'a str>,
    pub(super) sandbox_id: Option<&'a str>,
    pub(super) operation: Option<&'a str>,
    pub(super) retryable: bool,
    pub(super) hint: Option<&'a str>,
    pub(super) retry_after_ms: Option<u64>,
    pub(super) status: Option<u16>,
    pub(super) request_id: Option<&'a str>,
    pub(super) cause: Option<String>,
    pub(super) result: Option<CommandResult>,
}

impl From<Error> for napi::Error {
    fn from(error: Error) -> Self {
        if error.source_ref().is_some_and(|source| source.is::<Self>()) {
            return match error.into_source().map(|source| source.downcast::<Self>()) {
                Some(Ok(thrown)) => *thrown,
                _ => Self::from_reason("an exception was lost"),
            };
        }
        let (provider, sandbox_id) = (error.provider(), error.sandbox());
        let details = Details {
            kind: error.kind().code(),
            code: error.code(),
            provider,
            sandbox_id,
            operation: error.operation(),
            retryable: error.is_retryable(),
            hint: error.hint(),
            retry_after_ms: error.retry_after().map(|wait| wait.as_millis() as u64),
            status: error.status(),
            request_id: error.request_id(),
            cause: error.source_ref().map(ToString::to_string),
            result: error.output().map(|output| {
                CommandResult::new(
                    output.clone(),
                    sandbox_id.unwrap_or_default(),
                    provider.unwrap_or_default(),
                )
            }),
        };
        with_details(error.message(), &details)
    }
}

/// An error whose class and properties the door takes from `details`.
pub(super) fn with_details(message: &str, details: &Details<'_>) -> napi::Error {
    let mut error = napi::Error::new(Status::GenericFailure, message);
    match serde_json::to_string(details) {
        Ok(details) => error.set_cause(napi::Error::new(Status::GenericFailure, details)),
        Err(error) => tracing::error!(%error, "the details of an error are lost"),
    }
    error
}

/// Our own classes, which a plug-in may throw: the door writes the name before the message.
const RAISED: [(&str, ErrorKind); 10] = [
    ("AlreadyExistsError", ErrorKind::AlreadyExists),
    ("AuthenticationError", ErrorKind::Unauthenticated),
    ("InvalidArgumentError", ErrorKind::InvalidArgument),
    ("NotFoundError", ErrorKind::NotFound),
    ("PermissionDeniedError", ErrorKind::PermissionDenied),
    ("QuotaExceededError", ErrorKind::QuotaExceeded),
    ("RateLimitError", ErrorKind::RateLimited),
    ("TimeoutError", ErrorKind::Timeout),
    ("UnavailableError", ErrorKind::Unavailable),
    ("UnsupportedError", ErrorKind::Unsupported),
];

/// An exception of a plug-in: of the kind that its class tells. It comes back as it was thrown.
pub(super) fn raised(error: napi::Error) -> Error {
    let known = error.reason.split_once(": ").and_then(|(class, message)| {
        let (_, kind) = RAISED.iter().find(|(name, _)| *name == class)?;
        Some((*kind, message.to_owned()))
    });
    match known {
        Some((kind, message)) => Error::new(kind, message).with_source(error),
        None => thrown(error),
    }
}

/// An exception that JavaScript threw while it was asked for something.
pub(super) fn thrown(error: napi::Error) -> Error {
    Error::new(ErrorKind::Internal, error.reason.clone()).with_source(error)
}
