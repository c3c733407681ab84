// Bodies of text/clip_tokenizer.hpp.
#pragma once

#include <mindgap/io/utf8.hpp>
#include <mindgap/text/byte_alphabet.hpp>
#include <mindgap/text/clip_tokenizer.hpp>

#include <algorithm>
#include <functional>
#include <queue>
#include <utf8proc.h>
#include <utility>

namespace mindgap {

namespace detail {

// Unicode's White_Space.
inline bool is_white_space(u32 c) {
  return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

enum class CharacterClass { letter, number, other };

inline CharacterClass class_of(u32 c) {
  switch (utf8proc_category(utf8proc_int32_t(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharacterClass::letter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharacterClass::number;
    default:
      return CharacterClass::other;
  }
}

// Normalization form C. utf8proc_map would sort runs of combining marks in quadratic time.
inline void normalise_nfc(std::vector<utf8proc_int32_t>& codes) {
  constexpr auto options = utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  std::vector<utf8proc_int32_t> parts;
  for (const utf8proc_int32_t c : codes) {
    utf8proc_int32_t buffer[32];  // a character has at most four
    int boundary = 0;
    const auto count = utf8proc_decompose_char(c, buffer, 32, options, &boundary);
    parts.insert(parts.end(), buffer, buffer + count);
  }
  const auto combining = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (auto at = parts.begin(); at != parts.end();) {
    const auto marks = std::find_if(at, parts.end(), [&](auto c) { return combining(c) != 0; });
    at = std::find_if(marks, parts.end(), [&](auto c) { return combining(c) == 0; });
    std::stable_sort(marks, at, [&](auto a, auto b) { return combining(a) < combining(b); });
  }
  parts.resize(size_t(utf8proc_normalize_utf32(parts.data(), utf8proc_ssize_t(parts.size()), options)));
  codes = std::move(parts);
}

// What CLIP reads: NFC, each run of white space one space, lower case character by character.
inline std::string clip_normalised(std::string_view text) {
  std::vector<utf8proc_int32_t> codes;
  bool ascii = true;
  for (size_t at = 0; at < text.size();) {
    const Utf8Character c = utf8_at(text, at);
    codes.push_back(utf8proc_int32_t(c.code));
    at += size_t(c.bytes);
    ascii = ascii && c.code < 0x80;
  }
  if (!ascii) normalise_nfc(codes);
  std::string out;
  bool space = false;
  for (const utf8proc_int32_t c : codes) {
    const bool before = std::exchange(space, is_white_space(u32(c)));
    if (space && before) continue;
    if (c == 0x130) out += "i\u0307";  // of all characters the only one whose lower case is two
    else append_utf8(out, space ? u32(' ') : u32(utf8proc_tolower(c)));
  }
  return out;
}

// Calls on_special(id) and on_other(piece), in order, for what the text consists of: the leftmost special token, of several there
// the longest.
template <class Special, class OnSpecial, class OnOther>
void split_special(std::string_view text, const std::vector<Special>& special, OnSpecial&& on_special, OnOther&& on_other) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size() && !special.empty();) {
    const Special* found = nullptr;
    for (const Special& s : special)
      if (text.substr(at).starts_with(s.content) && (!found || s.content.size() > found->content.size())) found = &s;
    if (!found) {
      ++at;
      continue;
    }
    if (begin < at) on_other(text.substr(begin, at - begin));
    on_special(found->id);
    begin = at += found->content.size();
  }
  if (begin < text.size()) on_other(text.substr(begin));
}

}  // namespace detail

MINDGAP_INLINE CLIPTokenizer CLIPTokenizer::read(const std::filesystem::path& folder) {
  return CLIPTokenizer(read_clip_vocabulary(folder));
}
MINDGAP_INLINE CLIPTokenizer CLIPTokenizer::standard(const std::string& pad) {
  return CLIPTokenizer(standard_clip_vocabulary(pad));
}

MINDGAP_INLINE CLIPTokenizer::CLIPTokenizer(ClipVocabulary v) : tokens_(std::move(v.tokens)), max_length_(v.max_length) {
  std::unordered_map<std::string_view, u32> ids;
  ids.reserve(2 * tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id)
    if (const auto [there, fresh] = ids.try_emplace(tokens_[id], u32(id)); !fresh)
      detail::tokenizer_error(text("the token ", detail::shown(tokens_[id]), " has two ids, ", there->second, " and ", id),
                              v.source);
  const auto id_of = [&](const std::string& token, const auto&... what) {
    const auto found = ids.find(token);
    if (found == ids.end())
      detail::tokenizer_error(
          text(what..., " ", detail::shown(token), ", which is not in the vocabulary of ", tokens_.size(), " tokens"), v.source);
    return found->second;
  };
  begin_ = id_of(v.begin, "prompts begin with");
  end_ = id_of(v.end, "prompts end with");
  pad_ = id_of(v.pad, "prompts are padded with");
  const u32 unknown = id_of(v.unknown, "what is unknown is");
  for (size_t b = 0; b < 256; ++b) {
    const std::string& character = detail::byte_alphabet().character[b];
    const auto token = [&](const std::string& name) {
      const auto found = ids.find(name);
      return found == ids.end() ? unknown : found->second;
    };
    inside_[b] = token(character);
    last_[b] = token(character + std::string(detail::word_end));
  }
  merges_.reserve(2 * v.merges.size());
  for (u32 rank = 0; rank < v.merges.size(); ++rank) {
    const auto& [left, right] = v.merges[rank];
    const auto id = [&](const std::string& token) { return id_of(token, "merge ", rank + 1, " has"); };
    const u64 key = u64(id(left)) << 32 | id(right);
    if (!merges_.try_emplace(key, Merge{rank, id(left + right)}).second)
      detail::tokenizer_error(
          text("merge ", rank + 1, ", of ", detail::shown(left), " and ", detail::shown(right), ", is there twice"), v.source);
  }
  for (const SpecialToken& special : v.special) {
    if (special.content.empty()) detail::tokenizer_error("a special token is empty", v.source);
    const Special one{special.normalized ? detail::clip_normalised(special.content) : special.content,
                      id_of(special.content, "there is the special token")};
    (special.normalized ? normalised_ : as_written_).push_back(one);
  }
}

MINDGAP_INLINE const CLIPTokenizer::Merge* CLIPTokenizer::merge_of(u32 left, u32 right) const {
  const auto found = merges_.find(u64(left) << 32 | right);
  return found == merges_.end() ? nullptr : &found->second;
}

MINDGAP_INLINE void CLIPTokenizer::add_word(std::string_view bytes, std::vector<i64>& ids) const {
  // A list of symbols; a pair of neighbours that can be merged waits in the queue, and is out of date where either has changed.
  struct Symbol {
    u32 token;
    i64 before, after;  // -1: none
    bool gone = false;
  };
  struct Pair {
    u32 rank;
    i64 at;
    bool operator>(const Pair& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  const i64 count = i64(bytes.size());
  std::vector<Symbol> symbols;
  std::priority_queue<Pair, std::vector<Pair>, std::greater<>> queue;
  const auto wait = [&](i64 left) {
    if (left < 0 || symbols[size_t(left)].after < 0) return;
    const Merge* merge = merge_of(symbols[size_t(left)].token, symbols[size_t(symbols[size_t(left)].after)].token);
    if (merge) queue.push({merge->rank, left});
  };
  for (i64 i = 0; i < count; ++i) {
    const u8 byte = u8(bytes[size_t(i)]);
    symbols.push_back({i + 1 < count ? inside_[byte] : last_[byte], i - 1, i + 1 < count ? i + 1 : -1});
  }
  for (i64 i = 0; i + 1 < count; ++i) wait(i);
  while (!queue.empty()) {
    const Pair next = queue.top();
    queue.pop();
    Symbol& left = symbols[size_t(next.at)];
    if (left.gone || left.after < 0) continue;
    Symbol& right = symbols[size_t(left.after)];
    const Merge* merge = merge_of(left.token, right.token);
    if (!merge || merge->rank != next.rank) continue;
    left.token = merge->token;
    left.after = right.after;
    right.gone = true;
    if (left.after >= 0) symbols[size_t(left.after)].before = next.at;
    wait(left.before);
    wait(next.at);
  }
  for (const Symbol& symbol : symbols)
    if (!symbol.gone) ids.push_back(symbol.token);
}

// CLIP's words: <\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
// The first two are cut further, in three, by the expression of GPT-2 that the library applies to each word.
MINDGAP_INLINE void CLIPTokenizer::add_words(std::string_view normalised, std::vector<i64>& ids) const {
  using detail::CharacterClass;
  const auto class_at = [&](size_t at, size_t& bytes) {
    const Utf8Character c = utf8_at(normalised, at);
    bytes = size_t(c.bytes);
    return detail::class_of(c.code);
  };
  for (size_t at = 0; at < normalised.size();) {
    const std::string_view rest = normalised.substr(at);
    const auto starting = [&](auto... words) {
      size_t length = 0;
      ((length = length || !rest.starts_with(words) ? length : std::string_view(words).size()), ...);
      return length;
    };
    size_t end = at, bytes = 0;
    if (rest[0] == ' ') {
      ++at;
      continue;
    }
    if (const size_t length = starting("<|startoftext|>", "<|endoftext|>")) {
      add_word("<|", ids);
      add_word(rest.substr(2, length - 4), ids);
      add_word("|>", ids);
      at += length;
      continue;
    }
    if (const size_t length = starting("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")) {
      end += length;
    } else {
      const CharacterClass kind = class_at(at, bytes);
      do {
        end += bytes;
      } while (kind != CharacterClass::number && end < normalised.size() && normalised[end] != ' ' &&
               class_at(end, bytes) == kind);
    }
    add_word(normalised.substr(at, end - at), ids);
    at = end;
  }
}

MINDGAP_INLINE std::vector<i64> CLIPTokenizer::encode(std::string_view prompt) const {
  if (const size_t at = invalid_utf8(prompt); at != prompt.npos)
    throw Error(text("CLIP tokenizer: the prompt is not valid UTF-8 at byte ", at),
                {{"prompt", detail::shown(prompt)}, {"remedy", "give the text as UTF-8"}});
  std::vector<i64> ids;
  const auto special = [&](i64 id) { ids.push_back(id); };
  detail::split_special(prompt, as_written_, special, [&](std::string_view piece) {
    detail::split_special(detail::clip_normalised(piece), normalised_, special,
                          [&](std::string_view words) { add_words(words, ids); });
  });
  return ids;
}

MINDGAP_INLINE CLIPTokenizer::Encoded CLIPTokenizer::operator()(std::string_view prompt) const {
  const std::vector<i64> all = encode(prompt);
  const size_t most = size_t(max_length_ - 2), kept = std::min(all.size(), most);
  Encoded out{{begin_}, i64(all.size()) + 2, decode(std::span(all).subspan(kept))};
  out.ids.insert(out.ids.end(), all.begin(), all.begin() + std::ptrdiff_t(kept));
  out.ids.push_back(end_);
  out.ids.resize(size_t(max_length_), pad_);
  return out;
}

MINDGAP_INLINE std::string CLIPTokenizer::decode(std::span<const i64> ids) const {
  std::string bytes;
  for (const i64 id : ids) {
    if (id < 0 || id >= size()) throw Error(text("CLIP tokenizer: id ", id, " is outside the vocabulary of ", size(), " tokens"));
    const std::string& token = tokens_[size_t(id)];
    std::string own;
    for (size_t at = 0; at < token.size();) {
      const Utf8Character c = utf8_at(token, at);
      const auto byte = detail::byte_alphabet().byte.find(c.code);
      if (byte == detail::byte_alphabet().byte.end()) {  // a special token of other characters
        own = token;
        break;
      }
      own += char(byte->second);
      at += size_t(c.bytes);
    }
    bytes += own;
  }
  std::string out;
  for (size_t at = 0; at < bytes.size();) {
    if (bytes.compare(at, detail::word_end.size(), detail::word_end) == 0) {
      out += ' ';
      at += detail::word_end.size();
      continue;
    }
    const Utf8Character c = utf8_at(bytes, at);
    append_utf8(out, c.code);
    at += size_t(c.bytes);
  }
  constexpr const char* blank = " \x1c\x1d\x1e\x1f";  // what Python strips of what can be here
  out.erase(0, out.find_first_not_of(blank));
  out.erase(out.find_last_not_of(blank) + 1);
  return out;
}

}  // namespace mindgap
