// JSON files, read strictly: one reader and one writer for every file of settings. For .ipp files: it includes the JSON library.
//
// A struct names its fields once, in the order in which they are written:
//
//   template <class V>
//   void visit_fields(V& visit, Recipe& r) {
//     visit("epochs", r.epochs, {1, 1e6});                          // may be missing: the struct's default
//     visit.need("learning_rate", r.learning_rate, {.alias = "rate"});  // must be there; "rate" is its older name
//     visit("schedule", r.schedule, {.one_of = {"cosine", "step"}});
//     visit("head", r.head, {.null = true});                        // null stands for the type's zero
//     visit.constant("version", 1);                                 // written; another value is refused
//     visit.only("dropout", {0.0});                                 // not written; other values are refused
//     visit.ignore({"_*", "comment"});                              // of no concern here
//   }
//
// Fields are bool, numbers, string, enumerations, objects with fields, and vector, array, map and optional (not written where
// empty) of these; where a file may have values of several kinds in one place, a variant of those, of which the first that fits
// is taken. Nothing is converted: 8.0, "8" and true are no whole numbers; a whole number may stand for a floating-point one.
// Refused are unknown, missing and repeated keys, null where it has no meaning, NaN and infinities, what the type cannot hold or
// the rule forbids, more than 16 MiB, more than 64 levels. One Error names the file and, for each problem, path and value.
#pragma once

#include <mindgap/io/file.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace mindgap {

// What a value must be beyond its type; of a list or map, each element.
struct JsonRule {
  double least = -std::numeric_limits<double>::infinity(), most = std::numeric_limits<double>::infinity();
  std::vector<std::string> one_of = {};  // of a string; of an enumeration or a bool the names of its values, in order
  bool null = false;
  const char* alias = nullptr;  // an older name of the key, which is read too
  bool single = false;          // a value alone stands for a list of one
};

// Which file it is, for messages: "student.json", its path, and what to do about it.
struct JsonSource {
  std::string what, file, remedy;
};

// What is wrong with a file; the eighth problem is thrown with those before.
class JsonProblems {
 public:
  explicit JsonProblems(JsonSource source) : source_(std::move(source)) {}
  void add(const std::string& problem) {
    problems_.push_back(detail::escaped(problem, 500));
    if (problems_.size() == 8) raise();
  }
  void add(const std::string& path, const nlohmann::json& value, const std::string& wanted) {
    std::string found = value.dump(-1, ' ', true);
    if (found.size() > 60) found = found.substr(0, 60) + "...";
    add((path.empty() ? "the file" : path) + " is " + found + ", wanted " + wanted);
  }
  [[noreturn]] void fail(const std::string& problem) {
    add(problem);
    raise();
  }
  void throw_any() const {
    if (!problems_.empty()) raise();
  }

 private:
  [[noreturn]] void raise() const {
    std::vector<ErrorLine> lines{{"file", source_.file}};
    for (size_t i = 1; i < problems_.size(); ++i) lines.push_back({"also", problems_[i]});
    lines.push_back({"remedy", source_.remedy});
    throw Error(source_.what + ": " + problems_[0], lines);
  }

  JsonSource source_;
  std::vector<std::string> problems_;
};

namespace detail {

// Builds the value of what the parser meets. The library's own builder keeps the last of two keys and has no bounds; to watch it
// by its callback takes four times as long.
class JsonBuilder {
 public:
  using Json = nlohmann::json;
  JsonBuilder(std::string_view text, JsonProblems& problems) : text_(text), problems_(problems) {}
  Json take() { return std::move(whole_); }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(i64 value) { return put(value); }
  bool number_unsigned(u64 value) { return put(value); }
  bool number_float(double value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }  // not in text
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& key) {
    Level& object = open_.back();
    const auto [member, fresh] = object.value->get_ref<Json::object_t&>().try_emplace(std::move(key));
    object.key = fresh ? &member->first : nullptr;
    if (!fresh) problems_.fail(place() + (place().empty() ? "" : ": ") + "the key " + shown(member->first) + " is there twice");
    object.next = &member->second;
    return true;
  }
  bool parse_error(size_t byte, const std::string&, const Json::exception& error) {
    if (error.id == 406) problems_.fail((place().empty() ? "the file" : place()) + " is a number beyond the range of a double");
    const std::string at = place().empty() ? "" : place() + ": ";
    if (byte > text_.size()) problems_.fail(at + "the text ends too early: it is truncated");
    const size_t wrong = byte - std::min<size_t>(byte, 1), line = text_.substr(0, wrong).find_last_of('\n') + 1;
    for (const char* word : {"NaN", "Infinity"})
      if (text_.substr(wrong).starts_with(word)) problems_.fail(at + "NaN and Infinity are no numbers of JSON");
    const std::string_view around = text_.substr(std::max(line, wrong - std::min<size_t>(wrong, 20)), 40);
    problems_.fail(text(at, "this is not JSON at line ", 1 + std::count(text_.begin(), text_.begin() + wrong, '\n'), ", column ",
                        wrong - line + 1, ": ", shown(around)));
  }

 private:
  struct Level {
    Json* value;
    i64 index = 0;                     // of its next element
    const std::string* key = nullptr;  // of an object, and the value that goes there
    Json* next = nullptr;
  };

  // Of the value that comes next.
  std::string place() const {
    std::string path;
    for (const Level& level : open_) {
      if (level.value->is_array()) path += text("[", level.index, "]");
      else if (level.key) (path += path.empty() ? "" : ".") += *level.key;
    }
    return path;
  }
  bool put(Json value) {
    add(std::move(value));
    return done();
  }
  Json* add(Json value) {
    if (open_.empty()) return &(whole_ = std::move(value));
    Level& level = open_.back();
    if (!level.value->is_array()) return &(*level.next = std::move(value));
    auto& list = level.value->get_ref<Json::array_t&>();
    list.push_back(std::move(value));
    return &list.back();
  }
  bool open(Json empty) {
    if (open_.size() == 64) problems_.fail(place().substr(0, 40) + "... is nested deeper than 64 levels");
    open_.push_back({add(std::move(empty))});
    return true;
  }
  bool close() {
    open_.pop_back();
    return done();
  }
  bool done() {
    if (!open_.empty()) ++open_.back().index;
    return true;
  }

  std::string_view text_;
  JsonProblems& problems_;
  Json whole_;
  std::vector<Level> open_;
};

inline size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j)
      diagonal = std::exchange(row[j + 1], std::min({row[j] + 1, row[j + 1] + 1, diagonal + (a[i] != b[j])}));
  }
  return row.back();
}

// "a whole number from 1 to 1000000"
inline std::string in_range(std::string kind, const JsonRule& rule) {
  const bool low = std::isfinite(rule.least), high = std::isfinite(rule.most);
  const auto bound = [](double v) { return v == std::trunc(v) && std::abs(v) < 1e15 ? std::to_string(i64(v)) : text(v); };
  if (low) kind += (high ? " from " : " of at least ") + bound(rule.least);
  if (high) kind += (low ? " to " : " of at most ") + bound(rule.most);
  return kind;
}

// What was wanted, where the value does not fit; else empty.
template <class T>
std::string read_scalar(const nlohmann::json& json, T& value, const JsonRule& rule) {
  if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
    constexpr bool whole = std::is_integral_v<T>;
    const bool fits = whole ? json.is_number_integer() : json.is_number();
    const double number = fits ? json.get<double>() : 0;
    if (!fits || number < rule.least || number > rule.most) return in_range(whole ? "a whole number" : "a number", rule);
    if constexpr (whole) {
      if (!(json.is_number_unsigned() ? std::in_range<T>(json.get<u64>()) : std::in_range<T>(json.get<i64>())))
        return text("a whole number from ", +std::numeric_limits<T>::min(), " to ", +std::numeric_limits<T>::max());
    } else if (!std::isfinite(T(number))) {
      return "a number that fits a float";
    }
    value = json.get<T>();
    return "";
  } else {
    std::string names;
    for (size_t i = 0; i < rule.one_of.size(); ++i) {
      (names += i ? ", " : "one of ") += rule.one_of[i];
      if (!json.is_string() || json.get_ref<const std::string&>() != rule.one_of[i]) continue;
      if constexpr (std::is_same_v<T, std::string>) value = rule.one_of[i];
      else value = T(i);
      return "";
    }
    if constexpr (!std::is_enum_v<T>) {
      constexpr bool flag = std::is_same_v<T, bool>;
      if (names.empty() && !(flag ? json.is_boolean() : json.is_string())) return flag ? "true or false" : "a string";
      if (names.empty()) json.get_to(value);
    }
    return names;
  }
}

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_variant = false;
template <class... Ts>
inline constexpr bool is_variant<std::variant<Ts...>> = true;

template <class T>
inline constexpr i64 array_size = -1;  // none
template <class T, size_t n>
inline constexpr i64 array_size<std::array<T, n>> = i64(n);
template <class T>
inline constexpr bool is_list = requires(T t) {
  t.emplace_back();
};

// What values of T are called, and whether one is: a whole number is one where T holds it, a list where it has as many elements.
template <class T>
std::string kind_name() {
  if constexpr (std::is_same_v<T, std::string>) return "a string";
  else if constexpr (std::is_same_v<T, bool>) return "true or false";
  else if constexpr (std::is_arithmetic_v<T>) return "a number";
  else if constexpr (is_list<T>) return "a list";
  else if constexpr (array_size<T> >= 0) return text("a list of ", array_size<T>);
  else return "an object";
}
template <class T>
bool is_kind(const nlohmann::json& json) {
  if constexpr (std::is_same_v<T, std::string>) return json.is_string();
  else if constexpr (std::is_same_v<T, bool>) return json.is_boolean();
  else if constexpr (std::is_floating_point_v<T>) return json.is_number_float();
  else if constexpr (std::is_arithmetic_v<T>)
    return json.is_number_unsigned() ? std::in_range<T>(json.get<u64>())
                                     : json.is_number_integer() && std::in_range<T>(json.get<i64>());
  else if constexpr (is_list<T>) return json.is_array();
  else if constexpr (array_size<T> >= 0) return json.is_array() && i64(json.size()) == array_size<T>;
  else return json.is_object();
}

}  // namespace detail

class JsonReader {
 public:
  JsonReader(const nlohmann::json& object, std::string path, JsonProblems& problems)
      : object_(object), path_(std::move(path)), problems_(problems) {}

  template <class T>
  void operator()(const char* key, T& value, const JsonRule& rule = {}) {
    known_.push_back(key);
    if (rule.alias) known_.push_back(rule.alias);
    const char* written = present(key, rule);
    if (object_.contains(written)) read(object_[written], path(written), value, rule, problems_);
    if (written != key && object_.contains(key)) fail(key, text("is there as '", written, "' too, its older name"));
  }
  template <class T>
  void need(const char* key, T& value, const JsonRule& rule = {}) {
    (*this)(key, value, rule);
    if (!object_.contains(present(key, rule))) problems_.add(path(key) + " is missing");
  }
  void only(const char* key, std::initializer_list<nlohmann::json> values) {
    known_.push_back(key);
    if (!object_.contains(key) || std::count(values.begin(), values.end(), object_[key])) return;
    std::string wanted;
    for (const nlohmann::json& value : values) (wanted += wanted.empty() ? "" : " or ") += value.dump();
    problems_.add(path(key), object_[key], wanted);
  }
  void constant(const char* key, const nlohmann::json& value) { only(key, {value}); }
  // "sigma_*" stands for all keys that begin so.
  void ignore(std::initializer_list<std::string_view> keys) { known_.insert(known_.end(), keys); }
  // A problem of several fields.
  void fail(const char* key, const std::string& what) { problems_.add(path(key) + " " + what); }

  void refuse_unknown() const {
    for (const auto& [key, value] : object_.items()) {
      const auto is_key = [&key = key](std::string_view k) {
        return k.ends_with('*') ? key.starts_with(k.substr(0, k.size() - 1)) : key == k;
      };
      if (std::ranges::any_of(known_, is_key)) continue;
      const std::string start = key.substr(0, 40);
      const auto nearest = std::ranges::min_element(known_, {}, [&](auto k) { return detail::edit_distance(start, k); });
      problems_.add("there is no key " + detail::shown(path(key)) +
                    (nearest == known_.end() ? "" : "; the nearest is '" + std::string(*nearest) + "'"));
    }
  }

  template <class T>
  static void read(const nlohmann::json& json, const std::string& path, T& value, const JsonRule& rule, JsonProblems& problems) {
    if (rule.null && json.is_null()) {
      value = T{};
    } else if constexpr (detail::is_optional<T>) {
      read(json, path, value.emplace(), rule, problems);
    } else if constexpr (detail::is_variant<T>) {
      read_alternative(json, path, value, rule, problems);
    } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_same_v<T, std::string>) {
      if (const std::string wanted = detail::read_scalar(json, value, rule); !wanted.empty()) problems.add(path, json, wanted);
    } else if constexpr (detail::is_list<T>) {
      if (rule.single && !json.is_array()) {
        typename T::value_type one{};
        read(json, path, one, rule, problems);
        return value.assign(1, one);
      }
      if (!json.is_array()) return problems.add(path, json, "a list");
      value.clear();
      for (const auto& element : json) {
        typename T::value_type one{};
        read(element, path + "[" + std::to_string(value.size()) + "]", one, rule, problems);
        value.push_back(std::move(one));
      }
    } else if constexpr (detail::array_size<T> >= 0) {
      if (!detail::is_kind<T>(json)) return problems.add(path, json, detail::kind_name<T>());
      for (size_t i = 0; i < value.size(); ++i) read(json[i], path + "[" + std::to_string(i) + "]", value[i], rule, problems);
    } else if (!json.is_object()) {
      problems.add(path, json, "an object");
    } else if constexpr (requires { typename T::mapped_type; }) {
      value.clear();
      for (const auto& [key, element] : json.items())  // in the order of the keys
        read(element, path + "." + key, value.emplace_hint(value.end(), key, typename T::mapped_type{})->second, rule, problems);
    } else {
      JsonReader fields(json, path, problems);
      visit_fields(fields, value);
      fields.refuse_unknown();
    }
  }

 private:
  template <class... Ts>
  static void read_alternative(const nlohmann::json& json, const std::string& path, std::variant<Ts...>& value,
                               const JsonRule& rule, JsonProblems& problems) {
    const auto read_if = [&]<class T>(std::type_identity<T>) {
      if (!detail::is_kind<T>(json)) return false;
      read(json, path, value.template emplace<T>(), rule, problems);
      return true;
    };
    if ((read_if(std::type_identity<Ts>()) || ...)) return;
    std::string wanted;
    for (const std::string& kind : {detail::kind_name<Ts>()...})
      if (wanted.find(kind) == wanted.npos) (wanted += wanted.empty() ? "" : " or ") += kind;
    problems.add(path, json, wanted);
  }
  const char* present(const char* key, const JsonRule& rule) const {
    return rule.alias && object_.contains(rule.alias) ? rule.alias : key;
  }
  std::string path(const std::string& key) const { return path_ + (path_.empty() ? "" : ".") + key; }

  const nlohmann::json& object_;
  std::string path_;
  JsonProblems& problems_;
  std::vector<std::string_view> known_;
};

struct JsonWriter {
  nlohmann::ordered_json object;

  template <class T>
  void operator()(const char* key, T& value, const JsonRule& rule = {}) {
    if constexpr (!detail::is_optional<T>) object[key] = write(value, rule);
    else if (value) object[key] = write(*value, rule);
  }
  template <class T>
  void need(const char* key, T& value, const JsonRule& rule = {}) {
    (*this)(key, value, rule);
  }
  void only(const char*, std::initializer_list<nlohmann::json>) {}
  void constant(const char* key, const nlohmann::ordered_json& value) { object[key] = value; }
  void ignore(std::initializer_list<std::string_view>) {}
  void fail(const char*, const std::string&) {}

  template <class T>
  static nlohmann::ordered_json write(T& value, const JsonRule& rule) {
    if constexpr (std::is_enum_v<T> || std::is_same_v<T, bool>)
      if (!rule.one_of.empty()) return rule.one_of[size_t(value)];
    if constexpr (std::is_arithmetic_v<T>) {
      return rule.null && value == T{} ? nlohmann::ordered_json() : nlohmann::ordered_json(value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      return value;
    } else if constexpr (detail::is_variant<T>) {
      return std::visit([](const auto& held) { return nlohmann::ordered_json(held); }, value);
    } else if constexpr (requires { typename T::mapped_type; }) {
      auto out = nlohmann::ordered_json::object();
      for (auto& [key, element] : value) out[key] = write(element, rule);
      return out;
    } else if constexpr (requires { typename T::value_type; }) {
      auto out = nlohmann::ordered_json::array();
      for (typename T::value_type element : value) out.push_back(write(element, rule));
      return out;
    } else if constexpr (!std::is_enum_v<T>) {
      JsonWriter fields;
      visit_fields(fields, value);
      return fields.object;
    }
    return {};
  }
};

inline nlohmann::json parse_json(std::string_view json, JsonProblems& problems) {
  if (json.empty()) problems.fail("the file is empty");
  detail::JsonBuilder builder(json, problems);
  nlohmann::json::sax_parse(json.begin(), json.end(), &builder);
  return builder.take();
}

// initial: what keys that are missing leave as it is.
template <class T>
T from_json(std::string_view json, const JsonSource& source, T initial = {}) {
  JsonProblems problems(source);
  JsonReader::read(parse_json(json, problems), "", initial, {}, problems);
  problems.throw_any();
  return initial;
}
inline constexpr i64 json_bytes = 16 << 20;  // of a file
template <class T>
T read_json(const std::filesystem::path& path, const std::string& what, const std::string& remedy) {
  return from_json<T>(read_file(path, json_bytes), {what, path.string(), remedy});
}

// Throws where a string is not UTF-8. indent: spaces a level; -1: all in one line.
inline std::string json_text(const nlohmann::ordered_json& json, int indent = 2) {
  try {
    return json.dump(indent);
  } catch (const nlohmann::json::exception&) {
    throw Error("JSON: a name or text is not valid UTF-8", {{"remedy", "correct its encoding"}});
  }
}
// As a file has it.
template <class T>
std::string to_json(T value) {
  return json_text(JsonWriter::write(value, {})) + "\n";
}

}  // namespace mindgap
