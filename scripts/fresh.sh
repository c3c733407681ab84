#!/usr/bin/env bash
# Proves a script on a machine that has nothing: makes a bare Debian 12 with debootstrap, clones the commit that is checked
# out here into it and runs the script there. Needs root and the package debootstrap.
#   scripts/fresh.sh FOLDER setup.sh|demo.sh|test.sh     FOLDER/base is kept for the next run, FOLDER/tree is made anew
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:?usage: scripts/fresh.sh FOLDER SCRIPT}
script=${2:?usage: scripts/fresh.sh FOLDER SCRIPT}
mirror=${MIRROR:-http://deb.debian.org/debian}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
tree=$folder/tree

if [[ ! -e $folder/base/etc/debian_version ]]; then
  debootstrap --variant=minbase bookworm "$folder/base.part" "$mirror"
  mv "$folder/base.part" "$folder/base"
fi

release() {
  for point in dev proc sys; do
    if mountpoint -q "$tree/$point"; then umount --recursive --lazy "$tree/$point"; fi
  done
}
trap release EXIT
release
rm -rf --one-file-system "$tree"
cp -a "$folder/base" "$tree"
cp /etc/resolv.conf /etc/hosts "$tree/etc/"
# Where this machine relaxes apt's date checks its mirror is a snapshot, and the bare tree needs the same.
grep -shE '^Acquire::Check-' /etc/apt/apt.conf.d/* >"$tree/etc/apt/apt.conf.d/99dates" || true
git clone -q --no-local "$project" "$tree/mindgap"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
mount --rbind /dev "$tree/dev"

echo "fresh: $(git -C "$tree/mindgap" log -1 --format='%h %s') in a bare Debian $(cat "$tree/etc/debian_version")"
start=$SECONDS
status=0
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LANG=C.UTF-8 chroot "$tree" "/mindgap/scripts/$script" </dev/null || status=$?
echo "fresh: $script ended with $status after $((SECONDS - start)) s"
exit $status
