#!/bin/sh
# Runs a compiled test program as a user without any privilege, from a place that this user can read.
#
#     scripts/as-nobody.sh target/debug/deps/isolation-0123456789abcdef [arguments]
#
# `cargo test --no-default-features --no-run` prints the paths.
set -eu
program=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
cp "$program" "$folder/test"
# What a suite talks to lies beside it, or where cargo puts programs.
for fake in "$(dirname "$program")/e2b-fake" "$(dirname "$program")/../e2b-fake"; do
    if [ -x "$fake" ]; then cp "$fake" "$folder/e2b-fake"; fi
done
chmod 755 "$folder" "$folder/test"
cd /
setpriv --reuid 65534 --regid 65534 --clear-groups \
    env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/nonexistent RUST_BACKTRACE=0 "$folder/test" "$@"
