#!/usr/bin/env bash
# Feeds everything that reads bytes of strangers, and keeps in fuzz/corpus what is worth feeding again.
#
#   scripts/fuzz.sh [minutes in all] [target ...]
#
# Needs a nightly toolchain and cargo-fuzz (`cargo install cargo-fuzz --locked`). A target that breaks is told at the
# end, with the file in fuzz/artifacts that breaks it; cured, that file belongs into the corpus.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

minutes=${1:-12}
shift || true
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
  for file in fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
seconds=$((minutes * 60 / ${#targets[@]}))

# Not with the sanitizer for addresses: but for system calls, all of it is safe Rust.
cargo +nightly fuzz build --sanitizer none
programs=$(echo target/*/release)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
broken=()
for target in "${targets[@]}"; do
  mkdir -p "$work/found" "$work/merged" "$work/least" "corpus/$target" "artifacts/$target"
  echo "== $target, $seconds s"
  "$programs/$target" "$work/found" "corpus/$target" -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" \
    -max_len=2048 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 >"$work/log" 2>&1 || broken+=("$target")
  grep -E 'panicked|ERROR|Test unit written|number_of_executed' "$work/log" || true
  # Forty files that reach the most code between them are enough: they are fed by every test run.
  "$programs/$target" "$work/merged" "corpus/$target" "$work/found" -merge=1 -use_counters=0 -use_cmp=0 \
    -merge_control_file="$work/control" >"$work/log" 2>&1
  python3 choose.py "$work/control" 40 "$work/least"
  rm -rf "corpus/$target" "$work/found" "$work/merged" "$work/control"
  mv "$work/least" "corpus/$target"
  echo "   $(find "corpus/$target" -type f | wc -l) files are kept, $(du -sb "corpus/$target" | cut -f1) bytes"
done
if [ ${#broken[@]} -gt 0 ]; then
  echo "broken: ${broken[*]}; see fuzz/artifacts" >&2
  exit 1
fi
