//! What the library tells about itself: `tracing` events, shown where `COMPUTESDK_LOG` asks for them.
//!
//! `COMPUTESDK_LOG=debug` shows every operation with its sandbox and its duration on standard error;
//! filters such as `computesdk::providers::local=trace` work too. Commands, code, environment and file
//! contents are never part of an event.

use std::sync::Once;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config;

/// Starts showing events if the environment asks for it. Does nothing the second time, and nothing where a
/// Rust program has installed a subscriber of its own.
pub fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Some(filter) = config::log_filter() {
            let (targets, wrong) = match filter.parse::<Targets>() {
                Ok(targets) => (targets, None),
                Err(error) => (Targets::new().with_default(Level::WARN), Some(error)),
            };
            let shown = fmt::layer().with_writer(std::io::stderr);
            let _ = tracing_subscriber::registry().with(shown).with(targets).try_init();
            if let Some(error) = wrong {
                tracing::warn!("`COMPUTESDK_LOG` is no filter, only warnings are shown: {error}");
            }
        }
    });
}
