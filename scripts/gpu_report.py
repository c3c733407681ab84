#!/usr/bin/env python3
"""What gpu_check.sh computes from what its programs leave; the standard library is enough.

  gpu_report.py study CPU CUDA RESULTS   two folders of apps/study, one a device: the same synthetic images, accuracies within the spread
                                         of the seeds. Appends its findings to RESULTS; exit code 1 where they differ
  gpu_report.py table RESULTS            work, ours, PyTorch eager and compiled, the ratio to the better one, the bar;
                                         what deterministic plans cost and dependent launches gain
"""
import csv
import json
import math
import pathlib
import statistics
import struct
import sys


def images(folder):
    """The bytes of a shard folder's images, chunk by chunk."""
    for chunk in sorted((folder / "synthetic").glob("chunk-*.safetensors")):
        data = chunk.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        begin, end = json.loads(data[8 : 8 + length])["images"]["data_offsets"]
        yield chunk.name, data[8 + length + begin : 8 + length + end]


def accuracies(folder):
    """Run without its seed -> accuracies in points, one a seed."""
    cells = {}
    with open(folder / "results.csv", newline="") as file:
        for row in csv.DictReader(file):
            cell = " ".join(row[key] for key in ("experiment", "direction", "split") if row[key])
            cells.setdefault(cell, {})[row["seed"]] = 100 * float(row["top1"])
    return cells


def study(cpu, cuda, results):
    findings, passed = [], True

    # The sampler is deterministic: f32 on both devices differs by rounding, which moves a pixel by a step of 255 at most, but for a few.
    ours, reference = dict(images(cuda)), dict(images(cpu))
    far = count = 0
    for name, bytes_ in reference.items():
        count += len(bytes_)
        far += sum(abs(a - b) > 1 for a, b in zip(bytes_, ours.get(name, b""))) if len(ours.get(name, b"")) == len(bytes_) else len(bytes_)
    share = far / count if count else 1.0
    same_images = share <= 0.001
    passed &= same_images
    print(f"  synthetic images: {100 * share:.4f} % of {count} pixels differ by more than 1 of 255 (limit 0.1 %): {'passed' if same_images else 'FAILED'}")
    findings.append({"finding": "pixels apart", "share": share, "limit": 0.001})

    # Students diverge by rounding, so that a device is one more draw: means over the seeds may differ as two means of other seeds may.
    a, b = accuracies(cpu), accuracies(cuda)
    if a.keys() != b.keys() or any(a[cell].keys() != b[cell].keys() for cell in a):
        print("  the two devices made other runs: FAILED")
        return findings, False
    variances = [statistics.variance(side[cell].values()) for side in (a, b) for cell in side if len(side[cell]) > 1]
    seeds = len(next(iter(a.values())))
    deviation = max(math.sqrt(statistics.fmean(variances)) if variances else 0, 0.5) * math.sqrt(2 / seeds)
    print(f"  accuracy, means of {seeds} seeds; two means of one device differ by {deviation:.2f} points (standard deviation)")
    for cell in sorted(a):
        mean_a, mean_b = statistics.fmean(a[cell].values()), statistics.fmean(b[cell].values())
        good = abs(mean_b - mean_a) <= 4 * deviation
        passed &= good
        print(f"    {cell:<24} CPU {mean_a:6.2f}   CUDA {mean_b:6.2f}   {mean_b - mean_a:+6.2f}{'' if good else '   FAILED, more than four deviations'}")
        findings.append({"finding": "accuracy", "run": cell, "cpu": a[cell], "cuda": b[cell]})
    shift = statistics.fmean(statistics.fmean(b[cell].values()) - statistics.fmean(a[cell].values()) for cell in a)
    good = abs(shift) <= 2 * deviation
    print(f"  all runs: {shift:+.2f} points, limit {2 * deviation:.2f}: {'passed' if good else 'FAILED'}")
    findings.append({"finding": "mean shift", "points": shift, "limit": 2 * deviation})
    return findings, passed and good


# Work: what both programs call it, its unit (ms and s: less is better), the bar of bench/README.md, where there are several the batch.
WORK = [
    ("copy, TB/s", "copy_TBps", None, None),
    ("bf16 product 8192, TFLOP/s", "matmul_bf16_TFLOPs", None, None),
    ("launch after launch, us", "launch_us", None, None),
    ("ResNet-50 training, images/s", "resnet50 train", "img_s", 6700),
    ("ResNet-18 32 px training", "resnet18 train", "img_s", 93000),
    ("ResNet-50 inference", "resnet50 infer", "img_s", 30000),
    ("student width 32, 28 px", "resnet18-w32 train", "img_s", None),
    ("U-Net of the demo, forward", "small unet fwd", "img_s", None),
    ("U-Net of the demo, training", "small unet train", "img_s", None),
    ("SD 1.5 U-Net, batch 16, ms", "unet", "ms", 30, 16),
    ("SD 1.5 U-Net, batch 2, ms", "unet", "ms", 6.0, 2),
    ("SD 1.5 decode of 8, ms", "vae decode", "ms", 46, 8),
    ("SD 1.5 encode of 8, ms", "vae encode", "ms", None, 8),
    ("SD 1.5 text of 16, ms", "clip text", "ms", None, 16),
    ("SD 1.5, 50 steps, images/s", "sd1.5 images", "img_s", 5.1),
    ("first image, s", "first image", "s", 8),
    ("first image, no plans yet, s", "first image, no plans yet", "s", 8),
]
LESS = ("ms", "s")


def table(results):
    lines = [json.loads(line) for line in open(results)]
    timed = [line for line in lines if line.get("part") == "time"]
    usual = [line for line in timed if "plans" not in line and "launches" not in line]

    # What ran from its start to its end is recorded with its name and seconds.
    usual += [{"program": "sample", "what": line["name"], "s": line["seconds"]} for line in timed
              if line.get("name", "").startswith("first image") and line.get("outcome") == "passed"]

    def best(is_peer, what, unit, batch=None, modes=None):
        """The best figure and its element type; of PyTorch or of us, a work and, for PyTorch, modes of it."""
        mine = [line for line in usual if (line.get("program") == "pytorch") == is_peer]
        if unit is None:
            figures = [(line[what], "") for line in mine if what in line]
        else:
            figures = [(line[unit], line.get("dt", "")) for line in mine if unit in line
                       and (line.get("what") == what or is_peer and line.get("what", "").startswith(what + " "))
                       and batch in (None, line.get("bs", line.get("b")))
                       and (modes is None or line.get("mode", "eager").split()[0] in modes)]
        return (min if unit in LESS else max)(figures, default=(None, ""))

    def shown(figure):
        return "-" if figure is None else f"{figure:,.2f}" if figure < 100 else f"{figure:,.0f}"

    print(f"\n{'work':<30}{'ours':>10}{'type':>6}{'eager':>10}{'compiled':>10}{'ratio':>8}{'bar':>9}")
    for title, what, unit, bar, *batch in WORK:
        ours, dtype = best(False, what, unit, *batch)
        eager, _ = best(True, what, unit, *batch, modes=("eager", "graph"))
        compiled, _ = best(True, what, unit, *batch, modes=("default", "compile", "reduce-overhead")) if unit else (None, "")
        peer = (min if unit in LESS else max)((figure for figure in (eager, compiled) if figure is not None), default=None)
        ratio = f"{peer / ours if unit in LESS else ours / peer:.2f}" if ours and peer else "-"
        print(f"{title:<30}{shown(ours):>10}{dtype:>6}{shown(eager):>10}{shown(compiled):>10}{ratio:>8}{shown(bar):>9}")

    def resnet18(lines):
        """Milliseconds of our training step in bf16."""
        return min((line["ms"] for line in lines if line.get("program") == "gpu_anchors" and line.get("what") == "resnet18 train"
                    and line.get("dt") == "bf16"), default=None)

    rate = resnet18(usual)
    free = resnet18([line for line in timed if line.get("plans") == "any"])
    serial = resnet18([line for line in timed if line.get("launches") == "serial"])
    if rate and free:
        print(f"deterministic plans cost {100 * (rate / free - 1):+.1f} % (ResNet-18 training, bf16)")
    if rate and serial:
        print(f"dependent launches gain {100 * (serial / rate - 1):+.1f} % (ResNet-18 training, bf16: {rate:.3f} ms, serial {serial:.3f} ms)")
    print("eager: PyTorch without compiling, as a CUDA graph where that is faster; ratio: how much faster than the faster of the two")


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "study":
        found, good = study(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4])
        with open(sys.argv[4], "a") as file:
            for finding in found:
                file.write(json.dumps({"part": "study", **finding}) + "\n")
        sys.exit(0 if good else 1)
    if len(sys.argv) == 3 and sys.argv[1] == "table":
        table(sys.argv[2])
        sys.exit(0)
    sys.exit(__doc__)
