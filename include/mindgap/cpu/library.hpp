// Library<Cpu>: the ops that a library computes, over raw pointers, for the ops in ops/. Another backend specialises
// Library for its device with the same static functions.
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

  // What results depend on besides their inputs: how f32 is multiplied, and which plans were chosen. Here nothing varies.
  static constexpr const char* f32_products() { return "f32"; }
  static void begin_plan_use() {}
  static std::string plan_hash() { return ""; }

  template <class T>
  static void conv2d(const ConvGeometry& g, T* y, const T* x, const T* w, const float* bias) {
    cpu::conv2d_forward(g, y, x, w, bias);
  }
  template <class T>
  static void conv2d_backward_data(const ConvGeometry& g, T* grad_x, const T* grad_y, const T* w) {
    cpu::conv2d_backward_data(g, grad_x, grad_y, w);
  }
  // Whether gradients of weights may be left in T, in `narrow`; then false is returned.
  template <class T>
  static constexpr bool narrows_gradients = false;
  template <class T>
  static bool conv2d_backward_weights(const ConvGeometry& g, float* grad_w, T*, float* grad_bias, const T* x, const T* grad_y) {
    cpu::conv2d_backward_weights(g, grad_w, grad_bias, x, grad_y);
    return true;
  }
  // Convolutions with such an epilogue: none.
  template <class T>
  static bool conv2d_bias_relu(const ConvGeometry&, T*, const T*, const T*, const T*, const T*) {
    return false;
  }
  template <class T>
  static bool conv2d_backward_data_sum(const ConvGeometry&, T*, const T*, const T*, const T*) {
    return false;
  }
  // Whether there may be attention in one pass; else it is made of products.
  template <class T>
  static constexpr bool fuses_attention = false;

  template <class TC, class T>
  static void matmul(const MatmulGeometry& g, TC* c, const T* a, const T* b, float alpha = 1.f, bool accumulate = false,
                     const float* bias = nullptr) {
    cpu::matmul(g, c, a, b, alpha, accumulate, bias);
  }
};

}  // namespace mindgap
