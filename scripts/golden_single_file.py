"""What diffusers makes of the names of single-file checkpoints. A part of golden.py.

The names are written down here in the layout of CompVis' latent-diffusion (openaimodel.py, model.py) and OpenCLIP; diffusers' own converters say
what each is called in a folder. A line is: version, original name, name in the folder. A fused projection has three lines, for its thirds.
"""
import os
from types import SimpleNamespace

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as convert
from golden_stream import text_model_name
from transformers import CLIPTextConfig, CLIPTextModel

RESNET = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3", "skip_connection"]
UNET = dict(block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8, layers_per_block=2)
VAE = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)


def both(names):
    return [name + end for name in names for end in (".weight", ".bias")]


def unet_candidates(published):
    attention = sorted({key.split(".", 4)[4] for key in published if key.startswith("down_blocks.0.attentions.0.")})
    names = both(["time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2"])
    places = [f"input_blocks.{i}.0" for i in range(1, 12)] + ["middle_block.0", "middle_block.2"] + [f"output_blocks.{i}.0" for i in range(12)]
    names += both([f"{place}.{layer}" for place in places if place[-5:] not in ("s.3.0", "s.6.0", "s.9.0") or place.startswith("output") for layer in RESNET])
    names += both([f"input_blocks.{i}.0.op" for i in (3, 6, 9)] + ["output_blocks.2.1.conv", "output_blocks.5.2.conv", "output_blocks.8.2.conv"])
    attends = [f"input_blocks.{i}.1" for i in (1, 2, 4, 5, 7, 8)] + ["middle_block.1"] + [f"output_blocks.{i}.1" for i in range(3, 12)]
    return ["model.diffusion_model." + name for name in names + [f"{place}.{layer}" for place in attends for layer in attention]]


def vae_candidates():
    resnet = ["norm1", "conv1", "norm2", "conv2", "nin_shortcut"]
    names = ["quant_conv", "post_quant_conv"]
    for half, side, size, layers in (("encoder", "down", "downsample", 2), ("decoder", "up", "upsample", 3)):
        names += [f"{half}.{name}" for name in ("conv_in", "conv_out", "norm_out")]
        names += [f"{half}.mid.{block}.{name}" for block in ("block_1", "block_2") for name in resnet]
        names += [f"{half}.mid.attn_1.{name}" for name in ("norm", "q", "k", "v", "proj_out")]
        names += [f"{half}.{side}.{i}.block.{j}.{name}" for i in range(4) for j in range(layers) for name in resnet]
        names += [f"{half}.{side}.{i}.{size}.conv" for i in range(4)]
    return ["first_stage_model." + name for name in both(names)]


def openclip_candidates():
    layer = both(["ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj", "attn.out_proj"]) + ["attn.in_proj_weight", "attn.in_proj_bias"]
    names = ["token_embedding.weight", "positional_embedding", "ln_final.weight", "ln_final.bias"]
    return ["cond_stage_model.model." + name for name in names + [f"transformer.resblocks.{i}.{name}" for i in range(2) for name in layer]]


def tagged(names):
    """A tensor for each name that says which it is; three rows of a fused projection."""
    return {name: torch.tensor([[3 * i], [3 * i + 1], [3 * i + 2]]) if "in_proj" in name else torch.full((3, 1, 1, 1) if "attn_1" in name else (3, 1), 3 * i)
            for i, name in enumerate(names)}


def make(out_folder):
    lines = []

    def add(version, names, converted, published):
        assert set(published) <= set(converted), sorted(set(published) - set(converted))[:5]
        for ours in published:
            lines.append(f"{version} {names[int(converted[ours].reshape(-1)[0]) // 3]} {ours}")

    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**UNET).state_dict().keys(), AutoencoderKL(**VAE).state_dict().keys()
        text = CLIPTextModel(CLIPTextConfig(num_hidden_layers=2)).state_dict().keys()
    names = unet_candidates(unet)
    add("1", names, convert.convert_ldm_unet_checkpoint(tagged(names), UNET), unet)
    names = vae_candidates()
    add("1", names, convert.convert_ldm_vae_checkpoint(tagged(names), VAE), vae)
    names = openclip_candidates()
    converted = convert.convert_open_clip_checkpoint(SimpleNamespace(config=SimpleNamespace(hidden_size=1)), tagged(names))
    add("2", names, {text_model_name(key): value for key, value in converted.items()}, [text_model_name(key) for key in text])
    path = os.path.join(out_folder, "single_file.names.txt")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    print(f"single_file: {len(lines)} names, {os.path.getsize(path) / 1e6:.2f} MB")
