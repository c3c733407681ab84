#!/usr/bin/env bash
# Installs what mindgap needs on Debian 12 or Ubuntu 24.04: compiler, CMake, libraries, the Fashion-MNIST data set.
# Does nothing, and touches no network, when everything is there already. Needs root or sudo only to install.
# With --tests also what scripts/test.sh --all wants: the formatter, and a compiler cache for its three builds.
# CUDA is not installed here: the CPU build needs none, and the CUDA build takes the toolkit that the machine has.
set -euo pipefail

packages=(
  g++ cmake ninja-build git ca-certificates
  libdnnl-dev ocl-icd-opencl-dev            # convolution and matrix products; oneDNN's CMake config asks for OpenCL
  libxtensor-dev                            # statistics
  libboost-dev                              # Boost.Math, headers alone: quantiles of a study's statistics
  libboost-test-dev libboost-context-dev    # tests; fibers
  python3                                   # the test of apps/examples/own_c_api.py
  libcxxopts-dev nlohmann-json3-dev zlib1g-dev libpng-dev libjpeg-dev libssl-dev
  libutf8proc-dev                           # CLIP's tokenizer: Unicode
  dataset-fashion-mnist
)
[[ ${1:-} == --tests ]] && packages+=(clang-format-14 ccache)

say() { printf 'setup: %s\n' "$*"; }

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null || true)
  [[ $status == ii* ]] || missing+=("$package")
done
if [[ ${#missing[@]} -eq 0 ]]; then
  say "all ${#packages[@]} packages are installed"
  exit 0
fi

command -v apt-get >/dev/null || {
  say "no apt-get here; install the counterparts of: ${missing[*]}" >&2
  exit 1
}
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || {
    say "needs root or sudo to install: ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi

# Networks drop packets: every step that downloads is tried three times.
try() {
  local attempt
  for attempt in 1 2 3; do
    "$@" && return 0
    say "attempt $attempt of 3 failed: $*" >&2
    sleep $((attempt * 3))
  done
  return 1
}

say "installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
  apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
try "${apt[@]}" update
try "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
say "done"
