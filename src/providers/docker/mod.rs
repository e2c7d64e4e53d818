//! Sandboxes of the Docker Engine API: named and typed, not built in this version.

/// Sandboxes of the Docker Engine API. Every call is refused, by name.
#[derive(Debug)]
pub struct Docker;

super::not_yet!(Docker, "docker");
