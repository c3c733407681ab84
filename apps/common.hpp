// What the apps share: the wrapper that turns errors into exit codes, progress, Ctrl-C, and what --device and --precision
// come to.
//
//   struct Options { i64 steps = 15; } o;
//   return run_app(argc, argv, "sample", "Writes a labelled synthetic data set.",
//                  [&](Flags& flags) { flags.add("steps", &o.steps, "denoising steps", {1, 1000}); },
//                  [&](const CommonOptions& common) { ... });
//
// Exit codes: 0 done, 1 bad data or a failure, 2 a bad flag or value on the command line, 130 interrupted. An error is one
// block on standard error. A pipe that nobody reads any more ends a program without a word, by SIGPIPE, where it is standard
// output; where it is standard error the program goes on.
#pragma once

#include <mindgap/core/stop.hpp>
#include <mindgap/nn/dispatch.hpp>
#include <mindgap/ops/roofline.hpp>

#include "flags.hpp"
#include <chrono>
#include <filesystem>
#include <functional>
#include <iostream>

namespace mindgap {

// --split of the apps that train.
inline void check_training_split(const std::string& split) {
  if (split != "train" && split != "fit")
    throw UsageError("bad value for --split: \"" + split + "\"", {{"wanted", "train or fit"}});
}

struct CommonOptions {
  std::string device = "auto";
  std::string precision = "f32";
  u64 seed = 0;
  i64 threads = 0;  // 0: all cores
  bool profile = false;
  std::filesystem::path out;
  std::set<std::string> given;  // the flags on the command line
};

// Throws where --out is what another flag names, under whatever spelling: results would lie among what is read, or in its place.
void check_out(const CommonOptions& common, const std::string& flag, const std::filesystem::path& path);

// define adds the app's flags to the common ones (--device, --precision, --seed, --threads, --profile, --out,
// --help); body does the work.
int run_app(int argc, char** argv, const std::string& name, const std::string& description,
            const std::function<void(Flags&)>& define, const std::function<void(const CommonOptions&)>& body);

// Becomes true at the first SIGINT (Ctrl-C), SIGTERM or SIGHUP, which a line on standard error acknowledges; a second one ends
// the program at once. Loops look at it, leave everything resumable and call stop_interrupted().
bool interrupted();
// From now on such a signal ends the program, with exit code 130, a second later at the latest, wherever it is: for programs
// whose files are whole at any moment, and that may be inside of one operation for longer.
void end_soon_when_interrupted();
[[noreturn]] void stop_interrupted(const std::string& how_to_go_on);

// To standard output, now; throws where it cannot be written. Nothing else writes there.
void print(const std::string& text);

// "cpu" or "cuda", as --device asks of what this build (built) and this machine (gpu) have.
std::string device_of(const CommonOptions& common, bool built, bool gpu);
// --precision, where the device has it: the CPU has f32 and bf16, and where it has no instructions for bf16 it says so once and
// takes f32; a GPU has tf32 (f32 with products rounded to 10 bits of mantissa) and f16 too.
std::string precision_of(const CommonOptions& common, bool on_cpu);

// Puts the plans that a GPU chose where the next program finds them, also after an interruption.
template <Device D>
struct KeepAutotuneCache {
  ~KeepAutotuneCache() {
#if defined(__CUDACC__)
    try {
      if constexpr (std::is_same_v<D, Cuda>) cuda::save_autotune_cache();
    } catch (const std::exception& error) {  // the work is done; the next program chooses again
      std::cerr << error.what() << std::endl;
    }
#endif
  }
};

// f(); with --profile, a table on standard error of the ops that it ran, also where it was interrupted.
template <Device D, class T, class F>
void profiled(const CommonOptions& common, F&& f) {
  if (!common.profile) return f();
  struct Print {
    Roofline rates = measured_roofline<D, T>();
    Print() { Profile<D>::start(); }
    ~Print() {
      try {
        std::cerr << profile_table(Profile<D>::stop(), rates);
      } catch (const std::exception&) {  // the device failed, which whatever is on its way says
      }
    }
  } print;
  f();
}

// f(D{}, Precision<T>{}), as --device and --precision ask.
template <class F>
void with_types(const CommonOptions& common, F&& f) {
  const std::string device = device_of(common, built_for_cuda, common.device != "cpu" && gpu_available());
  with_precision(device, precision_of(common, device == "cpu"), [&]<class D, class P>(D d, P precision) {
    const KeepAutotuneCache<D> keep;
    profiled<D, typename P::compute>(common, [&] { f(d, precision); });
  });
}

// "3 min 12 s", "41 s", "2 h 5 min".
std::string duration(double seconds);

// A line on standard error with count, rate and time left: rewritten in place on a terminal, else a new line every few
// seconds. `done` counts what was there before this run (a resumed run's rate is that of this run).
class Progress {
 public:
  Progress(std::string name, i64 total, i64 done, std::string unit);
  // note: what else to say, for example "loss 0.0412".
  void update(i64 done, const std::string& note = "");
  void finish(const std::string& note = "");

 private:
  using Clock = std::chrono::steady_clock;
  void print(const std::string& note, bool last);

  std::string name_, unit_;
  i64 total_, first_, done_;
  bool terminal_;
  size_t width_ = 0;  // of the line on the terminal
  Clock::time_point start_, printed_;
};

}  // namespace mindgap
