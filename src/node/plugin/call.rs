//! Calls of what a plug-in is made of. The door makes one function of a provider and one of each of its sandboxes:
//! `call(method, arguments)`, awaited, JSON in and out.

use napi::bindgen_prelude::{FnArgs, FromNapiValue, Function, Object, Promise};
use napi::threadsafe_function::ThreadsafeFunction;
use napi::{Status, sys};
use serde_json::Value;

use crate::error::Result;
use crate::node::error::raised;

type Arguments = FnArgs<(String, Value)>;

/// A function of the door's. It keeps what it is about, and lets go of it when it is dropped; it does not keep the
/// process alive.
pub(super) struct Call<T: FromNapiValue + 'static>(
    ThreadsafeFunction<(String, Value), Promise<T>, Arguments, Status, false, true>,
);

impl<T: FromNapiValue + 'static> Call<T> {
    pub(super) fn of(function: &Function<'_, Arguments, Promise<T>>) -> napi::Result<Self> {
        function
            .build_threadsafe_function::<(String, Value)>()
            .callee_handled::<false>()
            .weak::<true>()
            .build_callback(|context| Ok(FnArgs::from(context.value)))
            .map(Self)
    }

    /// What a method comes to. An exception comes out as it was thrown.
    pub(super) async fn call(&self, method: &str, arguments: Value) -> Result<T> {
        let called = self.0.call_async_catch((method.to_owned(), arguments)).await.map_err(raised)?;
        called.await.map_err(raised)
    }
}

/// A sandbox of a plug-in as the door hands it over: `{ id, key, methods, call }`.
pub struct Handle {
    pub(super) id: String,
    /// What the door finds the plug-in's own object by.
    pub(super) key: u32,
    /// What it can do.
    pub(super) methods: Vec<String>,
    pub(super) call: Call<Value>,
}

impl FromNapiValue for Handle {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        // SAFETY: the caller's promise about `env` and `value` is passed on.
        let object = unsafe { Object::from_napi_value(env, value) }?;
        let missing = || napi::Error::from_reason("a plug-in's sandbox was handed over incomplete");
        let function: Function<'_, Arguments, Promise<Value>> = object.get("call")?.ok_or_else(missing)?;
        Ok(Self {
            id: object.get("id")?.ok_or_else(missing)?,
            key: object.get("key")?.ok_or_else(missing)?,
            methods: object.get("methods")?.ok_or_else(missing)?,
            call: Call::of(&function)?,
        })
    }
}

impl napi::bindgen_prelude::TypeName for Handle {
    fn type_name() -> &'static str {
        "Handle"
    }
    fn value_type() -> napi::ValueType {
        napi::ValueType::Object
    }
}

impl napi::bindgen_prelude::ValidateNapiValue for Handle {}
