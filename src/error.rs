//! One error for everything that can go wrong, and the table of its codes.

use std::borrow::Cow;
use std::time::Duration;

use crate::command::Output;

/// The result of every operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong: decides the code, and the class in JavaScript.
///
/// A command that exits with a number other than 0 is not an error here: it is an [`Output`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller gave up.
    Aborted,
    /// Something of that name is there already.
    AlreadyExists,
    /// Source code that its language cannot parse.
    CodeSyntax,
    /// A failure of this library.
    Internal,
    /// An input that cannot be right, wherever it is sent.
    InvalidArgument,
    /// What is named does not exist, or no longer.
    NotFound,
    /// It exists, but may not be touched.
    PermissionDenied,
    /// A limit of size or number is used up.
    QuotaExceeded,
    /// Too many requests in too short a time.
    RateLimited,
    /// A call without a result of its own took too long.
    Timeout,
    /// The provider does not know who is asking.
    Unauthenticated,
    /// The provider cannot answer now.
    Unavailable,
    /// This provider, machine or version cannot do it.
    Unsupported,
}

impl ErrorKind {
    /// The stable code of the kind.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Aborted => "ABORTED",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::CodeSyntax => "CODE_SYNTAX",
            Self::Internal => "INTERNAL",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::NotFound => "NOT_FOUND",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::RateLimited => "RATE_LIMITED",
            Self::Timeout => "TIMEOUT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unsupported => "UNSUPPORTED",
        }
    }

    /// Whether the same call may succeed later without anything being changed.
    const fn is_retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Timeout | Self::Unavailable)
    }
}

/// What went wrong, where, and what to do about it.
///
/// ```
/// use computesdk::error::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::NotFound, "File not found: /a").with_hint("write it first");
/// assert_eq!(error.code(), "NOT_FOUND");
/// assert_eq!(error.to_string(), "File not found: /a");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    code: Option<&'static str>,
    message: String,
    hint: Option<Cow<'static, str>>,
    provider: Option<String>,
    sandbox: Option<String>,
    operation: Option<&'static str>,
    retry_after: Option<Duration>,
    retryable: Option<bool>,
    status: Option<u16>,
    request_id: Option<String>,
    output: Option<Output>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with a message for people: it names the thing, and never holds a secret.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            code: None,
            message: message.into(),
            hint: None,
            provider: None,
            sandbox: None,
            operation: None,
            retry_after: None,
            retryable: None,
            status: None,
            request_id: None,
            output: None,
            source: None,
        }))
    }

    /// An input that cannot be right.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Something that a provider cannot do; `what` names it as the caller wrote it.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, what)
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// A code finer than that of the kind.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.0.code = Some(code);
        self
    }

    /// How long the provider asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Whether the same call may succeed later, where the kind does not tell.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = Some(retryable);
        self
    }

    /// The status of the HTTP answer that it was told in.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// What the provider knows the request by.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = Some(id.into());
        self
    }

    /// What a command had written when it failed.
    #[must_use]
    pub fn with_output(mut self, output: Output) -> Self {
        self.0.output = Some(output);
        self
    }

    /// The failure below this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Where it happened; what is known already stays.
    #[must_use]
    pub fn within(mut self, operation: &'static str, provider: Option<&str>, sandbox: Option<&str>) -> Self {
        self.0.operation.get_or_insert(operation);
        if self.0.provider.is_none() {
            self.0.provider = provider.map(str::to_owned);
        }
        if self.0.sandbox.is_none() {
            self.0.sandbox = sandbox.map(str::to_owned);
        }
        self
    }

    /// What kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.code.unwrap_or(self.0.kind.code())
    }

    /// The message, without context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The provider that it happened at.
    pub fn provider(&self) -> Option<&str> {
        self.0.provider.as_deref()
    }

    /// The sandbox that it happened in.
    pub fn sandbox(&self) -> Option<&str> {
        self.0.sandbox.as_deref()
    }

    /// The operation that failed, by its name in JavaScript.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable.unwrap_or(self.0.kind.is_retryable())
    }

    /// How long the provider asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The status of the HTTP answer that it was told in.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What the provider knows the request by.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// What a command had written when it failed.
    pub fn output(&self) -> Option<&Output> {
        self.0.output.as_ref()
    }

    /// The failure below this one.
    pub fn source_ref(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// The same error for somebody else; of the failure below it only the words.
    #[must_use]
    pub fn copy(&self) -> Self {
        let inner = &*self.0;
        Self(Box::new(Inner {
            kind: inner.kind,
            code: inner.code,
            message: inner.message.clone(),
            hint: inner.hint.clone(),
            provider: inner.provider.clone(),
            sandbox: inner.sandbox.clone(),
            operation: inner.operation,
            retry_after: inner.retry_after,
            retryable: inner.retryable,
            status: inner.status,
            request_id: inner.request_id.clone(),
            output: inner.output.clone(),
            source: inner.source.as_ref().map(|source| source.to_string().into()),
        }))
    }

    /// The failure below this one, for good.
    pub fn into_source(self) -> Option<Box<dyn std::error::Error + Send + Sync>> {
        self.0.source
    }
}
