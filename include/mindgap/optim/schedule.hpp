// Learning rates as functions of the step.
//
// All are factors of the peak rate. A warm-up of w steps multiplies by (step + 1) / (w + 1), reaching 1 at step w; one_cycle has
// a warm-up of its own.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <string>

namespace mindgap {

// The steps of a warm-up: a share of all steps where `warmup` is below 1, else their number.
inline i64 warmup_steps(double warmup, i64 steps) {
  if (!(warmup >= 0 && warmup <= 1e9) || (warmup > 1 && warmup != std::trunc(warmup)))
    throw Error(text("a warm-up of ", warmup), {{"remedy", "a share of the steps below 1, or a whole number of steps"}});
  return i64(warmup < 1 ? warmup * double(steps) : warmup);
}

struct Schedule {
  enum class Kind {
    constant,   // 1
    cosine,     // from 1 to `floor` over the steps (Loshchilov and Hutter, "SGDR", 2017, equation 5, one cycle)
    step,       // times `gamma` at each third of the steps
    one_cycle,  // from 1/25 up to 1 over the first 30 %, then down to 1e-4 / 25, by cosines (Smith and Topin, 2018, as torch)
  };
  Kind kind = Kind::cosine;
  i64 steps = 1;       // of the whole run
  i64 warmup = 0;      // steps; 0 with one_cycle
  double floor = 0.0;  // of cosine
  double gamma = 0.1;  // of step

  // Where none is given: a tenth of the steps; nothing with one_cycle.
  static double usual_warmup(Kind kind) { return kind == Kind::one_cycle ? 0 : 0.1; }

  static Kind kind_of(const std::string& name) {
    if (name == "constant") return Kind::constant;
    if (name == "cosine") return Kind::cosine;
    if (name == "step") return Kind::step;
    if (name == "one_cycle") return Kind::one_cycle;
    throw Error("there is no schedule '" + name + "'", {{"remedy", "use constant, cosine, step or one_cycle"}});
  }

  // Throws for numbers that make no schedule.
  void check() const {
    if (steps < 1 || warmup < 0 || !(floor >= 0 && floor <= 1) || !(gamma >= 0 && std::isfinite(gamma)))
      throw Error(text("a schedule of ", steps, " steps, warm-up ", warmup, ", floor ", floor, ", gamma ", gamma),
                  {{"remedy", "1 step or more, a warm-up and a gamma of 0 or more, a floor of 0 to 1"}});
    if (kind == Kind::one_cycle && warmup)
      throw Error(text("a warm-up of ", warmup, " steps and the schedule one_cycle, which has a warm-up of its own"),
                  {{"remedy", "leave the warm-up out, or use another schedule"}});
  }

  // The factor at `step`, 0 <= step < steps.
  double at(i64 step) const {
    const double warm = step < warmup ? double(step + 1) / double(warmup + 1) : 1.0;
    const double progress = double(step) / double(std::max<i64>(steps, 1));
    switch (kind) {
      case Kind::constant:
        return warm;
      case Kind::cosine:
        return warm * (floor + (1 - floor) * 0.5 * (1 + std::cos(M_PI * progress)));
      case Kind::step:
        return warm * std::pow(gamma, std::floor(progress * 3));
      case Kind::one_cycle: {
        const double last = double(std::max<i64>(steps - 1, 1)), peak = 0.3 * double(steps) - 1;
        const double x = double(step);
        return x <= peak ? between(1. / 25, 1, peak > 0 ? x / peak : 1) : between(1, 1e-4 / 25, (x - peak) / (last - peak));
      }
    }
    return 1;
  }

 private:
  static double between(double from, double to, double x) { return to + (from - to) * 0.5 * (1 + std::cos(M_PI * x)); }
};

}  // namespace mindgap
