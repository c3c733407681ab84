// Multi-head attention as a layer.
#pragma once

#include <mindgap/autograd/attention.hpp>
#include <mindgap/nn/layers.hpp>

namespace mindgap {

// torch.nn.MultiheadAttention(E, heads, batch_first=True), its names and initial values: attention(x) of x to itself,
// attention(query, key, value) of query [N, L, E] to key and value [N, M, E]; [N, L, E].
template <Device D, class P>
struct MultiheadAttention {
  // torch's is a Linear whose bias begins at 0, set by the whole.
  struct Projection {
    Parameter<2, D, P> weight;  // [E, E]
    Parameter<1, D, P> bias;    // [E]
    MINDGAP_MODULE(weight, bias)
  };

  Parameter<2, D, P> in_proj_weight;  // [3 E, E]: of the queries, the keys, the values
  Parameter<1, D, P> in_proj_bias;    // [3 E]
  Projection out_proj;
  i64 heads = 1;
  std::string path;
  MINDGAP_MODULE(in_proj_weight, in_proj_bias, out_proj)

  MultiheadAttention() = default;
  MultiheadAttention(i64 features, i64 head_count, Location at = Location::current())
      : in_proj_weight(Shape<2>(3 * features, features), at),
        in_proj_bias(Shape<1>(3 * features)),
        out_proj{Parameter<2, D, P>(Shape<2>(features, features)), Parameter<1, D, P>(Shape<1>(features))},
        heads(head_count) {}

  template <class X>
  X operator()(const X& query, const X& key, const X& value, Location at = Location::current()) const {
    const Caller caller(at);
    const ModulePath in(path);
    return multihead_attention(query, key, value, in_proj_weight.as(query), in_proj_bias.as(query), out_proj.weight.as(query),
                               out_proj.bias.as(query), heads);
  }
  template <class X>
  X operator()(const X& x, Location at = Location::current()) const {
    return (*this)(x, x, x, at);
  }

  // Glorot and Bengio's uniform values (2010, equation 16) of the whole of in_proj_weight.
  void reset(u64 seed, const std::string& name) {
    const Shape<2>& s = in_proj_weight.shape();
    init::uniform(in_proj_weight, std::sqrt(6.f / float(s[0] + s[1])), seed, name + ".in_proj_weight");
    init::constant(in_proj_bias, 0.f);
    init::uniform(out_proj.weight, init::default_bound(s[1]), seed, name + ".out_proj.weight");
    init::constant(out_proj.bias, 0.f);
  }
};

}  // namespace mindgap
