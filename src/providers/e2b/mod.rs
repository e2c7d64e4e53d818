//! Sandboxes of E2B's cloud: named and typed, not built in this version.

#[expect(dead_code, reason = "a sandbox holds it, once there are some")]
pub(crate) mod envd;
#[expect(dead_code, reason = "a sandbox holds it, once there are some")]
pub(crate) mod kernel;

/// Sandboxes of E2B's cloud. Every call is refused, by name.
#[derive(Debug)]
pub struct E2b;

super::not_yet!(E2b, "e2b");
