"""A tiny random Stable Diffusion in the published format, and what diffusers makes with it. A part of golden.py.

pipeline/           a folder as published: f16 weights, PNDM, the tokenizer of 300 merges
pipeline.safetensors  for each sampler the last latents [1, 4, 8, 8] and the image [1, 3, 16, 16] of one prompt, from StableDiffusionPipeline itself

Latents and noise are those of our image keys: Stream("latent", id, index) and Stream("noise", id, index, step) of the seed, elements in the order [h, w, c].
Reference: the pipeline in float64, the scheduler's module with every float32 read as float64 (golden_samplers.Wide).
"""
import importlib
import json
import os
import shutil

import numpy as np
import torch

from golden_samplers import Wide, patched
from golden_stream import Stream, hash64

SEED, CLASS, INDEX = 7, "n02123045", 3
PROMPT, NEGATIVE, GUIDANCE, STEPS = "a photo of a tabby cat, on the old grey wall", "blurry", 3.0, 6
UNET = dict(sample_size=8, block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=32, attention_head_dim=2, norm_num_groups=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
VAE = dict(block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, sample_size=16,
           down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)
TEXT = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=77)
SCHEDULER = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1)
SAMPLERS = {
    "ddpm": ("DDPMScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", dict(algorithm_type="sde-dpmsolver++")),
    "unipc": ("UniPCMultistepScheduler", {}),
}


def normal(size, *key):
    channels, height, width = size
    values = Stream(key[0], hash64(CLASS), INDEX, *key[1:], seed=SEED).normal(channels * height * width).astype(np.float32)
    return torch.from_numpy(values.reshape(1, height, width, channels).transpose(0, 3, 1, 2).copy())


def run(folder, sampler, dtype):
    from diffusers import StableDiffusionPipeline
    name, options = SAMPLERS[sampler]
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=dtype, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    module = importlib.import_module(getattr(importlib.import_module("diffusers"), name).__module__)
    step = [0]

    def drawn(shape, **_):
        step[0] += 1
        return normal(shape[1:], "noise", step[0] - 1).to(dtype)

    changes = {"randn_tensor": drawn} if hasattr(module, "randn_tensor") else {}
    if dtype == torch.float64:
        changes.update(torch=Wide(torch), np=Wide(np))
    with patched(module, **changes):
        with open(os.path.join(folder, "scheduler", "scheduler_config.json")) as file:
            config = {key: value for key, value in json.load(file).items() if not key.startswith("_")}
        pipe.scheduler = getattr(module, name).from_config(config, **options)
        # Latents that are given are taken as they are: the scale of the first ones is the pipeline's.
        latents = pipe(PROMPT, negative_prompt=NEGATIVE, guidance_scale=GUIDANCE, num_inference_steps=STEPS,
                       latents=normal((4, 8, 8), "latent").to(dtype), output_type="latent").images
        image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    return {f"{sampler}/latents": latents, f"{sampler}/image": image}


def make(out_folder, fill, write, store):
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
    folder = os.path.join(out_folder, "pipeline")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(os.path.join(out_folder, "tokenizer_small"), os.path.join(folder, "tokenizer"))
    with open(os.path.join(folder, "tokenizer", "vocab.json")) as file:
        size = len(json.load(file))
    filled = lambda model: fill(model, False).half().float()
    text = CLIPTextModel(CLIPTextConfig(vocab_size=size, bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1, **TEXT))
    pipe = StableDiffusionPipeline(
        vae=filled(AutoencoderKL(**VAE)), text_encoder=filled(text), tokenizer=CLIPTokenizer.from_pretrained(os.path.join(folder, "tokenizer")),
        unet=filled(UNet2DConditionModel(**UNET)), scheduler=PNDMScheduler(**SCHEDULER), safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    for name in ("vae", "text_encoder", "unet"):
        getattr(pipe, name).half().save_pretrained(os.path.join(folder, name))
    pipe.scheduler.save_pretrained(os.path.join(folder, "scheduler"))
    path = os.path.join(folder, "scheduler", "scheduler_config.json")
    with open(path) as file:
        scheduler = json.load(file)
    with open(path, "w") as file:  # as version 1.5 has it: of no concern to PNDM, but to those who take its file
        json.dump(dict(scheduler, clip_sample=False), file, indent=2)
    pipe.save_config(folder)
    reference, own = {}, {}
    with torch.no_grad():
        for sampler in SAMPLERS:
            reference.update(run(folder, sampler, torch.float64))
            own.update(run(folder, sampler, torch.float32))
    out = {}
    store(out, reference, [own], [own], full=lambda key, size: True)
    write("pipeline", out)
