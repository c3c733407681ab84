// A device that computes nothing and notes which library calls a model makes: Emulated, with memory that is reserved and never
// touched, kernels that are not run and products that are written down. A training step of any size takes milliseconds.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/core/device.hpp>
#include <mindgap/core/error.hpp>
#include <mindgap/cpu/library.hpp>
#include <mindgap/cuda/cudnn.hpp>

#include <set>
#include <sys/mman.h>
#include <utility>

namespace mindgap {

namespace test {

struct Recorded {
  std::set<std::pair<ConvGeometry, cuda::ConvDirection>> convolutions;
  std::set<ConvGeometry> sums;       // gradients of data that are added to another gradient
  std::set<ConvGeometry> with_sums;  // forward, with the sums of channels
  std::set<AttentionGeometry> attention;
};
inline Recorded& recorded() {
  static Recorded calls;
  return calls;
}

}  // namespace test

template <>
struct Runtime<Emulated> {
  static constexpr bool asynchronous = false, captures = false;
  struct Graph {};
  using Event = Runtime<Cpu>::Event;
  static void begin_range(const char*) {}
  static void end_range() {}

  static void* allocate(i64 bytes) {
    void* block = mmap(nullptr, size_t(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED) throw Error(text("recording: no ", bytes >> 20, " MiB of addresses are left"));
    return block;
  }
  static void deallocate(void*) {}
  static void copy(void*, const void*, i64) {}
  static void from_host(void*, const void*, i64) {}
  static void to_host(void*, const void*, i64) {}
  static void zero(void*, i64) {}
  template <class Kernel>
  static void launch(Grid, const Kernel&) {}
  static void synchronize() {}
  static i64 most_shared_bytes() { return 227 << 10; }
};

template <>
struct Library<Emulated> : Library<Cpu> {
  template <class T>
  static constexpr bool computes = true;
  template <class T>
  static constexpr bool fuses_attention = true;

  // All ways that the library has, so that its calls are noted.
  static int autotune(const std::string&, const std::vector<std::function<bool()>>& ways) {
    for (const auto& way : ways) way();
    return int(ways.size()) - 1;
  }
  template <class T>
  static bool conv2d_sums(const ConvGeometry& g, T*, float*, float*, const T*, const T*) {
    test::recorded().with_sums.insert(g);
    return true;
  }

  template <class T>
  static void conv2d(const ConvGeometry& g, T*, const T*, const T*, const float*) {
    test::recorded().convolutions.insert({g, cuda::ConvDirection::forward});
  }
  template <class T>
  static bool conv2d_bias_relu(const ConvGeometry& g, T*, const T*, const T*, const T*, const T*) {
    test::recorded().convolutions.insert({g, cuda::ConvDirection::forward});
    return true;
  }
  template <class T>
  static void conv2d_backward_data(const ConvGeometry& g, T*, const T*, const T*) {
    test::recorded().convolutions.insert({g, cuda::ConvDirection::backward_data});
  }
  template <class T>
  static bool conv2d_backward_data_sum(const ConvGeometry& g, T*, const T*, const T*, const T*) {
    test::recorded().sums.insert(g);
    return true;
  }
  template <class T>
  static constexpr bool narrows_gradients = true;
  template <class T>
  static bool conv2d_backward_weights(const ConvGeometry& g, float*, T*, float*, const T*, const T*) {
    test::recorded().convolutions.insert({g, cuda::ConvDirection::backward_weights});
    return false;
  }
  template <class T>
  static bool attention(const AttentionGeometry& g, T*, float*, const T*, const T*, const T*) {
    test::recorded().attention.insert(g);
    return true;
  }
  template <class T>
  static bool attention_backward(const AttentionGeometry& g, T*, T*, T*, const T*, const T*, const float*, const T*, const T*,
                                 const T*) {
    test::recorded().attention.insert(g);
    return true;
  }
  template <class TC, class T>
  static void matmul(const MatmulGeometry&, TC*, const T*, const T*, float = 1.f, bool = false, const float* = nullptr) {}
};

}  // namespace mindgap
