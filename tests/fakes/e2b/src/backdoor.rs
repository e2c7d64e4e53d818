//! The fake's own endpoint, on a port of its own: what is to go wrong, and what was counted. It counts nothing itself,
//! and nothing goes wrong with it.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::answer::{Answer, empty, json, text};
use crate::request::Query;
use crate::world::World;

/// Takes connections for ever.
pub async fn serve(world: Arc<World>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let world = Arc::clone(&world);
        let service = service_fn(move |request| {
            let world = Arc::clone(&world);
            async move { Ok::<_, Infallible>(answer(&world, request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(world: &World, request: Request<Incoming>) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/__stats") => json(StatusCode::OK, &world.counters.read()),
        (&Method::GET, "/__requests") => {
            let from = Query::of(request.uri().query()).get("from").and_then(|from| from.parse().ok());
            json(StatusCode::OK, &world.counters.requests(from.unwrap_or_default()))
        }
        (&Method::DELETE, "/__faults") => {
            world.faults.clear();
            empty(StatusCode::NO_CONTENT)
        }
        (&Method::POST, "/__faults") => {
            let Ok(body) = request.into_body().collect().await else {
                return text(StatusCode::BAD_REQUEST, "the body breaks off");
            };
            match serde_json::from_slice(&body.to_bytes()) {
                Ok(rule) => {
                    world.faults.add(rule);
                    empty(StatusCode::NO_CONTENT)
                }
                Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
            }
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "there are GET /__stats, GET /__requests, POST /__faults and DELETE /__faults",
        ),
    }
}
