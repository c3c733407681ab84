// Convolutions and matrix products of the CPU, over raw pointers.
//
// Activations are [n, h, w, c] and weights [c_out, kh, kw, c_in], both T (float or bf16), dense; gradients of weights and
// of biases are f32. Every output is overwritten, nothing is accumulated but where `accumulate` says so. All sums are f32.
//
// The work is done by oneDNN (2.6 or 3.x) on OpenMP's threads, with primitives cached by geometry. Without bf16
// instructions the bf16 functions widen to f32, compute and round: correct, slower than f32.
//
// Results are equal bit by bit in every run with the same number of threads. An image's part of a forward pass and of
// backward_data does not depend on the batch that it is in.
// Errors: mindgap::Error if oneDNN refuses a geometry or memory runs out. Shapes are the caller's to check.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/core/dtype.hpp>

#include <string>

namespace mindgap::cpu {

// Does this CPU multiply bf16 in hardware?
bool has_bf16();
// The version of oneDNN, such as "2.6.3".
std::string library_version();

// y [n, out_h, out_w, c_out] = conv(x, w) + bias; bias [c_out] or null.
void conv2d_forward(const ConvGeometry& g, float* y, const float* x, const float* w, const float* bias);
void conv2d_forward(const ConvGeometry& g, bf16* y, const bf16* x, const bf16* w, const float* bias);

// grad_x [n, h, w, c_in] from grad_y [n, out_h, out_w, c_out].
void conv2d_backward_data(const ConvGeometry& g, float* grad_x, const float* grad_y, const float* w);
void conv2d_backward_data(const ConvGeometry& g, bf16* grad_x, const bf16* grad_y, const bf16* w);

// grad_w [c_out, kh, kw, c_in] and, unless null, grad_bias [c_out].
void conv2d_backward_weights(const ConvGeometry& g, float* grad_w, float* grad_bias, const float* x, const float* grad_y);
void conv2d_backward_weights(const ConvGeometry& g, float* grad_w, float* grad_bias, const bf16* x, const bf16* grad_y);

// C = alpha op(A) op(B) (+ bias [n], a row added to every row) (+ C, if accumulate). bias wants alpha 1.
void matmul(const MatmulGeometry& g, float* c, const float* a, const float* b, float alpha = 1, bool accumulate = false,
            const float* bias = nullptr);
void matmul(const MatmulGeometry& g, bf16* c, const bf16* a, const bf16* b, float alpha = 1, bool accumulate = false,
            const float* bias = nullptr);
void matmul(const MatmulGeometry& g, float* c, const bf16* a, const bf16* b, float alpha = 1, bool accumulate = false,
            const float* bias = nullptr);

}  // namespace mindgap::cpu

#if !defined(MINDGAP_GLUE)
#include <mindgap/cpu/onednn.ipp>
#endif
