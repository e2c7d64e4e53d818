//! What JavaScript gives to be written: a text, bytes, or a stream, which the door has made a function of that
//! gives the next piece.

use bytes::Bytes;
use napi::bindgen_prelude::{FromNapiValue, Promise, TypeName, Unknown, ValidateNapiValue};
use napi::threadsafe_function::ThreadsafeFunction;
use napi::{Status, ValueType, sys};

use super::convert;
use super::error::thrown;
use crate::error::Result;
use crate::provider::{ByteStream, Content};

/// Gives the next piece, `null` at the end.
type Pull = ThreadsafeFunction<(), Promise<Option<Piece>>, (), Status, false, true>;

/// The content that a value is, or gives.
pub(super) fn content(name: &str, value: &Unknown<'_>) -> Result<Content> {
    let Some(function) = convert::function::<(), Promise<Option<Piece>>>(value)? else {
        return convert::bytes(name, value).map(Content::from);
    };
    let pull = function
        .build_threadsafe_function::<()>()
        .callee_handled::<false>()
        .weak::<true>()
        .build()
        .map_err(thrown)?;
    let pieces = futures_util::stream::try_unfold(pull, |pull: Pull| async move {
        let piece = pull.call_async_catch(()).await.map_err(thrown)?.await.map_err(thrown)?;
        Ok(piece.map(|Piece(bytes)| (bytes, pull)))
    });
    Ok(Content::from(Box::pin(pieces) as ByteStream))
}

/// A text or bytes, taken while JavaScript stands still: it may change or give away its array afterwards.
struct Piece(Bytes);

impl FromNapiValue for Piece {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        // SAFETY: the caller's promise about `env` and `value` is passed on.
        let value = unsafe { Unknown::from_napi_value(env, value) }?;
        Ok(Self(convert::bytes("piece", &value)?))
    }
}

impl TypeName for Piece {
    fn type_name() -> &'static str {
        "Piece"
    }
    fn value_type() -> ValueType {
        ValueType::Unknown
    }
}

impl ValidateNapiValue for Piece {}
