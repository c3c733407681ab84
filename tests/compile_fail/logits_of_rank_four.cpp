// Logits are rows, and on a tape; tensors have no operators.
// expect_first: mindgap: cross_entropy wants logits, a variable \[N, K\]
// expect: mindgap: operators are for variables; of tensors: pointwise
#include <mindgap/autograd/loss.hpp>
#include <mindgap/autograd/operators.hpp>

using namespace mindgap;

void slips(Var<float, 4> images, Tensor<float, 2> x, Tensor<i64, 1> labels) {
  cross_entropy(images, labels);
  cross_entropy(x, labels);
  x + x;
  x * 2.f;
}
