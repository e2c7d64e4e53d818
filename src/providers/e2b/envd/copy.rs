//! Renaming and copying, in the sandbox.

use super::Envd;
use super::error::{About, not_regular, of_file};
use super::path::trimmed;
use super::script::As;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Exit;
use crate::random;
use crate::transport::connect::Code;

/// How something gets to another path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Rename,
    Copy,
}

impl Way {
    const fn word(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Copy => "copy",
        }
    }
}

/// What a script ends with, besides 0, and 1 for what its complaint says of `from`.
const MISSING: i32 = 20;
const TAKEN: i32 = 21;
const INTO_ITSELF: i32 = 22;
const SPECIAL: i32 = 23;
/// Likewise of `to`.
const NOT_THERE: i32 = 24;

/// Gets one path to another, by way of a hidden name.
const PUT: &str = include_str!("put.sh");

impl Envd {
    /// Gets what is at one path to another.
    pub(super) async fn put_elsewhere(&self, way: Way, from: &str, to: &str) -> Result<()> {
        let owner = self.owner().await?;
        let args = [way.word(), trimmed(from).0, trimmed(to).0, &random::name()?, &owner];
        let ran = self.run(As::Root, PUT, &args).await?;
        // The first that went wrong, in the words of the system, which come last.
        let complaint = ran.stderr.lines().next().unwrap_or_default();
        let complaint = complaint.rsplit(": ").next().unwrap_or_default();
        let about = |path: &str| Err(of_file(About::File, path, Code::Unknown, complaint));
        match ran.exit {
            Exit::Code(0) => Ok(()),
            Exit::Code(MISSING) => Err(of_file(About::File, from, Code::NotFound, "")),
            Exit::Code(TAKEN) => {
                Err(Error::new(ErrorKind::AlreadyExists, format!("something is in the way: {to}")).with_hint(
                    "a file takes the place of a file, but of no directory; a directory takes no place",
                ))
            }
            Exit::Code(INTO_ITSELF) => {
                Err(Error::invalid(format!("a directory cannot be put into itself: {from} into {to}")))
            }
            Exit::Code(SPECIAL) => Err(not_regular(ran.stderr.trim_end_matches('\n'))),
            Exit::Code(NOT_THERE) => about(to),
            Exit::Code(_) if !complaint.is_empty() => about(from),
            Exit::Code(_) | Exit::Signal(_) => {
                Err(Error::new(ErrorKind::Unavailable, format!("the sandbox stopped working on {from}")))
            }
        }
    }

    /// User and group of what commands make, by number. Asked for once.
    async fn owner(&self) -> Result<String> {
        if let Some(owner) = self.0.owner.get() {
            return Ok(owner.clone());
        }
        let ran = self.run(As::User, r#"echo "$(id -u):$(id -g)""#, &[]).await?;
        let owner = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
        Ok(self.0.owner.get_or_init(|| owner).clone())
    }
}
