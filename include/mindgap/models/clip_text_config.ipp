// Bodies of models/clip_text_config.hpp.
#pragma once

#include <mindgap/io/json.hpp>
#include <mindgap/models/clip_text_config.hpp>

#include <cmath>

namespace mindgap {

MINDGAP_INLINE void ClipTextConfig::check() const {
  const auto require = [](bool holds, const std::string& what) {
    if (!holds) throw Error("CLIP text encoder: " + what, {{"remedy", "give the config.json of a published model as it is"}});
  };
  const auto within = [&](const std::string& what, i64 value, i64 least, i64 most) {
    require(value >= least && value <= most, text(what, " is ", value, ", wanted ", least, " to ", most));
  };
  within("vocab_size", vocab_size, 1, 10'000'000);
  within("hidden_size", hidden_size, 1, 1 << 16);
  within("intermediate_size", intermediate_size, 1, 1 << 20);
  within("num_hidden_layers", num_hidden_layers, 1, 1024);
  within("num_attention_heads", num_attention_heads, 1, 1024);
  within("max_position_embeddings", max_position_embeddings, 1, 1 << 16);
  require(layer_norm_eps >= 0 && layer_norm_eps <= 1, text("layer_norm_eps is ", layer_norm_eps, ", wanted 0 to 1"));
  require(hidden_size % num_attention_heads == 0,
          text("hidden_size ", hidden_size, " does not divide into ", num_attention_heads, " heads"));
}

template <class V>
void visit_fields(V& visit, ClipTextConfig& c) {
  visit("vocab_size", c.vocab_size);
  visit("hidden_size", c.hidden_size);
  visit("intermediate_size", c.intermediate_size);
  visit("num_hidden_layers", c.num_hidden_layers);
  visit("num_attention_heads", c.num_attention_heads);
  visit("max_position_embeddings", c.max_position_embeddings);
  visit("hidden_act", c.hidden_act, {.one_of = {"quick_gelu", "gelu"}});
  double eps = std::round(double(c.layer_norm_eps) * 1e12) / 1e12;
  visit("layer_norm_eps", eps);
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
