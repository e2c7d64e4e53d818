//! What a failure is to whoever asked, who may be anybody, and to whoever runs the server.

use crate::error::{Error, ErrorKind};

/// Why a request was not answered as it wished.
#[derive(Debug)]
pub(super) struct Failure {
    /// HTTP status.
    pub(super) status: u16,
    /// The stable code, as the client is told it.
    pub(super) code: &'static str,
    /// What the client is told.
    pub(super) message: String,
    /// What it is, in full.
    pub(super) error: Error,
}

impl Failure {
    /// One whose message speaks of what the client itself has sent.
    pub(super) fn told(error: Error) -> Self {
        Self { status: status(&error), code: error.code(), message: error.message().to_owned(), error }
    }

    /// One whose message is nobody's business: it may name hosts, paths and settings of the server.
    pub(super) fn hidden(error: Error) -> Self {
        let (status, code, message) = match error.kind() {
            ErrorKind::Aborted => (499, error.kind().code(), "The client has gone"),
            ErrorKind::Timeout => (504, error.kind().code(), "The action took too long"),
            ErrorKind::RateLimited => (429, error.kind().code(), "Too many requests"),
            ErrorKind::QuotaExceeded => (429, error.kind().code(), "The quota is used up"),
            ErrorKind::Unavailable => (503, error.kind().code(), "Internal error"),
            _ => (500, ErrorKind::Internal.code(), "Internal error"),
        };
        Self { status, code, message: message.to_owned(), error }
    }

    /// One of something that was done in a sandbox: its message is told if it is of a kind that speaks of the
    /// sandbox and of what was sent.
    pub(super) fn of(error: Error) -> Self {
        match error.kind() {
            ErrorKind::AlreadyExists
            | ErrorKind::CodeSyntax
            | ErrorKind::InvalidArgument
            | ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::QuotaExceeded
            | ErrorKind::Unsupported => Self::told(error),
            _ => Self::hidden(error),
        }
    }
}

/// The codes of what only a request over HTTP can get wrong.
pub(super) const BODY_TIMEOUT: &str = "BODY_TIMEOUT";
pub(super) const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
pub(super) const TOO_LARGE: &str = "TOO_LARGE";
pub(super) const UNSUPPORTED_MEDIA_TYPE: &str = "UNSUPPORTED_MEDIA_TYPE";

fn status(error: &Error) -> u16 {
    match (error.code(), error.kind()) {
        (METHOD_NOT_ALLOWED, _) => 405,
        (BODY_TIMEOUT, _) => 408,
        (TOO_LARGE, _) => 413,
        (UNSUPPORTED_MEDIA_TYPE, _) => 415,
        (_, ErrorKind::InvalidArgument | ErrorKind::Unsupported) => 400,
        (_, ErrorKind::PermissionDenied) => 403,
        (_, ErrorKind::NotFound) => 404,
        (_, ErrorKind::AlreadyExists) => 409,
        (_, ErrorKind::CodeSyntax) => 422,
        (_, ErrorKind::QuotaExceeded | ErrorKind::RateLimited) => 429,
        (_, ErrorKind::Aborted) => 499,
        (_, ErrorKind::Unavailable) => 503,
        (_, ErrorKind::Timeout) => 504,
        (_, ErrorKind::Internal | ErrorKind::Unauthenticated) => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the client is told of an error that speaks of the server.
    fn told(kind: ErrorKind, make: fn(Error) -> Failure) -> (u16, &'static str, String) {
        let failure = make(Error::new(kind, "/srv/app/secret of 10.0.0.1"));
        assert_eq!(failure.error.message(), "/srv/app/secret of 10.0.0.1");
        (failure.status, failure.code, failure.message)
    }

    #[test]
    fn what_speaks_of_the_server_is_not_told() {
        for (kind, status, code, message) in [
            (ErrorKind::Aborted, 499, "ABORTED", "The client has gone"),
            (ErrorKind::Internal, 500, "INTERNAL", "Internal error"),
            (ErrorKind::RateLimited, 429, "RATE_LIMITED", "Too many requests"),
            (ErrorKind::Timeout, 504, "TIMEOUT", "The action took too long"),
            (ErrorKind::Unauthenticated, 500, "INTERNAL", "Internal error"),
            (ErrorKind::Unavailable, 503, "UNAVAILABLE", "Internal error"),
        ] {
            let expected = (status, code, message.to_owned());
            assert_eq!(told(kind, Failure::of), expected, "{kind:?} in a sandbox");
            assert_eq!(told(kind, Failure::hidden), expected, "{kind:?} elsewhere");
        }
    }

    #[test]
    fn what_speaks_of_the_sandbox_is_told_there_and_only_there() {
        for (kind, status) in [
            (ErrorKind::AlreadyExists, 409),
            (ErrorKind::CodeSyntax, 422),
            (ErrorKind::InvalidArgument, 400),
            (ErrorKind::NotFound, 404),
            (ErrorKind::PermissionDenied, 403),
            (ErrorKind::QuotaExceeded, 429),
            (ErrorKind::Unsupported, 400),
        ] {
            let (found, code, message) = told(kind, Failure::of);
            assert_eq!((found, code), (status, kind.code()));
            assert!(message.contains("secret"));
            let (_, _, message) = told(kind, Failure::hidden);
            assert!(!message.contains("secret"), "{kind:?}: {message}");
        }
    }
}
