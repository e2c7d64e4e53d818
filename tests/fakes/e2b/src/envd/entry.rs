//! What is at a path, looked up inside the sandbox: the contract of its files knows no modes and owners.

use computesdk::error::{Error, ErrorKind, Result};

use super::messages::{EntryInfo, Moment};
use super::path::name;
use crate::sandbox::Sandbox;

/// The numbers of file types.
const UNSPECIFIED: i32 = 0;
const FILE: i32 = 1;
const DIRECTORY: i32 = 2;
const SYMLINK: i32 = 3;

/// What is told about each: type, mode, size, owner, group, last change, path.
const FORMAT: &str = r"%y\0%#m\0%s\0%u\0%g\0%T@\0%p\0";
const FIELDS: usize = 7;

/// Where links lead, and the mode of what is there; nothing if they lead nowhere.
const FOLLOW: &str = r#"
for path; do
    realpath -e -z -- "$path" 2>/dev/null || printf '\0'
    stat -L --printf='%f' -- "$path" 2>/dev/null
    printf '\0'
done"#;
/// Links that are followed at once: their paths are arguments.
const LINKS: usize = 256;

/// What is at a path, a link itself; `None` if nothing is.
pub async fn at(sandbox: &Sandbox, path: &str) -> Result<Option<EntryInfo>> {
    Ok(found(sandbox, &["find", path, "-maxdepth", "0", "-printf", FORMAT]).await?.pop())
}

/// What is in a directory, or up to so many directories below it, in the order in which one walks.
pub async fn below(sandbox: &Sandbox, path: &str, depth: u32) -> Result<Vec<EntryInfo>> {
    let depth = depth.to_string();
    let root = if path == "/" { path } else { path.trim_end_matches('/') };
    let argv = ["find", "-H", root, "-mindepth", "1", "-maxdepth", &depth, "-printf", FORMAT];
    let mut entries = found(sandbox, &argv).await?;
    entries.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    Ok(entries)
}

async fn found(sandbox: &Sandbox, argv: &[&str]) -> Result<Vec<EntryInfo>> {
    let printed = sandbox.output(argv).await?;
    let fields = texts(&printed.stdout);
    let mut entries = Vec::new();
    for fields in fields.chunks_exact(FIELDS) {
        entries.push(entry(fields).ok_or_else(nonsense)?);
    }
    let links: Vec<usize> =
        entries.iter().enumerate().filter(|(_, entry)| entry.kind == SYMLINK).map(|(at, _)| at).collect();
    for links in links.chunks(LINKS) {
        let paths: Vec<_> = links.iter().map(|&at| entries[at].path.clone()).collect();
        let mut argv = vec!["/bin/sh", "-c", FOLLOW, "sh"];
        argv.extend(paths.iter().map(String::as_str));
        let printed = sandbox.output(&argv).await?;
        let targets = texts(&printed.stdout);
        for (&at, target) in links.iter().zip(targets.chunks_exact(2)) {
            follow(&mut entries[at], &target[0], &target[1]);
        }
    }
    Ok(entries)
}

fn texts(bytes: &[u8]) -> Vec<String> {
    let mut texts: Vec<_> =
        bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    texts.pop();
    texts
}

fn entry(fields: &[String]) -> Option<EntryInfo> {
    let [kind, mode, size, owner, group, modified, path] = fields else { return None };
    let mode = u32::from_str_radix(mode.trim_start_matches('0'), 8).unwrap_or_default();
    let (seconds, fraction) = modified.split_once('.').unwrap_or((modified, "0"));
    Some(EntryInfo {
        name: name(path).to_owned(),
        kind: match kind.as_str() {
            "f" => FILE,
            "d" => DIRECTORY,
            "l" => SYMLINK,
            _ => UNSPECIFIED,
        },
        path: path.clone(),
        size: size.parse().ok()?,
        mode: mode & 0o777,
        permissions: permissions(kind, mode),
        owner: owner.clone(),
        group: group.clone(),
        modified_time: Some(Moment {
            seconds: seconds.parse().ok()?,
            nanos: format!("{fraction:0<9}").get(..9)?.parse().ok()?,
        }),
        symlink_target: None,
    })
}

/// A link has the type and the mode of what it leads to; one that leads nowhere has none.
fn follow(entry: &mut EntryInfo, target: &str, mode: &str) {
    let mode = u32::from_str_radix(mode, 16).ok().filter(|_| !target.is_empty());
    entry.symlink_target = Some(if target.is_empty() { entry.path.clone() } else { target.to_owned() });
    entry.mode = mode.unwrap_or_default() & 0o777;
    entry.kind = match mode.map(|mode| mode & 0o170_000) {
        Some(0o100_000) => FILE,
        Some(0o040_000) => DIRECTORY,
        _ => UNSPECIFIED,
    };
}

/// As Go writes a mode.
fn permissions(kind: &str, mode: u32) -> String {
    let mut text = String::new();
    match kind {
        "d" => text.push('d'),
        "l" => text.push('L'),
        "p" => text.push('p'),
        "s" => text.push('S'),
        "b" => text.push('D'),
        "c" => text.push_str("Dc"),
        _ => {}
    }
    for (bit, letter) in [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')] {
        if mode & bit != 0 {
            text.push(letter);
        }
    }
    if text.is_empty() {
        text.push('-');
    }
    for (at, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if mode & (0o400 >> at) != 0 { letter } else { '-' });
    }
    text
}

fn nonsense() -> Error {
    Error::new(ErrorKind::Internal, "`find` does not tell what it was asked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_go_does() {
        for (kind, mode, expected) in [
            ("f", 0o644, "-rw-r--r--"),
            ("d", 0o755, "drwxr-xr-x"),
            ("d", 0o1777, "dtrwxrwxrwx"),
            ("f", 0o4755, "urwxr-xr-x"),
            ("l", 0o777, "Lrwxrwxrwx"),
            ("p", 0o600, "prw-------"),
            ("c", 0o666, "Dcrw-rw-rw-"),
        ] {
            assert_eq!(permissions(kind, mode), expected);
        }
    }
}
