// Multi-head attention with its projections (Vaswani et al. 2017, section 3.2.2), on tensors and on variables; the layer is in
// nn/attention.hpp.
#pragma once

#include <mindgap/autograd/linear.hpp>

namespace mindgap {

// attend(query Wq^T + bq, key Wk^T + bk, value Wv^T + bv) Wo^T + bo, as torch.nn.functional.multi_head_attention_forward without
// mask and dropout. query [N, L, E], key and value [N, M, E] -> [N, L, E]; in_weight [3 E, E] and in_bias [3 E] are those of the
// queries, the keys and the values, one after the other; out_weight [E, E], out_bias [E]. Throws where heads do not divide E.
template <class X, class W, class B>
X multihead_attention(const X& query, const X& key, const X& value, const W& in_weight, const B& in_bias, const W& out_weight,
                      const B& out_bias, i64 heads, Location at = Location::current()) {
  const Caller caller(at);
  const i64 e = in_weight.extent(1);
  if (in_weight.extent(0) != 3 * e || in_bias.size() != 3 * e)
    throw Error("multihead attention: the input projections are not [3 E, E] and [3 E]",
                {{"weight", value_of(in_weight).str()}, {"bias", value_of(in_bias).str()}});
  const auto projected = [&](const X& x, i64 k) {
    return linear(x, slice(in_weight, k * e, (k + 1) * e), slice(in_bias, k * e, (k + 1) * e));
  };
  return linear(attend(projected(query, 0), projected(key, 1), projected(value, 2), heads), out_weight, out_bias);
}

}  // namespace mindgap
