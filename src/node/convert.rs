//! Reading what JavaScript gave: every value is checked, none is coerced, and what is wrong is named.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use napi::bindgen_prelude::{
    External, FromNapiRef, FromNapiValue, Function, JsObjectValue, JsValue, Object, Uint8Array, Unknown,
};
use napi::{ValueType, sys};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::error::thrown;
use crate::error::{Error, Result};
use crate::provider::Provider;

/// The largest whole number that JavaScript is exact about.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;
/// How deep metadata may be nested.
const MAX_DEPTH: usize = 64;

/// What a value is, for messages.
fn describe(value: &Unknown<'_>) -> &'static str {
    match value.get_type() {
        Ok(ValueType::Undefined) => "undefined",
        Ok(ValueType::Null) => "null",
        Ok(ValueType::Boolean) => "a boolean",
        Ok(ValueType::Number) => "a number",
        Ok(ValueType::String) => "a string",
        Ok(ValueType::Symbol) => "a symbol",
        Ok(ValueType::Function) => "a function",
        Ok(ValueType::BigInt) => "a bigint",
        Ok(ValueType::Object) if value.is_array().unwrap_or(false) => "an array",
        Ok(ValueType::Object) if value.is_arraybuffer().unwrap_or(false) => "an ArrayBuffer",
        Ok(ValueType::Object) if value.is_dataview().unwrap_or(false) => "a DataView",
        Ok(ValueType::Object) if value.is_typedarray().unwrap_or(false) => "an array of other numbers",
        _ => "an object",
    }
}

fn wrong(name: &str, wanted: &str, value: &Unknown<'_>) -> Error {
    Error::invalid(format!("`{name}` must be {wanted}, got {}", describe(value)))
}

fn is(value: &Unknown<'_>, kind: ValueType) -> bool {
    value.get_type().is_ok_and(|found| found == kind)
}

/// Whether a value is a handle of ours.
pub(super) fn is_external(value: &Unknown<'_>) -> bool {
    is(value, ValueType::External)
}

/// Whether an argument was left out.
pub(super) fn is_missing(value: &Unknown<'_>) -> bool {
    is(value, ValueType::Undefined)
}

/// Whether a value is an array.
pub(super) fn is_array(value: &Unknown<'_>) -> bool {
    value.is_array().unwrap_or(false)
}

/// Whether a value is an object with named properties.
pub(super) fn is_record(value: &Unknown<'_>) -> bool {
    is(value, ValueType::Object) && !is_array(value)
}

/// The value as another type of napi's, whose kind has been checked before.
fn cast<T: FromNapiValue>(value: &Unknown<'_>) -> Result<T> {
    let raw = value.value();
    // SAFETY: the value is alive: it came with the call that is being served, on its thread.
    unsafe { T::from_napi_value(raw.env, raw.value) }.map_err(thrown)
}

/// A string. Half a surrogate pair becomes U+FFFD, as everywhere in Node.
pub(super) fn string(name: &str, value: &Unknown<'_>) -> Result<String> {
    if is(value, ValueType::String) { cast(value) } else { Err(wrong(name, "a string", value)) }
}

/// A list of strings.
pub(super) fn strings(name: &str, value: &Unknown<'_>) -> Result<Vec<String>> {
    list(name, value, "an array of strings", string)
}

/// The items of an array, each read under its own name.
fn list<T>(
    name: &str,
    value: &Unknown<'_>,
    wanted: &str,
    read: impl Fn(&str, &Unknown<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    if !is_array(value) {
        return Err(wrong(name, wanted, value));
    }
    let items: Vec<Unknown<'_>> = cast(value)?;
    items.iter().enumerate().map(|(at, item)| read(&format!("{name}[{at}]"), item)).collect()
}

/// The properties of an object that are not `undefined`, each read under its own name.
fn properties<T>(
    name: &str,
    value: &Unknown<'_>,
    read: impl Fn(&str, &Unknown<'_>) -> Result<T>,
) -> Result<Vec<(String, T)>> {
    let object: Object<'_> = cast(value)?;
    let mut properties = Vec::new();
    for key in Object::keys(&object).map_err(thrown)? {
        let found: Option<Unknown<'_>> = object.get(&key).map_err(thrown)?;
        if let Some(item) = found.filter(|item| !is_missing(item)) {
            let item = read(&format!("{name}.{key}"), &item)?;
            properties.push((key, item));
        }
    }
    Ok(properties)
}

/// Bytes: the content of a string or of a `Uint8Array`. What gives them piece by piece has been taken care of.
pub(super) fn bytes(name: &str, value: &Unknown<'_>) -> Result<Bytes> {
    if is(value, ValueType::String) {
        return string(name, value).map(Bytes::from);
    }
    // Copied: JavaScript may change its array while it is written.
    match cast::<Uint8Array>(value) {
        Ok(array) => Ok(Bytes::copy_from_slice(&array)),
        Err(_) => {
            Err(wrong(name, "a string, a Uint8Array, a Blob or a stream of strings and Uint8Arrays", value)
                .with_hint("what has bytes in another form becomes a Uint8Array: new Uint8Array(buffer)"))
        }
    }
}

fn number(name: &str, value: &Unknown<'_>) -> Result<f64> {
    if is(value, ValueType::Number) { cast(value) } else { Err(wrong(name, "a number", value)) }
}

/// A whole number, neither negative nor larger than `most`.
pub(super) fn whole(name: &str, value: &Unknown<'_>, most: u64) -> Result<u64> {
    let number = number(name, value)?;
    if number.fract() != 0.0 || !(0.0..=MAX_SAFE.min(most as f64)).contains(&number) {
        return Err(Error::invalid(format!(
            "`{name}` must be a whole number from 0 to {}, got {number}",
            MAX_SAFE.min(most as f64)
        )));
    }
    Ok(number as u64)
}

/// A duration in whole milliseconds.
pub(super) fn millis(name: &str, value: &Unknown<'_>) -> Result<Duration> {
    whole(name, value, u64::MAX).map(Duration::from_millis)
}

/// The properties of an options object.
pub(super) struct Fields<'a> {
    name: Cow<'static, str>,
    object: Option<Object<'a>>,
    /// Where a property is looked for that is not there.
    nested: Option<Object<'a>>,
}

impl<'a> Fields<'a> {
    /// Reads an object that may be left out. A property that is not `known` is refused.
    pub(super) fn of(
        name: impl Into<Cow<'static, str>>,
        value: &Unknown<'a>,
        known: &[&str],
    ) -> Result<Self> {
        let name = name.into();
        if is_missing(value) {
            return Ok(Self { name, object: None, nested: None });
        }
        // The properties of a `Map`, say, are not its content: that would be dropped in silence.
        if !is_record(value) || !is_plain(value)? {
            return Err(wrong(&name, "a plain object", value));
        }
        let object: Object<'a> = cast(value)?;
        for key in Object::keys(&object).map_err(thrown)? {
            if !known.contains(&key.as_str()) {
                return Err(Error::invalid(format!("`{name}` has no option `{key}`"))
                    .with_hint(format!("there is: {}", known.join(", "))));
            }
        }
        Ok(Self { name, object: Some(object), nested: None })
    }

    /// Likewise; the same options may also stand in the property `nested`, where the outer ones win.
    pub(super) fn with_nested(
        name: &'static str,
        value: &Unknown<'a>,
        known: &[&str],
        nested: &'static str,
    ) -> Result<Self> {
        let all: Vec<&str> = known.iter().copied().chain([nested]).collect();
        let mut fields = Self::of(name, value, &all)?;
        if let Some(inner) = fields.get(nested)? {
            fields.nested = Self::of(nested, &inner, known)?.object;
        }
        Ok(fields)
    }

    /// A property, unless it is missing or `undefined`.
    pub(super) fn get(&self, key: &str) -> Result<Option<Unknown<'a>>> {
        for object in [&self.object, &self.nested].into_iter().flatten() {
            let value: Option<Unknown<'a>> = object.get(key).map_err(thrown)?;
            if let Some(value) = value.filter(|value| !is_missing(value)) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn map<T>(&self, key: &str, read: impl FnOnce(&str, &Unknown<'a>) -> Result<T>) -> Result<Option<T>> {
        let name = if self.name == "options" { key.to_owned() } else { format!("{}.{key}", self.name) };
        self.get(key)?.map(|value| read(&name, &value)).transpose()
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<String>> {
        self.map(key, string)
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.map(key, strings)
    }

    /// The items of a list of objects with these properties; a list that is missing is empty.
    pub(super) fn records<T>(
        &self,
        key: &str,
        known: &[&str],
        read: impl Fn(&Fields<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let records = self.map(key, |name, value| {
            list(name, value, "an array of objects", |name, item| read(&Self::record(name, item, known)?))
        });
        Ok(records?.unwrap_or_default())
    }

    /// The properties of an object of objects with these properties, by name; one that is missing is empty.
    pub(super) fn named<T>(
        &self,
        key: &str,
        known: &[&str],
        read: impl Fn(&Fields<'_>) -> Result<T>,
    ) -> Result<BTreeMap<String, T>> {
        let named = self.map(key, |name, value| {
            if !is_record(value) || !is_plain(value)? {
                return Err(wrong(name, "a plain object", value));
            }
            properties(name, value, |name, item| read(&Self::record(name, item, known)?))
        });
        Ok(named?.unwrap_or_default().into_iter().collect())
    }

    fn record<'b>(name: &str, value: &Unknown<'b>, known: &[&str]) -> Result<Fields<'b>> {
        if is_missing(value) {
            return Err(wrong(name, "a plain object", value));
        }
        Fields::of(name.to_owned(), value, known)
    }

    /// A string that must be there.
    pub(super) fn required(&self, key: &str) -> Result<String> {
        self.string(key)?.ok_or_else(|| self.missing(key))
    }

    /// The error of a property that must be there.
    pub(super) fn missing(&self, key: &str) -> Error {
        Error::invalid(format!("`{}.{key}` is missing", self.name))
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.map(key, |name, value| {
            if is(value, ValueType::Boolean) { cast(value) } else { Err(wrong(name, "a boolean", value)) }
        })
    }

    pub(super) fn whole(&self, key: &str, most: u64) -> Result<Option<u64>> {
        self.map(key, |name, value| whole(name, value, most))
    }

    pub(super) fn port(&self, key: &str) -> Result<Option<u16>> {
        self.map(key, port)
    }

    /// A list of ports; one that is missing is empty.
    pub(super) fn ports(&self, key: &str) -> Result<Vec<u16>> {
        Ok(self.map(key, |name, value| list(name, value, "an array of numbers", port))?.unwrap_or_default())
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>> {
        self.map(key, |name, value| {
            let number = number(name, value)?;
            if number.is_finite() {
                Ok(number)
            } else {
                Err(Error::invalid(format!("`{name}` must be finite, got {number}")))
            }
        })
    }

    pub(super) fn millis(&self, key: &str) -> Result<Option<Duration>> {
        self.map(key, millis)
    }

    /// Names and texts, as of an environment. A name whose value is `undefined` is not set.
    pub(super) fn texts(&self, key: &str) -> Result<BTreeMap<String, String>> {
        let texts = self.map(key, |name, value| {
            if !is_record(value) || !is_plain(value)? {
                return Err(wrong(name, "a plain object of strings", value));
            }
            Ok(properties(name, value, string)?.into_iter().collect())
        });
        Ok(texts?.unwrap_or_default())
    }

    /// An object of JSON values, which is what comes back equal.
    pub(super) fn json(&self, key: &str) -> Result<Option<Map<String, Value>>> {
        self.map(key, |name, value| match json(name, value, MAX_DEPTH)? {
            Value::Object(map) => Ok(map),
            _ => Err(wrong(name, "an object", value)),
        })
    }

    /// A provider.
    pub(super) fn provider(&self, key: &str) -> Result<Option<Arc<dyn Provider>>> {
        self.map(key, provider)
    }

    /// A list of providers.
    pub(super) fn providers(&self, key: &str) -> Result<Option<Vec<Arc<dyn Provider>>>> {
        self.map(key, |name, value| list(name, value, "an array of providers", provider))
    }

    /// The token that the door has put in the place of an `AbortSignal`.
    pub(super) fn cancellation(&self) -> Result<CancellationToken> {
        let token = self.map("signal", |name, value| {
            external::<CancellationToken>(value).cloned().ok_or_else(|| wrong(name, "an AbortSignal", value))
        });
        Ok(token?.unwrap_or_default())
    }

    pub(super) fn function<Args, Return>(&self, key: &str) -> Result<Option<Function<'a, Args, Return>>>
    where
        Args: napi::bindgen_prelude::JsValuesTupleIntoVec,
        Return: FromNapiValue,
    {
        self.map(key, |name, value| function(value)?.ok_or_else(|| wrong(name, "a function", value)))
    }
}

/// A provider: the door gives our own handle of it.
pub(super) fn provider(name: &str, value: &Unknown<'_>) -> Result<Arc<dyn Provider>> {
    external::<Arc<dyn Provider>>(value)
        .map(Arc::clone)
        .ok_or_else(|| wrong(name, "a provider, such as local() or e2b({ … })", value))
}

/// What a handle of ours stands for, if the value is one of this kind.
fn external<'a, T: 'static>(value: &'a Unknown<'_>) -> Option<&'a T> {
    if !is(value, ValueType::External) {
        return None;
    }
    let raw = value.value();
    // SAFETY: the value is alive, as in `cast`, and what it holds lives as long.
    unsafe { External::<T>::from_napi_ref(raw.env, raw.value) }.ok().map(|external| &**external)
}

fn json(name: &str, value: &Unknown<'_>, depth: usize) -> Result<Value> {
    if depth == 0 {
        return Err(Error::invalid(format!("`{name}` is nested too deeply, or contains itself")));
    }
    match value.get_type().map_err(thrown)? {
        ValueType::Null => Ok(Value::Null),
        ValueType::Boolean => cast(value).map(Value::Bool),
        ValueType::String => cast(value).map(Value::String),
        ValueType::Number => {
            let number: f64 = cast(value)?;
            let whole = number.fract() == 0.0
                && number.abs() <= MAX_SAFE
                && !(number == 0.0 && number.is_sign_negative());
            if whole {
                return Ok(Value::from(number as i64));
            }
            serde_json::Number::from_f64(number)
                .map(Value::Number)
                .ok_or_else(|| Error::invalid(format!("`{name}` must be a finite number, got {number}")))
        }
        ValueType::Object if is_array(value) => {
            list(name, value, "an array", |name, item| json(name, item, depth - 1)).map(Value::Array)
        }
        ValueType::Object if is_plain(value)? => {
            let map = properties(name, value, |name, item| json(name, item, depth - 1))?;
            Ok(Value::Object(map.into_iter().collect()))
        }
        _ => Err(wrong(name, "a JSON value", value)),
    }
}

/// Whether an object is no instance of a class: a `Date` or a `Map` would not come back equal.
fn is_plain(value: &Unknown<'_>) -> Result<bool> {
    let object: Object<'_> = cast(value)?;
    let prototype: Unknown<'_> = object.get_prototype_unchecked().map_err(thrown)?;
    if is(&prototype, ValueType::Null) {
        return Ok(true);
    }
    // Plain objects of other realms have another `Object.prototype`, whose own prototype is null as well.
    let above: Unknown<'_> = cast::<Object<'_>>(&prototype)?.get_prototype_unchecked().map_err(thrown)?;
    Ok(is(&above, ValueType::Null))
}

/// A moment, as a `Date`.
pub struct Date(pub(super) std::time::SystemTime);

impl napi::bindgen_prelude::ToNapiValue for Date {
    unsafe fn to_napi_value(env: sys::napi_env, date: Self) -> napi::Result<sys::napi_value> {
        let since = date.0.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut value = std::ptr::null_mut();
        // SAFETY: called on JavaScript's thread, with its environment and a valid out pointer.
        let status = unsafe { sys::napi_create_date(env, since.as_millis() as f64, &raw mut value) };
        napi::check_status!(status, "cannot make a Date")?;
        Ok(value)
    }
}

/// The function that a value is, if it is one.
pub(super) fn function<'a, Args, Return>(value: &Unknown<'a>) -> Result<Option<Function<'a, Args, Return>>>
where
    Args: napi::bindgen_prelude::JsValuesTupleIntoVec,
    Return: FromNapiValue,
{
    if is(value, ValueType::Function) { cast(value).map(Some) } else { Ok(None) }
}

/// The number of a port.
pub(super) fn port(name: &str, value: &Unknown<'_>) -> Result<u16> {
    let number = number(name, value)?;
    if number.fract() != 0.0 || !(1.0..=u16::MAX.into()).contains(&number) {
        return Err(Error::invalid(format!(
            "`{name}` must be a whole number from 1 to {}, got {number}",
            u16::MAX
        )));
    }
    Ok(number as u16)
}
