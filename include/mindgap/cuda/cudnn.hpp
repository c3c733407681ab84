// Convolutions of the GPU, over raw device pointers, on cuDNN's graph interface. The stream is the caller's; nothing waits, but
// for the first call of a geometry, which times the plans that cuDNN proposes and keeps the quickest.
//
// Activations are [n, h, w, c] and weights [c_out, kh, kw, c_in] of one type, f32, bf16 or f16, dense. All sums are f32; f32
// inputs are rounded to TF32 only where allow_tf32 (cublas.hpp) says so. Plans whose result may differ from run to run are passed
// over.
//
// Plans are kept in a table: from geometry, type and direction to the place in cuDNN's list. plan_table() is its text, for one
// card and one version of cuDNN; read_plan_table takes it back, so that another process times nothing and gets the same bits.
// Errors: mindgap::Error where cuDNN has no plan for a geometry.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/cuda/cublas.hpp>

#include <string>

namespace mindgap::cuda {

// y = conv(x, w); the bias is the caller's to add.
void conv2d_forward(Stream stream, const ConvGeometry& g, DType type, void* y, const void* x, const void* w);
void conv2d_backward_data(Stream stream, const ConvGeometry& g, DType type, void* grad_x, const void* grad_y, const void* w);
// The gradient is f32 or has the type of x. False where cuDNN has no plan for f32 from x of another type: ask for x's type then.
bool conv2d_backward_weights(Stream stream, const ConvGeometry& g, DType type, DType grad_type, void* grad_w, const void* x,
                             const void* grad_y);

// "9.19.0"
std::string cudnn_version();
// One line a plan, sorted; the first line names the card and cuDNN's version.
std::string plan_table();
// Takes the plans of a table that was made on this card with this version; of another one nothing. Returns how many.
i64 read_plan_table(const std::string& table);

}  // namespace mindgap::cuda

#if !defined(MINDGAP_GLUE)
#include <mindgap/cuda/cudnn.ipp>
#endif
