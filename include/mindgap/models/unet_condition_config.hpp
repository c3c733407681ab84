// The configuration of UNet2DConditionModel as diffusers writes it to unet/config.json.
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

struct UNetConditionConfig {
  i64 sample_size = 0;  // side of the latents that it was trained on; 0: not said
  i64 in_channels = 4, out_channels = 4;
  std::vector<i64> block_out_channels{320, 640, 1280, 1280};
  std::vector<bool> down_attention{true, true, true, false};  // CrossAttnDownBlock2D where true
  std::vector<bool> up_attention{false, true, true, true};    // CrossAttnUpBlock2D where true, innermost first
  i64 layers_per_block = 2;
  std::vector<i64> attention_head_dim{8};  // heads (sic) of each level, or of all
  bool mid_attention = true;               // mid_block_type UNetMidBlock2DCrossAttn, else UNetMidBlock2D
  i64 cross_attention_dim = 1280;          // channels of the text
  i64 norm_num_groups = 32;
  float norm_eps = 1e-5f;
  bool flip_sin_to_cos = true;
  i64 freq_shift = 0;

  i64 time_embed_dim() const { return 4 * block_out_channels[0]; }
  i64 heads(size_t level) const { return attention_head_dim[attention_head_dim.size() == 1 ? 0 : level]; }
  // Throws for extents that do not fit each other.
  void check() const;
  bool operator==(const UNetConditionConfig&) const = default;
};

UNetConditionConfig parse_unet_condition_config(const std::string& json, const std::string& file);
UNetConditionConfig read_unet_condition_config(const std::filesystem::path& path);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/models/unet_condition_config.ipp>
#endif
