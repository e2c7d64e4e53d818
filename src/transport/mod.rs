//! HTTP, in one place: the connections that all sandboxes share, and what is done about requests that fail.
//!
//! * `pool` – sending requests: [`Http`], and the [`Answer`]s; `lanes` – how they are spread over connections.
//! * `retry` – which requests are sent again, and when.
//! * `tls` – who is trusted. `error` – what goes wrong before there is an answer.
//! * `secret` – what never appears in a message, a log or a `Debug`.

pub(crate) mod connect;
mod error;
mod lanes;
mod pool;
mod retry;
mod secret;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

use std::path::Path;
use std::time::Duration;

pub(crate) use self::error::request_id;
pub(crate) use self::pool::{Answer, Http};
pub(crate) use self::retry::{Repeat, retry_after};
pub use self::secret::Secret;

/// How long a server on this machine may take to say that it is there.
const LOCAL_ANSWER: Duration = Duration::from_secs(1);

/// Whether a server answers `GET path` with success on a socket of this machine.
#[cfg(unix)]
pub(crate) async fn answers_on_socket(socket: &Path, path: &str) -> bool {
    tls::install_crypto();
    let client = reqwest::Client::builder().unix_socket(socket).timeout(LOCAL_ANSWER).build();
    let Ok(client) = client else { return false };
    let answer = client.get(format!("http://localhost{path}")).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// There are no such sockets here.
#[cfg(not(unix))]
pub(crate) async fn answers_on_socket(_: &Path, _: &str) -> bool {
    false
}
