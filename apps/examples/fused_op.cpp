// A fused op in one line, and a check that its gradient is right.
//
// The lambda is called once, with placeholders, while this file is compiled. What comes back is a type that knows the formula
// and its derivative; one kernel a direction is made from it, so that nothing in between is ever written to memory.
#include <mindgap/autograd/gradcheck.hpp>

#include <iostream>

using namespace mindgap;

constexpr auto film = [](auto x, auto scale, auto shift) { return silu(x * (1.f + scale) + shift); };

template <int N>
Tensor<float, N> random(Shape<N> shape, u64 id) {
  const Tensor<float, N> out(shape);
  for (i64 i = 0; i < out.size(); ++i) out.data()[i] = Stream(/*seed*/ 1, "example", id).normal(u64(i));
  return out;
}

int main() {
  // Rows of 4 channels; every row meets the same scale and shift.
  const auto x = random<2>({6, 4}, 0);
  const auto scale = random<1>({4}, 1), shift = random<1>({4}, 2);

  // On tensors the op computes and that is all; there is no graph to forget about.
  std::cout << "film(x) begins with " << pointwise(film, x, row(scale), row(shift)).data()[0] << "\n";

  // What backward will read, and hence what stays alive until then, is known to the compiler: all three inputs of this formula,
  // but nothing at all of a sum, whose gradient is the same everywhere.
  static_assert(Traced<decltype(film), 3>::reads == 0b111);
  static_assert(Traced<decltype([](auto a, auto b) { return a + b; }), 2>::reads == 0);

  // On variables the same call is recorded. The gradients of scale and shift are sums over the rows, in the same kernel.
  const auto op = [](auto a, auto s, auto t) { return pointwise(film, a, row(s), row(t)); };
  const double error = gradcheck(op, x, scale, shift);
  std::cout << "relative error of the gradients against finite differences: " << error << "\n";
  return error < 1e-3 && std::cout.flush() ? 0 : 1;
}
