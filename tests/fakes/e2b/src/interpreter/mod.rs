//! The code interpreter: a server on a port of sandboxes whose template begins with `code-interpreter`.
//!
//! * [`contexts`] – whose variables a piece of code sees; [`kernel`] – the program that has them.

pub mod contexts;
pub mod kernel;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use computesdk::error::Error;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::contexts::Context;
use self::kernel::Language;
use crate::answer::{Answer, Broken, flowing, json, text};
use crate::envd::path::HOME;
use crate::sandbox::Sandbox;

/// How long nothing comes before a line says that there is still somebody.
const KEEPALIVE: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
struct Execute {
    code: String,
    context_id: Option<String>,
    language: Option<String>,
    env_vars: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct Create {
    language: Option<String>,
    cwd: Option<String>,
}

/// Answers a request.
pub async fn answer(sandbox: &Arc<Sandbox>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return text(StatusCode::BAD_REQUEST, "") };
    let path = parts.uri.path().trim_matches('/').to_owned();
    let segments: Vec<_> = path.split('/').collect();
    let answered = route(sandbox, parts.method.as_str(), &segments, &body.to_bytes()).await;
    answered.unwrap_or_else(|refused| *refused)
}

async fn route(
    sandbox: &Arc<Sandbox>,
    method: &str,
    segments: &[&str],
    body: &Bytes,
) -> Result<Answer, Refused> {
    let contexts = &sandbox.contexts;
    let found =
        |found, id: &str| if found { Ok(json(StatusCode::OK, &Value::Null)) } else { Err(unknown(id)) };
    match (method, segments) {
        ("GET", ["health"]) => Ok(json(StatusCode::OK, &"OK")),
        ("POST", ["execute"]) => execute(sandbox, parsed(body)?).await,
        ("GET", ["contexts"]) => Ok(json(StatusCode::OK, &contexts.list(sandbox).await.map_err(broken)?)),
        ("POST", ["contexts"]) => {
            let Create { language, cwd } = parsed(body)?;
            let language = known(language.as_deref())?;
            let cwd = cwd.filter(|cwd| !cwd.is_empty()).unwrap_or_else(|| HOME.to_owned());
            let context = contexts.create(sandbox, language, &cwd).await.map_err(broken)?;
            Ok(json(StatusCode::OK, &context.described()))
        }
        ("POST", ["contexts", id, "restart"]) => {
            found(contexts.restart(sandbox, id).await.map_err(broken)?, id)
        }
        ("DELETE", ["contexts", id]) => found(contexts.remove(sandbox, id).await.map_err(broken)?, id),
        (_, ["health" | "execute" | "contexts"]) => {
            Err(detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed".into()))
        }
        _ => Err(detail(StatusCode::NOT_FOUND, "Not Found".into())),
    }
}

/// An answer that is an error.
type Refused = Box<Answer>;

fn broken(error: Error) -> Refused {
    Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn unknown(id: &str) -> Refused {
    Box::new(text(StatusCode::NOT_FOUND, format!("Context {id} not found")))
}

fn detail(status: StatusCode, detail: Value) -> Refused {
    Box::new(json(status, &json!({ "detail": detail })))
}

fn parsed<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| {
        let wrong = json!([{ "type": "value_error", "loc": ["body"], "msg": error.to_string() }]);
        detail(StatusCode::UNPROCESSABLE_ENTITY, wrong)
    })
}

/// A language by any of its names. The server has kernels for more.
fn known(name: Option<&str>) -> Result<Language, Refused> {
    let name = name.unwrap_or_default().trim().to_lowercase();
    let name = match name.as_str() {
        "" => "python",
        "js" => "javascript",
        name => name,
    };
    Language::of(name).ok_or_else(|| {
        let why = json!({ "message": format!("Kernel does not exist: {name}"), "reason": null });
        Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, format!("Failed to create context: {why}")))
    })
}

async fn execute(sandbox: &Arc<Sandbox>, asked: Execute) -> Result<Answer, Refused> {
    let contexts = &sandbox.contexts;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (id, language) = (given(asked.context_id), given(asked.language));
    let context = match (id, language) {
        (Some(_), Some(_)) => {
            let message = "Only one of context_id or language can be provided";
            return Err(Box::new(text(StatusCode::BAD_REQUEST, message)));
        }
        (Some(id), None) => contexts.find(sandbox, &id).await.map_err(broken)?.ok_or_else(|| unknown(&id))?,
        (None, language) => {
            let language = known(language.as_deref())?;
            let default = contexts.of_language(sandbox, language).await.map_err(broken)?;
            default.ok_or_else(|| unknown("None"))?
        }
    };
    Ok(streamed(context, asked.code, asked.env_vars.unwrap_or_default()))
}

/// Lines of JSON, as they come.
fn streamed(context: Context, code: String, variables: BTreeMap<String, String>) -> Answer {
    let (sender, mut receiver) = mpsc::channel::<Value>(64);
    let (to, lines) = mpsc::channel::<Bytes>(64);
    tokio::spawn(async move { context.kernel.execute(&code, &variables, &sender).await });
    tokio::spawn(async move {
        loop {
            let line = tokio::select! {
                line = receiver.recv() => line,
                () = tokio::time::sleep(KEEPALIVE) => Some(json!({ "type": "keepalive" })),
                // The kernel learns that nobody listens when there is nobody to tell.
                () = to.closed() => return,
            };
            let Some(line) = line else { break };
            let _ = to.send(format!("{}\n", ascii(&line.to_string())).into()).await;
        }
        let _ = to.send(Bytes::from_static(b"{\"type\": \"end_of_execution\"}\n")).await;
    });
    let lines = futures_util::stream::unfold(lines, async |mut lines| {
        lines.recv().await.map(|line| (Ok::<_, Broken>(line), lines))
    });
    Response::new(flowing(lines))
}

/// JSON without letters that are not of ASCII.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            text.push(letter);
        } else {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}
