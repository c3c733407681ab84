// Blocks of convolutional networks with group norms, under diffusers' names: what a U-Net is made of. They take numbers, and work
// on tensors and on variables alike.
#pragma once

#include <mindgap/autograd/pointwise.hpp>
#include <mindgap/nn/layers.hpp>

#include <array>
#include <optional>
#include <utility>

namespace mindgap {

// conv2(silu(norm2(conv1(silu(norm1(x))) + time))) + shortcut(x), x having one or two parts; without time channels, without time.
template <Device D, class P>
struct ResnetBlock2D {
  GroupNorm2d<D, P> norm1;
  Conv2d<D, P> conv1;
  std::optional<Linear<D, P>> time_emb_proj;
  GroupNorm2d<D, P> norm2;
  Conv2d<D, P> conv2;
  std::optional<Conv2d<D, P>> conv_shortcut;  // 1x1, where the number of channels changes
  MINDGAP_MODULE(norm1, conv1, time_emb_proj, norm2, conv2, conv_shortcut)

  ResnetBlock2D(i64 in, i64 out, i64 groups, float eps, i64 time_channels = 0)
      : norm1(groups, in, eps), conv1(in, out, 3, {1, 1}), norm2(groups, out, eps), conv2(out, out, 3, {1, 1}) {
    if (time_channels) time_emb_proj = Linear<D, P>(time_channels, out);
    if (in != out) conv_shortcut = Conv2d<D, P>(in, out, 1);
  }

  // skip: the second part of the input, or default-made. time: silu of the embedding, [N, time_channels].
  template <class X, class R>
  X operator()(const X& x, const X& skip, const R& time) const {
    X h = conv1(norm1(epilogues::silu, x, skip, R()));
    h = norm2(epilogues::silu, h, X(), time_emb_proj ? (*time_emb_proj)(time) : R());  // what is read no more goes at once
    h = conv2(h);
    if (!conv_shortcut) return add(h, x);
    const ModulePath in(conv_shortcut->path);
    const auto weight = conv_shortcut->weight.as(x);
    const auto matrix = reshape(weight, Shape<2>(weight.shape()[0], weight.shape()[3]));
    const auto bias = conv_shortcut->bias.as(x);
    return add(h, value_of(skip).defined() ? linear_pair(x, skip, matrix, bias) : linear(x, matrix, bias));
  }
};

// Self-attention over all positions, with its norm and residual.
template <Device D, class P>
struct AttentionBlock2D {
  GroupNorm2d<D, P> group_norm;
  Linear<D, P> to_q, to_k, to_v, to_out;
  i64 heads;
  // In files of diffusers before 0.17.
  static constexpr std::array<std::pair<const char*, const char*>, 4> older_names{
      {{"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}, {"to_out.0", "proj_attn"}}};

  template <class F>
  void visit(F&& f) {
    f("group_norm", group_norm);
    f("to_q", to_q);
    f("to_k", to_k);
    f("to_v", to_v);
    f("to_out.0", to_out);
  }

  AttentionBlock2D(i64 channels, i64 head_count, i64 groups, float eps)
      : group_norm(groups, channels, eps),
        to_q(channels, channels),
        to_k(channels, channels),
        to_v(channels, channels),
        to_out(channels, channels),
        heads(head_count) {}

  template <class X, class R>
  X operator()(const X& x, const R&) const {
    const Shape<4> shape = x.shape();
    const auto tokens = reshape(group_norm(epilogues::identity, x, X(), R()), Shape<3>(shape[0], shape[1] * shape[2], shape[3]));
    return add(reshape(to_out(attend(to_q(tokens), to_k(tokens), to_v(tokens), heads)), shape), x);
  }
};

// A convolution that halves the image, or follows its doubling.
template <Device D, class P>
struct Resampler2D {
  Conv2d<D, P> conv;
  MINDGAP_MODULE(conv)
};

}  // namespace mindgap
