// Bodies of models/unet_config.hpp.
#pragma once

#include <mindgap/io/file.hpp>
#include <mindgap/models/unet_config.hpp>

#include <cmath>
#include <nlohmann/json.hpp>

namespace mindgap {

MINDGAP_INLINE void UNetConfig::check() const {
  const auto require = [](bool holds, const std::string& what) {
    if (!holds) throw Error("U-Net: " + what, {{"remedy", "choose other channels, groups, heads or layers"}});
  };
  const size_t levels = block_out_channels.size();
  require(levels >= 1 && down_attention.size() == levels && up_attention.size() == levels,
          text(levels, " block_out_channels, ", down_attention.size(), " down blocks and ", up_attention.size(), " up blocks"));
  const auto within = [&](const char* what, i64 value, i64 most) {
    require(value >= 1 && value <= most, text(what, " is ", value, ", wanted 1 to ", most));
  };
  within("in_channels", in_channels, 4096);
  within("out_channels", out_channels, 4096);
  within("layers_per_block", layers_per_block, 64);
  within("norm_num_groups", norm_num_groups, 1 << 16);
  require(levels <= 16 && sample_size >= 0 && sample_size <= 1 << 16 && num_class_embeds >= 0 && num_class_embeds <= 1'000'000,
          text(levels, " resolutions, a sample_size of ", sample_size, " and ", num_class_embeds, " class embeddings"));
  require(num_class_embeds != 1, "a class embedding of one row has no class beside the null class");
  for (size_t i = 0; i < levels; ++i) {
    const i64 channels = block_out_channels[i];
    within("one of block_out_channels", channels, 1 << 16);
    require(channels % norm_num_groups == 0, text(channels, " channels do not divide into ", norm_num_groups, " groups"));
    const bool attends = down_attention[i] || up_attention[levels - 1 - i] || (mid_attention && i + 1 == levels);
    require(!attends || (attention_head_dim > 0 && channels % attention_head_dim == 0),
            text(channels, " channels do not divide into heads of ", attention_head_dim));
  }
  require(block_out_channels[0] % 2 == 0, "the first block_out_channels must be even, for sines and cosines");
}

MINDGAP_INLINE UNetConfig parse_unet_config(const std::string& json, const std::string& file) {
  UNetConfig config;
  const auto fail = [&](const std::string& what, const std::string& remedy) -> void {
    throw Error("U-Net configuration: " + what, {{"file", file}, {"remedy", remedy}});
  };
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  if (!parsed.is_object()) fail("this is no JSON object", "is it the config.json of a model folder?");
  if (const auto kind = parsed.value("_class_name", std::string("UNet2DModel")); kind != "UNet2DModel")
    fail("it describes a " + kind, "only UNet2DModel can be loaded here");
  try {
    const auto& j = parsed;
    const auto number = [&](const char* key, auto fallback) {
      const auto at = j.find(key);
      return at == j.end() || at->is_null() ? fallback : at->template get<decltype(fallback)>();
    };
    const auto only = [&](const char* key, const nlohmann::json& wanted) {
      const auto at = j.find(key);
      if (at != j.end() && *at != wanted)
        fail(text(key, " is ", at->dump(), ", only ", wanted.dump(), " is implemented"), "use a model without it");
    };
    config.sample_size = number("sample_size", i64(0));
    config.in_channels = number("in_channels", config.in_channels);
    config.out_channels = number("out_channels", config.out_channels);
    config.block_out_channels = number("block_out_channels", config.block_out_channels);
    const auto blocks = [&](const char* key, const std::string& plain, const std::string& attention, std::vector<bool> fallback) {
      if (!j.contains(key)) return fallback;
      std::vector<bool> out;
      for (const std::string& kind : j.at(key).get<std::vector<std::string>>()) {
        if (kind != plain && kind != attention)
          fail(text(key, " has a ", kind), "only " + plain + " and " + attention + " are implemented");
        out.push_back(kind == attention);
      }
      return out;
    };
    config.down_attention = blocks("down_block_types", "DownBlock2D", "AttnDownBlock2D", config.down_attention);
    config.up_attention = blocks("up_block_types", "UpBlock2D", "AttnUpBlock2D", config.up_attention);
    config.layers_per_block = number("layers_per_block", config.layers_per_block);
    config.attention_head_dim = number("attention_head_dim", config.attention_head_dim);
    config.mid_attention = number("add_attention", true);
    config.norm_num_groups = number("norm_num_groups", config.norm_num_groups);
    config.norm_eps = number("norm_eps", config.norm_eps);
    config.num_class_embeds = number("num_class_embeds", i64(0));
    config.flip_sin_to_cos = number("flip_sin_to_cos", true);
    config.freq_shift = number("freq_shift", 0.0);
    only("center_input_sample", false);
    only("time_embedding_type", "positional");
    only("time_embedding_dim", nullptr);
    only("mid_block_type", "UNetMidBlock2D");
    only("mid_block_scale_factor", 1);
    only("downsample_padding", 1);
    only("downsample_type", "conv");
    only("upsample_type", "conv");
    only("dropout", 0.0);
    only("act_fn", "silu");
    only("attn_norm_num_groups", nullptr);
    only("resnet_time_scale_shift", "default");
    only("class_embed_type", nullptr);
  } catch (const nlohmann::json::exception& error) {
    fail(error.what(), "correct the value's type");
  }
  naming_file(file, [&] { config.check(); });
  return config;
}

MINDGAP_INLINE UNetConfig read_unet_config(const std::filesystem::path& path) {
  return parse_unet_config(read_file(path), path.string());
}

MINDGAP_INLINE std::string unet_config_json(const UNetConfig& config) {
  config.check();
  nlohmann::ordered_json j;
  const auto blocks = [](const std::vector<bool>& attention, const char* plain, const char* with) {
    std::vector<std::string> names;
    for (bool attends : attention) names.push_back(attends ? with : plain);
    return names;
  };
  const auto or_null = [](i64 count) { return count ? nlohmann::ordered_json(count) : nlohmann::ordered_json(nullptr); };
  j["_class_name"] = "UNet2DModel";
  j["_diffusers_version"] = "0.42.1";
  j["sample_size"] = or_null(config.sample_size);
  j["in_channels"] = config.in_channels;
  j["out_channels"] = config.out_channels;
  j["center_input_sample"] = false;
  j["time_embedding_type"] = "positional";
  j["freq_shift"] = i64(config.freq_shift);
  j["flip_sin_to_cos"] = config.flip_sin_to_cos;
  j["down_block_types"] = blocks(config.down_attention, "DownBlock2D", "AttnDownBlock2D");
  j["up_block_types"] = blocks(config.up_attention, "UpBlock2D", "AttnUpBlock2D");
  j["block_out_channels"] = config.block_out_channels;
  j["layers_per_block"] = config.layers_per_block;
  j["downsample_padding"] = 1;
  j["act_fn"] = "silu";
  j["attention_head_dim"] = config.attention_head_dim;
  j["add_attention"] = config.mid_attention;
  j["norm_num_groups"] = config.norm_num_groups;
  j["norm_eps"] = double(std::round(double(config.norm_eps) * 1e12) / 1e12);
  j["resnet_time_scale_shift"] = "default";
  j["class_embed_type"] = nullptr;
  j["num_class_embeds"] = or_null(config.num_class_embeds);
  return j.dump(2) + "\n";
}

}  // namespace mindgap
