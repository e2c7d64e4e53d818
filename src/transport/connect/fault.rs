//! What goes wrong with a call.

use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::transport::{Answer, request_id};

/// Bytes of a foreign answer that are looked at: its words, if it has any.
const WORDS: usize = 64 << 10;

/// A call that came to nothing.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The service itself refused.
    Refused(Refusal),
    /// Something on the way answered in its place.
    Foreign(Foreign),
    /// There was no answer, or only a part of one.
    Lost(Error),
    /// What came is no answer.
    Nonsense(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

/// The refusal of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// The reasons for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    Canceled,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
    #[serde(other)]
    Unknown,
}

/// A refusal as it is written.
#[derive(Debug, Deserialize)]
pub(super) struct RefusalBody {
    code: Code,
    #[serde(default)]
    message: Option<String>,
}

impl From<RefusalBody> for Refusal {
    fn from(body: RefusalBody) -> Self {
        Self { code: body.code, message: body.message.unwrap_or_default() }
    }
}

/// An answer that is none of the service: a proxy's, most likely.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) request_id: Option<String>,
    pub(crate) body: Bytes,
}

impl Foreign {
    /// An answer that was not hoped for, with the first of its words.
    pub(crate) async fn read(answer: Answer) -> Result<Self> {
        use futures_util::StreamExt;
        let status = answer.status();
        let request_id = request_id(answer.headers());
        let retry_after =
            answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        let mut stream = answer.stream();
        while let Some(bytes) = stream.next().await.transpose()? {
            body.extend_from_slice(&bytes[..bytes.len().min(WORDS - body.len())]);
            if body.len() == WORDS {
                break;
            }
        }
        let retry_after = retry_after.map(Duration::from_secs);
        Ok(Self { status, retry_after, request_id, body: body.into() })
    }

    /// The refusal that it is, if a service wrote it.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        serde_json::from_slice::<RefusalBody>(&self.body).ok().map(Refusal::from)
    }
}
