// Sums over axes, axes in another order or repeated, concatenation, gathering, dropout, GEGLU, padding, both directions; causal
// attention.
#pragma once

#include <mindgap/ops/attention.hpp>
#include <mindgap/ops/concat.hpp>
#include <mindgap/ops/dropout.hpp>
#include <mindgap/ops/gated.hpp>
#include <mindgap/ops/gather.hpp>
#include <mindgap/ops/pad.hpp>
#include <mindgap/ops/reduce.hpp>

#include "tests/device_cases/case.hpp"

namespace mindgap::test {

template <Device D, class T>
Outputs sums_both_ways(Shape<4> shape) {
  const auto x = random_on<D, T>(shape, 1, 0.5f);
  const auto rows = sum(x, {3}), ends = mean(x, {0, 3}), middle = mean(x, {1, 2}), apart = sum(x, {0, 2});
  const Tensor<T, 4, D> grad(shape);
  sum_axes_backward(grad, random_on<D, T>(middle.shape(), 2), 0.25f);
  return outputs(rows, ends, middle, apart, grad);
}

template <Device D, class T>
Outputs axes_of(Shape<4> shape) {
  const auto x = random_on<D, T>(shape, 1);
  const auto row = random_on<D, T>(Shape(shape[0], i64(1), i64(1), shape[3]), 2);
  return outputs(permute(x, {0, 3, 1, 2}), permute(x, {2, 0, 3, 1}), transpose(x, 1, 2), expand(row, shape),
                 expand(permute(row, {0, 3, 1, 2}), {shape[0], shape[3], shape[1], shape[2]}));
}

template <Device D, class T>
Outputs concat_axis_both_ways(Shape<3> a, i64 second) {
  Shape<3> b = a;
  b[1] = second;
  const Tensor<T, 3, D> grad_a(a), grad_b(b);
  const auto y = concat(random_on<D, T>(a, 1), random_on<D, T>(b, 2), 1);
  concat_backward(grad_a, grad_b, random_on<D, T>(y.shape(), 3), a[1], 1);
  return outputs(y, grad_a, grad_b);
}

template <Device D, class T>
Outputs gather_both_ways(Shape<3> shape, i64 taken, int axis) {
  Shape<3> to = shape;
  to[axis] = taken;
  std::vector<i32> numbers;
  for (i64 i = 0; i < to.size(); ++i) numbers.push_back(i32(Stream(4, "index").below(u64(i), u32(shape[axis]))));
  const auto index = Tensor<i32, 3, D>::from(numbers, to);
  const Tensor<T, 3, D> grad(shape);
  gather_backward(grad, index, random_on<D, T>(to, 2), axis);
  return outputs(gather(random_on<D, T>(shape, 1), index, axis), grad);
}

// Elements 1 and 2 have an index outside the axis. On the CPU that is an error, so what a GPU answers is written down.
template <Device D>
Outputs index_outside() {
  constexpr bool gpu = !std::same_as<D, Cpu>;
  const auto index = Tensor<i32, 1, D>::from({2, gpu ? -1 : 0, gpu ? 3 : 0, 1}, Shape(4));
  const auto grad_y = random_on<D>(Shape<1>(4), 2);
  const Tensor<float, 1, D> grad{Shape(3)};
  gather_backward(grad, index, grad_y, 0);
  Outputs out = outputs(gather(random_on<D>(Shape<1>(3), 1), index, 0), grad);
  if (!gpu) out[0][1] = out[0][2] = NAN, out[1][0] = 0;
  return out;
}

template <Device D, class T>
Outputs dropout_both_ways(i64 size) {
  const Stream stream(5, "dropout");
  const HostInput<Stream, D> key(std::span(&stream, 1));
  const auto x = random_on<D, T>(Shape(size), 1);
  const Tensor<T, 1, D> grad(x.shape());
  dropout_backward(grad, random_on<D, T>(x.shape(), 2), 0.3f, key.data());
  return outputs(dropout(x, 0.3f, key), grad);
}

template <Device D, class T>
Outputs geglu_both_ways(i64 rows, i64 cols) {
  const auto x = random_on<D, T>(Shape(rows, 2 * cols), 1);
  const Tensor<T, 2, D> grad(x.shape());
  geglu_backward(grad, random_on<D, T>(Shape(rows, cols), 2), x);
  return outputs(geglu(x), grad);
}

template <Device D, class T>
Outputs zero_pad_both_ways(Shape<4> shape, const Padding2d& padding) {
  const auto y = zero_pad2d(random_on<D, T>(shape, 1), padding);
  const Tensor<T, 4, D> grad(shape);
  zero_pad2d_backward(grad, random_on<D, T>(y.shape(), 2), padding);
  return outputs(y, grad);
}

// Of some thousand keys, so that a row of the mask is longer than a block.
template <Device D, class T>
Outputs causal_attention(i64 l, i64 m) {
  const auto q = random_on<D, T>(Shape<3>(2, l, 8), 1), k = random_on<D, T>(Shape<3>(2, m, 8), 2),
             v = random_on<D, T>(Shape<3>(2, m, 8), 3);
  return outputs(attention(q, k, v, 2, true).y);
}

template <Device D>
std::vector<DeviceCase> array_cases() {
  return {
      {"sums", 1e-5,
       [] {
         return sums_both_ways<D, float>({3, 5, 7, 17});
       }},
      {"sums, bf16", 0.02,
       [] {
         return sums_both_ways<D, bf16>({2, 9, 8, 32});
       }},
      {"sums of many rows", 1e-4,
       [] {
         return sums_both_ways<D, float>({1, 16, 10, 3});
       }},
      {"sums of long rows", 1e-4,
       [] {
         return sums_both_ways<D, float>({1, 2, 1, 5000});
       }},
      {"axes", 0,
       [] {
         return axes_of<D, float>({3, 19, 7, 23});
       }},
      {"axes, one channel, bf16", 0,
       [] {
         return axes_of<D, bf16>({2, 5, 7, 1});
       }},
      {"concat, a middle axis", 0,
       [] {
         return concat_axis_both_ways<D, float>({7, 3, 16}, 5);
       }},
      {"concat, a middle axis, bf16", 0,
       [] {
         return concat_axis_both_ways<D, bf16>({3, 5, 7}, 1);
       }},
      {"gather, the innermost axis", 1e-6,
       [] {
         return gather_both_ways<D, float>({70, 9, 10}, 1, 2);
       }},
      {"gather, the middle axis, bf16", 0.01,
       [] {
         return gather_both_ways<D, bf16>({5, 6, 60}, 40, 1);
       }},
      {"gather, an index outside", 0, index_outside<D>},
      {"geglu", 1e-5, [] { return geglu_both_ways<D, float>(5, 1003); }},
      {"geglu, bf16", 0.02, [] { return geglu_both_ways<D, bf16>(3, 320); }},
      {"zero pad", 0,
       [] {
         return zero_pad_both_ways<D, float>({2, 5, 7, 3}, {0, 1, 0, 1});
       }},
      {"zero pad, bf16", 0,
       [] {
         return zero_pad_both_ways<D, bf16>({1, 3, 4, 64}, {3, 2, 1, 0});
       }},
      {"causal attention", 1e-5, [] { return causal_attention<D, float>(77, 77); }},
      {"causal attention, other keys", 1e-5, [] { return causal_attention<D, float>(5, 400); }},
      {"dropout", 1e-6, [] { return dropout_both_ways<D, float>(9001); }},
      {"dropout, bf16", 0.01, [] { return dropout_both_ways<D, bf16>(37); }},
  };
}

}  // namespace mindgap::test
