//! Requests from the web: what the door has read of them goes in, what is to be sent comes out.

use std::sync::Arc;

use async_trait::async_trait;
use napi::bindgen_prelude::{
    External, FnArgs, FromNapiValue, Function, Promise, PromiseRaw, ToNapiValue, Unknown,
};
use napi::threadsafe_function::ThreadsafeFunction;
use napi::{Env, Status, sys};
use napi_derive::napi;
use serde_json::Value;
use tokio::sync::Mutex;

use super::compute::Sandboxes;
use super::convert::{self, Fields};
use super::error::thrown;
use super::policy::policy;
use crate::error::{Error, Result};
use crate::request::{Admission, Answer, Body, Event, Events, Gate, Handler, Head, Open, Request};

/// What answers requests, as its owner wants it.
#[napi]
pub struct NativeHandler {
    handler: Arc<Handler>,
    /// Bytes of a body.
    body: f64,
    /// Time for a body to come, in ms.
    action: f64,
}

/// One for the sandboxes of a provider, or of all that there are.
#[napi(skip_typescript)]
pub fn request_handler<'e>(
    of: &External<Sandboxes>,
    provider: Unknown<'e>,
    options: Unknown<'e>,
) -> napi::Result<NativeHandler> {
    let compute = match convert::is_missing(&provider) {
        true => of.compute(),
        false => Sandboxes::of_one(convert::provider("provider", &provider)?),
    };
    let policy = policy(&options)?;
    let (body, action) = (policy.limits.body as f64, policy.limits.action.as_millis() as f64);
    Ok(NativeHandler { handler: Arc::new(Handler::new(compute, policy)), body, action })
}

#[napi]
impl NativeHandler {
    #[napi(getter, skip_typescript)]
    pub fn body(&self) -> f64 {
        self.body
    }

    #[napi(getter, skip_typescript)]
    pub fn action(&self) -> f64 {
        self.action
    }

    /// Answers a request: `{ head, body, unread, signal }`, of which the door has read the body as far as it may be.
    /// `admit` is asked whether an action may be done, and gives a boolean, or the name of an owner.
    #[napi(skip_typescript)]
    pub fn answer<'e>(
        &self,
        env: &'e Env,
        request: Unknown<'e>,
        admit: Unknown<'e>,
    ) -> napi::Result<PromiseRaw<'e, NativeAnswer>> {
        let (handler, request, gate) = (Arc::clone(&self.handler), read(&request)?, gate(&admit)?);
        env.spawn_future(async move { Ok(handler.answer(request, gate).await.into()) })
    }
}

/// An answer for the door to send.
#[napi(object, object_from_js = false)]
pub struct NativeAnswer {
    pub status: u32,
    /// Pairs of names and values.
    pub headers: Vec<Vec<String>>,
    pub body: Option<String>,
    /// The body, where it comes as it happens.
    pub events: Option<NativeEvents>,
    pub action: Option<String>,
    pub sandbox_id: Option<String>,
    pub owner: Option<String>,
    /// For the owner of the server, as an error.
    pub failure: Option<Failure>,
}

impl From<Answer> for NativeAnswer {
    fn from(answer: Answer) -> Self {
        let pair = |(name, value): (&'static str, String)| vec![name.to_owned(), value];
        Self {
            status: answer.status.into(),
            headers: answer.headers.into_iter().map(pair).collect(),
            body: answer.body,
            events: answer.events.map(|events| NativeEvents(Arc::new(Mutex::new(events)))),
            action: answer.about.action.map(str::to_owned),
            sandbox_id: answer.about.sandbox_id,
            owner: answer.about.owner,
            failure: answer.failure.map(Failure),
        }
    }
}

/// The answer where the telling itself has failed.
#[napi(skip_typescript)]
pub fn failed_answer() -> NativeAnswer {
    Answer::internal().into()
}

/// A part of an answer that comes as it happens.
#[napi(object, object_from_js = false)]
pub struct NativeEvent {
    pub text: String,
    /// Of the last one what it was the end of.
    pub last: Option<NativeAnswer>,
}

impl From<Event> for NativeEvent {
    fn from(event: Event) -> Self {
        Self { text: event.text, last: event.last.map(|answer| (*answer).into()) }
    }
}

/// An answer that comes as it happens.
#[napi]
pub struct NativeEvents(Arc<Mutex<Events>>);

#[napi]
impl NativeEvents {
    /// The next part, `null` after the last.
    #[napi(skip_typescript)]
    pub fn next<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, Option<NativeEvent>>> {
        let events = Arc::clone(&self.0);
        env.spawn_future(async move { Ok(events.lock().await.next().await.map(NativeEvent::from)) })
    }
}

/// An error as a value.
pub struct Failure(Error);

impl ToNapiValue for Failure {
    unsafe fn to_napi_value(env: sys::napi_env, failure: Self) -> napi::Result<sys::napi_value> {
        let error = napi::JsError::from(napi::Error::from(failure.0));
        // SAFETY: the caller's promise about `env` is passed on.
        Ok(unsafe { error.into_value(env) })
    }
}

fn read(request: &Unknown<'_>) -> Result<Request> {
    let fields = Fields::of("request", request, &["head", "body", "unread", "signal"])?;
    let head = fields.get("head")?.map(|head| read_head(&head)).transpose()?;
    let body = match fields.string("unread")?.as_deref() {
        Some("too-large") => Body::TooLarge,
        Some("late") => Body::Late,
        Some(_) => Body::Broken,
        None => match fields.get("body")? {
            Some(body) => Body::Whole(convert::bytes("body", &body)?),
            None => Body::default(),
        },
    };
    Ok(Request { head, body, cancel: fields.cancellation()? })
}

fn read_head(head: &Unknown<'_>) -> Result<Head> {
    const KEYS: [&str; 10] = [
        "method",
        "urlHost",
        "host",
        "forwardedHost",
        "origin",
        "fetchSite",
        "contentType",
        "accept",
        "askedMethod",
        "askedHeaders",
    ];
    let fields = Fields::of("head", head, &KEYS)?;
    Ok(Head {
        method: fields.string("method")?.unwrap_or_default(),
        url_host: fields.string("urlHost")?,
        host: fields.string("host")?,
        forwarded_host: fields.string("forwardedHost")?,
        origin: fields.string("origin")?,
        fetch_site: fields.string("fetchSite")?,
        content_type: fields.string("contentType")?,
        accept: fields.string("accept")?,
        asked_method: fields.string("askedMethod")?,
        asked_headers: fields.string("askedHeaders")?,
    })
}

/// Asks whether something may be done. It does not keep the process alive; the promise of its call does.
type Admit = ThreadsafeFunction<
    (String, Option<String>),
    Promise<Admitted>,
    FnArgs<(String, Option<String>)>,
    Status,
    false,
    true,
>;

/// What it says, as the door has checked it: a boolean, or a text.
struct Admitted(Admission);

impl FromNapiValue for Admitted {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        // SAFETY: the caller's promise about `env` and `value` is passed on.
        Ok(Self(match unsafe { Value::from_napi_value(env, value) }? {
            Value::Bool(true) => Admission::Anyone,
            Value::String(owner) => Admission::Owner(owner),
            _ => Admission::Refused,
        }))
    }
}

fn gate(admit: &Unknown<'_>) -> Result<Arc<dyn Gate>> {
    type Asked = FnArgs<(String, Option<String>)>;
    let Some(function) = convert::function::<Asked, Promise<Admitted>>(admit)? else {
        return Ok(Arc::new(Open));
    };
    let function: Function<'_, Asked, Promise<Admitted>> = function;
    let admit = function
        .build_threadsafe_function::<(String, Option<String>)>()
        .callee_handled::<false>()
        .weak::<true>()
        .build_callback(|context| Ok(FnArgs::from(context.value)))
        .map_err(thrown)?;
    Ok(Arc::new(Door(admit)))
}

/// Where the options of the handler are, which are JavaScript's.
struct Door(Admit);

#[async_trait]
impl Gate for Door {
    async fn admit(&self, action: &'static str, sandbox_id: Option<&str>) -> Result<Admission> {
        let asked = (action.to_owned(), sandbox_id.map(str::to_owned));
        let admitted = self.0.call_async_catch(asked).await.map_err(thrown)?;
        Ok(admitted.await.map_err(thrown)?.0)
    }
}
