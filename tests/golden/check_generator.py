"""Does diffusers load our generator folder and compute the same? By hand: python tests/golden/check_generator.py FOLDER [OUTPUT]

FOLDER  a generator folder: unet/config.json, unet/diffusion_pytorch_model.safetensors, scheduler/scheduler_config.json
OUTPUT  safetensors written by the C++ side: sample f32 [n, c, h, w], timestep f32 or i64 [n] (or [1]), class_labels i64 [n], output f32 [n, c, h, w].
        Without it, only loading is checked.
Prints the relative L2 error of `output` and of diffusers' own f32 against diffusers in float64; exits 1 where the first is over twice the second.
"""
import importlib
import json
import os
import sys

import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file


def main():
    folder = sys.argv[1]
    unet, info = UNet2DModel.from_pretrained(folder, subfolder="unet", output_loading_info=True, use_safetensors=True)
    wrong = {name: keys for name, keys in info.items() if keys}
    if wrong:
        sys.exit(f"unet: {wrong}")
    print(f"unet: {sum(p.numel() for p in unet.parameters())} parameters, every key matched")
    with open(os.path.join(folder, "scheduler", "scheduler_config.json")) as file:
        name = json.load(file)["_class_name"]
    scheduler = getattr(importlib.import_module("diffusers"), name).from_pretrained(folder, subfolder="scheduler")
    print(f"scheduler: {name}, {scheduler.config.beta_schedule}, {scheduler.config.prediction_type}")
    if len(sys.argv) < 3:
        return
    data = load_file(sys.argv[2])
    results = []
    for dtype in (torch.float64, torch.float32):
        with torch.no_grad():
            results.append(unet.to(dtype).eval()(data["sample"].to(dtype), data["timestep"], data["class_labels"]).sample.double())
    reference, own = results
    ours, theirs = [float((x - reference).norm() / reference.norm()) for x in (data["output"].double(), own)]
    print(f"relative error against float64: ours {ours:.2e}, diffusers in f32 {theirs:.2e}")
    sys.exit(ours > 2 * theirs)


if __name__ == "__main__":
    main()
