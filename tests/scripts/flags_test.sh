#!/usr/bin/env bash
# What needs no network of scripts/test.sh and scripts/fresh.sh: their flags, and the mirror that is found in made-up
# configurations of apt.
# flags_test.sh PROJECT_FOLDER
set -euo pipefail
project=$(realpath "${1:?project folder}")
made_up=$(mktemp -d)
trap 'rm -rf "$made_up"' EXIT
unset MIRROR
wrong=0

# expect WHAT GOT WANTED: WANTED is a pattern.
expect() {
  # shellcheck disable=SC2053
  [[ $2 == $3 ]] || {
    printf 'WRONG: %s\n  got:    %s\n  wanted: %s\n' "$1" "$2" "$3"
    wrong=1
  }
}
# outcome COMMAND...: its exit code and all that it printed.
outcome() {
  local code=0 output
  output=$("$@" 2>&1) || code=$?
  echo "$code $output"
}

expect "help" "$(outcome "$project/scripts/test.sh" --help)" "0 Builds and tests mindgap*--all*nothing may be skipped"
for flag in --everything all ''; do
  expect "a flag that is none" "$(outcome "$project/scripts/test.sh" "$flag")" "2 test.sh: there is no flag $flag; see --help"
  expect "a flag that is none after one" "$(outcome "$project/scripts/test.sh" --all "$flag")" "2 *"
done

# mirror WHAT WANTED: of the configuration in $made_up/apt, which is emptied for the next.
apt=$made_up/apt
mkdir -p "$apt/sources.list.d"
mirror() {
  expect "$1" "$(outcome "$project/scripts/fresh.sh" --mirror "$apt")" "$2"
  rm -rf "$apt"
  mkdir -p "$apt/sources.list.d"
}
none="1 fresh: *has no mirror of Debian; give one: MIRROR=*"

mirror "nothing" "$none"

cat >"$apt/sources.list" <<'LIST'
# deb http://comment.invalid/debian bookworm main
deb-src http://source.invalid/debian bookworm main
deb http://security.invalid/debian-security bookworm-security main
  deb	[arch=amd64 signed-by=/usr/share/a.gpg] http://one.invalid/debian	bookworm main contrib # bookworm-updates
deb http://two.invalid/debian bookworm main
LIST
mirror "a line" "0 http://one.invalid/debian"

cat >"$apt/sources.list.d/debian.sources" <<'LIST'
# The system's
Types: deb-src
URIs: http://source.invalid/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://disabled.invalid/debian
Suites: bookworm
Components: main
Enabled: no

types: deb deb-src
# http://comment.invalid/debian
URIs:
 https://one.invalid/debian/
 https://two.invalid/debian/
Suites: bookworm-updates
 bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
LIST
mirror "a stanza" "0 https://one.invalid/debian/"

cat >"$apt/sources.list.d/a.list" <<'LIST'
deb https://engine.invalid/linux/debian bookworm stable
deb https://packages.invalid/debian/12/prod bookworm main
deb cdrom:[Debian 12]/ bookworm main
LIST
printf 'Types: deb\nURIs: http://one.invalid/debian\nSuites: bookworm bookworm-updates\nComponents: main' >"$apt/sources.list.d/b.sources"
echo 'deb http://backup.invalid/debian bookworm main' >"$apt/sources.list.d/c.list.save"
mirror "others than Debian" "0 http://one.invalid/debian"

printf 'deb http://one.invalid/debian trixie main\ndeb http://two.invalid/mirror bookworm main\n' >"$apt/sources.list"
mirror "another name, of this suite" "0 http://two.invalid/mirror"

echo 'deb http://one.invalid/debian trixie main' >"$apt/sources.list"
mirror "another suite of Debian" "0 http://one.invalid/debian"

echo 'deb http://one.invalid/ubuntu noble main universe' >"$apt/sources.list"
mirror "no Debian" "$none"

echo 'deb http://one.invalid/debian bookworm main' >"$apt/sources.list"
export MIRROR=http://given.invalid/debian
mirror "one that is given" "0 http://given.invalid/debian"

[[ $wrong -eq 0 ]] && echo "flags and mirrors are as they should be"
exit $wrong
