//! Everything that is read from the environment, in one place.
#![expect(clippy::disallowed_methods, reason = "this is the place")]

use std::env;
use std::path::PathBuf;

/// Names the provider to use where none is configured.
pub const PROVIDER: &str = "COMPUTESDK_PROVIDER";

/// The value of [`PROVIDER`].
pub fn default_provider() -> Option<String> {
    text(PROVIDER)
}

/// `COMPUTESDK_LOG`: what to log, as a filter of the `tracing` crates.
pub fn log_filter() -> Option<String> {
    text("COMPUTESDK_LOG")
}

/// `PATH`: where this machine's interpreters are looked for.
pub fn search_path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// Where this process works.
pub fn working_directory() -> Option<PathBuf> {
    env::current_dir().ok()
}

/// `HOME`.
pub fn home() -> Option<PathBuf> {
    text("HOME").map(PathBuf::from)
}

/// `DOCKER_HOST`, where it names a socket of this machine: where Docker's engine is looked for.
pub fn docker_socket() -> PathBuf {
    let host = text("DOCKER_HOST").unwrap_or_default();
    PathBuf::from(host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock"))
}

/// The program of this process: Node's own, when loaded by Node.
pub fn current_program() -> Option<PathBuf> {
    env::current_exe().ok()
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
