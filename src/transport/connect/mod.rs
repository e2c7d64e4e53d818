//! The Connect protocol (connectrpc.com): calls over HTTP, answered once or by a stream of messages.
//!
//! Messages are written in binary where the server takes that, else as JSON; which it is, is found out by the
//! first call and remembered for all servers that are made alike.

mod codec;
mod envelope;
mod fault;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod spoken;

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, StatusCode, Url};

use self::codec::Codec;
pub(crate) use self::codec::Message;
use self::envelope::{Envelope, Opener};
pub(crate) use self::fault::{Code, Fault, Foreign, Refusal};
use self::spoken::Spoken;
use super::{Answer, Http, Repeat};
use crate::error::Error;
use crate::provider::ByteStream;

/// A server that speaks the protocol.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    base: String,
    headers: HeaderMap,
    spoken: Arc<Spoken>,
}

impl Service {
    /// A server at an address, which gets these headers with every call. What was found out about one of the
    /// same `make` is true of it too.
    pub(crate) fn new(base: &str, make: &str, headers: HeaderMap) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), headers, spoken: Spoken::by(make) }
    }

    /// A call with one answer.
    pub(crate) async fn call<Q: Message, A: Message>(
        &self,
        method: &str,
        request: &Q,
        headers: &HeaderMap,
        repeat: Repeat,
    ) -> Result<A, Fault> {
        let body = |codec: Codec| codec.encode(request).map(Bytes::from);
        let answer = self.exchange(method, Codec::unary, &body, headers, repeat).await?;
        let Some(codec) = codec_of(&answer, Codec::unary) else {
            return Err(Fault::Foreign(Foreign::read(answer).await?));
        };
        codec.decode(answer.bytes().await?)
    }

    /// A call that is answered by a stream.
    pub(crate) async fn stream<Q: Message, A: Message>(
        &self,
        method: &str,
        request: &Q,
        headers: &HeaderMap,
    ) -> Result<Messages<A>, Fault> {
        let body = |codec: Codec| codec.encode(request).map(|message| envelope::enclose(&message));
        let answer = self.exchange(method, Codec::streaming, &body, headers, Repeat::Unsent).await?;
        let Some(codec) = codec_of(&answer, Codec::streaming) else {
            return Err(Fault::Foreign(Foreign::read(answer).await?));
        };
        Ok(Messages {
            codec,
            bytes: answer.stream(),
            opener: Opener::default(),
            answer: std::marker::PhantomData,
        })
    }

    /// Sends a call in binary unless it is known that only JSON is taken, and as JSON if binary turns out not to be.
    async fn exchange(
        &self,
        method: &str,
        named: fn(Codec) -> &'static str,
        body: &(dyn Fn(Codec) -> Result<Bytes, Fault> + Sync),
        headers: &HeaderMap,
        repeat: Repeat,
    ) -> Result<Answer, Fault> {
        let codec = self.spoken.codec();
        let answer = self.post(method, named(codec), headers, body(codec)?, repeat).await?;
        if answer.status() == StatusCode::OK {
            self.spoken.is(codec);
            return Ok(answer);
        }
        let foreign = Foreign::read(answer).await?;
        if foreign.status != StatusCode::UNSUPPORTED_MEDIA_TYPE
            && let Some(refusal) = foreign.refusal()
        {
            self.spoken.is(codec);
            return Err(Fault::Refused(refusal));
        }
        if codec == Codec::Json || !self.spoken.may_be_json(foreign.status) {
            return Err(Fault::Foreign(foreign));
        }
        let body = body(Codec::Json)?;
        let answer = self.post(method, named(Codec::Json), headers, body, repeat).await?;
        if answer.status() == StatusCode::OK {
            self.spoken.is(Codec::Json);
            return Ok(answer);
        }
        let foreign = Foreign::read(answer).await?;
        match foreign.refusal() {
            Some(refusal) => {
                self.spoken.is(Codec::Json);
                Err(Fault::Refused(refusal))
            }
            None => Err(Fault::Foreign(foreign)),
        }
    }

    async fn post(
        &self,
        method: &str,
        content_type: &'static str,
        headers: &HeaderMap,
        body: Bytes,
        repeat: Repeat,
    ) -> Result<Answer, Fault> {
        let address = format!("{}/{method}", self.base);
        let url = Url::parse(&address)
            .map_err(|error| Error::invalid(format!("`{address}` is no URL: {error}")))?;
        let mut request = Request::new(Method::POST, url);
        let all = request.headers_mut();
        all.extend(self.headers.clone());
        all.extend(headers.clone());
        all.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        all.insert(HeaderName::from_static("connect-protocol-version"), HeaderValue::from_static("1"));
        *request.body_mut() = Some(body.into());
        Ok(Http::shared()?.send(request, repeat).await?)
    }
}

fn codec_of(answer: &Answer, named: fn(Codec) -> &'static str) -> Option<Codec> {
    Codec::of(answer.headers().get(CONTENT_TYPE)?.to_str().ok()?, named)
}

/// The messages of a stream. Dropped, the rest is not asked for.
pub(crate) struct Messages<A> {
    codec: Codec,
    bytes: ByteStream,
    opener: Opener,
    answer: std::marker::PhantomData<fn() -> A>,
}

impl<A> Debug for Messages<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages").field("codec", &self.codec).finish_non_exhaustive()
    }
}

impl<A> Messages<A> {
    /// Reads what is left, for nobody: over HTTP/1.1 only a connection that was read to the end is used again.
    pub(crate) async fn finish(&mut self) {
        while let Some(Ok(_)) = self.bytes.next().await {}
    }
}

impl<A: Message> Messages<A> {
    /// The next one; `None` after a good end. Dropped: nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Option<A>, Fault> {
        loop {
            match self.opener.next()? {
                Some(Envelope::Message(message)) => return self.codec.decode(message).map(Some),
                Some(Envelope::End(end)) => return end.map(|()| None).map_err(Fault::Refused),
                None => {}
            }
            match self.bytes.next().await {
                Some(bytes) => self.opener.push(&bytes?),
                None => return Err(Fault::Lost(cut_off())),
            }
        }
    }
}

fn cut_off() -> Error {
    Error::new(crate::error::ErrorKind::Unavailable, "the answer was cut off before its end")
}
