//! What the engine said, in words that tell the cause and the cure.

use reqwest::StatusCode;

use crate::error::{Error, ErrorKind};

/// The longest text of the engine that an error repeats.
const LONGEST: usize = 500;

/// The error of an answer that is no success: what was to be done, and what the engine said of it.
pub(super) fn of_answer(what: &str, status: StatusCode, said: &str) -> Error {
    let said = tidy(said);
    let kind = match status {
        // Podman 4 has no other number for either.
        StatusCode::INTERNAL_SERVER_ERROR if said.contains("already in use") => ErrorKind::AlreadyExists,
        StatusCode::INTERNAL_SERVER_ERROR if said.contains("no such container") => ErrorKind::NotFound,
        StatusCode::NOT_FOUND => ErrorKind::NotFound,
        StatusCode::CONFLICT => ErrorKind::AlreadyExists,
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
        StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
        StatusCode::BAD_REQUEST => ErrorKind::InvalidArgument,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("the engine cannot {what}: {said} ({})", status.as_u16()))
}

/// What the engine said, without what no message should hold.
pub(super) fn tidy(said: &str) -> String {
    said.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect::<String>().trim().to_owned()
}

/// The error of an engine that does not answer.
pub(super) fn unreachable(place: &str, error: Error) -> Error {
    let denied = error.message().contains("Permission denied");
    let hint = if denied {
        "this user may not use the socket: add it to the group `docker`, or use a rootless engine"
    } else {
        "start it, or say where it is: docker({ socketPath }), docker({ host }) or DOCKER_HOST"
    };
    let kind = if error.kind() == ErrorKind::Unavailable { ErrorKind::Unavailable } else { error.kind() };
    Error::new(kind, format!("no engine answers at {place}: {}", error.message()))
        .with_hint(hint)
        .with_source(error)
}

/// The error of an answer that makes no sense.
pub(super) fn nonsense(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the engine's answer makes no sense: {what}"))
        .with_hint("an engine of Docker 20.10 or newer, or of Podman 4 or newer, is needed")
}
