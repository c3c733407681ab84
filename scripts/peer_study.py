#!/usr/bin/env python3
"""A finished study again in PyTorch, on the same images: do R, S and two swaps agree?

  pip install torch torchvision numpy scipy safetensors
  scripts/peer_study.py STUDY_FOLDER [--seeds 5] [--threads N]

STUDY_FOLDER is what `study --out STUDY_FOLDER` left; read of it are configuration.json, results.csv and synthetic/ (of several draws the first,
synthetic-<seed>/, and its rows). Real images are found as the study finds them: fashion-mnist in MINDGAP_DATASETS or /usr/share/datasets, or a folder of
IDX files.

The same here and there: the images of R, S and the test, drawn by the project's streams (golden_stream.py), and the recipe in configuration.json.
PyTorch's own: layers, initial weights, order of the images, flips and shifts, gradients, SGD, evaluation. So seed 1 here is not seed 1 there: where both
programs do the same, both are samples of one distribution, and their means are compared.
Not compared: the generator and its sampler (synthetic images are taken as they lie there), other experiments, top-5, loss, and any study but of a ResNet-18
with cosine schedule whose swaps freeze statistics and reinitialise the rest.

The four rows are R, S, and S -> R frozen up to layer3 and to layer4 (the last two splits, where the study has others). A finished run is a line of
STUDY_FOLDER/peer.csv and is not run again. Each row's difference of means has Welch's interval at 1 - 0.01/4: where nothing differs, all four hold 0 in at
least 99 of 100 cases. Exit code 0: all hold 0; 1: one does not, or something is missing.
"""
import argparse
import csv
import gzip
import hashlib
import json
import math
import os
import pathlib
import sys
import time

import numpy as np
import scipy.stats
import torch
from safetensors.numpy import load_file
from torch import nn
from torchvision.models.resnet import BasicBlock

from golden_stream import Stream

LEVEL = 0.99  # of the four intervals together
HELD_OUT_SEED = 0x4E1D007
RECIPE = ("width", "flip", "shift", "weight_decay", "label_smoothing", "warmup", "student")  # with the images, what peer.csv belongs to
PEER_COLUMNS = ("row", "seed", "top1", "seconds", "inputs")


def fail(message):
    sys.exit(f"peer_study: {message}")


# ---- images: include/mindgap/data/subset.hpp again --------------------------------------------------------------------
def permutation(n, stream):
    order, other = list(range(n)), stream.below(n, np.arange(1, n + 1))
    for i in range(n - 1, 0, -1):
        order[i], order[other[i]] = order[other[i]], order[i]
    return order


def stratified_order(labels, classes, seed, count):
    """The first `count` of it."""
    members = [np.flatnonzero(labels == c) for c in range(classes)]
    members = [m[permutation(len(m), Stream("subset", c, seed=seed))] for c, m in enumerate(members)]
    order, turn = [], 0
    while len(order) < min(count, len(labels)):
        order += [members[c][turn] for c in permutation(classes, Stream("subset round", turn, seed=seed)) if turn < len(members[c])]
        turn += 1
    return np.array(order[:count], np.int64)


def held_out_split(labels, classes):
    """-> the nine tenths and the tenth, both in the order of the set."""
    held_out, order = np.zeros(len(labels), bool), stratified_order(labels, classes, HELD_OUT_SEED, len(labels))
    for c in range(classes):
        of_class = order[labels[order] == c]
        held_out[of_class[: len(of_class) // 10]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def equal_counts(images, labels, classes, per_class, folder):
    if min(np.bincount(labels, minlength=classes)) < per_class:
        fail(f"{folder} lacks images: not every class has {per_class}")
    members = stratified_order(labels, classes, 0, per_class * classes)
    return images[members], labels[members]


def read_idx(folder, stem):
    for path in (folder / stem, folder / (stem + ".gz")):
        if path.exists():
            data = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
            return np.frombuffer(data, np.uint8, -1, 4 + 4 * data[3]).reshape(np.frombuffer(data, ">i4", data[3], 4))
    fail(f"{folder} has neither {stem} nor {stem}.gz")


def load_images(config, synthetic):
    """-> (images u8 [N, H, W, C], labels) of R, S and the test; the number of classes; the sampling seed."""
    manifest = json.loads((synthetic / "dataset.json").read_text())
    classes = len(manifest["class_names"])
    chunks = [load_file(path) for path in sorted(synthetic.glob("chunk-*.safetensors"))]
    if sum(len(chunk["labels"]) for chunk in chunks) < classes * manifest["images_per_class"]:
        fail(f"{synthetic} is not complete: let the study finish")
    folder = pathlib.Path(config["data"])
    if config["data"] == "fashion-mnist":
        folder = pathlib.Path(os.environ.get("MINDGAP_DATASETS") or "/usr/share/datasets") / "fashion-mnist"
    real, test = [(read_idx(folder, split + "-images-idx3-ubyte")[..., None], read_idx(folder, split + "-labels-idx1-ubyte").astype(np.int64))
                  for split in ("train", "t10k")]
    if config.get("held_out", False):
        fit, _ = held_out_split(real[1], classes)
        real = real[0][fit], real[1][fit]
    if config["test_images"]:
        members = stratified_order(test[1], classes, 0, config["test_images"])
        test = test[0][members], test[1][members]
    generated = [np.concatenate([chunk[key] for chunk in chunks]) for key in ("images", "labels")]
    sets = {name: equal_counts(*images, classes, config["per_class"], where) for name, images, where in (("R", real, folder), ("S", generated, synthetic))}
    return sets | {"test": test}, classes, manifest["seed"]


# ---- students ---------------------------------------------------------------------------------------------------------
class Student(nn.Module):
    """torchvision's ResNet-18 with its names and initial weights, of another width, with a 3x3 stem of stride 1 and no max-pool."""

    def __init__(self, width, channels, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(BasicBlock(width, width), BasicBlock(width, width))
        for stage in (2, 3, 4):
            shortcut = nn.Sequential(nn.Conv2d(width, 2 * width, 1, 2, bias=False), nn.BatchNorm2d(2 * width))
            setattr(self, f"layer{stage}", nn.Sequential(BasicBlock(width, 2 * width, 2, shortcut), BasicBlock(2 * width, 2 * width)))
            width *= 2
        self.fc = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # faster

    def forward(self, x):
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)).relu())))).mean((2, 3)))

    def units(self):
        """The stem, the blocks and the classifier, each a list of modules."""
        return [[self.conv1, self.bn1]] + [[block] for stage in (self.layer1, self.layer2, self.layer3, self.layer4) for block in stage] + [[self.fc]]


def tensors(images, labels):
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5, torch.from_numpy(labels)


def augmented(x, flip, shift, random):
    """Each image mirrored with probability 1/2 and moved by up to `shift` pixels; black comes in."""
    n, _, height, width = x.shape
    if flip:
        x = torch.where(torch.rand(n, 1, 1, 1, generator=random) < 0.5, x.flip(3), x)
    if shift:
        top, left = torch.randint(2 * shift + 1, (2, n, 1, 1), generator=random)
        x = nn.functional.pad(x, (shift,) * 4, value=-1.0)
        x = x[torch.arange(n)[:, None, None], :, top + torch.arange(height)[:, None], left + torch.arange(width)].permute(0, 3, 1, 2)
    return x


def steps_of(recipe, images):
    return max(recipe["epochs"] * (images // recipe["batch"] + (images % recipe["batch"] > 1)), recipe["minimum_steps"])


def train(student, frozen, images, labels, config, random, progress):
    """Trains all units but the first `frozen`, whose batch norms keep their statistics."""
    recipe = config["student"]
    peak = recipe["learning_rate"] if "learning_rate" in recipe else recipe["rate"]  # its older name
    student.train()
    for module in (module for unit in student.units()[:frozen] for module in unit):
        module.eval().requires_grad_(False)
    trained = [p for p in student.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trained if p.dim() > 1], "weight_decay": config["weight_decay"]}, {"params": [p for p in trained if p.dim() < 2]}]
    optimizer = torch.optim.SGD(groups, lr=peak, momentum=0.9, nesterov=True)
    loss_of = nn.CrossEntropyLoss(label_smoothing=config["label_smoothing"])
    steps, step = steps_of(recipe, len(labels)), 0
    warmup = int(config["warmup"] * (steps if config["warmup"] < 1 else 1))
    while step < steps:
        for part in torch.randperm(len(labels), generator=random).split(recipe["batch"]):
            if len(part) == 1 or step == steps:  # one image has no statistics
                break
            for group in optimizer.param_groups:
                group["lr"] = peak * min(1, (step + 1) / (warmup + 1)) * (1 + math.cos(math.pi * step / steps)) / 2
            loss = loss_of(student(augmented(images[part], config["flip"], config["shift"], random)), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            progress(step)
    if not math.isfinite(loss.item()):
        fail(f"the loss is {loss.item()}: the configured rate is too high")
    return student


@torch.no_grad()
def accuracy(student, images, labels):
    student.eval()
    return sum((student(x).argmax(1) == y).sum().item() for x, y in zip(images.split(250), labels.split(250))) / len(labels)


# ---- rows -------------------------------------------------------------------------------------------------------------
def read_csv(path, columns):
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        for column in columns:
            if column not in (reader.fieldnames or ()):
                fail(f"{path} lacks the column {column}")
        return list(reader)


def study_rows(path, sampling_seed, steps):
    """-> name: (frozen units, {seed: accuracy on the test images}) of R, S and two swaps."""
    found = {}
    for row in read_csv(path, ("experiment", "direction", "split", "frozen_units", "policy", "suffix_start", "seed", "top1")):
        swap = (row["experiment"], row["direction"], row["policy"], row["suffix_start"]) == ("E1", "S->R", "frozen", "reinitialise")
        of_draw = "S" not in row["direction"] or int(row.get("sampling_seed", sampling_seed)) == sampling_seed
        if not (swap or row["experiment"] == "E0") or not of_draw or row.get("measured_on", "test") != "test":
            continue
        name = f"{row['direction']} {row['split']}".strip()
        if int(row.get("steps", steps)) != steps:
            fail(f"{path}: {name} has {row['steps']} steps, by the configuration it should have {steps}")
        top1 = found.setdefault(name, (int(row["frozen_units"]), {}))[1]
        if row["seed"] in top1:
            fail(f"{path} has two rows of {name}, seed {row['seed']}")
        top1[row["seed"]] = float(row["top1"])
    splits = sorted((name for name in found if "->" in name), key=lambda name: found[name][0])
    if len(splits) < 2:
        fail(f"{path} has {len(splits)} splits of E1, S->R, with frozen statistics and a suffix reinitialised; wanted 2")
    usual = ["S->R layer3", "S->R layer4"]
    names = ["R", "S"] + (usual if set(usual) <= set(splits) else splits[-2:])
    for name in names:
        if len(found.get(name, (0, ()))[1]) < 2:
            fail(f"{path} has {len(found.get(name, (0, ()))[1])} rows of {name} on the test images, wanted 2 seeds or more")
    return {name: found[name] for name in names}


def read_peer(path, inputs):
    """-> (row, seed): (accuracy, seconds)"""
    rows = read_csv(path, PEER_COLUMNS) if path.exists() else []
    if any(row["inputs"] != inputs for row in rows):
        fail(f"{path} was made of other images or with another recipe: move it away")
    return {(row["row"], int(row["seed"])): (float(row["top1"]), float(row["seconds"])) for row in rows}


def write_peer(path, inputs, finished):
    part = path.with_name(path.name + ".part")
    with open(part, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(PEER_COLUMNS)
        out.writerows((*run, f"{top1:.6f}", f"{seconds:.1f}", inputs) for run, (top1, seconds) in finished.items())
    os.replace(part, path)


def run_all(rows, seeds, sets, classes, config, finished, keep):
    """What `finished` lacks, seed by seed; keep() after every run."""
    data = {name: tensors(*arrays) for name, arrays in sets.items()}
    steps = steps_of(config["student"], len(data["R"][1]))
    waiting = [(name, seed) for seed in range(1, seeds + 1) for name in rows if (name, seed) not in finished]
    begin = shown = time.time()
    done = 0  # steps of this call

    def progress(what, step):
        nonlocal shown
        if step == steps or time.time() - shown > 20:
            shown = time.time()
            rate = (done + step) / (shown - begin)
            left = (len(waiting) * steps - done - step) / rate
            print(f"{what:26} step {step} of {steps}, {rate:.1f} steps/s, {left / 60:.1f} min left", flush=True)

    def fresh(seed):
        torch.manual_seed(seed)
        return Student(config["width"], data["R"][0].shape[1], classes)

    def trained(student, name, seed, again=""):
        random = torch.Generator().manual_seed(2_000_000 + seed)
        return train(student, rows[name][0], *data["S" if name == "S" else "R"], config, random, lambda step: progress(f"{name} seed {seed}{again}", step))

    synthetic = {}  # the student S of the seed at hand
    for name, seed in waiting:
        start, frozen = time.time(), rows[name][0]
        if frozen and seed not in synthetic:
            synthetic = {seed: trained(fresh(seed), "S", seed, " again")}  # its row is from an earlier call
        student = fresh(1_000_000 + seed if frozen else seed)
        for unit, source in zip(student.units()[:frozen], synthetic[seed].units() if frozen else ()):
            for module, other in zip(unit, source):
                module.load_state_dict(other.state_dict())
        trained(student, name, seed)
        if name == "S":
            synthetic = {seed: student}
        done += steps
        finished[name, seed] = accuracy(student, *data["test"]), time.time() - start
        keep()
        print(f"{name} seed {seed}: {100 * finished[name, seed][0]:.2f} % in {finished[name, seed][1]:.1f} s", flush=True)


def compare(rows, seeds, finished):
    """Prints the table; -> the rows whose interval does not hold 0."""
    apart = []
    print(f"\n{'row':12} {'mindgap':>8} {'n':>3} {'PyTorch':>8} {'n':>3} {'difference':>11}   joint {100 * LEVEL:.0f} % interval, points")
    for name, (_, study) in rows.items():
        a, b = 100 * np.array(list(study.values())), 100 * np.array([finished[name, seed][0] for seed in range(1, seeds + 1)])
        of_a, of_b = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        difference, variance = a.mean() - b.mean(), of_a + of_b
        freedom = variance**2 / (of_a**2 / (len(a) - 1) + of_b**2 / (len(b) - 1)) if variance else 1
        half = scipy.stats.t.ppf(1 - (1 - LEVEL) / len(rows) / 2, freedom) * math.sqrt(variance)
        apart += [name] if abs(difference) > half else []
        print(f"{name:12} {a.mean():8.2f} {len(a):3} {b.mean():8.2f} {len(b):3} {difference:+11.2f}   ± {half:.2f}", *["does not hold 0"] * (name in apart))
    return apart


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, metavar="STUDY_FOLDER")
    parser.add_argument("--seeds", type=int, default=5, help="students a row (5); more make the intervals narrower")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch (all)")
    options = parser.parse_args()
    if options.seeds < 3 or options.threads < 1:
        fail("--seeds wants 3 or more, --threads 1 or more")
    torch.set_num_threads(options.threads)
    folder = options.folder
    draws = sorted((path for path in folder.glob("synthetic-*") if path.name[10:].isdigit()), key=lambda path: int(path.name[10:]))
    synthetic = draws[0] if draws else folder / "synthetic"
    for path in (folder, folder / "configuration.json", folder / "results.csv", synthetic / "dataset.json"):
        if not path.exists():
            fail(f"{path} is missing: STUDY_FOLDER is what `study --out STUDY_FOLDER` leaves")
    config = json.loads((folder / "configuration.json").read_text())
    for key in ("data", "per_class", "test_images", "model", "schedule", *RECIPE):
        if key not in config:
            fail(f"{folder / 'configuration.json'} lacks {key}")
    if (config["model"], config["schedule"]) != ("resnet18", "cosine"):
        fail(f"a {config['model']} with schedule {config['schedule']} is not made here, only a resnet18 with cosine")

    sets, classes, sampling_seed = load_images(config, synthetic)
    real, generated, test = [len(sets[name][1]) for name in ("R", "S", "test")]
    rows = study_rows(folder / "results.csv", sampling_seed, steps_of(config["student"], real))
    digest = hashlib.sha256(json.dumps([config[key] for key in RECIPE], sort_keys=True).encode())
    for array in (array for arrays in sets.values() for array in arrays):
        digest.update(np.ascontiguousarray(array).tobytes())
    peer, inputs = folder / "peer.csv", digest.hexdigest()[:16]
    finished = read_peer(peer, inputs)
    print(f"{real} real, {generated} synthetic ({synthetic.name}) and {test} test images; PyTorch {torch.__version__}, {options.threads} threads", flush=True)
    run_all(rows, options.seeds, sets, classes, config, finished, lambda: write_peer(peer, inputs, finished))
    apart = compare(rows, options.seeds, finished)
    if apart:
        fail("apart by more than chance: " + ", ".join(apart))
    print("all four intervals hold 0")


if __name__ == "__main__":
    main()
