// Convolutions and matrix products of the CPU, over raw pointers.
//
// Activations are [n, h, w, c] and weights [c_out, kh, kw, c_in], both T (float or bf16), dense; gradients of weights and
// of biases are f32. Every output is overwritten, nothing is accumulated but where `accumulate` says so. All sums are f32.
//
// Who does the work:
//                     AVX2 and FMA                  AVX-512                          AVX-512 and AMX           neither
//   f32 convolution   direct_gather, direct_outer,  oneDNN                           oneDNN                    oneDNN
//                     forward direct_winograd
//   bf16 convolution  widened to f32                oneDNN with bf16 instructions,   oneDNN; gradients of      widened to f32
//                                                   else widened to f32              weights in amx_outer
//   f32 product       direct_matmul                 direct_matmul                    direct_matmul             oneDNN
//   bf16 product      widened to f32                widened to f32                   amx_matmul                widened to f32
//   long attention    direct_attention              direct_attention                 f32: direct_attention     in products
// oneDNN (2.6 or 3.x) runs on OpenMP's threads; its primitives are cached by geometry. Widening is correct, and slower than
// f32. Channels-last 3x3 convolutions on one AVX2 core (peak 102 GFLOP/s): oneDNN 2.6 reaches 40 to 100, by weights 50 to 75;
// the direct ones 85 to 97, by weights 80 to 92; Winograd's, counted by the products that a direct one makes, about twice that.
//
// Results are equal bit by bit in every run with the same number of threads, and the direct ones with any. An image's part
// of a convolution's output or of backward_data, and a row of an f32 product, do not depend on the batch that they are in.
// oneDNN's products break that: another number of rows or of matrices takes another implementation (f32 on AVX2 in 418 of 588
// cases tried, f32 on AVX-512 for one matrix of a batch, bf16 with AMX for few rows). So they are not used where ours run.
//
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

// y = softmax(q k^T / sqrt(d)) v without the probabilities in memory; statistics [n, heads, l]: the logarithm of each row's sum
// of exponentials. False, and nothing is done, where products serve better: for fewer than 65,536 probabilities a head, without
// AVX2, and for bf16 with AMX.
bool attention(const AttentionGeometry& g, float* y, float* statistics, const float* q, const float* k, const float* v);
bool attention(const AttentionGeometry& g, bf16* y, float* statistics, const bf16* q, const bf16* k, const bf16* v);

}  // namespace mindgap::cpu

#if !defined(MINDGAP_GLUE)
#include <mindgap/cpu/onednn.ipp>
#endif
