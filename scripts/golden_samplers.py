"""Sampler trajectories of diffusers with a closed-form model in place of the U-Net. A part of golden.py.

Model.  f(x, t) = a x + 0.3 x / (1 + x^2), u = t / 1000; a = u for "epsilon", 1 - u for "sample", 0.25 - 0.5 u for "v_prediction". x is what the scheduler
        hands to the model (Euler scales it), t is the entry of `timesteps`, which for Euler need not be whole.
Noise.  `initial` is Stream("golden:initial").normal, state 0 = initial * init_noise_sigma; step k (from 0) uses noise[k], Stream("golden:noise", k).normal.
        Both are stored, so a test of a sampler does not depend on the normals.
Reference. diffusers computes betas, sigmas and some steps in f32. Here its own modules run with every float32 read as float64 (`Wide`), and once
        more as they are; the relative L2 error of the latter, the largest of all states, is `error` of the case.

samplers.* hold the first samplers, on three schedules of betas, in diffusers' units. samplers_more.* hold every other (sampler, spacing, grid of sigmas,
prediction) that diffusers has, zero terminal SNR, image to image and guidance rescale, with every state at unit variance: as the scheduler hands it to the model.
There the model is told the timesteps of the float32 run in both runs: where diffusers cuts them off to whole ones, the last bit decides which.
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
           "EulerDiscreteScheduler": "scheduling_euler_discrete", "PNDMScheduler": "scheduling_pndm", "LMSDiscreteScheduler": "scheduling_lms_discrete",
           "EulerAncestralDiscreteScheduler": "scheduling_euler_ancestral_discrete", "HeunDiscreteScheduler": "scheduling_heun_discrete",
           "UniPCMultistepScheduler": "scheduling_unipc_multistep"}
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


@contextmanager
def opened(case, wide, drawn):
    """-> the scheduler of a case with its timesteps set; the last of `drawn` is the noise that it draws."""
    module = importlib.import_module("diffusers.schedulers." + MODULES[case["class"]])
    changes = {"randn_tensor": lambda *args, **kwargs: drawn[-1]} if hasattr(module, "randn_tensor") else {}
    if wide:
        changes.update(torch=Wide(torch), np=Wide(np))
    with patched(module, **changes):
        scheduler = getattr(module, case["class"])(**case["options"])
        scheduler.set_timesteps(case["steps"])
        yield scheduler


def run(case, initial, noise, wide):
    """-> config, timesteps, states [steps + 1, 32] as f64."""
    dtype = torch.float64 if wide else torch.float32
    drawn = []
    with opened(case, wide, drawn) as scheduler:
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


def guided(case, x, t):
    """The model's answer, or that of guidance: `model` without the condition, 0.6 of it and 0.5 sin(3 x) with it. All elements are one image's."""
    without = model(case["options"]["prediction_type"], x, t)
    if "guidance" not in case:
        return without
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
    with_it = 0.6 * without + 0.5 * torch.sin(3 * x)
    answer, whole = without + case["guidance"] * (with_it - without), (1, -1, 4, 4)
    return rescale_noise_cfg(answer.reshape(whole), with_it.reshape(whole), case["guidance_rescale"]).reshape(SHAPE)


def run_more(case, initial, given, noise, told):
    """-> config, timesteps, states at unit variance; `told`: the timesteps of a run in float32, for one in float64."""
    wide = told is not None
    dtype = torch.float64 if wide else torch.float32
    as_tensor = lambda values: torch.from_numpy(values).to(dtype).reshape(SHAPE)
    drawn = []
    with opened(case, wide, drawn) as scheduler:
        if wide:
            scheduler.timesteps = torch.from_numpy(told).to(scheduler.timesteps.dtype)
        steps, strength = case["steps"], case.get("strength", 1.0)
        start = max(steps - min(int(steps * strength), steps), 0) * scheduler.order  # StableDiffusionImg2ImgPipeline.get_timesteps
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(start)
        timesteps = scheduler.timesteps[start:]
        if "strength" in case:
            x = scheduler.add_noise(as_tensor(given), as_tensor(initial), timesteps[:1])
        else:
            x = as_tensor(initial) * float(scheduler.init_noise_sigma)
        scaled = case["class"] in ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "LMSDiscreteScheduler", "HeunDiscreteScheduler")
        scale = [(float(scheduler.sigmas[start + k]) ** 2 + 1) ** 0.5 if scaled else 1.0 for k in range(len(timesteps) + 1)]
        states = [x / scale[0]]
        for k, t in enumerate(timesteps):
            drawn.append(as_tensor(noise[k % len(noise)]))  # PNDM and Heun ask more often than they have steps, and draw none
            answer = guided(case, scheduler.scale_model_input(x, t), t)
            extra = {"eta": case["eta"]} if case["class"] == "DDIMScheduler" else {}
            x = scheduler.step(answer, t, x, **extra).prev_sample
            states.append(x / scale[k + 1])
        assert x.dtype == dtype, (case, x.dtype)
        return json.loads(scheduler.to_json_string()), timesteps.double().numpy(), torch.stack(states).double().reshape(len(states), -1).numpy(), scheduler.timesteps.double().numpy()


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


SD = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
GRIDS = {"none": {}, "karras": {"use_karras_sigmas": True}, "exponential": {"use_exponential_sigmas": True}}
# name: class, options, whether it has grids of sigmas, predictions
MORE = {
    "ddpm": ("DDPMScheduler", dict(clip_sample=False), False, ("epsilon", "v_prediction", "sample")),
    "ddim": ("DDIMScheduler", dict(clip_sample=False), False, ("epsilon", "v_prediction", "sample")),
    "pndm": ("PNDMScheduler", dict(skip_prk_steps=True), False, ("epsilon", "v_prediction")),
    "lms": ("LMSDiscreteScheduler", {}, True, ("epsilon", "v_prediction", "sample")),
    "euler": ("EulerDiscreteScheduler", {}, True, ("epsilon", "v_prediction", "sample")),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}, False, ("epsilon", "v_prediction")),
    "heun": ("HeunDiscreteScheduler", {}, True, ("epsilon", "v_prediction", "sample")),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}, True, ("epsilon", "v_prediction", "sample")),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", dict(algorithm_type="sde-dpmsolver++"), True, ("epsilon", "v_prediction", "sample")),
    "unipc": ("UniPCMultistepScheduler", {}, True, ("epsilon", "v_prediction", "sample")),
}
ZERO_SNR = ("ddpm", "ddim", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_sde", "unipc")


def more_cases():
    def case(kind, name, steps, prediction, spacing, grid="none", **options):
        also = {key: options.pop(key) for key in ("strength", "guidance", "guidance_rescale") if key in options}
        class_name, own, _, _ = MORE[kind]
        key = "-".join([kind, name, prediction, spacing, grid, str(steps)])
        return {"key": key, "class": class_name, "eta": 0.0, "steps": steps, **also,
                "options": dict(SD, **own, prediction_type=prediction, timestep_spacing=spacing, **GRIDS[grid], **options)}

    # every tuple that samplers.* do not hold
    for kind, (_, _, grids, predictions) in MORE.items():
        for prediction in predictions:
            for spacing in ("linspace", "leading", "trailing"):
                for grid in GRIDS if grids else ("none",):
                    if grid == "none" and kind in ("ddpm", "ddim", "euler", "dpmpp_2m"):
                        continue
                    for steps in (10, 25):
                        yield case(kind, "sd", steps, prediction, spacing, grid)
    # where the betas decide how timesteps are made whole, and those that begin with hardly any signal
    for kind in ("dpmpp_2m", "dpmpp_2m_sde", "unipc"):
        for grid in ("karras", "exponential"):
            yield case(kind, "cosine", 25, "v_prediction", "trailing", grid, beta_schedule="squaredcos_cap_v2")
            yield case(kind, "linear", 25, "v_prediction", "trailing", grid, beta_schedule="linear", beta_start=1e-4, beta_end=0.02)
    for prediction in ("epsilon", "v_prediction"):
        yield case("heun", "clip", 10, prediction, "trailing", clip_sample=True)
    # 1, 2 and 3 steps, which methods that look back begin and end in; the offset and last abar of Stable Diffusion 1.x
    for kind in MORE:
        for steps in (1, 2, 3):
            yield case(kind, "few", steps, "v_prediction", "trailing")
        yield case(kind, "sd1", 10, "epsilon", "leading", steps_offset=1, **({"set_alpha_to_one": False} if kind in ("ddim", "pndm") else {}))
    for kind in ZERO_SNR:
        for prediction in ("v_prediction",) if kind == "euler_a" else ("v_prediction", "sample"):
            for spacing in ("trailing", "leading"):
                yield case(kind, "zero_snr", 10, prediction, spacing, rescale_betas_zero_snr=True)
    # image to image: from a step in the middle, from the last, and from the first with images
    for kind, (_, _, grids, _) in MORE.items():
        spacing = "linspace" if kind not in ("ddpm", "ddim", "pndm") else "leading"
        for strength in (0.65, 0.1, 1.0):
            yield case(kind, f"image{strength:g}", 10, "epsilon", spacing, strength=strength)
        yield case(kind, "image0.65", 10, "v_prediction", "trailing", strength=0.65)
        if grids:
            yield case(kind, "image0.65", 10, "epsilon", spacing, "karras", strength=0.65)
    for kind in ("ddim", "pndm", "heun", "dpmpp_2m"):
        for rescale in (0.0, 0.7, 1.0):
            yield case(kind, f"rescale{rescale:g}", 10, "v_prediction", "trailing", guidance=3.0, guidance_rescale=rescale)


def save(out_folder, name, out, listed):
    path = os.path.join(out_folder, name + ".safetensors")
    save_file({key: np.ascontiguousarray(out[key], dtype=np.float32) for key in sorted(out)}, path)
    with open(os.path.join(out_folder, name + ".json"), "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(case, sort_keys=True) for case in listed) + "\n]\n")
    return path


def make_more(out_folder, initial, noise):
    given = np.tanh(Stream("golden:given").normal(np.prod(SHAPE))).astype(np.float32).astype(np.float64)
    out, listed = {"given": given}, []
    for case in more_cases():
        config, timesteps, own, told = run_more(case, initial, given, noise, None)
        _, _, states, _ = run_more(case, initial, given, noise, told)
        norm = lambda v: np.linalg.norm(v, axis=1)
        error = float((norm(own - states) / norm(states)).max())
        assert error < 1e-3, (case["key"], error)
        config = {name: value for name, value in config.items() if name != "_diffusers_version"}
        also = {name: case[name] for name in ("strength", "guidance", "guidance_rescale") if name in case}
        listed.append({"key": case["key"], "steps": case["steps"], **also, "error": float(f"{error:.2e}"), "bound": max(1e-5, float(f"{2 * error:.2e}")), "config": config})
        assert "states/" + case["key"] not in out, case["key"]
        out["timesteps/" + case["key"]], out["states/" + case["key"]] = timesteps, states
    from diffusers import DDIMScheduler
    out["alphas_cumprod/zero_snr"] = DDIMScheduler(**SD, rescale_betas_zero_snr=True).alphas_cumprod.numpy()  # float32, bit for bit
    path = save(out_folder, "samplers_more", out, listed)
    loose = [(case["key"], case["error"]) for case in listed if case["error"] > 5e-6]
    print(f"samplers_more: {len(listed)} cases, {os.path.getsize(path) / 1e6:.2f} MB; PyTorch's own f32 over 5e-6: {loose}")


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
    path = save(out_folder, "samplers", out, listed)
    loose = [(case["key"], case["error"]) for case in listed if case["error"] > 5e-6]
    print(f"samplers: {len(listed)} cases, {os.path.getsize(path) / 1e6:.2f} MB; PyTorch's own f32 over 5e-6: {loose}; excluded: {excluded}")
    make_more(out_folder, initial, noise)
