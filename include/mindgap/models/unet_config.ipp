// Bodies of models/unet_config.hpp.
#pragma once

#include <mindgap/io/json.hpp>
#include <mindgap/models/unet_config.hpp>

#include <cmath>

namespace mindgap {

MINDGAP_INLINE void UNetConfig::check() const {
  const auto require = [](bool holds, const std::string& what) {
    if (!holds)
      throw Error("U-Net: " + what, {{"remedy", "choose other channels, groups, heads or layers, or fewer resolutions"}});
  };
  const size_t levels = block_out_channels.size();
  require(levels >= 1 && down_attention.size() == levels && up_attention.size() == levels,
          text(levels, " block_out_channels, ", down_attention.size(), " down blocks and ", up_attention.size(), " up blocks"));
  const auto within = [&](const std::string& what, i64 value, i64 least, i64 most) {
    require(value >= least && value <= most, text(what, " is ", value, ", wanted ", least, " to ", most));
  };
  within("in_channels", in_channels, 1, 4096);
  within("out_channels", out_channels, 1, 4096);
  within("layers_per_block", layers_per_block, 1, 64);
  within("norm_num_groups", norm_num_groups, 1, 1 << 16);
  within("the number of resolutions", i64(levels), 1, 16);
  within("sample_size", sample_size, 0, 1 << 16);
  within("num_class_embeds", num_class_embeds, 0, 1'000'000);
  within("freq_shift", freq_shift, 0, 1 << 15);
  require(norm_eps >= 0 && norm_eps <= 1, text("norm_eps is ", norm_eps, ", wanted 0 to 1"));
  for (size_t i = 0; i < levels; ++i) {
    const i64 channels = block_out_channels[i];
    within(text("block_out_channels[", i, "]"), channels, 1, 1 << 16);
    require(channels % norm_num_groups == 0, text(channels, " channels do not divide into ", norm_num_groups, " groups"));
    const bool attends = down_attention[i] || up_attention[levels - 1 - i] || (mid_attention && i + 1 == levels);
    require(!attends || attention_head_dim == 0 || (attention_head_dim > 0 && channels % attention_head_dim == 0),
            text(channels, " channels do not divide into heads of ", attention_head_dim));
  }
  require(sample_size % (i64(1) << (levels - 1)) == 0,
          text(levels, " resolutions want images whose side is a multiple of ", i64(1) << (levels - 1), "; it is ", sample_size));
  require(block_out_channels[0] % 2 == 0 && block_out_channels[0] > 2 * freq_shift,
          "the first block_out_channels must be even, for sines and cosines, and more than twice freq_shift");
}

// Keys in the order of the files that diffusers writes; null means to it what it means here: no size given, heads as wide as the
// block, no class embedding.
template <class V>
void visit_fields(V& visit, UNetConfig& c) {
  std::string version = "0.42.1";
  visit.constant("_class_name", "UNet2DModel");
  visit("_diffusers_version", version);
  visit("sample_size", c.sample_size, {.null = true});
  visit("in_channels", c.in_channels);
  visit("out_channels", c.out_channels);
  visit.constant("center_input_sample", false);
  visit.constant("time_embedding_type", "positional");
  visit("freq_shift", c.freq_shift);
  visit("flip_sin_to_cos", c.flip_sin_to_cos);
  visit("down_block_types", c.down_attention, {.one_of = {"DownBlock2D", "AttnDownBlock2D"}});
  visit("up_block_types", c.up_attention, {.one_of = {"UpBlock2D", "AttnUpBlock2D"}});
  visit("block_out_channels", c.block_out_channels);
  visit("layers_per_block", c.layers_per_block);
  visit.constant("downsample_padding", 1);
  visit.constant("act_fn", "silu");
  visit("attention_head_dim", c.attention_head_dim, {.least = 1, .null = true});
  visit("add_attention", c.mid_attention);
  visit("norm_num_groups", c.norm_num_groups);
  double eps = std::round(double(c.norm_eps) * 1e12) / 1e12;  // 1e-05, not the float's digits
  visit("norm_eps", eps);
  c.norm_eps = float(eps);
  visit.constant("resnet_time_scale_shift", "default");
  visit.constant("class_embed_type", nullptr);
  visit("num_class_embeds", c.num_class_embeds, {.null = true});
  visit.only("time_embedding_dim", {nullptr});
  visit.only("mid_block_type", {"UNetMidBlock2D"});
  visit.only("mid_block_scale_factor", {1});
  visit.only("downsample_type", {"conv"});
  visit.only("upsample_type", {"conv"});
  visit.only("dropout", {0});
  visit.only("attn_norm_num_groups", {nullptr});
  visit.only("attention_legacy_order", {false});
  visit.ignore({"_*", "num_train_timesteps"});  // the latter serves learned embeddings of time
}

MINDGAP_INLINE UNetConfig parse_unet_config(const std::string& json, const std::string& file) {
  const auto config = from_json<UNetConfig>(
      json, {"U-Net configuration", file, "give the config.json of a UNet2DModel; values other than these are not implemented"});
  naming_file(file, [&] { config.check(); });
  return config;
}

MINDGAP_INLINE UNetConfig read_unet_config(const std::filesystem::path& path) {
  return parse_unet_config(read_file(path, json_bytes), path.string());
}

MINDGAP_INLINE std::string unet_config_json(const UNetConfig& config) {
  config.check();
  return to_json(config);
}

}  // namespace mindgap
