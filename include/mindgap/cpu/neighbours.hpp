// Sharing the cores with other programs.
//
// OpenMP's threads spin for some milliseconds where they wait for each other, which is quickest on a quiet machine. Where other
// programs want the same cores, a thread that spins takes the time of the one that it waits for: beside two busy threads on two
// cores a step of a small network takes four to ten times as long as alone, where its share is twice (bench/cpu_anchors beside).
//
//   const Neighbours neighbours;     for as long as it lives, threads spin only while the cores are free
//
// A thread of its own looks ten times a second how long the threads of this process were ready to run and had no core
// (/proc/self/task/*/schedstat, run_delay: Documentation/scheduler/sched-stats.rst of Linux). libgomp stops spinning where it
// manages more threads than there are cores (manual of libgomp, GOMP_SPINCOUNT), and nothing else in it can be changed while a
// program runs; so this makes a team that does nothing while the cores are wanted by others. What was set by OMP_WAIT_POLICY or
// GOMP_SPINCOUNT stays. On other systems, and with other OpenMP libraries, it does nothing; nor does it in a child of fork(),
// which has none of these threads.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <omp.h>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

namespace mindgap {

namespace detail {

// Sleeps that long, or until a stop is asked for; says whether one is.
inline bool sleep_until_stopped(const std::stop_token& stop, std::chrono::duration<double> seconds) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait_for(lock, stop, seconds, [] { return false; });
  return stop.stop_requested();
}

// A team that does nothing, while it lives. Its threads belong to a thread of their own, with which they end.
class IdleTeam {
 private:
  std::jthread thread_{[](const std::stop_token& stop) {
    const int threads = omp_get_num_procs() + 1;
    std::atomic<int> members = 0;  // the compiler leaves out a region that does nothing
#pragma omp parallel num_threads(threads)
    ++members;
    while (!sleep_until_stopped(stop, std::chrono::hours(1))) {
    }
  }};
};

}  // namespace detail

class Neighbours {
 public:
  Neighbours() {
    if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT") || waited() < 0) return;
    thread_ = std::make_unique<std::jthread>([this](const std::stop_token& stop) { watch(stop); });
  }
  ~Neighbours() {
    if (process_ != getpid()) thread_.release();  // who would wait for the parent's thread would wait for ever
  }
  Neighbours(const Neighbours&) = delete;
  Neighbours& operator=(const Neighbours&) = delete;

  // Whether others want the cores now.
  bool sharing() const { return sharing_; }

 private:
  using Seconds = std::chrono::duration<double>;
  // Of one core's time. Those that others of this process wait for are included: more threads than cores are neighbours too.
  static constexpr double busy = 0.2, calm = 0.05;
  static constexpr int calm_looks = 10;  // in a row

  // Seconds that the threads of this process were ready and had no core, since each began; negative where the system does not
  // say.
  static double waited() {
    std::error_code error;
    double seconds = 0;
    bool any = false;
    for (std::filesystem::directory_iterator task("/proc/self/task", error), end; !error && task != end; task.increment(error))
      if (std::FILE* file = std::fopen((task->path() / "schedstat").c_str(), "r")) {
        unsigned long long ran, delayed;
        if (std::fscanf(file, "%llu %llu", &ran, &delayed) == 2) seconds += 1e-9 * double(delayed), any = true;
        std::fclose(file);
      }
    return any ? seconds : -1;
  }

  void watch(const std::stop_token& stop) {
    std::optional<detail::IdleTeam> team;
    double before = waited();
    auto time = std::chrono::steady_clock::now();
    int quiet = 0;
    while (!detail::sleep_until_stopped(stop, Seconds(0.1))) {
      const double now = waited();
      const auto then = std::exchange(time, std::chrono::steady_clock::now());
      const double share = (now - std::exchange(before, now)) / Seconds(time - then).count();
      quiet = share < calm ? quiet + 1 : 0;
      try {
        if (!team && share > busy) team.emplace();
      } catch (const std::system_error&) {  // there may be no more threads: it goes on as it is
      }
      if (team && quiet >= calm_looks) team.reset();
      sharing_ = team.has_value();
    }
  }

  const pid_t process_ = getpid();
  std::atomic<bool> sharing_ = false;
  std::unique_ptr<std::jthread> thread_;  // the last member: it ends first
};

}  // namespace mindgap
