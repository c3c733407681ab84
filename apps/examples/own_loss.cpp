// A loss of one's own, with a branch in it: Huber's (1964), which is quadratic near 0 and linear beyond. Three lines, and a
// fourth that says whether its gradient is right.
#include <mindgap/autograd/gradcheck.hpp>
#include <mindgap/autograd/reduce.hpp>

#include <iostream>

using namespace mindgap;

// A lambda is traced once, with placeholders, and cannot look at values: where() takes one of two by a condition, and the
// gradient flows into the one that was taken.
constexpr auto huber = [](auto x, auto goal, auto delta) {
  const auto distance = abs(x - goal);
  return where(distance <= delta, 0.5f * square(distance), delta * (distance - 0.5f * delta));
};

// The mean over all elements; one kernel forward and one backward, besides the mean.
template <int N>
Var<float, 1> huber_loss(const Var<float, N>& x, const Tensor<float, N>& goal, float delta) {
  return mean(pointwise(huber, x, goal, value(delta)));
}

int main() {
  const Tensor<float, 2> x({8, 5}), goal({8, 5});
  for (i64 i = 0; i < x.size(); ++i) {
    x.data()[i] = 2 * Stream(/*seed*/ 1, "x").normal(u64(i));
    goal.data()[i] = Stream(/*seed*/ 1, "goal").normal(u64(i));
  }
  const double error = gradcheck([&](auto v) { return huber_loss(v, goal, 1.f); }, x);
  std::cout << "relative error of the gradient against finite differences: " << error << "\n";

  // Descend: the loss falls to 0 where x reaches the goal. The tape is empty after each backward, and leaves are made anew.
  float loss = 0;
  for (int step = 0; step < 400; ++step) {
    Tape tape;
    const auto v = variable(tape, x);
    const auto l = huber_loss(v, goal, 1.f);
    backward(l);
    loss = l.value().item();
    pointwise_into(
        x, [](auto at, auto slope) { return at - 4.f * slope; }, x, v.gradient());
  }
  std::cout << "loss after 400 steps: " << loss << "\n";
  return error < 1e-3 && loss < 1e-6f && std::cout.flush() ? 0 : 1;
}
