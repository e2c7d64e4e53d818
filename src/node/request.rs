//! Requests from the web: what the door has read of them goes in, what is to be sent comes out.

use async_trait::async_trait;
use napi::bindgen_prelude::{
    External, FnArgs, FromNapiValue, Function, Promise, PromiseRaw, ToNapiValue, Unknown,
};
use napi::threadsafe_function::ThreadsafeFunction;
use napi::{Env, Status, sys};
use napi_derive::napi;
use serde_json::Value;

use super::compute::Sandboxes;
use super::convert::{self, Fields};
use super::create::Create;
use super::error::thrown;
use crate::error::{Error, Result};
use crate::request::{self as core, Admission, Body, Gate, Handler, Head, Limits, Open, Policy, Request};

const OPTIONS: [&str; 5] =
    ["allowedActions", "allowedCreateOptions", "createDefaults", "limits", "allowedOrigins"];

/// What the door must know before it asks.
#[napi(object, object_from_js = false)]
pub struct NativeRequestDefaults {
    /// Bytes of a body.
    pub body: f64,
    /// Time for a body to come, in ms.
    pub action: f64,
    /// The status and body of the answer where the telling itself has failed.
    pub status: u32,
    pub failed: String,
}

#[napi(skip_typescript)]
pub fn request_defaults() -> NativeRequestDefaults {
    let internal = core::Answer::internal();
    NativeRequestDefaults {
        body: Limits::DEFAULT.body as f64,
        action: Limits::DEFAULT.action.as_millis() as f64,
        status: internal.status.into(),
        failed: internal.body.unwrap_or_default(),
    }
}

/// An answer for the door to send.
#[napi(object, object_from_js = false)]
pub struct NativeAnswer {
    pub status: u32,
    /// Pairs of names and values.
    pub headers: Vec<Vec<String>>,
    pub body: Option<String>,
    /// For the owner of the server, as an error.
    pub failure: Option<Failure>,
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

/// Answers a request: `{ head, body, signal }`, of which the door has read the body as far as it may be. `admit` is
/// asked whether an action may be done, and gives a boolean, or the name of an owner.
#[napi(skip_typescript)]
pub fn handle_request<'e>(
    env: &'e Env,
    of: &External<Sandboxes>,
    provider: Unknown<'e>,
    request: Unknown<'e>,
    options: Unknown<'e>,
    admit: Unknown<'e>,
) -> napi::Result<PromiseRaw<'e, NativeAnswer>> {
    let compute = match convert::is_missing(&provider) {
        true => of.compute(),
        false => Sandboxes::of_one(convert::provider("provider", &provider)?),
    };
    let handler = Handler::new(compute, policy(&options)?);
    let request = read(&request)?;
    let gate = gate(&admit)?;
    env.spawn_future(async move {
        let answer = handler.answer(&request, &*gate).await;
        let pair = |(name, value): (&'static str, String)| vec![name.to_owned(), value];
        Ok(NativeAnswer {
            status: answer.status.into(),
            headers: answer.headers.into_iter().map(pair).collect(),
            body: answer.body,
            failure: answer.failure.map(Failure),
        })
    })
}

fn policy(options: &Unknown<'_>) -> Result<Policy> {
    let fields = Fields::of("options", options, &OPTIONS)?;
    let mut policy = Policy::default();
    if let Some(names) = fields.strings("allowedActions")? {
        policy.allow_actions(&names)?;
    }
    if let Some(names) = fields.strings("allowedCreateOptions")? {
        policy.allow_create_options(&names)?;
    }
    if let Some(origins) = fields.strings("allowedOrigins")? {
        policy.allow_origins(&origins)?;
    }
    if let Some(defaults) = fields.get("createDefaults")? {
        let given = Fields::of("createDefaults", &defaults, &super::create::OPTIONS)?;
        for other in ["provider", "signal", "mounts"] {
            if given.get(other)?.is_some() {
                return Err(Error::invalid(format!("`createDefaults` has no option `{other}`"))
                    .with_hint("the provider is an option of the handler itself, and has its own `mounts`"));
            }
        }
        policy.create_with(Create::read(&defaults)?.request)?;
    }
    if let Some(given) = fields.get("limits")? {
        policy.limits = limits(&given, policy.limits)?;
    }
    Ok(policy)
}

fn limits(given: &Unknown<'_>, defaults: Limits) -> Result<Limits> {
    let fields = Fields::of("limits", given, &["body", "code", "output", "action", "life"])?;
    let bytes = |key: &str, default: usize| -> Result<usize> {
        Ok(positive(key, fields.whole(key, usize::MAX as u64)?)?.map_or(default, |bytes| bytes as usize))
    };
    let time = |key: &str, default| -> Result<std::time::Duration> {
        let time = fields.millis(key)?;
        positive(key, time.map(|time| time.as_millis() as u64))?;
        Ok(time.unwrap_or(default))
    };
    Ok(Limits {
        body: bytes("body", defaults.body)?,
        code: bytes("code", defaults.code)?,
        output: bytes("output", defaults.output)?,
        action: time("action", defaults.action)?,
        life: time("life", defaults.life)?,
    })
}

/// Elsewhere 0 is without a limit: here it would be a trap.
fn positive(key: &str, number: Option<u64>) -> Result<Option<u64>> {
    match number {
        Some(0) => Err(Error::invalid(format!("`limits.{key}` must be 1 or more, got 0"))),
        number => Ok(number),
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
    const KEYS: [&str; 9] = [
        "method",
        "urlHost",
        "host",
        "forwardedHost",
        "origin",
        "fetchSite",
        "contentType",
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

fn gate(admit: &Unknown<'_>) -> Result<Box<dyn Gate>> {
    type Asked = FnArgs<(String, Option<String>)>;
    let Some(function) = convert::function::<Asked, Promise<Admitted>>(admit)? else {
        return Ok(Box::new(Open));
    };
    let function: Function<'_, Asked, Promise<Admitted>> = function;
    let admit = function
        .build_threadsafe_function::<(String, Option<String>)>()
        .callee_handled::<false>()
        .weak::<true>()
        .build_callback(|context| Ok(FnArgs::from(context.value)))
        .map_err(thrown)?;
    Ok(Box::new(Door(admit)))
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
