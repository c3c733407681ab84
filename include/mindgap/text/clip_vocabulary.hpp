// What CLIP's tokenizer is made of, from the files of a model or from those that ship.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace mindgap {

// A token that is found in the prompt before words are.
struct SpecialToken {
  std::string content;
  bool normalized = false;  // found in normalised text: "<|EndOfText|>" as well
};

struct ClipVocabulary {
  std::string source;               // for messages: the file or folder
  std::vector<std::string> tokens;  // by id, in the byte alphabet of GPT-2
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<SpecialToken> special;
  std::string begin = "<|startoftext|>", end = "<|endoftext|>", unknown = "<|endoftext|>", pad = "<|endoftext|>";
  i64 max_length = 77;  // of the text encoder
};

// A diffusers folder `tokenizer/`: tokenizer.json where it is there, as transformers has it, else vocab.json and merges.txt. What
// tokens are special, and the greatest length, is in tokenizer_config.json and special_tokens_map.json; without them that of
// CLIP.
ClipVocabulary read_clip_vocabulary(const std::filesystem::path& folder);

// That which ships, with the special tokens of the published folders that pad with `pad`.
ClipVocabulary standard_clip_vocabulary(const std::string& pad);

namespace detail {

[[noreturn]] void tokenizer_error(const std::string& what, const std::filesystem::path& file);

}  // namespace detail

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/text/clip_vocabulary.ipp>
#endif
