"""Stable Diffusion's networks in their published sizes, with weights from counter-based streams. A part of golden.py, by name only: it takes
14 GB of memory and a quarter of an hour.

full.safetensors: for version 1.5 and 2.1 summaries of one U-Net step (64 x 64 and 96 x 96 latents), of a text encoding and, once, of the autoencoder's
two directions at 512 pixels; all of float64, with the error of PyTorch's f32.
"""
import gc
import math

import torch

TEXT = {"1": dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12),
        "2": dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16, hidden_act="gelu")}
UNET = {"1": dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        "2": dict(sample_size=96, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True, upcast_attention=True)}
VAE = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512, down_block_types=("DownEncoderBlock2D",) * 4,
           up_block_types=("UpDecoderBlock2D",) * 4)


def make(out_folder, parameter, centred, store, write):
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from golden_stream import Stream, text_model_name
    from transformers import CLIPTextConfig, CLIPTextModel
    reference, own = {}, {}

    def both(build, run, published=lambda name: name):
        with torch.device("meta"):
            model = build()
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        model.load_state_dict({name: parameter(published(name), shape, False) for name, shape in shapes.items()}, assign=True)
        for name, buffer in model.named_buffers():  # positions, which are no weights
            assert name.endswith("position_ids"), name
            module = model.get_submodule(name.rpartition(".")[0])
            module.position_ids = torch.arange(buffer.shape[-1]).reshape(buffer.shape)
        with torch.no_grad():
            own.update(run(model.eval(), lambda x: x))
            reference.update(run(model.double(), lambda x: x.double()))
        del model
        gc.collect()

    ids = torch.from_numpy(Stream("golden:ids").below(77, 49408)).reshape(1, 77)
    for version in ("1", "2"):
        both(lambda: CLIPTextModel(CLIPTextConfig(vocab_size=49408, **TEXT[version])), lambda model, to: {f"text{version}/hidden": model(ids).last_hidden_state}, text_model_name)
        size, channels = UNET[version]["sample_size"], UNET[version]["cross_attention_dim"]
        x, text = centred("golden:input", (1, 4, size, size), math.sqrt(3)), centred("golden:text", (1, 77, channels), math.sqrt(3))
        both(lambda: UNet2DConditionModel(**UNET[version]), lambda model, to: {f"unet{version}/output": model(to(x), torch.tensor([601]), to(text)).sample})
        print(f"version {version} done", flush=True)
    images, latents = centred("golden:input", (1, 3, 512, 512), math.sqrt(3)), centred("golden:latents", (1, 4, 64, 64), math.sqrt(3))
    both(lambda: AutoencoderKL(**VAE), lambda model, to: {"vae/moments": model.encode(to(images)).latent_dist.parameters, "vae/images": model.decode(to(latents)).sample})
    print("deviation of the pixels, of 255:", float(reference["vae/images"].clamp(-1, 1).std() * 127.5))
    out = {}
    store(out, reference, [own], [own])
    write("full", out)
