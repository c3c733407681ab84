// Library<Cuda>: the ops that cuDNN and cuBLAS compute, over raw device pointers, for the ops in ops/. Empty to a compiler other
// than nvcc.
//
// cuDNN and cuBLAS multiply; what they leave (a bias, its gradient, f32 gradients where cuDNN has none) are kernels of ours.
#pragma once

#include <mindgap/cuda/runtime.hpp>

#if defined(__CUDACC__)

#include <mindgap/core/memory.hpp>
#include <mindgap/cuda/cublas.hpp>
#include <mindgap/cuda/cudnn.hpp>
#include <mindgap/kernels/bias.hpp>
#include <mindgap/kernels/reduce.hpp>

namespace mindgap {

template <>
struct Library<Cuda> {
  template <class T>
  static constexpr bool computes = Real<T>;

  template <class T>
  static void conv2d(const ConvGeometry& g, T* y, const T* x, const T* w, const float* bias) {
    cuda::conv2d_forward(stream(), g, dtype_of<T>, y, x, w);
    if (bias) add_bias(y, bias, g.y_size() / g.c_out, g.c_out, g.c_out);
  }

  template <class T>
  static void conv2d_backward_data(const ConvGeometry& g, T* grad_x, const T* grad_y, const T* w) {
    cuda::conv2d_backward_data(stream(), g, dtype_of<T>, grad_x, grad_y, w);
  }

  template <class T>
  static void conv2d_backward_weights(const ConvGeometry& g, float* grad_w, float* grad_bias, const T* x, const T* grad_y) {
    if (g.y_size() == 0) {
      Runtime<Cuda>::zero(grad_w, g.weight_size() * i64(sizeof(float)));
    } else if (!cuda::conv2d_backward_weights(stream(), g, dtype_of<T>, DType::f32, grad_w, x, grad_y)) {
      const auto narrow = Pool<Cuda>::current().allocate(g.weight_size() * i64(sizeof(T)));
      cuda::conv2d_backward_weights(stream(), g, dtype_of<T>, dtype_of<T>, narrow.get(), x, grad_y);
      using Widen = Convert<float, T>;
      Runtime<Cuda>::launch(Grid{(g.weight_size() + Widen::per_block - 1) / Widen::per_block},
                            Widen{grad_w, static_cast<const T*>(narrow.get()), g.weight_size()});
    }
    if (grad_bias) sum_rows<Cuda>(grad_bias, grad_y, g.y_size() / g.c_out, g.c_out);
  }

  template <class TC, class T>
  static void matmul(const MatmulGeometry& g, TC* c, const T* a, const T* b, float alpha = 1.f, bool accumulate = false,
                     const float* bias = nullptr) {
    cuda::matmul(stream(), g, dtype_of<TC>, c, dtype_of<T>, a, b, alpha, accumulate);
    if (bias) add_bias(c, bias, g.m, g.n, g.c.row);
  }

 private:
  static cuda::Stream stream() { return Runtime<Cuda>::stream(); }

  template <class T>
  static void add_bias(T* y, const float* bias, i64 rows, i64 cols, i64 stride) {
    Runtime<Cuda>::launch(Grid{(rows + bias_rows_per_block - 1) / bias_rows_per_block, 128},
                          AddBias<T>{y, bias, rows, cols, stride});
  }
};

}  // namespace mindgap

#endif
