//! What the library tells about itself: `tracing` events, shown where `COMPUTESDK_LOG` asks for them.
//!
//! `COMPUTESDK_LOG=debug` shows every operation with its sandbox and its duration on standard error;
//! filters such as `computesdk::providers::local=trace` work too. Commands, code, environment and file
//! contents are never part of an event.

use std::sync::Once;

use tracing_subscriber::EnvFilter;

use crate::config;

/// Starts showing events if the environment asks for it. Does nothing the second time, and nothing where a
/// Rust program has installed a subscriber of its own.
pub fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Some(filter) = config::log_filter() {
            let _ = tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::new(filter))
                .with_writer(std::io::stderr)
                .try_init();
        }
    });
}
