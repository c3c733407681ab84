// What users of torch write at first.
// expect: mindgap: a variable is f32, bf16 or f16: what is computed from integers has no gradient
// expect: mindgap: a variable does not change in place: a = a \+ b
// expect: mindgap: embedding wants ids, an i64 tensor \[N\], and a table \[R, C\]
// expect: mindgap: zero_pad2d wants images \[N, H, W, C\]
// expect: mindgap: this op computes in f32, bf16 and f16, not in integers
// expect: mindgap: dropout wants a key
// expect: mindgap: concat joins two
// expect: mindgap: softmax is over the innermost axis
// expect: mindgap: sum wants its axes as a list
// expect: mindgap: max_pool2d wants kernel, stride and padding
// expect: mindgap: pointwise: operands have one rank
// expect: mindgap: pointwise: the first operand gives the result its shape
#include <mindgap/autograd/concat.hpp>
#include <mindgap/autograd/dropout.hpp>
#include <mindgap/autograd/embedding.hpp>
#include <mindgap/autograd/gated.hpp>
#include <mindgap/autograd/operators.hpp>
#include <mindgap/autograd/pad.hpp>
#include <mindgap/autograd/pool.hpp>
#include <mindgap/autograd/reduce.hpp>
#include <mindgap/autograd/softmax.hpp>

using namespace mindgap;

constexpr auto plus = [](auto a, auto b) { return a + b; };

void slips(Tape& tape, Var<float, 2> x, Var<float, 1> r, Var<float, 4> image, Tensor<i64, 2> i, Tensor<i32, 1> ids) {
  variable(tape, i);
  x += 1.f;
  embedding(ids, x);
  zero_pad2d(x, {1, 1, 1, 1});
  geglu(i);
  sum(i);
  dropout(x, 0.5f, 3);
  concat(x, x, x, 1);
  softmax(x, 1);
  sum(x, 1);
  max_pool2d(image, 2);
  pointwise(plus, x, r);
  pointwise(plus, value(1.f), x);
}
