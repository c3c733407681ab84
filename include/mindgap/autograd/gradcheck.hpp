// Is the gradient of an op right? One line against finite differences:
//
//   const double error = gradcheck([](auto x, auto w) { return linear(x, w); }, x, w);      about 1e-5 if right, about 1 if wrong
//
// f takes a variable for each input and returns one of any shape. With fixed random weights r, the gradients of sum(r f(inputs))
// by backward() are compared with differences of fourth order,
//
//   f'(x) = (8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / (12 h),
//
// whose error is O(h^4): h = 1/32 suits f32 and numbers of the order of one, where smaller steps drown in rounding. Where the
// differences of h and 2h do not scale as those of a smooth function there is a kink (max, relu, abs) nearby, and h is halved,
// down to 1/4096. f is called 4 to 18 times an element of the inputs, without recording; it must be deterministic and keep no
// state.
//
// What it leaves out: types other than f32, which are compared with f32; inputs closer than 1/4096 to a kink.
#pragma once

#include <mindgap/autograd/pointwise.hpp>
#include <mindgap/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace mindgap {

namespace detail {

// An input that differences move, one element at a time, and its gradient by backward().
struct CheckedInput {
  float* elements;
  std::vector<float> gradient;
};

// values(): those of f where the inputs are now. Apart from f's types: f is compiled often.
inline double compare_with_differences(const std::vector<CheckedInput>& inputs, const std::vector<float>& weights,
                                       const std::function<std::vector<float>()>& values) {
  double rounding = 0;  // what a few values may differ by for rounding alone
  const auto weighted = [&] {
    double sum = 0, square = 0;
    const std::vector<float> now = values();
    for (size_t i = 0; i < now.size(); ++i) {
      const double term = double(weights[i]) * double(now[i]);
      sum += term, square += term * term;
    }
    rounding = std::max(rounding, 1e-6 * std::sqrt(square));
    return sum;
  };
  const double centre = weighted();
  const auto slope = [&](float& x) {
    struct Differences {
      double first, second;  // f' and h f''
    };
    const float middle = x;
    const auto differences = [&](float h) -> Differences {
      x = middle + h;
      const double up = weighted(), above = x;
      x = middle - h;
      const double down = weighted(), below = x;
      x = middle;
      return {(up - down) / (above - below), (up - 2 * centre + down) / double(h)};
    };
    Differences wide = differences(2.f / 32), narrow{};
    for (float h = 1.f / 32; h >= 1.f / 4096; h /= 2, wide = narrow) {
      narrow = differences(h);
      const double allowed = 2e-3 * (std::abs(narrow.first) + std::abs(wide.first)) + rounding / double(h);
      if (std::abs(narrow.first - wide.first) <= allowed && std::abs(2 * narrow.second - wide.second) <= allowed)
        return (4 * narrow.first - wide.first) / 3;
    }
    return narrow.first;
  };

  std::vector<double> difference, norm;
  for (const CheckedInput& input : inputs) {
    difference.push_back(0), norm.push_back(0);
    for (size_t i = 0; i < input.gradient.size(); ++i) {
      const double expected = slope(input.elements[i]), error = double(input.gradient[i]) - expected;
      difference.back() += error * error;
      norm.back() += expected * expected;
    }
  }
  const double largest = *std::max_element(norm.begin(), norm.end());
  double worst = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const double error = std::sqrt(difference[i] / std::max({norm[i], 1e-4 * largest, 1e-30}));
    worst = std::isfinite(error) ? std::max(worst, error) : INFINITY;
  }
  return worst;
}

template <class V>
std::vector<float> gradient_or_zero(const V& variable) {
  if (variable.slot()->written()) return variable.slot()->gradient().to_vector();
  return std::vector<float>(size_t(variable.size()));
}

}  // namespace detail

// The worst error over the inputs: the L2 norm of the difference of both gradients over that of the finite differences, or over a
// hundredth of the largest such norm of all inputs, if that is more (the gradient of an input may be zero). Infinite where a
// gradient is NaN. Throws if f's result depends on no input.
template <class F, int... N>
double gradcheck(F f, const Tensor<float, N, Cpu>&... inputs) {
  static_assert(sizeof...(N) > 0, "mindgap: gradcheck: there is no input");
  Tape tape;
  const auto check = [&](const auto&... variables) {
    const auto y = f(variables...);
    if (!y.needs_gradient())
      throw Error("gradcheck: the result depends on no input", {{"remedy", "does the function use its arguments?"}});
    const Stream stream(0, "gradcheck");
    std::vector<float> weights(static_cast<size_t>(y.size()));
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = stream.normal(i);
    y.slot()->pass(std::remove_cvref_t<decltype(y.value())>::from(weights, y.shape()));
    tape.run();
    const auto by_differences = [&](const auto&... points) {
      return detail::compare_with_differences({{points.data(), detail::gradient_or_zero(variables)}...}, weights,
                                              [&] { return f(constant(tape, points)...).value().to_vector(); });
    };
    return by_differences(inputs.clone()...);
  };
  return check(variable(tape, inputs.clone())...);
}

}  // namespace mindgap
