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
using Identity = Traced<decltype(epilogues::identity), 1>;
using ReluOf = Traced<decltype(epilogues::relu), 1>;
using SiluOf = Traced<decltype(epilogues::silu), 1>;
using ReluAdd = Traced<decltype(epilogues::relu_add), 2>;
using AddOf = Traced<decltype(epilogues::add), 2>;
}  // namespace

// A type of its own, so that the symbol has the name; the pointer makes nvcc compile the entry.
#define KERNEL(name, ...)                        \
  namespace hot {                                \
  struct name : __VA_ARGS__ {};                  \
  auto* entry_of_##name = cuda_entry_of<name>(); \
  }

// suffix: nothing, or _f16 or _f32.
#define NORMS(T, suffix)                                                                          \
  KERNEL(batch_norm_moments##suffix, kernel::BatchMoments<T>)                                     \
  KERNEL(batch_norm_apply##suffix, kernel::BatchNormApply<Identity, T, 0>)                        \
  KERNEL(batch_norm_apply_relu##suffix, kernel::BatchNormApply<ReluOf, T, 0>)                     \
  KERNEL(batch_norm_apply_relu_add##suffix, kernel::BatchNormApply<ReluAdd, T, 1>)                \
  KERNEL(batch_norm_reduce##suffix, kernel::BatchNormReduce<Identity, T, 0, true, false>)         \
  KERNEL(batch_norm_reduce_relu##suffix, kernel::BatchNormReduce<ReluOf, T, 0, true, false>)      \
  KERNEL(batch_norm_reduce_relu_add##suffix, kernel::BatchNormReduce<ReluAdd, T, 1, true, false>) \
  KERNEL(batch_norm_backward##suffix, kernel::BatchNormBackward<Identity, T, 0>)                  \
  KERNEL(batch_norm_backward_relu##suffix, kernel::BatchNormBackward<ReluOf, T, 0>)               \
  KERNEL(group_norm_moments##suffix, kernel::GroupMoments<T>)                                     \
  KERNEL(group_norm_apply##suffix, kernel::GroupApply<Identity, T>)                               \
  KERNEL(group_norm_apply_silu##suffix, kernel::GroupApply<SiluOf, T>)                            \
  KERNEL(group_norm_reduce##suffix, kernel::GroupReduce<Identity, T>)                             \
  KERNEL(group_norm_reduce_silu##suffix, kernel::GroupReduce<SiluOf, T>)                          \
  KERNEL(group_norm_backward##suffix, kernel::GroupBackward<Identity, T>)                         \
  KERNEL(group_norm_backward_silu##suffix, kernel::GroupBackward<SiluOf, T>)                      \
  KERNEL(layer_norm##suffix, kernel::LayerNorm<T>)                                                \
  KERNEL(layer_norm_backward##suffix, kernel::LayerNormBackward<T>)

NORMS(bf16, )
NORMS(f16, _f16)
NORMS(float, _f32)
// Statistics that are constants: grad x is written by the pass that adds up.
KERNEL(batch_norm_reduce_and_write, kernel::BatchNormReduce<Identity, bf16, 0, true, true>)
KERNEL(batch_norm_reduce_and_write_relu, kernel::BatchNormReduce<ReluOf, bf16, 0, true, true>)
KERNEL(batch_norm_reduce_and_write_relu_add, kernel::BatchNormReduce<ReluAdd, bf16, 1, true, true>)
KERNEL(batch_norm_statistics, kernel::BatchStatistics)
KERNEL(batch_norm_sums, kernel::BatchNormSums)
KERNEL(group_norm_statistics, kernel::GroupStatistics<bf16>)
KERNEL(group_norm_slopes, kernel::GroupSlopes<bf16>)

KERNEL(convolution_with_moments_64, kernel::ConvMoments<bf16, 64>)
KERNEL(convolution_with_moments_128, kernel::ConvMoments<bf16, 128>)
KERNEL(convolution_by_a_window_32, kernel::ConvWindow<bf16, 32, kernel::ConvEnd::moments>)
KERNEL(convolution_by_a_window_64, kernel::ConvWindow<bf16, 64, kernel::ConvEnd::moments>)
KERNEL(convolution_by_a_window_32_sum, kernel::ConvWindow<bf16, 32, kernel::ConvEnd::sum>)
KERNEL(convolution_by_a_window_64_sum, kernel::ConvWindow<bf16, 64, kernel::ConvEnd::sum>)

KERNEL(add, kernel::Pointwise<AddOf, bf16, kernel::DenseOperand<bf16>, kernel::DenseOperand<bf16>>)
KERNEL(add_bias, kernel::AddBias<bf16>)
KERNEL(sums_of_rows, kernel::ReduceRows<bf16, bf16>)
KERNEL(gradient_of_bias, kernel::ReduceRows<float, bf16>)
KERNEL(spread_rows, kernel::SpreadRows<bf16>)
KERNEL(max_pool, kernel::MaxPool<bf16>)
KERNEL(max_pool_backward, kernel::MaxPoolBackward<bf16>)
KERNEL(upsample, kernel::UpsampleNearest<bf16>)
KERNEL(upsample_backward, kernel::BoxSum<bf16, kernel::Copies>)
KERNEL(softmax, kernel::Softmax<bf16>)
KERNEL(softmax_backward, kernel::SoftmaxBackward<bf16>)
KERNEL(squared_error, kernel::SquaredError<bf16>)
KERNEL(noisy_images, kernel::NoisyImages<bf16>)
KERNEL(sampler_step, kernel::SamplerStep<bf16, false>)
KERNEL(sampler_step_looking_back, kernel::SamplerStep<bf16, true>)
KERNEL(guidance_rescale, kernel::GuidanceRescale<bf16>)

KERNEL(sgd, kernel::SgdStep<bf16>)
KERNEL(sgd_f32, kernel::SgdStep<float>)
KERNEL(adamw, kernel::AdamWStep<bf16>)
KERNEL(adamw_f32, kernel::AdamWStep<float>)
KERNEL(square_sums, kernel::SquareSums)
KERNEL(convert_to_bf16, kernel::Convert<bf16, float>)
KERNEL(convert_from_bf16, kernel::Convert<float, bf16>)
