// Bodies of text/prompts.hpp.
#pragma once

#include <mindgap/io/hash.hpp>
#include <mindgap/io/json.hpp>
#include <mindgap/io/text_file.hpp>
#include <mindgap/text/prompts.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace mindgap {

namespace detail {

inline constexpr std::array<std::pair<const char*, const char*>, 4> prompt_names = {
    {{"name", "{name}"},
     {"name-definition", "{name}, {definition}"},
     {"name-hypernym", "{name}, {hypernym}"},
     {"hypernym-background", "{name}, {hypernym} inside {background}"}}};
inline constexpr std::array prompt_fields = {"name", "names", "definition", "hypernym", "background", "id"};

inline const char* prompt_remedy() {
  return "fields are {name} {names} {definition} {hypernym} {background} {id}; a brace of the text itself is {{ or }}";
}

}  // namespace detail

MINDGAP_INLINE bool PromptSet::Template::has(std::string_view field) const {
  return std::ranges::any_of(parts, [&](const Part& part) { return part.field == field; });
}

MINDGAP_INLINE PromptSet::Template PromptSet::parse(const std::string& source) {
  const auto fail = [&](const std::string& what) {
    throw Error("prompts: " + what, {{"prompt", detail::shown(source)}, {"remedy", detail::prompt_remedy()}});
  };
  if (const std::string wrong = wrong_text(source); !wrong.empty()) fail("the prompt " + wrong);
  if (source.find_first_not_of(' ') == source.npos) fail("the prompt is empty");
  Template out{source, {{}}};
  for (size_t at = 0; at < source.size(); ++at) {
    const char c = source[at];
    if (c != '{' && c != '}') {
      out.parts.back().text += c;
    } else if (at + 1 < source.size() && source[at + 1] == c) {
      out.parts.back().text += c;
      ++at;
    } else {
      const size_t end = source.find_first_of("{}", at + 1);
      if (c == '}' || end == source.npos || source[end] == '{')
        fail(text("the brace ", c, " at character ", at + 1, " has no counterpart"));
      const std::string field = source.substr(at + 1, end - at - 1);
      if (std::ranges::find(detail::prompt_fields, field) == detail::prompt_fields.end())
        fail("there is no field " + detail::shown("{" + field + "}"));
      out.parts.back().field = field;
      out.parts.emplace_back();
      at = end;
    }
  }
  return out;
}

MINDGAP_INLINE PromptSet PromptSet::read(const std::string& spec) {
  PromptSet set;
  const auto add = [&](std::vector<Template>& to, const std::string& source) { to.push_back(parse(source)); };
  // What every class has must say something of the class.
  const auto add_for_every = [&](const std::string& source) {
    add(set.every_, source);
    const Template& t = set.every_.back();
    if (std::ranges::none_of(t.parts, [](const Part& part) { return !part.field.empty() && part.field != "background"; }))
      throw Error("prompts: the prompt says nothing of the class, so that every class would have it",
                  {{"prompt", detail::shown(source)}, {"remedy", "write {name} where the class's name belongs"}});
  };
  const auto add_lines = [&](const std::string& of, const std::filesystem::path& path) {
    const std::vector<std::string> lines = lines_of(of, path, "prompts");
    for (size_t i = 0; i < lines.size(); ++i) naming_file(text(path.string(), ":", i + 1), [&] { add_for_every(lines[i]); });
    if (lines.empty()) throw Error("prompts: the file has none", {{"file", path.string()}, {"remedy", "write a prompt a line"}});
  };
  const auto known = std::ranges::find(detail::prompt_names, spec, [](const auto& entry) { return std::string(entry.first); });
  std::error_code code;
  if (known != detail::prompt_names.end()) {
    add_for_every(known->second);
  } else if (spec == "clip") {
    const std::filesystem::path path = shipped_file("prompts/clip.txt");
    add_lines(read_text(path, "prompts"), path);
  } else if (std::filesystem::exists(spec, code)) {
    set.file_ = spec;
    const std::string bytes = read_text(spec, "prompts");
    const size_t start = bytes.find_first_not_of(" \t\r\n");
    // A template may begin with a field, an object does with a string, or is empty.
    const size_t next = start == bytes.npos || bytes[start] != '{' ? bytes.npos : bytes.find_first_not_of(" \t\r\n", start + 1);
    if (next != bytes.npos && (bytes[next] == '"' || bytes[next] == '}')) {
      const auto captions = from_json<std::map<std::string, std::vector<std::string>>>(
          bytes, {"prompts", spec, "give an object that has a list of captions for each class id"});
      for (const auto& [id, list] : captions) {
        if (list.empty())
          throw Error("prompts: the list of captions for class " + detail::shown(id) + " is empty",
                      {{"file", spec}, {"remedy", "give each class a caption"}});
        naming_file(spec, [&] {
          for (const std::string& caption : list) add(set.own_[id], caption);
        });
      }
      if (captions.empty())
        throw Error("prompts: the file has none", {{"file", spec}, {"remedy", "give each class id a list of captions"}});
    } else {
      add_lines(bytes, spec);
    }
  } else if (spec.find_first_of("{}") != spec.npos) {
    add_for_every(spec);
  } else {
    throw Error("prompts: " + detail::shown(spec) + " is no set of prompts, no file and no template",
                {{"remedy",
                  "name, name-definition, name-hypernym, hypernym-background, clip, a file of captions, or a template such as "
                  "\"a photo of a {name}, {definition}\""}});
  }
  const auto has_background = [](const auto& list) {
    return std::ranges::any_of(list, [](const Template& t) { return t.has("background"); });
  };
  if (has_background(set.every_) || std::ranges::any_of(set.own_, [&](const auto& one) { return has_background(one.second); }))
    set.backgrounds_ = read_lines(shipped_file("prompts/backgrounds.txt"), "prompts");
  return set;
}

MINDGAP_INLINE const std::vector<PromptSet::Template>& PromptSet::of(const PromptClass& c) const {
  if (own_.empty()) return every_;
  const auto found = own_.find(c.id);
  if (found == own_.end())
    throw Error("prompts: there is no caption for class " + detail::shown(c.id) + " (" + detail::shown(c.names.at(0)) + ")",
                {{"file", file_}, {"remedy", "add its id with a list of captions"}});
  return found->second;
}

MINDGAP_INLINE std::string PromptSet::filled(const Template& t, const PromptClass& c, const std::string& background) const {
  std::string out;
  for (const Part& part : t.parts) {
    out += part.text;
    const auto need = [&](const std::string& value) {
      if (value.empty())
        throw Error("prompts: class " + detail::shown(c.id) + " (" + detail::shown(c.names.at(0)) + ") has no " + part.field,
                    {{"prompt", detail::shown(t.source)},
                     {"remedy", "add it to the class list, or take prompts without {" + part.field + "}"}});
      return value;
    };
    if (part.field == "name") out += c.names.at(0);
    if (part.field == "names")
      for (size_t i = 0; i < c.names.size(); ++i) out += (i ? ", " : "") + c.names[i];
    if (part.field == "definition") out += need(c.definition);
    if (part.field == "hypernym") out += need(c.hypernym);
    if (part.field == "background") out += background;
    if (part.field == "id") out += c.id;
  }
  return out;
}

MINDGAP_INLINE std::string PromptSet::prompt(const PromptClass& c, const Stream& choice) const {
  const std::vector<Template>& templates = of(c);
  const Template& t = templates[choice.below(0, u32(templates.size()))];
  return filled(t, c, t.has("background") ? backgrounds_[choice.below(1, u32(backgrounds_.size()))] : "");
}

MINDGAP_INLINE std::string PromptSet::hash(const PromptClass& c) const {
  std::string all;
  for (const Template& t : of(c)) {
    all += filled(t, c, std::string(1, '\1')) + '\0';  // no text has these
    if (t.has("background"))
      for (const std::string& background : backgrounds_) all += background + '\0';
  }
  return sha256(all).substr(0, 16);
}

MINDGAP_INLINE std::set<std::string> PromptSet::all(const PromptClass& c) const {
  std::set<std::string> all;
  for (const Template& t : of(c)) {
    if (!t.has("background")) all.insert(filled(t, c, ""));
    else
      for (const std::string& background : backgrounds_) all.insert(filled(t, c, background));
  }
  return all;
}

}  // namespace mindgap
