#!/usr/bin/env bash
# scripts/gpu_check.sh on a made-up machine: nvidia-smi, compute-sanitizer, CUDA's libraries and the programs are scripts and empty
# files in a folder of its own. It shows what runs when, what is reported and recorded, and with which exit code.
# gpu_check_test.sh PROJECT_FOLDER
set -euo pipefail
export LC_ALL=C
project=$(realpath "${1:?project folder}")
command -v python3 >/dev/null || {
  if [[ ${CI:-} == true ]]; then
    echo "no python3, which gpu_check.sh wants, and in CI nothing may be skipped"
    exit 1
  fi
  echo "skipped: gpu_check.sh wants python3"
  exit 77
}
made_up=$(mktemp -d)
export made_up
trap 'rm -rf "$made_up"' EXIT
unset under finds  # what compute-sanitizer here says to programs, and is told to find
wrong=0

# --- the machine -----------------------------------------------------------------------------------------------------------------

# script FILE...: the same program, from standard input, under each name.
script() {
  mkdir -p "$(dirname "$1")"
  { echo '#!/usr/bin/env bash' && cat; } >"$1"
  chmod +x "$1"
  local other
  for other in "${@:2}"; do install -D "$1" "$other"; done
}

# A copy, so that what lies in the project's build folder is neither used nor touched.
install -D -t "$made_up/project/scripts" "$project"/scripts/gpu_{check.sh,report.py}
mkdir -p "$made_up/project/tests/golden/pipeline/tokenizer"
install -D -t "$made_up/project/data/studies" "$project/data/studies/parity.json"
mkdir -p "$made_up/libraries" "$made_up/listed"
touch "$made_up"/libraries/{libcuda.so.1,libnvrtc.so.13,libcudnn.so.9.13.0}
ln -s libcudnn.so.9.13.0 "$made_up/libraries/libcudnn.so.9"
install -D /dev/null "$made_up/python/nvidia/__init__.py"  # hides CUDA's libraries of this machine's Python

script "$made_up/tools/nvidia-smi" <<<'echo "Made-up GPU, 580.00, 1000 MiB"'
script "$made_up/tools/ldconfig" <<'SCRIPT'
for file in "$made_up"/listed/*; do printf '\t%s (libc6,x86-64) => %s\n' "$(basename "$file")" "$file"; done
SCRIPT
script "$made_up/tools/compute-sanitizer" <<'SCRIPT'
while [[ $1 != */cuda_*_test ]]; do
  [[ $1 != --tool ]] || export under=$2
  shift
done
echo "========= COMPUTE-SANITIZER"
[[ " ${finds:-} " == *" $(basename "$1") "* ]] || exec "$@"
echo "========= Invalid __global__ read of size 4 bytes"
"$@"
exit 99
SCRIPT

# A test program notes in a diary when it began, by which launches and plans, and when it ended; it leaves a plan.
script "$made_up"/{good,bad,quick}/cuda_a_test "$made_up"/bad/cuda_{b,c}_test "$made_up"/good/cuda_{slow,stable_diffusion}_test <<'SCRIPT'
name=$(basename "$0" _test)
plans=$MINDGAP_AUTOTUNE_CACHE/card.txt
mkdir -p "$MINDGAP_AUTOTUNE_CACHE"
run="${under:-alone} $name ${MINDGAP_LAUNCHES:-usual}"
echo "began $run, plans: $(cat "$plans" 2>/dev/null | xargs)" >>"$made_up/diary"
echo "${under:-alone}-$name" >>"$plans"
echo "Running 1 test case..."
case $name in
  cuda_b) [[ ${MINDGAP_LAUNCHES:-} == serial ]] || exit 3 ;;
  cuda_c) exit 4 ;;
  cuda_slow) sleep $([[ -n ${under:-} ]] && echo 30 || echo 1) ;;
esac
echo "ended $run" >>"$made_up/diary"
SCRIPT
script "$made_up/good/gpu_anchors" <<'SCRIPT'
train() { printf '{"what": "resnet18 train", "dt": "%s", "img_s": %s, "ms": %s}\n' "$@"; }
case $1${MINDGAP_LAUNCHES:+ $MINDGAP_LAUNCHES} in
  r18) train bf16 100000 5.120 && train f16 90000 5.689 ;;
  "r18 serial") train bf16 90909 5.632 && train f16 123456 4.147 ;;
  sd)
    for line in '"what": "unet", "bs": 16, "ms": 28.55' '"what": "unet", "bs": 2, "ms": 5.55' '"what": "sd1.5 images", "bs": 8, "img_s": 5.25, "ms": 1523.8'; do
      echo "{$line, \"dt\": \"f16\"}"
    done
    ;;
  any) echo '{"what": "resnet18 train", "plans": "any", "dt": "bf16", "ms": 4.923}' ;;
  *) echo '{"copy_TBps": 2.5}' ;;
esac
SCRIPT
# It wants the model that was made up before it, and is the first to time anything.
script "$made_up/good/made_up_model" <<'SCRIPT'
[[ -d $2 ]] && touch "$1"
SCRIPT
script "$made_up/good/sample" <<'SCRIPT'
[[ $1 == --model && -e $2 ]] || exit 5
echo "sample, plans: $(cat "$MINDGAP_AUTOTUNE_CACHE/card.txt" 2>/dev/null | xargs)" >>"$made_up/diary"
mkdir -p "$MINDGAP_AUTOTUNE_CACHE"
echo sample-plan >"$MINDGAP_AUTOTUNE_CACHE/card.txt"
SCRIPT
# PyTorch's script, which prints what the table compares with.
install -D /dev/null "$made_up/python/torch/__init__.py"
mkdir -p "$made_up/project/build/gpu"
cat >"$made_up/project/build/gpu/gpu_anchors.py" <<'SCRIPT'
import sys
if sys.argv[1] == "sd":
    print('{"what": "unet fp16", "b": 16, "mode": "eager", "ms": 57.1}')
    print('{"what": "unet fp16", "b": 16, "mode": "compile reduce-overhead", "ms": 37.115}')
    print('{"what": "unet fp16", "b": 2, "mode": "eager", "ms": 31.9}')
SCRIPT
# A study of one seed and of four pixels.
script "$made_up/good/study" <<'SCRIPT'
while [[ $1 != --out ]]; do shift; done
mkdir -p "$2/synthetic"
printf 'experiment,direction,split,seed,top1\nE0,,,1,0.8\n' >"$2/results.csv"
printf '\x21\0\0\0\0\0\0\0{"images":{"data_offsets":[0,4]}}abcd' >"$2/synthetic/chunk-0.safetensors"
SCRIPT

# --- what is expected of it ------------------------------------------------------------------------------------------------------

say_wrong() {
  printf 'WRONG: %s: %s\n' "$title" "$*"
  wrong=$((wrong + 1))
}
# gpu_check CASE CODE ARGUMENT...: runs it; its output in $made_up/output, its records in $records.
records=$made_up/out/results.jsonl
gpu_check() {
  title=$1
  local expected=$2 code=0
  : >"$made_up/diary"
  PATH=$made_up/tools:$PATH LD_LIBRARY_PATH=$made_up/libraries CUDA_HOME=$made_up/toolkit PYTHONPATH=$made_up/python \
    "$made_up/project/scripts/gpu_check.sh" --out "$made_up/out" "${@:3}" >"$made_up/output" 2>&1 || code=$?
  printf '\n--- %s (exit code %d)\n' "$title" $code
  cat "$made_up/output"
  [[ $code -eq $expected ]] || say_wrong "exit code $code, not $expected"
}
# says EXPRESSION..., recorded EXPRESSION...: each (extended) is a whole line of the output, or a record.
says() { lines_of "$made_up/output" "$@"; }
recorded() { lines_of "$records" "$@"; }
lines_of() {
  local expression
  for expression in "${@:2}"; do
    grep -qxE -e "$expression" "$1" || say_wrong "$(basename "$1") has no line: $expression"
  done
}
never() {
  local expression
  for expression in "$@"; do
    ! grep -hE -e "$expression" "$made_up/output" "$records" || say_wrong "there must be no line with: $expression"
  done
}

ends=' +[0-9]+\.[0-9] s'
numbers='"code": [0-9]+, "seconds": [0-9.]+}'

gpu_check "everything passes, sanitize does not reach all" 0 --bin "$made_up/good" --budget 3
cudnn=$made_up/libraries/libcudnn.so.9
says "gpu_check: Made-up GPU, .*" "libcudnn: $cudnn, 9\.13\.0"
recorded "{\"gpu\": \"Made-up GPU, .*\"libcudnn\": \"$cudnn\", \"cudnn\": \"9\.13\.0\"}"
says "== parity: passed \([0-9]+ s\)" "== study: passed .*" "== time: passed .*"
says "  memcheck cuda_a +passed$ends" "  memcheck cuda_slow +not run to its end$ends" "  racecheck cuda_a +not run" \
  "  racecheck cuda_slow +not run" "== sanitize: passed, 3 not run \([0-9]+ s\)"
recorded "{\"part\": \"sanitize\", \"name\": \"memcheck cuda_a\", \"outcome\": \"passed\", $numbers" \
  "{\"part\": \"sanitize\", \"name\": \"memcheck cuda_slow\", \"outcome\": \"not run to its end\", $numbers" \
  '{"part": "sanitize", "name": "racecheck cuda_a", "outcome": "not run"}' \
  '{"part": "sanitize", "name": "racecheck cuda_slow", "outcome": "not run"}' \
  '{"part": "sanitize", "verdict": "passed", "not_run": 3}' '{"part": "parity", "verdict": "passed"}'
never FAILED 'OUT OF TIME' 'check cuda_stable_diffusion'
# The order, and which plans the tool's runs begin with and leave.
[[ $(sed -n '/^ended alone/=' "$made_up/diary" | tail -1) -lt $(sed -n '/^began memcheck/=' "$made_up/diary" | head -1) ]] ||
  say_wrong "sanitize began before parity had ended"
left="alone-cuda_a alone-cuda_slow alone-cuda_stable_diffusion"
lines_of "$made_up/diary" "began memcheck cuda_a usual, plans: $left"
lines_of "$made_up/out/plans/card.txt" $left
! grep check "$made_up/out/plans/card.txt" || say_wrong "plans that were timed under the tool were kept"
# Launches: two runs, told apart.
says "  gpu_anchors r18 +passed$ends" "  gpu_anchors r18 serial +passed$ends"
recorded '{"part": "time", "program": "gpu_anchors", "what": "resnet18 train", "dt": "bf16", .*"ms": 5.120}' \
  '{"part": "time", "program": "gpu_anchors", "launches": "serial", "what": "resnet18 train", "dt": "bf16", .*"ms": 5.632}'
says "ResNet-18 32 px training +100,000 +bf16 .*" "deterministic plans cost \+4\.0 % .*" "dependent launches gain \+10\.0 % .*"
never '^ResNet-18 32 px training.*123,456'
# Stable Diffusion: milliseconds, of which fewer are better, of two batches; the first image by no plans, then by those it left.
says "SD 1.5 U-Net, batch 16, ms +28\.55 +f16 +57\.10 +37\.1[12] +1\.30 +30\.00" \
  "SD 1.5 U-Net, batch 2, ms +5\.55 +f16 +31\.90 +- +5\.75 +6\.00" "SD 1.5, 50 steps, images/s +5\.25 +f16 +- +- +- +5\.10" \
  "first image, s +[0-9.]+ +- +- +- +8\.00" "first image, no plans yet, s +[0-9.]+ +- +- +- +8\.00"
recorded "{\"part\": \"time\", \"name\": \"first image\", \"outcome\": \"passed\", $numbers"
[[ $(grep ^sample "$made_up/diary" | xargs) == "sample, plans: sample, plans: sample-plan" ]] || say_wrong "first images by other plans"
python3 -c 'import json, sys; [json.loads(line) for line in open(sys.argv[1])]' "$records" || say_wrong "a record is no JSON"

finds="cuda_a_test cuda_slow_test" gpu_check "sanitize alone, with findings" 1 --sanitize --bin "$made_up/good" --budget 3
lines_of "$made_up/diary" "began memcheck cuda_a usual, plans: $left"
says "  memcheck cuda_a +FAILED \(99\)$ends" "  memcheck cuda_slow +FAILED \(99\)$ends" "== sanitize: FAILED, 2 not run .*" \
  "    ========= Invalid __global__ read of size 4 bytes" "gpu_check: not all parts passed; .*"
recorded '{"part": "sanitize", "verdict": "FAILED", "not_run": 2}'

MINDGAP_LAUNCHES=serial gpu_check "parity fails, once for dependent launches" 1 --parity --bin "$made_up/bad"
says "  cuda_a +passed$ends" "  cuda_b +FAILED \(3\)$ends" "  cuda_b serial +passed$ends" "  cuda_c +FAILED \(4\)$ends" \
  "  cuda_c serial +FAILED \(4\)$ends" "    -- cuda_b passes with MINDGAP_LAUNCHES=serial: .*" "== parity: FAILED .*"
recorded "{\"part\": \"parity\", \"name\": \"cuda_b\", \"outcome\": \"FAILED \(3\)\", $numbers" \
  "{\"part\": \"parity\", \"name\": \"cuda_b serial\", \"outcome\": \"passed\", $numbers" '{"part": "parity", "verdict": "FAILED"}'
never 'cuda_a serial' 'cuda_c passes'
runs=$(grep began "$made_up/diary" | cut -d' ' -f3,4 | xargs)
[[ $runs == "cuda_a usual, cuda_b usual, cuda_b serial, cuda_c usual, cuda_c serial," ]] || say_wrong "other runs: $runs"

# Libraries that are opened late are missed early, unless the loader's own folders on this machine have them.
for library in libcuda.so.1 libnvrtc.so.13; do
  mv "$made_up/libraries/$library" "$made_up/listed"
  gpu_check "$library is in the loader's list" 0 --parity --bin "$made_up/quick"
  mv "$made_up/listed/$library" "$made_up"
  if compgen -G "/usr/lib*/$library" || compgen -G "/usr/lib*/*/$library"; then
    echo "not tested: this machine has $library"
  else
    gpu_check "$library is missing" 1 --parity --bin "$made_up/quick"
    says "gpu_check: no $library here.*" "install it .*, or add its folder to LD_LIBRARY_PATH"
    [[ ! -s $made_up/diary ]] || say_wrong "programs ran"
  fi
  mv "$made_up/$library" "$made_up/libraries"
done
gpu_check "a budget that is none" 1 --sanitize --bin "$made_up/good" --budget soon
says "gpu_check: --budget wants a number of seconds"

[[ $wrong -eq 0 ]] || {
  printf '\n%d expectations were not met\n' $wrong
  exit 1
}
