//! What plug-ins answer. They are programs of others: what is missing or odd is an error that names it, and never
//! made up.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Entry, Status};

/// An answer of a method.
pub(super) struct Answer<'a> {
    method: &'a str,
    value: &'a Value,
}

impl<'a> Answer<'a> {
    pub(super) fn new(method: &'a str, value: &'a Value) -> Self {
        Self { method, value }
    }

    fn odd(&self, name: &str, wanted: &str, found: &Value) -> Error {
        let (method, found) = (self.method, shortened(&found.to_string()));
        Error::new(ErrorKind::Internal, format!("`{method}` gave `{name}` that is not {wanted}: {found}"))
            .with_hint("this is the provider's own mistake: tell its authors")
    }

    /// A property that is there.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    /// Text, or bytes; nothing if it is not there.
    pub(super) fn content(&self, name: &str) -> Result<Bytes> {
        match self.get(name) {
            None => Ok(Bytes::new()),
            Some(found) => content(found).ok_or_else(|| self.odd(name, "text", found)),
        }
    }

    /// An exit code, which must be there.
    pub(super) fn exit_code(&self) -> Result<i32> {
        let found = self.get("exitCode").unwrap_or(&Value::Null);
        let code = found.as_f64().filter(|code| code.fract() == 0.0 && i32::try_from(*code as i64).is_ok());
        code.map(|code| code as i32).ok_or_else(|| self.odd("exitCode", "a whole number", found))
    }

    /// A whole number that is not negative.
    pub(super) fn whole(&self, name: &str) -> Result<Option<u64>> {
        let Some(found) = self.get(name) else { return Ok(None) };
        let number = found.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0);
        number.map(|number| Some(number as u64)).ok_or_else(|| self.odd(name, "a whole number", found))
    }

    /// A moment: a `Date`, its number, or its text as ISO 8601 has it.
    pub(super) fn moment(&self, name: &str) -> Result<Option<SystemTime>> {
        let Some(found) = self.get(name) else { return Ok(None) };
        let moment = match found {
            Value::String(text) => text.parse::<jiff::Timestamp>().ok().map(SystemTime::from),
            found => found
                .as_f64()
                .filter(|millis| (0.0..=MAX_DATE).contains(millis))
                .and_then(|millis| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis as u64))),
        };
        moment.map(Some).ok_or_else(|| self.odd(name, "a Date", found))
    }

    /// An object of JSON values.
    pub(super) fn object(&self, name: &str) -> Result<Option<Map<String, Value>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map.clone())),
            Some(found) => Err(self.odd(name, "an object", found)),
        }
    }

    /// Whether a sandbox lives, which must be told.
    pub(super) fn status(&self) -> Result<Status> {
        match self.get("status").unwrap_or(&Value::Null) {
            Value::String(text) if text == "running" => Ok(Status::Running),
            Value::String(text) if text == "stopped" => Ok(Status::Stopped),
            Value::String(text) if text == "error" => Ok(Status::Error),
            found => Err(self.odd("status", "'running', 'stopped' or 'error'", found)),
        }
    }

    /// Text that is there.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(found) => Err(self.odd(name, "text", found)),
        }
    }

    /// An entry of a directory.
    pub(super) fn entry(&self) -> Result<Entry> {
        let name = self.text("name")?.ok_or_else(|| self.odd("name", "text", &Value::Null))?;
        let is_kind = |kind: &str| self.get("type").is_some_and(|found| found == kind);
        let directory = is_kind("directory") || self.get("isDirectory") == Some(&Value::Bool(true));
        let modified = match self.moment("modified")? {
            None => self.moment("lastModified")?,
            modified => modified,
        };
        let symlink_target = self.text("symlinkTarget")?;
        Ok(Entry { name, directory, size: self.whole("size")?, modified, symlink_target })
    }
}

/// The latest `Date` that JavaScript has.
const MAX_DATE: f64 = 8.64e15;

/// Bytes that a plug-in gave: text, or what the door has made of a `Uint8Array`.
pub(super) fn content(value: &Value) -> Option<Bytes> {
    match value {
        Value::String(text) => Some(Bytes::from(text.clone())),
        value => STANDARD.decode(value.get("base64")?.as_str()?).ok().map(Bytes::from),
    }
}

/// The first of a text that may be long.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(value: &Value) -> Answer<'_> {
        Answer::new("getInfo", value)
    }

    #[test]
    fn an_exit_code_is_a_number_that_is_there() {
        for (code, number) in [(json!(0), 0), (json!(-1), -1), (json!(3.0), 3)] {
            assert_eq!(answer(&json!({ "exitCode": code })).exit_code().unwrap(), number);
        }
        for odd in [json!("0"), json!(null), json!(0.5), json!(1e10), json!(true), json!([0])] {
            let error = answer(&json!({ "exitCode": odd })).exit_code().unwrap_err();
            assert!(error.message().contains(&odd.to_string()), "{error}");
        }
        assert!(answer(&json!({})).exit_code().is_err());
    }

    #[test]
    fn a_moment_is_a_number_or_its_text() {
        let text = "2026-01-02T03:04:05.006Z";
        let number = 1_767_323_045_006_u64;
        let moments = json!({ "a": number, "b": text, "c": "2026-01-02T04:04:05.006+01:00" });
        for name in ["a", "b", "c"] {
            let since = answer(&moments).moment(name).unwrap().unwrap();
            assert_eq!(since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis(), number.into());
        }
        assert_eq!(answer(&json!({ "a": null })).moment("a").unwrap(), None);
        for odd in [json!("yesterday"), json!(-1), json!(1e30), json!({})] {
            assert!(answer(&json!({ "a": odd })).moment("a").is_err(), "{odd}");
        }
    }

    #[test]
    fn a_status_is_one_of_three_and_never_guessed() {
        assert_eq!(answer(&json!({ "status": "stopped" })).status().unwrap(), Status::Stopped);
        for odd in [json!({}), json!({ "status": "paused" }), json!({ "status": 1 })] {
            assert!(answer(&odd).status().is_err(), "{odd}");
        }
    }

    #[test]
    fn bytes_come_as_they_were() {
        let printed = json!({ "stdout": "a☕", "stderr": { "base64": "/wA=" }, "odd": 1 });
        assert_eq!(answer(&printed).content("stdout").unwrap(), "a☕".as_bytes());
        assert_eq!(answer(&printed).content("stderr").unwrap(), &[255, 0][..]);
        assert!(answer(&printed).content("none").unwrap().is_empty());
        assert!(answer(&printed).content("odd").is_err());
    }
}
