// Transformer2DModel: attention of an image's positions to each other and to a text, under diffusers' names.
//
// Rombach et al., "High-resolution image synthesis with latent diffusion models" (2022), section 3.3 and figure 3. The keys and
// values of the text do not depend on the image: they are made once (cross_keys) and handed in, step after step.
#pragma once

#include <mindgap/autograd/gated.hpp>
#include <mindgap/nn/layers.hpp>

#include <utility>
#include <vector>

namespace mindgap {

// Of a text [N, M, context]: what a cross-attention asks, [N, M, heads * d] each.
template <class X>
struct CrossKeys {
  X keys, values;
};

template <Device D, class P>
struct CrossAttention {
  Linear<D, P> to_q, to_k, to_v, to_out;
  i64 heads;

  template <class F>
  void visit(F&& f) {
    f("to_q", to_q);
    f("to_k", to_k);
    f("to_v", to_v);
    f("to_out.0", to_out);
  }

  // context: channels of what keys and values are made of.
  CrossAttention(i64 channels, i64 context, i64 head_count)
      : to_q(channels, channels, false),
        to_k(context, channels, false),
        to_v(context, channels, false),
        to_out(channels, channels),
        heads(head_count) {}

  template <class X>
  CrossKeys<X> cross_keys(const X& context) const {
    return {to_k(context), to_v(context)};
  }
  template <class X>
  X operator()(const X& x, const CrossKeys<X>& text) const {
    return to_out(attend(to_q(x), text.keys, text.values, heads));
  }
};

template <Device D, class P>
struct BasicTransformerBlock {
  struct FeedForward {
    Linear<D, P> in, out;  // to both halves of the gate, and back

    template <class F>
    void visit(F&& f) {
      f("net.0.proj", in);
      f("net.2", out);
    }
  };
  LayerNorm<D, P> norm1;
  CrossAttention<D, P> attn1;
  LayerNorm<D, P> norm2;
  CrossAttention<D, P> attn2;
  LayerNorm<D, P> norm3;
  FeedForward ff;
  MINDGAP_MODULE(norm1, attn1, norm2, attn2, norm3, ff)

  BasicTransformerBlock(i64 channels, i64 context, i64 heads)
      : norm1(channels),
        attn1(channels, channels, heads),
        norm2(channels),
        attn2(channels, context, heads),
        norm3(channels),
        ff{{channels, 8 * channels}, {4 * channels, channels}} {}

  // x [N, L, channels] -> the same
  template <class X>
  X operator()(const X& x, const CrossKeys<X>& text) const {
    const X n = norm1(x);
    X h = add(attn1(n, attn1.cross_keys(n)), x);
    h = add(attn2(norm2(h), text), h);
    return add(ff.out(geglu(ff.in(norm3(h)))), h);
  }
};

template <Device D, class P>
struct Transformer2DModel {
  GroupNorm2d<D, P> norm;
  Linear<D, P> proj_in;  // 1x1 convolutions in files without use_linear_projection: the same product
  std::vector<BasicTransformerBlock<D, P>> transformer_blocks;
  Linear<D, P> proj_out;
  MINDGAP_MODULE(norm, proj_in, transformer_blocks, proj_out)

  Transformer2DModel(i64 channels, i64 context, i64 heads, i64 groups)
      : norm(groups, channels, 1e-6f), proj_in(channels, channels), proj_out(channels, channels) {
    transformer_blocks.emplace_back(channels, context, heads);
  }

  // What the text [N, M, context] says to each block.
  template <class X>
  std::vector<CrossKeys<X>> cross_keys(const X& text) const {
    std::vector<CrossKeys<X>> out;
    for (const auto& block : transformer_blocks) out.push_back(block.attn2.cross_keys(text));
    return out;
  }

  // x [N, H, W, channels] -> the same; text: of cross_keys, N texts.
  template <class X, class X3>
  X operator()(const X& x, const std::vector<CrossKeys<X3>>& text) const {
    const Shape<4> shape = x.shape();
    const X n = norm(epilogues::identity, x, X(), decltype(reshape(x, Shape<2>()))());
    X3 h = proj_in(reshape(n, Shape<3>(shape[0], shape[1] * shape[2], shape[3])));
    for (size_t i = 0; i < transformer_blocks.size(); ++i) h = transformer_blocks[i](h, text[i]);
    return add(reshape(proj_out(h), shape), x);
  }
};

}  // namespace mindgap
