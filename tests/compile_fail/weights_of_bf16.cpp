// The gradient of a weight is f32, whatever its type; that of a variable() is of its type.
// expect: mindgap: weights have gradients in f32
// expect_first: mindgap: weights have gradients in f32, whatever their type
#include <mindgap/autograd/embedding.hpp>
#include <mindgap/autograd/linear.hpp>

using namespace mindgap;

auto product(const Var<bf16, 2>& x, const Var<bf16, 2>& w) { return linear(x, w); }
auto convolution(const Var<bf16, 4>& x, const Var<bf16, 4>& w) { return conv2d(x, w, {}, {1, 1}); }
auto rows(const Tensor<i64, 1>& ids, const Var<bf16, 2>& table) { return embedding(ids, table); }
