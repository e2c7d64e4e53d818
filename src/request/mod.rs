//! What strangers ask for over HTTP, and what of it is done.
//!
//! * `head` – who asks, and how: method, site, content type.
//! * `json` – reading what a stranger wrote; `actions` – the table of what can be asked for; `create` – the options of
//!   a sandbox that a client may have.
//! * [`Policy`] – what is let through; [`Gate`] – who is.
//! * `failure`, `answer` – what the client is told, and what only the server's owner is; `events` – as it happens.
//! * `perform` – doing it; `queue` – who waits for whom.
//!
//! JavaScript turns a request into a [`Request`] and an [`Answer`] into a response. All decisions are made here.

mod actions;
mod answer;
mod create;
mod events;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod head;
mod json;
mod perform;
mod policy;
mod queue;
#[cfg(test)]
pub(crate) mod tests;

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

pub use self::answer::{About, Answer};
pub use self::events::{Event, Events};
pub use self::head::Head;
pub use self::policy::{Limits, Policy};

use self::actions::{Action, KEYS, Work};
use self::answer::Outcome;
use self::events::Teller;
use self::failure::{BODY_TIMEOUT, Failure, TOO_LARGE};
use self::json::Object;
use crate::code::{self, Language};
use crate::compute::Compute;
use crate::error::{Error, ErrorKind, Result};

/// The key of a sandbox's metadata that names whom it exists for. Clients neither set nor see it.
pub const OWNER: &str = "computesdk.owner";

/// A request, as it came.
#[derive(Debug, Default)]
pub struct Request {
    /// What it says about who asks. Without one, whoever passes it on has judged that.
    pub head: Option<Head>,
    /// What it asks for.
    pub body: Body,
    /// Cancelled when the client has gone.
    pub cancel: CancellationToken,
}

/// The body of a request.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// More than the limit: the rest was not read.
    TooLarge,
    /// It did not come to its end in time.
    Late,
    /// It broke off.
    Broken,
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

/// Decides who may ask for what.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Whether this may be done, in this sandbox if it is about one. An error is the server's own.
    async fn admit(&self, action: &'static str, sandbox_id: Option<&str>) -> Result<Admission>;
}

/// Whether something may be done, and on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// No.
    Refused,
    /// Yes, with the sandboxes that nobody owns.
    Anyone,
    /// Yes, with the sandboxes of this owner.
    Owner(String),
}

/// The gate that is open to everybody.
#[derive(Clone, Copy, Debug)]
pub struct Open;

#[async_trait]
impl Gate for Open {
    async fn admit(&self, _: &'static str, _: Option<&str>) -> Result<Admission> {
        Ok(Admission::Anyone)
    }
}

/// Answers requests.
#[derive(Debug)]
pub struct Handler {
    compute: Arc<Compute>,
    policy: Policy,
}

impl Handler {
    /// One for the sandboxes of `compute`.
    pub fn new(compute: Arc<Compute>, policy: Policy) -> Self {
        Self { compute, policy }
    }

    /// Answers a request. What fails is an answer too.
    ///
    /// What a command or code writes can be told as it comes, to whoever takes `text/event-stream`: then the answer has
    /// [`Events`], and what is done goes on while they are kept.
    pub async fn answer(self: &Arc<Self>, request: Request, gate: Arc<dyn Gate>) -> Answer {
        let head = request.head.clone();
        let origin = head.as_ref().and_then(|head| head.allowed_origin(&self.policy));
        let mut answer = match &head {
            Some(head) if origin.is_some() && head.is_preflight() => Answer::preflight(head),
            Some(head) if head.takes_events() => self.tell(request, gate).await,
            _ => self.serve(&request, &*gate, None).await,
        };
        if let Some(origin) = origin {
            answer.let_read(origin);
        }
        if !self.policy.origins.is_empty() {
            answer.headers.push(("vary", "Origin".to_owned()));
        }
        answer
    }

    /// Answers with what happens, while it happens.
    async fn tell(self: &Arc<Self>, mut request: Request, gate: Arc<dyn Gate>) -> Answer {
        request.cancel = request.cancel.child_token();
        let (teller, told) = events::channel(self.policy.limits.output, &request.cancel);
        let handler = Arc::clone(self);
        tokio::spawn(async move {
            let answer = handler.serve(&request, &*gate, Some(&teller)).await;
            teller.end(answer).await;
        });
        told.answer().await
    }

    async fn serve(&self, request: &Request, gate: &dyn Gate, teller: Option<&Teller>) -> Answer {
        let mut about = About::default();
        match self.fulfil(request, gate, teller, &mut about).await {
            Ok(outcome) => Answer::done(&outcome, about),
            Err(failure) => {
                let (status, code) = (failure.status, failure.error.code());
                if status >= 500 {
                    tracing::warn!(status, code, error = %failure.error, "a request failed");
                } else {
                    tracing::debug!(status, code, "a request was refused");
                }
                Answer::failed(failure, about)
            }
        }
    }

    async fn fulfil(
        &self,
        request: &Request,
        gate: &dyn Gate,
        teller: Option<&Teller>,
        about: &mut About,
    ) -> Result<Outcome, Failure> {
        let (action, work) = self.read(request).map_err(Failure::told)?;
        about.action = Some(action.name);
        about.sandbox_id = work.sandbox_id().map(str::to_owned);
        let admission = alive(&request.cancel, gate.admit(action.name, work.sandbox_id()));
        let owner = match admission.await.map_err(Failure::hidden)? {
            Admission::Refused => {
                let error = Error::new(ErrorKind::PermissionDenied, "Not authorized");
                return Err(Failure::told(error));
            }
            Admission::Anyone => None,
            Admission::Owner(owner) => Some(owner),
        };
        about.owner.clone_from(&owner);
        about.provider = self.compute.first();
        self.perform(work, owner.as_deref(), &request.cancel, teller, about).await
    }

    /// What a request asks for, if it is one that may be answered.
    fn read(&self, request: &Request) -> Result<(&'static Action, Work)> {
        if let Some(head) = &request.head {
            head.check(&self.policy)?;
        }
        let bytes = self.whole(&request.body)?;
        let body = Object::body(json::text(bytes)?, &KEYS)?;
        let action = Action::of(&body)?;
        if !self.policy.actions.contains(&action.name) {
            let message = format!("The action {} is not allowed", action.name);
            return Err(Error::new(ErrorKind::PermissionDenied, message)
                .with_hint("name it in `allowedActions` if clients may ask for it"));
        }
        Ok((action, action.read(&body, &self.policy)?))
    }

    fn whole<'a>(&self, body: &'a Body) -> Result<&'a [u8]> {
        let most = self.policy.limits.body;
        match body {
            Body::Whole(bytes) if bytes.len() <= most => Ok(bytes),
            Body::Whole(_) | Body::TooLarge => {
                let message = format!("The request body is too large: {most} bytes at most");
                Err(Error::invalid(message).with_code(TOO_LARGE))
            }
            Body::Late => {
                let message = "The request body did not come in time";
                Err(Error::new(ErrorKind::Timeout, message).with_code(BODY_TIMEOUT))
            }
            Body::Broken => Err(Error::new(ErrorKind::Aborted, "The request body broke off")),
        }
    }
}

/// The language that a runtime is of.
fn language(key: &str, name: &str) -> Result<Language> {
    Language::from_runtime(name).ok_or_else(|| code::no_language(key, &json::repeated(name)))
}

/// What `work` comes to while the client is there.
async fn alive<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::new(ErrorKind::Aborted, "The client has gone")),
        done = work => done,
    }
}
