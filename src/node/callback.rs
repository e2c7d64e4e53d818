//! Functions of users that are told something.

use napi::bindgen_prelude::{FnArgs, FromNapiValue, JsValue, Promise, ToNapiValue, Unknown};
use napi::threadsafe_function::{ThreadsafeFunction, UnknownReturnValue};
use napi::{Status, sys};

use super::convert::{Fields, is_record};
use super::error::thrown;
use crate::error::Result;

/// A function that takes a value. It is called on JavaScript's thread and awaited: what follows waits until it has
/// returned (if a promise, until that is settled), and what it throws comes back. It does not keep the process alive; the
/// promise of its call does.
pub(super) struct Callback<T: ToNapiValue + 'static>(
    ThreadsafeFunction<T, Returned, FnArgs<(T,)>, Status, false, true>,
);

impl<T: ToNapiValue + 'static> Callback<T> {
    /// The function under this key, if there is one.
    pub(super) fn of(fields: &Fields<'_>, key: &str) -> Result<Option<Self>> {
        let Some(function) = fields.function::<FnArgs<(T,)>, Returned>(key)? else { return Ok(None) };
        let callback = function
            .build_threadsafe_function::<T>()
            .callee_handled::<false>()
            .weak::<true>()
            .build_callback(|context| Ok(FnArgs::from((context.value,))))
            .map_err(thrown)?;
        Ok(Some(Self(callback)))
    }

    pub(super) async fn tell(&self, value: T) -> Result<()> {
        let returned = self.0.call_async_catch(value).await.map_err(thrown)?;
        returned.settled().await.map_err(thrown)
    }
}

/// What a callback returned: nothing of interest, or a promise of that.
pub enum Returned {
    Nothing,
    Later(Promise<UnknownReturnValue>),
}

impl Returned {
    /// Until it is settled, if it is a promise.
    pub(super) async fn settled(self) -> napi::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Later(promise) => promise.await.map(drop),
        }
    }
}

impl FromNapiValue for Returned {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        // SAFETY: the caller's promise about `env` and `value` is passed on.
        unsafe {
            let returned = Unknown::from_napi_value(env, value)?;
            if is_record(&returned) && returned.is_promise()? {
                return Promise::from_napi_value(env, value).map(Self::Later);
            }
        }
        Ok(Self::Nothing)
    }
}
