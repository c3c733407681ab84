// Softmax, cross-entropy, mean squared error, predicted classes; both directions.
#pragma once

#include <mindgap/ops/loss.hpp>
#include <mindgap/ops/softmax.hpp>

#include "tests/device_cases/case.hpp"

namespace mindgap::test {

template <Device D, class T>
Outputs softmax_both_ways(Shape<2> shape) {
  const auto x = random_on<D, T>(shape, 1, 0.f, 3.f), grad_y = random_on<D, T>(shape, 2);
  const auto y = softmax(x);
  Tensor<T, 2, D> grad_x(shape);
  softmax_backward(grad_x, y, grad_y);
  return outputs(y, grad_x);
}

template <Device D, class T>
Outputs cross_entropy_both_ways(Shape<2> shape, bool soft, float smoothing) {
  const auto logits = random_on<D, T>(shape, 1, 0.f, 3.f);
  std::vector<i64> classes;
  for (i64 r = 0; r < shape[0]; ++r) classes.push_back(r * 7 % shape[1]);
  const auto labels = Tensor<i64, 1, D>::from(classes, Shape(shape[0]));
  const auto grad_loss = Tensor<float, 1, D>::full(Shape(1), 1.5f);
  Tensor<T, 2, D> grad(shape);
  const auto run = [&](const auto& targets) {
    const auto loss = cross_entropy_rows(logits, targets, smoothing);
    cross_entropy_backward(grad, grad_loss, logits, targets, loss.normaliser, smoothing);
    return outputs(loss.loss, loss.rows, grad, argmax(logits), label_ranks(logits, labels));
  };
  return soft ? run(softmax(random_on<D, T>(shape, 2))) : run(labels);
}

// Rows 1 and 2 have labels that are no class. On the CPU that is an error, so what a GPU answers is written down.
template <Device D>
Outputs labels_outside() {
  constexpr bool gpu = !std::same_as<D, Cpu>;
  const i64 classes = 10;
  const auto logits = random_on<D>(Shape<2>(4, classes), 1);
  const auto labels = Tensor<i64, 1, D>::from({3, gpu ? -1 : 0, gpu ? classes : 0, 9}, Shape(4));
  const auto loss = cross_entropy_rows(logits, labels, 0.1f);
  Tensor<float, 2, D> grad(logits.shape());
  cross_entropy_backward(grad, Tensor<float, 1, D>::full(Shape(1), 1.f), logits, labels, loss.normaliser, 0.1f);
  Outputs out = outputs(loss.loss, loss.rows, grad, label_ranks(logits, labels));
  if (!gpu) {
    out[0][0] = out[1][1] = out[1][2] = NAN;
    std::fill(out[2].begin() + classes, out[2].begin() + 3 * classes, NAN);
    out[3][1] = out[3][2] = double(classes);
  }
  return out;
}

template <Device D, class T>
Outputs squared_error_both_ways(i64 size) {
  const auto x = random_on<D, T>(Shape(size), 1), y = random_on<D, T>(Shape(size), 2);
  Tensor<T, 1, D> grad{Shape(size)};
  mse_loss_backward(grad, Tensor<float, 1, D>::full(Shape(1), 2.f), x, y);
  return outputs(mse_loss(x, y), grad);
}

template <Device D>
std::vector<DeviceCase> loss_cases() {
  return {
      {"softmax of 49", 1e-6,
       [] {
         return softmax_both_ways<D, float>({19, 49});
       }},
      {"softmax of 300", 1e-6,
       [] {
         return softmax_both_ways<D, float>({3, 300});
       }},
      {"softmax of 301", 1e-6,
       [] {
         return softmax_both_ways<D, float>({7, 301});
       }},
      {"softmax of 1,100", 1e-6,
       [] {
         return softmax_both_ways<D, float>({2, 1100});
       }},
      {"softmax of 9,001", 1e-6,
       [] {
         return softmax_both_ways<D, float>({1, 9001});
       }},
      {"softmax of 3, bf16", 0.02,
       [] {
         return softmax_both_ways<D, bf16>({131, 3});
       }},
      {"softmax of 520, bf16", 0.02,
       [] {
         return softmax_both_ways<D, bf16>({6, 520});
       }},
      {"softmax of 521, bf16", 0.02,
       [] {
         return softmax_both_ways<D, bf16>({5, 521});
       }},
      {"cross-entropy, labels", 1e-6,
       [] {
         return cross_entropy_both_ways<D, float>({17, 10}, false, 0.f);
       }},
      {"cross-entropy, probabilities, smoothed", 1e-6,
       [] {
         return cross_entropy_both_ways<D, float>({5, 130}, true, 0.1f);
       }},
      {"cross-entropy, 1,300 classes", 1e-6,
       [] {
         return cross_entropy_both_ways<D, float>({3, 1300}, false, 0.1f);
       }},
      {"cross-entropy, labels outside the classes", 1e-6, labels_outside<D>},
      {"cross-entropy, bf16", 0.02,
       [] {
         return cross_entropy_both_ways<D, bf16>({9, 10}, false, 0.1f);
       }},
      {"squared error", 1e-5, [] { return squared_error_both_ways<D, float>(20'000); }},
      {"squared error, bf16", 1e-5, [] { return squared_error_both_ways<D, bf16>(8237); }},
  };
}

}  // namespace mindgap::test
