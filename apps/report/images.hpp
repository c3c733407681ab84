// The report's pictures of the data: samples side by side, and where classes are confused.
//
// Images become inline PNG, at most 8 a class and 12 classes; confusion matrices become heat maps, and those differences words
// that the test images resolve.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <string>
#include <vector>

namespace mindgap::report {

struct ImageSet {
  static constexpr i64 shown = 8;  // the first so many of each class
  Tensor<u8, 4, Cpu> images;       // [n, h, w, c], c = 1 or 3
  std::vector<i64> labels;         // [n]
};

using ConfusionMatrix = std::vector<std::vector<double>>;  // counts of test images

// Empty where there is nothing to show.
std::string samples_section(const ImageSet& real, const ImageSet& synthetic, const std::vector<std::string>& class_names);
std::string confusion_section(const ConfusionMatrix& real, const ConfusionMatrix& synthetic,
                              const std::vector<std::string>& class_names);

}  // namespace mindgap::report
