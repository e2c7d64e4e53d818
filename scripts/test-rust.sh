#!/usr/bin/env bash
# Runs the Rust tests without Node, as the user who calls and, if that is root, as nobody too.
set -euo pipefail
cd "$(dirname "$0")/.."
# What the suites talk to: a program beside them, and an engine. Without one, its cases say why they are skipped.
eval "$(scripts/engine.sh start)"
trap 'scripts/engine.sh stop' EXIT
# Always the same packages: of others, cargo would build what they depend on with other features, and all of it again.
packages=(--workspace --exclude computesdk-agent --no-default-features --locked)
cargo build --package e2b-fake --locked
cargo test "${packages[@]}" --no-fail-fast
cargo test --package computesdk-agent --features program --locked
if [ "$(id -u)" = 0 ]; then
  for suite in conformance isolation warm broker; do
    program=$(cargo test "${packages[@]}" --test "$suite" --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))$/\1/p')
    scripts/as-nobody.sh "$program"
  done
fi
