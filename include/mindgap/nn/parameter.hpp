// What a layer owns: trained parameters, running statistics, counters.
//
//   Precision<Compute>      the type of activations and of the values of matrices; masters are f32
//   Parameter<N, D, P>      its value, where it is trained an f32 master, and a gradient slot
//   Buffer<N, D>            f32 statistics: saved, never optimised
//
// A layer is made without weights: its parameters have memory, and no values before they are initialised or loaded. In a 16-bit
// type the value is all that a network needs to be run. Training wants an f32 master beside it, of which the value is a rounding:
// initialising a parameter makes one, and so does an optimizer; make_masters(net) before loading keeps the f32 of the file.
//
// A parameter without elements (a bias that a layer does not have) is skipped by everything that walks a network.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/io/elements.hpp>

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

// Weights of a convolution, which is what has four axes, are published as [O, I, kh, kw]; ours are [O, kh, kw, I]. Reads a tensor
// from a host array in the published order, which may be unaligned, in one pass.
template <Real T, int N, Device D>
void from_published(const Tensor<T, N, D>& tensor, const void* published, DType type) {
  const Shape<N>& s = tensor.shape();
  const auto host = [&] {
    if constexpr (std::same_as<D, Cpu>) return tensor;
    else return Tensor<T, N, Cpu>(s);
  }();
  if constexpr (N == 4) transpose_elements(host.data(), dtype_of<T>, published, type, s[0], s[3], s[1] * s[2]);
  else transpose_elements(host.data(), dtype_of<T>, published, type, 1, 1, s.size());
  if constexpr (!std::same_as<D, Cpu>) Runtime<D>::from_host(tensor.data(), host.data(), tensor.bytes());
  tensor.written();
}
// Images or activations [n, c, h, w], as most libraries hold them, in our order [n, h, w, c].
template <Real T, Device D>
Tensor<T, 4, D> from_nchw(const Tensor<T, 4, D>& x) {
  const Tensor<T, 4, D> y(Shape<4>(x.extent(0), x.extent(2), x.extent(3), x.extent(1)));
  from_published(y, x.to_vector().data(), dtype_of<T>);
  return y;
}
template <Real T, int N, Device D>
std::vector<float> to_published(const Tensor<T, N, D>& tensor) {
  const Shape<N>& s = tensor.shape();
  const std::vector<T> ours = tensor.to_vector();
  std::vector<float> out(ours.size());
  if constexpr (N == 4) transpose_elements(out.data(), DType::f32, ours.data(), dtype_of<T>, s[0], s[1] * s[2], s[3]);
  else transpose_elements(out.data(), DType::f32, ours.data(), dtype_of<T>, 1, 1, s.size());
  return out;
}

template <int N, Device D, class P>
struct Parameter {
  static constexpr int rank = N;
  using device = D;
  // Vectors (norms, biases) stay f32 in every precision.
  using element = std::conditional_t<N == 1, float, typename P::compute>;
  using Slot = GradientSlot<float, N, D>;

  Tensor<element, N, D> value;         // what is computed with
  Tensor<float, N, D> master;          // what is trained: the value itself where that is f32, else undefined until it is made
  mutable std::shared_ptr<Slot> slot;  // made when a variable first needs it, or by an optimizer in its flat buffer

  static constexpr bool has_working_copy = !std::is_same_v<element, float>;

  Parameter() = default;
  explicit Parameter(Shape<N> shape, Location at = Location::current()) : value(shape, at) {
    if constexpr (!has_working_copy) master = value;
  }
  // A copy of a layer would share its weights until one of the two is trained: write out which is meant.
  Parameter(const Parameter&) = delete;
  Parameter(Parameter&&) = default;
  Parameter& operator=(const Parameter&) = delete;
  Parameter& operator=(Parameter&&) = default;

  bool defined() const { return value.defined(); }
  const Shape<N>& shape() const { return value.shape(); }

  // False: frozen. Its variables record nothing, and an optimizer that has it leaves it alone.
  bool requires_grad() const { return requires_grad_; }
  void set_requires_grad(bool wanted) {
    requires_grad_ = wanted;
    if (slot) slot->set_wanted(wanted);
  }

  // Makes the master of the value, where there is none.
  void make_master() {
    if (!master.defined()) master = cast<float>(value);
  }
  // Takes tensors of an optimizer, in which the master's elements lie, for the master and the value.
  void bind(Tensor<float, N, D> trained, Tensor<element, N, D> working) {
    master = std::move(trained);
    value = std::move(working);
    refresh();
  }
  // Brings the value up to date after the master changed.
  void refresh() {
    if constexpr (has_working_copy) cast_into(value, master);
  }

  // As an operand for an op on x: the value for a tensor, a variable on x's tape for a variable.
  template <class X>
  auto as(const X& x) const {
    if constexpr (is_tensor<X>) {
      return value;
    } else {
      if (!defined()) return Var<element, N, D, float>();
      if (requires_grad_ && !slot) slot = std::make_shared<Slot>(shape());
      return Var<element, N, D, float>(value, x.tape(), requires_grad_ ? slot : nullptr);
    }
  }

 private:
  bool requires_grad_ = true;
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
