//! Renaming and copying, in the sandbox.

use super::Envd;
use super::error::{About, not_regular, of_file};
use super::path::trimmed;
use super::process::random;
use super::script::As;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Exit;
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

/// Gets `$2` to `$3`, in the way `$1`, by way of a hidden name that ends in `$4`. What is made on the way belongs to the
/// user and group `$5`.
const PUT: &str = r#"
export LC_ALL=C
way=$1 from=$2 to=$3 id=$4 owner=$5
temporary=
clear() { [ -z "$temporary" ] || { chmod -R u+w "$temporary"; rm -rf "$temporary"; } 2>/dev/null; }
no() { clear; echo "$2" >&2; exit "$1"; }
# A signal ends it at once, and not when its child has ended.
child=
trap '[ -z "$child" ] || kill -9 "$child"; wait; clear; exit 143' TERM
try() { complaint=$("$@" 2>&1 >/dev/null) || return 1; }
slowly() { "$@" 2>"$errors" & child=$!; wait "$child"; code=$?; child=; return $code; }
last() { printf %s "${1##*: }"; }

if [ "$way" = copy ]; then
  [ -e "$from" ] || no 20 missing
  real=$(readlink -f -- "$from" && echo .) || no 20 missing
  real=${real%??}
else
  [ -e "$from" ] || [ -L "$from" ] || no 20 missing
  real="$(cd "$(dirname -- "$from")" && pwd -P && echo .)" || no 20 missing
  real=${real%??}; real=${real%/}/$(basename -- "$from" && echo .); real=${real%??}
fi
if [ -d "$real" ] && [ ! -L "$real" ]; then directory=1; else directory=; fi

# The nearest directory above the place that is there, and what has to be made below it.
above=$(dirname -- "$to" && echo .); above=${above%??}
there=$above made=
while [ ! -d "$there" ]; do
  { [ -e "$there" ] || [ -L "$there" ]; } && { in_the_way=1; }
  made=$there; there=$(dirname -- "$there" && echo .); there=${there%??}
done
there=$(cd "$there" && pwd -P && echo .); there=${there%??}
place=$there; [ -n "$made" ] || { place=${there%/}/$(basename -- "$to" && echo .); place=${place%??}; }
if [ "$place" = "$real" ] && [ -z "$made" ]; then
  [ "$way" = copy ] && [ "$directory" ] && no 21 taken
  exit 0
fi
if [ "$directory" ]; then
  case ${there%/}/ in "${real%/}"/*) no 22 itself;; esac
fi
[ -z "$in_the_way" ] || no 21 taken
if [ -e "$to" ] || [ -L "$to" ]; then
  [ -z "$directory" ] || no 21 taken
  [ ! -d "$to" ] || [ -L "$to" ] || no 21 taken
fi
if [ "$way" = copy ]; then
  special=$(find "$real" ! -type f ! -type d ! -type l -print 2>/dev/null | head -n 1)
  [ -z "$special" ] || no 23 "$special"
fi
if [ -n "$made" ]; then
  # As the shell has no way to make one and own it at once: the first that is missing, with all below it.
  try mkdir -p -- "$above" || no 24 "$(last "$complaint")"
  chown -R "$owner" -- "$made" 2>/dev/null
fi
errors=$(mktemp 2>/dev/null) || errors=/dev/null

# Another file system's, or a copy: complete first, and in its place then.
source=$real
if [ "$way" = copy ] || [ "$(stat -c %d -- "$real")" != "$(stat -c %d -- "$above")" ]; then
  temporary=${above%/}/.computesdk-$id
  slowly cp -a -- "$real" "$temporary" || { complaint=$(head -n 1 "$errors"); rm -f "$errors"; no 1 "$(last "$complaint")"; }
  [ "$way" = rename ] || slowly chown -hR "$owner" -- "$temporary"
  source=$temporary
fi
rm -f "$errors"
# One file by two names becomes one name.
if [ "$way" = rename ] && [ ! -L "$from" ] && [ ! -L "$to" ] && [ "$from" -ef "$to" ]; then rm -f -- "$real"; exit 0; fi
if [ -L "$to" ] && [ -d "$to" ]; then
  # Never into what a link in its place leads to.
  try mv -fT -- "$source" "$to" || { try rm -f -- "$to" && try mv -f -- "$source" "$to"; } || no 24 "$(last "$complaint")"
else
  try mv -f -- "$source" "$to" || no 24 "$(last "$complaint")"
fi
[ "$way" = copy ] || [ "$source" = "$real" ] || rm -rf -- "$real"
exit 0
"#;

impl Envd {
    /// Gets what is at one path to another.
    pub(super) async fn put_elsewhere(&self, way: Way, from: &str, to: &str) -> Result<()> {
        let owner = self.owner().await?;
        let args = [way.word(), trimmed(from).0, trimmed(to).0, &random()?, &owner];
        let ran = self.run(As::Root, PUT, &args).await?;
        let complaint = ran.stderr.trim();
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
            Exit::Code(SPECIAL) => Err(not_regular(complaint)),
            Exit::Code(NOT_THERE) => about(to),
            Exit::Code(_) => about(from),
            Exit::Signal(_) => {
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
