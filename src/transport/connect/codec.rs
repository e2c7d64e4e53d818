//! The two ways in which messages are written.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Fault;

/// A message that can be written in both ways.
pub(crate) trait Message: prost::Message + Default + Serialize + DeserializeOwned {}

impl<M: prost::Message + Default + Serialize + DeserializeOwned> Message for M {}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// As binary protobuf: bytes are bytes.
    Binary,
    /// As JSON, which every server speaks: bytes are base64.
    Json,
}

impl Codec {
    /// The type of a message that is by itself.
    pub(super) const fn unary(self) -> &'static str {
        match self {
            Self::Binary => "application/proto",
            Self::Json => "application/json",
        }
    }

    /// The type of messages that are in envelopes.
    pub(super) const fn streaming(self) -> &'static str {
        match self {
            Self::Binary => "application/connect+proto",
            Self::Json => "application/connect+json",
        }
    }

    /// The codec of an answer of this type, if it is one of the two that the `of` function names.
    pub(super) fn of(content_type: &str, named: fn(Self) -> &'static str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Binary, Self::Json].into_iter().find(|codec| essence.eq_ignore_ascii_case(named(*codec)))
    }

    pub(super) fn encode<M: Message>(self, message: &M) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Binary => Ok(message.encode_to_vec()),
            Self::Json => serde_json::to_vec(message).map_err(|error| Fault::Nonsense(error.to_string())),
        }
    }

    pub(super) fn decode<M: Message>(self, bytes: Bytes) -> Result<M, Fault> {
        match self {
            Self::Binary => M::decode(bytes).map_err(|error| Fault::Nonsense(error.to_string())),
            Self::Json => serde_json::from_slice(&bytes).map_err(|error| Fault::Nonsense(error.to_string())),
        }
    }
}
