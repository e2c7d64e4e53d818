//! Reading JSON that a stranger wrote: nothing is coerced, nothing is unknown, and what is wrong is named.
//!
//! A value is parsed when it is asked for, as what it is to be. So what nobody asks for costs no more than a look
//! at its bytes, however it is made.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The largest whole number that JavaScript is exact about.
const MAX_SAFE: u64 = (1 << 53) - 1;
/// How deep a body may be nested.
const MAX_DEPTH: usize = 32;
/// How many keys an object may have, and items a list.
pub(super) const MAX_ITEMS: usize = 1024;
/// Characters of what was sent that a message repeats.
const REPEATED: usize = 100;

/// The text of a body, if it may be JSON.
pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).map_err(|_| broken())?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if depth(text) > MAX_DEPTH {
        return Err(Error::invalid(format!(
            "The request body is nested too deeply: {MAX_DEPTH} levels at most"
        )));
    }
    Ok(text)
}

fn broken() -> Error {
    Error::invalid("Invalid JSON in request body")
}

/// How deep the brackets of a text go, but for those in strings.
fn depth(text: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                now += 1;
                most = most.max(now);
            }
            b']' | b'}' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// What a message repeats of something that was sent.
pub(super) fn repeated(text: &str) -> String {
    match text.char_indices().nth(REPEATED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An object whose keys are known, and whose values are not looked at yet.
#[derive(Debug)]
pub(super) struct Object<'a> {
    /// What stands before a key where it is named: nothing, or the key of the object and a dot.
    prefix: String,
    values: Vec<(&'static str, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// The body itself.
    pub(super) fn body(text: &'a str, known: &[&'static str]) -> Result<Self> {
        let keys: Keys<'a> = serde_json::from_str(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Error::invalid("The request body must be a JSON object"),
            _ => broken(),
        })?;
        Self::of(String::new(), keys, known)
    }

    /// An object in it whose keys are known. One that is not there is empty.
    pub(super) fn object(&self, key: &str, known: &[&'static str]) -> Result<Self> {
        let keys = self.read(key, "an object")?.unwrap_or_default();
        Self::of(format!("{}{key}.", self.prefix), keys, known)
    }

    fn of(prefix: String, keys: Keys<'a>, known: &[&'static str]) -> Result<Self> {
        let mut values: Vec<(&'static str, &'a RawValue)> = Vec::new();
        for (key, value) in keys.within(&prefix)? {
            let Some(name) = known.iter().find(|name| **name == key) else {
                return Err(Error::invalid(format!("Unknown field: {prefix}{}", repeated(&key))));
            };
            // As in JavaScript the last of two counts, and null is nothing.
            values.retain(|(earlier, _)| earlier != name);
            if value.get() != "null" {
                values.push((name, value));
            }
        }
        Ok(Self { prefix, values })
    }

    /// The keys that have a value.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().map(|(key, _)| *key)
    }

    /// The JSON of a value.
    pub(super) fn raw(&self, key: &str) -> Option<&'a str> {
        self.values.iter().find(|(known, _)| *known == key).map(|(_, value)| value.get())
    }

    fn read<T: Deserialize<'a>>(&self, key: &str, wanted: &str) -> Result<Option<T>> {
        self.raw(key)
            .map(|raw| serde_json::from_str(raw).map_err(|_| self.wrong(key, wanted, raw)))
            .transpose()
    }

    fn wrong(&self, key: &str, wanted: &str, raw: &str) -> Error {
        let name = format!("`{}{key}`", self.prefix);
        match describe(raw) {
            // Half a surrogate pair, a number that is too large.
            found if found == wanted => Error::invalid(format!("{name} cannot be read as {wanted}")),
            found => Error::invalid(format!("{name} must be {wanted}, got {found}")),
        }
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>> {
        self.read(key, "a string")
    }

    /// Yes or no.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.read(key, "a boolean")
    }

    /// A number.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>> {
        self.read(key, "a number")
    }

    /// A whole number within a range.
    pub(super) fn whole(&self, key: &str, least: u64, most: u64) -> Result<Option<u64>> {
        let Some(number) = self.number(key)? else { return Ok(None) };
        whole(number, least, most).map(Some).ok_or_else(|| {
            let most = most.min(MAX_SAFE);
            Error::invalid(format!(
                "`{}{key}` must be a whole number from {least} to {most}, got {number}",
                self.prefix
            ))
        })
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.items(key, "an array of strings", "a string", Some)
    }

    /// A list of ports.
    pub(super) fn ports(&self, key: &str) -> Result<Option<Vec<u16>>> {
        let port = |number: f64| whole(number, 1, u16::MAX.into()).map(|port| port as u16);
        self.items(key, "an array of numbers", "a whole number from 1 to 65535", port)
    }

    fn items<T: Deserialize<'a>, U>(
        &self,
        key: &str,
        wanted: &str,
        each: &str,
        read: impl Fn(T) -> Option<U>,
    ) -> Result<Option<Vec<U>>> {
        let Some(items) = self.read::<Items<'a>>(key, wanted)? else { return Ok(None) };
        let name = format!("{}{key}", self.prefix);
        let read = |(at, item): (usize, &'a RawValue)| {
            let value = serde_json::from_str(item.get()).ok().and_then(&read);
            value.ok_or_else(|| self.wrong(&format!("{key}[{at}]"), each, item.get()))
        };
        items.within(&name)?.into_iter().enumerate().map(read).collect::<Result<_>>().map(Some)
    }

    /// Names and texts.
    pub(super) fn pairs(&self, key: &str) -> Result<Option<BTreeMap<String, String>>> {
        let Some(pairs) = self.read::<Keys<'a>>(key, "an object of strings")? else { return Ok(None) };
        let read = |(name, value): (String, &RawValue)| match serde_json::from_str(value.get()) {
            Ok(text) => Ok((name, text)),
            Err(_) => Err(self.wrong(&format!("{key}.{}", repeated(&name)), "a string", value.get())),
        };
        let pairs = pairs.within(&format!("{}{key}.", self.prefix))?;
        pairs.into_iter().map(read).collect::<Result<_>>().map(Some)
    }

    /// An object of anything.
    pub(super) fn json(&self, key: &str) -> Result<Option<Map<String, Value>>> {
        self.read(key, "an object")
    }
}

fn whole(number: f64, least: u64, most: u64) -> Option<u64> {
    let range = least as f64..=most.min(MAX_SAFE) as f64;
    (number.fract() == 0.0 && range.contains(&number)).then_some(number as u64)
}

/// What JSON is, for messages.
fn describe(raw: &str) -> &'static str {
    match raw.bytes().next() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The first of many, and whether there were more.
struct Bounded<T> {
    first: Vec<T>,
    more: bool,
}

/// The entries of an object, in their order.
type Keys<'a> = Bounded<(String, &'a RawValue)>;
/// The items of a list.
type Items<'a> = Bounded<&'a RawValue>;

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self { first: Vec::new(), more: false }
    }
}

impl<T> Bounded<T> {
    fn is_full(&self) -> bool {
        self.first.len() == MAX_ITEMS
    }

    /// All of them, if they were not too many.
    fn within(self, name: &str) -> Result<Vec<T>> {
        if self.more {
            let name = if name.is_empty() { "The request body" } else { name.trim_end_matches('.') };
            return Err(Error::invalid(format!("{name} has too many items: {MAX_ITEMS} at most")));
        }
        Ok(self.first)
    }
}

impl<'de> Deserialize<'de> for Keys<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Keys<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Keys<'de>, A::Error> {
                let mut keys = Keys::default();
                while !keys.is_full() {
                    let Some(entry) = map.next_entry()? else { return Ok(keys) };
                    keys.first.push(entry);
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    keys.more = true;
                }
                Ok(keys)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Items<'de>, A::Error> {
                let mut items = Items::default();
                while !items.is_full() {
                    let Some(item) = list.next_element()? else { return Ok(items) };
                    items.first.push(item);
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    items.more = true;
                }
                Ok(items)
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}
