// Library<Cpu>: the products that oneDNN and our microkernels compute (core/backend.hpp has the contract).
//
// f16 has no products on the CPU: it is a storage type of published weights there.
#pragma once

#include <mindgap/core/device.hpp>
#include <mindgap/cpu/onednn.hpp>
#include <mindgap/cpu/runtime.hpp>

namespace mindgap {

template <>
struct Library<Cpu> {
  template <class T>
  static constexpr bool computes = std::is_same_v<T, float> || std::is_same_v<T, bf16>;

  // Nothing varies here.
  static constexpr const char* f32_products() { return "f32"; }
  static void begin_plan_use() {}
  static std::string plan_hash() { return ""; }
  static int autotune(const std::string&, const std::vector<std::function<bool()>>& ways) { return int(ways.size()) - 1; }

  template <class T>
  static void conv2d(const ConvGeometry& g, T* y, const T* x, const T* w, const float* bias) {
    cpu::conv2d_forward(g, y, x, w, bias);
  }
  template <class T>
  static void conv2d_backward_data(const ConvGeometry& g, T* grad_x, const T* grad_y, const T* w) {
    cpu::conv2d_backward_data(g, grad_x, grad_y, w);
  }
  template <class T>
  static constexpr bool narrows_gradients = false;
  template <class T>
  static bool conv2d_backward_weights(const ConvGeometry& g, float* grad_w, T*, float* grad_bias, const T* x, const T* grad_y) {
    cpu::conv2d_backward_weights(g, grad_w, grad_bias, x, grad_y);
    return true;
  }
  // Convolutions with such epilogues: none.
  template <class T>
  static bool conv2d_bias_relu(const ConvGeometry&, T*, const T*, const T*, const T*, const T*) {
    return false;
  }
  template <class T>
  static bool conv2d_sums(const ConvGeometry&, T*, float*, float*, const T*, const T*) {
    return false;
  }
  template <class T>
  static bool conv2d_backward_data_sum(const ConvGeometry&, T*, const T*, const T*, const T*) {
    return false;
  }
  template <class T>
  static constexpr bool fuses_attention = computes<T>;
  template <class T>
  static bool attention(const AttentionGeometry& g, T* y, float* statistics, const T* q, const T* k, const T* v) {
    return cpu::attention(g, y, statistics, q, k, v);
  }
  template <class T>
  static bool attention_backward(const AttentionGeometry&, T*, T*, T*, const T*, const T*, const float*, const T*, const T*,
                                 const T*) {
    return false;
  }

  template <class TC, class T>
  static void matmul(const MatmulGeometry& g, TC* c, const T* a, const T* b, float alpha = 1.f, bool accumulate = false,
                     const float* bias = nullptr) {
    cpu::matmul(g, c, a, b, alpha, accumulate, bias);
  }
};
static_assert(DeviceLibrary<Library<Cpu>, float> && DeviceLibrary<Library<Cpu>, bf16>);

}  // namespace mindgap
