//! What protobuf's JSON says otherwise than serde would: bytes are base64, numbers may be text, kinds have names,
//! times are RFC 3339, and what is `null` is not there.

use std::fmt::Display;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What is `null` is what it is when it is not there.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A whole number, as a number or as text.
pub(super) fn number<'de, D: Deserializer<'de>, T: TryFrom<i64> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let whole = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(T::default()),
        Value::Number(number) => number.as_i64().or_else(|| {
            // Some write whole numbers with a point.
            number.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i64)
        }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    whole.and_then(|number| T::try_from(number).ok()).ok_or_else(|| D::Error::custom("no such number"))
}

/// Bytes.
pub(super) mod bytes {
    use ::bytes::Bytes;
    use serde::Serializer;

    use super::{D64, Deserialize, Deserializer, Engine, Error, STANDARD, decode};

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &Option<Bytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bytes>, D::Error> {
        let text: Option<D64<'_>> = Option::deserialize(deserializer)?;
        text.map(|D64(text)| decode(&text).map_err(D::Error::custom)).transpose()
    }
}

/// Text that is borrowed where it can be: most of what a stream says is base64.
#[derive(serde::Deserialize)]
struct D64<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

fn decode(text: &str) -> Result<::bytes::Bytes, impl Display> {
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    engine.decode(text).map(::bytes::Bytes::from)
}

/// A kind, by its name or by its number; one that is not known is 0.
pub(super) fn kind<'de, D: Deserializer<'de>, T: Into<i32>>(
    deserializer: D,
    by_name: fn(&str) -> Option<T>,
) -> Result<i32, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(name) => by_name(&name).map_or(0, Into::into),
        Value::Number(number) => number.as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(0),
        _ => 0,
    })
}

/// A time.
pub(super) mod time {
    use serde::Serializer;

    use super::{Deserialize, Deserializer, Error};
    use crate::providers::e2b::envd::messages::Timestamp;

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let written = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
        match written {
            Some(time) => serializer.collect_str(&time),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let time: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        // Before 1970 both parts count backwards there, and here only the seconds do.
        let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
        if nanos < 0 {
            (seconds, nanos) = (seconds - 1, nanos + 1_000_000_000);
        }
        Ok(Some(Timestamp { seconds, nanos }))
    }
}
