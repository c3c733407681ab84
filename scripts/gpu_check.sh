#!/usr/bin/env bash
# What only a GPU can show: parity with the CPU, memory errors and races in our kernels, speed beside PyTorch.
#
#   scripts/gpu_check.sh --pack                                          where nvcc is; needs no GPU
#   scripts/gpu_check.sh [PART...] [--bin DIR] [--out DIR] [--budget S]  where the GPU is; no part: parity, study, sanitize and time
#
#   --pack       builds for H100 and H200 and leaves build/gpu/pack.tar.xz: the programs, the libraries that another machine may
#                lack, Fashion-MNIST. Copy the project with build/gpu to the GPU; without a pack it builds there
#   --parity     every program of tests/cuda; one that fails runs again with MINDGAP_LAUNCHES=serial, where every kernel waits for
#                the one before it: what passes then wants a look at dependent launches
#   --study      data/studies/parity.json on CUDA and on the CPU: the same images, accuracies within the spread of the seeds
#   --sanitize   compute-sanitizer over our kernels in the programs of tests/cuda, but for Stable Diffusion's: memcheck, then racecheck;
#                after parity, by the plans that it left
#   --time       bench/gpu_anchors, ResNet-18 also with MINDGAP_LAUNCHES=serial, bench/gpu_kernels, sample from its start to the file of
#                one image of Stable Diffusion (made-up weights, 4.3 GB in the folder for temporary files), and a PyTorch script with
#                the same work, build/gpu/gpu_anchors.py, if it is there
#   --full       data/studies/reference.json in bf16, from a generator trained from nothing to the report, of which PyTorch took
#                361 s on one H100; only where it is named
#   --bin DIR    programs to run, instead of those of the pack
#   --out DIR    receives results.jsonl (all that was found, a line each), a log a part and the plans that were timed; default
#                build/gpu/out
#   --budget S   seconds that sanitize may take, default 200; programs that it does not reach are listed as not run, which alone
#                is no failure
#
# The four are meant to take less than some ten minutes, and PyTorch five more (estimates, not measurements): parity about one, with study beside
# it, sanitize no more than its 200 s, time the rest. The first three check results and share the GPU; the others have it alone.
# What hangs is stopped and costs its own part only. Libraries that would be missed later are looked for before anything runs. The
# network is not used. Exit code 0: all parts passed.
set -euo pipefail
export LC_ALL=C
pack=build/gpu
bin=''
out=''
budget=200
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
    --budget)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "$1 wants a number of seconds"
      budget=$2
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
unset MINDGAP_LAUNCHES  # set here for single runs, which are compared with those without
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
  local programs=(apps/study apps/sample bench/made_up_model) targets=(study sample bench_made_up_model) source name
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

linked=$(LD_LIBRARY_PATH=$cuda_libraries ldd "$bin"/cuda_*_test "$bin"/{study,sample,made_up_model} "$bin"/gpu_* 2>&1 || true)
missing=$(grep 'not found' <<<"$linked" | sort -u || true)
[[ -z $missing ]] || fail "the programs in $bin do not start here:
$missing
install these, add their folder to LD_LIBRARY_PATH, or remove $pack/pack.tar.xz to build here"

# library NAME [FOLDER...]: the file that a program would open: in CUDA's libraries, a FOLDER, the loader's list or its folders.
library() {
  local file
  while read -r file; do
    if [[ -e $file ]]; then
      echo "$file"
      return
    fi
  done < <(
    printf '%s\n' "$cuda_libraries" "${@:2}" | tr : '\n' | sed "s|\$|/$1|"
    PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null | awk -v name="$1" '$1 == name { print $NF }'
    printf '%s\n' {,/usr}/lib{,64,"/$(uname -m)-linux-gnu"}/"$1"
  )
}

cudnn=$(awk '$1 ~ /^libcudnn\.so/ && $3 ~ /^\// && !file { file = $3 } END { print file }' <<<"$linked")
cudnn=${cudnn:-$(library libcudnn.so.9)}
cudnn_version=$({ readlink -f "$cudnn" || true; } | sed -nE 's/.*\.so\.([0-9]+(\.[0-9]+)+)$/\1/p')

# What libraries open only when they run, so that ldd says nothing of it: the driver, and the compiler of cuDNN's kernels, of CUDA's
# major version, which cuDNN also looks for in packages beside its own.
[[ -n $(library libcuda.so.1) ]] || fail "no libcuda.so.1 here, the driver's part that computes: no program can use the GPU
install it (a container gets it with NVIDIA_DRIVER_CAPABILITIES=compute,utility), or add its folder to LD_LIBRARY_PATH"
nvrtc=$(sed -nE '/libcublas\.so/s/.*libcublas\.so\.([0-9]+) .*/libnvrtc.so.\1/p' <<<"$linked" | sort -u | head -1)
nvrtc=${nvrtc:-libnvrtc.so.13}
[[ -n $(library "$nvrtc" "${cudnn%/*}" "${cudnn%/*}"/../../{cuda_nvrtc,cu[0-9]*}/lib) ]] ||
  fail "no $nvrtc here: cuDNN compiles kernels with it, and has no plans for some calls without it (NOT_SUPPORTED_RUNTIME_PREREQUISITE_MISSING)
install it (apt: cuda-nvrtc of the programs' CUDA; pip: nvidia-cuda-nvrtc), or add its folder to LD_LIBRARY_PATH"

record() { printf '%s\n' "$1" >>"$out/results.jsonl"; }
# record_lines PROGRAM FILE [LAUNCHES]: what a program of --time printed, JSON or text.
record_lines() {
  awk -v head="{\"part\": \"time\", \"program\": \"$1\", ${3:+\"launches\": \"$3\", }" '
    substr($0, 1, 1) == "{" { if (/}$/) print head substr($0, 2); next }
    NF { gsub(/[\\"]/, "\\\\&"); gsub(/[[:cntrl:]]/, " "); print head "\"text\": \"" $0 "\"}" }' "$2" >>"$out/results.jsonl"
}

# limited SECONDS COMMAND...: with CUDA's libraries; 124 or 137 where it had to be stopped.
limited() { timeout -k 5 "$1" env LD_LIBRARY_PATH="$cuda_libraries" MINDGAP_AUTOTUNE_CACHE="$plans" "${@:2}"; }
outcome() {
  case $1 in
    0) echo passed ;;
    124 | 137) echo "${when_stopped:-OUT OF TIME}" ;;
    *) echo "FAILED ($1)" ;;
  esac
}
# report PART NAME OUTCOME [CODE SECONDS]: a line for the reader, one for results.jsonl.
report() {
  local shown=$3
  [[ $# -eq 3 ]] || printf -v shown '%-18s %6s s' "$3" "$5"
  printf '  %-28s %s\n' "$2" "$shown"
  record "{\"part\": \"$1\", \"name\": \"$2\", \"outcome\": \"$3\"${5:+, \"code\": $4, \"seconds\": $5}}"
}
# check PART NAME LOG SECONDS COMMAND...: reports what came of it; its output goes into the log, and is shown where it failed.
check() {
  local part=$1 name=$2 log=$3 seconds=$4 code=0 start=$EPOCHREALTIME took outcome
  printf '\n== %s %s\n' "$part" "$name" >>"$log"
  limited "$seconds" "${@:5}" >"$work/$part.output" 2>&1 || code=$?
  cat "$work/$part.output" >>"$log"
  # A tool that was stopped could not say by its exit code what it had found.
  if [[ $part$code =~ ^sanitize(124|137)$ ]] && grep -qE '^=+ +(Invalid|Error: Race)' "$work/$part.output"; then code=99; fi
  took=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
  outcome=$(outcome $code)
  report "$part" "$name" "$outcome" $code "$took"
  [[ $code -eq 0 || $outcome == "not run"* ]] && return
  printf -- '-- %s\n' "$name" >>"$work/$part.failures"
  awk -v lines="$(wc -l <"$work/$part.output")" 'NR <= 9 || NR > lines - 3; NR == 10 && lines > 12 { print "..." }' \
    "$work/$part.output" | cut -c1-300 >>"$work/$part.failures"
  return 1
}
failures() { [[ ! -s $work/$1.failures ]] || sed 's/^/    /' "$work/$1.failures"; }

parity() {
  local program name command passed=true limit
  for program in "$bin"/cuda_*_test; do
    name=$(basename "$program" _test)
    # cuda_linear_test has cuDNN compile some 50 kernels of attention; Stable Diffusion's networks run on the CPU as well.
    limit=150
    [[ $name != cuda_stable_diffusion ]] || limit=300
    command=("$out/parity.log" $limit "$program" --color_output=no --catch_system_errors=no)
    check parity "$name" "${command[@]}" && continue
    passed=false
    MINDGAP_LAUNCHES=serial check parity "$name serial" "${command[@]}" || continue
    echo "-- $name passes with MINDGAP_LAUNCHES=serial: look at dependent launches" >>"$work/parity.failures"
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
# repeat kernels of the others, and are slow here even so. What is timed under the tool is of no use to anybody else: the plans are
# a copy of those that others left, so that little is.
sanitize() {
  local sanitizer program run tool name left when_stopped deadline=$((SECONDS + budget)) memory=() races=() last=() passed=true
  cp -r "$plans" "$work/sanitized-plans" 2>/dev/null || true  # study may be replacing a file
  local plans=$work/sanitized-plans
  sanitizer=$(PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin command -v compute-sanitizer) || {
    echo "  no compute-sanitizer: it is part of the CUDA toolkit (package cuda-sanitizer)"
    return 1
  }
  for program in "$bin"/cuda_*_test; do
    case $(basename "$program") in
      cuda_stable_diffusion_test) ;;  # kernels of the others, on tensors that take too long
      cuda_linear_test | cuda_models_test) last+=("memcheck $program") ;;
      *) memory+=("memcheck $program") races+=("racecheck $program") ;;
    esac
  done
  for run in "${memory[@]}" "${races[@]}" "${last[@]}"; do
    read -r tool program <<<"$run"
    name="$tool $(basename "$program" _test)"
    left=$((deadline - SECONDS))
    if [[ $left -lt 1 ]]; then
      report sanitize "$name" "not run"
      continue
    fi
    [[ $left -ge 80 ]] || when_stopped="not run to its end"
    check sanitize "$name" "$out/sanitize.log" $((left < 80 ? left : 80)) \
      "$sanitizer" --tool "$tool" --error-exitcode 99 --print-limit 10 --report-api-errors no \
      --kernel-name kernel_substring=cuda_entry "$program" --color_output=no --catch_system_errors=no || passed=false
  done
  failures sanitize
  $passed
}

# anchors PART [serial]: what gpu_anchors makes of it, with dependent launches or without.
anchors() {
  local code=0 limit=120
  [[ $1 != sd ]] || limit=300  # cuDNN compiles kernels of attention, and 32 images are made
  MINDGAP_LAUNCHES=${2:-} check time "gpu_anchors $1${2:+ $2}" "$out/time.log" $limit "$bin/gpu_anchors" "$1" || code=$?
  record_lines gpu_anchors "$work/time.output" "${2:-}"
  return $code
}

# sample from its start to the file of one image, where nothing was timed before, and by the plans that this left.
first_image() {
  local plans=$work/first-plans name passed=true
  check time "made-up model" "$out/time.log" 120 "$bin/made_up_model" "$work/model" tests/golden/pipeline/tokenizer || return 1
  for name in "first image, no plans yet" "first image"; do
    check time "$name" "$out/time.log" 150 "$bin/sample" --model "$work/model" --prompt "a photo of a tabby cat" --device cuda \
      --precision bf16 --out "$work/first.png" || passed=false
  done
  rm -rf "$work/model"
  $passed
}

# Ours must pass; PyTorch's script is there for comparison, and what it could not do is left out of the table.
time_all() {
  local part passed=true peer=$pack/gpu_anchors.py
  for part in machine r50 r18 infer student unet sd any; do
    anchors $part || passed=false
    [[ $part != r18 ]] || anchors r18 serial || passed=false
  done
  if [[ -x $bin/gpu_kernels ]]; then
    check time gpu_kernels "$out/time.log" 60 "$bin/gpu_kernels" || passed=false
    record_lines gpu_kernels "$work/time.output"
  fi
  if [[ -x $bin/sample && -x $bin/made_up_model ]]; then first_image || passed=false; fi
  if [[ ! -e $peer ]]; then
    echo "  no $peer: nothing to compare with"
  elif ! python3 -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then
    echo "  this python3 has no PyTorch: nothing to compare with"
  else
    for part in resnet infer sd; do
      timeout -k 5 $([[ $part == sd ]] && echo 300 || echo 160) python3 "$peer" $part >"$work/peer.output" 2>"$work/peer.errors" || echo "  PyTorch $part: $(outcome $?)"
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
printf 'libcudnn: %s\n' "${cudnn:-unknown}${cudnn_version:+, $cudnn_version}"
record "{\"gpu\": \"$gpu\", \"version\": \"$version\", \"libcudnn\": \"${cudnn:-unknown}\", \"cudnn\": \"${cudnn_version:-unknown}\"}"
[[ ! -x $bin/describe_card ]] || limited 20 "$bin/describe_card" >"$out/card.json" || true

all_passed=true
verdict() {
  local not_run
  not_run=$(grep -c "\"part\": \"$1\".*\"outcome\": \"not run" "$out/results.jsonl" || true)
  [[ $not_run -gt 0 ]] || not_run=''
  printf '\n== %s: %s (%d s)\n' "$1" "$2${not_run:+, $not_run not run}" $SECONDS
  record "{\"part\": \"$1\", \"verdict\": \"$2\"${not_run:+, \"not_run\": $not_run}}"
  [[ $2 == passed ]] || all_passed=false
}
# Parts side by side: threads that wait for each other must not spin, nor each take all cores.
declare -A job
cores=$(($(nproc) < 4 ? 4 : $(nproc)))
start() {
  has "$1" || return 0
  OMP_NUM_THREADS=$((cores / 4)) OMP_WAIT_POLICY=passive "$1" >"$work/$1.txt" 2>&1 &
  job[$1]=$!
}
finish() {
  has "$1" || return 0
  if wait "${job[$1]}"; then verdict "$1" passed; else verdict "$1" FAILED; fi
  cat "$work/$1.txt"
}
start parity
start study
finish parity
start sanitize
finish study
finish sanitize
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
