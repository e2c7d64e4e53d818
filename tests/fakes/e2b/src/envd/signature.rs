//! Who may read and write files: whoever has the token, or an address that was signed with it.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderMap;

use crate::request::{Query, header};

/// Checks a request for `/files`; the error is what the answer says.
pub fn check(
    token: Option<&str>,
    headers: &HeaderMap,
    query: &Query,
    operation: &str,
) -> Result<(), &'static str> {
    let Some(token) = token else { return Ok(()) };
    if let Some(given) = header(headers, "x-access-token").filter(|given| !given.is_empty()) {
        return if given == token {
            Ok(())
        } else {
            Err("access token present in header but does not match")
        };
    }
    let given = query.get("signature").ok_or("missing signature query parameter")?;
    let expiration = query.get("signature_expiration");
    let path = query.get("path").unwrap_or_default();
    let user = query.get("username").unwrap_or_default();
    if given != signature(path, operation, user, token, expiration) {
        return Err("invalid signature");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match expiration.map(str::parse::<u64>) {
        Some(Ok(until)) if until < now => Err("signature is already expired"),
        Some(Err(_)) => Err("invalid signature"),
        _ => Ok(()),
    }
}

fn signature(path: &str, operation: &str, user: &str, token: &str, expiration: Option<&str>) -> String {
    let mut text = format!("{path}:{operation}:{user}:{token}");
    if let Some(expiration) = expiration {
        text = format!("{text}:{expiration}");
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    format!("v1_{}", STANDARD_NO_PAD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_that_is_known() {
        assert_eq!(
            signature("/a b.txt", "write", "root", "T", None),
            "v1_OECVeGzyzocODFhPMBHhjdZxv1Bvp5CM/VRsSbs4Wlo"
        );
    }
}
