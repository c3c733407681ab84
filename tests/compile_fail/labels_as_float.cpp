// Labels are integers.
// expect_first: mindgap: cross_entropy wants labels, an i64 tensor \[N\]
#include <mindgap/autograd/loss.hpp>

using namespace mindgap;

Var<float, 1> loss(const Var<float, 2>& logits, const Tensor<float, 1>& labels) { return cross_entropy(logits, labels); }
