#!/usr/bin/env bash
# check.sh SOURCE COMPILER FLAGS...: passes when SOURCE does not compile and the compiler's output matches every
# `// expect: <extended regular expression>` line of SOURCE, and its first error every `// expect_first: ...` line.
set -euo pipefail
source=$1
shift

mapfile -t expected < <(sed -n 's|^// expect: *||p' "$source")
mapfile -t first < <(sed -n 's|^// expect_first: *||p' "$source")
((${#expected[@]} + ${#first[@]})) || { echo "$source: no '// expect: <regex>' line"; exit 1; }
if output=$(LC_ALL=C "$@" "$source" 2>&1); then
  echo "$source: compiled, but it is a misuse"
  exit 1
fi
# matches TEXT REGEX...
matches() {
  local text=$1 regex
  shift
  for regex in "$@"; do
    grep -qE -e "$regex" <<<"$text" || {
      printf '%s: the message does not contain: %s\n%s\n' "$source" "$regex" "$output"
      exit 1
    }
  done
}
matches "$output" "${expected[@]}"
matches "$(grep -m1 -E 'error: ' <<<"$output")" "${first[@]}"
