#!/usr/bin/env bash
# The study on Fashion-MNIST from one command: set-up, build, experiments, table and report. At most 12 minutes on two cores.
#   scripts/demo.sh [OUT]     OUT (default: demo-out) receives results.csv, study.json and report.html; run again to resume
set -euo pipefail
out=$(realpath -m "${1:-demo-out}")
cd "$(dirname "$0")/.."
start=$SECONDS
step() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - start)); }

step "set-up"
scripts/setup.sh
step "build"
cmake --preset cpu
cmake --build --preset cpu -j "$(nproc)" --target study
step "study"
build/cpu/apps/study --config data/studies/demo.json --out "$out"
step "done; open $out/report.html"
