//! What paths and users mean.

use http::HeaderMap;

use super::codec::{Code, Fault};
use crate::options::{Options, Version};
use crate::request::header;

/// The home of every user.
pub const HOME: &str = "/home/user";

/// The users that there are. Both are the sandbox' own user: it has no other.
const USERS: [&str; 2] = ["user", "root"];

/// Whether there is a user of this name.
pub fn is_user(name: &str) -> bool {
    USERS.contains(&name)
}

/// The user that a call names, or the default.
pub fn user(options: &Options, headers: &HeaderMap) -> Result<String, Fault> {
    use base64::Engine;
    let basic = header(headers, "authorization").and_then(|value| value.strip_prefix("Basic "));
    let decoded = basic.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    let named = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let named = named.as_ref().and_then(|pair| pair.split_once(':')).map(|(name, _)| name);
    match named {
        Some(name) if is_user(name) => Ok(name.to_owned()),
        Some(name) => Err(Fault::new(Code::Unauthenticated, format!("invalid username: '{name}'"))),
        None if options.envd_version >= Version::DEFAULT_USER => Ok("user".to_owned()),
        None => Err(Fault::new(Code::Unauthenticated, "no user specified")),
    }
}

/// The absolute path that a text stands for.
pub fn resolved(text: &str, user: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '\\']) => {
            Ok(cleaned(&format!("{HOME}/{rest}")))
        }
        Some(_) => Err(format!(
            "failed to expand path '{text}' for user '{user}': cannot expand user-specific home dir"
        )),
        None => Ok(cleaned(&format!("{HOME}/{text}"))),
    }
}

/// Without `.`, `..`, and what is doubled.
fn cleaned(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The last part of a path.
pub fn name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("/")
}

/// The directory that a path is in.
pub fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_or_below_the_home() {
        for (text, expected) in [
            ("/a/../b", "/a/../b"),
            ("/", "/"),
            ("", "/home/user"),
            ("~", "/home/user"),
            ("~/x", "/home/user/x"),
            ("a/b", "/home/user/a/b"),
            ("./a/../b", "/home/user/b"),
        ] {
            assert_eq!(resolved(text, "user").unwrap(), expected);
        }
        assert!(resolved("~root/x", "user").unwrap_err().contains("user-specific"));
    }
}
