// The CUDA entries whose registers bench/registers.py lists: what the ResNets, the U-Net and the optimizers spend their passes
// in.
//
// KERNEL(name, type): the name is that of the table, with underscores. It ends in f16 or f32 where tensors are that, else they
// are bf16.
#include <mindgap/core/device.hpp>
#include <mindgap/kernels/bias.hpp>
#include <mindgap/kernels/conv_moments.hpp>
#include <mindgap/kernels/conv_window.hpp>
#include <mindgap/kernels/cuda_block.hpp>
#include <mindgap/kernels/diffusion.hpp>
#include <mindgap/kernels/loss.hpp>
#include <mindgap/kernels/norm_batch_backward.hpp>
#include <mindgap/kernels/norm_group_divided_backward.hpp>
#include <mindgap/kernels/norm_layer.hpp>
#include <mindgap/kernels/optimizer.hpp>
#include <mindgap/kernels/pointwise.hpp>
#include <mindgap/kernels/pool.hpp>
#include <mindgap/kernels/reduce.hpp>
#include <mindgap/kernels/resize.hpp>
#include <mindgap/kernels/softmax.hpp>

using namespace mindgap;

namespace {
using Identity = Traced<decltype(tails::identity), 1>;
using ReluOf = Traced<decltype(tails::relu), 1>;
using SiluOf = Traced<decltype(tails::silu), 1>;
using ReluAdd = Traced<decltype(tails::relu_add), 2>;
using AddOf = Traced<decltype(tails::add), 2>;
}  // namespace

// A type of its own, so that the symbol has the name; the pointer makes nvcc compile the entry.
#define KERNEL(name, ...)                        \
  namespace hot {                                \
  struct name : __VA_ARGS__ {};                  \
  auto* entry_of_##name = cuda_entry_of<name>(); \
  }

// suffix: nothing, or _f16 or _f32.
#define NORMS(T, suffix)                                                                  \
  KERNEL(batch_norm_moments##suffix, BatchMoments<T>)                                     \
  KERNEL(batch_norm_apply##suffix, BatchNormApply<Identity, T, 0>)                        \
  KERNEL(batch_norm_apply_relu##suffix, BatchNormApply<ReluOf, T, 0>)                     \
  KERNEL(batch_norm_apply_relu_add##suffix, BatchNormApply<ReluAdd, T, 1>)                \
  KERNEL(batch_norm_reduce##suffix, BatchNormReduce<Identity, T, 0, true, false>)         \
  KERNEL(batch_norm_reduce_relu##suffix, BatchNormReduce<ReluOf, T, 0, true, false>)      \
  KERNEL(batch_norm_reduce_relu_add##suffix, BatchNormReduce<ReluAdd, T, 1, true, false>) \
  KERNEL(batch_norm_backward##suffix, BatchNormBackward<Identity, T, 0>)                  \
  KERNEL(batch_norm_backward_relu##suffix, BatchNormBackward<ReluOf, T, 0>)               \
  KERNEL(group_norm_moments##suffix, GroupMoments<T>)                                     \
  KERNEL(group_norm_apply##suffix, GroupApply<Identity, T>)                               \
  KERNEL(group_norm_apply_silu##suffix, GroupApply<SiluOf, T>)                            \
  KERNEL(group_norm_reduce##suffix, GroupReduce<Identity, T>)                             \
  KERNEL(group_norm_reduce_silu##suffix, GroupReduce<SiluOf, T>)                          \
  KERNEL(group_norm_backward##suffix, GroupBackward<Identity, T>)                         \
  KERNEL(group_norm_backward_silu##suffix, GroupBackward<SiluOf, T>)                      \
  KERNEL(layer_norm##suffix, LayerNorm<T>)                                                \
  KERNEL(layer_norm_backward##suffix, LayerNormBackward<T>)

NORMS(bf16, )
NORMS(f16, _f16)
NORMS(float, _f32)
// Statistics that are constants: grad x is written by the pass that adds up.
KERNEL(batch_norm_reduce_and_write, BatchNormReduce<Identity, bf16, 0, true, true>)
KERNEL(batch_norm_reduce_and_write_relu, BatchNormReduce<ReluOf, bf16, 0, true, true>)
KERNEL(batch_norm_reduce_and_write_relu_add, BatchNormReduce<ReluAdd, bf16, 1, true, true>)
KERNEL(batch_norm_statistics, BatchStatistics)
KERNEL(batch_norm_sums, BatchNormSums)
KERNEL(group_norm_statistics, GroupStatistics<bf16>)
KERNEL(group_norm_slopes, GroupSlopes<bf16>)

KERNEL(convolution_with_moments_64, ConvMoments<bf16, 64>)
KERNEL(convolution_with_moments_128, ConvMoments<bf16, 128>)
KERNEL(convolution_by_a_window_32, ConvWindow<bf16, 32, ConvEnd::moments>)
KERNEL(convolution_by_a_window_64, ConvWindow<bf16, 64, ConvEnd::moments>)
KERNEL(convolution_by_a_window_32_sum, ConvWindow<bf16, 32, ConvEnd::sum>)
KERNEL(convolution_by_a_window_64_sum, ConvWindow<bf16, 64, ConvEnd::sum>)

KERNEL(add, Pointwise<AddOf, bf16, DenseOperand<bf16>, DenseOperand<bf16>>)
KERNEL(add_bias, AddBias<bf16>)
KERNEL(sums_of_rows, ReduceRows<bf16, bf16>)
KERNEL(gradient_of_bias, ReduceRows<float, bf16>)
KERNEL(spread_rows, SpreadRows<bf16>)
KERNEL(max_pool, MaxPool<bf16>)
KERNEL(max_pool_backward, MaxPoolBackward<bf16>)
KERNEL(upsample, UpsampleNearest<bf16>)
KERNEL(upsample_backward, BoxSum<bf16, Copies>)
KERNEL(softmax, Softmax<bf16>)
KERNEL(softmax_backward, SoftmaxBackward<bf16>)
KERNEL(squared_error, SquaredError<bf16>)
KERNEL(noisy_images, NoisyImages<bf16>)
KERNEL(sampler_step, SamplerStep<bf16>)

KERNEL(sgd, SgdStep<bf16>)
KERNEL(sgd_f32, SgdStep<float>)
KERNEL(adamw, AdamWStep<bf16>)
KERNEL(adamw_f32, AdamWStep<float>)
KERNEL(square_sums, SquareSums)
KERNEL(convert_to_bf16, Convert<bf16, float>)
KERNEL(convert_from_bf16, Convert<float, bf16>)
