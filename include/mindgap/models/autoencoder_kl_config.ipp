// Bodies of models/autoencoder_kl_config.hpp.
#pragma once

#include <mindgap/io/json.hpp>
#include <mindgap/models/autoencoder_kl_config.hpp>

namespace mindgap {

MINDGAP_INLINE void AutoencoderConfig::check() const {
  const auto require = [](bool holds, const std::string& what) {
    if (!holds) throw Error("autoencoder: " + what, {{"remedy", "give the config.json of a published model as it is"}});
  };
  require(block_out_channels.size() >= 1 && block_out_channels.size() <= 16,
          text(block_out_channels.size(), " block_out_channels"));
  for (i64 channels : block_out_channels)
    require(channels % norm_num_groups == 0, text(channels, " channels do not divide into ", norm_num_groups, " groups"));
}

template <class V>
void visit_fields(V& visit, AutoencoderConfig& c) {
  std::vector<std::string> down{"DownEncoderBlock2D"}, up{"UpDecoderBlock2D"};
  visit.constant("_class_name", "AutoencoderKL");
  visit("in_channels", c.in_channels, {1, 4096});
  visit("out_channels", c.out_channels, {1, 4096});
  visit("down_block_types", down, {.one_of = {"DownEncoderBlock2D"}});
  visit("up_block_types", up, {.one_of = {"UpDecoderBlock2D"}});
  visit("block_out_channels", c.block_out_channels, {1, 1 << 16});
  visit("layers_per_block", c.layers_per_block, {1, 64});
  visit("latent_channels", c.latent_channels, {1, 4096});
  visit("norm_num_groups", c.norm_num_groups, {1, 1 << 16});
  visit("sample_size", c.sample_size, {1, 1 << 16});
  visit("scaling_factor", c.scaling_factor, {1e-6, 1e6});
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
