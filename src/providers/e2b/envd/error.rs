//! What envd, and the proxies before it, say when something does not work, in the words of the contract.

use reqwest::StatusCode;
use serde::Deserialize;

use super::{Envd, Health};
use crate::error::{Error, ErrorKind};
use crate::transport::connect::{Code, Fault, Foreign, Refusal};

/// What the error of a file operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    File,
    Directory,
}

/// The longest message of somebody else that is passed on.
const LONGEST: usize = 500;

impl Envd {
    /// The error of a call, whatever it was for.
    pub(crate) async fn error(&self, fault: Fault) -> Error {
        match fault {
            Fault::Refused(refusal) => of_refusal(&refusal),
            Fault::Foreign(foreign) => self.of_foreign(&foreign).await,
            Fault::Lost(error) => self.lost(error).await,
            Fault::Nonsense(reason) => nonsense(&reason),
        }
    }

    /// The error of a connection that was cut: with its sandbox, perhaps.
    pub(super) async fn lost(&self, error: Error) -> Error {
        match self.health().await {
            Health::Gone => self.gone().await,
            Health::Alive | Health::Unknown => error,
        }
    }

    /// The error of a call that was about something at a path.
    pub(super) async fn file_error(&self, about: About, path: &str, fault: Fault) -> Error {
        let error = match fault {
            Fault::Refused(refusal) => of_file(about, path, refusal.code, &refusal.message),
            Fault::Foreign(foreign) => match (foreign.status, self.words(&foreign)) {
                // Only envd itself tells what is wrong with a path in these ways.
                (
                    StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR,
                    words,
                ) => {
                    let code = match foreign.status {
                        StatusCode::BAD_REQUEST => Code::InvalidArgument,
                        StatusCode::NOT_FOUND => Code::NotFound,
                        _ => Code::Internal,
                    };
                    traced(of_file(about, path, code, &words), &foreign)
                }
                _ => self.of_foreign(&foreign).await,
            },
            fault => self.error(fault).await,
        };
        // What nobody expects may be the end of the sandbox.
        if error.kind() == ErrorKind::Internal { self.lost(error).await } else { error }
    }

    /// The error of an answer that a proxy gave in envd's place, or envd outside of its services.
    pub(super) async fn of_foreign(&self, foreign: &Foreign) -> Error {
        let words = self.words(foreign);
        let error = match foreign.status {
            StatusCode::BAD_GATEWAY if is_gone(foreign) => return self.gone().await,
            StatusCode::BAD_GATEWAY if words.contains("port is not open") => {
                Error::new(ErrorKind::Unavailable, "the sandbox runs, but nothing in it answers")
                    .with_hint("it may be starting or out of memory: try again, or make another one")
            }
            StatusCode::TOO_MANY_REQUESTS => {
                Error::new(ErrorKind::RateLimited, or(words, "too many connections to the sandbox at once"))
                    .with_hint("do less at once, or try again later")
            }
            StatusCode::CONFLICT => {
                Error::new(ErrorKind::Unavailable, or(words, "the sandbox is being paused or resumed"))
                    .with_hint("try again in a moment")
            }
            StatusCode::UNAUTHORIZED => Error::new(
                ErrorKind::Unauthenticated,
                format!("authentication failed: {}", or(words, "no reason given")),
            )
            .with_hint("the sandbox's access token is missing or wrong: find the sandbox with getById"),
            StatusCode::FORBIDDEN => {
                Error::new(ErrorKind::PermissionDenied, or(words, "access to the sandbox is forbidden"))
            }
            StatusCode::INSUFFICIENT_STORAGE => no_space(),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                Error::unsupported(format!(
                    "this sandbox cannot do that: {}",
                    or(words, foreign.status.as_str())
                ))
                .with_hint("its template was built for an older version of E2B: build it again")
            }
            StatusCode::BAD_REQUEST => Error::invalid(or(words, "the sandbox refused the request")),
            StatusCode::GATEWAY_TIMEOUT => {
                Error::new(ErrorKind::Timeout, or(words, "the sandbox did not answer in time"))
            }
            status if status.is_server_error() => Error::new(
                ErrorKind::Unavailable,
                format!("the sandbox cannot be reached ({status}): {}", or(words, "no reason given")),
            ),
            status => {
                Error::new(ErrorKind::Internal, format!("an answer that nobody expects ({status}): {words}"))
            }
        };
        let error = traced(error, foreign);
        match foreign.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }

    /// What an answer says, without what opens the sandbox.
    fn words(&self, foreign: &Foreign) -> String {
        let words = words(foreign);
        match &self.0.token {
            Some(token) => token.hidden_in(words),
            None => words,
        }
    }

    /// The error of a sandbox that nobody finds.
    pub(crate) async fn gone(&self) -> Error {
        match self.fate() {
            Some(fate) => fate.told().await,
            None => Error::new(
                ErrorKind::NotFound,
                format!("the sandbox `{}` is gone: it was ended, has expired, or is paused", self.sandbox()),
            )
            .with_hint("create another one"),
        }
    }
}

/// With what E2B's support asks for.
fn traced(error: Error, foreign: &Foreign) -> Error {
    let error = error.with_status(foreign.status.as_u16());
    match &foreign.request_id {
        Some(id) => error.with_request_id(id.as_str()),
        None => error,
    }
}

/// Whether an answer says that there is no such sandbox, or that it does not run.
pub(super) fn is_gone(foreign: &Foreign) -> bool {
    foreign.status == StatusCode::BAD_GATEWAY && words(foreign).contains("sandbox was not found")
}

/// What an answer says, if it says it to people and not to browsers.
pub(super) fn words(foreign: &Foreign) -> String {
    #[derive(Deserialize)]
    struct Told {
        message: String,
    }
    let text = match serde_json::from_slice::<Told>(&foreign.body) {
        Ok(told) => told.message,
        Err(_) => String::from_utf8_lossy(&foreign.body).trim().to_owned(),
    };
    if text.starts_with('<') { String::new() } else { printable(&text) }
}

/// Text from elsewhere: nothing that a terminal or a log would act upon, and not too much of it.
fn printable(text: &str) -> String {
    text.chars().take(LONGEST).map(|one| if one.is_control() { ' ' } else { one }).collect()
}

fn or(words: String, otherwise: &str) -> String {
    if words.is_empty() { otherwise.to_owned() } else { words }
}

/// The error of a service that refused.
pub(super) fn of_refusal(refusal: &Refusal) -> Error {
    let kind = match refusal.code {
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => ErrorKind::InvalidArgument,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::ResourceExhausted => ErrorKind::RateLimited,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::DeadlineExceeded => ErrorKind::Timeout,
        Code::Unavailable | Code::Canceled | Code::Aborted => ErrorKind::Unavailable,
        Code::Unknown | Code::Internal | Code::DataLoss => ErrorKind::Internal,
    };
    let message = printable(&refusal.message);
    match kind {
        ErrorKind::Unauthenticated => Error::new(kind, format!("authentication failed: {message}")),
        _ => Error::new(kind, or(message, "the sandbox refused, without a reason")),
    }
}

/// The error of a file operation, by what the kernel in the sandbox said: it stands at the end of envd's words, and
/// tells more than the code does.
pub(super) fn of_file(about: About, path: &str, code: Code, message: &str) -> Error {
    // The words are the kernel's, and not those of the path.
    let said = message.replace(path, "").to_lowercase();
    let says = |words: &str| said.contains(words);
    let missing = || match about {
        About::File => Error::new(ErrorKind::NotFound, format!("File not found: {path}")),
        About::Directory => Error::new(ErrorKind::NotFound, format!("Directory not found: {path}")),
    };
    if code == Code::NotFound || says("no such file or directory") || says("does not exist") {
        return missing();
    }
    if code == Code::AlreadyExists || says("already exists") || says("file exists") || says("path is a file")
    {
        return Error::new(ErrorKind::AlreadyExists, format!("a file of that name is there: {path}"));
    }
    if says("not a directory") {
        return match about {
            About::File => missing(),
            About::Directory => Error::invalid(format!("not a directory: {path}")),
        };
    }
    if says("no such device or address") || says("can't seek") || says("not a regular file") {
        return not_regular(path);
    }
    let (kind, what) = if says("is a directory") {
        (ErrorKind::InvalidArgument, "is a directory")
    } else if says("permission denied") || says("not permitted") || says("read-only file system") {
        (ErrorKind::PermissionDenied, "permission denied")
    } else if says("no space") || says("not enough") || says("quota exceeded") {
        return no_space();
    } else if says("too many levels of symbolic links") || says("too many links") || says("cyclic symlink") {
        (ErrorKind::InvalidArgument, "too many symbolic links")
    } else if says("name too long") {
        (ErrorKind::InvalidArgument, "name too long")
    } else if says("resource busy") || says("text file busy") {
        (ErrorKind::InvalidArgument, "cannot be replaced or removed")
    } else {
        let error = of_refusal(&Refusal { code, message: message.to_owned() });
        return Error::new(error.kind(), format!("{path}: {}", error.message()));
    };
    Error::new(kind, format!("{what}: {path}"))
}

/// The error of what can be neither read nor written nor copied.
pub(super) fn not_regular(path: &str) -> Error {
    Error::invalid(format!("not a regular file: {path}")).with_hint(
        "only regular files are read, written and copied; use a command for pipes, sockets and devices",
    )
}

/// The error of a disk that is full.
pub(super) fn no_space() -> Error {
    Error::new(ErrorKind::QuotaExceeded, "no space left on the sandbox's disk")
        .with_hint("remove files, or use a template with a larger `disk`")
}

/// The error of an answer that is none.
pub(super) fn nonsense(reason: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the sandbox answered what cannot be understood: {reason}"))
}

/// The error of something that did not answer in time.
pub(super) fn silent() -> Error {
    Error::new(ErrorKind::Unavailable, "the sandbox does not answer")
        .with_hint("the network may be down, or the sandbox too busy: try again, or destroy it")
}
