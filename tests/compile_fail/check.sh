#!/usr/bin/env bash
# check.sh SOURCE COMPILER FLAGS...: passes when SOURCE does not compile and the compiler's output matches every
# `// expect: <extended regular expression>` line of SOURCE.
set -euo pipefail
source=$1
shift

mapfile -t expected < <(sed -n 's|^// expect: *||p' "$source")
[[ ${#expected[@]} -gt 0 ]] || { echo "$source: no '// expect: <regex>' line"; exit 1; }
if output=$(LC_ALL=C "$@" "$source" 2>&1); then
  echo "$source: compiled, but it is a misuse"
  exit 1
fi
for regex in "${expected[@]}"; do
  grep -qE -e "$regex" <<<"$output" || {
    printf '%s: the message does not contain: %s\n%s\n' "$source" "$regex" "$output"
    exit 1
  }
done
