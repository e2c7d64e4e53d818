#!/usr/bin/env bash
# Starts a Docker engine for the tests, with an image of this machine's own programs: no registry is asked.
#
#     eval "$(scripts/engine.sh start [folder])"     # COMPUTESDK_TEST_ENGINE is its socket, or …_MISSING why there is none
#     scripts/engine.sh stop [folder]
#
# It needs root. What is missing is installed where there is apt. Without systemd, beside another engine, with a network
# of its own; stopping it leaves nothing but the folder.
set -uo pipefail
what=${1:-start}
folder=${2:-${TMPDIR:-/tmp}/computesdk-engine}
image=computesdk-test:latest
log=$folder/log

missing() {
  printf 'export COMPUTESDK_TEST_ENGINE_MISSING=%q\n' "$1"
  exit 0
}

stop() {
  ip link delete computesdk0 2>/dev/null
  [ -s "$folder/pid" ] || return 0
  kill "$(cat "$folder/pid")" 2>/dev/null
  for _ in $(seq 100); do
    kill -0 "$(cat "$folder/pid" 2>/dev/null)" 2>/dev/null || return 0
    sleep 0.1
  done
}

answers() {
  docker version >/dev/null 2>&1
}

# The programs that a small system has, Python and Node.js, as the packages of this one list their files.
programs() {
  {
    dpkg-query -W -f '${Package}:${Architecture} ${Essential} ${Priority}\n' |
      awk '$2 == "yes" || $3 == "required" { sub(":all", "", $1); print $1 }'
    for package in python3 procps util-linux bsdextrautils openssl; do echo "$package"; done
  } | sort -u >"$folder/wanted"
  # shellcheck disable=SC2046
  apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances $(cat "$folder/wanted") 2>/dev/null | grep -E '^[a-z0-9]' | sort -u |
    xargs dpkg -L 2>/dev/null | grep -vE '^/(usr/share/(doc|man|locale|info|perl)|var|proc|sys|dev|run|etc/(ssh|shadow|gshadow))(/|$)|^/\.$' | sort -u
}

# An image whose user is root, by the name and with the home that the tests expect. Without capabilities that is a user
# like any other; so what the system is made of belongs to somebody else, and cannot be changed. /usr/local is on a file
# system of its own.
make_image() {
  local root=$folder/rootfs
  rm -rf "$root"
  mkdir -p "$root"/{dev,proc,sys,run,root,var/tmp,etc,home/user,workspace}
  install -d -m 1777 "$root/tmp"
  for link in bin sbin lib lib64 lib32 libx32; do
    [ -L "/$link" ] && cp -a "/$link" "$root/$link"
  done
  programs | while read -r path; do
    # What is behind a link to /usr is there by its other name.
    real=$(cd "$(dirname "$path")" 2>/dev/null && pwd -P)/${path##*/}
    if [ -L "$real" ] || [ -f "$real" ]; then printf '%s\n' "${real#/}"; fi
  done | sort -u | tar -C / --no-recursion -T - -cf - 2>/dev/null | tar -C "$root" -xf - 2>/dev/null
  mkdir -p "$root/usr/local/bin" "$root/etc/alternatives"
  cp -a /etc/alternatives/. "$root/etc/alternatives/" 2>/dev/null
  cp -a /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d "$root/etc/" 2>/dev/null
  mkdir -p "$root"/usr/local/{etc,games,include,lib,sbin,share,src}
  node=$(command -v node) && cp -L "$node" "$root/usr/bin/node"
  ln -sf python3 "$root/usr/bin/python"
  printf 'user:x:0:0:user:/home/user:/bin/bash\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n' >"$root/etc/passwd"
  printf 'user:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  mkdir -p "$root/etc/ssl/certs"
  ldconfig -r "$root" 2>/dev/null
  chown -Rh 65534:65534 "$root/usr" "$root/etc"
  chown -Rh 0:0 "$root/usr/local"
  tar -C "$root" --numeric-owner -c . |
    docker import -c 'ENV HOME=/home/user' -c 'WORKDIR /home/user' -c 'VOLUME /usr/local' -c 'CMD ["/bin/bash"]' - "$image" >/dev/null
  rm -rf "$root"
}

if [ "$what" = stop ]; then
  stop
  exit
fi

[ "$(uname -s)" = Linux ] || missing "an engine is started on Linux"
mkdir -p "$folder"
export DOCKER_HOST=unix://$folder/docker.sock
if ! answers; then
  [ "$(id -u)" = 0 ] || missing "only root can start an engine"
  if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
    command -v apt-get >/dev/null || missing "there is no dockerd, and no apt-get to install it"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      docker.io iptables iproute2; } >"$folder/install" 2>&1 || missing "dockerd cannot be installed: $(tail -n 1 "$folder/install")"
  fi
  rm -f "$folder/pid"
  start() {
    setsid dockerd --data-root "$folder/root" --exec-root "$folder/exec" --pidfile "$folder/pid" \
      -H "$DOCKER_HOST" "$@" >"$log" 2>&1 </dev/null &
    for _ in $(seq 200); do
      answers && return 0
      sleep 0.05
    done
    stop
    return 1
  }
  # A bridge of its own, so that another engine keeps its.
  if ! ip link show computesdk0 >/dev/null 2>&1; then
    { ip link add computesdk0 type bridge && ip address add 172.31.254.1/24 dev computesdk0 &&
      ip link set computesdk0 up; } 2>"$folder/bridge" || missing "there is no bridge: $(tail -n 1 "$folder/bridge")"
  fi
  # Where there are no packet filters, the network leads nowhere, which is all that the tests need of it.
  start --bridge computesdk0 || start --bridge computesdk0 --iptables=false ||
    missing "dockerd does not start: $(grep -E 'level=(error|fatal)|failed' "$log" | tail -n 1 | cut -c 1-300)"
fi
if ! docker image inspect "$image" >/dev/null 2>&1; then
  command -v dpkg >/dev/null || missing "the image is made of this machine's packages, and there is no dpkg"
  make_image 2>"$folder/image" || missing "the image cannot be made: $(tail -n 1 "$folder/image")"
fi
printf 'export COMPUTESDK_TEST_ENGINE=%q\n' "$folder/docker.sock"
