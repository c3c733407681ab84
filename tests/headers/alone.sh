#!/usr/bin/env bash
# alone.sh [--header-only] PART/PARTS FOLDERS PROJECT_FOLDER COMPILER FLAGS...: does each public header of the folders ("core,io")
# compile alone, and twice? Does one of several parts of them, 0 to PARTS - 1.
#
# Headers are compiled in chains, each of which includes the one before it, directly or not, whatever is defined. What a chain has
# read before a header is what that header itself would read first, so it sees what it would see alone; and what many of them
# include is read 50 times, not 150. Header-only, headers include bodies (.ipp), whose includes may lead back to the header: of
# two that include each other neither comes before the other in a chain, so each of them comes first once.
set -euo pipefail
bodies=0
[[ $1 != --header-only ]] || { bodies=1; shift; }
part=${1%/*} parts=${1#*/} members="^(${2//,/|})/" root=$3
shift 3

chains() {
  { (cd "$root/include/mindgap" && find . -name '*.hpp'); (cd "$root" && find kernels -name '*.hpp'); } | sed 's,^\./,,' | sort -u |
    awk -v root="$root" -v bodies=$bodies -v members="$members" '
    function visit(top, path,    line, depth, n, i, found) {
      if ((top, path) in reads) return
      reads[top, path] = 1
      ++size[top]
      if (!(path in includes)) {
        includes[path] = ""
        while ((getline line < (root "/include/mindgap/" path)) > 0) {
          if (line ~ /^ *#if/) ++depth
          else if (line ~ /^ *#endif/) --depth
          else if (line ~ /^ *#include <mindgap\// && (!depth || (bodies && line ~ /\.ipp>/))) {
            gsub(/.*<mindgap\/|>.*/, "", line)
            includes[path] = includes[path] " " line
          }
        }
        close(root "/include/mindgap/" path)
      }
      n = split(includes[path], found, " ")
      for (i = 1; i <= n; ++i) visit(top, found[i])
    }
    # The header not in a chain yet that reads most; below `above`, of those that it reads and that do not read it.
    function largest(above,    i, h, best) {
      for (i = 1; i <= count; ++i) {
        h = header[i]
        if (!(h in done) && (above == "" || ((above, h) in reads && !((h, above) in reads))) && (best == "" || size[h] > size[best]))
          best = h
      }
      return best
    }
    $0 ~ members { header[++count] = $0; visit($0, $0) }
    END {
      while ((h = largest("")) != "") {
        chain = ""
        for (; h != ""; h = largest(h)) { done[h] = 1; chain = h " " chain }
        print chain
      }
    }'
}

failed=false number=0
while read -r -a chain; do
  ((number++ % parts == part)) || continue
  for header in "${chain[@]}"; do printf '#include <mindgap/%s>\n#include <mindgap/%s>\n' "$header" "$header"; done |
    "$@" -fsyntax-only -x c++ - || { echo "one of these does not compile alone: ${chain[*]}"; failed=true; }
done < <(chains)
((number)) || { echo "no header found in $root"; exit 1; }
! $failed
