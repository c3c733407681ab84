#!/usr/bin/env bash
# Everything that must hold, from a fresh clone: set-up, build, all tests, sanitizers, the CUDA build, the format.
# Less than half an hour on two slow cores where nothing was built before, a third of it nvcc. In CI (CI=true) nothing may be skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
start=$SECONDS
step() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - start)); }

step "set-up"
scripts/setup.sh --tests
export PATH="$PATH:/usr/local/cuda/bin"
# The CPU and the CUDA build compile the same C++ files; each is compiled once.
export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

step "format"
git ls-files -z '*.hpp' '*.ipp' '*.cpp' '*.cu' | xargs -0 -r clang-format-14 --dry-run --Werror ||
  { echo "to mend it: git ls-files -z '*.hpp' '*.ipp' '*.cpp' '*.cu' | xargs -0 clang-format-14 -i"; exit 1; }
echo "every C++ file is formatted"

step "build"
cmake --preset cpu
cmake --build --preset cpu -j "$jobs"
step "tests"
ctest --preset cpu -j "$jobs" --no-tests=error

step "sanitizers: build"
cmake --preset asan
cmake --build --preset asan -j "$jobs" --target sanitizer_tests
step "sanitizers: tests"
ctest --preset asan -j "$jobs" -L sanitizer --no-tests=error

step "CUDA: build with nvcc"
if command -v nvcc >/dev/null; then
  cmake --preset cuda  # for sm_80 and sm_90
  cmake --build --preset cuda -j "$jobs" --target cuda_tests
  ctest --preset cuda -L cuda --no-tests=error
elif [[ ${CI:-} == true ]]; then
  echo "no nvcc, and in CI the CUDA build may not be skipped"
  exit 1
else
  echo "skipped: no nvcc here, so nothing of CUDA was compiled"
fi

step "all passed"
