// Pooling, resizing, channel concatenation, embeddings; both directions.
#pragma once

#include <mindgap/ops/concat.hpp>
#include <mindgap/ops/embedding.hpp>
#include <mindgap/ops/pool.hpp>
#include <mindgap/ops/resize.hpp>

#include "tests/device_cases/case.hpp"

namespace mindgap::test {

template <Device D, class T>
Outputs pool_both_ways(Shape<4> shape, i64 kernel, i64 stride, i64 padding) {
  const auto x = random_on<D, T>(shape, 1);
  const auto [y, index] = max_pool2d_with_index(x, kernel, stride, padding);
  const auto average = avg_pool2d(x, kernel, stride, padding);
  const auto mean = global_avg_pool(x);
  const auto grad_y = random_on<D, T>(y.shape(), 2);
  const auto grad_mean = random_on<D, T>(mean.shape(), 3);
  Tensor<T, 4, D> grad_max(shape), grad_average(shape), grad_global(shape);
  max_pool2d_backward(grad_max, grad_y, index, kernel, stride, padding);
  avg_pool2d_backward(grad_average, grad_y, kernel, stride, padding);
  global_avg_pool_backward(grad_global, grad_mean);
  return outputs(y, index, average, mean, grad_max, grad_average, grad_global);
}

template <Device D, class T>
Outputs resize_both_ways(Shape<4> shape, i64 height, i64 width) {
  const auto x = random_on<D, T>(shape, 1);
  const auto y = upsample_nearest(x, height, width);
  Tensor<T, 4, D> grad(shape);
  upsample_nearest_backward(grad, random_on<D, T>(y.shape(), 2));
  return outputs(y, grad);
}

template <Device D, class T>
Outputs concat_both_ways(i64 rows, i64 first, i64 second) {
  const auto a = random_on<D, T>(Shape<2>(rows, first), 1), b = random_on<D, T>(Shape<2>(rows, second), 2);
  Tensor<T, 2, D> grad_a(a.shape()), grad_b(b.shape());
  const auto y = concat_channels(a, b);
  concat_channels_backward(grad_a, grad_b, y, first);
  const auto only_b = grad_b.clone();
  concat_channels_backward({}, only_b, random_on<D, T>(y.shape(), 3), first);
  return outputs(y, grad_a, grad_b, only_b);
}

template <Device D, class T>
Outputs embedding_both_ways(i64 rows, i64 cols) {
  std::vector<i64> places;
  std::vector<float> steps;
  for (i64 i = 0; i < 20; ++i) places.push_back(i * i % rows), steps.push_back(float(i * 50));
  const auto ids = Tensor<i64, 1, D>::from(places, Shape(20));
  const auto table = random_on<D, T>(Shape<2>(rows, cols), 1);
  const auto y = embedding(ids, table);
  Tensor<float, 2, D> grad(table.shape());
  embedding_backward(grad, ids, random_on<D, T>(y.shape(), 2));
  return outputs(y, grad, timestep_embedding<T>(Tensor<float, 1, D>::from(steps, Shape(20)), 2 * cols, true, 0.));
}

template <Device D>
std::vector<DeviceCase> image_cases() {
  return {
      {"pool 3, stride 2, padding 1", 1e-6,
       [] {
         return pool_both_ways<D, float>({2, 9, 7, 16}, 3, 2, 1);
       }},
      {"pool 3, stride 2, padding 1, bf16", 0.01,
       [] {
         return pool_both_ways<D, bf16>({2, 9, 7, 24}, 3, 2, 1);
       }},
      {"pool 16, stride 3, padding 8, bf16", 0.01,
       [] {
         return pool_both_ways<D, bf16>({1, 17, 11, 8}, 16, 3, 8);
       }},
      {"pool 2, 3 channels, bf16", 0.01,
       [] {
         return pool_both_ways<D, bf16>({1, 5, 6, 3}, 2, 2, 0);
       }},
      {"upsample twice", 1e-6,
       [] {
         return resize_both_ways<D, float>({2, 3, 4, 40}, 6, 8);
       }},
      {"upsample twice, bf16", 0.01,
       [] {
         return resize_both_ways<D, bf16>({2, 3, 4, 16}, 6, 8);
       }},
      {"upsample 4 to 7", 1e-6,
       [] {
         return resize_both_ways<D, float>({1, 4, 4, 5}, 7, 7);
       }},
      {"shrink, bf16", 0.01,
       [] {
         return resize_both_ways<D, bf16>({1, 5, 5, 2}, 3, 2);
       }},
      {"concat", 0., [] { return concat_both_ways<D, float>(300, 17, 40); }},
      {"concat vectorised, bf16", 0., [] { return concat_both_ways<D, bf16>(70, 24, 328); }},
      {"concat, bf16", 0., [] { return concat_both_ways<D, bf16>(3, 1, 600); }},
      {"embedding", 1e-6, [] { return embedding_both_ways<D, float>(7, 33); }},
      {"embedding, bf16", 0.01, [] { return embedding_both_ways<D, bf16>(3, 8); }},
  };
}

}  // namespace mindgap::test
