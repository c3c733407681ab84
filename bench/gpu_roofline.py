#!/usr/bin/env python3
"""The least time that a ResNet training step and Stable Diffusion's networks can take on an H100, counted layer by layer: the
tables of bench/README.md.

A pass over memory takes its bytes over the copy rate; a convolution the longer of its bytes and its operations; a tensor
is read once and written once by each kernel that touches it (bf16, 2 bytes an element); kernels follow one another.
The passes are those that the headers in kernels/ describe. Nothing here was measured but the two rates and the efficiencies.

  gpu_roofline.py [resnet] [sd]      without arguments both
"""
import sys

COPY = 2.90e12  # bytes/s, read plus written, of a device copy
PEAK = 787e12  # FLOP/s of a bf16 product of 8192 cubed
LAUNCH = 2e-6  # s between two kernels of a graph
CACHE = 32e6  # bytes of what one pass read last that the next finds in the second-level cache, of 50 MB


def efficiency(c_in, c_out, kernel):
    """Of PEAK. cuDNN's 3x3 at 64 channels ran at 377 TFLOP/s, at 256 channels at 664; three channels fill 3 of the 8 that a
    tensor core takes at once."""
    if c_in < 8:
        return 0.48 * c_in / 8
    return 0.48 if kernel == 3 and min(c_in, c_out) <= 64 else 0.80


OURS = 0.50  # of PEAK: a kernel of ours with mma.sync, which reaches some 60 % of a Hopper's tensor cores
SECOND_LEVEL = 5.5e12  # bytes/s from the second-level cache to the multiprocessors, as others have measured


def fits_window(c_in, c_out, kernel, stride):
    return kernel == 3 and stride == 1 and c_in == c_out <= 64


def window_use(batch, size, channels):
    """What part of the tiles of kernels/conv_window.hpp is pixels of y, as its images_of() chooses."""
    height = 32 if channels == 64 else 64
    choices = [images for images in range(1, 9) if images == 1 or batch // images >= 128]
    tiles = lambda rows: -(-rows // height)
    rows = min(min(tiles(images * (size + 1) - 1) / images, tiles(size)) * height for images in choices)
    return size / rows * size / (-(-size // 8) * 8)


def forward(batch, size, c_in, c_out, kernel, stride):
    """FLOP, bytes and seconds of a convolution forward, whether memory bounds it, and whether the kernel that writes it gathers
    its moments: ours, where it takes less time than cuDNN's and a pass over y."""
    out = size // stride
    flop = 2 * batch * out * out * kernel * kernel * c_in * c_out
    # A 1x1 of stride 2 reads every fourth pixel.
    x = 2 * batch * c_in * (out * out if kernel == 1 else size * size)
    y = 2 * batch * c_out * out * out
    moved = x + y + 2 * c_in * c_out * kernel * kernel
    alone = max(flop / (PEAK * efficiency(c_in, c_out, kernel)), moved / COPY)
    # Each tile of ours, of 128 or 256 pixels by 128 or 64 channels, reads its rows of both sides whole, for every tap.
    rows, columns = (128, 128) if c_out > 64 else (256, 64)
    depth = kernel * kernel * c_in
    tiles = -(-batch * out * out // rows) * -(-c_out // columns)
    ours = max(flop / (PEAK * OURS), moved / COPY, 2 * tiles * (rows + columns) * depth / SECOND_LEVEL)
    if fits_window(c_in, c_out, kernel, stride):
        ours = min(ours, max(flop / (PEAK * OURS * window_use(batch, size, c_in)), moved / COPY))
    gathers = c_in % 32 == 0 and ours < alone + y / COPY
    seconds = ours if gathers else alone
    return flop, moved, seconds, moved / COPY >= seconds, gathers


def resnet(depths, bottleneck, pixels, large_stem, classes, width=64, channels=3):
    """Convolutions (name, pixels in, c_in, c_out, kernel, stride), norms (pixels, channels, epilogue), block inputs, classifier."""
    convs, norms, inputs = [], [], []

    def add(name, size, c_in, c_out, kernel, stride, epilogue):
        convs.append((name, size, c_in, c_out, kernel, stride))
        norms.append((size // stride, c_out, epilogue))
        return size // stride

    size = add("stem", pixels, channels, width, 7 if large_stem else 3, 2 if large_stem else 1, "relu")
    if large_stem:
        size //= 2
    c_in = width
    for stage, depth in enumerate(depths):
        planes = width << stage
        c_out = 4 * planes if bottleneck else planes
        for block in range(depth):
            stride = 2 if stage and not block else 1
            name = f"layer{stage + 1}"
            inputs.append((size, c_in))
            if stride != 1 or c_in != c_out:
                add(name + " shortcut", size, c_in, c_out, 1, stride, "none")
            if bottleneck:
                add(name, size, c_in, planes, 1, 1, "relu")
                out = add(name, size, planes, planes, 3, stride, "relu")
                add(name, out, planes, c_out, 1, 1, "relu_add")
            else:
                out = add(name, size, c_in, planes, 3, stride, "relu")
                add(name, out, planes, planes, 3, 1, "relu_add")
            size, c_in = out, c_out
    return convs, norms, inputs, (size, c_in, classes)


def convolutions(convs, batch):
    """Per direction: FLOP, bytes, seconds; and the seconds of layers that memory bounds."""
    rows = {"forward": [0, 0, 0, 0], "gradient of data": [0, 0, 0, 0], "gradient of weights": [0, 0, 0, 0]}
    for name, size, c_in, c_out, kernel, stride in convs:
        out = size // stride
        flop, moved, seconds, bound, _ = forward(batch, size, c_in, c_out, kernel, stride)
        row = rows["forward"]
        rows["forward"] = [row[0] + flop, row[1] + moved, row[2] + seconds, row[3] + (seconds if bound else 0)]
        # The gradient of a 1x1 of stride 2 writes all pixels.
        x_read = 2 * batch * c_in * (out * out if kernel == 1 else size * size)
        x = 2 * batch * c_in * size * size
        y = 2 * batch * c_out * out * out
        weights = c_in * c_out * kernel * kernel
        for direction, moved in (("gradient of data", y + x + 2 * weights), ("gradient of weights", x_read + y + 4 * weights)):
            if direction == "gradient of data" and name == "stem":
                continue  # images want no gradient
            compute = flop / (PEAK * efficiency(c_in, c_out, kernel))
            if direction == "gradient of data" and fits_window(c_in, c_out, kernel, stride):  # and a launch that turns weights
                compute = min(compute, flop / (PEAK * OURS * window_use(batch, size, c_in)) + LAUNCH)
            row = rows[direction]
            row[0] += flop
            row[1] += moved
            row[2] += max(compute, moved / COPY)
            row[3] += moved / COPY if moved / COPY > compute else 0
    return rows


def added(size, product):
    """Bytes that adding two gradients of that size takes: 1x1 products do it, cuDNN's 3x3 from 32 MiB on."""
    return size if product or size >= 32 << 20 else 3 * size


def bytes_of_passes(convs, norms, inputs, batch, classifier, large_stem, bottleneck):
    """Bytes by pass, in the order of a step."""
    elements = lambda epilogues: sum(batch * n * n * c for n, c, epilogue in norms if epilogue in epilogues)
    every, residual = elements({"relu", "relu_add", "none"}), elements({"relu_add"})
    # Where the convolution's kernel does not gather them.
    passed = sum(2 * batch * n * n * c for conv, (n, c, _) in zip(convs, norms) if not forward(batch, *conv[1:])[4])
    passes = {
        "norms: statistics (read x), where no convolution gathers them": passed,
        "norms: apply (read x and the shortcut, write y; at a shortcut also its sign, a bit)": 4 * every + 2.125 * residual,
        "norms: backward reduce (read grad y and x; at a shortcut also the sign of y, write its gradient)":
            4 * every + 2.125 * residual,
        "norms: backward apply (read dz and x, write grad x)": 6 * every,
        "norms: what the second passes find in the cache": -sum(
            min(CACHE, 2 * batch * n * n * c) + min(CACHE, 4 * batch * n * n * c) for n, c, _ in norms),
        "gradients of blocks' inputs added by the convolution that writes the second (read one), or by a pass (two, write one)":
            sum(added(2 * batch * n * n * c, bottleneck) for n, c in inputs),
    }
    if large_stem:
        stem = batch * norms[0][0] ** 2 * norms[0][1]
        passes["max pool, both directions (index of a byte)"] = 2 * stem + 3 * stem // 4 + 3 * stem // 4 + 2 * stem
    n, c, classes = classifier
    passes["average pool, classifier, loss"] = 2 * 2 * batch * n * n * c + 8 * 2 * batch * classes + 3 * 2 * classes * c
    return passes, passed, residual


def report(title, model, batch, large_stem, bars):
    convs, norms, inputs, classifier = model
    weights = sum(c_in * c_out * kernel * kernel for _, _, c_in, c_out, kernel, _ in convs) + classifier[1] * classifier[2]
    print(f"\n### {title}\n")
    print("| term | FLOP | GB | ms | of it bound by memory |\n|---|---|---|---|---|")
    total = 0
    for direction, (flop, moved, seconds, bound) in convolutions(convs, batch).items():
        print(f"| convolutions, {direction} | {flop / 1e12:.2f} T | {moved / 1e9:.2f} | {1e3 * seconds:.2f} | {1e3 * bound:.2f} |")
        total += seconds
    bottleneck = any(kernel == 1 and stride == 1 for *_, kernel, stride in convs)
    passes, passed, residual = bytes_of_passes(convs, norms, inputs, batch, classifier, large_stem, bottleneck)
    # Value, gradient and velocity read, value and velocity written, f32, and the bf16 copy of every matrix in the same pass.
    passes["optimizer (20 bytes an element) and working copies (2)"] = 22 * weights
    for what, moved in passes.items():
        print(f"| {what} | | {moved / 1e9:.2f} | {1e3 * moved / COPY:.2f} | |")
        total += moved / COPY
    # Forward: convolution, three of the norm, or two where the convolution gathers the moments. Backward: two convolutions,
    # three of the norm. Pools, classifier, loss, optimizer.
    gathered = sum(forward(batch, *conv[1:])[4] for conv in convs)
    launches = len(convs) * 9 - gathered + 20
    print(f"| launches, about {launches} of 2 us | | | {1e3 * launches * LAUNCH:.2f} | |")
    total += launches * LAUNCH
    print(f"| **floor** | | | **{1e3 * total:.1f}** = {batch / total:,.0f} images/s | |")
    for name, bar in bars:
        print(f"| {name}: {bar:,} images/s | | | {1e3 * batch / bar:.1f} | |")

    ms = lambda moved: f"{1e3 * moved / COPY:.2f}"
    relu = sum(batch * n * n * c for n, c, epilogue in norms if epilogue == "relu")
    print("\n| idea | bytes an element that it saves | ms |\n|---|---|---|")
    print(f"| statistics gathered by the kernel that writes x in the other {len(convs) - gathered} of {len(convs)} layers too, at "
          f"cuDNN's rate | 2 | {ms(passed)} |")
    print(f"| the gradient of a shortcut is grad y under its signs: not written, 1/8 byte read twice | 2 - 1/4 | "
          f"{ms(1.75 * residual)} |")
    print(f"| the reduction of a norm in the kernel that writes its grad y, where the next layer alone makes it | 2 | {ms(2 * relu)} |")
    narrow = sum(2 * batch * (size // stride) ** 2 * 9 * c_in * c_out for _, size, c_in, c_out, k, stride in convs
                 if k == 3 and c_in >= 8 and min(c_in, c_out) <= 64)
    print(f"| 3x3 convolutions of 64 channels at 0.80 of the peak, not 0.48, in all three directions | | "
          f"{1e3 * 3 * narrow / PEAK * (1 / 0.48 - 1 / 0.80):.2f} |")


def inference(model, batch, bar):
    """Batch norm folded into weights and bias, bias, ReLU and addition in epilogues: convolutions alone, shortcuts read."""
    convs, norms, _, _ = model
    seconds = moved = 0
    for name, size, c_in, c_out, kernel, stride in convs:
        flop, bytes_, *_ = forward(batch, size, c_in, c_out, kernel, stride)
        moved += bytes_
        seconds += max(flop / (PEAK * efficiency(c_in, c_out, kernel)), bytes_ / COPY)
    shortcut = sum(2 * batch * n * n * c for n, c, epilogue in norms if epilogue == "relu_add")
    epilogue = sum(2 * batch * n * n * c for n, c, _ in norms)
    pool = 2.5 * batch * norms[0][0] ** 2 * norms[0][1]
    folded = seconds + (shortcut + pool) / COPY + (len(convs) + 4) * LAUNCH
    apart = folded + 2 * epilogue / COPY + len(norms) * LAUNCH
    print("\n### ResNet-50 inference, 224 px, batch 256, bf16\n\n| | ms | images/s |\n|---|---|---|")
    print(f"| convolutions ({moved / 1e9:.1f} GB) | {1e3 * seconds:.2f} | |")
    print(f"| shortcuts read, max pool | {1e3 * (shortcut + pool) / COPY:.2f} | |")
    print(f"| **floor, norms folded into the convolutions** | **{1e3 * folded:.2f}** | {batch / folded:,.0f} |")
    print(f"| floor with a pass of its own for each norm (read and written again) | {1e3 * apart:.2f} | {batch / apart:,.0f} |")
    print(f"| bar | {1e3 * batch / bar:.2f} | {bar:,} |")


# ---- Stable Diffusion 1.5, f16


def attention_rate(tokens, keys):
    """FLOP/s that cuDNN 9.19 reached on an H100 for 16 images of 8 heads: 4,096 tokens of 40 channels, 1,024 of 80, 256 of 160 (here
    for 64 as well), and any to the 77 tokens of a text."""
    return 77e12 if keys < 128 else 292e12 if tokens >= 4096 else 341e12 if tokens >= 1024 else 161e12


LINEAR, ADDITIONS = "linear layers", "additions (read two, write one)"


class Sums:
    """What the layers of a network take: term -> FLOP, bytes, seconds, of them bound by memory; how many kernels run, and how many
    of these round a bias, which is f32, before a convolution or product."""

    def __init__(self, batch):
        self.batch, self.terms, self.launches, self.biases = batch, {}, 0, 0

    def add(self, term, flop, moved, rate=PEAK, launches=1, bias=False):
        compute, memory = flop / rate, moved / COPY
        bound = memory > compute or not flop
        row = self.terms.setdefault(term, [0, 0, 0, 0])
        for i, value in enumerate((flop, moved, memory if bound else compute, memory if bound else 0)):
            row[i] += value
        self.launches += launches + bias
        self.biases += bias

    def conv(self, size, c_in, c_out, kernel=3, stride=1):
        pixels = self.batch * size * size
        flop = 2 * pixels * kernel * kernel * c_in * c_out
        moved = 2 * (c_in * pixels * stride * stride + c_out * pixels + c_in * c_out * kernel * kernel)
        self.add("convolutions", flop, moved, PEAK * efficiency(c_in, c_out, kernel), bias=True)

    def linear(self, rows, c_in, c_out, bias=True):
        self.add(LINEAR, 2 * rows * c_in * c_out, 2 * (rows * (c_in + c_out) + c_in * c_out), 0.80 * PEAK, bias=bias)

    def group_norm(self, size, channels):
        x = 2 * self.batch * size * size * channels
        self.add("group norms: statistics (read x)", 0, x, launches=2)
        self.add("group norms: apply (read x, write y)", 0, 2 * x)
        self.add("group norms: what the second pass finds in the cache", 0, -min(CACHE, x), launches=0)

    def passes(self, term, elements):
        self.add(term, 0, 2 * elements)


def resnet_block(s, size, c_in, c_out, skip=0, time=0):
    """ResnetBlock2D: of c_in + skip channels."""
    pixels = s.batch * size * size
    s.group_norm(size, c_in + skip)
    s.conv(size, c_in + skip, c_out)
    if time:
        s.linear(s.batch, time, c_out)
    s.group_norm(size, c_out)
    s.conv(size, c_out, c_out)
    if c_in + skip != c_out:
        s.linear(pixels, c_in, c_out)
        if skip:  # a second product, added to the first
            s.add(LINEAR, 2 * pixels * skip * c_out, 2 * (pixels * (skip + 2 * c_out) + skip * c_out), 0.80 * PEAK)
    s.passes(ADDITIONS, 3 * pixels * c_out)


def transformer(s, size, channels, heads):
    """Transformer2DModel of one block, to a text of 77 tokens whose keys and values are there."""
    tokens = size * size
    rows = s.batch * tokens
    s.group_norm(size, channels)
    s.linear(rows, channels, channels)
    for keys in (tokens, 77):
        s.passes("layer norms (read x, write y)", 2 * rows * channels)
        for _ in range(3 if keys == tokens else 1):
            s.linear(rows, channels, channels, False)
        flop = 4 * rows * keys * channels
        s.add("attention", flop, 2 * (2 * rows + 2 * s.batch * keys) * channels + 4 * rows * heads, attention_rate(tokens, keys))
        s.linear(rows, channels, channels)
        s.passes(ADDITIONS, 3 * rows * channels)
    s.passes("layer norms (read x, write y)", 2 * rows * channels)
    s.linear(rows, channels, 8 * channels)
    s.passes("GEGLU (read both halves, write one)", 12 * rows * channels)
    s.linear(rows, 4 * channels, channels)
    s.passes(ADDITIONS, 3 * rows * channels)
    s.linear(rows, channels, channels)
    s.passes(ADDITIONS, 3 * rows * channels)


def upsampled(s, size, channels):
    s.passes("upsampling (read a quarter, write)", 1.25 * s.batch * 4 * size * size * channels)
    s.conv(2 * size, channels, channels)
    return 2 * size


def unet(batch, size=64, channels=(320, 640, 1280, 1280), layers=2, heads=8):
    """UNet2DConditionModel of version 1.5; attention on all levels but the last."""
    s, time = Sums(batch), 4 * channels[0]
    s.linear(batch, channels[0], time)
    s.linear(batch, time, time)
    s.launches += 3  # sines and cosines, two SiLU
    s.conv(size, 4, channels[0])
    skips, now = [channels[0]], channels[0]
    for level, c in enumerate(channels):
        for _ in range(layers):
            resnet_block(s, size, now, c, time=time)
            now = c
            if level < 3:
                transformer(s, size, c, heads)
            skips.append(c)
        if level < 3:
            size //= 2
            s.conv(size, c, c, stride=2)
            skips.append(c)
    resnet_block(s, size, now, now, time=time)
    transformer(s, size, now, heads)
    resnet_block(s, size, now, now, time=time)
    for level in reversed(range(4)):
        c = channels[level]
        for _ in range(layers + 1):
            resnet_block(s, size, now, c, skips.pop(), time)
            now = c
            if level < 3:
                transformer(s, size, c, heads)
        if level:
            size = upsampled(s, size, c)
    s.group_norm(size, now)
    s.conv(size, now, 4)
    s.launches += 2  # the sampler's step
    return s


def decoder(batch, size=64, channels=(512, 512, 256, 128), layers=3):
    """AutoencoderKL's of versions 1 and 2."""
    s, now = Sums(batch), channels[0]
    s.conv(size, 4, 4, kernel=1)
    s.conv(size, 4, now)
    resnet_block(s, size, now, now)
    # One head of 512 channels, for which cuDNN is not asked: a product, softmax, a product, for 64 MiB of scores at a time.
    rows, tokens = batch * size * size, size * size
    s.group_norm(size, now)
    for _ in range(3):
        s.linear(rows, now, now)
    scores = 2 * rows * tokens
    parts = -(-scores // (64 << 20))
    product = (2 * rows * tokens * now, 2 * 2 * rows * now + scores)
    for flop, moved in (product, (0, 2 * scores), product):
        s.add("attention", flop, moved, 0.80 * PEAK, parts)
    s.linear(rows, now, now)
    s.passes(ADDITIONS, 3 * rows * now)
    resnet_block(s, size, now, now)
    for level, c in enumerate(channels):
        for _ in range(layers):
            resnet_block(s, size, now, c)
            now = c
        if level < 3:
            size = upsampled(s, size, c)
    s.group_norm(size, now)
    s.conv(size, now, 3)
    return s


def print_sums(title, sums, bars):
    """The floor in seconds."""
    print(f"\n### {title}\n")
    print("| term | FLOP | GB | ms | of it bound by memory |\n|---|---|---|---|---|")
    for term, (flop, moved, seconds, bound) in sums.terms.items():
        of_products = (f" {flop / 1e12:.2f} T", f" {1e3 * bound:.2f}") if flop else ("", "")
        print(f"| {term} |{of_products[0]} | {moved / 1e9:.2f} | {1e3 * seconds:.2f} |{of_products[1]} |")
    flop, _, total, _ = map(sum, zip(*sums.terms.values()))
    print(f"| launches, {sums.launches} of 2 us | | | {1e3 * sums.launches * LAUNCH:.2f} | |")
    total += sums.launches * LAUNCH
    print(f"| **floor** | {flop / 1e12:.2f} T | | **{1e3 * total:.1f}** | |")
    for name, bar in bars:
        print(f"| {name} | | | {bar} | |")
    return total


def stable_diffusion():
    works = (("a step of the U-Net, batch 16", unet(16), (("bar", 30), ("dream", 26))),
             ("a step of the U-Net, batch 2", unet(2), (("bar", 6.0), ("dream", 5.0))),
             ("decoding 8 images to 512 px", decoder(8), (("bar", 46), ("dream", 40))))
    step, _, decode = (print_sums(f"Stable Diffusion 1.5, f16: {what}", sums, bars) for what, sums, bars in works)
    print("\n### Stable Diffusion 1.5, f16: 8 images of 512 px with guidance\n\n| | images/s |\n|---|---|")
    for what, calls in (("50 steps of PNDM, which calls the U-Net 51 times", 51), ("50 steps of DDIM", 50)):
        print(f"| floor, {what}, and decoding | {8 / (calls * step + decode):.2f} |")
    print("| bar | 5.1 |\n| dream | 6 |")
    print("\n| idea, ms that it saves | " + " | ".join(what for what, *_ in works) + " |\n|---|---|---|---|")
    for what, saved in (
            ("additions in the product or convolution before them, which reads one", lambda s: s.terms[ADDITIONS][2] * 2 / 3),
            ("biases kept in f16", lambda s: s.biases * LAUNCH),
            ("statistics of a group norm gathered by what writes x",
             lambda s: sum(row[2] for term, row in s.terms.items() if "statistics" in term or "finds in the cache" in term)),
            ("GEGLU in the product before it", lambda s: sum(row[2] for term, row in s.terms.items() if "GEGLU" in term))):
        print(f"| {what} | " + " | ".join(f"{1e3 * saved(sums):.2f}" for _, sums, _ in works) + " |")


def resnets():
    r50 = resnet([3, 4, 6, 3], True, 224, True, 1000)
    report("ResNet-50 training, 224 px, batch 256, bf16", r50, 256, True, (("bar", 6700), ("dream", 7500)))
    report("ResNet-18 training, 32 px, batch 512, bf16", resnet([2, 2, 2, 2], False, 32, False, 10), 512, False,
           (("bar", 93000), ("dream", 105000)))
    inference(r50, 256, 30000)


if __name__ == "__main__":
    which = sys.argv[1:] or ["resnet", "sd"]
    if "resnet" in which:
        resnets()
    if "sd" in which:
        stable_diffusion()
