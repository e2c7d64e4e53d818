//! All that knows JavaScript: the classes that Node sees, over the core.
//!
//! Arguments are read and checked here, on JavaScript's thread, before anything begins; the work is a
//! future; its result is a plain value. Errors cross as values too (see [`error`]): the door (`door/`)
//! makes real classes of them, with the caller's stack.
//!
//! No method is an `async fn`: its future would borrow the object, which a worker thread that is terminated frees
//! while the future runs. Methods give futures of their own what they need, and spawn them.
#![expect(
    unsafe_code,
    reason = "the macros of napi-derive write it, and a value of JavaScript is converted by it"
)]
#![expect(unreachable_pub, reason = "napi-derive exports to JavaScript what is `pub`")]
#![expect(missing_debug_implementations, reason = "values of JavaScript have no form of their own here")]

mod callback;
mod cancellation;
mod cli;
mod compute;
mod convert;
mod create;
mod error;
mod filesystem;
mod mounts;
mod network;
mod plugin;
mod policy;
mod process;
mod provider;
mod pull;
mod reader;
mod request;
mod run;
mod sandbox;
mod source;
mod state;
mod terminal;
mod warm;

use napi_derive::module_init;

#[module_init]
fn start() {
    crate::telemetry::start();
    // One thread per core would be for programs that compute; this one waits. And JavaScript has a thread of its own:
    // where there are few cores, more threads than these only wake each other.
    let threads = (std::thread::available_parallelism().map_or(2, usize::from) / 2).clamp(1, 4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    match runtime {
        Ok(runtime) => napi::bindgen_prelude::create_custom_tokio_runtime(runtime),
        Err(error) => tracing::warn!(%error, "the default runtime is used"),
    }
}
