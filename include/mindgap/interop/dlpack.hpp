// Tensors from and to other libraries in the same process, without a copy: DLPack 1.x, whose C structs these are
// (https://dmlc.github.io/dlpack/latest/c_api.html; the same layout as dlpack.h, under names of our own).
//
//   const auto x = from_dlpack<float, 4>(managed);      shares the memory of whoever made it, and keeps it alive
//   DLManagedTensorVersioned* = to_dlpack(x);           the consumer calls its deleter; Python: a capsule "dltensor_versioned"
//
// Our tensors are dense, and images are [n, h, w, c]. A torch tensor [n, c, h, w] in torch.channels_last holds its elements in
// that order: x.permute(0, 2, 3, 1) is dense and comes in without a copy. One in the default order is another layout:
// x.permute(0, 2, 3, 1).contiguous() makes the copy. Left out: streams (whoever writes on a GPU waits for it before handing
// over), several lanes, the unversioned struct of before 1.0.
#pragma once

#include <mindgap/core/tensor.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

namespace mindgap::dlpack {

enum DeviceType : std::int32_t { cpu = 1, cuda = 2 };
enum TypeCode : std::uint8_t { signed_integer = 0, unsigned_integer = 1, ieee_float = 2, bfloat = 4 };

struct DLDevice {
  std::int32_t device_type, device_id;
};
struct DLDataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t *shape, *strides;  // strides in elements; null: dense
  std::uint64_t byte_offset;
};
struct DLPackVersion {
  std::uint32_t major, minor;
};
struct DLManagedTensorVersioned {
  DLPackVersion version;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned*);
  std::uint64_t flags;  // bit 0: read-only
  DLTensor dl_tensor;
};

}  // namespace mindgap::dlpack

namespace mindgap {

namespace detail {

template <Element T>
constexpr dlpack::DLDataType dlpack_type() {
  constexpr std::uint8_t bits = 8 * sizeof(T);
  if constexpr (std::is_same_v<T, bf16>) return {dlpack::bfloat, bits, 1};
  else if constexpr (std::is_same_v<T, f16> || std::is_floating_point_v<T>) return {dlpack::ieee_float, bits, 1};
  else return {std::is_signed_v<T> ? dlpack::signed_integer : dlpack::unsigned_integer, bits, 1};
}
struct DlpackOwner {
  dlpack::DLManagedTensorVersioned* managed = nullptr;

  DlpackOwner() = default;
  DlpackOwner(const DlpackOwner&) = delete;
  DlpackOwner& operator=(const DlpackOwner&) = delete;
  ~DlpackOwner() {
    if (managed && managed->deleter) managed->deleter(managed);
  }
};
template <Device D>
constexpr std::int32_t dlpack_device = std::same_as<D, Cpu> ? dlpack::cpu : dlpack::cuda;

}  // namespace detail

// The tensor takes the struct over: its deleter runs when the last tensor of the memory ends. Throws, and leaves the struct to
// the caller, where device, element type or rank are others, where elements are not dense in the order of the axes or not aligned
// (on a GPU to 16 bytes), for read-only memory, and for extents that no tensor has. What is written to the memory by others, our
// own tensors that it came from among them, is not seen by gradients of this one.
template <Element T, int N, Device D = Cpu>
Tensor<T, N, D> from_dlpack(dlpack::DLManagedTensorVersioned* managed, Location at = Location::current()) {
  const Caller caller(at);
  if (!managed) throw Error("dlpack: the struct is null", {{"remedy", "a capsule is taken once"}});
  const dlpack::DLTensor& from = managed->dl_tensor;
  const auto refuse = [](const std::string& what, const std::string& remedy) {
    throw Error("dlpack: " + what, {{"remedy", remedy}});
  };
  if (managed->version.major != 1)
    refuse(text("version ", managed->version.major, ".", managed->version.minor, " of the struct"), "make one of version 1");
  if (from.device.device_type != detail::dlpack_device<D>)
    refuse(text("the tensor lies on a device of type ", from.device.device_type, ", wanted ", detail::dlpack_device<D>),
           text("copy it to ", D::name, " first"));
  constexpr dlpack::DLDataType wanted = detail::dlpack_type<T>();
  if (from.dtype.code != wanted.code || from.dtype.bits != wanted.bits || from.dtype.lanes != 1)
    refuse(text("elements of type code ", int(from.dtype.code), ", ", int(from.dtype.bits), " bits, ", from.dtype.lanes,
                " lanes; wanted ", name(dtype_of<T>)),
           "convert it first");
  if (from.ndim != N) refuse(text(from.ndim, " axes, wanted ", N), "reshape it first");
  if (N > 0 && !from.shape) refuse(text("the shape of ", N, " axes is null"), "look at what made the struct");
  if (managed->flags & 1) refuse("the memory is read-only, and tensors may be written", "copy it first");

  Shape<N> shape;
  for (int i = 0; i < N; ++i) shape[i] = from.shape[i];
  for (i64 extent : shape.extents)
    if (extent < 0) refuse("negative extent in " + shape.str(), "look at what made the struct");
  const i64 size = shape.size();
  if (size && !from.data) refuse("there is no memory for " + shape.str(), "look at what made the struct");
  bool dense = true;
  std::string strides;
  i64 stride = 1;
  for (int i = N; i-- > 0 && from.strides && size > 0; stride *= shape[i]) {
    dense = dense && (shape[i] == 1 || from.strides[i] == stride);
    strides = std::to_string(from.strides[i]) + (strides.empty() ? "" : ", ") + strides;
  }
  if (!dense)
    refuse("the elements of " + shape.str() + " are not dense in the order of the axes: strides [" + strides + "]",
           "copy it (torch: contiguous()); images are [n, h, w, c], which is permute(0, 2, 3, 1) of a channels_last one");
  T* const data = reinterpret_cast<T*>(static_cast<char*>(from.data) + from.byte_offset);
  constexpr size_t alignment = std::same_as<D, Cpu> ? alignof(T) : 16;
  if (reinterpret_cast<std::uintptr_t>(data) % alignment)
    refuse(text("the elements do not begin at a multiple of ", alignment, " bytes"), "copy it (torch: clone())");
  // The memory is taken over last, when nothing can fail any more.
  const auto owner = std::make_shared<detail::DlpackOwner>();
  const auto tensor = Tensor<T, N, D>::borrow(data, shape, owner);
  owner->managed = managed;
  return tensor;
}

// A struct that shares the tensor's memory; its deleter ends that. Device 0 of its kind.
template <Element T, int N, Device D>
dlpack::DLManagedTensorVersioned* to_dlpack(const Tensor<T, N, D>& tensor, Location at = Location::current()) {
  const Caller caller(at);
  if (!tensor.defined()) throw Error("dlpack: the tensor is undefined");
  struct Holder {
    dlpack::DLManagedTensorVersioned managed;
    Tensor<T, N, D> tensor;
    std::array<std::int64_t, size_t(N) + 1> shape, strides;  // an element more: rank 0 has none
  };
  auto holder = std::make_unique<Holder>();
  holder->tensor = tensor;
  i64 stride = 1;
  for (int i = N; i-- > 0; stride *= std::max<i64>(tensor.extent(i), 1)) {
    holder->shape[size_t(i)] = tensor.extent(i);
    holder->strides[size_t(i)] = stride;
  }
  Holder* const h = holder.release();
  h->managed = {
      {1, 0},
      h,
      [](dlpack::DLManagedTensorVersioned* self) { delete static_cast<Holder*>(self->manager_ctx); },
      0,
      {tensor.data(), {detail::dlpack_device<D>, 0}, N, detail::dlpack_type<T>(), h->shape.data(), h->strides.data(), 0}};
  return &h->managed;
}

}  // namespace mindgap
