#!/usr/bin/env bash
# Proves a script on a machine that has nothing: makes a bare Debian 12 with debootstrap, clones the commit that is checked
# out here into it and runs the script there. Needs root and the package debootstrap.
#   scripts/fresh.sh FOLDER setup.sh|demo.sh|test.sh [FLAG...]    FOLDER/base is kept for the next run, FOLDER/tree is made anew
#   scripts/fresh.sh --mirror [FOLDER]    says which mirror of Debian it takes: $MIRROR, or the one that apt's configuration
#                                         (FOLDER, default /etc/apt) has for Debian 12, else its first of Debian
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
suite=bookworm

# URI SUITE COMPONENT..., a line each, of apt's lists of either format.
sources() {
  local file
  for file in "$1/sources.list" "$1"/sources.list.d/*; do
    [[ -r $file ]] || continue
    case $file in
      *.list) sed -E 's/#.*//; s/\[[^]]*\]//' "$file" | awk '$1 == "deb" { $1 = ""; print }' ;;
      *.sources)
        awk '
          function entries(uris, suites, n, m, i, j) {
            n = split(field["uris"], uris); m = split(field["suites"], suites)
            if (" " field["types"] " " ~ /[ \t]deb[ \t]/ && tolower(field["enabled"]) !~ /^[ \t]*(no|false|off|0)[ \t]*$/)
              for (i = 1; i <= n; ++i) for (j = 1; j <= m; ++j) print uris[i], suites[j], field["components"]
            split("", field)
          }
          /^#/ { next }
          /^[ \t]*$/ { entries(); next }
          /^[ \t]/ { field[name] = field[name] " " $0; next }
          { colon = index($0, ":"); name = tolower(substr($0, 1, colon - 1)); field[name] = substr($0, colon + 1) }
          END { entries() }' "$file"
        ;;
    esac
  done
}
# Others than Debian serve the same suite; their folder is seldom named debian, or their component not main.
mirror_of() {
  sources "$1" | awk -v suite=$suite '
    $1 !~ /^https?:/ || $0 " " !~ /[ \t]main[ \t]/ { next }
    { rank = 2 * ($2 == suite) + ($1 ~ /\/debian\/?$/) }
    rank > best { best = rank; mirror = $1 }
    END { print mirror }'
}
take_mirror() {
  mirror=${MIRROR:-$(mirror_of "$1")}
  [[ -n $mirror ]] || {
    echo "fresh: apt's configuration in $1 has no mirror of Debian; give one: MIRROR=http://HOST/debian scripts/fresh.sh ..." >&2
    exit 1
  }
}

if [[ ${1:-} == --mirror ]]; then
  take_mirror "${2:-/etc/apt}"
  echo "$mirror"
  exit 0
fi
folder=${1:?usage: scripts/fresh.sh FOLDER SCRIPT [FLAG...]}
script=${2:?usage: scripts/fresh.sh FOLDER SCRIPT [FLAG...]}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
tree=$folder/tree

if [[ ! -e $folder/base/etc/debian_version ]]; then
  take_mirror /etc/apt
  debootstrap --variant=minbase $suite "$folder/base.part" "$mirror"
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
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LANG=C.UTF-8 chroot "$tree" "/mindgap/scripts/$script" "${@:3}" </dev/null || status=$?
echo "fresh: $script ended with $status after $((SECONDS - start)) s"
exit $status
