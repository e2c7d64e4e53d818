//! Runs untrusted code in sandboxes: one API, many places to run.
//!
//! The map, in reading order:
//!
//! * [`compute`] – which provider a call goes to.
//! * [`sandbox`], [`command`], [`code`], [`process`], [`terminal`], [`filesystem`] – what users hold
//!   and do.
//! * [`request`] – what strangers ask for over HTTP, and what of it is done.
//! * [`provider`] – the contract with the places that make sandboxes.
//! * [`providers`] – those places, side by side.
//! * [`cli`] – the command line.
//! * `cell` – code that shares an interpreter, followed as a command is.
//! * `transport` – HTTP, for the providers that are servers.
//! * [`error`], [`config`], [`telemetry`] – one error, the environment, the log.
//! * `node` – all that knows JavaScript; compiled with the feature `napi`.
//!
//! Without `napi` this is a plain Rust library: `cargo test --no-default-features`.

mod cell;
pub mod cli;
pub mod code;
pub mod command;
pub mod compute;
pub mod config;
pub mod error;
pub mod filesystem;
#[cfg(feature = "napi")]
mod node;
pub mod process;
pub mod provider;
pub mod providers;
mod random;
pub mod request;
pub mod sandbox;
mod signal;
pub mod telemetry;
pub mod terminal;
mod transport;
