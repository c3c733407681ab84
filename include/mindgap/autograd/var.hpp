// Var<T, N, D>: a value that may need a gradient.
//
// It holds the value, a gradient slot (null: no gradient is needed) and the tape. An op on variables computes its value
// as on tensors; if any input has a slot, the result gets one and the op records its backward, otherwise nothing is
// recorded and nothing kept alive: a frozen prefix of a network costs no backward and keeps no activations.
//
// The gradient of an activation has the activation's type; that of a parameter is f32 (G), whatever its working copy.
#pragma once

#include <mindgap/autograd/tape.hpp>
#include <mindgap/kernels/fill.hpp>
#include <mindgap/ops/pointwise.hpp>

#include <memory>
#include <type_traits>
#include <variant>

namespace mindgap {

// A place for one gradient. The first write overwrites, later ones accumulate.
template <Real G, int N, Device D>
class GradientSlot {
 public:
  explicit GradientSlot(Shape<N> shape) : shape_(shape) {}
  // A slot whose gradient lies in storage of its own (a slice of an optimizer's flat buffer); it is taken as long as the owner of
  // the storage lives.
  explicit GradientSlot(Tensor<G, N, D> storage, std::weak_ptr<const void> owner = {})
      : shape_(storage.shape()), gradient_(std::move(storage)), fixed_(true), owner_(std::move(owner)) {}

  const Shape<N>& shape() const { return shape_; }
  bool written() const { return written_; }
  bool taken() const { return !owner_.expired(); }
  // Whether its gradient is asked for: false while a parameter is frozen.
  bool wanted() const { return wanted_; }
  void set_wanted(bool wanted) { wanted_ = wanted; }
  const Tensor<G, N, D>& gradient() const {
    if (!written_)
      throw Error("gradient: nothing has been written to it",
                  {{"remedy", "run backward() first; is the value used by the loss?"}});
    convert();
    return gradient_;
  }
  // The gradient in memory of its own: whoever writes to it changes no other variable's.
  void own() {
    if (written_ && borrowed_) gradient_ = gradient_.clone(), borrowed_ = false;
  }
  // Nothing will read it any more: what still writes to it is an error.
  void retire() { retired_ = true; }
  void forget() {
    written_ = false;
    narrow_ = std::monostate();
  }

  // Where an op writes its contribution: the gradient itself the first time, a temporary later. commit() adds the latter.
  Tensor<G, N, D> destination() {
    check_in_use();
    if (written_) return Tensor<G, N, D>(shape_);
    if (!gradient_.defined() || borrowed_) gradient_ = Tensor<G, N, D>(shape_), borrowed_ = false;
    written_ = true;
    return gradient_;
  }
  void commit(const Tensor<G, N, D>& contribution) {
    if (contribution.data() != gradient_.data()) accumulate(contribution);
  }
  // narrow: the contribution in T, to be converted, or undefined: it is complete. In storage of its own the conversion waits
  // until the gradient is read, or for take_narrow(), by which an optimizer converts the gradients of all parameters at once.
  template <Real T>
  void commit(const Tensor<G, N, D>& contribution, const Tensor<T, N, D>& narrow) {
    if constexpr (may_wait && !std::is_same_v<T, G>) {
      const bool waits = fixed_ && contribution.data() == gradient_.data();
      if (narrow.defined() && waits) narrow_ = narrow;
      else if (narrow.defined()) cast_into(contribution, narrow);
    }
    commit(contribution);
  }
  // f(gradient, narrow): a conversion that waited, from now on the caller's.
  template <class F>
  void take_narrow(F&& f) const {
    if constexpr (may_wait)
      std::visit(
          [&]<class T>(const T& narrow) {
            if constexpr (is_tensor<T>) f(gradient_, narrow);
          },
          std::exchange(narrow_, std::monostate()));
  }

  // compute(out) fills the tensor `out` of this slot's shape.
  template <class Compute>
  void write(Compute&& compute) {
    const Tensor<G, N, D> out = destination();
    compute(out);
    commit(out);
  }

  // compute(out, before) fills the tensor `out`, of this slot's shape: with its contribution, or, where `before` is defined, with
  // the sum of both. For ops that add at no cost.
  template <class Compute>
  void write_sum(Compute&& compute) {
    if (!written_ || fixed_) return write([&](const Tensor<G, N, D>& out) { compute(out, Tensor<G, N, D>()); });
    check_in_use();
    const Tensor<G, N, D> out(shape_);
    compute(out, gradient_);
    gradient_ = out, borrowed_ = false;
  }

  // The gradient is exactly `other`, which somebody else may still hold: shared until something is added to it.
  void pass(const Tensor<G, N, D>& other) {
    check_in_use();
    if (written_) return accumulate(other);
    if (gradient_.defined() && !borrowed_) gradient_.copy_from(other);
    else gradient_ = other, borrowed_ = true;
    written_ = true;
  }

 private:
  static constexpr bool may_wait = std::is_same_v<G, float>;  // gradients of parameters

  void check_in_use() const {
    if (retired_)
      throw Error("backward: a parameter was given to an optimizer after an op had used it: the gradient would be lost",
                  {{"remedy", "make the optimizer or trainer first, then compute the loss"}});
  }
  void convert() const {
    take_narrow([](const auto& to, const auto& narrow) { cast_into(to, narrow); });
  }
  void accumulate(const Tensor<G, N, D>& more) {
    convert();
    constexpr auto sum = [](auto a, auto b) { return a + b; };
    if (borrowed_) {
      gradient_ = pointwise(sum, gradient_, more);
      borrowed_ = false;
    } else {
      pointwise_into(gradient_, sum, gradient_, more);
    }
  }

  Shape<N> shape_;
  Tensor<G, N, D> gradient_;
  bool written_ = false, borrowed_ = false, fixed_ = false, wanted_ = true, retired_ = false;
  std::weak_ptr<const void> owner_;
  // What gradient_ does not have yet, where a device had it sooner in a 16-bit type.
  mutable std::variant<std::monostate, Tensor<bf16, N, D>, Tensor<f16, N, D>> narrow_;
};

template <Real T, int N, Device D = Cpu, Real G = T>
class Var {
 public:
  using element = T;
  using device = D;
  using gradient_element = G;
  using Slot = GradientSlot<G, N, D>;
  static constexpr int rank = N;

  Var() = default;
  Var(Tensor<T, N, D> value, Tape& tape, std::shared_ptr<Slot> slot)
      : value_(std::move(value)), tape_(&tape), slot_(std::move(slot)) {}
  // The result of an op: has a slot if `needs_gradient`, and its record is on the tape until that is emptied.
  Var(Tensor<T, N, D> value, Tape& tape, bool needs_gradient) : value_(std::move(value)), tape_(&tape) {
    if (needs_gradient) slot_ = std::make_shared<Slot>(value_.shape()), recorded_at_ = tape.emptied();
  }

  const Tensor<T, N, D>& value() const { return value_; }
  const Shape<N>& shape() const { return value_.shape(); }
  i64 extent(int axis) const { return value_.extent(axis); }
  i64 size() const { return value_.size(); }
  Tape& tape() const {
    if (!tape_) throw Error("a variable is undefined", {{"remedy", "make it with variable() or constant()"}});
    return *tape_;
  }
  bool has_tape() const { return tape_ != nullptr; }  // false: an operand that is left out
  const std::shared_ptr<Slot>& slot() const { return slot_; }
  bool needs_gradient() const { return slot_ != nullptr; }
  // Whether its record is gone: backward() has run since it was computed. Leaves have no record and are never stale.
  bool stale() const { return slot_ && recorded_at_ != leaf && recorded_at_ != tape_->emptied(); }
  const Tensor<G, N, D>& gradient(Location at = Location::current()) const {
    const Caller caller(at);
    if (!slot_) throw Error("gradient: this variable needs none", {{"remedy", "make it with variable(tape, value)"}});
    slot_->own();
    return slot_->gradient();
  }

 private:
  static constexpr i64 leaf = -1;

  Tensor<T, N, D> value_;
  Tape* tape_ = nullptr;
  std::shared_ptr<Slot> slot_;
  i64 recorded_at_ = leaf;  // Tape::emptied() when the op recorded
};

template <Real T, int N, Device D, Real G>
inline constexpr bool is_var<Var<T, N, D, G>> = true;

// The value of either kind.
template <Element T, int N, Device D>
const Tensor<T, N, D>& value_of(const Tensor<T, N, D>& x) {
  return x;
}
template <Real T, int N, Device D, Real G>
const Tensor<T, N, D>& value_of(const Var<T, N, D, G>& x) {
  return x.value();
}

// A leaf whose gradient is wanted, and one whose gradient is not.
template <Real T, int N, Device D>
Var<T, N, D> variable(Tape& tape, Tensor<T, N, D> value) {
  auto slot = std::make_shared<typename Var<T, N, D>::Slot>(value.shape());
  return Var<T, N, D>(std::move(value), tape, std::move(slot));
}
template <Real T, int N, Device D>
Var<T, N, D> constant(Tape& tape, Tensor<T, N, D> value) {
  return Var<T, N, D>(std::move(value), tape, false);
}

// Of integers.
template <detail::Integers X>
auto variable(Tape&, const X& value) {
  static_assert(!detail::Integers<X>, "mindgap: a variable is f32, bf16 or f16: what is computed from integers has no gradient");
  return value;
}
template <detail::Integers X>
auto constant(Tape&, const X& value) {
  static_assert(!detail::Integers<X>, "mindgap: a variable is f32, bf16 or f16: ops take integers as tensors");
  return value;
}

namespace detail {

// The tape of an operand; null: it is a tensor, or left out.
template <class X>
Tape* operand_tape(const X&) {
  return nullptr;
}
template <Real T, int N, Device D, Real G>
Tape* operand_tape(const Var<T, N, D, G>& x) {
  if (!x.has_tape()) return nullptr;
  if (x.stale())
    throw Error("a value is used that was computed before the last backward(): its gradient would be lost",
                {{"value", x.value().str()}, {"remedy", "compute it again; or use it in the loss before backward()"}});
  return &x.tape();
}
template <class X>
Tape* operand_tape(const RowMark<X>& mark) {
  return operand_tape(mark.x);
}
template <class X>
Tape* operand_tape(const ScalarMark<X>& mark) {
  return operand_tape(mark.x);
}

// The tape that an op on these operands records on. Throws where they are on two, and where one is stale.
template <class... Xs>
Tape& tape_of(const Xs&... xs) {
  Tape* out = nullptr;
  for (Tape* tape : {operand_tape(xs)...}) {
    if (out && tape && tape != out)
      throw Error("an op has variables of two tapes", {{"remedy", "make all variables of a computation on one tape"}});
    if (tape) out = tape;
  }
  if (!out) throw Error("an op has no variable: they are undefined", {{"remedy", "make them with variable() or constant()"}});
  return *out;
}

template <class X>
inline constexpr bool is_loss = false;
template <int N, Device D>
inline constexpr bool is_loss<Var<float, N, D>> = true;

}  // namespace detail

// Adds the gradients of `loss` (one element) to those of all variables and parameters that it was computed from, and empties the
// tape: one backward for each computation. The sum of several losses is a loss. seed: d loss / d loss, one element; 1 unless it
// is given. Where a record throws half way (no memory is left), what was added until then stays, as in PyTorch: the next backward
// would add to it.
template <int N, Device D>
void backward(const Var<float, N, D>& loss, const Tensor<float, 1, D>& seed = {}, Location at = Location::current()) {
  const Caller caller(at);
  if (loss.stale())
    throw Error("backward: the tape has been emptied since this loss was computed",
                {{"remedy", "add losses of one computation and call backward() once; or compute this one again"}});
  if (loss.size() != 1) throw Error("backward: the loss must have exactly one element", {{"loss", loss.value().str()}});
  if (!loss.needs_gradient())
    throw Error("backward: nothing that the loss was computed from needs a gradient",
                {{"remedy", "unfreeze a parameter, or make an input with variable(tape, value)"}});
  if (seed.defined() && seed.size() != 1)  // before anything is written
    throw Error("backward: the seed must have exactly one element",
                {{"seed", seed.str()}, {"remedy", "give d loss / d loss, or none"}});
  loss.slot()->write([&](const Tensor<float, N, D>& g) {
    if (seed.defined()) g.copy_from(seed.reshape(g.shape()));
    else Runtime<D>::launch(Grid{1, 32}, kernel::Fill<float>{g.data(), 1, 1.f});
  });
  loss.tape().run();
}

// Of what has no gradient.
template <class X, class... Rest>
requires(detail::is_operand<X> && !detail::is_loss<X>) void backward(const X&, const Rest&...) {
  static_assert(is_var<X>, "mindgap: backward wants a variable: a tensor does not know what it was computed from");
  static_assert(!is_var<X> || detail::is_loss<X>, "mindgap: backward wants a loss in f32: mean() and sum() give one of any type");
}

// Reshape shares the value, and its gradient is a reshape too.
template <int M, Real T, int N, Device D, Real G>
Var<T, M, D, G> reshape(const Var<T, N, D, G>& x, Shape<M> shape, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, M, D, G> y(x.value().reshape(shape), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient())
    y.tape().record([xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->pass(ys->gradient().reshape(xs->shape()));
    });
  return y;
}
template <int M, Element T, int N, Device D>
Tensor<T, M, D> reshape(const Tensor<T, N, D>& x, Shape<M> shape, Location at = Location::current()) {
  const Caller caller(at);
  return x.reshape(shape);
}

// Elements [begin, end) of the outermost axis: shares the value; the gradient of what is left out is 0.
template <Real T, int N, Device D, Real G>
Var<T, N, D, G> slice(const Var<T, N, D, G>& x, i64 begin, i64 end, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, N, D, G> y(x.value().slice(begin, end), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient())
    y.tape().record([begin, end, xs = x.slot(), ys = y.slot()] {
      if (!ys->written()) return;
      xs->write([&](const Tensor<G, N, D>& out) {
        Runtime<D>::zero(out.data(), out.bytes());
        out.slice(begin, end).copy_from(ys->gradient());
      });
    });
  return y;
}
template <Element T, int N, Device D>
Tensor<T, N, D> slice(const Tensor<T, N, D>& x, i64 begin, i64 end, Location at = Location::current()) {
  const Caller caller(at);
  return x.slice(begin, end);
}

}  // namespace mindgap
