//! Answers of servers that may say anything.

use super::envd;
use super::wire::{Metric, Refusal, Sandbox, Snapshot};
use super::{kernel, life, metadata};

pub(crate) use super::envd::fuzz::messages;

/// Answers of the control plane, the lines of an interpreter, and what a sandbox tells of itself and its files.
pub(crate) fn answers(bytes: &[u8]) {
    if let Ok(sandbox) = serde_json::from_slice::<Sandbox>(bytes) {
        let known = life::info(&sandbox, None);
        assert_eq!(known.id, metadata::id(&sandbox));
        let _ = life::info(&sandbox, Some(&known));
    }
    let _ = serde_json::from_slice::<Vec<Metric>>(bytes);
    let _ = serde_json::from_slice::<Snapshot>(bytes);
    let _ = serde_json::from_slice::<Refusal>(bytes);
    let _ = kernel::read(bytes);
    envd::fuzz::told(bytes);
}
