#!/bin/bash
# Boots a real systemd as process 1 of private namespaces (mount, pid, uts, ipc, cgroup, network), on a machine whose own process
# 1 may be anything. The root is an overlay of `/` in memory: nothing that runs inside writes to the machine.
#
#   boot.sh probe            exit 0 if this host allows it; else 77, with the reason
#   boot.sh run DIR NAME     boots; runs until its systemd ends, which dies with this process. DIR/console is its console
#   boot.sh clean DIR NAME   removes the control group of an instance that has ended
#
# `run` and `clean` belong into a mount namespace of their own (unshare --mount): they may mount.
# Needs root, unshare (util-linux), ip (iproute2), overlayfs, control groups of version 2 that can be mounted, systemd and dbus.
set -u
SELF=$(readlink -f "$0")
SYSTEMD=/lib/systemd/systemd

refuse() { echo "$*"; exit 77; }
fail() { echo "boot.sh: $*" >&2; exit 1; }

# Prints where control groups of version 2 are mounted. Without such a mount, makes one at $1, in this mount namespace.
cgroup2() {
  local mounted
  mounted=$(awk '$3 == "cgroup2" && $4 !~ /^ro(,|$)/ { print $2; exit }' /proc/mounts)
  if [ -z "$mounted" ]; then
    mounted=$1
    mount -t cgroup2 cgroup2 "$mounted" || return 1
  fi
  echo "$mounted"
}

probe() {
  [ "$(id -u)" = 0 ] || refuse "it needs root"
  for program in unshare nsenter setpriv ip dbus-daemon systemd-analyze systemd-sysusers systemd-tmpfiles "$SYSTEMD"; do
    command -v "$program" >/dev/null || refuse "$program is missing (Debian: systemd dbus iproute2 util-linux)"
  done
  # In a mount namespace of its own, so that nothing stays mounted.
  unshare --mount --pid --fork --uts --ipc --cgroup --net /bin/bash "$SELF" _probe 2>&1 || exit 77
}

probe_inside() {
  mount --make-rprivate / || refuse "this host allows no mounts"
  mount -t tmpfs tmpfs /tmp || refuse "this host allows no tmpfs"
  mkdir -p /tmp/cg /tmp/up /tmp/work /tmp/root
  local groups
  groups=$(cgroup2 /tmp/cg) || refuse "this host allows no control groups of version 2"
  mkdir "$groups/task-mcp-probe.$$" && rmdir "$groups/task-mcp-probe.$$" || refuse "control groups cannot be made in $groups"
  mount -t overlay overlay -o lowerdir=/,upperdir=/tmp/up,workdir=/tmp/work /tmp/root || refuse "this host allows no overlay"
}

run() {
  local dir=$1 name=$2 groups
  mkdir -p "$dir/cg"
  groups=$(cgroup2 "$dir/cg") || fail "no control groups of version 2"
  mkdir "$groups/$name" || fail "the control group $groups/$name cannot be made"
  # A member of the group when the namespace is made: the group is its root.
  echo 0 > "$groups/$name/cgroup.procs" || fail "the control group cannot be joined"
  exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup --net /bin/bash "$SELF" _inside "$dir"
}

# Runs as process 1 of the new namespaces and becomes systemd.
inside() {
  local dir=$1 root=$1/overlay/root node
  mount --make-rprivate / || exit 1
  : > "$dir/console"
  mkdir -p "$dir/overlay"
  mount -t tmpfs tmpfs "$dir/overlay" || exit 1
  mkdir -p "$dir/overlay/up" "$dir/overlay/work" "$root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/overlay/up,workdir=$dir/overlay/work" "$root" || exit 1
  mount -t proc proc "$root/proc" || exit 1
  mount -t sysfs sysfs "$root/sys" 2>/dev/null || mount --rbind /sys "$root/sys" || exit 1
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" || exit 1
  mount -t tmpfs -o mode=755 tmpfs "$root/dev" || exit 1
  for node in null zero full random urandom tty; do
    : > "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
  done
  mkdir -p "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  mount -t tmpfs tmpfs "$root/dev/shm"
  ln -s /proc/self/fd "$root/dev/fd"
  : > "$root/dev/console"
  mount --bind "$dir/console" "$root/dev/console"
  mount -t tmpfs -o mode=755 tmpfs "$root/run" || exit 1
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp" || exit 1
  ip link set lo up || exit 1
  hostname task-mcp-test
  echo 11112222333344445555666677778888 > "$root/etc/machine-id"
  # Nothing of the machine's own services.
  rm -rf "$root/etc/systemd/system/"*.wants "$root/etc/systemd/system/default.target" "$root/var/log/journal"
  mkdir -p "$root/run/lock" "$root/run/systemd/system"
  cat > "$root/run/systemd/system/test.target" <<'UNIT'
[Unit]
Description=What the tests need
Requires=systemd-journald.service dbus.service
After=systemd-journald.service dbus.service
AllowIsolate=yes
UNIT
  mkdir -p "$root/.old"
  cd "$root" || exit 1
  pivot_root . .old || exit 1
  umount -l /.old
  mount --make-rshared /
  exec env -i container=task-mcp-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    "$SYSTEMD" --system --unit=test.target --log-target=journal --log-level=notice --show-status=0
}

clean() {
  local dir=$1 name=$2 groups
  mkdir -p "$dir/cg"
  groups=$(cgroup2 "$dir/cg") || return 0
  if [ -d "$groups/$name" ]; then find "$groups/$name" -depth -type d -exec rmdir {} +; fi
}

case "${1:-}" in
  probe) probe ;;
  _probe) probe_inside ;;
  run) run "$2" "$3" ;;
  _inside) inside "$2" ;;
  clean) clean "$2" "$3" ;;
  *) sed -n 2,13p "$SELF"; exit 64 ;;
esac
