#!/usr/bin/env bash
# shared.sh NM OBJECT OBJECT: fails where both objects define a symbol of a kernel or an executor: of the two the linker would
# keep one, and one object would run the other's instructions.
set -euo pipefail
nm=$1
own='\b(kernel|expression|cpu::direct|cpu::amx)::|\b(run_range|run_serial|run_block|run_fibers|SerialBlock|Formula|exp_f32)\b'
weak() { "$nm" -C --defined-only "$1" | sed -nE 's/^[0-9a-f]+ [VWu] //p' | grep -E "$own" | sort -u; }
for object in "$2" "$3"; do
  [[ $(weak "$object" | wc -l) -gt 10 ]] || { echo "$object: its kernels were not found"; exit 1; }
done
shared=$(comm -12 <(weak "$2") <(weak "$3"))
[[ -z $shared ]] || { echo "$(wc -l <<<"$shared") symbols are in both objects:"; echo "$shared"; exit 1; }
