// Convolutions of the GPU, over raw device pointers, on cuDNN's graph interface. The stream is the caller's; nothing waits, but
// for the first call of a geometry, which chooses a plan (autotune_cache.hpp) and is refused while a graph is captured.
//
// Activations are [n, h, w, c] and weights [c_out, kh, kw, c_in] of one type, f32, bf16 or f16, dense, and begin at a multiple
// of 16 bytes. All sums are f32; f32 inputs are rounded to TF32 only where allow_tf32 (cublas.hpp) says so. Plans whose result
// may differ from run to run are passed over. A 1x1 convolution of stride 1 is a product of pixels and channels; where cuBLAS is
// faster, also by timing, it computes it.
//
// Errors: mindgap::Error where cuDNN has no plan for a geometry.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/cuda/cublas.hpp>
#include <mindgap/cuda/scratch.hpp>

#include <string>

namespace mindgap::cuda {

// What a convolution does to its sums before they are rounded: add a residual shaped like what it writes, add a bias [c_out],
// both of its type, take the maximum with 0. That saves a pass over what it writes, where cuDNN has a plan that is not slower by
// more.
struct ConvEpilogue {
  bool residual = false, bias = false, relu = false;

  auto operator<=>(const ConvEpilogue&) const = default;
};

// y = conv(x, w)
void conv2d_forward(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, void* y, const void* x, const void* w);
// y = epilogue(conv(x, w)); bias and residual are read if the epilogue names them. False where a pass of the caller's is faster.
bool conv2d_forward(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, ConvEpilogue epilogue, void* y,
                    const void* x, const void* w, const void* bias, const void* residual);
// y = conv(x, w), and for each channel of y its sum and that of its squares, [c_out], by a kernel that comes with cuDNN. False
// where there is none: cuDNN 9.19 has them in f16; in bf16 it would compile one, a second a geometry.
bool conv2d_forward_sums(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, void* y, float* sum, float* square,
                         const void* x, const void* w);
void conv2d_backward_data(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, void* grad_x, const void* grad_y,
                          const void* w);
// grad_x = the gradient of x, plus `before`, other memory of its shape and type: in a product for 1x1 convolutions of stride 1,
// else by a kernel that cuDNN compiles anew in every process, for seconds. False where a pass of the caller's is faster, or not
// worth compiling that.
bool conv2d_backward_data(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, void* grad_x, const void* grad_y,
                          const void* w, const void* before);
bool worth_compiling_a_sum(const ConvGeometry& g, DType type);
// The gradient is wanted in f32. True: grad_w has it. False, for bf16 and f16 where that is faster: `narrow`, memory of the
// caller's for the weights in the type of x, has it. (From 16-bit operands cuDNN gives f32 only by kernels that it compiles when
// they are asked for, seconds a geometry.)
bool conv2d_backward_weights(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, float* grad_w, void* narrow,
                             const void* x, const void* grad_y);

// The properties of this machine's GPU as cuDNN writes them down (JSON), from which another machine can make its plans.
std::string card_description();

enum class ConvDirection : u8 { forward, backward_data, backward_weights };

}  // namespace mindgap::cuda

#if !defined(MINDGAP_GLUE)
#include <mindgap/cuda/cudnn.ipp>
#endif
