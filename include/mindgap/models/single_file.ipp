// Bodies of models/single_file.hpp.
#pragma once

#include <mindgap/io/numbers.hpp>
#include <mindgap/models/single_file.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace mindgap {
namespace detail {

using NameTable = std::vector<std::pair<std::string_view, std::string_view>>;

// The name with its start in place of the table's, which ends at a dot or with the name; nothing where none fits.
inline std::optional<std::string> renamed(std::string_view name, const NameTable& table) {
  for (const auto& [from, to] : table)
    if (name.starts_with(from) && (name.size() == from.size() || name[from.size()] == '.' || from.ends_with('.')))
      return std::string(to) += name.substr(from.size());
  return {};
}

// Takes the first part off "7.1.proj_in.weight"; nothing where it is no number.
inline std::optional<i64> take_number(std::string_view& name) {
  const size_t dot = std::min(name.find('.'), name.size());
  const auto number = number_in<i64>(std::string(name.substr(0, dot)));
  name.remove_prefix(std::min(name.size(), dot + 1));
  return number;
}

inline std::optional<std::string> join(const std::string& start, const std::optional<std::string>& rest) {
  return rest ? std::optional(start + *rest) : std::nullopt;
}

inline std::optional<std::string> unet_name(std::string_view name, const UNetConditionConfig& c) {
  static const NameTable outer{{"time_embed.0", "time_embedding.linear_1"},
                               {"time_embed.2", "time_embedding.linear_2"},
                               {"input_blocks.0.0", "conv_in"},
                               {"out.0", "conv_norm_out"},
                               {"out.2", "conv_out"}};
  static const NameTable resnet{{"in_layers.0", "norm1"},  {"in_layers.2", "conv1"},  {"emb_layers.1", "time_emb_proj"},
                                {"out_layers.0", "norm2"}, {"out_layers.3", "conv2"}, {"skip_connection", "conv_shortcut"}};
  if (auto out = renamed(name, outer)) return out;
  // The part of a block: a residual one, an attention, or what changes the size.
  const auto part = [&](const std::string& block, i64 layer, i64 place, std::string_view rest) -> std::optional<std::string> {
    if (rest.starts_with("op.")) return block + "downsamplers.0.conv" + std::string(rest.substr(2));
    if (rest.starts_with("conv.")) return block + "upsamplers.0." + std::string(rest);
    if (place == 0) return join(text(block, "resnets.", layer, "."), renamed(rest, resnet));
    return text(block, "attentions.", layer, ".", rest);
  };
  for (const auto& [side, ours, extra] :
       {std::tuple("input_blocks.", "down_blocks.", i64(0)), {"output_blocks.", "up_blocks.", 1}})
    if (name.starts_with(side)) {
      std::string_view rest = name.substr(std::string_view(side).size());
      const auto at = take_number(rest), place = take_number(rest);
      if (!at || !place) return {};
      // Blocks are numbered through: on the way down each level ends with what halves it, and conv_in comes first.
      const i64 number = extra ? *at : *at - 1, layers = c.layers_per_block + 1;
      return part(text(ours, number / layers, "."), number % layers, *place, rest);
    }
  if (name.starts_with("middle_block.")) {
    std::string_view rest = name.substr(13);
    const auto at = take_number(rest);
    if (!at || *at < 0 || *at > 2) return {};
    return part("mid_block.", *at / 2, *at % 2, rest);
  }
  return {};
}

inline std::optional<std::string> autoencoder_name(std::string_view name, const AutoencoderConfig& c) {
  static const NameTable outer{{"quant_conv", "quant_conv"}, {"post_quant_conv", "post_quant_conv"}};
  static const NameTable half{{"conv_in", "conv_in"},
                              {"conv_out", "conv_out"},
                              {"norm_out", "conv_norm_out"},
                              {"mid.block_1.nin_shortcut", "mid_block.resnets.0.conv_shortcut"},
                              {"mid.block_1", "mid_block.resnets.0"},
                              {"mid.block_2", "mid_block.resnets.1"},
                              {"mid.attn_1.norm", "mid_block.attentions.0.group_norm"},
                              {"mid.attn_1.q", "mid_block.attentions.0.to_q"},
                              {"mid.attn_1.k", "mid_block.attentions.0.to_k"},
                              {"mid.attn_1.v", "mid_block.attentions.0.to_v"},
                              {"mid.attn_1.proj_out", "mid_block.attentions.0.to_out.0"}};
  static const NameTable resnet{
      {"nin_shortcut", "conv_shortcut"}, {"norm1", "norm1"}, {"norm2", "norm2"}, {"conv1", "conv1"}, {"conv2", "conv2"}};
  if (auto out = renamed(name, outer)) return out;
  for (const auto& [side, sampler, ours] :
       {std::tuple("encoder.", "downsample.", "down_blocks."), {"decoder.", "upsample.", "up_blocks."}})
    if (name.starts_with(side)) {
      std::string_view rest = name.substr(8);
      if (auto out = renamed(rest, half)) return side + *out;
      const bool down = rest.starts_with("down.");
      if (!down && !rest.starts_with("up.")) return {};
      rest.remove_prefix(down ? 5 : 3);
      const auto level = take_number(rest);
      if (!level) return {};
      // The decoder's levels are numbered from the largest images on, as the encoder's; ours in the order in which they run.
      const std::string block = text(side, ours, down ? *level : i64(c.block_out_channels.size()) - 1 - *level, ".");
      if (rest.starts_with(sampler))
        return text(block, down ? "downsamplers.0." : "upsamplers.0.", rest.substr(std::string_view(sampler).size()));
      if (!rest.starts_with("block.")) return {};
      rest.remove_prefix(6);
      const auto layer = take_number(rest);
      return layer ? join(text(block, "resnets.", *layer, "."), renamed(rest, resnet)) : std::nullopt;
    }
  return {};
}

inline std::optional<std::string> openclip_name(std::string_view name) {
  static const NameTable outer{{"token_embedding", "text_model.embeddings.token_embedding"},
                               {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
                               {"ln_final", "text_model.final_layer_norm"}};
  static const NameTable layer{{"ln_1", "layer_norm1"},
                               {"ln_2", "layer_norm2"},
                               {"mlp.c_fc", "mlp.fc1"},
                               {"mlp.c_proj", "mlp.fc2"},
                               {"attn.out_proj", "self_attn.out_proj"},
                               {"attn.in_proj_weight", "self_attn.in_proj.weight"},
                               {"attn.in_proj_bias", "self_attn.in_proj.bias"}};
  if (auto out = renamed(name, outer)) return out;
  constexpr std::string_view start = "transformer.resblocks.";
  if (!name.starts_with(start)) return {};
  std::string_view rest = name.substr(start.size());
  const auto at = take_number(rest);
  return at ? join(text("text_model.encoder.layers.", *at, "."), renamed(rest, layer)) : std::nullopt;
}

// [3 E, ...] of the queries, the keys and the values, one after the other, as three entries.
inline void add_projections(std::vector<SafetensorsEntry>& to, const SafetensorsEntry& fused, const std::string& name) {
  const size_t at = name.find("in_proj");
  if (fused.shape.empty() || fused.shape[0] % 3)
    throw Error(text("single file: ", shown(fused.name), " ", fused.shape_str(), " has no three parts"),
                {{"file", fused.file}, {"remedy", "download or copy it again"}});
  const size_t bytes = fused.bytes.size() / 3;
  for (size_t i = 0; i < 3; ++i) {
    SafetensorsEntry& one = to.emplace_back(fused);
    one.name = name.substr(0, at) + "qkv"[i] + "_proj" + name.substr(at + 7);
    one.shape[0] /= 3;
    one.bytes = fused.bytes.subspan(i * bytes, bytes);
  }
}

constexpr std::string_view unet_prefix = "model.diffusion_model.", vae_prefix = "first_stage_model.",
                           clip_prefix = "cond_stage_model.transformer.", openclip_prefix = "cond_stage_model.model.";

inline bool is_leftover(std::string_view name) {
  static const std::vector<std::string> patterns{"model_ema",    "*alphas_cumprod*",       "betas",        "posterior_*",
                                                 "lvlb_weights", "*text_projection*",      "*logit_scale", "logvar",
                                                 "*attn_mask",   "first_stage_model.loss", "scale_factor"};
  return matches_any(patterns, name);
}

}  // namespace detail

MINDGAP_INLINE StableDiffusionConfigs published_configs(i64 version) {
  if (version != 1 && version != 2) throw Error(text("there is no Stable Diffusion ", version, " here"), {{"remedy", "1 or 2"}});
  StableDiffusionConfigs out;
  out.vae.block_out_channels = {128, 256, 512, 512}, out.vae.layers_per_block = 2, out.vae.sample_size = 512;
  if (version == 1) {
    out.unet.cross_attention_dim = 768;
    out.unet.sample_size = 64;
    out.text_encoder.hidden_size = 768, out.text_encoder.intermediate_size = 3072;
    out.text_encoder.num_hidden_layers = out.text_encoder.num_attention_heads = 12;
  } else {
    out.unet.cross_attention_dim = 1024;
    out.unet.sample_size = 96, out.unet.attention_head_dim = {5, 10, 20, 20};
    out.text_encoder.hidden_size = 1024, out.text_encoder.intermediate_size = 4096;
    out.text_encoder.num_hidden_layers = 23, out.text_encoder.num_attention_heads = 16;  // the last of 24 is not used
    out.text_encoder.hidden_act = ClipActivation::gelu;
  }
  return out;
}

MINDGAP_INLINE StableDiffusionConfigs single_file_configs(const Weights& file) {
  const auto shape = [&](const std::string& name) -> std::vector<i64> {
    for (const SafetensorsEntry& entry : file.entries)
      if (entry.name == name) return entry.shape;
    return {};
  };
  const auto text_shape = shape("model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"),
             image_shape = shape("model.diffusion_model.input_blocks.0.0.weight");
  const i64 text_channels = text_shape.size() == 2 ? text_shape[1] : 0, in = image_shape.size() == 4 ? image_shape[1] : 0;
  if ((text_channels != 768 && text_channels != 1024) || in != 4)
    throw Error(
        "single file: this is no Stable Diffusion 1 or 2 that makes images of a text",
        {{"file", file.path.string()},
         {"has", text_channels ? text("a U-Net of ", in, " input channels that attends to ", text_channels, " channels of text")
                               : "no U-Net in the original naming (model.diffusion_model. ...)"},
         {"remedy",
          "give a checkpoint of version 1 or 2 (768 or 1,024 channels of text, 4 input channels), or a diffusers folder"}});
  return published_configs(text_channels == 768 ? 1 : 2);
}

MINDGAP_INLINE StableDiffusionWeights split_single_file(const Weights& file, const StableDiffusionConfigs& configs) {
  StableDiffusionWeights out;
  for (Weights* part : {&out.text_encoder, &out.unet, &out.vae}) part->path = file.path, part->files = file.files;
  std::vector<std::string> unknown;
  const std::string past_layers = text("text_model.encoder.layers.", configs.text_encoder.num_hidden_layers, ".");
  for (const SafetensorsEntry& entry : file.entries) {
    const std::string_view name = entry.name;
    const auto rest = [&](std::string_view prefix) { return name.substr(prefix.size()); };
    if (detail::is_leftover(name)) continue;
    std::optional<std::string> ours;
    std::vector<SafetensorsEntry>* to = nullptr;
    if (name.starts_with(detail::unet_prefix)) {
      ours = detail::unet_name(rest(detail::unet_prefix), configs.unet), to = &out.unet.entries;
    } else if (name.starts_with(detail::vae_prefix)) {
      ours = detail::autoencoder_name(rest(detail::vae_prefix), configs.vae), to = &out.vae.entries;
    } else if (name.starts_with(detail::clip_prefix)) {
      ours = std::string(rest(detail::clip_prefix)), to = &out.text_encoder.entries;
    } else if (name.starts_with(detail::openclip_prefix)) {
      ours = detail::openclip_name(rest(detail::openclip_prefix)), to = &out.text_encoder.entries;
      if (ours && ours->starts_with(past_layers)) continue;
    }
    if (!ours) {
      unknown.push_back(entry.name);
    } else if (ours->find(".in_proj.") != ours->npos) {
      detail::add_projections(*to, entry, *ours);
    } else {
      to->push_back(entry);
      to->back().name = *ours;
    }
  }
  if (!unknown.empty())
    throw Error("single file: it has tensors that belong to none of the three networks",
                {{"file", file.path.string()},
                 {"unexpected", text(unknown.size(), ": ", detail::some_of(unknown))},
                 {"remedy", "give the checkpoint of a Stable Diffusion 1 or 2 as it was published, or a diffusers folder"}});
  return out;
}

}  // namespace mindgap
