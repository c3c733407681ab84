// Replay: a step that is recorded once and then run as a whole, so that a GPU waits for no host between its kernels.
//
//   Replay<Cuda> replay("training step");
//   for (...) {
//     inputs.copy_from(...), optimizer.prepare(rate);        what differs from step to step: copied before
//     replay.run([&] { loss.copy_from(train(inputs)); });    what is the same in every step
//   }
//
// The first run is eager: plans are chosen and lasting tensors are made. The second is eager in the replay's own arena, which
// then holds the memory of a step and is sealed. The third captures the step as a CUDA graph and launches it; every later one
// launches it. So a step must be the same each time: the same shapes, the same tensors; a number of the host is read
// once. Inputs lie in tensors that stay (the host's: core/host_input.hpp), what varies is read from them, results leave by
// copies; tensors that the step makes belong to the arena, and the next run overwrites them. One replay a shape.
// Where a device captures nothing (the CPU), and while a profile is taken, run() calls the step.
//
// each_run(f) is for the few things that the host does in every step, such as counting: f runs now, and again at every launch
// of the replay that is being recorded. Errors: whatever cannot be captured (waiting, copies from and to the host, more
// memory) says so; the replay starts over with the next run.
#pragma once

#include <mindgap/core/memory.hpp>
#include <mindgap/core/profile.hpp>

#include <functional>
#include <optional>
#include <string>

namespace mindgap {

namespace detail {

// Where each_run() leaves what the replay that is recorded in this thread has to do on the host; null: none is recorded.
inline std::vector<std::function<void()>>*& recorded_actions() {
  thread_local std::vector<std::function<void()>>* actions = nullptr;
  return actions;
}

}  // namespace detail

// Runs f now, and whenever the step that is being recorded runs again. What f refers to must live as long as the replay.
template <class F>
void each_run(F f) {
  f();
  if (auto* actions = detail::recorded_actions()) actions->push_back(std::move(f));
}

template <Device D>
class Replay {
 public:
  // name: for messages, "training step".
  explicit Replay(std::string name) : name_(std::move(name)) {}

  template <class Step>
  void run(Step&& step) {
    if (Profile<D>::running()) return step();
    if constexpr (!Runtime<D>::captures) step();
    else if (graph_) launch();
    else if (runs_ == 0) step(), runs_ = 1;
    else if (runs_ == 1) {
      arena_ = Pool<D>::make_arena(name_);
      const typename Pool<D>::Use in(*arena_);
      step();
      runs_ = 2;
    } else {
      capture(step);
    }
  }

  // Whether the next run() launches a recorded step.
  bool recorded() const { return graph_.has_value(); }
  // Bytes of the arena.
  i64 bytes() const { return arena_ ? arena_->bytes_held() : 0; }

 private:
  template <class Step>
  void capture(Step& step) {
    arena_->seal();
    const typename Pool<D>::Use in(*arena_);
    actions_.clear();
    struct Recording {
      Replay& replay;
      bool complete = false;
      explicit Recording(Replay& r) : replay(r) {
        detail::recorded_actions() = &replay.actions_;
        Runtime<D>::begin_capture();
      }
      ~Recording() {
        detail::recorded_actions() = nullptr;
        if (!complete) Runtime<D>::abandon_capture(), replay.runs_ = 0;
      }
    } recording(*this);
    step();
    recording.complete = true;  // end_capture leaves no capture behind, also where it throws
    runs_ = 0;
    graph_ = Runtime<D>::end_capture();
    Runtime<D>::launch(*graph_);
  }
  void launch() {
    for (const auto& action : actions_) action();
    Runtime<D>::launch(*graph_);
  }

  std::string name_;
  int runs_ = 0;  // eager runs so far
  std::shared_ptr<Pool<D>> arena_;
  std::vector<std::function<void()>> actions_;
  std::optional<typename Runtime<D>::Graph> graph_;  // destroyed before the arena whose memory it uses
};

}  // namespace mindgap
