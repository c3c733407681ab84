// CLIP's byte-pair tokenizer, for the text encoders of Stable Diffusion: the ids that transformers' CLIPTokenizer gives.
//
//   prompt -> special tokens cut out -> NFC, runs of white space to one space, lower case -> words (regular expression of CLIP)
//          -> bytes -> pairs merged, the earliest of merges.txt first; a word's last token ends in </w>
//
// Byte-pair encoding: Sennrich, Haddow, Birch, "Neural machine translation of rare words with subword units", 2016; CLIP's words
// and vocabulary: Radford et al., "Learning transferable visual models from natural language supervision", 2021. Unicode is
// utf8proc's: letters and marks younger than its tables (Unicode 15 in Debian 12) give other ids than transformers has, whose own
// tables disagree about the order of young marks. A prompt of n bytes takes O(n log n) time.
//
// Special tokens count where they stand in a prompt, too: "<|endoftext|>", and "!" where that is what prompts are padded with.
//
// Left out: pairs of prompts, offsets, training.
#pragma once

#include <mindgap/text/clip_vocabulary.hpp>

#include <array>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mindgap {

class CLIPTokenizer {
 public:
  // A diffusers folder `tokenizer/`, as read_clip_vocabulary() takes it.
  static CLIPTokenizer read(const std::filesystem::path& folder);

  // From the vocabulary that ships with mindgap, for checkpoints without one. pad: "<|endoftext|>" for Stable Diffusion 1.x, "!"
  // for 2.x.
  static CLIPTokenizer standard(const std::string& pad = "<|endoftext|>");

  explicit CLIPTokenizer(ClipVocabulary vocabulary);

  // The ids of the whole prompt, without begin, end and padding. Throws for a prompt that is not valid UTF-8.
  std::vector<i64> encode(std::string_view prompt) const;

  struct Encoded {
    std::vector<i64> ids;  // max_length() of them: begin, the prompt's, end, padding
    i64 tokens;            // of the whole prompt with begin and end, before it was cut
    std::string lost;      // what was cut off, decoded; empty: nothing
  };
  // Cut and padded as transformers does it (truncation=True, padding="max_length").
  Encoded operator()(std::string_view prompt) const;

  // Text of ids, words with a space between them; U+FFFD for bytes that are no character. Throws for ids outside the vocabulary.
  std::string decode(std::span<const i64> ids) const;

  i64 max_length() const { return max_length_; }
  i64 pad() const { return pad_; }
  i64 size() const { return i64(tokens_.size()); }

 private:
  struct Merge {
    u32 rank, token;  // the earlier rank goes first
  };
  struct Special {
    std::string content;
    i64 id;
  };

  const Merge* merge_of(u32 left, u32 right) const;
  void add_words(std::string_view normalised, std::vector<i64>& ids) const;
  void add_word(std::string_view bytes, std::vector<i64>& ids) const;

  std::vector<std::string> tokens_;               // by id
  std::array<u32, 256> inside_{}, last_{};        // the token of a byte, and of one that ends a word
  std::unordered_map<u64, Merge> merges_;         // by left << 32 | right
  std::vector<Special> as_written_, normalised_;  // special tokens: found before and after normalisation
  i64 begin_ = 0, end_ = 0, pad_ = 0, max_length_ = 0;
};

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/text/clip_tokenizer.ipp>
#endif
