// The configuration of CLIPTextModel as transformers writes it to text_encoder/config.json.
//
// Keys that a file lacks take the class's defaults; unknown keys and values that this implementation cannot honour are an Error
// that names them.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/core/shape.hpp>

#include <filesystem>
#include <string>

namespace mindgap {

// quick_gelu: CLIP's own, x sigmoid(1.702 x); gelu: by erf, OpenCLIP's.
enum class ClipActivation { quick_gelu, gelu };

struct ClipTextConfig {
  i64 vocab_size = 49408;
  i64 hidden_size = 512, intermediate_size = 2048;
  i64 num_hidden_layers = 12, num_attention_heads = 8;
  i64 max_position_embeddings = 77;
  ClipActivation hidden_act = ClipActivation::quick_gelu;
  float layer_norm_eps = 1e-5f;

  // Throws for extents that do not fit each other.
  void check() const;
  bool operator==(const ClipTextConfig&) const = default;
};

ClipTextConfig parse_clip_text_config(const std::string& json, const std::string& file);
ClipTextConfig read_clip_text_config(const std::filesystem::path& path);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/models/clip_text_config.ipp>
#endif
