#!/usr/bin/env bash
# Builds and tests mindgap from a fresh clone. The last lines of each ctest say what it ran.
#   scripts/test.sh          set-up, build and all tests of the CPU
#   scripts/test.sh --all    first the format of every C++ file; with the tests, that every header compiles alone and header-only;
#                            then sanitizers and the CUDA build with its tests, where nvcc is installed. It is what CI runs; in CI
#                            (CI=true) nothing may be skipped
set -euo pipefail
all=false
for flag in "$@"; do
  case $flag in
    --all) all=true ;;
    --help)
      sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    *)
      echo "test.sh: there is no flag $flag; see --help" >&2
      exit 2
      ;;
  esac
done
cd "$(dirname "$0")/.."
jobs=$(nproc)
start=$SECONDS
step() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - start)); }

step "set-up"
if $all; then
  scripts/setup.sh --tests
  export PATH="$PATH:/usr/local/cuda/bin"
  # The CPU and the CUDA build compile the same C++ files; each is compiled once.
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros

  step "format"
  git ls-files -z '*.hpp' '*.ipp' '*.cpp' '*.cu' | xargs -0 -r clang-format-14 --dry-run --Werror ||
    { echo "to mend it: git ls-files -z '*.hpp' '*.ipp' '*.cpp' '*.cu' | xargs -0 clang-format-14 -i"; exit 1; }
  echo "every C++ file is formatted"
else
  scripts/setup.sh
fi

step "build"
cmake --preset cpu
target=tests leave_out=(--label-exclude 'source|large')
if $all; then target=all leave_out=(); fi  # the benchmarks too, which nothing here runs
cmake --build --preset cpu -j "$jobs" --target $target
step "tests"
ctest --preset cpu -j "$jobs" --no-tests=error "${leave_out[@]}"

if $all; then
  step "sanitizers: build"
  cmake --preset asan
  cmake --build --preset asan -j "$jobs" --target sanitizer_tests
  step "sanitizers: tests"
  ctest --preset asan -j "$jobs" -L sanitizer --no-tests=error

  step "CUDA: build with nvcc"
  if command -v nvcc >/dev/null; then
    # For sm_90 alone; cuda.registers compiles the kernels of the models for sm_80 as well.
    cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES=90
    cmake --build --preset cuda -j "$jobs" --target cuda_tests
    step "CUDA: tests"
    ctest --preset cuda -j "$jobs" -L cuda --no-tests=error
  elif [[ ${CI:-} == true ]]; then
    echo "no nvcc, and in CI the CUDA build may not be skipped"
    exit 1
  else
    echo "skipped: no nvcc here, so nothing of CUDA was compiled"
  fi
fi

step "all passed"
