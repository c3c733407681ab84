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
#include <array>
#include <cmath>

namespace mindgap {

// The worst error over the inputs: the L2 norm of the difference of both gradients over that of the finite differences, or over a
// hundredth of the largest such norm of all inputs, if that is more (the gradient of an input may be zero). Infinite where a
// gradient is NaN. Throws if f's result depends on no input.
template <class F, int... N>
double gradcheck(F f, const Tensor<float, N, Cpu>&... inputs) {
  constexpr size_t count = sizeof...(N);
  static_assert(count > 0, "mindgap: gradcheck: there is no input");
  Tape tape;

  // By backward().
  const auto variables = std::tuple(variable(tape, inputs.clone())...);
  const auto y = std::apply(f, variables);
  if (!y.needs_gradient())
    throw Error("gradcheck: the result depends on no input", {{"remedy", "does the function use its arguments?"}});
  const Stream stream(0, "gradcheck");
  std::vector<float> weights(static_cast<size_t>(y.size()));
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = stream.normal(i);
  y.slot()->pass(std::remove_cvref_t<decltype(y.value())>::from(weights, y.shape()));
  tape.run();

  // By differences. `points` are the inputs, moved one element at a time.
  const auto points = std::tuple(inputs.clone()...);
  double rounding = 0;  // what a few values may differ by for rounding alone
  const auto value_at_points = [&] {
    const auto at = std::apply([&](const auto&... x) { return f(constant(tape, x)...); }, points);
    double sum = 0, square = 0;
    const std::vector<float> values = at.value().to_vector();
    for (size_t i = 0; i < values.size(); ++i) {
      const double term = double(weights[i]) * double(values[i]);
      sum += term, square += term * term;
    }
    rounding = std::max(rounding, 1e-6 * std::sqrt(square));
    return sum;
  };
  const double centre = value_at_points();
  const auto slope = [&](float& x) {
    struct Differences {
      double first, second;  // f' and h f''
    };
    const float middle = x;
    const auto differences = [&](float h) -> Differences {
      x = middle + h;
      const double up = value_at_points(), above = x;
      x = middle - h;
      const double down = value_at_points(), below = x;
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

  std::array<double, count> difference{}, norm{};
  const auto compare = [&]<size_t I>(std::integral_constant<size_t, I>) {
    const auto& slot = std::get<I>(variables).slot();
    const auto& point = std::get<I>(points);
    const std::vector<float> gradient = slot->written() ? slot->gradient().to_vector() : std::vector<float>(size_t(point.size()));
    for (i64 i = 0; i < point.size(); ++i) {
      const double expected = slope(point.data()[i]), error = double(gradient[size_t(i)]) - expected;
      difference[I] += error * error;
      norm[I] += expected * expected;
    }
  };
  [&]<size_t... I>(std::index_sequence<I...>) { (compare(std::integral_constant<size_t, I>{}), ...); }
  (std::make_index_sequence<count>{});

  const double largest = *std::max_element(norm.begin(), norm.end());
  double worst = 0;
  for (size_t i = 0; i < count; ++i) {
    const double error = std::sqrt(difference[i] / std::max({norm[i], 1e-4 * largest, 1e-30}));
    worst = std::isfinite(error) ? std::max(worst, error) : INFINITY;
  }
  return worst;
}

}  // namespace mindgap
