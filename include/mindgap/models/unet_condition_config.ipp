// Bodies of models/unet_condition_config.hpp.
#pragma once

#include <mindgap/io/json.hpp>
#include <mindgap/models/unet_condition_config.hpp>

#include <cmath>

namespace mindgap {

MINDGAP_INLINE void UNetConditionConfig::check() const {
  const auto require = [](bool holds, const std::string& what) {
    if (!holds) throw Error("U-Net: " + what, {{"remedy", "give the config.json of a published model as it is"}});
  };
  const size_t levels = block_out_channels.size();
  require(levels >= 1 && levels <= 16 && down_attention.size() == levels && up_attention.size() == levels,
          text(levels, " block_out_channels, ", down_attention.size(), " down blocks and ", up_attention.size(), " up blocks"));
  const auto within = [&](const std::string& what, i64 value, i64 least, i64 most) {
    require(value >= least && value <= most, text(what, " is ", value, ", wanted ", least, " to ", most));
  };
  within("sample_size", sample_size, 0, 1 << 16);
  within("in_channels", in_channels, 1, 4096);
  within("out_channels", out_channels, 1, 4096);
  within("layers_per_block", layers_per_block, 1, 64);
  within("cross_attention_dim", cross_attention_dim, 1, 1 << 16);
  within("norm_num_groups", norm_num_groups, 1, 1 << 16);
  within("freq_shift", freq_shift, 0, 1);
  require(norm_eps >= 0 && norm_eps <= 1, text("norm_eps is ", norm_eps, ", wanted 0 to 1"));
  require(attention_head_dim.size() == 1 || attention_head_dim.size() == levels,
          text("attention_head_dim has ", attention_head_dim.size(), " numbers, for ", levels, " levels"));
  for (size_t i = 0; i < levels; ++i) {
    const i64 channels = block_out_channels[i];
    within(text("block_out_channels[", i, "]"), channels, 1, 1 << 16);
    within("one of attention_head_dim", heads(i), 1, 1 << 16);
    require(channels % norm_num_groups == 0, text(channels, " channels do not divide into ", norm_num_groups, " groups"));
    const bool attends = down_attention[i] || up_attention[levels - 1 - i] || (mid_attention && i + 1 == levels);
    require(!attends || channels % heads(i) == 0, text(channels, " channels do not divide into ", heads(i), " heads"));
  }
  require(block_out_channels[0] % 2 == 0 && block_out_channels[0] > 2 * freq_shift,
          "the first block_out_channels must be even, for sines and cosines, and more than twice freq_shift");
}

template <class V>
void visit_fields(V& visit, UNetConditionConfig& c) {
  visit.constant("_class_name", "UNet2DConditionModel");
  visit("sample_size", c.sample_size, {.null = true});
  visit("in_channels", c.in_channels);
  visit("out_channels", c.out_channels);
  visit("flip_sin_to_cos", c.flip_sin_to_cos);
  visit("freq_shift", c.freq_shift);
  visit("down_block_types", c.down_attention, {.one_of = {"DownBlock2D", "CrossAttnDownBlock2D"}});
  visit("up_block_types", c.up_attention, {.one_of = {"UpBlock2D", "CrossAttnUpBlock2D"}});
  visit("mid_block_type", c.mid_attention, {.one_of = {"UNetMidBlock2D", "UNetMidBlock2DCrossAttn"}});
  visit("block_out_channels", c.block_out_channels);
  visit("layers_per_block", c.layers_per_block);
  visit("attention_head_dim", c.attention_head_dim, {.single = true});
  visit("cross_attention_dim", c.cross_attention_dim);
  visit("norm_num_groups", c.norm_num_groups);
  double eps = std::round(double(c.norm_eps) * 1e12) / 1e12;
  visit("norm_eps", eps);
  c.norm_eps = float(eps);
  visit.only("act_fn", {"silu"});
  visit.only("transformer_layers_per_block", {1});
  visit.only("downsample_padding", {1});
  visit.only("mid_block_scale_factor", {1});
  visit.only("resnet_out_scale_factor", {1});
  visit.only("conv_in_kernel", {3});
  visit.only("conv_out_kernel", {3});
  visit.only("dropout", {0});
  visit.only("time_embedding_type", {"positional"});
  visit.only("resnet_time_scale_shift", {"default"});
  visit.only("attention_type", {"default"});
  for (const char* off : {"center_input_sample", "only_cross_attention", "dual_cross_attention", "resnet_skip_time_act",
                          "class_embeddings_concat", "mid_block_only_cross_attention"})
    visit.only(off, {false, nullptr});
  for (const char* absent :
       {"num_attention_heads", "encoder_hid_dim", "encoder_hid_dim_type", "class_embed_type", "num_class_embeds",
        "addition_embed_type", "addition_time_embed_dim", "time_embedding_dim", "time_embedding_act_fn", "timestep_post_act",
        "time_cond_proj_dim", "projection_class_embeddings_input_dim", "cross_attention_norm",
        "reverse_transformer_layers_per_block"})
    visit.only(absent, {nullptr});
  // A 1x1 convolution is the same product as a linear layer; scores are made in f32 anyway; heads of an embedding that is not
  // there.
  visit.ignore({"_*", "use_linear_projection", "upcast_attention", "addition_embed_type_num_heads"});
}

MINDGAP_INLINE UNetConditionConfig parse_unet_condition_config(const std::string& json, const std::string& file) {
  const auto config = from_json<UNetConditionConfig>(
      json, {"U-Net configuration", file,
             "give the config.json of a UNet2DConditionModel, as Stable Diffusion 1 and 2 have it; values other than these are "
             "not implemented"});
  naming_file(file, [&] { config.check(); });
  return config;
}

MINDGAP_INLINE UNetConditionConfig read_unet_condition_config(const std::filesystem::path& path) {
  return parse_unet_condition_config(read_file(path, json_bytes), path.string());
}

}  // namespace mindgap
