//! Who may use the control plane.

use http::{HeaderMap, StatusCode};

use super::Refusal;
use crate::request::header;

/// A key of the right form that belongs to nobody.
pub const UNKNOWN: &str = "e2b_0000000000000000000000000000000000000401";
/// The key of somebody who may do nothing.
pub const BLOCKED: &str = "e2b_0000000000000000000000000000000000000403";

/// Checks the key of a request. Every other one of the right form is good.
pub fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let unauthorized = |message: &str| Err(Refusal::new(StatusCode::UNAUTHORIZED, message));
    let invalid = |why: &str| {
        unauthorized(&format!(
            "Invalid API key, please visit https://e2b.dev/docs/api-key for more information.\n{why}"
        ))
    };
    let Some(key) = header(headers, "x-api-key") else {
        return unauthorized("authorization header is missing");
    };
    let Some(digits) = key.strip_prefix("e2b_") else {
        return unauthorized("authorization header is malformed");
    };
    let hex =
        digits.len() % 2 == 0 && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hex {
        return invalid("Invalid API key format");
    }
    match key {
        UNKNOWN => invalid("Cannot get the team for the given API key"),
        BLOCKED => Err(Refusal::new(StatusCode::FORBIDDEN, "team is blocked")),
        _ => Ok(()),
    }
}
