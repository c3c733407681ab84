// CLIPTextModel: the text encoder of Stable Diffusion, under transformers' names and configuration.
//
//   model(ids [N, L] i64) -> [N, L, hidden_size], the last hidden state after the final norm
//
// Radford et al., "Learning transferable visual models from natural language supervision" (2021), section 2.4: a causal
// transformer whose norms come first. The ids are those of a tokenizer, begin and end included.
#pragma once

#include <mindgap/autograd/embedding.hpp>
#include <mindgap/autograd/pointwise.hpp>
#include <mindgap/models/clip_text_config.hpp>
#include <mindgap/nn/freeze.hpp>
#include <mindgap/nn/layers.hpp>

#include <array>
#include <utility>
#include <vector>

namespace mindgap {

template <Device D, class P>
struct ClipTextLayer {
  struct Attention {
    Linear<D, P> k_proj, v_proj, q_proj, out_proj;
    MINDGAP_MODULE(k_proj, v_proj, q_proj, out_proj)
  };
  struct Mlp {
    Linear<D, P> fc1, fc2;
    MINDGAP_MODULE(fc1, fc2)
  };
  Attention self_attn;
  LayerNorm<D, P> layer_norm1;
  Mlp mlp;
  LayerNorm<D, P> layer_norm2;
  MINDGAP_MODULE(self_attn, layer_norm1, mlp, layer_norm2)

  explicit ClipTextLayer(const ClipTextConfig& c)
      : self_attn{{c.hidden_size, c.hidden_size},
                  {c.hidden_size, c.hidden_size},
                  {c.hidden_size, c.hidden_size},
                  {c.hidden_size, c.hidden_size}},
        layer_norm1(c.hidden_size, c.layer_norm_eps),
        mlp{{c.hidden_size, c.intermediate_size}, {c.intermediate_size, c.hidden_size}},
        layer_norm2(c.hidden_size, c.layer_norm_eps) {}

  // x [N, L, C] -> [N, L, C]
  template <class X>
  X operator()(const X& x, const ClipTextConfig& c) const {
    const X n = layer_norm1(x);
    const X attended = attend(self_attn.q_proj(n), self_attn.k_proj(n), self_attn.v_proj(n), c.num_attention_heads, true);
    const X h = add(x, self_attn.out_proj(attended));
    const X wide = mlp.fc1(layer_norm2(h));
    const X bent = c.hidden_act == ClipActivation::gelu ? pointwise([](auto v) { return gelu(v); }, wide)
                                                        : pointwise([](auto v) { return quick_gelu(v); }, wide);
    return add(h, mlp.fc2(bent));
  }
};

template <Device D, class P>
struct CLIPTextModel {
  struct Embeddings {
    Embedding<D, P> token_embedding, position_embedding;
    MINDGAP_MODULE(token_embedding, position_embedding)
    static constexpr std::array<const char*, 1> not_weights{"position_ids"};  // 0, 1, 2, ...
  };
  struct Encoder {
    std::vector<ClipTextLayer<D, P>> layers;
    MINDGAP_MODULE(layers)
  };
  struct TextModel {
    Embeddings embeddings;
    Encoder encoder;
    LayerNorm<D, P> final_layer_norm;
    MINDGAP_MODULE(embeddings, encoder, final_layer_norm)
  };
  TextModel text_model;
  ClipTextConfig config;
  MINDGAP_MODULE(text_model)
  // In files of transformers 5.
  static constexpr std::array<std::pair<const char*, const char*>, 3> older_names{
      {{"text_model.embeddings", "embeddings"},
       {"text_model.encoder", "encoder"},
       {"text_model.final_layer_norm", "final_layer_norm"}}};

  // Without weights, to be loaded.
  explicit CLIPTextModel(const ClipTextConfig& c);
  CLIPTextModel(const CLIPTextModel&) = delete;
  CLIPTextModel& operator=(const CLIPTextModel&) = delete;

  // Throws for more tokens than there are positions; on the CPU, for ids outside the vocabulary. Not in a step that is replayed:
  // the places of the tokens come from the host.
  Tensor<typename P::compute, 3, D> operator()(const Tensor<i64, 2, D>& ids, Location at = Location::current()) const;
};

template <Device D, class P>
CLIPTextModel<D, P>::CLIPTextModel(const ClipTextConfig& c) : config(c) {
  c.check();
  text_model.embeddings = {{c.vocab_size, c.hidden_size}, {c.max_position_embeddings, c.hidden_size}};
  for (i64 i = 0; i < c.num_hidden_layers; ++i) text_model.encoder.layers.emplace_back(c);
  text_model.final_layer_norm = LayerNorm<D, P>(c.hidden_size, c.layer_norm_eps);
  assign_paths(*this);
}

template <Device D, class P>
Tensor<typename P::compute, 3, D> CLIPTextModel<D, P>::operator()(const Tensor<i64, 2, D>& ids, Location at) const {
  const Caller caller(at);
  using T = typename P::compute;
  const i64 n = ids.extent(0), length = ids.extent(1);
  if (length > config.max_position_embeddings)
    throw Error(text("CLIP text encoder: ", length, " tokens, of at most ", config.max_position_embeddings),
                {{"ids", ids.str()}});
  std::vector<i64> places(size_t(n * length));
  for (size_t i = 0; i < places.size(); ++i) places[i] = i64(i) % length;
  const auto positions = Tensor<i64, 1>::from(places, Shape<1>(n * length)).template to<D>();
  const Tensor<T, 2, D> like;
  const auto tokens = text_model.embeddings.token_embedding(reshape(ids, Shape<1>(n * length)), like);
  Tensor<T, 3, D> x =
      reshape(add(tokens, text_model.embeddings.position_embedding(positions, like)), Shape<3>(n, length, config.hidden_size));
  for (const ClipTextLayer<D, P>& layer : text_model.encoder.layers) x = layer(x, config);
  return text_model.final_layer_norm(x);
}

}  // namespace mindgap

#if defined(MINDGAP_GLUE) && !defined(MINDGAP_NO_INSTANCES)
#include <mindgap/models/clip_text_instances.hpp>
#endif
