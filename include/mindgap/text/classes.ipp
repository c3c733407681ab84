// Bodies of text/classes.hpp.
#pragma once

#include <mindgap/io/hash.hpp>
#include <mindgap/io/json.hpp>
#include <mindgap/io/numbers.hpp>
#include <mindgap/io/text_file.hpp>
#include <mindgap/io/utf8.hpp>
#include <mindgap/text/classes.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <variant>

namespace mindgap {

namespace detail {

struct ClassFields {
  std::optional<std::string> id, name;
  std::optional<std::vector<std::string>> names;
  std::string definition, hypernym;
};

template <class V>
void visit_fields(V& visit, ClassFields& c) {
  visit("id", c.id);
  visit("name", c.name);
  visit("names", c.names);
  visit("definition", c.definition, {.null = true});
  visit("hypernym", c.hypernym, {.null = true});
  if (c.name.has_value() == c.names.has_value())
    visit.fail("name", c.name ? "is there beside names" : "is missing, and so is names");
  if (c.names && c.names->empty()) visit.fail("names", "has no name");
}

// A class and where the file has it: "line 3", "[2]".
using PlacedClass = std::pair<std::string, PromptClass>;

inline constexpr const char* classes_remedy =
    "give a list of names; a list of objects with id, name or names, definition, hypernym; or an object {id: name}";

inline std::vector<PlacedClass> classes_of_json(const std::string& json, const std::string& file) {
  using List = std::vector<std::variant<std::string, ClassFields>>;
  using Names = std::map<std::string, std::string>;
  const auto read = from_json<std::variant<List, Names>>(json, {"class list", file, classes_remedy});
  std::vector<PlacedClass> out;
  if (const auto* names = std::get_if<Names>(&read)) {
    for (const auto& [id, name] : *names) out.push_back({shown(id), {id, {name}, "", ""}});
    const auto number = [](const PlacedClass& c) { return number_in<u64>(c.second.id); };
    if (std::ranges::all_of(out, [&](const PlacedClass& c) { return number(c).has_value(); }))
      std::ranges::stable_sort(out, {}, number);
    return out;
  }
  for (const auto& one : std::get<List>(read)) {
    const std::string place = text("[", out.size(), "]");
    if (const auto* name = std::get_if<std::string>(&one)) {
      out.push_back({place, {*name, {*name}, "", ""}});
      continue;
    }
    const auto& c = std::get<ClassFields>(one);
    const auto names = c.names ? *c.names : std::vector{*c.name};
    out.push_back({place, {c.id ? *c.id : names[0], names, c.definition, c.hypernym}});
  }
  return out;
}

inline std::vector<PlacedClass> classes_of_lines(const std::string& bytes, const std::string& file) {
  std::vector<PlacedClass> out;
  for (const std::string& line : lines_of(bytes, file, "class list")) {
    std::vector<std::string> parts(1);
    for (const char c : line) {
      if (c == '\t') parts.emplace_back();
      else parts.back() += c;
    }
    for (std::string& part : parts) {
      part.erase(0, part.find_first_not_of(' '));
      part.erase(part.find_last_not_of(' ') + 1);
    }
    const std::string place = text("line ", out.size() + 1);
    if (parts.size() > 3)
      throw Error(text("class list: ", place, " has ", parts.size(), " fields, wanted a name, or id, name and definition"),
                  {{"file", file}, {"line", shown(line)}, {"remedy", "put a tab between these alone"}});
    const std::string name = parts[parts.size() > 1];
    out.push_back({place, {parts[0], {name}, parts.size() > 2 ? parts[2] : "", ""}});
  }
  return out;
}

inline void check_classes(const std::vector<PlacedClass>& classes, const std::string& file) {
  const auto fail = [&](const std::string& what, const std::string& remedy) {
    throw Error("class list: " + what, {{"file", file}, {"remedy", remedy}});
  };
  if (classes.empty()) fail("there are no classes", "give at least one");
  std::map<std::string, size_t> at;
  for (size_t i = 0; i < classes.size(); ++i) {
    const auto& [place, c] = classes[i];
    const auto check = [&](const std::string& what, const std::string& value) {
      if (const std::string wrong = wrong_text(value); !wrong.empty())
        fail(text(place, ": the ", what, " ", shown(value), " ", wrong), "give it as plain text, UTF-8");
    };
    const auto need = [&](const std::string& what, const std::string& value) {
      if (value.find_first_not_of(' ') == value.npos)
        fail(text(place, ": the ", what, " is empty"), "give every class one, or remove it");
      check(what, value);
    };
    for (const std::string& name : c.names) need("name", name);
    need("id", c.id);
    check("definition", c.definition);
    check("hypernym", c.hypernym);
    if (const auto [there, fresh] = at.try_emplace(c.id, i); !fresh)
      fail(text("two classes have the id ", shown(c.id), ": ", classes[there->second].first, " and ", place),
           "give each an id of its own beside its name; a class without one goes by its name");
  }
}

}  // namespace detail

MINDGAP_INLINE std::vector<PromptClass> read_classes(const std::string& name_or_file) {
  std::string file = name_or_file;
  if (file == "imagenet1k" || file == "imagenet100") {
    file = shipped_file("classes/" + file + ".json").string();
  } else if (std::error_code code; !std::filesystem::exists(file, code)) {
    throw Error("class list: " + detail::shown(file) + " is neither a table that ships nor a file",
                {{"remedy", "imagenet1k, imagenet100, or a JSON or text file"}});
  }
  const std::string bytes = read_text(file, "class list");
  const size_t start = bytes.find_first_not_of(" \t\r\n");
  const bool json = start != bytes.npos && (bytes[start] == '[' || bytes[start] == '{');
  const std::vector<detail::PlacedClass> placed =
      json ? detail::classes_of_json(bytes, file) : detail::classes_of_lines(bytes, file);
  detail::check_classes(placed, file);
  std::vector<PromptClass> classes;
  for (const auto& [place, c] : placed) classes.push_back(c);
  return classes;
}

MINDGAP_INLINE std::string folder_name(const std::string& id) {
  constexpr size_t most = 200;
  std::string out;
  size_t whole = 0;  // bytes of out that leave room for the hash, and end between two characters
  for (size_t at = 0; at < id.size();) {
    const Utf8Character c = utf8_at(id, at);
    const bool plain = c.valid && c.code >= 32 && c.code != 127 &&
                       std::string_view("%/\\:*?\"<>|").find(id[at]) == std::string_view::npos &&
                       !(id[at] == '.' && (at == 0 || at + 1 == id.size())) && !(id[at] == ' ' && at + 1 == id.size());
    for (size_t i = at; i < at + size_t(c.bytes); ++i) {
      const auto byte = static_cast<unsigned char>(id[i]);
      if (plain) out += id[i];
      else (out += '%') += {"0123456789ABCDEF"[byte >> 4], "0123456789ABCDEF"[byte & 15]};
    }
    at += size_t(c.bytes);
    if (out.size() <= most - 34) whole = out.size();
  }
  if (id.empty()) return "%";
  // No byte is written as "%~".
  return out.size() <= most ? out : out.substr(0, whole) + "%~" + sha256(id).substr(0, 32);
}

}  // namespace mindgap
