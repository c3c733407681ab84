#include "flags.hpp"

#include <charconv>
#include <cxxopts.hpp>
#include <functional>
#include <map>

namespace mindgap {

void bad_value(const std::string& flag, const std::string& given, const std::string& wanted) {
  throw UsageError("bad value for --" + flag + ": \"" + given + "\"", {{"wanted", wanted}});
}

namespace {

template <class T>
T parse_number(const std::string& flag, const std::string& given, const std::string& wanted) {
  T value{};
  const char* end = given.data() + given.size();
  const auto [stop, code] = std::from_chars(given.data(), end, value);
  if (code != std::errc() || stop != end || given.empty()) bad_value(flag, given, wanted);
  return value;
}

// "1 to 1000", "1 or more".
template <class T, class Range>
std::string describe(const std::string& kind, const Range& range) {
  const bool low = range.least > Range{}.least, high = range.most < Range{}.most;
  if (low && high) return text(kind, ", ", range.least, " to ", range.most);
  if (low) return text(kind, ", ", range.least, " or more");
  if (high) return text(kind, ", ", range.most, " or less");
  return kind;
}

}  // namespace

struct Flags::Body {
  cxxopts::Options options;
  std::map<std::string, std::function<void(const std::string&)>> set;
  std::set<std::string> repeatable, required, given;
  std::map<std::string, std::string> aliases;

  Body(const std::string& program, const std::string& description) : options(program, description) {
    options.set_width(110);
    options.add_options()("help", "print this text");
  }
  void add(const std::string& name, const std::string& help, const std::string& initial,
           std::function<void(const std::string&)> setter) {
    options.add_options()(name, initial.empty() ? help : help + " (" + initial + ")", cxxopts::value<std::string>());
    set[name] = std::move(setter);
  }
};

Flags::Flags(const std::string& program, const std::string& description) : body_(std::make_unique<Body>(program, description)) {}
Flags::~Flags() = default;

void Flags::add(const std::string& name, bool* value, const std::string& help) {
  body_->options.add_options()(name, help);
  body_->set[name] = [=](const std::string& given) {
    if (given != "true" && given != "false") bad_value(name, given, "true or false, or nothing");
    *value = given == "true";
  };
}
void Flags::add(const std::string& name, std::string* value, const std::string& help) {
  body_->add(name, help, *value, [=](const std::string& given) { *value = given; });
}
void Flags::add(const std::string& name, std::filesystem::path* value, const std::string& help) {
  body_->add(name, help, value->string(), [=](const std::string& given) { *value = given; });
}
void Flags::add(const std::string& name, i64* value, const std::string& help, IntegerRange range) {
  body_->add(name, help, std::to_string(*value), [=](const std::string& given) {
    const std::string wanted = describe<i64>("a whole number", range);
    *value = parse_number<i64>(name, given, wanted);
    if (*value < range.least || *value > range.most) bad_value(name, given, wanted);
  });
}
void Flags::add(const std::string& name, u64* value, const std::string& help) {
  body_->add(name, help, std::to_string(*value), [=](const std::string& given) {
    *value = parse_number<u64>(name, given, "a whole number, 0 to 18446744073709551615");
  });
}
void Flags::add(const std::string& name, double* value, const std::string& help, NumberRange range) {
  body_->add(name, help, text(*value), [=](const std::string& given) {
    const std::string wanted = describe<double>("a number", range);
    *value = parse_number<double>(name, given, wanted);
    if (!(*value >= range.least && *value <= range.most)) bad_value(name, given, wanted);
  });
}
void Flags::add(const std::string& name, std::vector<std::string>* values, const std::string& help) {
  body_->add(name, help, "", [=](const std::string& given) { values->push_back(given); });
  body_->repeatable.insert(name);
}
void Flags::alias(const std::string& older, const std::string& name) {
  body_->options.add_options("older names")(older, "", cxxopts::value<std::string>());
  body_->aliases[older] = name;
}
void Flags::require(const std::string& name) { body_->required.insert(name); }

bool Flags::parse(int argc, char** argv) {
  const auto remedy = ErrorLine{"remedy", "see --help"};
  std::set<std::string>& given = body_->given;
  try {
    const cxxopts::ParseResult result = body_->options.parse(argc, argv);
    if (result.count("help")) return false;
    if (!result.unmatched().empty()) throw UsageError("\"" + result.unmatched()[0] + "\" is not a flag", {remedy});
    for (const cxxopts::KeyValue& argument : result.arguments()) {
      const auto alias = body_->aliases.find(argument.key());
      const std::string& name = alias == body_->aliases.end() ? argument.key() : alias->second;
      if (!given.insert(name).second && !body_->repeatable.count(name))
        throw UsageError("--" + name + " is given twice", {remedy});
      if (argument.value().empty()) bad_value(name, "", "one that is not empty; leave the flag out for its default");
      body_->set.at(name)(argument.value());
    }
  } catch (const cxxopts::exceptions::exception& error) {
    throw UsageError(error.what(), {remedy});
  }
  for (const std::string& name : body_->required)
    if (!given.count(name)) throw UsageError("--" + name + " is needed", {remedy});
  return true;
}

std::string Flags::help() const { return body_->options.help({""}); }
const std::set<std::string>& Flags::given() const { return body_->given; }

}  // namespace mindgap
