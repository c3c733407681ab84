#!/usr/bin/env python3
"""Registers of the kernels in tests/registers/kernels.cu, how many blocks of 256 threads they leave to a multiprocessor, and how
many bytes of loads such blocks have in flight: the table of bench/README.md, and the test that it stays so.

  bench/registers.py            the table for sm_90a; --all: in f16 and f32 as well
  bench/registers.py --check    fails where a kernel takes more registers than registers.json allows, spills or is not in it;
                                exits with 77 where nvcc is of another version than the bounds
  bench/registers.py --update   writes registers.json

Registers are what ptxas says, for sm_90a and sm_80. Bytes in flight are counted in the machine code: of the innermost loops that
load 8 bytes or more at once, the most that a thread has loaded and not yet used, whatever the source asked for. That takes
nvdisasm, of the CUDA toolkit; where it is missing, registers alone are shown and checked.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "tests/registers/kernels.cu"
BOUNDS = ROOT / "bench/registers.json"
ARCHITECTURES = ("sm_90a", "sm_80")
FLAGS = ["-std=c++20", "-O3", "-DNDEBUG", "--expt-relaxed-constexpr", "--extended-lambda", "-Xcompiler=-fopenmp"]
THREADS = 256
SIZES = {".128": 16, ".64": 8, ".U16": 2, ".S16": 2, ".U8": 1, ".S8": 1}  # bytes of a load; else 4


def find(tool, nvcc):
    """Beside nvcc, or on the path."""
    return shutil.which(tool, path=str(Path(nvcc).resolve().parent)) or shutil.which(tool)


def name_of(symbol):
    """cuda_entry<hot::max_pool> is called "max pool"; None for what is no entry of the list."""
    match = re.search(r"cuda_entry(?:_bounded)?IN3hot(\d+)(\w+)", symbol)
    return match[2][:int(match[1])].replace("_", " ") if match else None


def start(nvcc, architecture, folder):
    cubin = Path(folder) / f"{architecture}.cubin"
    command = [nvcc, *FLAGS, f"-I{ROOT / 'include'}", f"-arch={architecture}", "-Xptxas=-v", "-cubin", "-o", str(cubin), str(KERNELS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True), cubin


def what_ptxas_says(output):
    """Of each kernel: registers, bytes of static shared memory, bytes of local memory that spills (or arrays) take."""
    found = {}
    for block in output.split("Compiling entry function '")[1:]:
        if name := name_of(block.partition("'")[0]):
            number = lambda pattern: max((int(n) for n in re.findall(pattern, block)), default=0)
            found[name] = {"registers": number(r"Used (\d+) registers"), "shared": number(r"(\d+) bytes smem"),
                           "spills": number(r"(\d+) bytes (?:stack frame|spill stores)")}
    return found


def loops(code):
    """[begin, end) of the loops of a function that load 8 bytes at once and have no such loop inside; or all of it."""
    labels = {label: i for i, (label, operands) in enumerate(code) if operands is None}
    found = set()
    for i, (op, operands) in enumerate(code):
        if operands and op.startswith("BRA"):
            target = re.search(r"\.L_x_\d+", operands)
            begin = labels.get(target[0], i) if target else i
            if any(is_wide_load(op) for op, _ in code[begin:i]):
                found.add((begin, i))
    inner = [a for a in found if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in found)]
    return inner or [(0, len(code))]


def is_load(op):
    return re.match(r"LDG?\b", op) is not None


def is_wide_load(op):
    return is_load(op) and (".64" in op or ".128" in op)


def most_in_flight(code):
    """The most bytes between the loads and the first use of each, in an order that has no branches."""
    most, flight = 0, {}  # first register: (bytes, registers)
    for op, operands in code:
        if operands is None:
            continue
        to, _, rest = operands.partition(",")
        used = {int(n) for n in re.findall(r"\bR(\d+)\b", rest if is_load(op) else operands)}
        flight = {first: load for first, load in flight.items() if not used & load[1]}
        if is_load(op):
            size = next((size for part, size in SIZES.items() if part in op), 4)
            first = int(re.search(r"\d+", to)[0])
            flight[first] = size, set(range(first, first + max(1, size // 4)))
            most = max(most, sum(size for size, _ in flight.values()))
    return most


def bytes_in_flight(nvdisasm, cubin):
    """Of each kernel, bytes a thread; None where it copies to shared memory behind the threads' backs."""
    text = subprocess.run([nvdisasm, "-c", str(cubin)], capture_output=True, text=True, check=True).stdout
    found = {}
    for function in re.split(r"\n\.text\.", text)[1:]:
        if not (name := name_of(function.partition(":")[0])):
            continue
        code = []
        for line in function.partition("\n\t.section")[0].splitlines():
            if label := re.match(r"(\.L_x_\d+):", line):
                code.append((label[1], None))
            elif instruction := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)\s*(.*?);", line):
                code.append((instruction[1], instruction[2]))
        copies = any(op.startswith("LDGSTS") for op, _ in code)
        found[name] = None if copies else max(most_in_flight(code[begin:end]) for begin, end in loops(code))
    return found


def blocks_at_once(registers):
    """Of 65,536 registers in four parts, which a warp takes in units of 256; of 64 warps."""
    of_warp = -(-32 * max(registers, 1) // 256) * 256
    return min(4 * (65536 // 4 // of_warp), 64) // (THREADS // 32)


def measure(nvcc, nvdisasm):
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = {architecture: start(nvcc, architecture, folder) for architecture in ARCHITECTURES}
        for architecture, (run, cubin) in runs.items():
            output = run.communicate()[0]
            if run.returncode:
                sys.exit(f"registers: nvcc could not compile {KERNELS} for {architecture}\n{output}")
            measured[architecture] = what_ptxas_says(output)
            flights = bytes_in_flight(nvdisasm, cubin) if nvdisasm else {}
            for name, kernel in measured[architecture].items():
                kernel["in flight"] = flights.get(name)
    return measured


def table(kernels, everything):
    print("| kernel | registers | spills, bytes | static shared memory, bytes | blocks | in flight a thread, bytes | "
          "a multiprocessor, KiB |\n|---|---|---|---|---|---|---|")
    for name, k in kernels.items():
        if everything or not re.search(r" f(16|32)$", name):
            blocks, flight = blocks_at_once(k["registers"]), k["in flight"]
            print(f"| {name} | {k['registers']} | {k['spills']} | {k['shared']} | {blocks} | "
                  + (f"{flight} | {blocks * THREADS * flight / 1024:.0f} |" if flight else "| |"))


def check(measured, bounds, with_flight):
    failures = []
    for architecture, kernels in measured.items():
        allowed = bounds[architecture]
        for name, k in kernels.items():
            say = lambda what: failures.append(f"{architecture}: {name} {what}")
            if not (bound := allowed.get(name)):
                say("is not in registers.json")
                continue
            if k["spills"] > bound["spills"]:
                say(f"spills {k['spills']} bytes, not {bound['spills']}")
            if k["registers"] > bound["registers"]:
                say(f"takes {k['registers']} registers, not {bound['registers']}: {blocks_at_once(k['registers'])} blocks of {THREADS} "
                    f"threads at once, not {blocks_at_once(bound['registers'])}")
            if with_flight and (k["in flight"] or 0) < (bound["in flight"] or 0):
                say(f"has {k['in flight']} bytes of loads in flight, not {bound['in flight']}")
        failures += [f"{architecture}: {name} is in registers.json, but not in kernels.cu" for name in allowed if name not in kernels]
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nvcc", default=shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc")
    for flag in ("--all", "--check", "--update"):
        parser.add_argument(flag, action="store_true")
    flags = parser.parse_args()
    said = subprocess.run([flags.nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"release (\d+\.\d+)", said)[1]
    bounds = json.loads(BOUNDS.read_text()) if BOUNDS.exists() else {}
    if flags.check and bounds["nvcc"] != version:
        print(f"registers: skipped: the bounds are of nvcc {bounds['nvcc']}, this is {version}; other versions allot registers otherwise")
        sys.exit(77)

    nvdisasm = find("nvdisasm", flags.nvcc)
    if flags.update and not nvdisasm:
        sys.exit("registers: the bounds have bytes in flight, and nvdisasm, which shows them, is not here")
    measured = measure(flags.nvcc, nvdisasm)
    if flags.check:
        if failures := check(measured, bounds, nvdisasm is not None):
            sys.exit("\n".join(failures) + "\nregisters: where this is meant, run bench/registers.py --update")
        print(f"registers: {len(measured[ARCHITECTURES[0]])} kernels within their bounds, nvcc {version}"
              + ("" if nvdisasm else "; without nvdisasm, bytes in flight were not counted"))
    elif flags.update:
        line = lambda name, k: f'    "{name}": ' + json.dumps({key: k[key] for key in ("registers", "spills", "in flight")})
        parts = [f'  "{architecture}": {{\n' + ",\n".join(line(name, kernels[name]) for name in sorted(kernels)) + "\n  }"
                 for architecture, kernels in measured.items()]
        BOUNDS.write_text(f'{{\n  "nvcc": "{version}",\n' + ",\n".join(parts) + "\n}\n")
    else:
        table({name: measured[ARCHITECTURES[0]][name] for name in sorted(measured[ARCHITECTURES[0]])}, flags.all)


if __name__ == "__main__":
    main()
