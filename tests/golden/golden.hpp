// The other side of scripts/golden.py: weights and inputs from counter-based streams, and the error of a tensor against what the
// script stored. Format, error and bound: README.md.
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/safetensors.hpp>
#include <mindgap/nn/state_dict.hpp>

#include <array>
#include <boost/test/unit_test.hpp>
#include <map>
#include <set>
#include <sstream>

namespace mindgap::test {

inline const std::string golden_folder = MINDGAP_SOURCE_DIR "/tests/golden/";

// c * scale for c in [-1, 1), rounded once; c = 2 u - 1, u the stream's uniform numbers.
inline std::vector<float> centred(const std::string& purpose, i64 size, double scale) {
  const Stream stream(0, purpose);
  std::vector<float> out(static_cast<size_t>(size));
#pragma omp parallel for schedule(static)
  for (size_t block = 0; block < (out.size() + 3) / 4; ++block) {
    const PhiloxBlock words = stream.block(block);
    for (size_t i = 4 * block; i < std::min(4 * block + 4, out.size()); ++i)
      out[i] = float((2. * (double(words[i % 4] >> 8) * 0x1p-24) - 1.) * scale);
  }
  return out;
}

// Entry `name` of the state dict by the rules at the top of scripts/golden.py.
inline std::vector<float> golden_entry(const std::string& name, const std::vector<i64>& shape, bool resnet) {
  i64 size = 1, fan_in = 1;
  for (size_t i = 0; i < shape.size(); ++i) size *= shape[i], fan_in *= i ? shape[i] : 1;
  if (shape.size() >= 2) {
    const double gain = resnet && name == "fc.weight" ? 0.2 : resnet && shape.size() == 4 ? std::sqrt(2.) : 1.;
    return centred("golden:" + name, size, gain * std::sqrt(3. / double(fan_in)));
  }
  const Stream stream(0, "golden:" + name);
  std::vector<float> out(static_cast<size_t>(size));
  for (size_t i = 0; i < out.size(); ++i) {
    const double u = stream.uniform(i), c = 2 * u - 1;
    if (name.ends_with("running_mean")) out[i] = float(0.1 * c);
    else if (name.ends_with("running_var")) out[i] = float(1 + 0.5 * u);
    else if (name.ends_with("bias")) out[i] = float(0.2 * c + (resnet && name != "fc.bias" ? 2 : 0));
    else out[i] = float(1 + 0.2 * c);
  }
  return out;
}
inline void fill_golden(const std::vector<StateItem>& items, bool resnet) {
  for (const StateItem& item : items)
    if (!item.counter) item.set(golden_entry(item.name, item.shape, resnet));
}

// An image batch as the script makes it, NCHW, in our order.
inline Tensor<float, 4> golden_images(const std::string& purpose, Shape<4> nhwc) {
  const auto published = centred(purpose, nhwc.size(), std::sqrt(3.));
  const Tensor<float, 4> out(nhwc);
  from_published(out, published.data(), DType::f32);
  return out;
}
inline std::vector<i64> golden_integers(const std::string& purpose, i64 count, u32 bound) {
  const Stream stream(0, purpose);
  std::vector<i64> out;
  for (i64 i = 0; i < count; ++i) out.push_back(stream.below(u64(i), bound));
  return out;
}

// The parameters' gradients in the published layout.
template <Module M>
std::map<std::string, std::vector<float>> gradients(M& net) {
  std::map<std::string, std::vector<float>> out;
  for_each_parameter(net, [&](const std::string& name, auto& p) { out[name] = to_published(p.slot->gradient()); });
  return out;
}

// Every entry of NAME.names.txt has one of ours with the same extents, and the other way round. without_ones: but for extents of
// 1, where a 1x1 convolution is a linear layer of ours.
inline void check_names(const std::string& name, const std::vector<StateItem>& items, bool without_ones = false) {
  std::set<std::string> published, ours;
  const auto add = [&](std::set<std::string>& to, std::string line) {
    while (without_ones && line.ends_with(" 1")) line.resize(line.size() - 2);
    BOOST_TEST(to.insert(line).second, "twice: " << line);
  };
  std::istringstream file(read_file(golden_folder + name + ".names.txt"));
  for (std::string line; std::getline(file, line);) add(published, line);
  for (const StateItem& item : items) {
    std::string line = item.name;
    for (i64 extent : item.shape) line += " " + std::to_string(extent);
    add(ours, line);
  }
  for (const std::string& line : published) BOOST_TEST(ours.contains(line), "missing: " << line);
  for (const std::string& line : ours) BOOST_TEST(published.contains(line), "unexpected: " << line);
}

enum class GoldenType { f32, bf16 };

class Golden {
 public:
  Golden(const std::string& name, GoldenType type) : file_(golden_folder + name + ".safetensors"), type_(type) {}

  bool has(const std::string& key) const { return file_.find("error/" + key); }

  // Checks `got` (published layout) against KEY or summary/KEY.
  void check(const std::string& key, const std::vector<float>& got) {
    const auto allowed = file_.tensor<float, 1>("error/" + key);
    const double theirs = allowed.data()[type_ == GoldenType::f32 ? 0 : 1];
    const double bound = 2 * theirs + 1e-7;
    const double error = error_of(key, got, allowed.data()[2]);
    BOOST_TEST(error <= bound, key << ": error " << error << ", bound " << bound);
    checked_.insert(key);
    std::string group = key.substr(0, key.find('/', key.find('/') + 1));
    Worst& worst = worst_[group];
    if (!(error / bound <= worst.share)) worst.share = error / bound, worst.key = key;
    worst.ours += error * error, worst.theirs += theirs * theirs;
    ++worst.count;
  }
  void check(const std::string& group, const std::map<std::string, std::vector<float>>& got) {
    for (const auto& [name, values] : got) check(group + name, values);
  }

  // Nothing that the script stored was forgotten, but for keys that `left_out` says; and the bound of each group.
  template <class LeftOut>
  void finish(LeftOut&& left_out) {
    for (const auto& entry : file_.entries()) {
      if (!entry.name.starts_with("error/")) continue;
      const std::string key = entry.name.substr(6);
      if (!left_out(key)) BOOST_TEST(checked_.contains(key), "not checked: " << key);
    }
    for (const auto& [group, worst] : worst_) {
      const double ours = std::sqrt(worst.ours / worst.count), theirs = std::sqrt(worst.theirs / worst.count);
      BOOST_TEST(ours <= 2 * theirs + 1e-7, group << ": " << ours << ", PyTorch's " << theirs);
      BOOST_TEST_MESSAGE(file_.path().stem().string()
                         << " " << group << ": " << worst.count << " tensors, rms error " << ours << ", PyTorch's " << theirs
                         << "; largest share of a bound " << worst.share << " (" << worst.key << ")");
    }
  }
  void finish() {
    finish([](const std::string&) { return false; });
  }

 private:
  static constexpr size_t projections = 16, slice = 64;
  struct Worst {
    double share = 0, ours = 0, theirs = 0;  // of the bound; sums of squared errors
    int count = 0;
    std::string key;
  };

  double error_of(const std::string& key, const std::vector<float>& got, double scale) {
    const SafetensorsEntry* whole = file_.find(key);
    const SafetensorsEntry& entry = whole ? *whole : file_.at("summary/" + key);
    std::vector<float> stored(size_t(entry.size()));
    read_f32(entry, stored.data());
    const std::vector<double> values = whole ? std::vector<double>(got.begin(), got.end()) : summary(got);
    BOOST_REQUIRE_MESSAGE(values.size() == stored.size(), key << ": " << values.size() << " values, stored " << stored.size());
    const auto norm = [&](size_t begin, size_t end) {
      double sum = 0;
      for (size_t i = begin; i < end; ++i) sum += (values[i] - double(stored[i])) * (values[i] - double(stored[i]));
      return std::sqrt(sum);
    };
    if (whole) return norm(0, values.size()) / scale;
    // A slice with more than its share of the tensor's norm has more than its share of the error.
    const double grow = std::sqrt(double(got.size()) / double(slice));
    double in_slice = 0;
    for (size_t i = 1 + projections; i < stored.size(); ++i) in_slice += double(stored[i]) * double(stored[i]);
    const double share = stored[0] > 0 ? std::max(1., std::sqrt(in_slice) * grow / double(stored[0])) : 1.;
    const double by_slice = norm(1 + projections, values.size()) * grow / share;
    return std::max({norm(0, 1), norm(1, 1 + projections) / std::sqrt(double(projections)), by_slice}) / scale;
  }

  // Norm, projections on random signs, a slice.
  std::vector<double> summary(const std::vector<float>& v) {
    const Stream stream(0, "golden:signs");
    while (signs_.size() < v.size())
      for (u32 word : stream.block(signs_.size() / 4).words) signs_.push_back(word);
    double square = 0;
    std::array<double, projections> sums{};
    for (size_t i = 0; i < v.size(); ++i) {
      const double x = double(v[i]);
      const u32 signs = signs_[i];
      square += x * x;
#pragma omp simd
      for (u32 k = 0; k < projections; ++k) sums[k] += signs >> k & 1 ? x : -x;
    }
    std::vector<double> out{std::sqrt(square)};
    out.insert(out.end(), sums.begin(), sums.end());
    for (size_t j = 0; j < slice; ++j) out.push_back(v[j * v.size() / slice]);
    return out;
  }

  Safetensors file_;
  GoldenType type_;
  std::set<std::string> checked_;
  std::map<std::string, Worst> worst_;
  std::vector<u32> signs_;
};

}  // namespace mindgap::test
