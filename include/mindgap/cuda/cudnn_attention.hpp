// Attention of the GPU in one pass, over raw device pointers, on cuDNN: the probabilities are never stored.
//
//   y = softmax(q k^T / sqrt(d)) v          q, y [n, l, heads * d], k, v [n, m, heads * d], dense, bf16 or f16
//   statistics = log of the sum of exp(q k^T / sqrt(d)) over the m keys            [n, heads, l] f32
//
// The forward reads q, k and v and writes y and the statistics. The backward computes the probabilities again from q, k and the
// statistics; it stores the gradient of the scores [n, heads, l, m] in scratch memory and makes grad_q from it by a product,
// since cuDNN's way of adding grad_q up as it goes is another sum in every run.
//
// Both give false, and do nothing, where cuDNN has no plan: f32, a head size d that is no multiple of 8 or above 256; the
// backward also on GPUs from Blackwell on, where its sums differ from run to run.
// What it leaves out: masks, dropout, fewer heads in k and v than in q.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/cuda/cudnn.hpp>

namespace mindgap::cuda {

bool attention_forward(Stream stream, Scratch scratch, const AttentionGeometry& g, DType type, void* y, float* statistics,
                       const void* q, const void* k, const void* v);
// All three gradients are written; so is sums [n, heads, l], the caller's scratch memory.
bool attention_backward(Stream stream, Scratch scratch, const AttentionGeometry& g, DType type, void* grad_q, void* grad_k,
                        void* grad_v, float* sums, const void* grad_y, const void* y, const float* statistics, const void* q,
                        const void* k, const void* v);

}  // namespace mindgap::cuda

#if !defined(MINDGAP_GLUE)
#include <mindgap/cuda/cudnn_attention.ipp>
#endif
