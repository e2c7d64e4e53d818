//! The way to a sandbox: which one, which port, and whether it can be reached.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::answer::{Answer, Broken, flowing, json, text};
use crate::forward;
use crate::request::header;
use crate::sandbox::{Sandbox, State, Visit};
use crate::world::{INTERPRETER, World};
use crate::{envd, interpreter};

/// The port of envd.
pub const ENVD: u16 = 49983;
/// The port of the code interpreter.
pub const KERNELS: u16 = 49999;

/// Where a request is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The control plane.
    Control,
    /// A port of a sandbox.
    Port(String, u16),
    /// Nowhere, for this reason.
    Nowhere(&'static str),
}

/// Where a request is to go: its headers say, or else the name that it was sent to.
pub fn target(headers: &HeaderMap, host: Option<&str>) -> Target {
    let named = (header(headers, "e2b-sandbox-id"), header(headers, "e2b-sandbox-port"));
    let (id, port) = match named {
        (Some(id), Some(port)) => (id, port),
        (None, None) => match host.and_then(by_host) {
            Some(found) => found,
            None => return Target::Control,
        },
        _ => return Target::Nowhere("missing header"),
    };
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if id.is_empty() || !id.bytes().all(legal) {
        return Target::Nowhere("Invalid sandbox ID");
    }
    match port.parse() {
        Ok(port) if port > 0 => Target::Port(id.to_owned(), port),
        _ => Target::Nowhere("Invalid sandbox port"),
    }
}

/// The parts of `<port>-<id>.<domain>`.
fn by_host(host: &str) -> Option<(&str, &str)> {
    let (label, _) = host.split_once('.')?;
    let (port, id) = label.split_once('-')?;
    let port_like = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (port_like && !id.is_empty()).then_some((id, port))
}

/// Answers a request for a port of a sandbox.
pub async fn answer(world: &Arc<World>, id: &str, port: u16, mut request: Request<Incoming>) -> Answer {
    let gone = || refused(StatusCode::BAD_GATEWAY, id, "The sandbox was not found", json!({}));
    let Some(sandbox) = world.sandbox(id) else { return gone() };
    match sandbox.state() {
        State::Running | State::Snapshotting => {}
        State::Pausing => {
            let message = "The sandbox is still transitioning. Try again in a moment.";
            return refused(StatusCode::CONFLICT, id, message, json!({}));
        }
        State::Paused if sandbox.wishes.auto_resume => {
            if sandbox.resume(RESUMED).await.is_err() {
                return gone();
            }
        }
        State::Paused => return gone(),
    }
    if port != ENVD
        && sandbox
            .traffic_token
            .as_deref()
            .is_some_and(|token| header(request.headers(), "e2b-traffic-access-token") != Some(token))
    {
        let message = "Sandbox is secured with traffic access token. Token header 'e2b-traffic-access-token' is missing or invalid";
        return refused(StatusCode::FORBIDDEN, id, message, json!({}));
    }
    let most = world.options.max_connections;
    let Some(visit) = sandbox.enter(most) else {
        let message = format!("The sandbox has too many concurrent incoming connections (limit: {most})");
        return refused(StatusCode::TOO_MANY_REQUESTS, id, &message, json!({ "connectionLimit": most }));
    };
    let connections = sandbox.connections();
    let answering = async {
        match port {
            ENVD => envd::answer(&world.options, &sandbox, request).await,
            KERNELS if sandbox.wishes.template.starts_with(INTERPRETER) => {
                interpreter::answer(&sandbox, request).await
            }
            port => {
                for name in ["e2b-sandbox-id", "e2b-sandbox-port", "e2b-traffic-access-token"] {
                    request.headers_mut().remove(name);
                }
                match forward::to(&sandbox, port, request).await {
                    Some(answer) => answer,
                    None => {
                        let message = "The sandbox is running but port is not open";
                        refused(StatusCode::BAD_GATEWAY, id, message, json!({ "port": port }))
                    }
                }
            }
        }
    };
    let answer = tokio::select! {
        // What fails because of that says so in other words.
        biased;
        () = connections.cancelled() => return gone(),
        answer = answering => answer,
    };
    open(answer, &sandbox, visit)
}

/// How long a sandbox lives that a request has resumed.
const RESUMED: std::time::Duration = std::time::Duration::from_secs(300);

/// An answer that counts until it is over, and is cut when its sandbox ends or is paused.
fn open(answer: Answer, sandbox: &Arc<Sandbox>, visit: Visit) -> Answer {
    let connections = sandbox.connections();
    let (parts, body) = answer.into_parts();
    let begun = Some((BodyDataStream::new(body), connections, visit));
    let bytes = futures_util::stream::unfold(begun, async |state| {
        let (mut body, connections, visit) = state?;
        let next = tokio::select! {
            biased;
            next = body.next() => next,
            () = connections.cancelled() => {
                let cut: Broken = "the sandbox has ended".into();
                return Some((Err::<Bytes, Broken>(cut), None));
            }
        };
        next.map(|piece| (piece, Some((body, connections, visit))))
    });
    Answer::from_parts(parts, flowing(bytes))
}

fn refused(status: StatusCode, id: &str, message: &str, more: Value) -> Answer {
    let mut body = json!({ "sandboxId": id, "message": message, "code": status.as_u16() });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    json(status, &body)
}

/// The answer to a request that can go nowhere.
pub fn nowhere(why: &str) -> Answer {
    text(StatusCode::BAD_REQUEST, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_or_the_host_say_where_a_request_goes() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        let port = |id: &str, port| Target::Port(id.to_owned(), port);
        let id = ("e2b-sandbox-id", "iabc");
        for (given, host, expected) in [
            (headers(&[]), Some("api.e2b.app"), Target::Control),
            (headers(&[]), Some("127.0.0.1:3000"), Target::Control),
            (headers(&[]), Some("49983-iabc.e2b.app:80"), port("iabc", 49983)),
            (headers(&[id, ("e2b-sandbox-port", "8000")]), Some("sandbox.e2b.app"), port("iabc", 8000)),
            (headers(&[id]), None, Target::Nowhere("missing header")),
            (headers(&[id, ("e2b-sandbox-port", "x")]), None, Target::Nowhere("Invalid sandbox port")),
            (
                headers(&[("e2b-sandbox-id", "A_b"), ("e2b-sandbox-port", "1")]),
                None,
                Target::Nowhere("Invalid sandbox ID"),
            ),
        ] {
            assert_eq!(target(&given, host), expected);
        }
    }
}
