//! What envd does not tell of directories: where links point, what they lead to, and names that are no UTF-8.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::Envd;
use super::error::{About, of_file};
use super::files::entry;
use super::messages::EntryInfo;
use super::script::{As, Ran};
use crate::error::Result;
use crate::provider::{Entry, Exit};
use crate::transport::connect::Code;

/// Tells of what is in `$1`, or with `$2` of `$1` itself, each with its name, the kind, size and time of what it leads
/// to, where it points if it is a link, and an end. Of everything, or with `$3` of links alone.
///
/// `find` of GNU does it at once; others are asked for one after the other, and know whole seconds.
const TELL: &str = r#"
export LC_ALL=C
cd / || exit
if [ "$2" ]; then at=$1; else cd -- "$1" || exit; at=.; fi
links=; [ -z "$3" ] || links='-type l'
if find / -prune -printf '' 2>/dev/null; then
  if [ "$2" ]; then
    find "$at" -prune $links -printf '%f\0%Y\0-\0-\0%l\0' &&
    find -L "$at" -prune -printf '\0%y\0%s\0%T@\0\0'
  else
    find . ! -name . -prune $links -printf '%f\0%Y\0-\0-\0%l\0' &&
    find -L . ! -name . -prune ${3:+-xtype l} -printf '%f\0%y\0%s\0%T@\0\0'
  fi
else
  tell() {
    target=; [ ! -L "$1" ] || target=$(readlink "$1")
    if [ -d "$1" ]; then kind=d; elif [ -e "$1" ]; then kind=f; else kind=N; fi
    set -- "${1##*/}" $(stat -L -c '%s %Y' "$1" 2>/dev/null || echo '0 0')
    printf '%s\0%s\0%s\0%s\0%s\0' "$1" "$kind" "$2" "$3" "$target"
  }
  if [ "$2" ]; then tell "$at"; else
    for one in .[!.]* ..?* *; do
      [ -L "$one" ] || { [ -e "$one" ] && [ -z "$3" ]; } || continue
      tell "$one"
    done
  fi
fi
"#;

/// What links lead to, by their names.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<String, Entry>);

impl Links {
    /// An entry as it is in the end.
    pub(super) fn complete(&self, found: EntryInfo) -> Entry {
        match self.0.get(&found.name) {
            Some(link) if found.symlink_target.is_some() => link.clone(),
            // It was made, or has gone, meanwhile.
            _ => Entry { symlink_target: found.symlink_target.clone(), ..entry(found) },
        }
    }
}

impl Envd {
    /// The links of a directory.
    pub(super) async fn links_in(&self, path: &str) -> Result<Links> {
        let ran = self.run(As::Root, TELL, &[path, "", "links"]).await?;
        Ok(Links(told(path, ran)?.into_iter().map(|link| (link.name.clone(), link)).collect()))
    }

    /// Everything in a directory.
    pub(super) async fn all_in(&self, path: &str) -> Result<Vec<Entry>> {
        let ran = self.run(As::Root, TELL, &[path, "", ""]).await?;
        told(path, ran)
    }

    /// A link, and what it leads to.
    pub(super) async fn link_at(&self, path: &str, found: EntryInfo) -> Result<Option<Entry>> {
        let ran = self.run(As::Root, TELL, &[path, "itself", ""]).await?;
        let resolved = found.symlink_target.clone();
        let told = told(path, ran)?.into_iter().next();
        Ok(Some(told.unwrap_or_else(|| Entry { symlink_target: resolved, ..entry(found) })))
    }
}

/// Reads what was told: twice of each, where what it is and what it leads to were found separately.
fn told(path: &str, ran: Ran) -> Result<Vec<Entry>> {
    if ran.exit != Exit::Code(0) && ran.stdout.is_empty() {
        return Err(of_file(About::Directory, path, Code::Unknown, &ran.stderr));
    }
    Ok(read(&ran.stdout))
}

pub(super) fn read(stdout: &Bytes) -> Vec<Entry> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // By the bytes of their names: two that are no UTF-8 may look the same.
    let mut by_bytes: HashMap<&[u8], Entry> = HashMap::new();
    let fields: Vec<&[u8]> = stdout.split(|byte| *byte == 0).collect();
    for told in fields.chunks_exact(5) {
        let [name, kind, size, time, target] = told else { continue };
        let name = if name.is_empty() { by_bytes.keys().next().copied().unwrap_or(name) } else { name };
        let entry = by_bytes.entry(name).or_insert_with(|| Entry { name: text(name), ..Entry::default() });
        entry.directory = *kind == b"d";
        if !target.is_empty() {
            entry.symlink_target = Some(text(target));
        }
        if let Some(size) = std::str::from_utf8(size).ok().and_then(|size| size.parse().ok()) {
            entry.size = Some(if entry.directory { 0 } else { size });
        }
        if let Some(time) = std::str::from_utf8(time).ok().and_then(self::time) {
            entry.modified = Some(time);
        }
    }
    by_bytes.into_values().collect()
}

/// A time in seconds since 1970, with a fraction or without.
fn time(text: &str) -> Option<SystemTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let since = Duration::from_secs(seconds.unsigned_abs());
    let begun = if whole.starts_with('-') {
        SystemTime::UNIX_EPOCH.checked_sub(since)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(since)
    };
    begun?.checked_add(Duration::from_nanos(nanos.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_twice_is_one_entry() {
        let told = [&b"a d - - ../b "[..], b"\xff f - -  ", b"a d 4096 1.5  ", b"\xff f 7 -1.0  "].concat();
        let told: Bytes = told.into_iter().map(|byte| if byte == b' ' { 0 } else { byte }).collect();
        let mut entries = read(&told);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let [a, b] = &entries[..] else { panic!("{entries:?}") };
        let since = Duration::from_millis(1500);
        assert_eq!((a.name.as_str(), a.directory, a.size), ("a", true, Some(0)));
        assert_eq!(
            (a.modified, a.symlink_target.as_deref()),
            (Some(SystemTime::UNIX_EPOCH + since), Some("../b"))
        );
        assert_eq!(
            (b.name.as_str(), b.directory, b.size, b.symlink_target.as_deref()),
            ("\u{FFFD}", false, Some(7), None)
        );
        assert_eq!(b.modified, Some(SystemTime::UNIX_EPOCH - Duration::from_secs(1)));
    }
}
