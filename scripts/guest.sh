#!/usr/bin/env bash
# Runs a test program in a machine of its own, with the kernel of Debian 12 (6.1) and cgroups of version 2: as root, as
# nobody, and as nobody to whom a cgroup is delegated.
#
#   scripts/guest.sh [isolation|conformance|warm] [a part of a name ...]
#
# The machine is emulated, so that it works anywhere, and 10 to 20 times as slow: a whole suite takes half an hour for
# each of the three where nothing else is to be done. COMPUTESDK_GUEST_PACE says how many times as long everything may
# take (20), COMPUTESDK_GUEST_SECONDS how long the whole (7200); a thousand sandboxes at once take longer than one lives there.
# Needs root, and of Debian: apt-get install qemu-system-x86 debootstrap busybox-static e2fsprogs. What is fetched once (60 MB, from the
# sources that apt knows) is kept in target/guest, or wherever COMPUTESDK_GUEST says.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:-isolation}
shift || true
pace=${COMPUTESDK_GUEST_PACE:-20}
most=${COMPUTESDK_GUEST_SECONDS:-7200}
place=${COMPUTESDK_GUEST:-target/guest}

for needed in qemu-system-x86_64 debootstrap mkfs.ext4 busybox dpkg-deb; do
  command -v "$needed" >/dev/null || { echo "guest: there is no $needed: see the top of $0" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "guest: debootstrap needs root" >&2; exit 2; }
mkdir -p "$place"

if [ ! -d "$place/kernel" ]; then
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -1)
  (cd "$place" && apt-get download "$package")
  dpkg-deb -x "$place/$package"_*.deb "$place/kernel.part"
  mv "$place/kernel.part" "$place/kernel"
fi

if [ ! -d "$place/root" ]; then
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -1)
  debootstrap --variant=minbase --include=python3,procps,busybox-static,iproute2,libstdc++6 \
    bookworm "$place/root.part" "$mirror"
  rm -rf "$place/root.part/var/cache/apt" "$place/root.part/var/lib/apt/lists"
  mv "$place/root.part" "$place/root"
fi

# The kernel's modules for its disk and for the file systems of a sandbox, each after what it needs.
initrd=$place/initrd
rm -rf "$initrd"
mkdir -p "$initrd"/{bin,modules,dev,new}
cp "$(command -v busybox)" "$initrd/bin/busybox"
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk overlay"
for module in $modules; do
  find "$place/kernel/lib/modules" -name "$module.ko" -exec cp {} "$initrd/modules/" \;
done
cat >"$initrd/init" <<INIT
#!/bin/busybox sh
for module in $modules; do
  [ ! -e /modules/\$module.ko ] || /bin/busybox insmod /modules/\$module.ko
done
/bin/busybox mount -t devtmpfs dev /dev
until [ -e /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /new
/bin/busybox mount --move /dev /new/dev
exec /bin/busybox switch_root /new /test/run
INIT
chmod +x "$initrd/init"
(cd "$initrd" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$place/initrd.gz"

# The packages of test-rust.sh: of others, all would be built again.
program=$(cargo test --workspace --exclude computesdk-agent --no-default-features --locked --test "$suite" --no-run 2>&1 |
  sed -n 's/.*Executable.*(\(.*\))$/\1/p')
[ -n "$program" ] || { echo "guest: $suite does not build" >&2; exit 2; }
rm -rf "$place/root/test"
mkdir "$place/root/test"
cp "$program" "$place/root/test/suite"
cp "$(command -v node)" "$place/root/usr/local/bin/node"
# All of them, or those of each name.
[ $# -gt 0 ] || set -- ""
printf '%q ' "$@" >"$place/root/test/names"

cat >"$place/root/test/run" <<RUN
#!/bin/bash
export PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin HOME=/root RUST_BACKTRACE=0 COMPUTESDK_TEST_PACE=$pace
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts -o ptmxmode=666
mount -t tmpfs shm /dev/shm
ln -sf /proc/self/fd /dev/fd
ip link set lo up
# A machine that knows its own name, at an address that is not of the loopback network.
ip address add 10.11.12.13/32 dev lo
hostname guest
printf "127.0.0.1 localhost\n10.11.12.13 guest\n" >>/etc/hosts
echo 1 >/proc/sys/kernel/printk
# As systemd has it, and as Node.js raises it.
ulimit -n 524288
eval "names=(\$(cat /test/names))"
echo "guest: \$(uname -r), cgroup2: \$(cat /sys/fs/cgroup/cgroup.controllers)"
failed=0
told() { echo "guest: as \$1: \$2"; [ "\$2" = 0 ] || failed=1; }
# Runs the suite by a command, for each of the names.
suite() {
  local code=0
  for name in "\${names[@]}"; do
    "\$@" /test/suite --test-threads 2 --color never \$name || code=1
  done
  return \$code
}
nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups
  env -i PATH="\$PATH" HOME=/nonexistent RUST_BACKTRACE=0 COMPUTESDK_TEST_PACE=$pace)
cd /
suite env; told root \$?
suite "\${nobody[@]}"; told nobody \$?

# As systemd does for a session: a group of the user's own with a leaf in it where everything runs.
group=/sys/fs/cgroup
echo "+memory +pids +cpu" >\$group/cgroup.subtree_control
mkdir -p \$group/user/session/shell
for one in \$group/user \$group/user/session \$group/user/session/shell; do
  chown 65534 \$one \$one/cgroup.procs \$one/cgroup.subtree_control \$one/cgroup.threads
done
echo "+memory +pids +cpu" >\$group/user/cgroup.subtree_control
echo \$\$ >\$group/user/session/shell/cgroup.procs
suite "\${nobody[@]}"; told "nobody with a cgroup" \$?
left=\$(find \$group/user -mindepth 3 -type d)
[ -z "\$left" ] || { echo "guest: left: \$left"; failed=1; }
echo "guest: ended with \$failed"
sync
echo o >/proc/sysrq-trigger
sleep 60
RUN
chmod +x "$place/root/test/run"
rm -f "$place/disk.img"
truncate -s 1G "$place/disk.img"
mkfs.ext4 -q -d "$place/root" "$place/disk.img"

log=$place/log
timeout "$most" qemu-system-x86_64 -nodefaults -no-user-config -nographic -no-reboot -m 3072 -smp 2 -serial stdio \
  -kernel "$place"/kernel/boot/vmlinuz-* -initrd "$place/initrd.gz" -M pc,accel=tcg -cpu max \
  -drive file="$place/disk.img",format=raw,if=virtio,snapshot=on -append "console=ttyS0 reboot=t panic=-1 quiet" \
  </dev/null | tr -d '\r' | tee "$log" | grep --line-buffered -aE '^(guest:|test .*FAILED|test result|---- |thread|running)|panicked|not within|^assertion|^called|^  *(left|right):' || true
grep -aq '^guest: ended with 0' "$log" || { echo "guest: it has failed; all that was said is in $log" >&2; exit 1; }
