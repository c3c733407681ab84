// Tensors as NumPy's .npy files, for metrics that people load into their own tools.
//
// Written atomically. Reading checks that type, rank and length of the file are what its header says (xtensor alone would
// accept a truncated file). Element types f32, u8, i32 and i64.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <filesystem>

namespace mindgap {

namespace detail {
void write_npy_bytes(const std::filesystem::path& path, DType type, const std::vector<size_t>& shape, const void* data);
// The elements, and the shape in `shape`; throws unless type and rank are as wanted.
std::string read_npy_bytes(const std::filesystem::path& path, DType type, size_t rank, std::vector<size_t>& shape);
}  // namespace detail

template <Element T, int N>
requires std::is_arithmetic_v<T>
void write_npy(const std::filesystem::path& path, const Tensor<T, N, Cpu>& tensor) {
  detail::write_npy_bytes(path, dtype_of<T>, {tensor.shape().extents.begin(), tensor.shape().extents.end()}, tensor.data());
}

template <Element T, int N>
requires std::is_arithmetic_v<T> Tensor<T, N, Cpu> read_npy(const std::filesystem::path& path) {
  std::vector<size_t> extents;
  const std::string bytes = detail::read_npy_bytes(path, dtype_of<T>, size_t(N), extents);
  Shape<N> shape;
  for (int i = 0; i < N; ++i) shape[i] = i64(extents[size_t(i)]);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return Tensor<T, N, Cpu>::from(values, shape);
}

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/interop/npy.ipp>
#endif
