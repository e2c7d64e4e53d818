//! Connections, and the requests that come over them.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::answer::{Answer, text};
use crate::control;
use crate::proxy::{self, Target, target};
use crate::request::{Asked, Query};
use crate::world::World;

/// The longest body that the control plane takes.
const LONGEST: usize = 8 << 20;

/// Takes connections for ever.
pub async fn serve(world: Arc<World>, listener: TcpListener) {
    loop {
        // A connection that is gone before it was taken is none.
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(connection(Arc::clone(&world), stream));
    }
}

async fn connection(world: Arc<World>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let world = Arc::clone(&world);
        async move { Ok::<_, Infallible>(answer(&world, request).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // How a connection ends is the client's matter.
    let _ = serving.with_upgrades().await;
}

async fn answer(world: &Arc<World>, request: Request<Incoming>) -> Answer {
    let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let host = host.or_else(|| crate::request::header(request.headers(), "host").map(str::to_owned));
    match target(request.headers(), host.as_deref()) {
        Target::Control => match asked(request).await {
            Some(asked) => control::answer(world, asked).await,
            None => text(StatusCode::PAYLOAD_TOO_LARGE, "request body is too large"),
        },
        Target::Port(id, port) => proxy::answer(world, &id, port, request).await,
        Target::Nowhere(why) => proxy::nowhere(why),
    }
}

async fn asked(request: Request<Incoming>) -> Option<Asked> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LONGEST).collect().await.ok()?.to_bytes();
    Some(Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: Query::of(parts.uri.query()),
        headers: parts.headers,
        body,
    })
}
