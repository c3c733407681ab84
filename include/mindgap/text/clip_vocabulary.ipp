// Bodies of text/clip_vocabulary.hpp.
#pragma once

#include <mindgap/io/json.hpp>
#include <mindgap/io/text_file.hpp>
#include <mindgap/text/byte_alphabet.hpp>
#include <mindgap/text/clip_vocabulary.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <ranges>
#include <utility>
#include <variant>

namespace mindgap {

namespace detail {

inline constexpr const char* clip_remedy =
    "give the folder tokenizer/ of a published Stable Diffusion model, its files as they are and all of one model";

// A special token in the files of transformers.
struct AddedTokenFields {
  SpecialToken token;
  i64 id = -1;
};

template <class V>
void visit_fields(V& visit, AddedTokenFields& t) {
  visit.need("content", t.token.content);
  visit("normalized", t.token.normalized);
  visit("id", t.id, {0, 1e7});
  visit.only("lstrip", {false});
  visit.only("rstrip", {false});
  visit.only("single_word", {false});
  visit.ignore({"__type", "special"});
}

using TokenField = std::variant<std::string, AddedTokenFields>;

inline constexpr std::array clip_token_names = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                "pad_token", "cls_token", "mask_token"};

inline constexpr double no_max_length = 1e30;  // what transformers writes where there is no limit

// tokenizer_config.json, and special_tokens_map.json, which has a part of its keys. The rest is of no concern to CLIP's class.
struct TokenizerConfig {
  std::array<std::optional<TokenField>, clip_token_names.size()> named;
  std::vector<TokenField> additional;
  std::variant<std::vector<TokenField>, std::map<std::string, TokenField>> extra;
  std::optional<std::map<std::string, AddedTokenFields>> added;  // by id
  double max_length = 77;
};

template <class V>
void visit_fields(V& visit, TokenizerConfig& c) {
  for (size_t i = 0; i < clip_token_names.size(); ++i) {
    const bool needed = i < 3 || i == 4;
    visit(clip_token_names[i], c.named[i], {.null = !needed});
  }
  visit("additional_special_tokens", c.additional, {.null = true});
  visit("extra_special_tokens", c.extra, {.null = true});
  visit("added_tokens_decoder", c.added);
  visit("model_max_length", c.max_length, {.least = 2});
  if (c.max_length < no_max_length && (c.max_length > 65535 || c.max_length != std::trunc(c.max_length)))
    visit.fail("model_max_length", text("is ", c.max_length, ", wanted a whole number from 2 to 65535, or 1e30 for none"));
  visit.only("tokenizer_class", {"CLIPTokenizer", "CLIPTokenizerFast"});
  visit.only("padding_side", {"right"});
  visit.only("truncation_side", {"right"});
  visit.only("split_special_tokens", {false});
  visit.ignore({"*"});
}

// tokenizer.json of the library tokenizers, of which CLIP's class takes the vocabulary, the merges and the special tokens.
struct TokenizerModel {
  std::map<std::string, i64> vocab;
  std::vector<std::variant<std::string, std::array<std::string, 2>>> merges;
};

template <class V>
void visit_fields(V& visit, TokenizerModel& m) {
  visit.only("type", {"BPE"});
  visit.only("end_of_word_suffix", {word_end});
  visit.need("vocab", m.vocab);
  visit.need("merges", m.merges);
  visit.ignore({"*"});
}

struct TokenizerFile {
  TokenizerModel model;
  std::vector<AddedTokenFields> added;
};

template <class V>
void visit_fields(V& visit, TokenizerFile& f) {
  visit.need("model", f.model);
  visit("added_tokens", f.added);
  visit.ignore({"*"});
}

MINDGAP_INLINE void tokenizer_error(const std::string& what, const std::filesystem::path& file) {
  throw Error("CLIP tokenizer: " + what, {{"file", file.string()}, {"remedy", clip_remedy}});
}

inline std::pair<std::string, std::string> merge_of_line(const std::string& line, size_t number,
                                                         const std::filesystem::path& file) {
  const size_t space = line.find(' ');
  if (space == 0 || space >= line.size() - 1 || line.find(' ', space + 1) != line.npos)
    tokenizer_error(text("line ", number, " of the merges is ", shown(line), ", wanted two tokens with a space between them"),
                    file);
  return {line.substr(0, space), line.substr(space + 1)};
}

inline std::vector<std::pair<std::string, std::string>> read_merges(const std::filesystem::path& path) {
  const std::vector<std::string> lines = read_lines(path, "CLIP tokenizer");
  std::vector<std::pair<std::string, std::string>> merges;
  for (size_t i = 0; i < lines.size(); ++i)
    if (!lines[i].starts_with("#version")) merges.push_back(merge_of_line(lines[i], i + 1, path));
  return merges;
}

// The tokens by id; ids are 0 to n - 1.
inline std::vector<std::string> tokens_by_id(const std::map<std::string, i64>& vocab, const std::filesystem::path& file) {
  std::vector<std::string> tokens(vocab.size());
  std::vector<bool> taken(vocab.size());
  for (const auto& [token, id] : vocab) {
    if (id < 0 || id >= i64(vocab.size()))
      tokenizer_error(text("the token ", shown(token), " has id ", id, ", but of ", vocab.size(), " tokens the ids are 0 to ",
                           i64(vocab.size()) - 1),
                      file);
    if (taken[size_t(id)])
      tokenizer_error(text("the tokens ", shown(tokens[size_t(id)]), " and ", shown(token), " both have id ", id), file);
    taken[size_t(id)] = true;
    tokens[size_t(id)] = token;
  }
  return tokens;
}

}  // namespace detail

MINDGAP_INLINE ClipVocabulary read_clip_vocabulary(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  const auto path = [&](const char* name) { return folder / name; };
  const auto there = [&](const char* name) {
    std::error_code code;
    return fs::exists(path(name), code);
  };
  const auto json = [&]<class T>(const char* name, T initial) {
    return from_json<T>(read_text(path(name), "CLIP tokenizer"), {"CLIP tokenizer", path(name).string(), detail::clip_remedy},
                        std::move(initial));
  };
  ClipVocabulary v;
  std::map<i64, SpecialToken> added;
  if (there("tokenizer.json")) {
    v.source = path("tokenizer.json").string();
    const auto file = json("tokenizer.json", detail::TokenizerFile());
    v.tokens = detail::tokens_by_id(file.model.vocab, v.source);
    for (size_t i = 0; i < file.model.merges.size(); ++i) {
      if (const auto* line = std::get_if<std::string>(&file.model.merges[i]))
        v.merges.push_back(detail::merge_of_line(*line, i + 1, v.source));
      else v.merges.emplace_back(std::get<1>(file.model.merges[i])[0], std::get<1>(file.model.merges[i])[1]);
    }
    for (const auto& a : file.added) added[a.id] = a.token;
  } else {
    v.source = folder.string();
    for (const char* name : {"vocab.json", "merges.txt"})
      if (!there(name))
        throw Error(text("CLIP tokenizer: the folder has no ", name, " (and no tokenizer.json)"),
                    {{"folder", folder.string()}, {"remedy", detail::clip_remedy}});
    v.tokens = detail::tokens_by_id(json("vocab.json", std::map<std::string, i64>()), path("vocab.json"));
    v.merges = detail::read_merges(path("merges.txt"));
  }

  // As transformers has it: what the configuration says of special tokens in the newer form counts alone.
  detail::TokenizerConfig config;
  if (there("tokenizer_config.json")) config = json("tokenizer_config.json", std::move(config));
  if (config.added) {
    added.clear();
    for (const auto& [id, a] : *config.added) {
      if (id.empty() || id.size() > 9 || id.find_first_not_of("0123456789") != id.npos)
        detail::tokenizer_error("added_tokens_decoder has the key " + detail::shown(id) + ", wanted an id",
                                path("tokenizer_config.json"));
      added[std::stoll(id)] = a.token;
    }
  } else {
    const double max_length = config.max_length;
    if (there("special_tokens_map.json")) config = json("special_tokens_map.json", std::move(config));
    config.max_length = max_length;
    if (there("added_tokens.json"))
      for (const auto& [token, id] : json("added_tokens.json", std::map<std::string, i64>()))
        added.try_emplace(id, SpecialToken{token, true});
  }
  if (config.max_length < detail::no_max_length) v.max_length = i64(config.max_length);

  // The last word on a token counts: 1.x pads with "<|endoftext|>" as written, and finds no "<|EndOfText|>"; but the list with
  // ids goes before names.
  const auto add = [&](const SpecialToken& token) {
    const auto known = std::ranges::find(v.special, token.content, &SpecialToken::content);
    if (known == v.special.end()) v.special.push_back(token);
    else *known = token;
  };
  const auto listed = [&](const SpecialToken& token) {
    return std::ranges::any_of(added, [&](const auto& one) { return one.second.content == token.content; });
  };
  for (const auto& [id, token] : added) {
    const auto known = std::ranges::find(v.tokens, token.content);
    if (known == v.tokens.end() && id == i64(v.tokens.size())) v.tokens.push_back(token.content);
    else if (known == v.tokens.end() || known - v.tokens.begin() != id)
      detail::tokenizer_error(text("the added token ", detail::shown(token.content), " has id ", id, ", the vocabulary has ",
                                   known == v.tokens.end() ? text("no such token and ", v.tokens.size(), " others")
                                                           : text("it as ", known - v.tokens.begin())),
                              v.source);
    add(token);
  }
  const auto as_token = [](const detail::TokenField& field) {
    const auto* name = std::get_if<std::string>(&field);
    return name ? SpecialToken{*name} : std::get<detail::AddedTokenFields>(field).token;
  };
  const std::array<std::string*, detail::clip_token_names.size()> names = {&v.begin, &v.end,  &v.unknown, nullptr,
                                                                           &v.pad,   nullptr, nullptr};
  for (size_t i = 0; i < names.size(); ++i) {
    if (!config.named[i] && !names[i]) continue;
    const SpecialToken token = config.named[i] ? as_token(*config.named[i]) : SpecialToken{*names[i]};
    if (names[i]) *names[i] = token.content;
    else if (token.content.empty()) continue;  // null
    if (!listed(token)) add(token);
  }
  const auto add_extra = [&](const detail::TokenField& field) {
    if (const SpecialToken token = as_token(field); !listed(token)) add(token);
  };
  std::ranges::for_each(config.additional, add_extra);
  if (const auto* list = std::get_if<0>(&config.extra)) std::ranges::for_each(*list, add_extra);
  else std::ranges::for_each(std::get<1>(config.extra) | std::views::values, add_extra);
  return v;
}

MINDGAP_INLINE ClipVocabulary standard_clip_vocabulary(const std::string& pad) {
  ClipVocabulary v;
  const std::filesystem::path file = shipped_file("clip/merges.txt");
  v.source = file.string();
  v.merges = detail::read_merges(file);
  const detail::ByteAlphabet& alphabet = detail::byte_alphabet();
  for (const std::string_view suffix : {std::string_view(), detail::word_end})
    for (const u8 byte : alphabet.order) v.tokens.push_back(alphabet.character[byte] + std::string(suffix));
  for (const auto& [left, right] : v.merges) v.tokens.push_back(left + right);
  v.tokens.insert(v.tokens.end(), {v.begin, v.end});
  // As the published folders have it.
  v.special = {{v.begin, true}, {v.end, pad != v.end}};
  if (pad != v.end) v.special.push_back({pad, false});
  v.pad = pad;
  return v;
}

}  // namespace mindgap
