#!/usr/bin/env bash
# What only a GPU can show: parity with the CPU, memory errors and races in our kernels, speed beside PyTorch.
#
#   scripts/gpu_check.sh --pack                             where nvcc is; needs no GPU
#   scripts/gpu_check.sh [PART...] [--bin DIR] [--out DIR]  where the GPU is; no part: parity, study, sanitize and time
#
#   --pack       builds for H100 and H200 and leaves build/gpu/pack.tar.xz: the programs, the libraries that another machine may
#                lack, Fashion-MNIST. Copy the project with build/gpu to the GPU; without a pack it builds there
#   --parity     every program of tests/cuda
#   --study      data/studies/parity.json on CUDA and on the CPU: the same images, accuracies within the spread of the seeds
#   --sanitize   compute-sanitizer over our kernels in the programs of tests/cuda: memcheck, then racecheck
#   --time       bench/gpu_anchors, bench/gpu_kernels, and a PyTorch script with the same work, build/gpu/gpu_anchors.py, if it
#                is there
#   --full       data/studies/reference.json in bf16, from a generator trained from nothing to the report, of which PyTorch took
#                361 s on one H100; only where it is named
#   --bin DIR    programs to run, instead of those of the pack
#   --out DIR    receives results.jsonl (all that was found, a line each), a log a part and the plans that were timed; default
#                build/gpu/out
#
# The four are meant to take under six minutes. The first three check results and share the GPU; the others have it alone. What
# hangs is stopped and costs its own part only. The network is not used. Exit code 0: all parts passed.
set -euo pipefail
export LC_ALL=C
pack=build/gpu
bin=''
out=''
parts=()

fail() {
  printf 'gpu_check: %s\n' "$*" >&2
  exit 1
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --pack | --parity | --study | --sanitize | --time | --full) parts+=("${1#--}") ;;
    --bin | --out)
      [[ $# -ge 2 ]] || fail "$1 wants a folder"
      printf -v "${1#--}" '%s' "$(realpath -m "$2")"
      shift
      ;;
    --help)
      sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    *) fail "there is no flag $1; see --help" ;;
  esac
  shift
done
has() { [[ " ${parts[*]} " == *" $1 "* ]]; }
cd "$(dirname "$0")/.."
out=${out:-$PWD/$pack/out}

# --- packing ---------------------------------------------------------------------------------------------------------------------

# Shared libraries of the programs, but for glibc's and those that come with CUDA or the driver.
libraries_of() {
  ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|libresolv|libutil|libcuda|libcudart|libcublas|libcublasLt|libcudnn[a-z_]*|libnv[A-Za-z0-9_-]*)\.so'
}

make_pack() {
  export PATH=$PATH:/usr/local/cuda/bin
  command -v nvcc >/dev/null || fail "no nvcc here: install the CUDA 13 toolkit, or pack where it is"
  local data=${MINDGAP_DATASETS:-/usr/share/datasets}/fashion-mnist
  [[ -d $data ]] || fail "no $data: run scripts/setup.sh"
  if command -v ccache >/dev/null; then
    export CMAKE_CXX_COMPILER_LAUNCHER=ccache CMAKE_CUDA_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
  fi
  local programs=(apps/study) targets=(study) source name
  for source in tests/cuda/*_test.cu; do
    name=cuda_$(basename "$source" .cu)
    programs+=("tests/cuda/$name") targets+=("$name")
  done
  for source in bench/*.cu; do
    name=$(basename "$source" .cu)
    programs+=("bench/$name") targets+=("bench_$name")
  done
  if [[ -e tests/plans/describe_card.cpp ]]; then programs+=(tests/plans/describe_card) targets+=(describe_card); fi
  cmake --preset hopper
  cmake --build --preset hopper -j "$(nproc)" --target "${targets[@]}"

  local stage=$pack/stage
  rm -rf "$stage"
  mkdir -p "$stage/bin" "$stage/datasets"
  (cd build/hopper && install -s -t "../../$stage/bin" "${programs[@]}")
  local libraries
  mapfile -t libraries < <(libraries_of "$stage"/bin/*)
  install -D -m 644 -t "$stage/bin/lib" "${libraries[@]}"
  cp -r "$data" "$stage/datasets/"
  git describe --always --dirty --abbrev=12 >"$stage/version"
  # Python's: not every machine with a GPU has xz.
  python3 - "$stage" "$pack/pack.tar.xz" <<'PYTHON'
import sys, tarfile

def nobody(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry

with tarfile.open(sys.argv[2], "w:xz", preset=6) as archive:
    archive.add(sys.argv[1], arcname=".", filter=nobody)
PYTHON

  local glibc
  glibc=$(find "$stage/bin" -type f -exec objdump -T {} + | grep -oE 'GLIBC_2\.[0-9]+' | sort -uV | tail -1)
  printf '\npacked %s, for glibc %s and newer\n' "$(cat "$stage/version")" "${glibc#GLIBC_}"
  (cd "$stage" && find bin datasets -type f -printf '%s %p\n') | sort -k2 | awk '{ printf "%7.1f MiB  %s\n", $1 / 1048576, $2 }'
  rm -rf "$stage"
  printf '%s: %s MiB; the files of the project: %s MiB\n' "$pack/pack.tar.xz" "$(mebibytes "$pack/pack.tar.xz")" \
    "$(git ls-files -z | mebibytes --files0-from=-)"
}
mebibytes() { du -c --apparent-size --block-size=1 "$@" | awk 'END { printf "%.1f", $1 / 1048576 }'; }

if has pack; then
  [[ ${#parts[@]} -eq 1 ]] || fail "--pack goes alone: the other parts run where the GPU is"
  make_pack
  exit 0
fi

# --- the GPU machine -------------------------------------------------------------------------------------------------------------

gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null | head -1 || true)
[[ -n $gpu ]] || fail "nvidia-smi finds no GPU here: run scripts/gpu_check.sh --pack here, and this with build/gpu where the GPU is"
command -v python3 >/dev/null || fail "python3 compares and makes the table: install it"
[[ ${#parts[@]} -gt 0 ]] || parts=(parity study sanitize time)

if [[ -z $bin ]]; then
  [[ -e $pack/pack.tar.xz ]] || make_pack
  rm -rf "${pack:?}/bin" "$pack/datasets"
  python3 -m tarfile -e "$pack/pack.tar.xz" "$pack"
  bin=$pack/bin
fi
compgen -G "$bin/cuda_*_test" >/dev/null || fail "no cuda_*_test in $bin: give --bin the folder of the programs"
[[ -d $pack/datasets ]] && export MINDGAP_DATASETS=$PWD/$pack/datasets
mkdir -p "$out"
rm -f "$out"/*.log "$out"/results.jsonl
# A program finds the plans that an earlier one timed on this card; a copy of this folder in build/gpu spares the next run that.
plans=$out/plans
mkdir -p "$plans"
[[ ! -d $pack/plans ]] || cp -r "$pack/plans/." "$plans"
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

# Where CUDA's libraries are: Python's packages first, so that ours and PyTorch run on the same ones; then the toolkit.
cuda_libraries=$(python3 -c '
import glob, importlib.util
spec = importlib.util.find_spec("nvidia")
print(":".join(folder for root in (spec.submodule_search_locations if spec else []) for folder in sorted(glob.glob(root + "/*/lib"))))')
cuda_libraries=${cuda_libraries:+$cuda_libraries:}${CUDA_HOME:-/usr/local/cuda}/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

missing=$(LD_LIBRARY_PATH=$cuda_libraries ldd "$bin"/cuda_*_test "$bin/study" "$bin"/gpu_* 2>&1 | grep 'not found' | sort -u || true)
[[ -z $missing ]] || fail "the programs in $bin do not start here:
$missing
install these, add their folder to LD_LIBRARY_PATH, or remove $pack/pack.tar.xz to build here"

record() { printf '%s\n' "$1" >>"$out/results.jsonl"; }
# record_lines PROGRAM FILE: what a program of --time printed, JSON or text.
record_lines() {
  awk -v head="{\"part\": \"time\", \"program\": \"$1\", " '
    substr($0, 1, 1) == "{" { if (/}$/) print head substr($0, 2); next }
    NF { gsub(/[\\"]/, "\\\\&"); gsub(/[[:cntrl:]]/, " "); print head "\"text\": \"" $0 "\"}" }' "$2" >>"$out/results.jsonl"
}

# limited SECONDS COMMAND...: with CUDA's libraries; 124 or 137 where it had to be stopped.
limited() { timeout -k 5 "$1" env LD_LIBRARY_PATH="$cuda_libraries" MINDGAP_PLANS="$plans" "${@:2}"; }
outcome() {
  case $1 in
    0) echo passed ;;
    124 | 137) echo "OUT OF TIME" ;;
    *) echo "FAILED ($1)" ;;
  esac
}
# check PART NAME LOG SECONDS COMMAND...: a line for the reader, one for results.jsonl, the output in the log; shown where it failed.
check() {
  local part=$1 name=$2 log=$3 seconds=$4 code=0 start=$EPOCHREALTIME took
  printf '\n== %s %s\n' "$part" "$name" >>"$log"
  limited "$seconds" "${@:5}" >"$work/$part.output" 2>&1 || code=$?
  cat "$work/$part.output" >>"$log"
  took=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
  printf '  %-28s %-18s %6s s\n' "$name" "$(outcome $code)" "$took"
  record "{\"part\": \"$part\", \"name\": \"$name\", \"code\": $code, \"seconds\": $took}"
  [[ $code -eq 0 ]] && return
  printf -- '-- %s\n' "$name" >>"$work/$part.failures"
  awk -v lines="$(wc -l <"$work/$part.output")" 'NR <= 9 || NR > lines - 3; NR == 10 && lines > 12 { print "..." }' \
    "$work/$part.output" | cut -c1-300 >>"$work/$part.failures"
  return 1
}
failures() { [[ ! -s $work/$1.failures ]] || sed 's/^/    /' "$work/$1.failures"; }

parity() {
  local program passed=true
  for program in "$bin"/cuda_*_test; do
    # cuda_linear_test has cuDNN compile some 50 kernels of attention.
    check parity "$(basename "$program" _test)" "$out/parity.log" 150 "$program" --color_output=no --catch_system_errors=no || passed=false
  done
  failures parity
  $passed
}

study() {
  local device code=0
  for device in cuda cpu; do
    limited 120 "$bin/study" --config data/studies/parity.json --device $device --threads $((cores / 2)) --out "$work/study-$device" >"$work/study-$device.txt" 2>&1 &
  done
  wait -n || code=$?
  wait -n || code=$?
  cat "$work"/study-*.txt >"$out/study.log"
  if [[ $code -ne 0 ]]; then
    echo "  $(outcome $code)"
    tail -n 12 "$work"/study-*.txt | sed 's/^/    /'
    return 1
  fi
  python3 scripts/gpu_report.py study "$work/study-cpu" "$work/study-cuda" "$out/results.jsonl"
}

# Only our kernels are instrumented: cuDNN's and cuBLAS's are theirs, and many. The programs that call those come last: they
# repeat kernels of the others, and are slow here even so.
sanitize() {
  local sanitizer program run tool left deadline=$((SECONDS + 200)) memory=() races=() last=() passed=true
  local plans=$work/sanitized-plans  # timed under the tool, so of no use to anybody else
  sanitizer=$(PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin command -v compute-sanitizer) || {
    echo "  no compute-sanitizer: it is part of the CUDA toolkit (package cuda-sanitizer)"
    return 1
  }
  for program in "$bin"/cuda_*_test; do
    case $(basename "$program") in
      cuda_linear_test | cuda_models_test) last+=("memcheck $program") ;;
      *) memory+=("memcheck $program") races+=("racecheck $program") ;;
    esac
  done
  for run in "${memory[@]}" "${races[@]}" "${last[@]}"; do
    read -r tool program <<<"$run"
    left=$((deadline - SECONDS))
    check sanitize "$tool $(basename "$program" _test)" "$out/sanitize.log" $((left < 1 ? 1 : left < 80 ? left : 80)) \
      "$sanitizer" --tool "$tool" --error-exitcode 99 --print-limit 10 --report-api-errors no \
      --kernel-name kernel_substring=cuda_entry "$program" --color_output=no --catch_system_errors=no || passed=false
  done
  failures sanitize
  $passed
}

# Ours must pass; PyTorch's script is there for comparison, and what it could not do is left out of the table.
time_all() {
  local part passed=true peer=$pack/gpu_anchors.py
  for part in machine r50 r18 infer student unet any; do
    check time "gpu_anchors $part" "$out/time.log" 120 "$bin/gpu_anchors" $part || passed=false
    record_lines gpu_anchors "$work/time.output"
  done
  if [[ -x $bin/gpu_kernels ]]; then
    check time gpu_kernels "$out/time.log" 60 "$bin/gpu_kernels" || passed=false
    record_lines gpu_kernels "$work/time.output"
  fi
  if [[ ! -e $peer ]]; then
    echo "  no $peer: nothing to compare with"
  elif ! python3 -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then
    echo "  this python3 has no PyTorch: nothing to compare with"
  else
    for part in resnet infer; do
      timeout -k 5 160 python3 "$peer" $part >"$work/peer.output" 2>"$work/peer.errors" || echo "  PyTorch $part: $(outcome $?)"
      { printf '\n== PyTorch %s\n' $part && cat "$work/peer.output" "$work/peer.errors"; } >>"$out/time.log"
      record_lines pytorch <(grep '^{' "$work/peer.output")
    done
  fi
  failures time
  $passed
}

full() {
  local passed=true
  check full "study, reference" "$out/full.log" 400 "$bin/study" --config data/studies/reference.json --device cuda --precision bf16 \
    --out "$work/full" || passed=false
  cp "$work"/full/{results.csv,report.html} "$out" 2>/dev/null || true
  failures full
  echo "  to reach: 130 s"
  $passed
}

version=$(cat "$pack/version" 2>/dev/null || echo unknown)
printf 'gpu_check: %s; programs of %s\n' "$gpu" "$version"
record "{\"gpu\": \"$gpu\", \"version\": \"$version\"}"
[[ ! -x $bin/describe_card ]] || limited 20 "$bin/describe_card" >"$out/card.json" || true

# Three parts side by side: threads that wait for each other must not spin, nor each take all cores.
declare -A job
cores=$(($(nproc) < 4 ? 4 : $(nproc)))
for part in parity study sanitize; do
  has $part || continue
  OMP_NUM_THREADS=$((cores / 4)) OMP_WAIT_POLICY=passive $part >"$work/$part.txt" 2>&1 &
  job[$part]=$!
done
all_passed=true
verdict() {
  printf '\n== %s: %s (%d s)\n' "$1" "$2" $SECONDS
  record "{\"part\": \"$1\", \"verdict\": \"$2\"}"
  [[ $2 == passed ]] || all_passed=false
}
for part in parity study sanitize; do
  has $part || continue
  if wait "${job[$part]}"; then verdict $part passed; else verdict $part FAILED; fi
  cat "$work/$part.txt"
done
if has time; then
  if time_all >"$work/time.txt" 2>&1; then verdict time passed; else verdict time FAILED; fi
  cat "$work/time.txt"
  python3 scripts/gpu_report.py table "$out/results.jsonl"
fi
if has full; then
  if full >"$work/full.txt" 2>&1; then verdict full passed; else verdict full FAILED; fi
  cat "$work/full.txt"
fi
if ! $all_passed; then
  echo "gpu_check: not all parts passed; logs in $out"
  exit 1
fi
