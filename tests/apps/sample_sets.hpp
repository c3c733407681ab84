// Sets and images of the tiny Stable Diffusion of the golden tests, which tests of sample share.
#pragma once

#include <mindgap/data/image_file.hpp>
#include <mindgap/data/image_folder.hpp>

#include "tests/apps/run.hpp"
#include "tests/weights.hpp"
#include <nlohmann/json.hpp>
#include <set>

namespace mindgap::test {

inline const fs::path tiny = MINDGAP_SOURCE_DIR "/tests/golden/pipeline";  // images of 16 x 16 pixels

// One with a class list beside it, and runs of a few quick steps.
struct Sets : Folder {
  fs::path classes = write("classes.txt", "cat\ndog\nbird\n"), model = tiny;

  Arguments flags(const fs::path& out, const Arguments& more = {}) const {
    Arguments flags{"--model", model.string(), "--out", out.string()};
    if (std::ranges::find(more, "--steps") == more.end()) flags = flags + Arguments{"--steps", "2"};
    return flags + more;
  }
  Arguments set(const std::string& out, const std::string& per_class, const Arguments& more = {}) const {
    return flags(*this / out, Arguments{"--classes", classes.string(), "--per-class", per_class} + more);
  }
  Arguments prompt(const std::string& out, const std::string& prompt, const Arguments& more = {}) const {
    return flags(*this / out, Arguments{"--prompt", prompt} + more);
  }
  // The line of an image.
  nlohmann::json line(const std::string& out, const std::string& id, i64 index = 0) const {
    const ImageRecord r = read_image_record(*this / out, id, index);
    std::ifstream piece(*this / out / "manifest" / fs::path(r.file).parent_path().filename() / "00000.jsonl");
    for (std::string line; std::getline(piece, line);)
      if (const auto json = nlohmann::json::parse(line); json.at("index") == index) return json;
    BOOST_FAIL("no line of image " << index << " of " << id);
    return {};
  }
  bool has_part(const std::string& out, const std::string& name) const {
    if (!fs::exists(*this / out)) return false;
    return std::ranges::any_of(fs::directory_iterator(*this / out),
                               [&](const auto& entry) { return entry.path().filename().string().starts_with(name); });
  }
  // A copy of the model whose file of a part has a tensor changed, in f32.
  fs::path changed(const std::string& name, const std::string& part, const std::string& tensor,
                   const std::function<void(std::vector<float>&)>& change) const {
    const fs::path to = *this / name;
    fs::copy(tiny, to, fs::copy_options::recursive);
    const fs::path file = to / part / (part == "text_encoder" ? "model.safetensors" : "diffusion_pytorch_model.safetensors");
    change_weights(file, tensor, change);
    return to;
  }
};

inline i64 count(const std::string& in, const std::string& part) {
  i64 n = 0;
  for (size_t at = in.find(part); at != in.npos; at = in.find(part, at + 1)) ++n;
  return n;
}

}  // namespace mindgap::test
