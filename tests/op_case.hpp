// One op on variables with everything that is checked of it: value, gradient, emulated kernels, in f32 and in bf16.
//
//   op_case("linear", "3 rows", 1e-6, reference, [](auto x, auto w, auto b) { return linear(x, w, b); },
//           activation(Shape(3, 5)), weight(Shape(4, 5)), vector(4))
//
// The lambda is called with variables of each type and device; constants (labels) go where a variable is by like().
#pragma once

#include <mindgap/autograd/gradcheck.hpp>
#include <mindgap/cpu/library.hpp>

#include "tests/emulate.hpp"
#include "tests/op_references.hpp"

namespace mindgap {

// Products of an emulated GPU are the CPU's: only this project's own kernels are emulated.
template <>
struct Library<Emulated> : Library<Cpu> {};

namespace test {

// What an input is: an activation (type T), a weight (T, gradient f32) or a vector of a norm or a bias (f32).
enum class Role { activation, weight, vector };
template <Role R, int N>
struct Input {
  Shape<N> shape;
  float mean, deviation;
  u64 id = 0;  // 1 for the first input of the op
};
template <int N>
Input<Role::activation, N> activation(Shape<N> shape, float mean = 0.f, float deviation = 1.f) {
  return {shape, mean, deviation};
}
template <int N>
Input<Role::weight, N> weight(Shape<N> shape) {
  return {shape, 0.f, 0.5f};
}
inline Input<Role::vector, 1> vector(i64 size, float mean = 0.f, float deviation = 0.5f) { return {{size}, mean, deviation}; }

// A constant where x is.
template <class T, int N>
auto like(const auto& x, const Tensor<T, N>& constant) {
  return constant.template to<typename std::remove_cvref_t<decltype(x)>::device>();
}

enum class Way { f32, bf16, emulated };  // types and device of a run

struct OpCase {
  std::string op, what;
  double tolerance;  // of the value in f32, relative L2 error
  Reference reference;
  std::vector<Values> inputs;
  std::function<Outputs(Way)> run;       // the result and the gradient of each input
  std::function<double()> gradient_f32;  // by gradcheck()

  std::string name() const { return op + ", " + what; }

  // Error against the reference.
  double value(Way way) const { return relative_error(run(way)[0], reference(inputs)); }
  // Against f32 at the same inputs, the worst input.
  double gradient_bf16() const {
    const Outputs got = run(Way::bf16), wanted = run(Way::f32);
    double largest = 0, worst = 0;
    const auto norm = [](const Values& v) {
      double sum = 0;
      for (double x : v) sum += x * x;
      return std::sqrt(sum);
    };
    for (size_t k = 1; k < got.size(); ++k) largest = std::max(largest, norm(wanted[k]));
    for (size_t k = 1; k < got.size(); ++k) {
      Values difference = got[k];
      for (size_t i = 0; i < difference.size(); ++i) difference[i] -= wanted[k][i];
      worst = std::max(worst, norm(difference) / std::max(norm(wanted[k]), 0.01 * largest));
    }
    return worst;
  }
  // Largest difference of value and gradients from the CPU's.
  double emulated(int threads, u64 seed) const {
    Runtime<Emulated>::threads = threads;
    Runtime<Emulated>::seed = seed;
    return largest_difference(run(Way::emulated), run(Way::f32));
  }
};

namespace detail_of_case {

// An input's numbers, rounded to bf16, so that every type starts from the same values.
template <Role R, int N>
Tensor<float, N> made(const Input<R, N>& in) {
  const auto x = random_tensor(in.shape, in.id, in.mean, in.deviation);
  return R == Role::vector ? x : cast<float>(cast<bf16>(x));
}

template <class T, Device D, Role R, int N>
auto variable_of(Tape& tape, const Input<R, N>& in) {
  using Element = std::conditional_t<R == Role::vector, float, T>;
  using Gradient = std::conditional_t<R == Role::activation, T, float>;
  using Slot = GradientSlot<Gradient, N, D>;
  return Var<Element, N, D, Gradient>(cast<Element>(made(in)).template to<D>(), tape, std::make_shared<Slot>(in.shape));
}

// The result and the gradient of each input, the result's gradient being fixed random numbers.
template <class T, Device D, class F, class... Inputs>
Outputs both_ways(F f, const Inputs&... inputs) {
  Tape tape;
  const auto run = [&](const auto&... variables) {
    const auto y = f(variables...);
    using Y = typename std::remove_cvref_t<decltype(y)>::element;
    y.slot()->pass(cast<Y>(random_tensor(y.shape(), 99)).template to<D>());
    Outputs out = outputs(y.value());
    tape.run();
    const auto gradient = [](const auto& v) { return v.slot()->written() ? outputs(v.gradient())[0] : Values(size_t(v.size())); };
    (out.push_back(gradient(variables)), ...);
    return out;
  };
  return run(variable_of<T, D>(tape, inputs)...);
}

}  // namespace detail_of_case

template <class F, Role... R, int... N>
OpCase op_case(const std::string& op, const std::string& what, double tolerance, Reference reference, F f,
               Input<R, N>... inputs) {
  using namespace detail_of_case;
  u64 id = 0;
  ((inputs.id = ++id), ...);
  return {op,
          what,
          tolerance,
          std::move(reference),
          {doubles(made(inputs))...},
          [=](Way way) {
            if (way == Way::emulated) return both_ways<float, Emulated>(f, inputs...);
            return way == Way::bf16 ? both_ways<bf16, Cpu>(f, inputs...) : both_ways<float, Cpu>(f, inputs...);
          },
          [=] { return gradcheck(f, made(inputs)...); }};
}

// The second part of the table, tests/unit/op_cases_arrays.cpp; the first is tests/op_cases.hpp.
std::vector<OpCase> array_op_cases();

}  // namespace test
}  // namespace mindgap
