// What a layer owns: trained parameters, running statistics, counters.
//
//   Precision<Compute>      the type of activations and of the working copies of matrices; masters are f32
//   Parameter<N, D, P>      a working copy, its f32 master (the same storage where both types agree) and a gradient slot
//   Buffer<N, D>            f32 statistics: saved, never optimised
//
// A parameter without elements (a bias that a layer does not have) is skipped by everything that walks a network.
#pragma once

#include <mindgap/autograd/var.hpp>

#include <string>

namespace mindgap {

template <Real Compute, class Master = float>
struct Precision {
  using compute = Compute;
  using master = Master;
};

// The precision's name in settings, manifests and rows: "f32", "tf32", "bf16", "f16".
template <Device D, class P>
std::string precision_name() {
  using T = typename P::compute;
  if constexpr (std::is_same_v<T, float>) return Library<D>::f32_products();
  else return name(dtype_of<T>);
}

// How the published layout of a parameter differs from ours.
enum class Layout {
  plain,  // the same
  conv    // published [O, I, kh, kw], ours [O, kh, kw, I]
};

template <int N, Device D, class P>
struct Parameter {
  static constexpr int rank = N;
  using device = D;
  // Vectors (norms, biases) stay f32 in every precision.
  using element = std::conditional_t<N == 1, float, typename P::compute>;
  using Slot = GradientSlot<float, N, D>;

  Tensor<element, N, D> value;
  Tensor<float, N, D> master;
  mutable std::shared_ptr<Slot> slot;  // made when a variable first needs it, or by an optimizer in its flat buffer
  bool requires_grad = true;
  Layout layout = N == 4 ? Layout::conv : Layout::plain;

  Parameter() = default;
  explicit Parameter(Shape<N> shape) { bind(Tensor<float, N, D>::zeros(shape)); }

  bool defined() const { return master.defined(); }
  const Shape<N>& shape() const { return master.shape(); }

  static constexpr bool has_working_copy = !std::is_same_v<element, float>;

  // Takes `storage` as the master, elements included; and, where it is given, `working` for the working copy.
  void bind(Tensor<float, N, D> storage, Tensor<element, N, D> working = {}) {
    master = std::move(storage);
    if (working.defined()) value = std::move(working);
    refresh();
  }
  // Brings the working copy up to date after the master changed.
  void refresh() {
    if constexpr (!has_working_copy) {
      value = master;
    } else {
      if (!value.defined()) value = Tensor<element, N, D>(master.shape());
      pointwise_into(
          value, [](auto a) { return a; }, master);
    }
  }

  // As an operand for an op on x: the working copy for a tensor, a variable on x's tape for a variable.
  template <class X>
  auto as(const X& x) const {
    if constexpr (is_tensor<X>) {
      return value;
    } else {
      if (!defined()) return Var<element, N, D, float>();
      if (requires_grad && !slot) slot = std::make_shared<Slot>(shape());
      return Var<element, N, D, float>(value, x.tape(), requires_grad ? slot : nullptr);
    }
  }
};

template <int N, Device D>
struct Buffer {
  Tensor<float, N, D> value;

  Buffer() = default;
  explicit Buffer(Tensor<float, N, D> initial) : value(std::move(initial)) {}
};

// An i64 that published state dicts carry (BatchNorm's num_batches_tracked).
struct Counter {
  i64 value = 0;
};

}  // namespace mindgap
