//! Requests that go on to a port of a sandbox.

use std::sync::Arc;

use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderValue, Request, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::answer::{Answer, Broken};
use crate::sandbox::Sandbox;

/// The answer of what listens on a port; `None` if nothing does.
pub async fn to(sandbox: &Arc<Sandbox>, port: u16, mut request: Request<Incoming>) -> Option<Answer> {
    if !sandbox.instance.listens(port).await.ok()? {
        return None;
    }
    let url: Uri = sandbox.instance.url(port, None).await.ok()?.parse().ok()?;
    let stream = TcpStream::connect(url.authority()?.as_str()).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection.with_upgrades());
    let upgrading = request.headers().contains_key(UPGRADE);
    let ours = upgrading.then(|| hyper::upgrade::on(&mut request));
    // Whatever it came over, it goes on over HTTP/1.1, to the name that it was sent to.
    if let Some(authority) = request.uri().authority() {
        let host = HeaderValue::from_str(authority.as_str()).ok()?;
        request.headers_mut().entry(HOST).or_insert(host);
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().ok()?;
    *request.version_mut() = Version::HTTP_11;
    for name in ["keep-alive", "proxy-connection", "te", "transfer-encoding"] {
        request.headers_mut().remove(name);
    }
    if !upgrading {
        request.headers_mut().remove(CONNECTION);
    }
    let mut answer = sender.send_request(request).await.ok()?;
    if let Some(ours) = ours
        && answer.status() == http::StatusCode::SWITCHING_PROTOCOLS
    {
        let theirs = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move {
            let (ours, theirs) = tokio::try_join!(ours, theirs)?;
            let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
            tokio::io::copy_bidirectional(&mut ours, &mut theirs).await?;
            Ok::<_, Broken>(())
        });
    } else {
        answer.headers_mut().remove(CONNECTION);
        answer.headers_mut().remove("transfer-encoding");
    }
    *answer.version_mut() = Version::default();
    Some(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
}
