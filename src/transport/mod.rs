//! HTTP, in one place: the connections that all sandboxes share, and what is done about requests that fail.
//!
//! * `pool` – sending requests: [`Http`], and the [`Answer`]s; `lanes` – how they are spread over connections.
//! * `retry` – which requests are sent again, and when.
//! * `server` – one server of the user's own choosing, at a socket or an address.
//! * `tls` – who is trusted. `error` – what goes wrong before there is an answer.
//! * `secret` – what never appears in a message, a log or a `Debug`.

pub(crate) mod connect;
mod error;
mod lanes;
mod pool;
mod retry;
mod secret;
mod server;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

pub(crate) use self::error::request_id;
pub(crate) use self::pool::{Answer, Http};
pub(crate) use self::retry::{Repeat, retry_after};
pub use self::secret::Secret;
pub(crate) use self::server::{Credentials, Response, Server};
