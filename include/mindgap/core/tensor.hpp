// Tensor<T, N, D>: a dense, contiguous, channels-last array of N extents on device D.
//
// A tensor is a shared handle: copying it shares the elements, clone() copies them. There are no strides; a view is a
// reshape or a slice of the outermost axis, both of which share. Elements are uninitialised unless a factory says so.
// What can fail takes the caller's line as its last argument, for the error (core/error.hpp).
//
// Functions that write to an existing tensor say so (written()): autograd refuses a gradient of values that are gone. What is
// written through data() is not seen.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/core/memory.hpp>
#include <mindgap/core/shape.hpp>

#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

namespace mindgap {

template <Element T, int N, Device D = Cpu>
class Tensor {
 public:
  using element = T;
  using device = D;
  static constexpr int rank = N;

  Tensor() = default;
  explicit Tensor(Shape<N> shape, Location at = Location::current());
  // Elements that lie in memory of `owner`, who lives as long as any tensor of them: of device D, aligned as T wants. Writes are
  // seen by gradients of this tensor and its views; memory that is borrowed twice is two tensors, of which neither sees the
  // other's.
  static Tensor borrow(T* data, Shape<N> shape, std::shared_ptr<void> owner, Location at = Location::current());

  static Tensor zeros(Shape<N> shape, Location at = Location::current());
  static Tensor full(Shape<N> shape, T value, Location at = Location::current());
  static Tensor from(const std::vector<T>& values, Shape<N> shape, Location at = Location::current());
  static Tensor from(std::span<const T> values, Shape<N> shape, Location at = Location::current());

  bool defined() const { return storage_ != nullptr; }
  T* data() const { return data_; }
  const Shape<N>& shape() const { return shape_; }
  i64 extent(int axis) const { return shape_[axis]; }
  // Rank 0 has one element, an undefined tensor of it none.
  i64 size() const {
    if constexpr (N == 0) return defined() ? 1 : 0;
    else return shape_.size();
  }
  i64 bytes() const { return size() * i64(sizeof(T)); }

  // The innermost extent (channels) and the number of rows of that length.
  i64 cols() const requires(N > 0) { return shape_[N - 1]; }
  i64 rows() const requires(N > 0) { return cols() ? size() / cols() : 0; }

  template <int M>
  Tensor<T, M, D> reshape(Shape<M> shape, Location at = Location::current()) const {
    const Caller caller(at);
    Tensor<T, M, D>::check(shape);
    if (shape.size() != size())
      throw Error(text("reshape: ", size(), " elements do not fill the new shape"),
                  {{"from", shape_.str()}, {"to", shape.str()}});
    return Tensor<T, M, D>(storage_, data_, shape);
  }

  // The same bytes as elements of another type.
  template <Element U>
  Tensor<U, 1, D> as(Location at = Location::current()) const {
    const Caller caller(at);
    if (bytes() % i64(sizeof(U))) throw Error(text("as: ", bytes(), " bytes are no whole elements"), {{"tensor", str()}});
    if (reinterpret_cast<std::uintptr_t>(data_) % alignof(U))
      throw Error(text("as: the elements do not begin at a multiple of ", alignof(U), " bytes"),
                  {{"tensor", str()}, {"remedy", "take a clone() of the slice"}});
    return Tensor<U, 1, D>(storage_, reinterpret_cast<U*>(data_), Shape<1>(bytes() / i64(sizeof(U))));
  }

  // Elements [begin, end) of the outermost axis.
  Tensor slice(i64 begin, i64 end, Location at = Location::current()) const requires(N > 0) {
    const Caller caller(at);
    if (begin < 0 || begin > end || end > shape_[0])
      throw Error(text("slice: [", begin, ", ", end, ") is outside the outermost axis"), {{"shape", shape_.str()}});
    Shape<N> shape = shape_;
    shape[0] = end - begin;
    return Tensor(storage_, data_ + (shape_[0] ? begin * (size() / shape_[0]) : 0), shape);
  }

  Tensor clone() const;
  // Copies the elements of another tensor of the same shape into this one.
  void copy_from(const Tensor& other, Location at = Location::current()) const;
  template <Element U>
  requires(!std::is_same_v<T, U>) void copy_from(const Tensor<U, N, D>&) const {
    static_assert(std::is_same_v<T, U>, "mindgap: copy_from copies elements of one type: cast_into(to, from) converts them");
  }
  template <Device E>
  Tensor<T, N, E> to() const {
    if constexpr (std::is_same_v<D, E>) return *this;
    else return Tensor<T, N, E>::from(to_vector(), shape_);
  }

  std::vector<T> to_vector() const;
  // The only element, on the host; waits for the device.
  T item(Location at = Location::current()) const;

  const std::shared_ptr<Storage>& storage() const { return storage_; }
  // Says that elements were changed, for every tensor that shares them.
  void written() const {
    if (storage_) storage_->written();
  }

  // Whether the two have a byte in common, also one that both borrowed.
  template <Element U, int M>
  bool overlaps(const Tensor<U, M, D>& other) const {
    const auto *begin = reinterpret_cast<const char*>(data_), *others = reinterpret_cast<const char*>(other.data());
    return storage_ && other.storage_ && begin < others + other.bytes() && others < begin + bytes();
  }

  // "f32 [8, 28, 28, 16] cpu"
  std::string str() const { return std::string(name(dtype_of<T>)) + " " + shape_.str() + " " + D::name; }

 private:
  template <Element, int, Device>
  friend class Tensor;
  // Throws for extents that no tensor has.
  static void check(const Shape<N>& shape) {
    for (i64 extent : shape.extents)
      if (extent < 0) throw Error("tensor: negative extent", {{"shape", shape.str()}});
    if (shape.size() > std::numeric_limits<i64>::max() / 2 / i64(sizeof(T)))
      throw Error("tensor: more bytes than any memory has", {{"shape", shape.str()}});
  }
  Tensor(std::shared_ptr<Storage> storage, T* data, Shape<N> shape) : storage_(std::move(storage)), data_(data), shape_(shape) {}

  std::shared_ptr<Storage> storage_;
  T* data_ = nullptr;
  Shape<N> shape_;
};

// Outside the class: programs that link the glue do not compile them again for the usual tensors of the CPU (cpu/runtime.hpp).
template <Element T, int N, Device D>
Tensor<T, N, D>::Tensor(Shape<N> shape, Location at) : shape_(shape) {
  const Caller caller(at);
  check(shape);
  storage_ = Pool<D>::current().storage(bytes());
  data_ = static_cast<T*>(storage_->data());
}

template <Element T, int N, Device D>
Tensor<T, N, D> Tensor<T, N, D>::borrow(T* data, Shape<N> shape, std::shared_ptr<void> owner, Location at) {
  const Caller caller(at);
  check(shape);
  if (!data && shape.size() > 0) throw Error("tensor: no memory is borrowed", {{"shape", shape.str()}});
  if (reinterpret_cast<std::uintptr_t>(data) % alignof(T))
    throw Error("tensor: borrowed memory is not aligned", {{"remedy", text("to ", alignof(T), " bytes")}});
  struct Borrowed final : Storage {
    Borrowed(void* memory, std::shared_ptr<void> kept) : Storage(memory), owner(std::move(kept)) {}
    std::shared_ptr<void> owner;
  };
  return Tensor(std::make_shared<Borrowed>(data, std::move(owner)), data, shape);
}

template <Element T, int N, Device D>
Tensor<T, N, D> Tensor<T, N, D>::zeros(Shape<N> shape, Location at) {
  Tensor out(shape, at);
  Runtime<D>::zero(out.data_, out.bytes());
  return out;
}

template <Element T, int N, Device D>
Tensor<T, N, D> Tensor<T, N, D>::full(Shape<N> shape, T value, Location at) {
  const Tensor out(shape, at);
  const std::vector<T> values(size_t(out.size()), value);
  Runtime<D>::from_host(out.data_, values.data(), out.bytes());
  return out;
}

template <Element T, int N, Device D>
Tensor<T, N, D> Tensor<T, N, D>::from(const std::vector<T>& values, Shape<N> shape, Location at) {
  return from(std::span(values), shape, at);
}

template <Element T, int N, Device D>
Tensor<T, N, D> Tensor<T, N, D>::from(std::span<const T> values, Shape<N> shape, Location at) {
  const Caller caller(at);
  if (i64(values.size()) != shape.size())
    throw Error(text("tensor: ", values.size(), " values for ", shape.size(), " elements"), {{"shape", shape.str()}});
  Tensor out(shape);
  Runtime<D>::from_host(out.data_, values.data(), out.bytes());
  return out;
}

template <Element T, int N, Device D>
Tensor<T, N, D> Tensor<T, N, D>::clone() const {
  if (N == 0 && !defined()) throw Error("clone: the tensor is undefined", {{"tensor", str()}});
  Tensor out(shape_);
  Runtime<D>::copy(out.data_, data_, bytes());
  return out;
}

template <Element T, int N, Device D>
void Tensor<T, N, D>::copy_from(const Tensor& other, Location at) const {
  const Caller caller(at);
  if (other.size() != size() && other.defined() != defined())
    throw Error("copy: one of the tensors is undefined", {{"from", other.shape().str()}, {"to", shape_.str()}});
  if (other.shape() != shape_) throw Error("copy: shapes differ", {{"from", other.shape().str()}, {"to", shape_.str()}});
  if (other.data() == data_) return;
  if (overlaps(other)) throw Error("copy: source and target overlap", {{"remedy", "copy from a clone() of the source"}});
  Runtime<D>::copy(data_, other.data(), bytes());
  written();
}

template <Element T, int N, Device D>
std::vector<T> Tensor<T, N, D>::to_vector() const {
  std::vector<T> out(static_cast<size_t>(size()));
  Runtime<D>::to_host(out.data(), data_, bytes());
  return out;
}

template <Element T, int N, Device D>
T Tensor<T, N, D>::item(Location at) const {
  const Caller caller(at);
  if (N == 0 && !defined()) throw Error("item: the tensor is undefined", {{"tensor", str()}});
  if (size() != 1) throw Error("item: the tensor has not exactly one element", {{"shape", shape_.str()}});
  return to_vector()[0];
}

// Each of the tensors that is defined was written to.
template <class... Tensors>
void written(const Tensors&... tensors) {
  (tensors.written(), ...);
}

template <class X>
inline constexpr bool is_tensor = false;
template <Element T, int N, Device D>
inline constexpr bool is_tensor<Tensor<T, N, D>> = true;

// True when every element has the same bits; what "bit-identical" means in this project.
template <Element T, int N>
bool same_bits(const Tensor<T, N, Cpu>& a, const Tensor<T, N, Cpu>& b) {
  return a.shape() == b.shape() && a.size() == b.size() &&
         (a.size() == 0 || std::memcmp(a.data(), b.data(), size_t(a.bytes())) == 0);
}

}  // namespace mindgap
