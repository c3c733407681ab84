// The command line: flags that are bound to variables. flags.cpp alone includes cxxopts, which costs seconds of compiling.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <filesystem>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace mindgap {

// A bad flag or value on the command line.
class UsageError : public std::runtime_error {
 public:
  explicit UsageError(const Error& error) : std::runtime_error(error.what()) {}
  explicit UsageError(const std::string& what, std::vector<ErrorLine> lines = {},
                      std::source_location where = std::source_location::current())
      : UsageError(Error(what, std::move(lines), where)) {}
};

// "bad value for --steps: "0"", and what was wanted.
[[noreturn]] void bad_value(const std::string& flag, const std::string& given, const std::string& wanted);

// Runs f, which checks values that came from flags; an Error that it throws counts as a bad flag.
template <class F>
auto check_flags(F&& f) {
  try {
    return f();
  } catch (const DeviceError&) {
    throw;
  } catch (const Error& error) {
    throw UsageError(error);
  }
}

// read(given), which is a flag's: a name, or a file, whose contents are no matter of the command line.
template <class F>
auto check_flag_or_file(const std::string& given, F&& read) {
  std::error_code code;  // of what cannot be looked at, which is no file
  if (std::filesystem::exists(given, code)) return read(given);
  return check_flags([&] { return read(given); });
}

struct IntegerRange {
  i64 least = std::numeric_limits<i64>::min(), most = std::numeric_limits<i64>::max();
};
struct NumberRange {
  double least = -std::numeric_limits<double>::max(), most = std::numeric_limits<double>::max();
};

// Declares flags and binds each to a variable, whose value is the default. A flag that is given twice, unknown, without
// its value or with an empty one, out of range or not of its type is a UsageError.
class Flags {
 public:
  Flags(const std::string& program, const std::string& description);
  ~Flags();

  void add(const std::string& name, bool* value, const std::string& help);  // a switch
  void add(const std::string& name, std::string* value, const std::string& help);
  void add(const std::string& name, std::filesystem::path* value, const std::string& help);
  void add(const std::string& name, i64* value, const std::string& help, IntegerRange range = {});
  void add(const std::string& name, u64* value, const std::string& help);  // 0 to 2^64 - 1
  void add(const std::string& name, double* value, const std::string& help, NumberRange range = {});
  // May be given several times; commas do not separate, since class names have them.
  void add(const std::string& name, std::vector<std::string>* values, const std::string& help);
  // An older name of the flag; --help does not show it.
  void alias(const std::string& older, const std::string& name);
  // The flag must be given.
  void require(const std::string& name);

  // False when --help was given.
  bool parse(int argc, char** argv);
  std::string help() const;
  // The flags on the command line, by today's names.
  const std::set<std::string>& given() const;

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace mindgap
