// Library<Cuda>: the ops that cuDNN and cuBLAS compute, over raw device pointers, for the ops in ops/. Empty to a compiler other
// than nvcc.
//
// cuDNN and cuBLAS multiply; what they leave (gradients of a bias, a bias where they have no way to add it) are kernels of ours.
// They add a bias, rounded to the type of the operands, before they round their sums.
#pragma once

#include <mindgap/cuda/runtime.hpp>

#if defined(__CUDACC__)

#include <mindgap/core/memory.hpp>
#include <mindgap/cuda/autotune_cache.hpp>
#include <mindgap/cuda/cublas.hpp>
#include <mindgap/cuda/cublas_lt.hpp>
#include <mindgap/cuda/cudnn.hpp>
#include <mindgap/cuda/cudnn_attention.hpp>
#include <mindgap/kernels/bias.hpp>
#include <mindgap/kernels/reduce.hpp>

namespace mindgap {

template <>
struct Library<Cuda> {
  template <class T>
  static constexpr bool computes = Real<T>;

  static const char* f32_products() { return cuda::allow_tf32() ? "tf32" : "f32"; }
  static void begin_plan_use() { cuda::begin_plan_use(); }
  static std::string plan_hash() { return cuda::plan_hash(); }

  // As the autotune cache says of `name`, else by timing.
  static int autotune(const std::string& name, const std::vector<std::function<bool()>>& ways) {
    // Named by their number too: a table of another build may have known others.
    return cuda::autotune(stream(), text(name, cuda::allow_any_plan() ? " any of " : " of ", ways.size(), " ways"), ways);
  }

  template <class T>
  static void conv2d(const ConvGeometry& g, T* y, const T* x, const T* w, const float* bias) {
    PoolScratch scratch, rounded;
    if (bias && cuda::conv2d_forward(stream(), scratch, g, dtype_of<T>, {false, true, false}, y, x, w,
                                     bias_of<T>(bias, g.c_out, rounded), nullptr))
      return;
    cuda::conv2d_forward(stream(), scratch, g, dtype_of<T>, y, x, w);
    if (bias) add_bias(y, bias, g.y_size() / g.c_out, g.c_out, g.c_out);
  }

  // y = relu(conv(x, w) + bias (+ residual)); false where there is no such convolution.
  template <class T>
  static bool conv2d_bias_relu(const ConvGeometry& g, T* y, const T* x, const T* w, const T* bias, const T* residual) {
    PoolScratch scratch;
    return cuda::conv2d_forward(stream(), scratch, g, dtype_of<T>, {residual != nullptr, true, true}, y, x, w, bias, residual);
  }

  // y = conv(x, w), and the sums of its channels and of their squares; false where there is no such convolution.
  template <class T>
  static bool conv2d_sums(const ConvGeometry& g, T* y, float* sum, float* square, const T* x, const T* w) {
    PoolScratch scratch;
    return cuda::conv2d_forward_sums(stream(), scratch, g, dtype_of<T>, y, sum, square, x, w);
  }

  template <class T>
  static void conv2d_backward_data(const ConvGeometry& g, T* grad_x, const T* grad_y, const T* w) {
    PoolScratch scratch;
    cuda::conv2d_backward_data(stream(), scratch, g, dtype_of<T>, grad_x, grad_y, w);
  }

  // The gradient plus `before`; false where a pass of its own is faster.
  template <class T>
  static bool conv2d_backward_data_sum(const ConvGeometry& g, T* grad_x, const T* grad_y, const T* w, const T* before) {
    PoolScratch scratch;
    return cuda::conv2d_backward_data(stream(), scratch, g, dtype_of<T>, grad_x, grad_y, w, before);
  }

  template <class T>
  static constexpr bool narrows_gradients = !std::is_same_v<T, float>;
  template <class T>
  static bool conv2d_backward_weights(const ConvGeometry& g, float* grad_w, T* narrow, float* grad_bias, const T* x,
                                      const T* grad_y) {
    PoolScratch scratch;
    if (grad_bias) kernel::sum_rows<Cuda>(grad_bias, grad_y, g.y_size() / g.c_out, g.c_out);
    if (g.y_size()) return cuda::conv2d_backward_weights(stream(), scratch, g, dtype_of<T>, grad_w, narrow, x, grad_y);
    Runtime<Cuda>::zero(grad_w, g.weight_size() * i64(sizeof(float)));
    return true;
  }

  template <class T>
  static constexpr bool fuses_attention = !std::is_same_v<T, float>;

  template <class T>
  static bool attention(const AttentionGeometry& g, T* y, float* statistics, const T* q, const T* k, const T* v) {
    if (g.causal) return false;
    PoolScratch scratch;
    return cuda::attention_forward(stream(), scratch, g, dtype_of<T>, y, statistics, q, k, v);
  }

  // A gradient that is null is not wanted; cuDNN writes it all the same.
  template <class T>
  static bool attention_backward(const AttentionGeometry& g, T* grad_q, T* grad_k, T* grad_v, const T* grad_y, const T* y,
                                 const float* statistics, const T* q, const T* k, const T* v) {
    PoolScratch scratch;
    std::vector<std::shared_ptr<void>> held;
    const auto memory = [&](i64 bytes) { return held.emplace_back(Pool<Cuda>::current().allocate(bytes)).get(); };
    const auto wanted = [&](T* grad, i64 length) {
      return grad ? grad : static_cast<T*>(memory(g.n * length * g.heads * g.d * i64(sizeof(T))));
    };
    return cuda::attention_backward(stream(), scratch, g, dtype_of<T>, wanted(grad_q, g.l), wanted(grad_k, g.m),
                                    wanted(grad_v, g.m), static_cast<float*>(memory(g.n * g.heads * g.l * i64(sizeof(float)))),
                                    grad_y, y, statistics, q, k, v);
  }

  template <class TC, class T>
  static void matmul(const MatmulGeometry& g, TC* c, const T* a, const T* b, float alpha = 1.f, bool accumulate = false,
                     const float* bias = nullptr) {
    if constexpr (std::is_same_v<TC, T>) {
      PoolScratch scratch, rounded;
      if (bias && !accumulate && alpha == 1.f &&
          cuda::matmul_with_epilogue(stream(), scratch, g, dtype_of<T>, c, dtype_of<T>, a, b,
                                     {nullptr, bias_of<T>(bias, g.n, rounded)}))
        return;
    }
    cuda::matmul(stream(), g, dtype_of<TC>, c, dtype_of<T>, a, b, alpha, accumulate);
    if (bias) add_bias(c, bias, g.m, g.n, g.c.row);
  }

 private:
  // A block of the pool for one call. Given back once the call has been queued: later work on the stream may have it.
  class PoolScratch {
   public:
    operator cuda::Scratch() {
      return {[](void* self, i64 bytes) {
                auto& block = static_cast<PoolScratch*>(self)->block_;
                block = Pool<Cuda>::current().allocate(bytes);
                return block.get();
              },
              this};
    }

   private:
    std::shared_ptr<void> block_;
  };

  static cuda::Stream stream() { return Runtime<Cuda>::stream(); }

  // The bias in type T, which libraries add before they round.
  template <class T>
  static const T* bias_of(const float* bias, i64 n, cuda::Scratch memory) {
    if constexpr (std::is_same_v<T, float>) {
      return bias;
    } else {
      T* rounded = static_cast<T*>(memory(n * i64(sizeof(T))));
      convert(rounded, bias, n);
      return rounded;
    }
  }

  template <class To, class From>
  static void convert(To* to, const From* from, i64 n) {
    const kernel::Convert<To, From> kernel{to, from, n};
    Runtime<Cuda>::launch(Grid{kernel.blocks()}, kernel);
  }

  template <class T>
  static void add_bias(T* y, const float* bias, i64 rows, i64 cols, i64 stride) {
    Runtime<Cuda>::launch(Grid{(rows + kernel::bias_rows_per_block - 1) / kernel::bias_rows_per_block, 128},
                          kernel::AddBias<T>{y, bias, rows, cols, stride});
  }
};
static_assert(DeviceLibrary<Library<Cuda>, float> && DeviceLibrary<Library<Cuda>, bf16> && DeviceLibrary<Library<Cuda>, f16>);

}  // namespace mindgap

#endif
