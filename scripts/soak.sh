#!/usr/bin/env bash
# Proves that a labelled set is the same however it was made: a tiny Stable Diffusion (tests/golden/pipeline) makes it in one run,
# and again in 8 shards side by side, in other batches, of which one at a time is killed, at 40 random moments, and started again.
# Both folders must have the same files, byte for byte. The resident memory of the one run is printed as it goes; after the last
# image it may be 2 % more than when the caches were full, which they are at the first images of the last class.
#   scripts/soak.sh [IMAGES [PROGRAM]]     IMAGES: default 20000, a multiple of 5; PROGRAM: default build/cpu/apps/sample
set -euo pipefail
images=${1:-20000}
project=$(realpath "$(dirname "$0")/..")
program=${2:-$project/build/cpu/apps/sample}
classes=5 shards=8 kills=40
[[ $images =~ ^[1-9][0-9]*$ && $((images % classes)) -eq 0 ]] || {
  echo "soak.sh: \"$images\" is no number of images, a multiple of $classes" >&2
  exit 2
}
[[ -x $program ]] || {
  echo "soak.sh: there is no program $program: build it, or name it" >&2
  exit 2
}
export OMP_NUM_THREADS=1
shopt -s nullglob
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
say() { printf 'soak: %s\n' "$*"; }

printf '%s\n' cat dog 'grey wall' bird 'über, "cat"' >"$folder/classes.txt"
make() { # make OUT [FLAG...]
  exec "$program" --model "$project/tests/golden/pipeline" --classes "$folder/classes.txt" --prompts 'a photo of a {name}' \
    --per-class $((images / classes)) --sampler euler_a --steps 2 --seed 3 --out "$folder/$1" "${@:2}" >>"$folder/$1.log" 2>&1
}
failed() {
  say "FAILED: $1"
  tail -n 5 "$folder"/*.log
  exit 1
}
count() { # sets made: the images in OUT; starts no process, so that it is quick
  local files=("$folder/$1"/images/*/*.png)
  made=${#files[@]}
}
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# The first image of the last class, and a few more, on which the allocator settles.
full_at=$((images - images / classes + images / 50))
start=$(milliseconds)
make whole --batch 5 &
pid=$! full=0 last=0 printed=0
while kill -0 $pid 2>/dev/null; do
  kib=$(awk '/^VmRSS/ { print $2 }' /proc/$pid/status 2>/dev/null || true)
  count whole
  if [[ -n $kib ]]; then
    last=$kib
    if ((made >= printed)); then
      say "$made images, $kib KiB"
      printed=$((made + images / 10))
    fi
    if ((full == 0 && made >= full_at)); then full=$kib; fi
  fi
  sleep 0.1
done
wait $pid || failed "the one run"
took=$(($(milliseconds) - start))
say "$images images in $took ms; resident $full KiB with full caches, $last KiB at the end"
((full > 0)) || failed "too few images to see the memory"
((last * 100 <= full * 102)) || failed "the memory grew by more than 2 %"

# Starts a shard again until it is through. What is killed while it writes to the disk takes its time to end.
shard() {
  local code=137 pid
  trap 'kill $pid 2>/dev/null; exit 1' TERM
  while [[ $code == 137 ]]; do
    make parts --batch 3 --shard "$1/$shards" &
    pid=$! code=0
    echo $pid >"$folder/pid.$1"
    wait $pid 2>/dev/null || code=$?
    [[ $code != 137 ]] || echo "$1" >>"$folder/killed"
  done
  return "$code"
}
start=$(milliseconds)
touch "$folder/killed"
pids=() dead=()
for ((i = 0; i < shards; ++i)); do : >"$folder/pid.$i"; done
for ((i = 0; i < shards; ++i)); do
  shard $i &
  pids+=($!)
done
# The moment of a kill is when so many images are made; the last is at nine tenths of them, when some shards still work.
sent=0 killed=()
while ((${#killed[@]} < kills)); do
  count parts
  if ((made == images)); then break; fi
  if ((made < images * (1000 * sent + RANDOM % 1000) / 1000 * 9 / 10 / kills)); then
    sleep 0.01
  else
    i=$((RANDOM % shards)) pid=
    read -r pid <"$folder/pid.$i" || true
    if [[ -n $pid && $pid != "${dead[i]:-}" ]] && kill -KILL "$pid" 2>/dev/null; then dead[i]=$pid sent=$((sent + 1)); fi
  fi
  mapfile -t killed <"$folder/killed"
done
for pid in "${pids[@]}"; do wait "$pid" || failed "a shard"; done
mapfile -t killed <"$folder/killed"
((${#killed[@]} >= kills)) || failed "all shards ended after ${#killed[@]} kills"
say "$shards shards, killed ${#killed[@]} times, in $(($(milliseconds) - start)) ms"
diff -r "$folder/whole" "$folder/parts" || failed "the folders differ"
(($(wc -l <"$folder/parts/manifest.jsonl") == images)) || failed "the manifest has not $images lines"
say "both have the same $(find "$folder/whole" -type f | wc -l) files"
