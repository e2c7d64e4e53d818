//! Which call a request is, and what becomes of its messages.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as _, Incoming};

use super::codec::{Code, Codec, Fault, LONGEST, Message, Reader, Writer, end, unzip, zip};
use super::{filesystem, path, process, start, watch};
use crate::answer::{Answer, full, of_type, text, with};
use crate::options::{Options, Version};
use crate::request::header;
use crate::sandbox::Sandbox;

/// Everything that a call is about.
#[derive(Debug)]
pub struct Call<'a> {
    /// What the fake is to be.
    pub options: &'a Options,
    /// Where it is to happen.
    pub sandbox: &'a Arc<Sandbox>,
    /// The headers of the request.
    pub headers: HeaderMap,
    /// On whose behalf.
    pub user: String,
}

/// How many messages a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One, and one answer.
    Unary,
    /// One, and a stream of answers.
    Answers,
    /// A stream, and one answer.
    Questions,
}

fn kind(options: &Options, path: &str) -> Option<Kind> {
    let has = |version| options.envd_version >= version;
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let unary = match service {
        "process.Process" => match method {
            "Start" | "Connect" => return Some(Kind::Answers),
            "StreamInput" => return Some(Kind::Questions),
            "CloseStdin" => has(Version::CLOSE_STDIN),
            "List" | "Update" | "SendInput" | "SendSignal" => true,
            _ => false,
        },
        "filesystem.Filesystem" => match method {
            "WatchDir" => return Some(Kind::Answers),
            "CreateWatcher" | "GetWatcherEvents" | "RemoveWatcher" => true,
            "Stat" | "MakeDir" | "Move" | "ListDir" | "Remove" => true,
            _ => false,
        },
        _ => false,
    };
    unary.then_some(Kind::Unary)
}

/// Answers a call.
pub async fn answer(options: &Options, sandbox: &Arc<Sandbox>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let Some(kind) = kind(options, &path) else {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    if request.method() != Method::POST {
        return with(text(StatusCode::METHOD_NOT_ALLOWED, ""), "allow", "POST");
    }
    let streaming = kind != Kind::Unary;
    let codec = Codec::of(header(request.headers(), "content-type").unwrap_or_default(), streaming);
    let codec = codec.filter(|codec| *codec == Codec::Json || !options.json_only);
    let Some(codec) = codec else {
        let types = if streaming { "application/connect+json" } else { "application/json" };
        let answer = text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "");
        return with(answer, "accept-post", types);
    };
    let (parts, body) = request.into_parts();
    let user = match path::user(options, &parts.headers) {
        Ok(user) => user,
        Err(fault) if streaming => return streamed(codec, full(fault.trailer()), false),
        Err(fault) => return fault.answer(),
    };
    let call = Call { options, sandbox, headers: parts.headers, user };
    let method = path.rsplit('/').next().unwrap_or_default();
    match kind {
        Kind::Unary => call.unary(method, codec, body).await.unwrap_or_else(|fault| fault.answer()),
        Kind::Answers => {
            let writer = Writer::new(codec, &call.headers);
            match call.answers(method, codec, body, writer).await {
                Ok(answer) => streamed(codec, answer.into_body(), writer.gzip),
                Err(fault) => streamed(codec, full(fault.trailer()), false),
            }
        }
        Kind::Questions => {
            let mut bytes = Vec::new();
            match call.questions(codec, body).await {
                Ok(message) => {
                    bytes.extend_from_slice(&message);
                    bytes.extend_from_slice(&end());
                }
                Err(fault) => bytes.extend_from_slice(&fault.trailer()),
            }
            streamed(codec, full(bytes), false)
        }
    }
}

fn streamed(codec: Codec, body: crate::answer::Body, gzip: bool) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(codec.content_type(true)));
    if gzip { with(answer, "connect-content-encoding", "gzip") } else { answer }
}

impl Call<'_> {
    async fn unary(&self, method: &str, codec: Codec, body: Incoming) -> Result<Answer, Fault> {
        let mut bytes = whole(body).await?;
        if header(&self.headers, "content-encoding") == Some("gzip") {
            bytes = unzip(&bytes)?;
        }
        let processes = &self.sandbox.envd.processes;
        match method {
            "List" => self.reply(codec, &process::list(processes)),
            "Update" => self.reply(codec, &process::update(processes, codec.decode(&bytes)?).await?),
            "SendInput" => self.reply(codec, &process::send_input(processes, codec.decode(&bytes)?).await?),
            "SendSignal" => self.reply(codec, &process::send_signal(processes, codec.decode(&bytes)?).await?),
            "CloseStdin" => self.reply(codec, &process::close_stdin(processes, codec.decode(&bytes)?).await?),
            "Stat" => self.reply(codec, &filesystem::stat(self, codec.decode(&bytes)?).await?),
            "MakeDir" => self.reply(codec, &filesystem::make_dir(self, codec.decode(&bytes)?).await?),
            "Move" => self.reply(codec, &filesystem::rename(self, codec.decode(&bytes)?).await?),
            "ListDir" => self.reply(codec, &filesystem::list_dir(self, codec.decode(&bytes)?).await?),
            "CreateWatcher" => self.reply(codec, &watch::create(self, codec.decode(&bytes)?).await?),
            "GetWatcherEvents" => self.reply(codec, &watch::events(self, codec.decode(&bytes)?)?),
            "RemoveWatcher" => self.reply(codec, &watch::remove(self, codec.decode(&bytes)?).await?),
            "Remove" => self.reply(codec, &filesystem::remove(self, codec.decode(&bytes)?).await?),
            _ => Err(Fault::new(Code::Unimplemented, format!("{method} is not implemented"))),
        }
    }

    fn reply(&self, codec: Codec, message: &impl Message) -> Result<Answer, Fault> {
        let bytes = codec.encode(message);
        let accepted = header(&self.headers, "accept-encoding").unwrap_or_default();
        if accepted.split(',').any(|one| one.trim() == "gzip") {
            let answer = of_type(StatusCode::OK, codec.content_type(false), zip(&bytes));
            return Ok(with(answer, "content-encoding", "gzip"));
        }
        Ok(of_type(StatusCode::OK, codec.content_type(false), bytes))
    }

    /// The one message of a request that is answered by many.
    async fn answers(
        &self,
        method: &str,
        codec: Codec,
        body: Incoming,
        writer: Writer,
    ) -> Result<Answer, Fault> {
        let mut reader = Reader::default();
        reader.add(&whole(body).await?);
        let message = reader
            .take()?
            .ok_or_else(|| Fault::new(Code::InvalidArgument, "protocol error: incomplete envelope"))?;
        if !reader.is_empty() {
            return Err(Fault::new(Code::Unimplemented, "unary request has multiple messages"));
        }
        match method {
            "Start" => {
                let request = codec.decode(&message)?;
                let listening =
                    start::start(self.options, self.sandbox, &self.headers, &self.user, request).await?;
                Ok(listening.answer(writer, &self.headers))
            }
            "Connect" => {
                let listening = start::connect(self.sandbox, &self.headers, codec.decode(&message)?)?;
                Ok(listening.answer(writer, &self.headers))
            }
            "WatchDir" => watch::watch_dir(self, codec.decode(&message)?, writer).await,
            _ => Err(Fault::new(Code::Unimplemented, format!("{method} is not implemented"))),
        }
    }

    /// Takes message after message as they come; the answer follows the last.
    async fn questions(&self, codec: Codec, mut body: Incoming) -> Result<Bytes, Fault> {
        let mut reader = Reader::default();
        let mut process = None;
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| Fault::new(Code::Unknown, format!("error streaming input: {error}")))?;
            if let Ok(bytes) = frame.into_data() {
                reader.add(&bytes);
            }
            while let Some(message) = reader.take()? {
                let request = codec.decode(&message)?;
                process::stream_input(&self.sandbox.envd.processes, &mut process, request).await?;
            }
        }
        let writer = Writer::new(codec, &HeaderMap::new());
        Ok(writer.write(&super::messages::Empty {}))
    }
}

async fn whole(body: Incoming) -> Result<Bytes, Fault> {
    if body.size_hint().lower() > LONGEST as u64 {
        return Err(Fault::new(Code::ResourceExhausted, format!("message is larger than {LONGEST}")));
    }
    let collected = Limited::new(body, LONGEST).collect().await;
    let collected =
        collected.map_err(|error| Fault::new(Code::InvalidArgument, format!("read message: {error}")))?;
    Ok(collected.to_bytes())
}
