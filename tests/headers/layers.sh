#!/usr/bin/env bash
# Fails on an include that goes up the layers or out of the library, on a backend's header in core or kernels, and on a heavy
# header outside a .ipp:
#   core < kernels < io < {cpu, cuda, emulated} < {ops, interop} < autograd < nn < {optim, models, text} < {train, diffusion, data} < study < apps
# layers.sh PROJECT_FOLDER, or layers.sh --self-test: a made-up tree with an upward include must fail.
set -euo pipefail

check() {
  find "$1/include/mindgap" "$1/kernels" "$1/apps" -type f \( -name '*.hpp' -o -name '*.ipp' -o -name '*.cpp' \) -print0 |
    sort -z | xargs -0 -r awk -v root="$1/" '
    function layer_of(path) {
      sub(/\/.*/, "", path)
      return path
    }
    BEGIN {
      split("core 0 kernels 1 io 2 cpu 3 cuda 3 emulated 3 ops 4 interop 4 autograd 5 nn 6 optim 7 models 7 text 7 train 8 diffusion 8 data 8 study 9 apps 10", words)
      for (i = 1; i in words; i += 2) layer[words[i]] = words[i + 1]
    }
    FNR == 1 {
      file = substr(FILENAME, length(root) + 1)
      own = file
      sub(/^include\/mindgap\//, "", own)
      own = layer_of(own)
      if (!(own in layer)) { print file ": folder \"" own "\" has no layer; add it to tests/headers/layers.sh"; bad = 1 }
    }
    /^ *#include <mindgap\// {
      target = $0
      sub(/.*<mindgap\//, "", target)
      target = layer_of(target)
      if (!(target in layer) || layer[target] > layer[own]) {
        print file ":" FNR ": " own " must not include " target ": " $0
        bad = 1
      }
    }
    /^ *#include ["<](.*\/)?(apps|bench|tests)\// && own != "apps" {
      print file ":" FNR ": the library must not include programs: " $0
      bad = 1
    }
    /^ *#include <(nlohmann|mindgap\/io\/json|openssl|png\.h|jpeglib|zlib\.h|utf8proc|dnnl|oneapi\/dnnl|xtensor|cxxopts|boost)/ && file ~ /\.hpp$/ && file !~ /^apps\// {
      # the executor of tests may use Boost.Context, interop is the bridge to xtensor, io/json.hpp serves .ipp files
      if (!(file ~ /^kernels\// && /boost\/context/) && !(own == "interop" && /xtensor/) && file !~ /\/io\/json\.hpp$/) {
        print file ":" FNR ": a heavy header belongs into the .ipp: " $0
        bad = 1
      }
    }
    END { exit bad }'
}

if [[ ${1:-} == --self-test ]]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  mkdir -p "$folder"/{include/mindgap/{core,io,cpu,ops},kernels,apps}
  echo '#include <mindgap/core/shape.hpp>' >"$folder/include/mindgap/ops/good.hpp"
  check "$folder"
  for bad in 'core/bad.hpp:<mindgap/ops/good.hpp>' 'core/bad.hpp:<mindgap/io/file.hpp>' 'io/bad.ipp:<mindgap/cpu/runtime.hpp>' \
    'core/bad.hpp:"apps/report/svg.hpp"'; do
    echo "#include ${bad#*:}" >"$folder/include/mindgap/${bad%%:*}"
    ! check "$folder" || { echo "an upward include was not noticed: $bad"; exit 1; }
    rm "$folder/include/mindgap/${bad%%:*}"
  done
else
  check "${1:?project folder}"
fi
