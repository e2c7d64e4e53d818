//! Connections, and the requests that come over them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::answer::{Answer, Body, Broken, text};
use crate::connection::{Connection, InFlight, Wire};
use crate::control;
use crate::faults::{self, Action, Fault, Service};
use crate::proxy::{self, Target, target};
use crate::request::{Asked, Query, header};
use crate::tls::HTTP2;
use crate::world::World;

/// The longest body that the control plane takes.
const LONGEST: usize = 8 << 20;

/// Bytes that a client may send of one stream before they are taken: the proxy's own limit.
const WINDOW: u32 = 1 << 20;

/// How long nothing may come over HTTP/2 before the client is asked whether it is there, and how long it may take to
/// answer: as the proxy has it.
const QUIET: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(15);

/// Takes connections for ever.
pub async fn serve(world: Arc<World>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        // A connection that is gone before it was taken is none.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let closed = world.closed.clone();
        tokio::spawn(closed.run_until_cancelled_owned(accepted(Arc::clone(&world), stream, tls.clone())));
    }
}

async fn accepted(world: Arc<World>, stream: TcpStream, tls: Option<TlsAcceptor>) {
    let connection = Connection::new(&world);
    match tls {
        None => converse(world, connection, stream, false).await,
        Some(tls) => {
            // Whoever does not trust it goes away.
            let Ok(stream) = tls.accept(stream).await else { return };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
            converse(world, connection, stream, http2).await;
        }
    }
}

/// Serves one connection to its end, good or bad; how it ends is the client's matter.
async fn converse<S>(world: Arc<World>, connection: Connection, stream: S, http2: bool)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = TokioIo::new(Wire::new(stream, connection.clone(), http2));
    let streams = world.options.max_streams;
    if http2 {
        world.counters.speaks_http2();
    }
    let service = {
        let connection = connection.clone();
        service_fn(move |request| {
            let (world, connection) = (Arc::clone(&world), connection.clone());
            async move { respond(&world, &connection, request).await }
        })
    };
    if http2 {
        let mut serving = std::pin::pin!(
            http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(streams)
                .initial_stream_window_size(WINDOW)
                .timer(TokioTimer::new())
                .keep_alive_interval(QUIET)
                .keep_alive_timeout(PATIENCE)
                .serve_connection(io, service)
        );
        tokio::select! {
            _ = serving.as_mut() => return,
            () = connection.aborted() => return,
            () = connection.leaving() => serving.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = serving => {}
            () = connection.aborted() => {}
        }
    } else {
        let mut serving = std::pin::pin!(http1::Builder::new().serve_connection(io, service).with_upgrades());
        tokio::select! {
            _ = serving.as_mut() => return,
            () = connection.aborted() => return,
            () = connection.leaving() => serving.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = serving => {}
            () = connection.aborted() => {}
        }
    }
}

/// Answers a request, unless something is to go wrong with it.
async fn respond(
    world: &Arc<World>,
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<Answer, h2::Error> {
    let in_flight = connection.enter(&request);
    let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let host = host.or_else(|| header(request.headers(), "host").map(str::to_owned));
    let target = target(request.headers(), host.as_deref());
    let service = match &target {
        Target::Port(_, proxy::ENVD) => Service::Envd,
        Target::Port(_, proxy::KERNELS) => Service::Interpreter,
        Target::Port(..) => Service::Port,
        Target::Control | Target::Nowhere(_) => Service::Control,
    };
    let answer = match world.faults.take(request.method(), request.uri().path(), service) {
        None => answer(world, target, request).await,
        Some(fault) => go_wrong(world, connection, fault, target, request).await?,
    };
    Ok(answer.map(|body| Counted { body, _in_flight: in_flight }.boxed_unsync()))
}

async fn go_wrong(
    world: &Arc<World>,
    connection: &Connection,
    fault: Fault,
    target: Target,
    request: Request<Incoming>,
) -> Result<Answer, h2::Error> {
    tokio::time::sleep(fault.delay).await;
    let instead = |action: &Action| {
        matches!(
            action,
            Action::Answer { .. }
                | Action::Close {}
                | Action::Reset { .. }
                | Action::Goaway { refuse: true, .. }
        )
    };
    let answer = match &fault.action {
        Some(action) if instead(action) => {
            if fault.processed {
                // Nobody hears of it.
                drop(answer(world, target, request).await);
            }
            text(StatusCode::OK, "")
        }
        _ => answer(world, target, request).await,
    };
    match fault.action {
        None => Ok(answer),
        Some(Action::Answer { status, headers, body }) => Ok(faults::other(status, &headers, &body)),
        Some(Action::Close {}) => {
            connection.abort();
            std::future::pending().await
        }
        Some(Action::Reset { code }) => Err(faults::reset(code)),
        Some(Action::Goaway { code, refuse: true }) => {
            connection.refuse_last(code);
            // Long enough to be read; then there is no connection any more.
            tokio::time::sleep(Duration::from_millis(100)).await;
            connection.abort();
            std::future::pending().await
        }
        Some(Action::Goaway { refuse: false, .. }) => {
            connection.leave();
            Ok(answer)
        }
        Some(Action::Cut { frames, bytes, how }) => {
            Ok(faults::cut(answer, frames, bytes, how, connection.clone()))
        }
        Some(Action::Slow { size, pause }) => Ok(faults::slow(answer, size, Duration::from_millis(pause))),
    }
}

async fn answer(world: &Arc<World>, target: Target, request: Request<Incoming>) -> Answer {
    match target {
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

/// A body that counts as under way until it is over.
struct Counted {
    body: Body,
    _in_flight: InFlight,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
