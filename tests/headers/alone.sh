#!/usr/bin/env bash
# alone.sh [--header-only] PROJECT_FOLDER HEADER PRECOMPILED COMPILER FLAGS...: does HEADER ("core/tensor.hpp") compile alone, and
# twice?
#
# PRECOMPILED is a folder and, after a colon, the headers that most others include, deepest first. Each of them is compiled to
# that folder once. A header that always includes one starts from its precompiled form, in a third of the time: all that it
# writes before that include is other includes, each checked by itself, so it sees what it would see alone.
set -euo pipefail
bodies=0
[[ $1 != --header-only ]] || { bodies=1; shift; }
root=$1 header=$2 folder=${3%%:*}
IFS=: read -ra precompiled <<<"${3#*:}"
shift 3

# What HEADER includes of the project whatever is defined, directly or not; header-only, that includes bodies (.ipp).
includes=" $(awk -v root="$root" -v header="$header" -v bodies=$bodies '
  function visit(path,    file, line, depth) {
    if (path in seen) return
    seen[path] = 1
    printf "%s ", path
    file = root "/include/mindgap/" path
    while ((getline line < file) > 0) {
      if (line ~ /^ *#if/) ++depth
      else if (line ~ /^ *#endif/) --depth
      else if (line ~ /^ *#include <mindgap\// && (!depth || (bodies && line ~ /\.ipp>/))) {
        gsub(/.*<mindgap\/|>.*/, "", line)
        visit(line)
      }
    }
    close(file)
  }
  BEGIN { visit(header) }')"

twice() { printf '#include <mindgap/%s>\n#include <mindgap/%s>\n' "$1" "$1"; }
name=${header//\//_}
if [[ " ${precompiled[*]} " == *" $header "* ]]; then
  mkdir -p "$folder"
  twice "$header" >"$folder/$name"
  exec "$@" -x c++-header -o "$folder/$name.gch" "$folder/$name"
fi
start=()
for one in "${precompiled[@]}"; do
  if [[ $includes == *" $one "* ]]; then
    start=(-Winvalid-pch -include "$folder/${one//\//_}")
    break
  fi
done
twice "$header" | "$@" "${start[@]}" -fsyntax-only -x c++ -
