//! How JSON says what the binary codec says in other ways: see "ProtoJSON" in the documentation of protobuf.

use serde::{Deserialize, Deserializer, Serializer};

use super::messages::Moment;

/// Whether JSON leaves a value out.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A number, or the text of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Text(String),
}

/// Bytes, as base64.
pub mod base64 {
    use ::base64::Engine;
    use ::base64::alphabet::{STANDARD, URL_SAFE};
    use ::base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    use bytes::Bytes;

    use super::*;

    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

    pub fn serialize<S: Serializer>(bytes: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
        let bytes = bytes.as_deref().unwrap_or_default();
        to.serialize_str(&GeneralPurpose::new(&STANDARD, LENIENT).encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bytes>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let alphabet = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
        let bytes = GeneralPurpose::new(&alphabet, LENIENT).decode(text);
        bytes.map(|bytes| Some(bytes.into())).map_err(serde::de::Error::custom)
    }
}

/// A number of 64 bits, as text.
pub mod number {
    use super::*;

    pub fn serialize<S: Serializer>(value: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        match Loose::deserialize(from)? {
            Loose::Number(number) => Ok(number),
            Loose::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// A moment, as RFC 3339 writes it.
pub mod time {
    use jiff::Timestamp;
    use serde::Serialize;

    use super::*;

    pub fn serialize<S: Serializer>(moment: &Option<Moment>, to: S) -> Result<S::Ok, S::Error> {
        let moment = moment.clone().unwrap_or_default();
        let time = Timestamp::new(moment.seconds, moment.nanos).map_err(serde::ser::Error::custom)?;
        time.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Moment>, D::Error> {
        let time = Option::<Timestamp>::deserialize(from)?;
        Ok(time.map(|time| Moment { seconds: time.as_second(), nanos: time.subsec_nanosecond() }))
    }
}

/// The number of an enum, by its name.
macro_rules! named {
    ($name:ident, $names:expr) => {
        pub mod $name {
            use super::*;

            const NAMES: &[(i32, &str)] = &$names;

            pub fn serialize<S: Serializer>(value: &i32, to: S) -> Result<S::Ok, S::Error> {
                match NAMES.iter().find(|(number, _)| number == value) {
                    Some((_, name)) => to.serialize_str(name),
                    None => to.serialize_i32(*value),
                }
            }

            pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
                let unknown = |what: &str| serde::de::Error::custom(format!("unknown value: {what}"));
                match Loose::deserialize(from)? {
                    Loose::Number(number) => i32::try_from(number).map_err(serde::de::Error::custom),
                    Loose::Text(text) => {
                        let found = NAMES.iter().find(|(_, name)| *name == text);
                        found.map(|(number, _)| *number).ok_or_else(|| unknown(&text))
                    }
                }
            }
        }
    };
}

named!(signal, [(0, "SIGNAL_UNSPECIFIED"), (9, "SIGNAL_SIGKILL"), (15, "SIGNAL_SIGTERM")]);
named!(
    file_type,
    [
        (0, "FILE_TYPE_UNSPECIFIED"),
        (1, "FILE_TYPE_FILE"),
        (2, "FILE_TYPE_DIRECTORY"),
        (3, "FILE_TYPE_SYMLINK")
    ]
);
named!(
    event_type,
    [
        (0, "EVENT_TYPE_UNSPECIFIED"),
        (1, "EVENT_TYPE_CREATE"),
        (2, "EVENT_TYPE_WRITE"),
        (3, "EVENT_TYPE_REMOVE"),
        (4, "EVENT_TYPE_RENAME"),
        (5, "EVENT_TYPE_CHMOD"),
    ]
);
