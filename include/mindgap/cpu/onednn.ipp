// Bodies of onednn.hpp: the only file that includes oneDNN.
//
// A primitive, with the layouts that oneDNN chose for it, is made once a geometry and kept. Activations stay channels-last;
// weights are reordered into the chosen blocked layout in each call (2 * weight bytes, against flops of the whole batch).
// Scratch comes from the tensor pool. One mutex guards the table and the memory objects, which only change pointers.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/core/memory.hpp>
#include <mindgap/cpu/amx_matmul.hpp>
#include <mindgap/cpu/amx_outer.hpp>
#include <mindgap/cpu/direct_attention.hpp>
#include <mindgap/cpu/direct_gather.hpp>
#include <mindgap/cpu/direct_matmul.hpp>
#include <mindgap/cpu/direct_outer.hpp>
#include <mindgap/cpu/direct_winograd.hpp>
#include <mindgap/cpu/onednn.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/cpu/widen.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace mindgap::cpu {
namespace onednn {

using dnnl::memory;

enum class Task : u8 { forward, backward_data, backward_weights };

inline dnnl::engine& engine() {
  static dnnl::engine* e = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *e;
}
inline dnnl::stream& stream() {
  static dnnl::stream* s = new dnnl::stream(engine());
  return *s;
}
inline std::mutex& mutex() {
  static std::mutex* m = new std::mutex;
  return *m;
}

template <class T>
constexpr memory::data_type data_type = std::is_same_v<T, float> ? memory::data_type::f32 : memory::data_type::bf16;

using Buffer = std::shared_ptr<void>;
inline Buffer allocate(const memory::desc& desc) { return Pool<Cpu>::current().allocate(i64(desc.get_size())); }

// oneDNN never writes through the pointers of inputs.
inline void* pointer(const void* p) { return const_cast<void*>(p); }

inline dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

// A memory object without memory: its pointer is set before each run.
inline memory empty_memory(const memory::desc& desc) { return memory(desc, engine(), nullptr); }

// One cached primitive and its arguments. `packed` is the weight in the layout of oneDNN's choice: before the run of a
// forward or backward-data pass `plain` is reordered into it, after a backward-weights pass it is reordered into `plain`.
struct Prepared {
  dnnl::primitive primitive;
  std::unordered_map<int, memory> arguments;
  memory::desc scratchpad;
  memory plain, packed;
  dnnl::reorder reorder;
  bool reorders = false;
  int packed_argument = 0;

  void set(int argument, const void* p) {
    if (auto found = arguments.find(argument); found != arguments.end()) found->second.set_data_handle(pointer(p));
  }

  void run(const void* weights) {
    const Buffer scratch = allocate(scratchpad);
    arguments.at(DNNL_ARG_SCRATCHPAD).set_data_handle(scratch.get());
    Buffer repacked;
    if (packed_argument) {
      memory& argument = arguments.at(packed_argument);
      if (reorders) {
        repacked = allocate(argument.get_desc());
        argument.set_data_handle(repacked.get());
        plain.set_data_handle(pointer(weights));
      } else {
        argument.set_data_handle(pointer(weights));
      }
      if (reorders && packed_argument == DNNL_ARG_WEIGHTS) reorder.execute(stream(), plain, argument);
      primitive.execute(stream(), arguments);
      if (reorders && packed_argument == DNNL_ARG_DIFF_WEIGHTS) reorder.execute(stream(), argument, plain);
    } else {
      primitive.execute(stream(), arguments);
    }
    stream().wait();
  }
};

[[noreturn]] inline void refuse(const char* op, const std::string& geometry, const dnnl::error& e) {
  throw Error(text(op, ": oneDNN has no implementation for this geometry on this CPU"),
              {{"geometry", geometry}, {"oneDNN", e.message}, {"remedy", "check the shapes; use f32"}});
}

// --- convolution -----------------------------------------------------------------------------------------------------

template <class T>
Prepared make_conv(const ConvGeometry& g, Task task, bool bias) {
  using tag = memory::format_tag;
  const auto f32 = memory::data_type::f32;
  const memory::dims strides{g.stride_h, g.stride_w}, padding{g.pad_h, g.pad_w};
  const memory::desc x({g.n, g.c_in, g.h, g.w}, data_type<T>, tag::nhwc);
  const memory::desc y({g.n, g.c_out, g.out_h(), g.out_w()}, data_type<T>, tag::nhwc);
  const memory::dims weight_dims{g.c_out, g.c_in, g.kh, g.kw};
  const auto weight_type = task == Task::backward_weights ? f32 : data_type<T>;
  const memory::desc any(weight_dims, data_type<T>, tag::any), any_gradient(weight_dims, f32, tag::any);
  const memory::desc plain(weight_dims, weight_type, tag::ohwi);
  const memory::desc b = bias ? memory::desc({g.c_out}, f32, tag::x) : memory::desc();
  const auto attributes = user_scratchpad();
  const auto direct = dnnl::algorithm::convolution_direct;
  const auto training = dnnl::prop_kind::forward_training;

#if DNNL_VERSION_MAJOR >= 3
  const dnnl::convolution_forward::primitive_desc forward(engine(), training, direct, x, any, b, y, strides, padding, padding,
                                                          attributes);
#else
  const dnnl::convolution_forward::primitive_desc forward({training, direct, x, any, b, y, strides, padding, padding}, attributes,
                                                          engine());
#endif
  Prepared p;
  memory::desc packed;
  switch (task) {
    case Task::forward: {
      p.primitive = dnnl::convolution_forward(forward);
      p.scratchpad = forward.scratchpad_desc();
      p.packed_argument = DNNL_ARG_WEIGHTS;
      packed = forward.weights_desc();
      p.arguments = {{DNNL_ARG_SRC, empty_memory(x)}, {DNNL_ARG_DST, empty_memory(y)}};
      if (bias) p.arguments.emplace(DNNL_ARG_BIAS, empty_memory(b));
      break;
    }
    case Task::backward_data: {
#if DNNL_VERSION_MAJOR >= 3
      const dnnl::convolution_backward_data::primitive_desc backward(engine(), direct, x, any, y, strides, padding, padding,
                                                                     forward, attributes);
#else
      const dnnl::convolution_backward_data::primitive_desc backward({direct, x, any, y, strides, padding, padding}, attributes,
                                                                     engine(), forward);
#endif
      p.primitive = dnnl::convolution_backward_data(backward);
      p.scratchpad = backward.scratchpad_desc();
      p.packed_argument = DNNL_ARG_WEIGHTS;
      packed = backward.weights_desc();
      p.arguments = {{DNNL_ARG_DIFF_SRC, empty_memory(x)}, {DNNL_ARG_DIFF_DST, empty_memory(y)}};
      break;
    }
    case Task::backward_weights: {
#if DNNL_VERSION_MAJOR >= 3
      const dnnl::convolution_backward_weights::primitive_desc backward(engine(), direct, x, any_gradient, b, y, strides, padding,
                                                                        padding, forward, attributes);
#else
      const dnnl::convolution_backward_weights::primitive_desc backward(
          {direct, x, any_gradient, b, y, strides, padding, padding}, attributes, engine(), forward);
#endif
      p.primitive = dnnl::convolution_backward_weights(backward);
      p.scratchpad = backward.scratchpad_desc();
      p.packed_argument = DNNL_ARG_DIFF_WEIGHTS;
      packed = backward.diff_weights_desc();
      p.arguments = {{DNNL_ARG_SRC, empty_memory(x)}, {DNNL_ARG_DIFF_DST, empty_memory(y)}};
      if (bias) p.arguments.emplace(DNNL_ARG_DIFF_BIAS, empty_memory(b));
      break;
    }
  }
  p.arguments.emplace(p.packed_argument, empty_memory(packed));
  p.arguments.emplace(DNNL_ARG_SCRATCHPAD, empty_memory(p.scratchpad));
  p.plain = empty_memory(plain);
  p.reorders = packed != plain;
  if (p.reorders) {
    const memory& argument = p.arguments.at(p.packed_argument);
    p.reorder = task == Task::backward_weights ? dnnl::reorder(argument, p.plain) : dnnl::reorder(p.plain, argument);
  }
  return p;
}

template <class T>
Prepared& prepared_conv(const ConvGeometry& g, Task task, bool bias) {
  static auto* table = new std::map<std::tuple<ConvGeometry, Task, bool>, Prepared>;
  const auto key = std::make_tuple(g, task, bias);
  auto found = table->find(key);
  if (found == table->end()) {
    try {
      found = table->emplace(key, make_conv<T>(g, task, bias)).first;
    } catch (const dnnl::error& e) {
      refuse("conv2d",
             text(g.n, "x", g.h, "x", g.w, "x", g.c_in, " to ", g.c_out, ", ", g.kh, "x", g.kw, " kernel, stride ", g.stride_h,
                  " ", g.stride_w, ", padding ", g.pad_h, " ", g.pad_w),
             e);
    }
  }
  return found->second;
}

template <class T>
void conv2d_forward(const ConvGeometry& g, T* y, const T* x, const T* w, const float* bias) {
  std::lock_guard lock(mutex());
  Prepared& p = prepared_conv<T>(g, Task::forward, bias != nullptr);
  p.set(DNNL_ARG_SRC, x);
  p.set(DNNL_ARG_DST, y);
  p.set(DNNL_ARG_BIAS, bias);
  p.run(w);
}

template <class T>
void conv2d_backward_data(const ConvGeometry& g, T* grad_x, const T* grad_y, const T* w) {
  std::lock_guard lock(mutex());
  Prepared& p = prepared_conv<T>(g, Task::backward_data, false);
  p.set(DNNL_ARG_DIFF_SRC, grad_x);
  p.set(DNNL_ARG_DIFF_DST, grad_y);
  p.run(w);
}

template <class T>
void conv2d_backward_weights(const ConvGeometry& g, float* grad_w, float* grad_bias, const T* x, const T* grad_y) {
  std::lock_guard lock(mutex());
  Prepared& p = prepared_conv<T>(g, Task::backward_weights, grad_bias != nullptr);
  p.set(DNNL_ARG_SRC, x);
  p.set(DNNL_ARG_DIFF_DST, grad_y);
  p.set(DNNL_ARG_DIFF_BIAS, grad_bias);
  p.run(grad_w);
}

// --- matrix product --------------------------------------------------------------------------------------------------

struct MatmulKey {
  MatmulGeometry g;
  float alpha;
  bool accumulate, bias;

  auto operator<=>(const MatmulKey&) const = default;
};

inline Prepared make_matmul(const MatmulKey& key) {
  const MatmulGeometry& g = key.g;
  // Batch axes of extent 1 are dropped: oneDNN's quick paths want few axes.
  const auto matrix = [&](i64 rows, i64 columns, bool transposed, const MatrixStrides& s) {
    memory::dims extents, strides;
    const auto axis = [&](i64 extent, i64 stride) {
      extents.push_back(stride == 0 ? 1 : extent);
      strides.push_back(stride == 0 ? rows * columns : stride);
    };
    if (g.batch_outer > 1) axis(g.batch_outer, s.outer);
    if (g.batch_inner > 1) axis(g.batch_inner, s.inner);
    extents.insert(extents.end(), {rows, columns});
    if (transposed) strides.insert(strides.end(), {1, s.row});
    else strides.insert(strides.end(), {s.row, 1});
    return memory::desc(extents, memory::data_type::f32, strides);
  };
  const memory::desc a = matrix(g.m, g.k, g.trans_a, g.a), b = matrix(g.k, g.n, g.trans_b, g.b);
  const memory::desc c = matrix(g.m, g.n, false, g.c);
  memory::dims bias_extents(size_t(2 + (g.batch_outer > 1) + (g.batch_inner > 1)), 1), bias_strides(bias_extents.size(), g.n);
  bias_extents.back() = g.n;
  bias_strides.back() = 1;
  const memory::desc bias = key.bias ? memory::desc(bias_extents, memory::data_type::f32, bias_strides) : memory::desc();

  auto attributes = user_scratchpad();
  dnnl::post_ops after;
#if DNNL_VERSION_MAJOR >= 3
  if (key.alpha != 1) after.append_eltwise(dnnl::algorithm::eltwise_linear, key.alpha, 0);
  if (key.accumulate) after.append_sum(1);
  attributes.set_post_ops(after);
  const dnnl::matmul::primitive_desc description(engine(), a, b, bias, c, attributes);
#else
  if (key.alpha != 1) attributes.set_output_scales(0, {key.alpha});
  if (key.accumulate) after.append_sum(1);
  attributes.set_post_ops(after);
  const dnnl::matmul::primitive_desc description({a, b, bias, c}, attributes, engine());
#endif
  Prepared p;
  p.primitive = dnnl::matmul(description);
  p.scratchpad = description.scratchpad_desc();
  p.arguments = {{DNNL_ARG_SRC, empty_memory(a)},
                 {DNNL_ARG_WEIGHTS, empty_memory(b)},
                 {DNNL_ARG_DST, empty_memory(c)},
                 {DNNL_ARG_SCRATCHPAD, empty_memory(p.scratchpad)}};
  if (key.bias) p.arguments.emplace(DNNL_ARG_BIAS, empty_memory(bias));
  return p;
}

inline void matmul(const MatmulGeometry& g, float* c, const float* a, const float* b, float alpha, bool accumulate,
                   const float* bias) {
  std::lock_guard lock(mutex());
  static auto* table = new std::map<MatmulKey, Prepared>;
  const MatmulKey key{g, alpha, accumulate, bias != nullptr};
  auto found = table->find(key);
  if (found == table->end()) {
    try {
      found = table->emplace(key, make_matmul(key)).first;
    } catch (const dnnl::error& e) {
      refuse("matmul", text(g.batch_outer, "x", g.batch_inner, " products of ", g.m, "x", g.k, " and ", g.k, "x", g.n), e);
    }
  }
  Prepared& p = found->second;
  p.set(DNNL_ARG_SRC, a);
  p.set(DNNL_ARG_WEIGHTS, b);
  p.set(DNNL_ARG_DST, c);
  p.set(DNNL_ARG_BIAS, bias);
  p.run(nullptr);
}

}  // namespace onednn

MINDGAP_INLINE std::string library_version() {
  const dnnl_version_t* v = dnnl_version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

MINDGAP_INLINE bool has_bf16() {
  static const bool present = __builtin_cpu_supports("avx512bf16");
  return present;
}

MINDGAP_INLINE void conv2d_forward(const ConvGeometry& g, float* y, const float* x, const float* w, const float* bias) {
  if (g.y_size() == 0) return;
  if (direct::convolves_best_here()) {
    if (direct::winograd_is_quicker(g)) return direct::conv2d_winograd(g, y, x, w, bias);
    return direct::conv2d_forward(g, y, x, w, bias);
  }
  onednn::conv2d_forward(g, y, x, w, bias);
}

MINDGAP_INLINE void conv2d_forward(const ConvGeometry& g, bf16* y, const bf16* x, const bf16* w, const float* bias) {
  if (g.y_size() == 0) return;
  if (has_bf16()) return onednn::conv2d_forward(g, y, x, w, bias);
  const Widened wide_x(x, g.x_size());
  const i64 inputs = g.kh * g.kw * g.c_in;
  in_parts(g.c_out, inputs, [&](i64 first, i64 count) {
    ConvGeometry part = g;
    part.c_out = count;
    const Widened wide_w(w + first * inputs, count * inputs), wide_y(part.y_size());
    conv2d_forward(part, wide_y.data(), wide_x.data(), wide_w.data(), bias ? bias + first : nullptr);
    wide_y.round(y + first, count, g.c_out);
  });
}

MINDGAP_INLINE void conv2d_backward_data(const ConvGeometry& g, float* grad_x, const float* grad_y, const float* w) {
  if (g.x_size() == 0) return;
  if (direct::convolves_best_here()) return direct::conv2d_backward_data(g, grad_x, grad_y, w);
  onednn::conv2d_backward_data(g, grad_x, grad_y, w);
}

MINDGAP_INLINE void conv2d_backward_data(const ConvGeometry& g, bf16* grad_x, const bf16* grad_y, const bf16* w) {
  if (g.x_size() == 0) return;
  if (has_bf16()) return onednn::conv2d_backward_data(g, grad_x, grad_y, w);
  const Widened wide_y(grad_y, g.y_size()), wide_w(w, g.weight_size()), wide_x(g.x_size());
  conv2d_backward_data(g, wide_x.data(), wide_y.data(), wide_w.data());
  wide_x.round(grad_x);
}

MINDGAP_INLINE void conv2d_backward_weights(const ConvGeometry& g, float* grad_w, float* grad_bias, const float* x,
                                            const float* grad_y) {
  if (g.y_size() == 0) {
    std::fill_n(grad_w, g.weight_size(), 0.f);
    if (grad_bias) std::fill_n(grad_bias, g.c_out, 0.f);
    return;
  }
  if (direct::convolves_best_here()) return direct::conv2d_backward_weights(g, grad_w, grad_bias, x, grad_y);
  onednn::conv2d_backward_weights(g, grad_w, grad_bias, x, grad_y);
}

MINDGAP_INLINE void conv2d_backward_weights(const ConvGeometry& g, float* grad_w, float* grad_bias, const bf16* x,
                                            const bf16* grad_y) {
  if (amx::takes(g) && g.y_size()) return amx::conv2d_backward_weights(g, grad_w, grad_bias, x, grad_y);
  if (has_bf16() && g.y_size()) return onednn::conv2d_backward_weights(g, grad_w, grad_bias, x, grad_y);
  const Widened wide_x(x, g.x_size()), wide_y(grad_y, g.y_size());
  conv2d_backward_weights(g, grad_w, grad_bias, wide_x.data(), wide_y.data());
}

MINDGAP_INLINE void matmul(const MatmulGeometry& g, float* c, const float* a, const float* b, float alpha, bool accumulate,
                           const float* bias) {
  if (g.batch() * g.m * g.n == 0) return;
  if (direct::runs_here()) return direct::matmul(g, c, a, b, alpha, accumulate, bias);
  onednn::matmul(g, c, a, b, alpha, accumulate, bias);
}

MINDGAP_INLINE void matmul(const MatmulGeometry& g, float* c, const bf16* a, const bf16* b, float alpha, bool accumulate,
                           const float* bias) {
  if (g.batch() * g.m * g.n == 0) return;
  if (amx::runs_here()) return amx::matmul(g, c, a, b, alpha, accumulate, bias);
  const Widened wide_a(a, span_a(g));
  // Rows of a layer's weights are outputs.
  const bool weights = g.trans_b && g.batch() == 1;
  in_parts(g.n, weights ? g.k : 0, [&](i64 first, i64 count) {
    MatmulGeometry part = g;
    part.n = count;
    const Widened wide_b(b + first * g.b.row, span_b(part));
    matmul(part, c + first, wide_a.data(), wide_b.data(), alpha, accumulate, bias ? bias + first : nullptr);
  });
}

MINDGAP_INLINE void matmul(const MatmulGeometry& g, bf16* c, const bf16* a, const bf16* b, float alpha, bool accumulate,
                           const float* bias) {
  if (g.batch() * g.m * g.n == 0) return;
  if (amx::runs_here()) return amx::matmul(g, c, a, b, alpha, accumulate, bias);
  // The dense f32 result, then added to C or put in its place, row by row: gaps between C's rows belong to others.
  MatmulGeometry dense = g;
  dense.c = {g.batch_inner * g.m * g.n, g.m * g.n, g.n};
  const Widened wide_c(g.batch() * g.m * g.n);
  matmul(dense, wide_c.data(), a, b, alpha, false, bias);
#pragma omp parallel for collapse(3)
  for (i64 outer = 0; outer < g.batch_outer; ++outer)
    for (i64 inner = 0; inner < g.batch_inner; ++inner)
      for (i64 row = 0; row < g.m; ++row) {
        const float* from = wide_c.data() + ((outer * g.batch_inner + inner) * g.m + row) * g.n;
        bf16* to = c + outer * g.c.outer + inner * g.c.inner + row * g.c.row;
        for (i64 i = 0; i < g.n; ++i) to[i] = bf16(accumulate ? float(to[i]) + from[i] : from[i]);
      }
}

MINDGAP_INLINE bool attention(const AttentionGeometry& g, float* y, float* statistics, const float* q, const float* k,
                              const float* v) {
  if (g.l * g.m < (i64(1) << 16) || !direct::runs_here()) return false;
  direct::attention(g, y, statistics, q, k, v);
  return true;
}

MINDGAP_INLINE bool attention(const AttentionGeometry& g, bf16* y, float* statistics, const bf16* q, const bf16* k,
                              const bf16* v) {
  if (g.l * g.m < (i64(1) << 16) || !direct::runs_here() || amx::runs_here()) return false;
  const i64 queries = g.n * g.l * g.heads * g.d, keys = g.n * g.m * g.heads * g.d;
  const Widened wide_q(q, queries), wide_k(k, keys), wide_v(v, keys), wide_y(queries);
  direct::attention(g, wide_y.data(), statistics, wide_q.data(), wide_k.data(), wide_v.data());
  wide_y.round(y);
  return true;
}

}  // namespace mindgap::cpu

#if defined(MINDGAP_GLUE_BUILD)
namespace mindgap {

MINDGAP_CPU_CORE()  // cpu/runtime.hpp

}  // namespace mindgap
#endif
