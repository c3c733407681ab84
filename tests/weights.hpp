// Weight files with a change.
#pragma once

#include <mindgap/cpu/runtime.hpp>
#include <mindgap/io/safetensors.hpp>

#include <boost/test/unit_test.hpp>
#include <functional>

namespace mindgap::test {

// Writes the file again in f32, after change(values) of one tensor.
inline void change_weights(const std::filesystem::path& file, const std::string& tensor,
                           const std::function<void(std::vector<float>&)>& change) {
  const Safetensors weights(file);
  BOOST_REQUIRE(weights.find(tensor));
  std::vector<std::vector<float>> values;
  std::vector<SafetensorsSource> sources;
  for (const SafetensorsEntry& entry : weights.entries()) {
    std::vector<float>& v = values.emplace_back(size_t(entry.size()));
    read_f32(entry, v.data());
    if (entry.name == tensor) change(v);
    sources.push_back({entry.name, DType::f32, entry.shape, std::as_bytes(std::span(v))});
  }
  write_safetensors(file, sources);
}

}  // namespace mindgap::test
