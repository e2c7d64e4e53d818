//! What is done with a plug-in's commands where it has no method for it, or none that keeps bytes as they are.
//!
//! Programs inside are a stranger's too, and differ: what was written is read back and compared, and sizes are
//! checked, before anything counts as done.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use super::PluginInstance;
use super::line;
use super::running::Ran;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Entry;
use crate::random;

/// What scripts end with that have found things otherwise than they should be.
const MISSING: i32 = 44;
const WRONG_KIND: i32 = 45;
const IN_THE_WAY: i32 = 46;
/// What a shell ends with that does not find a program.
const NO_PROGRAM: i32 = 127;

/// Bytes of a file that go with one command: a line of a shell is one argument, in base64 in quotes.
const PIECE: usize = 48 << 10;

const EXISTS: &str = r#"[ -e "$1" ] || exit 44"#;
const IS_LINK: &str = r#"[ -L "$1" ] || exit 44"#;
/// As an operand: not every `base64` reads bytes from its input.
const READ: &str = r#"[ -e "$1" ] || exit 44
[ -f "$1" ] || exit 45
wc -c < "$1" && base64 "$1""#;
const PUT: &str = r#"[ ! -d "$2" ] || exit 45
mkdir -p "$(dirname "$2")" && printf %s "$1" | base64 -d >> "$3""#;
const TAKE: &str = r#"cat "$1" > "$2" && rm -f "$1""#;
const FORGET: &str = r#"rm -f "$1""#;
const MAKE_DIR: &str = r#"[ ! -d "$1" ] || exit 0
if [ -e "$1" ] || [ -L "$1" ]; then exit 46; fi
mkdir -p "$1""#;
const REMOVE: &str = r#"[ -e "$1" ] || [ -L "$1" ] || exit 44
rm -rf "$1""#;
const STAT: &str = r#"[ -e "$1" ] || exit 44
stat -L -c '%F|%s|%Y' "$1" 2> /dev/null || {
  if [ -d "$1" ]; then echo 'directory|0|'; elif [ -f "$1" ]; then echo "file|$(wc -c < "$1")|"; else exit 1; fi
} || exit
if [ -L "$1" ]; then readlink "$1"; fi"#;
const RENAME: &str = r#"[ -e "$1" ] || [ -L "$1" ] || exit 44
[ "$1" != "$2" ] || exit 0
if [ -d "$1" ] && [ ! -L "$1" ]; then
  case "$2/" in "$1"/*) exit 45 ;; esac
  if [ -e "$2" ] || [ -L "$2" ]; then exit 46; fi
fi
if [ -d "$2" ] && [ ! -L "$2" ]; then exit 46; fi
mkdir -p "$(dirname "$2")" || exit
if [ -L "$2" ]; then rm -f "$2" || exit; fi
mv -f "$1" "$2""#;
const COPY: &str = r#"[ -e "$1" ] || exit 44
[ "$1" != "$2" ] || exit 0
from=$1
if [ -L "$1" ]; then from=$(readlink -f "$1") || exit; fi
if [ -d "$from" ]; then
  case "$2/" in "$from"/*) exit 45 ;; esac
  if [ -e "$2" ] || [ -L "$2" ]; then exit 46; fi
elif [ ! -f "$from" ]; then exit 45
fi
if [ -n "$(find "$from" -type p -o -type s -o -type b -o -type c 2> /dev/null)" ]; then exit 45; fi
if [ -d "$2" ] && [ ! -L "$2" ]; then exit 46; fi
mkdir -p "$(dirname "$2")" || exit
cp -Rp "$from" "$3" || { rm -rf "$3"; exit 1; }
if [ -L "$2" ]; then rm -f "$2" || exit; fi
mv -f "$3" "$2" || { rm -rf "$3"; exit 1; }"#;

impl PluginInstance {
    /// Runs a script, and gives what it has written if it has ended well.
    async fn script(&self, name: &str, script: &str, arguments: &[&str]) -> Result<Bytes> {
        let line = line::script(script, arguments);
        let ran = Ran::read(&self.call.call("runCommand", json!([line, {}, {}])).await?)?;
        match ran.exit_code {
            0 => Ok(ran.stdout),
            MISSING => Err(Error::new(ErrorKind::NotFound, "not there")),
            WRONG_KIND => Err(Error::invalid("of another kind")),
            IN_THE_WAY => Err(Error::new(ErrorKind::AlreadyExists, "in the way")),
            code => {
                let said = String::from_utf8_lossy(&ran.stderr).trim().chars().take(200).collect::<String>();
                let message = format!("`{name}` by commands of the sandbox failed with {code}: {said}");
                let kind = if code == NO_PROGRAM { ErrorKind::Unsupported } else { ErrorKind::Unavailable };
                Err(Error::new(kind, message))
            }
        }
    }

    pub(super) async fn exists_by_script(&self, path: &str) -> Result<bool> {
        is_so(self.script("exists", EXISTS, &[path]).await)
    }

    pub(super) async fn is_link_by_script(&self, path: &str) -> Result<bool> {
        is_so(self.script("remove", IS_LINK, &[path]).await)
    }

    pub(super) async fn read_by_script(&self, path: &str) -> Result<Bytes> {
        let written = self.script("readFile", READ, &[path]).await.map_err(|error| match error.kind() {
            ErrorKind::InvalidArgument => Error::invalid(format!("{path} is not a regular file")),
            _ => about(error, path, "File"),
        })?;
        decoded(&written).ok_or_else(|| {
            Error::unsupported(format!("{path}: the `base64` of this sandbox does not give files back"))
        })
    }

    pub(super) async fn write_by_script(&self, path: &str, content: &[u8]) -> Result<()> {
        let beside = beside(path)?;
        let written = self.put_aside(path, content, &beside).await;
        if written.is_err() {
            let _ = self.script("writeFile", FORGET, &[&beside]).await;
        }
        written.map_err(|error| match error.kind() {
            ErrorKind::InvalidArgument => Error::invalid(format!("{path} is a directory")),
            _ => error,
        })
    }

    /// Writes a file, looks whether it is what was to be written, and gives it the name that it is to have.
    async fn put_aside(&self, path: &str, content: &[u8], beside: &str) -> Result<()> {
        let mut pieces = content.chunks(PIECE);
        let first = pieces.next().unwrap_or_default();
        for piece in std::iter::once(first).chain(pieces) {
            self.script("writeFile", PUT, &[&STANDARD.encode(piece), path, beside]).await?;
        }
        let back = self.script("writeFile", READ, &[beside]).await?;
        if decoded(&back).is_none_or(|back| back != content) {
            return Err(Error::unsupported(
                "bytes that are no text: what this plug-in provider has written is not what it was given",
            ));
        }
        self.script("writeFile", TAKE, &[beside, path]).await.map(drop)
    }

    pub(super) async fn make_dir_by_script(&self, path: &str) -> Result<()> {
        self.script("mkdir", MAKE_DIR, &[path]).await.map(drop).map_err(|error| about(error, path, "File"))
    }

    pub(super) async fn remove_by_script(&self, path: &str) -> Result<()> {
        self.script("remove", REMOVE, &[path]).await.map(drop).map_err(|error| about(error, path, "File"))
    }

    /// What is at a path; `None` if that cannot be told.
    pub(super) async fn stat_by_script(&self, path: &str) -> Option<Entry> {
        let written = self.script("stat", STAT, &[path]).await.ok()?;
        let written = String::from_utf8(written.to_vec()).ok()?;
        let (facts, link) = written.split_once('\n')?;
        let mut facts = facts.split('|');
        let directory = facts.next()? == "directory";
        let size = facts.next()?.trim().parse().ok()?;
        let seconds = facts.next().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let link = link.strip_suffix('\n').unwrap_or(link);
        Some(Entry {
            name: path.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty())?.to_owned(),
            directory,
            size: Some(if directory { 0 } else { size }),
            modified: seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(seconds)),
            symlink_target: (!link.is_empty()).then(|| link.to_owned()),
        })
    }

    pub(super) async fn rename_by_script(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (trimmed(from), trimmed(to));
        self.script("rename", RENAME, &[from, to]).await.map(drop).map_err(|error| moving(error, from, to))
    }

    pub(super) async fn copy_by_script(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (trimmed(from), trimmed(to));
        let beside = beside(to)?;
        let copied = self.script("copy", COPY, &[from, to, &beside]).await;
        copied.map(drop).map_err(|error| moving(error, from, to))
    }
}

fn is_so(result: Result<Bytes>) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A path that nobody else has, in the same directory.
fn beside(path: &str) -> Result<String> {
    Ok(format!("{}.computesdk-{}", trimmed(path), random::name()?))
}

fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

fn about(error: Error, path: &str, kind: &str) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("{kind} not found: {path}")),
        ErrorKind::AlreadyExists => {
            Error::new(ErrorKind::AlreadyExists, format!("a file is in the way: {path}"))
        }
        _ => error,
    }
}

fn moving(error: Error, from: &str, to: &str) -> Error {
    match error.kind() {
        ErrorKind::InvalidArgument => Error::invalid(format!(
            "{from} cannot go to {to}: it is, or contains, no file and no directory, or {to} is in it"
        )),
        ErrorKind::AlreadyExists => {
            Error::new(ErrorKind::AlreadyExists, format!("something is in the way: {to}"))
        }
        _ => about(error, from, "File"),
    }
}

/// A file as it was read: its size, and its content in base64. `None` if the two do not fit.
fn decoded(written: &[u8]) -> Option<Bytes> {
    let end = written.iter().position(|byte| *byte == b'\n')?;
    let size: usize = std::str::from_utf8(&written[..end]).ok()?.trim().parse().ok()?;
    let text: Vec<u8> = written[end..].iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok().filter(|bytes| bytes.len() == size).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_only_if_it_is_whole() {
        assert_eq!(decoded(b"3\nAAEC\n").unwrap(), &[0, 1, 2][..]);
        assert_eq!(decoded(b" 3\nAA\r\nEC").unwrap(), &[0, 1, 2][..]);
        assert_eq!(decoded(b"0\n").unwrap(), &[][..]);
        for odd in [&b"4\nAAEC\n"[..], b"3\nAAE\n", b"3\n", b"AAEC", b"x\nAAEC", b""] {
            assert_eq!(decoded(odd), None, "{}", odd.escape_ascii());
        }
    }
}
