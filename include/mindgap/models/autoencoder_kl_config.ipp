// Bodies of models/autoencoder_kl_config.hpp.
#pragma once

#include <mindgap/io/json.hpp>
#include <mindgap/models/autoencoder_kl_config.hpp>

namespace mindgap {

MINDGAP_INLINE void AutoencoderConfig::check() const {
  const auto require = [](bool holds, const std::string& what) {
    if (!holds) throw Error("autoencoder: " + what, {{"remedy", "give the config.json of a published model as it is"}});
  };
  const auto within = [&](const std::string& what, i64 value, i64 least, i64 most) {
    require(value >= least && value <= most, text(what, " is ", value, ", wanted ", least, " to ", most));
  };
  within("in_channels", in_channels, 1, 4096);
  within("out_channels", out_channels, 1, 4096);
  within("layers_per_block", layers_per_block, 1, 64);
  within("latent_channels", latent_channels, 1, 4096);
  within("norm_num_groups", norm_num_groups, 1, 1 << 16);
  within("sample_size", sample_size, 1, 1 << 16);
  require(scaling_factor >= 1e-6 && scaling_factor <= 1e6, text("scaling_factor is ", scaling_factor, ", wanted 1e-6 to 1e6"));
  within("the number of block_out_channels", i64(block_out_channels.size()), 1, 16);
  for (i64 channels : block_out_channels) {
    within("one of block_out_channels", channels, 1, 1 << 16);
    require(channels % norm_num_groups == 0, text(channels, " channels do not divide into ", norm_num_groups, " groups"));
  }
}

template <class V>
void visit_fields(V& visit, AutoencoderConfig& c) {
  std::vector<std::string> down{"DownEncoderBlock2D"}, up{"UpDecoderBlock2D"};
  visit.constant("_class_name", "AutoencoderKL");
  visit("in_channels", c.in_channels);
  visit("out_channels", c.out_channels);
  visit("down_block_types", down, {.one_of = {"DownEncoderBlock2D"}});
  visit("up_block_types", up, {.one_of = {"UpDecoderBlock2D"}});
  visit("block_out_channels", c.block_out_channels);
  visit("layers_per_block", c.layers_per_block);
  visit("latent_channels", c.latent_channels);
  visit("norm_num_groups", c.norm_num_groups);
  visit("sample_size", c.sample_size);
  visit("scaling_factor", c.scaling_factor);
  visit("use_quant_conv", c.use_quant_conv);
  visit("use_post_quant_conv", c.use_post_quant_conv);
  visit("mid_block_add_attention", c.mid_attention);
  visit.only("act_fn", {"silu"});
  for (const char* absent : {"shift_factor", "latents_mean", "latents_std"}) visit.only(absent, {nullptr});
  visit.ignore({"_*", "force_upcast"});  // whoever finds a number that is not finite computes in a wider type
  if (down.size() != c.block_out_channels.size() || up.size() != c.block_out_channels.size())
    visit.fail("block_out_channels", text("has ", c.block_out_channels.size(), " numbers, for ", down.size(), " down blocks and ",
                                          up.size(), " up blocks"));
}

MINDGAP_INLINE AutoencoderConfig parse_autoencoder_config(const std::string& json, const std::string& file) {
  const auto config =
      from_json<AutoencoderConfig>(json, {"autoencoder configuration", file,
                                          "give the config.json of an AutoencoderKL, as Stable Diffusion 1 and 2 have it; values "
                                          "other than these are not implemented"});
  naming_file(file, [&] { config.check(); });
  return config;
}

MINDGAP_INLINE AutoencoderConfig read_autoencoder_config(const std::filesystem::path& path) {
  return parse_autoencoder_config(read_file(path, json_bytes), path.string());
}

}  // namespace mindgap
