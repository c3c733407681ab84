// What tests of the apps share: running the built programs, killing them, and small data sets to run them on.
//
//   Folder folder;                                            a temporary folder, removed at the end
//   write_idx(folder / "data", 24, 12);                       24 training and 12 test images of 8x8 pixels in 3 classes
//   Result r = run("train_student", {"--data", ...});         r.code, r.out, r.err
//   Process p("sample", {...}); p.wait_for(file); p.kill(SIGKILL);
//   run("evaluate", {...}, [] { ::close(1); });               what the new process does before it becomes the program
//
// Programs run with one thread, so that several tests share a machine.
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/io/file.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <csignal>
#include <functional>
#include <map>
#include <sys/wait.h>
#include <thread>
#include <vector>

namespace mindgap::test {

using Arguments = std::vector<std::string>;

// Names that have broken folder names, CSV files, JSON and web pages.
inline const std::vector<std::string> class_names{"dress, long \"A\"", "T-shirt/top <b>", "über \xF0\x9F\x91\x97"};

struct Result {
  int code;  // exit code, or 128 + signal
  std::string out, err;

  bool says(const std::string& part) const { return err.find(part) != err.npos; }
};

inline std::ostream& operator<<(std::ostream& to, const Result& r) { return to << "exit code " << r.code << "\n" << r.err; }

// A running program.
class Process {
 public:
  Process(
      const std::string& app, const Arguments& arguments, const std::function<void()>& prepare = [] {}) {
    std::vector<std::string> words{std::string(MINDGAP_APPS_DIR) + "/" + app};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const fs::path out = files_ / "out", err = files_ / "err";
    id_ = ::fork();
    BOOST_REQUIRE(id_ >= 0);
    if (id_ > 0) return;
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::setenv("OMP_NUM_THREADS", "1", 1);
    ::setenv("OMP_WAIT_POLICY", "passive", 1);
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    for (int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);  // a script's job in the background ignores some
    prepare();
    ::execv(argv[0], argv.data());
    ::_exit(126);
  }
  ~Process() {
    if (id_ > 0) kill(SIGKILL);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  Result wait() {
    int status = 0;
    while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) {
    }
    id_ = -1;
    return {WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), read_file(files_ / "out"),
            read_file(files_ / "err")};
  }
  void send(int signal) { ::kill(id_, signal); }
  Result kill(int signal) {
    send(signal);
    return wait();
  }
  // So far, on standard error.
  bool says(const std::string& part) const { return read_file(files_ / "err").find(part) != std::string::npos; }

  // Waits until the condition holds; fails the test when the program ends before, or after a minute.
  template <class F>
  void wait_until(F&& condition) {
    for (int i = 0; i < 30000 && !condition(); ++i) {
      siginfo_t info{};
      ::waitid(P_PID, id_t(id_), &info, WEXITED | WNOHANG | WNOWAIT);
      if (info.si_pid != 0 && !condition()) BOOST_FAIL("the program ended too early: " << wait());
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    BOOST_REQUIRE(condition());
  }
  void wait_for(const fs::path& file) {
    wait_until([&] { return fs::exists(file); });
  }
  // Until a signal would not end it at once.
  void wait_for_handler(int signal) {
    wait_until([&] {
      const std::string status = read_file("/proc/" + std::to_string(id_) + "/status");
      const size_t caught = status.find("SigCgt:");
      return caught != status.npos && std::stoull(status.substr(caught + 7), nullptr, 16) >> (signal - 1) & 1;
    });
  }

 private:
  Folder files_;
  pid_t id_ = -1;
};

inline Result run(
    const std::string& app, const Arguments& arguments, const std::function<void()>& prepare = [] {}) {
  return Process(app, arguments, prepare).wait();
}

// The same, for runs that must succeed; returns what it wrote to standard output.
inline std::string run_well(const std::string& app, const Arguments& arguments) {
  const Result result = run(app, arguments);
  BOOST_REQUIRE_MESSAGE(result.code == 0, app << ": " << result);
  return result.out;
}

inline Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// ---- data ----------------------------------------------------------------------------------------------------------

inline std::string big_endian(u32 value) { return {char(value >> 24), char(value >> 16), char(value >> 8), char(value)}; }

// An IDX pair: noise around a bright square whose place tells the class. Labels go round.
inline void write_idx_pair(const fs::path& folder, const std::string& prefix, i64 count, i64 size, u64 seed) {
  std::string images = big_endian(0x803) + big_endian(u32(count)) + big_endian(u32(size)) + big_endian(u32(size));
  std::string labels = big_endian(0x801) + big_endian(u32(count));
  for (i64 i = 0; i < count; ++i) {
    const i64 label = i % i64(class_names.size());
    const Stream noise(seed, "test images", u64(i));
    for (i64 at = 0; at < size * size; ++at)
      images += char(i64(60 * noise.uniform(u64(at))) + (at / size / 3 == label ? 160 : 0));
    labels += char(label);
  }
  write_file_atomic(folder / (prefix + "-images-idx3-ubyte"), images);
  write_file_atomic(folder / (prefix + "-labels-idx1-ubyte"), labels);
}

inline void write_idx(const fs::path& folder, i64 training_images, i64 test_images, i64 size = 8, u64 seed = 0) {
  make_folder(folder);
  write_idx_pair(folder, "train", training_images, size, seed);
  write_idx_pair(folder, "t10k", test_images, size, seed + 1);
  std::string names;
  for (const std::string& name : class_names) names += name + "\n";
  write_file_atomic(folder / "classes.txt", names);
}

// A generator of 8x8 images that has learned next to nothing: <folder>/data and <folder>/generator.
inline fs::path make_generator(const Folder& folder) {
  write_idx(folder / "data", 24, 12);
  run_well("train_generator", {"--data", (folder / "data").string(), "--out", (folder / "generator").string(), "--steps", "12",
                               "--batch", "8", "--channels", "8,8", "--groups", "4", "--head", "4", "--preview", "0"});
  return folder / "generator";
}

// Every file below a folder but locks, by relative name.
inline std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  return files;
}

inline i64 lines_of(const fs::path& file) {
  if (!fs::exists(file)) return 0;
  const std::string bytes = read_file(file);
  return std::count(bytes.begin(), bytes.end(), '\n');
}

}  // namespace mindgap::test
