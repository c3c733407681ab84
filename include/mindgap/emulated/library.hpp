// The library ops of the device Emulated: the CPU's, queued as a GPU's are. f16, which the CPU does not multiply, is widened to
// f32 and rounded at the end, as tensor cores do it.
#pragma once

#include <mindgap/cpu/library.hpp>
#include <mindgap/emulated/runtime.hpp>

#include <array>
#include <cmath>

namespace mindgap {

template <>
struct Library<Emulated> : Library<Cpu> {
  template <class T>
  static constexpr bool computes = Real<T>;
  template <class T>
  static constexpr bool fuses_attention = false;
  // The first way is always a kernel's, which takes long on fibers: not where kernels run serially.
  static int autotune(const std::string&, const std::vector<std::function<bool()>>& ways) {
    return Runtime<Emulated>::serial ? int(ways.size()) - 1 : 0;
  }
  template <class T>
  static void conv2d(const ConvGeometry& g, T* y, const T* x, const T* w, const float* bias) {
    Runtime<Emulated>::queue([=] {
      with_wide<T>({Input<T>{x, g.x_size()}, Input<T>{w, g.weight_size()}}, y, g.y_size(),
                   [&](auto* out, const auto& in) { Library<Cpu>::conv2d(g, out, in[0], in[1], bias); });
    });
  }
  template <class T>
  static void conv2d_backward_data(const ConvGeometry& g, T* grad_x, const T* grad_y, const T* w) {
    Runtime<Emulated>::queue([=] {
      with_wide<T>({Input<T>{grad_y, g.y_size()}, Input<T>{w, g.weight_size()}}, grad_x, g.x_size(),
                   [&](auto* out, const auto& in) { Library<Cpu>::conv2d_backward_data(g, out, in[0], in[1]); });
    });
  }
  template <class T>
  static constexpr bool narrows_gradients = !std::is_same_v<T, float>;
  template <class T>
  static bool conv2d_backward_weights(const ConvGeometry& g, float* grad_w, T* narrow, float* grad_bias, const T* x,
                                      const T* grad_y) {
    Runtime<Emulated>::queue([=] {
      with_wide<T>({Input<T>{x, g.x_size()}, Input<T>{grad_y, g.y_size()}}, grad_w, g.weight_size(),
                   [&](auto* out, const auto& in) { cpu::conv2d_backward_weights(g, out, grad_bias, in[0], in[1]); });
      if constexpr (!std::is_same_v<T, float>)
        for (i64 i = 0; i < g.weight_size(); ++i) narrow[i] = T(grad_w[i]), grad_w[i] = NAN;  // for the conversion to write
    });
    return std::is_same_v<T, float>;
  }
  template <class TC, class T>
  static void matmul(const MatmulGeometry& g, TC* c, const T* a, const T* b, float alpha = 1.f, bool accumulate = false,
                     const float* bias = nullptr) {
    const i64 rows_a = g.trans_a ? g.k : g.m, cols_a = g.trans_a ? g.m : g.k;
    const i64 rows_b = g.trans_b ? g.n : g.k, cols_b = g.trans_b ? g.k : g.n;
    Runtime<Emulated>::queue([=] {
      with_wide<T>({Input<T>{a, span(g, g.a, rows_a, cols_a)}, Input<T>{b, span(g, g.b, rows_b, cols_b)}}, c,
                   span(g, g.c, g.m, g.n),
                   [&](auto* out, const auto& in) { Library<Cpu>::matmul(g, out, in[0], in[1], alpha, accumulate, bias); });
    });
  }

 private:
  template <class T>
  struct Input {
    const T* data;
    i64 size;
  };

  // From the first element of a batch of matrices to the last.
  static i64 span(const MatmulGeometry& g, const MatrixStrides& s, i64 rows, i64 cols) {
    return (g.batch_outer - 1) * s.outer + (g.batch_inner - 1) * s.inner + (rows - 1) * s.row + cols;
  }

  // compute(out, inputs), in f32 where T or the result is f16. What lies between the rows of `out` keeps its values.
  template <class T, class TO, class Compute>
  static void with_wide(const std::array<Input<T>, 2>& in, TO* out, i64 out_size, const Compute& compute) {
    if constexpr (std::is_same_v<T, f16>) {
      std::array<std::vector<float>, 2> wide;
      for (size_t k = 0; k < 2; ++k) wide[k] = widened(in[k].data, in[k].size);
      std::vector<float> result = widened(out, out_size);
      compute(result.data(), std::array<const float*, 2>{wide[0].data(), wide[1].data()});
      for (i64 i = 0; i < out_size; ++i) out[i] = TO(result[size_t(i)]);
    } else {
      compute(out, std::array<const T*, 2>{in[0].data, in[1].data});
    }
  }
  template <class T>
  static std::vector<float> widened(const T* from, i64 size) {
    std::vector<float> out;
    for (i64 i = 0; i < size; ++i) out.push_back(float(from[i]));
    return out;
  }
};
static_assert(DeviceLibrary<Library<Emulated>, float> && DeviceLibrary<Library<Emulated>, f16>);

}  // namespace mindgap
