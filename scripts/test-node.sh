#!/usr/bin/env bash
# Runs the Node tests, with the addon that is there.
set -euo pipefail
cd "$(dirname "$0")/.."
# One engine for all files: they run beside each other, and the first to end would stop that of the others.
if [ -z "${COMPUTESDK_TEST_ENGINE:-}" ]; then
  eval "$(scripts/engine.sh start)"
  trap 'scripts/engine.sh stop' EXIT
fi
node --test --test-reporter=spec --test-timeout=300000 __test__/*.test.mjs
