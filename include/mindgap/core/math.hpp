// Elementary functions in f32, branch-free, so that g++ vectorises the loops that call them (it vectorises no expf
// without fast-math) and the CPU and the GPU compute the same formulas.
//
// exp: Cody-Waite reduction to |r| <= ln2/2, degree-6 polynomial (Cephes expf); about 1 ulp in the normal range.
// log: mantissa in [sqrt(1/2), sqrt(2)), degree-8 polynomial (Cephes logf).
// erf: two polynomials of Juffa's (forums.developer.nvidia.com, "Computing erff to 1 ulp"), for |x| below 0.93 and above.
// sin, cos: of 2 pi u for u in [0, 1), as Box-Muller needs; reduction to an eighth of a turn is exact.
#pragma once

#include <mindgap/core/dtype.hpp>

#include <cmath>

namespace mindgap {
inline namespace MINDGAP_SET {

MG_HD float exp_f32(float x) {
  // exp(88.72) overflows to infinity through the last multiplication, exp(-104) underflows to zero.
  const float clamped = x < -104.f ? -104.f : (x > 89.f ? 89.f : x);
  const float shifted = fmaf(clamped, 1.44269504088896341f, 12582912.f);  // 1.5 * 2^23: rounds to an integer in the low bits
  const float n = shifted - 12582912.f;
  float r = fmaf(n, -0.693359375f, clamped);
  r = fmaf(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = fmaf(p, r, 1.3981999507e-3f);
  p = fmaf(p, r, 8.3334519073e-3f);
  p = fmaf(p, r, 4.1665795894e-2f);
  p = fmaf(p, r, 1.6666665459e-1f);
  p = fmaf(p, r, 5.0000001201e-1f);
  p = fmaf(p, r * r, r) + 1.f;
  // 2^n in two factors, since n reaches 128 and -150.
  const i32 exponent = i32(bit_cast<u32>(shifted) - 0x4b400000u);
  const i32 half = exponent >> 1;
  const float low = bit_cast<float>(u32(half + 127) << 23), high = bit_cast<float>(u32(exponent - half + 127) << 23);
  const float y = p * low * high;
  return x != x ? x : y;
}

// Natural logarithm of a positive, finite, normal x.
MG_HD float log_f32(float x) {
  const u32 bits = bit_cast<u32>(x) - 0x3f3504f3u;  // sqrt(1/2)
  const float exponent = float(i32(bits) >> 23);
  const float m = bit_cast<float>((bits & 0x007fffffu) + 0x3f3504f3u) - 1.f;
  const float z = m * m;
  float p = 7.0376836292e-2f;
  p = fmaf(p, m, -1.1514610310e-1f);
  p = fmaf(p, m, 1.1676998740e-1f);
  p = fmaf(p, m, -1.2420140846e-1f);
  p = fmaf(p, m, 1.4249322787e-1f);
  p = fmaf(p, m, -1.6668057665e-1f);
  p = fmaf(p, m, 2.0000714765e-1f);
  p = fmaf(p, m, -2.4999993993e-1f);
  p = fmaf(p, m, 3.3333331174e-1f);
  float y = m * z * p;
  y = fmaf(exponent, -2.12194440e-4f, y);
  y = fmaf(z, -0.5f, y);
  return fmaf(exponent, 0.693359375f, m + y);
}

// sin(2 pi turns) and cos(2 pi turns), turns in [0, 1).
MG_HD void sincos_turns(float turns, float* sine, float* cosine) {
  const float quarter = float(i32(fmaf(turns, 4.f, 0.5f)));  // nearest quarter turn, 0 to 4
  const float r = fmaf(quarter, -0.25f, turns) * 6.28318530717958648f;
  const float z = r * r;
  const float s = fmaf(fmaf(fmaf(-1.9515295891e-4f, z, 8.3321608736e-3f), z, -1.6666654611e-1f) * z, r, r);
  const float c =
      fmaf(fmaf(fmaf(2.443315711809948e-5f, z, -1.388731625493765e-3f), z, 4.166664568298827e-2f), z * z, fmaf(z, -0.5f, 1.f));
  const i32 q = i32(quarter) & 3;
  const float a = (q & 1) ? c : s, b = (q & 1) ? s : c;
  *sine = (q & 2) ? -a : a;
  *cosine = (q == 1 || q == 2) ? -b : b;
}

MG_HD float sigmoid_f32(float x) { return 1.f / (1.f + exp_f32(-x)); }

// 2 sigmoid(2x) - 1 loses relative accuracy near zero, so small arguments take the odd series (Cephes tanhf).
MG_HD float tanh_f32(float x) {
  const float z = x * x;
  float p = -5.70498872745e-3f;
  p = fmaf(p, z, 2.06390887954e-2f);
  p = fmaf(p, z, -5.37397155531e-2f);
  p = fmaf(p, z, 1.33314422036e-1f);
  p = fmaf(p, z, -3.33332819422e-1f);
  const float small = fmaf(p * z, x, x);
  const float large = 2.f * sigmoid_f32(2.f * x) - 1.f;
  return z < 0.390625f ? small : large;
}

MG_HD float erf_f32(float x) {
  const float t = x < 0.f ? -x : x, s = x * x;
  float far = fmaf(fmaf(-1.72853470e-5f, t, 3.83197126e-4f), s, fmaf(-3.88396438e-3f, t, 2.42546219e-2f));
  far = fmaf(far, t, -1.06777877e-1f);
  far = fmaf(far, t, -6.34846687e-1f);
  far = fmaf(far, t, -1.28717512e-1f);
  far = 1.f - exp_f32(t < 10.f ? fmaf(far, t, -t) : -104.f);
  float near = -5.96761703e-4f;
  near = fmaf(near, s, 4.99119423e-3f);
  near = fmaf(near, s, -2.67681349e-2f);
  near = fmaf(near, s, 1.12819925e-1f);
  near = fmaf(near, s, -3.76125336e-1f);
  near = fmaf(near, s, 1.28379166e-1f);
  near = fmaf(near, x, x);
  return t > 0.927734375f ? (x < 0.f ? -far : far) : near;
}

// x Phi(x), and its derivative Phi(x) + x phi(x), of the normal distribution (Hendrycks and Gimpel 2016, arXiv 1606.08415).
MG_HD float gelu_f32(float x) { return 0.5f * x * (1.f + erf_f32(x * 0.70710678f)); }
MG_HD float gelu_slope_f32(float x) { return 0.5f * (1.f + erf_f32(x * 0.70710678f)) + x * 0.39894228f * exp_f32(-0.5f * x * x); }

}  // namespace MINDGAP_SET
}  // namespace mindgap
