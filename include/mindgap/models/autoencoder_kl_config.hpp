// The configuration of AutoencoderKL as diffusers writes it to vae/config.json.
//
// Keys that a file lacks take the class's defaults (diffusers 0.42); unknown keys and values that this implementation cannot
// honour are an Error that names them.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/core/shape.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace mindgap {

struct AutoencoderConfig {
  i64 in_channels = 3, out_channels = 3;
  std::vector<i64> block_out_channels{64};
  i64 layers_per_block = 1;
  i64 latent_channels = 4;
  i64 norm_num_groups = 32;
  i64 sample_size = 32;             // side of the images that it was trained on: of a tile, too
  double scaling_factor = 0.18215;  // of latents, for a deviation of about one
  bool use_quant_conv = true, use_post_quant_conv = true;
  bool mid_attention = true;  // mid_block_add_attention

  // Pixels to a side of a latent.
  i64 scale() const { return i64(1) << (block_out_channels.size() - 1); }
  // Throws for extents that do not fit each other.
  void check() const;
  bool operator==(const AutoencoderConfig&) const = default;
};

AutoencoderConfig parse_autoencoder_config(const std::string& json, const std::string& file);
AutoencoderConfig read_autoencoder_config(const std::filesystem::path& path);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/models/autoencoder_kl_config.ipp>
#endif
