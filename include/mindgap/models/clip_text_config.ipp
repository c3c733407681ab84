// Bodies of models/clip_text_config.hpp.
#pragma once

#include <mindgap/io/json.hpp>
#include <mindgap/models/clip_text_config.hpp>

#include <cmath>

namespace mindgap {

MINDGAP_INLINE void ClipTextConfig::check() const {
  if (hidden_size % num_attention_heads)
    throw Error(text("CLIP text encoder: hidden_size ", hidden_size, " does not divide into ", num_attention_heads, " heads"),
                {{"remedy", "give a file of a published model as it is"}});
}

template <class V>
void visit_fields(V& visit, ClipTextConfig& c) {
  visit("vocab_size", c.vocab_size, {1, 1e7});
  visit("hidden_size", c.hidden_size, {1, 1 << 16});
  visit("intermediate_size", c.intermediate_size, {1, 1 << 20});
  visit("num_hidden_layers", c.num_hidden_layers, {1, 1024});
  visit("num_attention_heads", c.num_attention_heads, {1, 1024});
  visit("max_position_embeddings", c.max_position_embeddings, {1, 1 << 16});
  visit("hidden_act", c.hidden_act, {.one_of = {"quick_gelu", "gelu"}});
  double eps = std::round(double(c.layer_norm_eps) * 1e12) / 1e12;
  visit("layer_norm_eps", eps, {0, 1});
  c.layer_norm_eps = float(eps);
  visit.only("model_type", {"clip_text_model"});
  // How to train it; what its projection has, which is no part of it; ids of tokens.
  visit.ignore({"_*", "architectures", "attention_dropout", "dropout", "initializer_factor", "initializer_range"});
  visit.ignore(
      {"projection_dim", "bos_token_id", "eos_token_id", "pad_token_id", "torch_dtype", "dtype", "transformers_version"});
}

MINDGAP_INLINE ClipTextConfig parse_clip_text_config(const std::string& json, const std::string& file) {
  const auto config = from_json<ClipTextConfig>(
      json,
      {"CLIP text configuration", file, "give the config.json of a CLIPTextModel; values other than these are not implemented"});
  naming_file(file, [&] { config.check(); });
  return config;
}

MINDGAP_INLINE ClipTextConfig read_clip_text_config(const std::filesystem::path& path) {
  return parse_clip_text_config(read_file(path, json_bytes), path.string());
}

}  // namespace mindgap
