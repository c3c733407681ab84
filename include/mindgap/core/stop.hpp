// Where long work that is not training can be left: an evaluation asks between its batches, a sampler between its steps.
//
//   const StopHook hook([] { if (interrupted()) throw Stopped(); });    for as long as it lives, in this thread
//   evaluate(net, data);                                               ends with what the hook throws
//
// Whoever trains makes the steps himself, and looks between them.
#pragma once

#include <functional>
#include <utility>

namespace mindgap {

class StopHook {
 public:
  explicit StopHook(std::function<void()> hook) : hook_(std::move(hook)), outer_(std::exchange(current(), this)) {}
  ~StopHook() { current() = outer_; }
  StopHook(const StopHook&) = delete;
  StopHook& operator=(const StopHook&) = delete;

  static void ask() {
    if (current()) current()->hook_();
  }

 private:
  static StopHook*& current() {
    thread_local StopHook* hook = nullptr;
    return hook;
  }

  std::function<void()> hook_;
  StopHook* outer_;
};

}  // namespace mindgap
