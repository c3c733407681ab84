// What runs: ops say their name and the tensors that they move.
//
//   const Op<D> op("conv2d");          at the head of an op
//   op.moves(x, w, y);                 the tensors that it reads or writes, each once
//   op.computes(g.flops());            additions and multiplications, where they matter
//
// That costs nothing to speak of unless somebody listens: the name is a range of NVTX on a GPU (for Nsight Systems), stands in
// the message of an arena that is full, and, after Profile<D>::start(), every op and shape becomes a line of a table:
//
//   op   calls   ms   % of all   GB/s   GFLOP/s   % of roofline   plan   shape
//
// The roofline (Williams et al. 2009) of a call is the larger of its bytes over the copy bandwidth and its arithmetic over the
// rate of a large product, both measured on this machine by whoever prints the table. While a profile is taken steps are not
// replayed but run op by op, each timed by events of the device; the time of launches that a replay hides shows in the gaps
// between ops, not in these figures. Ops inside an op belong to the outer one.
#pragma once

#include <mindgap/core/device.hpp>
#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mindgap {

// One line of a profile.
struct ProfileLine {
  std::string op, shape, plan;
  i64 calls = 0;
  double milliseconds = 0;      // of all calls
  double bytes = 0, flops = 0;  // of all calls
};

// Rates of the machine: bytes and additions or multiplications a second.
struct Roofline {
  double bytes, flops;
};

// What the library chose for the op that runs ("forward 3"), for the table. It is set by whoever chooses.
inline std::string& noted_plan() {
  static std::string plan;
  return plan;
}

// The calls of one op, shape and plan as one line each, the most expensive first.
std::vector<ProfileLine> sum_of_calls(const std::vector<ProfileLine>& calls);

template <Device D>
class Profile {
 public:
  static bool running() { return state().running; }
  static void start() { state() = State{}, state().running = true; }
  // Ends the profile; the lines, the most expensive first. Waits for the device.
  static std::vector<ProfileLine> stop() {
    State s = std::exchange(state(), State{});
    std::vector<ProfileLine> calls;
    for (Call& call : s.calls)
      calls.push_back({call.op, std::move(call.shape), std::move(call.plan), 1, call.end->since(*call.begin), double(call.bytes),
                       call.flops});
    return sum_of_calls(calls);
  }

 private:
  template <Device>
  friend class Op;
  using Event = typename Runtime<D>::Event;

  struct Call {
    const char* op;
    std::string shape, plan;
    i64 bytes;
    double flops;
    std::unique_ptr<Event> begin, end;
  };
  struct State {
    bool running = false;
    int depth = 0;  // ops that run inside one another
    std::vector<Call> calls;
  };
  static State& state() {
    static State s;
    return s;
  }
};

template <Device D>
class Op {
 public:
  // name: a literal.
  explicit Op(const char* name) : outer_(std::exchange(current_op(), name)) {
    Runtime<D>::begin_range(name);
    if (Profile<D>::running()) begin(name);
  }
  ~Op() {
    Runtime<D>::end_range();
    current_op() = outer_;
    if (Profile<D>::running() || call_) end();
  }
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  // Undefined tensors count nothing, nor does what is no tensor; the first one's type stands before the shapes.
  template <class... Tensors>
  void moves(const Tensors&... tensors) const {
    if (call_) (add(tensors), ...);
  }
  void computes(double flops) const {
    if (call_) call_->flops += flops;
  }

 private:
  using Call = typename Profile<D>::Call;

  void begin(const char* name);
  void end();
  template <class X>
  void add([[maybe_unused]] const X& tensor) const {
    if constexpr (requires { tensor.bytes(); }) {
      if (!tensor.defined()) return;
      call_->shape += (call_->shape.empty() ? mindgap::name(dtype_of<typename X::element>) : "") + (" " + tensor.shape().str());
      call_->bytes += tensor.bytes();
    }
  }

  const char* outer_;
  Call* call_ = nullptr;  // where somebody listens: what end() keeps
};

template <Device D>
void Op<D>::begin(const char* name) {
  if (++Profile<D>::state().depth > 1) return;
  noted_plan().clear();
  using Event = typename Profile<D>::Event;
  auto call = std::make_unique<Call>(Call{name, {}, {}, 0, 0, std::make_unique<Event>(), std::make_unique<Event>()});
  call->begin->record();
  call_ = call.release();
}

template <Device D>
void Op<D>::end() {
  const std::unique_ptr<Call> call(call_);
  if (!Profile<D>::running()) return;
  --Profile<D>::state().depth;
  if (!call) return;
  try {
    call->end->record();
    call->plan = noted_plan();
    Profile<D>::state().calls.push_back(std::move(*call));
  } catch (...) {  // a device that has failed says so at the next call
  }
}

// The lines as a table, with the share of the roofline; `rates` of this machine.
std::string profile_table(const std::vector<ProfileLine>& lines, const Roofline& rates);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/core/profile.ipp>
#endif
