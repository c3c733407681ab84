"""Sampler trajectories of diffusers with a closed-form model in place of the U-Net. A part of golden.py.

Model.  f(x, t) = a x + 0.3 x / (1 + x^2), u = t / 1000; a = u for "epsilon", 1 - u for "sample", 0.25 - 0.5 u for "v_prediction". x is what the scheduler
        hands to the model (Euler scales it), t is the entry of `timesteps`, which for Euler need not be whole.
Noise.  `initial` is Stream("golden:initial").normal, state 0 = initial * init_noise_sigma; step k (from 0) uses noise[k], Stream("golden:noise", k).normal.
        Both are stored, so a test of a sampler does not depend on the normals.
Reference. diffusers computes betas, sigmas and some steps in f32. Here its own modules run with every float32 read as float64 (`Wide`), and once
        more as they are; the relative L2 error of the latter, the largest of all states, is `error` of the case.
"""
import importlib
import json
import os
from contextlib import contextmanager

import numpy as np
import torch
from safetensors.numpy import save_file

from golden_stream import Stream

SHAPE = (2, 1, 4, 4)
MODULES = {"DDPMScheduler": "scheduling_ddpm", "DDIMScheduler": "scheduling_ddim", "DPMSolverMultistepScheduler": "scheduling_dpmsolver_multistep",
           "EulerDiscreteScheduler": "scheduling_euler_discrete"}
BETAS = {"linear": (1e-4, 0.02), "scaled_linear": (0.00085, 0.012), "squaredcos_cap_v2": (1e-4, 0.02)}


class Wide:
    """A module whose float32 is float64."""
    def __init__(self, module):
        self.module, self.float32 = module, module.float64

    def __getattr__(self, name):
        return getattr(self.module, name)


@contextmanager
def patched(module, **values):
    old = {name: getattr(module, name) for name in values}
    try:
        for name, value in values.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in old.items():
            setattr(module, name, value)


def model(prediction, x, t):
    u = float(t) / 1000
    a = {"epsilon": u, "sample": 1 - u, "v_prediction": 0.25 - 0.5 * u}[prediction]
    return a * x + 0.3 * x / (1 + x * x)


def run(case, initial, noise, wide):
    """-> config, timesteps, states [steps + 1, 32] as f64."""
    module = importlib.import_module("diffusers.schedulers." + MODULES[case["class"]])
    dtype = torch.float64 if wide else torch.float32
    drawn = []  # DDPM draws its own noise: hand it ours
    changes = {"randn_tensor": lambda *args, **kwargs: drawn[-1]} if hasattr(module, "randn_tensor") else {}
    if wide:
        changes.update(torch=Wide(torch), np=Wide(np))
    with patched(module, **changes):
        scheduler = getattr(module, case["class"])(**case["options"])
        scheduler.set_timesteps(case["steps"])
        x = torch.from_numpy(initial).to(dtype).reshape(SHAPE) * float(scheduler.init_noise_sigma)
        states = [x]
        for k, t in enumerate(scheduler.timesteps):
            drawn.append(torch.from_numpy(noise[k]).to(dtype).reshape(SHAPE))
            scaled = scheduler.scale_model_input(x, t)
            extra = {"eta": case["eta"]} if case["class"] == "DDIMScheduler" else {}
            x = scheduler.step(model(case["options"]["prediction_type"], scaled, t), t, x, **extra).prev_sample
            states.append(x)
        assert x.dtype == dtype, (case, x.dtype)
        return json.loads(scheduler.to_json_string()), scheduler.timesteps.double().numpy(), torch.stack(states).double().reshape(len(states), -1).numpy()


def cases():
    for schedule, (start, end) in BETAS.items():
        for prediction in ("epsilon", "v_prediction", "sample"):
            for spacing in ("leading", "linspace", "trailing"):
                common = dict(beta_schedule=schedule, beta_start=start, beta_end=end, prediction_type=prediction, timestep_spacing=spacing)
                for steps in (10, 25):
                    yield dict(name="ddpm", eta=1.0, steps=steps, options=dict(common, clip_sample=False), **{"class": "DDPMScheduler"})
                    for eta in (0.0, 0.5):
                        yield dict(name=f"ddim{eta:g}", eta=eta, steps=steps, options=dict(common, clip_sample=False), **{"class": "DDIMScheduler"})
                    yield dict(name="dpmpp2m", eta=0.0, steps=steps, options=common, **{"class": "DPMSolverMultistepScheduler"})
                    yield dict(name="euler", eta=0.0, steps=steps, options=common, **{"class": "EulerDiscreteScheduler"})
    # clipping of the predicted image, which is what diffusers' DDPM and DDIM do by default
    for schedule, prediction in (("linear", "epsilon"), ("squaredcos_cap_v2", "v_prediction"), ("squaredcos_cap_v2", "epsilon")):
        common = dict(beta_schedule=schedule, prediction_type=prediction, timestep_spacing="trailing")
        yield dict(name="ddpm_clip", eta=1.0, steps=10, options=common, **{"class": "DDPMScheduler"})
        yield dict(name="ddim_clip", eta=0.5, steps=10, options=common, **{"class": "DDIMScheduler"})
    # Stable Diffusion 1.x: steps start at 1 and end at alpha_cumprod[0] instead of 1
    common = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="epsilon", timestep_spacing="leading", steps_offset=1)
    yield dict(name="ddim_sd", eta=0.0, steps=25, options=dict(common, clip_sample=False, set_alpha_to_one=False), **{"class": "DDIMScheduler"})
    yield dict(name="dpmpp2m_sd", eta=0.0, steps=25, options=common, **{"class": "DPMSolverMultistepScheduler"})
    yield dict(name="euler_sd", eta=0.0, steps=25, options=common, **{"class": "EulerDiscreteScheduler"})


def make(out_folder):
    initial = Stream("golden:initial").normal(np.prod(SHAPE)).astype(np.float32).astype(np.float64)
    noise = np.stack([Stream("golden:noise", k).normal(np.prod(SHAPE)) for k in range(25)]).astype(np.float32).astype(np.float64)
    out = {"initial": initial, "noise": noise}
    listed, excluded = [], []
    for case in cases():
        options = case["options"]
        key = "-".join([case["name"], options["beta_schedule"], options["prediction_type"], options["timestep_spacing"], str(case["steps"])])
        config, timesteps, states = run(case, initial, noise, wide=True)
        _, own_timesteps, own = run(case, initial, noise, wide=False)
        assert np.abs(timesteps - own_timesteps).max() < 1e-3, key
        norm = lambda v: np.linalg.norm(v, axis=1)
        error = float((norm(own - states) / norm(states)).max())
        if not error < 1e-3:
            excluded.append((key, error))
            continue
        config = {name: value for name, value in config.items() if name != "_diffusers_version"}
        listed.append({"key": key, "eta": case["eta"], "steps": case["steps"], "error": float(f"{error:.2e}"), "bound": max(1e-5, float(f"{2 * error:.2e}")), "config": config})
        out["timesteps/" + key], out["states/" + key] = timesteps, states
    for schedule, (start, end) in BETAS.items():
        module = importlib.import_module("diffusers.schedulers.scheduling_ddim")
        with patched(module, torch=Wide(torch), np=Wide(np)):
            out["alphas_cumprod/" + schedule] = module.DDIMScheduler(beta_schedule=schedule, beta_start=start, beta_end=end).alphas_cumprod.numpy()
    path = os.path.join(out_folder, "samplers.safetensors")
    save_file({name: np.ascontiguousarray(out[name], dtype=np.float32) for name in sorted(out)}, path)
    with open(os.path.join(out_folder, "samplers.json"), "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(case, sort_keys=True) for case in listed) + "\n]\n")
    loose = [(case["key"], case["error"]) for case in listed if case["error"] > 5e-6]
    print(f"samplers: {len(listed)} cases, {os.path.getsize(path) / 1e6:.2f} MB; PyTorch's own f32 over 5e-6: {loose}; excluded: {excluded}")
