// The operations of expressions (expression.hpp) on numbers: value and derivatives, in f32. A binary one says which operands its
// two partial derivatives read, a unary one whether its slope is a constant.
#pragma once

#include <mindgap/core/math.hpp>

#include <cmath>

namespace mindgap::expression {
inline namespace MINDGAP_SET {

// ---- binary operations ------------------------------------------------------------------------------------------

struct Add {
  static constexpr bool left_reads_x = false, left_reads_y = false, right_reads_x = false, right_reads_y = false;
  MG_HD static constexpr float value(float x, float y) { return x + y; }
  MG_HD static constexpr float left(float, float) { return 1.f; }
  MG_HD static constexpr float right(float, float) { return 1.f; }
};
struct Subtract {
  static constexpr bool left_reads_x = false, left_reads_y = false, right_reads_x = false, right_reads_y = false;
  MG_HD static constexpr float value(float x, float y) { return x - y; }
  MG_HD static constexpr float left(float, float) { return 1.f; }
  MG_HD static constexpr float right(float, float) { return -1.f; }
};
struct Multiply {
  static constexpr bool left_reads_x = false, left_reads_y = true, right_reads_x = true, right_reads_y = false;
  MG_HD static constexpr float value(float x, float y) { return x * y; }
  MG_HD static constexpr float left(float, float y) { return y; }
  MG_HD static constexpr float right(float x, float) { return x; }
};
struct Divide {
  static constexpr bool left_reads_x = false, left_reads_y = true, right_reads_x = true, right_reads_y = true;
  MG_HD static constexpr float value(float x, float y) { return x / y; }
  MG_HD static constexpr float left(float, float y) { return 1.f / y; }
  MG_HD static constexpr float right(float x, float y) { return -(x / y) / y; }  // y * y over- and underflows sooner
};
struct Maximum {  // NaN where either is NaN, as PyTorch
  static constexpr bool left_reads_x = true, left_reads_y = true, right_reads_x = true, right_reads_y = true;
  MG_HD static constexpr bool second(float x, float y) { return x < y || y != y; }
  MG_HD static constexpr float value(float x, float y) { return second(x, y) ? y : x; }
  MG_HD static constexpr float left(float x, float y) { return second(x, y) ? 0.f : 1.f; }
  MG_HD static constexpr float right(float x, float y) { return second(x, y) ? 1.f : 0.f; }
};
struct Minimum {
  static constexpr bool left_reads_x = true, left_reads_y = true, right_reads_x = true, right_reads_y = true;
  MG_HD static constexpr bool second(float x, float y) { return y < x || y != y; }
  MG_HD static constexpr float value(float x, float y) { return second(x, y) ? y : x; }
  MG_HD static constexpr float left(float x, float y) { return second(x, y) ? 0.f : 1.f; }
  MG_HD static constexpr float right(float x, float y) { return second(x, y) ? 1.f : 0.f; }
};

struct Power {  // as powf: NaN where x is negative and y no whole number
  static constexpr bool left_reads_x = true, left_reads_y = true, right_reads_x = true, right_reads_y = true;
  MG_HD static float value(float x, float y) { return powf(x, y); }
  MG_HD static float left(float x, float y) { return y == 0.f ? 0.f : y * powf(x, y - 1.f); }
  MG_HD static float right(float x, float y) { return x == 0.f && y >= 0.f ? 0.f : powf(x, y) * logf(x); }
};
struct Less {
  MG_HD static constexpr bool holds(float x, float y) { return x < y; }
};
struct LessOrEqual {
  MG_HD static constexpr bool holds(float x, float y) { return x <= y; }
};
struct Equal {
  MG_HD static constexpr bool holds(float x, float y) { return x == y; }
};
struct Unequal {
  MG_HD static constexpr bool holds(float x, float y) { return x != y; }
};

// ---- unary operations -------------------------------------------------------------------------------------------

struct Negate {
  static constexpr bool linear = true;
  MG_HD static constexpr float value(float x) { return -x; }
  MG_HD static constexpr float slope(float) { return -1.f; }
};
struct Relu {  // derivative 0 at 0, and NaN stays NaN, as PyTorch: a student that diverges must not look healthy
  static constexpr bool linear = false;
  MG_HD static constexpr float value(float x) { return x < 0.f ? 0.f : x; }
  MG_HD static constexpr float slope(float x) { return x > 0.f ? 1.f : 0.f; }
};
struct Sigmoid {
  static constexpr bool linear = false;
  // On a GPU the polynomial and the division of sigmoid_f32 take longer than the memory for which a pass waits: there two
  // instructions of its special function units give it, to some 1e-6 of its value where it matters.
  MG_HD static float value(float x) {
#if defined(__CUDA_ARCH__)
    return __fdividef(1.f, 1.f + __expf(-x));
#else
    return sigmoid_f32(x);
#endif
  }
  MG_HD static float slope(float x) {
    const float s = value(x);
    return s * (1.f - s);
  }
};
struct Silu {  // x sigmoid(x)
  static constexpr bool linear = false;
  MG_HD static float value(float x) { return x * Sigmoid::value(x); }
  MG_HD static float slope(float x) {
    const float s = Sigmoid::value(x);
    return s * (1.f + x * (1.f - s));
  }
};
struct Tanh {
  static constexpr bool linear = false;
  MG_HD static float value(float x) { return tanh_f32(x); }
  MG_HD static float slope(float x) {
    const float t = tanh_f32(x);
    return 1.f - t * t;
  }
};
struct Exp {
  static constexpr bool linear = false;
  MG_HD static float value(float x) { return exp_f32(x); }
  MG_HD static float slope(float x) { return exp_f32(x); }
};
struct Log {
  static constexpr bool linear = false;
  // log_f32 is for positive, finite, normal numbers: denormal ones are scaled by 2^24, the others answered as logf does.
  MG_HD static float value(float x) {
    const bool small = x < 1.17549435e-38f;
    const float y = log_f32(small ? x * 16777216.f : x) - (small ? 16.6355323f : 0.f);
    return x > 0.f && x < INFINITY ? y : x == 0.f ? -INFINITY : x > 0.f ? x : NAN;
  }
  MG_HD static float slope(float x) { return 1.f / x; }
};
struct Sqrt {
  static constexpr bool linear = false;
  MG_HD static float value(float x) { return sqrtf(x); }
  MG_HD static float slope(float x) { return 0.5f / sqrtf(x); }
};
struct Square {
  static constexpr bool linear = false;
  MG_HD static constexpr float value(float x) { return x * x; }
  MG_HD static constexpr float slope(float x) { return 2.f * x; }
};
struct Abs {  // derivative 0 at 0
  static constexpr bool linear = false;
  MG_HD static constexpr float value(float x) { return x < 0.f ? -x : x; }
  MG_HD static constexpr float slope(float x) { return x < 0.f ? -1.f : (x > 0.f ? 1.f : 0.f); }
};

// Of the C library, element by element: g++ vectorises none of the three.
struct Sin {
  static constexpr bool linear = false;
  MG_HD static float value(float x) { return sinf(x); }
  MG_HD static float slope(float x) { return cosf(x); }
};
struct Cos {
  static constexpr bool linear = false;
  MG_HD static float value(float x) { return cosf(x); }
  MG_HD static float slope(float x) { return -sinf(x); }
};
struct Erf {
  static constexpr bool linear = false;
  MG_HD static float value(float x) { return erf_f32(x); }
  MG_HD static float slope(float x) { return 1.12837917f * exp_f32(-x * x); }  // 2 / sqrt(pi)
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::expression
