//! The Connect protocol: two codecs, one message in a body or many in envelopes, and how errors are told.

use std::io::{Read, Write};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::answer::{Answer, json};
use crate::request::header;

/// The longest message that is taken.
pub const LONGEST: usize = 64 << 20;

/// A message in either codec.
pub trait Message: prost::Message + Default + Serialize + DeserializeOwned {}
impl<M: prost::Message + Default + Serialize + DeserializeOwned> Message for M {}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As text.
    Json,
    /// As protobuf.
    Proto,
}

impl Codec {
    /// What a request of this type is written in: one message, or many if it is to be `streaming`.
    pub fn of(content_type: &str, streaming: bool) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        match (kind, streaming) {
            ("application/json", false) | ("application/connect+json", true) => Some(Self::Json),
            ("application/proto", false) | ("application/connect+proto", true) => Some(Self::Proto),
            _ => None,
        }
    }

    /// The type of an answer.
    pub fn content_type(self, streaming: bool) -> &'static str {
        match (self, streaming) {
            (Self::Json, false) => "application/json",
            (Self::Json, true) => "application/connect+json",
            (Self::Proto, false) => "application/proto",
            (Self::Proto, true) => "application/connect+proto",
        }
    }

    /// Writes a message.
    pub fn encode(self, message: &impl Message) -> Bytes {
        match self {
            Self::Json => serde_json::to_vec(message).unwrap_or_default().into(),
            Self::Proto => message.encode_to_vec().into(),
        }
    }

    /// Reads a message.
    pub fn decode<M: Message>(self, bytes: &[u8]) -> Result<M, Fault> {
        let read = match self {
            Self::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
            Self::Proto => M::decode(bytes).map_err(|error| error.to_string()),
        };
        read.map_err(|why| Fault::new(Code::InvalidArgument, format!("unmarshal message: {why}")))
    }
}

/// The codes of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    ResourceExhausted,
    Unimplemented,
    Internal,
    Unauthenticated,
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::InvalidArgument => "invalid_argument",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
            Self::Unauthenticated => "unauthenticated",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::InvalidArgument => StatusCode::BAD_REQUEST,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::AlreadyExists => StatusCode::CONFLICT,
            Self::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unknown | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
        }
    }
}

/// An error of a call.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Its code.
    pub code: Code,
    /// Its message.
    pub message: String,
}

impl Fault {
    /// One with a message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// As the answer of a call with one message.
    pub fn answer(&self) -> Answer {
        json(self.code.status(), &json!({ "code": self.code.name(), "message": self.message }))
    }

    /// As the end of a stream.
    pub fn trailer(&self) -> Bytes {
        let error = json!({ "code": self.code.name(), "message": self.message });
        envelope(END, json!({ "error": error }).to_string().as_bytes())
    }
}

/// The flag of a message that is compressed.
const COMPRESSED: u8 = 1;
/// The flag of the last envelope.
const END: u8 = 2;

/// The end of a stream in which nothing went wrong.
pub fn end() -> Bytes {
    envelope(END, b"{}")
}

fn envelope(flags: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + payload.len());
    bytes.put_u8(flags);
    bytes.put_u32(payload.len() as u32);
    bytes.put_slice(payload);
    bytes.freeze()
}

/// Writes the messages of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    codec: Codec,
    /// Whether each is compressed.
    pub gzip: bool,
}

impl Writer {
    /// As the caller wants them.
    pub fn new(codec: Codec, headers: &HeaderMap) -> Self {
        let accepted = header(headers, "connect-accept-encoding").unwrap_or_default();
        Self { codec, gzip: accepted.split(',').any(|one| one.trim() == "gzip") }
    }

    /// One in its envelope.
    pub fn write(self, message: &impl Message) -> Bytes {
        let payload = self.codec.encode(message);
        if self.gzip { envelope(COMPRESSED, &zip(&payload)) } else { envelope(0, &payload) }
    }
}

/// Takes the messages of a stream out of bytes that come in pieces.
#[derive(Debug, Default)]
pub struct Reader(BytesMut);

impl Reader {
    /// Adds a piece.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next message, if it is there as a whole.
    pub fn take(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some((head, rest)) = self.0.split_first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > LONGEST {
            let message = format!("message size {length} is larger than configured max {LONGEST}");
            return Err(Fault::new(Code::ResourceExhausted, message));
        }
        let flags = head[0];
        if rest.len() < length {
            return Ok(None);
        }
        self.0.advance(5);
        let payload = self.0.split_to(length).freeze();
        if flags & COMPRESSED == 0 { Ok(Some(payload)) } else { unzip(&payload).map(Some) }
    }

    /// Whether a message was begun.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Compresses.
pub fn zip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}

/// Decompresses a message.
pub fn unzip(bytes: &[u8]) -> Result<Bytes, Fault> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes)
        .take(LONGEST as u64)
        .read_to_end(&mut plain)
        .map_err(|error| Fault::new(Code::InvalidArgument, format!("decompress: {error}")))?;
    Ok(plain.into())
}
