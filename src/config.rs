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

/// Names the engine that sandboxes in Docker are made by.
pub const DOCKER_HOST: &str = "DOCKER_HOST";

/// The value of [`DOCKER_HOST`].
pub fn docker_host() -> Option<String> {
    text(DOCKER_HOST)
}

/// `DOCKER_CERT_PATH`, where `DOCKER_TLS_VERIFY` asks for it: the folder with the certificates for an engine at an
/// address.
pub fn docker_certificates() -> Option<PathBuf> {
    text("DOCKER_TLS_VERIFY")?;
    text("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| home().map(|home| home.join(".docker")))
}

/// `XDG_RUNTIME_DIR`: where this user's own servers listen.
pub fn runtime_directory() -> Option<PathBuf> {
    text("XDG_RUNTIME_DIR").map(PathBuf::from)
}

/// `E2B_API_KEY`: who asks for sandboxes at E2B.
pub fn e2b_api_key() -> Option<String> {
    text("E2B_API_KEY")
}

/// `E2B_API_URL`: where E2B makes sandboxes.
pub fn e2b_api_url() -> Option<String> {
    text("E2B_API_URL")
}

/// `E2B_SANDBOX_URL`: where sandboxes of E2B are reached, all of them.
pub fn e2b_sandbox_url() -> Option<String> {
    text("E2B_SANDBOX_URL")
}

/// `E2B_DOMAIN`: what the addresses of E2B are made of.
pub fn e2b_domain() -> Option<String> {
    text("E2B_DOMAIN")
}

/// `E2B_DEBUG`: whether E2B's programs run on this machine.
pub fn e2b_debug() -> bool {
    text("E2B_DEBUG").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// `NODE_EXTRA_CA_CERTS` and `SSL_CERT_FILE`: files with certificates to trust besides the usual ones, with the
/// name of the variable that says so.
pub fn certificate_files() -> Vec<(&'static str, PathBuf)> {
    let named = |name| text(name).map(|path| (name, PathBuf::from(path)));
    ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"].into_iter().filter_map(named).collect()
}

/// The program of this process: Node's own, when loaded by Node.
pub fn current_program() -> Option<PathBuf> {
    env::current_exe().ok()
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
