// The one error type: what happened, then indented lines that name values, then where.
//
//   mindgap: conv2d: input has 64 channels, weight wants 128
//     input   f32 [8, 56, 56, 64]
//     in      layer2.0.conv1
//     at      apps/train_student.cpp:71
//
// `in` is the module path: modules push their member name while they run (ModulePath), so that an op deep inside a
// network can say which layer called it. `at` is the line that called the library (Caller), else the one that throws.
#pragma once

#include <mindgap/core/config.hpp>

#include <initializer_list>
#include <source_location>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace mindgap {

// The dotted names of the modules that are running in this thread, outermost first.
class ModulePath {
 public:
  explicit ModulePath(std::string_view name) { names().push_back(name); }
  ~ModulePath() { names().pop_back(); }
  ModulePath(const ModulePath&) = delete;
  ModulePath& operator=(const ModulePath&) = delete;

  static std::string current();

 private:
  static std::vector<std::string_view>& names() {
    thread_local std::vector<std::string_view> stack;
    return stack;
  }
};

using Location = std::source_location;

// The line that called the public function which runs in this thread. A function takes it as its last argument,
//
//   Tensor<T, 2, D> f(..., Location at = Location::current()) {
//     const Caller caller(at);
//
// and an Error inside names it; of functions that call each other it is the outermost one's. Those that take any number of
// arguments, operators, and the backwards of single ops have no such argument: there a line of ours is named, unless the
// caller's own code has `const Caller here;`, which names its own line.
class Caller {
 public:
  explicit Caller(Location at = Location::current()) : at_(at), outer_(current()) {
    if (!outer_) current() = this;
  }
  ~Caller() { current() = outer_; }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  // The outermost one's line, or `otherwise` where there is none.
  static Location line(Location otherwise) { return current() ? current()->at_ : otherwise; }

 private:
  static const Caller*& current() {
    thread_local const Caller* outermost = nullptr;
    return outermost;
  }

  Location at_;
  const Caller* outer_;
};

// The op that runs in this thread (core/profile.hpp), or null.
inline const char*& current_op() {
  thread_local const char* name = nullptr;
  return name;
}

struct ErrorLine {
  std::string label;  // "input", "weight", "remedy"
  std::string text;
};

class Error : public std::runtime_error {
 public:
  // what: one sentence without full stop. lines: the values concerned and, for a person's input, the remedy. at: the line to
  // name where there is no Caller.
  explicit Error(const std::string& what, std::vector<ErrorLine> lines = {}, Location at = Location::current());
  // The same error with one more line.
  Error(const Error& error, const ErrorLine& line);
};

// For what does not stop a program but should be known: the same block, on standard error.
void warn(const Error& error);

// Not what it was given but the device is to blame: it has no memory left, or has failed.
class DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& what, std::vector<ErrorLine> lines = {}, Location at = Location::current())
      : Error(what, std::move(lines), at) {}
};

// f(), whose Error, if it throws one, has one more line.
template <class F>
auto naming(const ErrorLine& line, F&& f) {
  try {
    return f();
  } catch (const DeviceError&) {
    throw;
  } catch (const Error& error) {
    throw Error(error, line);
  }
}
// The file that the values came from. f checks those values and does no more: of whatever else fails in it the file would be
// blamed, too.
template <class F>
auto naming_file(const std::string& file, F&& f) {
  return naming({"file", file}, f);
}

namespace detail {

// For a message: text comes from strangers, so control characters are escaped and what is long is cut.
std::string escaped(std::string_view text, size_t most);
// A name, in quotes.
std::string shown(std::string_view name);
// At most a dozen names, and how many more.
std::string some_of(const std::vector<std::string>& names);

}  // namespace detail

// Joins printable values: text("input has ", 64, " channels").
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/core/error.ipp>
#endif
