// How well a classifier answers: on a whole set, batch after batch, in evaluation mode.
#pragma once

#include <mindgap/core/stop.hpp>
#include <mindgap/ops/loss.hpp>
#include <mindgap/ops/pointwise.hpp>

#include <cmath>
#include <vector>

namespace mindgap {

struct Evaluation {
  i64 images = 0;
  double top1 = 0, top5 = 0;                // fractions
  double loss = 0;                          // mean cross-entropy, nats
  std::vector<std::vector<i64>> confusion;  // [true class][answer]
};

// logits(step): the pair of logits [n, classes] and labels [n] of a batch. Throws where an answer is NaN or infinite.
template <class Logits>
Evaluation evaluate_classifier(i64 classes, i64 steps, const Logits& logits_of) {
  Evaluation out;
  out.confusion.assign(size_t(classes), std::vector<i64>(size_t(classes), 0));
  i64 first_right = 0, fifth_right = 0;
  for (i64 step = 0; step < steps; ++step) {
    StopHook::ask();
    const auto [computed, truth] = logits_of(step);
    const auto logits = cast<float>(computed);
    const std::vector<float> losses = cross_entropy_rows(logits, truth).rows.to_vector();
    const std::vector<i64> labels = truth.to_vector(), answers = argmax(logits).to_vector();
    const std::vector<i32> ranks = label_ranks(logits, truth).to_vector();
    for (size_t i = 0; i < labels.size(); ++i) {
      out.loss += losses[i];
      first_right += ranks[i] == 0;
      fifth_right += ranks[i] < 5;
      ++out.confusion[size_t(labels[i])][size_t(answers[i])];
      ++out.images;
    }
  }
  out.loss /= double(out.images);
  if (!std::isfinite(out.loss))
    throw Error(
        "evaluate: the network's answers are NaN or infinite",
        {{"remedy", "its training diverged, or its weights are damaged: train it with a lower learning rate, or use others"}});
  out.top1 = double(first_right) / double(out.images);
  out.top5 = double(fifth_right) / double(out.images);
  return out;
}

}  // namespace mindgap
