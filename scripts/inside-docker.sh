#!/usr/bin/env bash
# What becomes of local sandboxes inside Docker: refused clearly under its default profile, made where the profile
# lets them. Needs the addon that is built, and an engine: that of DOCKER_HOST, or, for root, one of its own that is
# started for the while (without a bridge and without rules: nothing of this machine's network changes).
#
#   scripts/inside-docker.sh
#
# Where there is no engine it says why, and has not failed.
set -euo pipefail
cd "$(dirname "$0")/.."

addon=$(ls -t computesdk.linux-*.node 2>/dev/null | head -1)
[ -n "$addon" ] || { echo "inside-docker: there is no addon: npm run build" >&2; exit 2; }
skip() { echo "inside-docker: not tried: $1"; exit 0; }
command -v docker >/dev/null || skip "there is no docker (of Debian: apt-get install docker.io)"
command -v busybox >/dev/null || skip "there is no busybox (of Debian: apt-get install busybox-static)"

place=$(mktemp -d "${TMPDIR:-/tmp}/computesdk-inside-XXXXXX")
engine=
end() {
  docker rmi -f "$image" >/dev/null 2>&1 || true
  if [ -n "$engine" ]; then
    kill "$engine" && wait "$engine" 2>/dev/null || true
  fi
  rm -rf "$place"
}
image=computesdk-inside:$$
trap end EXIT

if ! docker version >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] || skip "no engine answers, and only root can start one"
  command -v dockerd >/dev/null || skip "no engine answers, and there is no dockerd (of Debian: apt-get install docker.io)"
  export DOCKER_HOST=unix://$place/docker.sock
  dockerd --data-root "$place/data" --exec-root "$place/exec" --pidfile "$place/pid" -H "$DOCKER_HOST" \
    --storage-driver overlay2 --iptables=false --bridge=none >"$place/log" 2>&1 </dev/null &
  engine=$!
  for _ in $(seq 100); do
    docker version >/dev/null 2>&1 && break
    kill -0 "$engine" 2>/dev/null || skip "dockerd does not start: $(tail -1 "$place/log")"
    sleep 0.1
  done
  docker version >/dev/null 2>&1 || skip "dockerd does not answer: $(tail -1 "$place/log")"
fi

# An image of Node.js with what it is linked to, busybox, and this package.
root=$place/image
mkdir -p "$root"/usr/{bin,lib} "$root"/{app,etc,proc,dev,sys,root} && mkdir -m 1777 "$root/tmp"
for link in bin lib lib64 sbin; do ln -s "usr/${link/sbin/bin}" "$root/$link"; done
rm "$root/lib64" && ln -s usr/lib "$root/lib64"
node=$(command -v node)
ldd "$node" | grep -o '/[^ ]*' | while read -r library; do cp -L "$library" "$root/usr/lib/"; done
cp "$node" "$(command -v busybox)" "$root/usr/bin/"
for applet in $(busybox --list); do [ -e "$root/usr/bin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"; done
printf 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n' >"$root/etc/passwd"
cp -r bin door index.js package.json "$addon" "$root/app/"
tar -C "$root" -c . | docker import - "$image" >/dev/null

failed=0
# Runs the package's command line in a container, with these words of Docker's.
inside() {
  local words=$1
  shift
  # shellcheck disable=SC2086
  docker run --rm --network none $words "$image" node /app/bin/computesdk.js "$@" 2>&1
}
said() { printf '%-70s %s\n' "$1" "$2"; }
# Asserts that sandboxes are refused, with these words.
refused() {
  local words=$1 output
  shift
  if output=$(inside "$words" run -- true); then
    said "docker run $words" "FAILED: a sandbox was made"
    failed=1
    return
  fi
  for text in "$@"; do
    if ! grep -qF -- "$text" <<<"$output"; then
      said "docker run $words" "FAILED: not said: $text"
      echo "$output"
      failed=1
      return
    fi
  done
  said "docker run $words" "refused: $(head -1 <<<"$output")"
}
# Asserts that a sandbox is made, and isolates: a file system and processes of its own, and no network.
works() {
  local words=$1 output
  output=$(inside "$words" run -- sh -c 'echo hi from $(id -u); ls -A /tmp /app 2>/dev/null; ls /proc | grep -c "^[0-9]";
    ls /sys/class/net /proc/sys/net/ipv4/conf; cut -d: -f1 /proc/net/dev | tail -n +3; wget -T 2 -q -O- http://1.1.1.1 && echo REACHED') || true
  if grep -q 'unable to apply caps\|operation not permitted.*unknown' <<<"$output"; then
    said "docker run $words" "not tried: this machine's root may not give what is asked for"
  elif grep -q '^hi from 1000$' <<<"$output" && ! grep -q 'REACHED\|eth0\|computesdk' <<<"$output" &&
    grep -q '^ *lo$' <<<"$output"; then
    said "docker run $words" "works"
  else
    said "docker run $words" "FAILED:"
    echo "$output"
    failed=1
  fi
}

open="--security-opt seccomp=unconfined --security-opt systempaths=unconfined"
advice="start the container with \`--security-opt seccomp=unconfined --security-opt systempaths=unconfined\`"
refused "" "the container's security profile forbids it" "$advice" "--user 1000"
refused "--user 1000" "the container's security profile forbids it" "$advice"
refused "--security-opt seccomp=unconfined --user 1000" "$advice"
works "$open --user 1000"
works "$open --cap-add SYS_ADMIN"
works "--privileged"
works "--privileged --user 1000"
exit $failed
