// Bodies of cudnn_attention.hpp. cuDNN knows attention by the graph of its parts: it recognises exactly this one (as its own
// C++ frontend builds it), down to a multiplication by one.
#pragma once

#include <mindgap/cuda/cudnn_attention.hpp>
#include <mindgap/cuda/cudnn_graph.hpp>

#include <cmath>

namespace mindgap::cuda {
namespace detail {

struct AttentionKey {
  AttentionGeometry g;
  DType type;
  bool backward;

  auto operator<=>(const AttentionKey&) const = default;

  enum Id : i64 {
    id_q = 1,
    id_k,
    id_v,
    id_y,
    id_statistics,
    id_grad_q,
    id_grad_k,
    id_grad_v,
    id_grad_y,
    id_sums,
    id_scale,
    id_one
  };

  std::string str() const {
    return text(backward ? "attention_backward " : "attention ", name(type), " ", g.n, " ", g.heads, " ", g.l, " ", g.m, " ",
                g.d);
  }

  // The gradient of the scores is as large as the probabilities that attention in two products would store, and padded. cuDNN
  // compiles each proposal that is tried, for a second or two.
  Rules rules() const { return {false, false, std::numeric_limits<i64>::max(), 2, 2}; }

  OperationGraph graph() const { return backward ? backward_graph() : forward_graph(); }

 private:
  // Tensors as cuDNN wants them, [n, heads, ...]; the strides reach the heads where they lie.
  struct Layout {
    Extents extents, strides;
  };
  Layout rows(i64 length) const { return {{g.n, g.heads, length, g.d}, {length * g.heads * g.d, g.d, g.heads * g.d, 1}}; }
  Layout columns(i64 length) const { return transposed(rows(length)); }
  Layout scores() const { return {{g.n, g.heads, g.l, g.m}, {g.heads * g.l * g.m, g.l * g.m, g.m, 1}}; }
  Layout row_values() const { return {{g.n, g.heads, g.l, 1}, {g.heads * g.l, g.l, 1, 1}}; }
  static Layout transposed(Layout a) {
    std::swap(a.extents[2], a.extents[3]);
    std::swap(a.strides[2], a.strides[3]);
    return a;
  }

  // A graph whose tensors are named by layouts.
  struct Graph : OperationGraph {
    const Descriptor& in(i64 id, DType type, const Layout& a) { return tensor(id, type, a.extents, a.strides); }
    const Descriptor& inside(DType type, const Layout& a) { return between(type, a.extents, a.strides); }
    const Descriptor& map(cudnnPointwiseMode_t mode, const Layout& a, const Descriptor& x, const Descriptor* b = nullptr,
                          DType type = DType::f32) {
      const Descriptor& y = inside(type, a);
      pointwise(mode, y, x, b);
      return y;
    }
    const Descriptor& sum(cudnnReduceTensorOp_t op, const Layout& a, const Descriptor& x) {
      const Descriptor& y = inside(DType::f32, a);
      reduce(op, y, x);
      return y;
    }
    const Descriptor& product(const Layout& a, const Descriptor& left, const Descriptor& right) {
      const Descriptor& c = inside(DType::f32, a);
      matmul(c, left, right);
      return c;
    }
    const Descriptor& transpose(DType type, const Layout& a, const Descriptor& x) {
      const Descriptor& y = inside(type, a);
      reshape(y, x);
      return y;
    }
  };

  OperationGraph forward_graph() const {
    Graph out;
    const Descriptor& q = out.in(id_q, type, rows(g.l));
    const Descriptor& k = out.in(id_k, type, columns(g.m));
    const Descriptor& v = out.in(id_v, type, rows(g.m));
    const Descriptor& scale = out.scalar(id_scale);
    const Descriptor& scaled = out.map(CUDNN_POINTWISE_MUL, scores(), out.product(scores(), q, k), &scale);
    const Descriptor& top = out.sum(CUDNN_REDUCE_TENSOR_MAX, row_values(), scaled);
    const Descriptor& e = out.map(CUDNN_POINTWISE_EXP, scores(), out.map(CUDNN_POINTWISE_SUB, scores(), scaled, &top));
    const Descriptor& total = out.sum(CUDNN_REDUCE_TENSOR_ADD, row_values(), e);
    const Descriptor& log = out.map(CUDNN_POINTWISE_LOG, row_values(), total);
    out.pointwise(CUDNN_POINTWISE_ADD, out.in(id_statistics, DType::f32, row_values()), top, &log);
    const Descriptor& p = out.map(CUDNN_POINTWISE_DIV, scores(), e, &total, type);
    out.matmul(out.in(id_y, type, rows(g.l)), p, v);
    return out;
  }

  OperationGraph backward_graph() const {
    Graph out;
    const Descriptor& q = out.in(id_q, type, rows(g.l));
    const Descriptor& k = out.in(id_k, type, columns(g.m));
    const Descriptor& v = out.in(id_v, type, columns(g.m));
    const Descriptor& y = out.in(id_y, type, rows(g.l));
    const Descriptor& grad_y = out.in(id_grad_y, type, rows(g.l));
    const Descriptor& statistics = out.in(id_statistics, DType::f32, row_values());
    const Descriptor& sums = out.in(id_sums, DType::f32, row_values());
    const Descriptor &scale = out.scalar(id_scale), &one = out.scalar(id_one);
    // sums = sum over d of grad_y y
    const Descriptor& weighted =
        out.sum(CUDNN_REDUCE_TENSOR_ADD, row_values(), out.map(CUDNN_POINTWISE_MUL, rows(g.l), grad_y, &y));
    out.pointwise(CUDNN_POINTWISE_MUL, sums, weighted, &one);
    // p = exp(scaled - statistics), grad_v = p^T grad_y
    const Descriptor& scaled = out.map(CUDNN_POINTWISE_MUL, scores(), out.product(scores(), q, k), &scale);
    const Descriptor& p = out.map(CUDNN_POINTWISE_EXP, scores(), out.map(CUDNN_POINTWISE_SUB, scores(), scaled, &statistics));
    out.matmul(out.in(id_grad_v, type, rows(g.m)), out.transpose(type, transposed(scores()), p), grad_y);
    // grad_scores = (grad_y v^T - sums) p scale, grad_k = grad_scores^T q, grad_q = grad_scores k
    const Descriptor& centred = out.map(CUDNN_POINTWISE_SUB, scores(), out.product(scores(), grad_y, v), &sums);
    const Descriptor& grad_scores =
        out.map(CUDNN_POINTWISE_MUL, scores(), out.map(CUDNN_POINTWISE_MUL, scores(), centred, &p), &scale);
    out.matmul(out.in(id_grad_k, type, rows(g.m)), out.transpose(type, transposed(scores()), grad_scores), q);
    out.matmul(out.in(id_grad_q, type, rows(g.l)), grad_scores, out.transpose(type, rows(g.m), k));
    return out;
  }
};

// Whether cuDNN may have a plan; asked first, since looking for one is slow.
inline bool may_attend(const AttentionGeometry& g, DType type, bool backward) {
  // Up to 9.15.0 the backward reads beyond the keys unless they fill its tiles.
  if (backward && cudnnGetVersion() <= 91500 && g.m % 128) return false;
  return type != DType::f32 && g.d % 8 == 0 && g.d <= 256 && g.n > 0 && g.l > 0 && g.m > 0;
}

// From Blackwell on (10.0), cuDNN adds grad_q up in another order in every run, however the graph is written.
inline bool adds_in_order() {
  static const bool answer = [] {
    int device = 0, major = 0;
    return cudaGetDevice(&device) == cudaSuccess &&
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major < 10;
  }();
  return answer;
}

}  // namespace detail

MINDGAP_INLINE bool attention_forward(Stream stream, Scratch scratch, const AttentionGeometry& g, DType type, void* y,
                                      float* statistics, const void* q, const void* k, const void* v) {
  using namespace detail;
  if (!may_attend(g, type, false)) return false;
  require_aligned("attention", {q, k, v, y, statistics});
  float scale = 1.f / std::sqrt(float(g.d));
  const Pointer pointers[] = {{AttentionKey::id_q, writable(q)},         {AttentionKey::id_k, writable(k)},
                              {AttentionKey::id_v, writable(v)},         {AttentionKey::id_y, y},
                              {AttentionKey::id_statistics, statistics}, {AttentionKey::id_scale, &scale}};
  return run_plan(stream, scratch, AttentionKey{g, type, false}, pointers);
}

MINDGAP_INLINE bool attention_backward(Stream stream, Scratch scratch, const AttentionGeometry& g, DType type, void* grad_q,
                                       void* grad_k, void* grad_v, float* sums, const void* grad_y, const void* y,
                                       const float* statistics, const void* q, const void* k, const void* v) {
  using namespace detail;
  if (!may_attend(g, type, true) || !adds_in_order()) return false;
  require_aligned("attention_backward", {grad_q, grad_k, grad_v, sums, grad_y, y, statistics, q, k, v});
  float scale = 1.f / std::sqrt(float(g.d)), one = 1.f;
  const Pointer pointers[] = {{AttentionKey::id_q, writable(q)},
                              {AttentionKey::id_k, writable(k)},
                              {AttentionKey::id_v, writable(v)},
                              {AttentionKey::id_y, writable(y)},
                              {AttentionKey::id_statistics, writable(statistics)},
                              {AttentionKey::id_grad_q, grad_q},
                              {AttentionKey::id_grad_k, grad_k},
                              {AttentionKey::id_grad_v, grad_v},
                              {AttentionKey::id_grad_y, writable(grad_y)},
                              {AttentionKey::id_sums, sums},
                              {AttentionKey::id_scale, &scale},
                              {AttentionKey::id_one, &one}};
  return run_plan(stream, scratch, AttentionKey{g, type, true}, pointers);
}

}  // namespace mindgap::cuda
