"""Makes tests/golden/ again from PyTorch, torchvision, diffusers and transformers. Usage: python scripts/golden.py [PART...]

Parts: resnet narrow unet samplers clip tokenizer condition autoencoder single_file pipeline pillow (all by default); full, by name only. Versions and the format of every file: tests/golden/README.md, which is written by hand.

Inputs. Weights are not stored; both sides make them from counter-based streams (golden_stream.py). With u = uniform(i) and
c = 2 u - 1, in double, rounded to f32 at the end, element i (row major in the *published* layout, a convolution is OIHW) of entry NAME is, from the
stream of seed 0 and purpose "golden:NAME":
  rank 2 or more      c * gain * sqrt(3 / fan_in), fan_in = product of all extents but the first; gain = 1,
                      but in a ResNet sqrt(2) for rank 4 and 0.2 for fc.weight
  *.running_mean      0.1 c           *.running_var  1 + 0.5 u         *.num_batches_tracked  0
  *.bias              0.2 c, but in a ResNet 2 + 0.2 c for norms (all but fc.bias)
  other rank 1        1 + 0.2 c (weights of norms)
The 2 keeps most numbers away from the kink of ReLU: a number that another order of additions moves across it changes a gradient by a jump, 1e-3 and
more of its norm, which would drown the rounding errors that these files are about.
A text encoder's ids are below(i, 100) of "golden:ids". Texts and latents are sqrt(3) c, too. Images and the U-Net's target are sqrt(3) c (purposes "golden:input" and "golden:target", NCHW); labels, time steps and class labels are below(i, count) of
"golden:labels", "golden:timesteps" and "golden:class_labels".

Reference. Each model runs in float64. Its inputs and weights are the f32 values above, so nothing but arithmetic differs. PyTorch's own error is measured in
f32 and under bf16 autocast, each the worse of the two memory formats. In bf16, convolutions and products take bf16 inputs, accumulate in f32 and
round once, as a CPU with bf16 instructions does: `Bf16Products` makes this so on every CPU, where PyTorch's fallback would add up in bf16.
"""
import json
import math
import os
import sys

import numpy as np
import torch
import torchvision
from safetensors.numpy import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from golden_stream import Stream, text_model_name

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden")
FULL = 512         # a tensor up to this size is stored whole; gradients of the narrow ResNet up to FULL_NARROW
FULL_NARROW = 10000
PROJECTIONS = 16   # random signs: projection k of element i is + where bit k of word(i) of "golden:signs" is set
SLICE = 64         # elements at positions floor(j * size / 64)
VANISHING = 5      # a tensor below 3e-3 of its group's rms (bias of keys: softmax does not see it) is rounding noise; this is its allowance
FEW = 16           # a tensor smaller than this has at least the median error of its group, a loss that of the output
LR, MOMENTUM, DECAY = 0.1, 0.9, 5e-4


# ---- inputs -----------------------------------------------------------------------------------------------------------
def centred(purpose, shape, scale):
    c = 2 * Stream(purpose).uniform(math.prod(shape)) - 1
    return torch.from_numpy((c * scale).astype(np.float32).reshape(shape))


def parameter(name, shape, resnet):
    u = Stream("golden:" + name).uniform(math.prod(shape))
    c = 2 * u - 1
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if len(shape) >= 2:
        gain = 0.2 if resnet and name == "fc.weight" else math.sqrt(2) if resnet and len(shape) == 4 else 1.0
        value = c * (gain * math.sqrt(3 / math.prod(shape[1:])))
    elif name.endswith("running_mean"):
        value = 0.1 * c
    elif name.endswith("running_var"):
        value = 1 + 0.5 * u
    elif name.endswith("bias"):
        value = 0.2 * c + (2 if resnet and name != "fc.bias" else 0)
    else:
        value = 1 + 0.2 * c
    return torch.from_numpy(value.astype(np.float32).reshape(shape))


def fill(model, resnet, published=lambda name: name):
    model.load_state_dict({name: parameter(published(name), tuple(v.shape), resnet) for name, v in model.state_dict().items()})
    return model


# ---- PyTorch's three ways ---------------------------------------------------------------------------------------------
class Bf16Products(TorchDispatchMode):
    """bf16 convolutions and products with f32 accumulation and one rounding, whatever the CPU."""
    aten = torch.ops.aten
    OPS = {aten.convolution.default, aten.convolution_backward.default, aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func not in self.OPS or not any(isinstance(a, torch.Tensor) and a.dtype == torch.bfloat16 for a in args):
            return func(*args, **(kwargs or {}))
        result = func(*[a.float() if isinstance(a, torch.Tensor) else a for a in args], **(kwargs or {}))
        if isinstance(result, tuple):
            return tuple(r if r is None else r.bfloat16() for r in result)
        return result.bfloat16()


def ways(make, run):
    """run(model, to) -> {key: tensor} in f64, and in f32 and bf16 in both memory formats; returns reference, [f32s], [bf16s]."""
    reference = run(make().double(), lambda x: x.double() if x.is_floating_point() else x)

    def both_layouts():
        return [run(make().to(memory_format=layout), lambda x: x.to(memory_format=layout) if x.dim() == 4 else x)
                for layout in (torch.contiguous_format, torch.channels_last)]

    f32 = both_layouts()
    with Bf16Products(), torch.autocast("cpu", torch.bfloat16):
        bf16 = both_layouts()
    return reference, f32, bf16


# ---- storage ----------------------------------------------------------------------------------------------------------
class Signs:
    words = np.zeros(0, np.uint32)

    @classmethod
    def project(cls, v):
        if len(cls.words) < len(v):
            cls.words = Stream("golden:signs").words(len(v))
        w = cls.words[:len(v)]
        return np.array([v[(w >> np.uint32(k)) & 1 == 1].sum() - v[(w >> np.uint32(k)) & 1 == 0].sum() for k in range(PROJECTIONS)])


def summary(v):
    """f64 [1 + 16 + 64]: norm, projections, slice."""
    v = v.reshape(-1)
    return np.concatenate([[np.linalg.norm(v)], Signs.project(v), v[np.arange(SLICE) * len(v) // SLICE]])


def error(got, ref, scale):
    """Relative L2 error of a whole tensor."""
    return np.linalg.norm(got - ref) / scale


def summary_error(got, ref, scale, size):
    """The estimate that a test can make from two summaries: the largest of three. Where the slice holds more than its share of the
    tensor's norm (fc.weight: the rows of four labels hold nearly all of it), it holds more than its share of the error."""
    d = np.abs(got - ref)
    grow = np.sqrt(size / SLICE)
    share = max(1.0, np.linalg.norm(ref[1 + PROJECTIONS:]) * grow / ref[0]) if ref[0] > 0 else 1.0
    return max(d[0] / scale, np.sqrt(np.mean(d[1:1 + PROJECTIONS]**2)) / scale, np.linalg.norm(d[1 + PROJECTIONS:]) * grow / share / scale)


def store(out, reference, f32, bf16, full=lambda key, size: False):
    """Adds KEY (whole) or summary/KEY, and error/KEY = [f32, bf16, scale]."""
    array = lambda x: x.detach().double().contiguous().numpy()
    group_of = lambda key: "/".join(key.split("/")[:2])
    reference = {key: array(value) for key, value in reference.items()}
    squares, errors = {}, {}
    for key, ref in reference.items():
        squares.setdefault(group_of(key), []).append(np.mean(ref**2))
    for key, ref in reference.items():
        floor = 3e-3 * math.sqrt(np.mean(squares[group_of(key)]) * ref.size)
        scale = max(np.linalg.norm(ref), floor)
        whole = ref.size <= FULL or full(key, ref.size)
        ref_summary = None if whole else summary(ref)
        measured = []
        for runs in (f32, bf16):
            e = 0.0
            for run in runs:
                got = array(run[key])
                e = max(e, error(got, ref, scale))
                if not whole:
                    e = max(e, summary_error(summary(got), ref_summary, scale, ref.size))
            measured.append(VANISHING * e if scale == floor else e)
        out[key if whole else "summary/" + key] = (ref if whole else ref_summary).astype(np.float32)
        errors[key] = np.array(measured + [scale])
    for key, e in errors.items():  # the error of a few numbers is luck
        if reference[key].size < FEW:
            like = [other for other in errors if group_of(other) == group_of(key).replace("/loss", "/logits" if "train/logits" in errors else "/output")]
            e[:2] = np.maximum(e[:2], np.median([errors[other][:2] for other in like], axis=0))
        out["error/" + key] = e.astype(np.float32)


def write(name, out):
    path = os.path.join(OUT, name + ".safetensors")
    save_file({key: np.ascontiguousarray(out[key]) for key in sorted(out)}, path)
    worst = {}
    for key, value in out.items():
        if key.startswith("error/"):
            group = "/".join(key.split("/")[1:3])
            worst[group] = np.maximum(worst.get(group, 0), value[:2])
    print(f"{name}: {os.path.getsize(path) / 1e6:.2f} MB, PyTorch's worst error f32, bf16: " + ", ".join(f"{g} {e[0]:.1e} {e[1]:.1e}" for g, e in worst.items()), flush=True)


def write_names(name, model, published=lambda name: name):
    with open(os.path.join(OUT, name + ".names.txt"), "w") as file:
        for key, value in model.state_dict().items():
            file.write(" ".join([published(key)] + [str(n) for n in value.shape]) + "\n")


# ---- ResNet -----------------------------------------------------------------------------------------------------------
def run_resnet(images, labels, steps, eval_gradient):
    """Keys MODE/WHAT[/NAME]: eval and train forward, the gradient of the cross-entropy, `steps` steps of SGD on the same batch."""
    def run(model, to):
        out, loss_of, x = {}, torch.nn.CrossEntropyLoss(), to(images)
        start = {n: p.detach().clone() for n, p in model.named_parameters()}

        def losses(mode):
            model.train(mode == "train")
            logits = model(x)
            loss = loss_of(logits.float() if logits.dtype == torch.bfloat16 else logits, labels)
            return logits, loss

        logits, loss = losses("eval")
        out["eval/logits"], out["eval/loss"] = logits, loss.reshape(1)
        if eval_gradient:
            loss.backward()
            out.update({"eval/grad/" + n: p.grad.clone() for n, p in model.named_parameters()})
        matrices = [p for p in model.parameters() if p.dim() >= 2]
        optimizer = torch.optim.SGD([{"params": matrices, "weight_decay": DECAY}, {"params": [p for p in model.parameters() if p.dim() < 2]}],
                                    LR, momentum=MOMENTUM, nesterov=True)
        train_losses = []
        for step in range(steps):
            logits, loss = losses("train")
            optimizer.zero_grad()
            loss.backward()
            train_losses.append(loss.reshape(1))
            if step == 0:
                out["train/logits"] = logits
                out.update({"train/grad/" + n: p.grad.clone() for n, p in model.named_parameters()})
            optimizer.step()
            if step in (0, steps - 1):
                tag = f"train/step{step + 1}/"
                out.update({tag + n: p.detach().double() - start[n].double() for n, p in model.named_parameters()})
                out.update({f"train/running{step + 1}/" + n: b.detach().clone() for n, b in model.named_buffers() if b.is_floating_point()})
        out["train/loss"] = torch.cat(train_losses)
        return out
    return run


def narrow_resnet18(width, classes, channels):
    """torchvision's ResNet-18 with all widths times width / 64, a 3x3 stem of stride 1, no max-pool."""
    model = torchvision.models.resnet18(num_classes=classes)

    def rescale(module):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Conv2d):
                inputs = channels if child.in_channels == 3 else child.in_channels * width // 64
                k, stride, pad = (3, 1, 1) if child.kernel_size[0] == 7 else (child.kernel_size[0], child.stride[0], child.padding[0])
                setattr(module, name, torch.nn.Conv2d(inputs, child.out_channels * width // 64, k, stride, pad, bias=False))
            elif isinstance(child, torch.nn.BatchNorm2d):
                setattr(module, name, torch.nn.BatchNorm2d(child.num_features * width // 64))
            elif isinstance(child, torch.nn.Linear):
                setattr(module, name, torch.nn.Linear(child.in_features * width // 64, classes))
            else:
                rescale(child)

    rescale(model)
    model.maxpool = torch.nn.Identity()
    return model


def make_resnet(name, build, image_shape, classes, steps, eval_gradient, full):
    images = centred("golden:input", image_shape, math.sqrt(3))
    labels = torch.from_numpy(Stream("golden:labels").below(image_shape[0], classes))
    results = ways(lambda: fill(build(), resnet=True), run_resnet(images, labels, steps, eval_gradient))
    out = {}
    store(out, *results, full)
    write(name, out)
    write_names(name, build())


# ---- U-Net ------------------------------------------------------------------------------------------------------------
UNETS = {
    "unet_small": dict(
        sample_size=28, in_channels=1, out_channels=1, block_out_channels=(32, 64, 64), layers_per_block=1, num_class_embeds=11, norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D")),
    # groups of 7 and 5 channels that straddle the border of a skip connection; 6 heads of 8
    "unet_middle": dict(
        sample_size=32, in_channels=1, out_channels=1, block_out_channels=(32, 48, 64), layers_per_block=2, num_class_embeds=11, norm_num_groups=16,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D")),
}


def make_unet(name, batch=3):
    from diffusers import UNet2DModel
    build = lambda: UNet2DModel(**UNETS[name])
    size = UNETS[name]["sample_size"]
    x, target = [centred("golden:" + p, (batch, 1, size, size), math.sqrt(3)) for p in ("input", "target")]
    t, y = [torch.from_numpy(Stream("golden:" + p).below(batch, n)) for p, n in (("timesteps", 1000), ("class_labels", 11))]

    def run(model, to):
        prediction = model(to(x), t, y).sample
        loss = (prediction.to(torch.promote_types(prediction.dtype, torch.float32)) - to(target)).square().mean()
        loss.backward()
        out = {"train/output": prediction, "train/loss": loss.reshape(1)}
        out.update({"train/grad/" + n: p.grad for n, p in model.named_parameters()})
        return out

    results = ways(lambda: fill(build(), resnet=False), run)
    out = {}
    store(out, *results, full=lambda key, size: key == "train/output")
    write(name, out)
    write_names(name, build())
    with open(os.path.join(OUT, name + ".json"), "w") as file:
        file.write(build().to_json_string())


# ---- Stable Diffusion's U-Net and autoencoder ---------------------------------------------------------------------------
CONDITIONS = {
    # as version 1: convolutional projections, one number of heads
    "unet_condition": dict(
        sample_size=16, block_out_channels=(32, 64, 64), layers_per_block=1, cross_attention_dim=24, attention_head_dim=4, norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")),
    # as version 2: linear projections, heads of one size
    "unet_condition_linear": dict(
        sample_size=12, block_out_channels=(32, 64), layers_per_block=2, cross_attention_dim=40, attention_head_dim=(2, 4), norm_num_groups=16,
        use_linear_projection=True, upcast_attention=True,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")),
}
AUTOENCODER = dict(
    block_out_channels=(16, 32, 48), layers_per_block=1, norm_num_groups=8, sample_size=32,
    down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3)


def make_evaluated(name, build, run):
    """Forwards alone, whole."""
    def without_gradients(model, to):
        with torch.no_grad():
            return run(model.eval(), to)

    out = {}
    store(out, *ways(lambda: fill(build(), resnet=False), without_gradients), full=lambda key, size: True)
    write(name, out)
    write_names(name, build())
    with open(os.path.join(OUT, name + ".json"), "w") as file:
        file.write(build().to_json_string())


def make_unet_condition(name, batch=3, length=7):
    from diffusers import UNet2DConditionModel
    config = CONDITIONS[name]
    x = centred("golden:input", (batch, 4, config["sample_size"], config["sample_size"]), math.sqrt(3))
    text = centred("golden:text", (batch, length, config["cross_attention_dim"]), math.sqrt(3))
    t = torch.from_numpy(Stream("golden:timesteps").below(batch, 1000))
    make_evaluated(name, lambda: UNet2DConditionModel(**config), lambda model, to: {"eval/output": model(to(x), t, to(text)).sample})


def make_autoencoder(batch=2):
    from diffusers import AutoencoderKL
    images, large = [centred("golden:" + p, s, math.sqrt(3)) for p, s in (("input", (batch, 3, 32, 32)), ("large", (1, 3, 56, 40)))]
    latents, long = [centred("golden:" + p, s, math.sqrt(3)) for p, s in (("latents", (batch, 4, 8, 8)), ("long", (1, 4, 14, 10)))]

    def run(model, to):
        out = {"eval/moments": model.encode(to(images)).latent_dist.parameters, "eval/images": model.decode(to(latents)).sample}
        model.enable_tiling()
        out.update({"eval/tiled_moments": model.encode(to(large)).latent_dist.parameters, "eval/tiled_images": model.decode(to(long)).sample})
        return out

    make_evaluated("autoencoder", lambda: AutoencoderKL(**AUTOENCODER), run)


# ---- CLIP's text encoder ----------------------------------------------------------------------------------------------
CLIPS = {  # shaped as Stable Diffusion's: 1.x, and 2.x with its exact gelu
    "clip_text": dict(vocab_size=100, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=20),
    "clip_text_gelu": dict(vocab_size=100, hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=3,
                           max_position_embeddings=16, hidden_act="gelu"),
}


def make_clip_text(name, batch=3):
    from transformers import CLIPTextConfig, CLIPTextModel
    build = lambda: CLIPTextModel(CLIPTextConfig(**CLIPS[name])).eval()
    length = CLIPS[name]["max_position_embeddings"] - 2
    ids = torch.from_numpy(Stream("golden:ids").below(batch * length, 100)).reshape(batch, length)

    def run(model, to):
        with torch.no_grad():
            return {"eval/hidden": model(ids).last_hidden_state}

    out = {}
    store(out, *ways(lambda: fill(build(), False, text_model_name), run), full=lambda key, size: True)
    write(name, out)
    write_names(name, build(), text_model_name)
    with open(os.path.join(OUT, name + ".json"), "w") as file:
        file.write(build().config.to_json_string())


# ---- images in other sizes --------------------------------------------------------------------------------------------
RESIZES = [  # channels, height and width from, height and width to
    (3, 37, 53, 16, 20), (3, 20, 16, 53, 37), (1, 28, 28, 32, 32), (3, 32, 32, 28, 28), (3, 64, 48, 64, 31), (3, 64, 48, 17, 48),
    (1, 300, 7, 11, 5), (3, 1, 1, 9, 4), (3, 9, 4, 1, 1), (1, 50, 50, 50, 50), (3, 96, 96, 48, 48), (3, 128, 200, 127, 199),
    (3, 512, 512, 224, 224),
]


def make_pillow(name):
    import hashlib
    from PIL import Image
    cases = []
    for channels, h, w, height, width in RESIZES:
        # Words at random, and black and white alone: cubic lobes go far beyond both.
        noise = Stream("golden:pixels").below(h * w * channels, 256).astype(np.uint8)
        for kind, pixels in (("noise", noise), ("hard", noise // 128 * 255)):
            image = Image.fromarray(pixels.reshape((h, w, channels)[:3 if channels == 3 else 2]))
            for filter in ("box", "bilinear", "bicubic", "lanczos"):
                out = image.resize((width, height), getattr(Image.Resampling, filter.upper()))
                cases.append(dict(pixels=kind, filter=filter, channels=channels, size=[h, w], to=[height, width],
                                  sha256=hashlib.sha256(out.tobytes()).hexdigest()))
    with open(os.path.join(OUT, name + ".json"), "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


def main():
    parts = sys.argv[1:] or ["resnet", "narrow", "unet", "samplers", "clip", "tokenizer", "condition", "autoencoder", "single_file", "pipeline", "pillow"]
    os.makedirs(OUT, exist_ok=True)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    if "resnet" in parts:
        for name in ("resnet18", "resnet50"):
            make_resnet(name, getattr(torchvision.models, name), (4, 3, 64, 64), 1000, 1, False, lambda key, size: key.endswith("logits"))
    if "narrow" in parts:
        make_resnet("resnet18_w16", lambda: narrow_resnet18(16, 10, 1), (4, 1, 28, 28), 10, 3, True,
                    lambda key, size: key.startswith("train/grad/") and size <= FULL_NARROW)
    if "unet" in parts:
        for name in UNETS:
            make_unet(name)
    if "clip" in parts:
        for name in CLIPS:
            make_clip_text(name)
    if "condition" in parts:
        for name in CONDITIONS:
            make_unet_condition(name)
    if "autoencoder" in parts:
        make_autoencoder()
    if "single_file" in parts:
        import golden_single_file
        golden_single_file.make(OUT)
    if "full" in parts:
        import golden_full
        golden_full.make(OUT, parameter, centred, store, write)
    if "pipeline" in parts:
        import golden_pipeline
        golden_pipeline.make(OUT, fill, write, store)
    if "pillow" in parts:
        make_pillow("pillow_resize")
    if "samplers" in parts:
        import golden_samplers
        golden_samplers.make(OUT)
    if "tokenizer" in parts:
        import golden_tokenizer
        golden_tokenizer.make(OUT)


if __name__ == "__main__":
    main()
