// Bodies of diffusion/stable_diffusion.hpp.
#pragma once

#include <mindgap/diffusion/stable_diffusion.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/json.hpp>

namespace mindgap {
namespace detail {

struct Component {
  const char *folder, *stem, *python_class;
};
inline constexpr Component stable_diffusion_components[] = {{"text_encoder", "model", "CLIPTextModel"},
                                                            {"unet", "diffusion_pytorch_model", "UNet2DConditionModel"},
                                                            {"vae", "diffusion_pytorch_model", "AutoencoderKL"}};

inline std::filesystem::path component_weights(const std::filesystem::path& folder, const Component& c) {
  return stored_weights(folder / c.folder, c.stem, c.python_class);
}

MINDGAP_INLINE StableDiffusionWeights read_stable_diffusion_weights(const StableDiffusionInfo& info) {
  if (info.single_file) return split_single_file(read_weights(info.path), info.configs);
  const auto read = [&](int i) { return read_weights(component_weights(info.path, stable_diffusion_components[i])); };
  return {read(0), read(1), read(2)};
}

// Files of the tokenizer that exist.
inline std::vector<std::filesystem::path> tokenizer_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> out;
  for (const char* name :
       {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"})
    if (std::filesystem::exists(folder / name)) out.push_back(folder / name);
  return out;
}

inline StableDiffusionInfo read_single(const std::filesystem::path& path, std::optional<SamplerKind> sampler,
                                       std::optional<Prediction> prediction) {
  const std::string suffix = path.extension().string();
  if (suffix == ".ckpt" || suffix == ".pt" || suffix == ".pth" || suffix == ".bin")
    throw Error(text("'", suffix, "' files are not read"),
                {{"file", path.string()},
                 {"reason", "a PyTorch checkpoint is a pickle, which is a program: loading it runs what it says"},
                 {"remedy",
                  "take the .safetensors file that is published beside it, or convert it in Python where you trust it: "
                  "safetensors.torch.save_file({k: v.contiguous() for k, v in torch.load(PATH, "
                  "weights_only=True)[\"state_dict\"].items() if hasattr(v, \"shape\")}, NEW_PATH)"}});
  if (suffix != ".safetensors")
    throw Error("this is no model", {{"file", path.string()}, {"remedy", "give a diffusers folder or a .safetensors file"}});
  const StableDiffusionConfigs configs = single_file_configs(read_weights(path));
  // As the published folders of both versions.
  const std::string scheduler = text(
      R"({"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
      "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1, "clip_sample": false,
      "prediction_type": ")",
      name(prediction.value_or(Prediction::epsilon)), "\"}");
  return {
      path, true, configs, parse_scheduler_config(scheduler, path.string(), sampler),
      configs.text_encoder.hidden_act == ClipActivation::quick_gelu ? CLIPTokenizer::standard() : CLIPTokenizer::standard("!")};
}

inline StableDiffusionInfo read_folder(const std::filesystem::path& path, std::optional<SamplerKind> sampler,
                                       std::optional<Prediction> prediction) {
  std::vector<ErrorLine> missing;
  for (const auto& component : stable_diffusion_components) {
    if (component_weights(path, component).empty())
      missing.push_back({"missing", (path / component.folder / (std::string(component.stem) + ".safetensors")).string()});
    if (const auto file = path / component.folder / "config.json"; !std::filesystem::exists(file))
      missing.push_back({"missing", file.string()});
  }
  if (tokenizer_files(path / "tokenizer").empty()) missing.push_back({"missing", (path / "tokenizer" / "vocab.json").string()});
  const std::filesystem::path scheduler = path / "scheduler" / "scheduler_config.json";
  if (!std::filesystem::exists(scheduler)) missing.push_back({"missing", scheduler.string()});
  if (!missing.empty()) {
    missing.push_back({"remedy", "download all of it again: text_encoder, unet, vae, tokenizer and scheduler"});
    throw Error("\"" + path.string() + "\" is not a whole Stable Diffusion folder", missing);
  }
  StableDiffusionInfo out{
      path,
      false,
      {read_clip_text_config(path / "text_encoder" / "config.json"), read_unet_condition_config(path / "unet" / "config.json"),
       read_autoencoder_config(path / "vae" / "config.json")},
      read_scheduler_config(scheduler, sampler),
      CLIPTokenizer::read(path / "tokenizer")};
  if (prediction && *prediction != out.scheduler.prediction_type)
    throw Error(text("the model predicts ", name(out.scheduler.prediction_type), ", not ", name(*prediction)),
                {{"file", scheduler.string()}, {"remedy", "the folder says what it predicts: leave the flag out"}});
  return out;
}

}  // namespace detail

MINDGAP_INLINE bool is_stable_diffusion(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return path.has_extension();
  for (const char* name : {"model_index.json", "text_encoder", "vae", "tokenizer"})
    if (std::filesystem::exists(path / name)) return true;
  return false;
}

MINDGAP_INLINE std::vector<std::filesystem::path> StableDiffusionInfo::files() const {
  if (single_file) return {path};
  std::vector<std::filesystem::path> out = detail::tokenizer_files(path / "tokenizer");
  for (const auto& component : detail::stable_diffusion_components) {
    const std::filesystem::path stored = detail::component_weights(path, component);
    const auto parts = safetensors_files(stored);
    if (parts[0] != stored) out.push_back(stored);  // the index
    out.insert(out.end(), parts.begin(), parts.end());
    out.push_back(path / component.folder / "config.json");
  }
  out.push_back(path / "scheduler" / "scheduler_config.json");
  return out;
}

MINDGAP_INLINE std::string StableDiffusionInfo::hash() const {
  Sha256 hash;
  for (const auto& file : files()) hash.update(tree_hash_of_file(file));
  if (single_file) hash.update(name(scheduler.prediction_type));
  return hash.hex();
}

MINDGAP_INLINE StableDiffusionInfo read_stable_diffusion_info(const std::filesystem::path& path,
                                                              std::optional<SamplerKind> sampler,
                                                              std::optional<Prediction> prediction) {
  if (!std::filesystem::exists(path))
    throw Error("there is no such model",
                {{"model", path.string()}, {"remedy", "give a diffusers folder or a .safetensors file; nothing is downloaded"}});
  const StableDiffusionInfo out = std::filesystem::is_directory(path) ? detail::read_folder(path, sampler, prediction)
                                                                      : detail::read_single(path, sampler, prediction);
  const auto& [text_encoder, unet, vae] = out.configs;
  const auto fit = [&](bool holds, const std::string& what) {
    if (!holds)
      throw Error("the parts of the model do not fit each other: " + what,
                  {{"model", path.string()}, {"remedy", "take all of them from the same published model"}});
  };
  fit(text_encoder.hidden_size == unet.cross_attention_dim,
      text("the text encoder has ", text_encoder.hidden_size, " channels, the U-Net attends to ", unet.cross_attention_dim));
  fit(unet.in_channels == unet.out_channels && unet.in_channels == vae.latent_channels,
      text("the U-Net reads ", unet.in_channels, " channels and writes ", unet.out_channels, ", the autoencoder has ",
           vae.latent_channels));
  fit(vae.in_channels == 3 && vae.out_channels == 3, text("the autoencoder's images have ", vae.out_channels, " channels"));
  fit(out.tokenizer.size() <= text_encoder.vocab_size,
      text("the tokenizer has ", out.tokenizer.size(), " tokens, the text encoder ", text_encoder.vocab_size));
  fit(out.tokenizer.max_length() <= text_encoder.max_position_embeddings,
      text("the tokenizer makes ", out.tokenizer.max_length(), " tokens, the text encoder takes ",
           text_encoder.max_position_embeddings));
  if (unet.sample_size < 1)
    throw Error("the U-Net's configuration says no sample_size",
                {{"model", path.string()}, {"remedy", "add it: 64 or 96 of published models"}});
  return out;
}

}  // namespace mindgap
