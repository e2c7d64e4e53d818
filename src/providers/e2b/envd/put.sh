# Gets `$2` to `$3`, in the way `$1` (rename or copy), by way of a hidden name that ends in `$4`. What is made on the way
# belongs to the user and group `$5`. Ends with 0, or with a number of `copy.rs` and what the system said.
export LC_ALL=C
way=$1 from=$2 to=$3 id=$4 owner=$5
temporary= back= in_the_way=
clear() { [ -z "$temporary" ] || { chmod -R u+w "$temporary"; rm -rf "$temporary"; } 2>/dev/null; }
no() { clear; [ -z "$back" ] || mv -fT -- "$away" "$back"; [ -z "$2" ] || echo "$2" >&2; exit "$1"; }
# A signal ends it at once, and not when its child has ended.
child=
trap '[ -z "$child" ] || kill -9 "$child"; wait; no 1' TERM
try() { complaint=$("$@" 2>&1 >/dev/null) || return 1; }
slowly() { "$@" & child=$!; wait "$child"; code=$?; child=; return $code; }
mount_of() { stat -c %m -- "$1" 2>/dev/null || stat -c %d -- "$1"; }

if [ "$way" = copy ]; then
  [ -e "$from" ] || no 20 missing
  real=$from
  if [ -L "$from" ]; then real=$(readlink -f -- "$from" && echo .) || no 20 missing; real=${real%??}; fi
  if [ -d "$real" ]; then real=$(cd "$real" && pwd -P && echo .) || no 1 "Permission denied"; real=${real%??}; fi
else
  [ -e "$from" ] || [ -L "$from" ] || no 20 missing
  beside="$(cd "$(dirname -- "$from")" && pwd -P && echo .)" || no 20 missing
  beside=${beside%??}; real=${beside%/}/$(basename -- "$from" && echo .); real=${real%??}
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
  [ -z "$special" ] || no 23 "$from${special#"$real"}"
fi
if [ -n "$made" ]; then
  # As the shell has no way to make one and own it at once: the first that is missing, with all below it.
  try mkdir -p -- "$above" || no 24 "$complaint"
  chown -R "$owner" -- "$made" 2>/dev/null
fi

# Another file system's, or a copy: complete first, and in its place then.
source=$real
away=$real
[ -w "$above" ] || no 24 "Permission denied"
if [ "$way" = rename ] && [ "$directory" ] && [ "$(mount_of "$real")" = "$real" ]; then no 1 "Device or resource busy"; fi
if [ "$way" = copy ] || [ "$(mount_of "$beside")" != "$(mount_of "$above")" ]; then
  if [ "$way" = rename ]; then
    # What cannot be taken away stays where it is: so it is, first, to where nobody looks.
    away=${beside%/}/.computesdk-$id-away
    try mv -fT -- "$real" "$away" || no 1 "$complaint"
    back=$real real=$away
  fi
  temporary=${above%/}/.computesdk-$id
  slowly cp -a -- "$real" "$temporary" || no 1
  [ "$way" = rename ] || slowly chown -hR "$owner" -- "$temporary"
  source=$temporary
fi
# One file by two names becomes one name.
if [ "$way" = rename ] && [ ! -L "$from" ] && [ ! -L "$to" ] && [ "$from" -ef "$to" ]; then rm -f -- "$away"; exit 0; fi
if [ -L "$to" ] && [ -d "$to" ]; then
  # Never into what a link in its place leads to.
  try mv -fT -- "$source" "$to" || { try rm -f -- "$to" && try mv -f -- "$source" "$to"; } || no 1 "$complaint"
else
  try mv -f -- "$source" "$to" || no 1 "$complaint"
fi
[ -z "$back" ] || { chmod -R u+w "$away" 2>/dev/null; rm -rf -- "$away"; }
exit 0
