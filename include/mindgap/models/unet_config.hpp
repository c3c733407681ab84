// The configuration of UNet2DModel as diffusers writes it to unet/config.json, and that file.
//
// Keys that a file lacks take the class's defaults (diffusers 0.42); unknown keys and values that this implementation cannot
// honour are an Error that names them. Files that we write load in diffusers.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/core/shape.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace mindgap {

struct UNetConfig {
  i64 sample_size = 0;  // pixels of the side; 0: not said
  i64 in_channels = 3, out_channels = 3;
  std::vector<i64> block_out_channels{224, 448, 672, 896};
  std::vector<bool> down_attention{false, true, true, true};  // AttnDownBlock2D where true
  std::vector<bool> up_attention{true, true, true, false};    // AttnUpBlock2D where true, innermost first
  i64 layers_per_block = 2;
  i64 attention_head_dim = 8;  // the size of a head; 0: one head as wide as the block
  bool mid_attention = true;   // add_attention
  i64 norm_num_groups = 32;
  float norm_eps = 1e-5f;
  i64 num_class_embeds = 0;  // rows of the class embedding; 0: unconditional
  bool flip_sin_to_cos = true;
  i64 freq_shift = 0;

  i64 time_embed_dim() const { return 4 * block_out_channels[0]; }
  i64 heads(i64 channels) const { return attention_head_dim ? channels / attention_head_dim : 1; }
  // Throws for extents that do not fit each other.
  void check() const;
  bool operator==(const UNetConfig&) const = default;
};

UNetConfig parse_unet_config(const std::string& json, const std::string& file);
UNetConfig read_unet_config(const std::filesystem::path& path);
std::string unet_config_json(const UNetConfig& config);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/models/unet_config.ipp>
#endif
