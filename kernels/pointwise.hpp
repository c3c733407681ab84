// Elementwise kernels made from a lambda: y = f(a, b, ...) and the gradients of its inputs, one pass each.
//
// The output is seen as rows of `cols` elements, and each operand says how it is spread over them:
//   Dense   one value an element                              bytes moved: all of it
//   Row     one value a column; with `rows_per_outer` rows sharing it ([C] for all rows, [N, C] for the rows of image n)
//   Value   a number, the same for all elements
// Gradients of rows and scalars are sums over rows: every block leaves its partial sums, ReduceRows (reduce.hpp) adds
// them in a fixed order, so that the result does not depend on the number of threads.
#pragma once

#include <mindgap/kernels/block.hpp>
#include <mindgap/kernels/expression.hpp>
#include <mindgap/kernels/pack.hpp>

#include <tuple>

namespace mindgap {

template <class T>
struct DenseOperand {
  using element = T;
  static constexpr bool reduced = false, by_row = false;
  const T* data;  // [rows, cols]
  MG_HD const T* row(i64 r, i64 cols) const { return data + r * cols; }
  MG_HD static float at(const T* row, i64 c) { return float(row[c]); }
};
template <class T>
struct RowOperand {
  using element = T;
  static constexpr bool reduced = true, by_row = true;
  const T* data;       // [rows / rows_per_outer, cols]
  i64 rows_per_outer;  // how many consecutive rows share one row of data
  MG_HD const T* row(i64 r, i64 cols) const { return data + r / rows_per_outer * cols; }
  MG_HD static float at(const T* row, i64 c) { return float(row[c]); }
};
template <class T>
struct ScalarOperand {
  using element = T;
  static constexpr bool reduced = true, by_row = false;
  const T* data;  // one element
  MG_HD const T* row(i64, i64) const { return data; }
  MG_HD static float at(const T* row, i64) { return float(row[0]); }
};
struct ValueOperand {
  using element = float;
  static constexpr bool reduced = false, by_row = false;
  float number;
  MG_HD float row(i64, i64) const { return number; }
  MG_HD static float at(float number, i64) { return number; }
};

// How a grid covers [rows, cols]: block b does rows [b * rows_per_block, ...) within one outer slice, so that a partial
// sum never mixes two outer slices. The last row may be short (`total` elements in all) when no operand is a row.
struct RowGrid {
  i64 total, cols;
  i64 outer, rows_per_outer;  // outer slices, rows of each
  i64 rows_per_block, blocks_per_outer;

  i64 blocks() const { return outer * blocks_per_outer; }

  MG_HD i64 first_row(i64 block) const {
    return block / blocks_per_outer * rows_per_outer + block % blocks_per_outer * rows_per_block;
  }
  MG_HD i64 last_row(i64 block) const {
    const i64 end = (block / blocks_per_outer + 1) * rows_per_outer, mine = first_row(block) + rows_per_block;
    return mine < end ? mine : end;
  }
  MG_HD i64 length(i64 row) const {
    const i64 left = total - row * cols;
    return left < cols ? left : cols;
  }
};

// y[r, c] = f(operands at (r, c))
template <class F, class TY, class... Operands>
struct Pointwise {
  TY* y;  // [rows, cols]
  RowGrid grid;
  Pack<Operands...> operands;

  template <Block B>
  MG_HD void operator()(B& block) const {
    for (i64 r = grid.first_row(block.id()); r < grid.last_row(block.id()); ++r)
      row(block, r, std::index_sequence_for<Operands...>{});
  }

 private:
  template <class B, size_t... I>
  MG_HD void row(B& block, i64 r, std::index_sequence<I...>) const {
    using Function = Traced<F, int(sizeof...(Operands))>;
    const auto rows = pack(get<I>(operands).row(r, grid.cols)...);
    TY* out = y + r * grid.cols;
    const i64 n = grid.length(r);
#pragma GCC ivdep
    for (i64 c = block.rank(); c < n; c += block.size()) {
      const float in[] = {Operands::at(get<I>(rows), c)...};
      out[c] = TY(Function::value(in));
    }
  }
};

// grad[k][r, c] = grad_y[r, c] * df/d(operand k); for reduced operands the sum over the block's rows goes to
// partial[k][block, c]. A null pointer means: not wanted. Operands that Traced::reads does not name are not touched.
//
// The inner loop has no branches, so that it vectorises: what nobody wants goes to a row of shared memory.
template <class F, class TY, class... Operands>
struct PointwiseBackward {
  static constexpr int K = sizeof...(Operands);
  using Function = Traced<F, K>;
  template <size_t I>
  using Operand = std::tuple_element_t<I, std::tuple<Operands...>>;

  const TY* grad_y;  // [rows, cols]
  RowGrid grid;
  Pack<Operands...> operands;
  Pack<typename Operands::element*...> grads;  // of dense operands, [rows, cols]
  float* partials[K];                          // of reduced operands, [blocks, cols]

  MG_HD i64 shared_bytes() const { return K * shared_size(grid.cols * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    float* rows[K];  // sums of reduced operands, scratch of unwanted dense ones; each thread owns its columns
    for (int k = 0; k < K; ++k) {
      rows[k] = block.template shared<float>(grid.cols);
      for (i64 c = block.rank(); c < grid.cols; c += block.size()) rows[k][c] = 0.f;
    }
    for (i64 r = grid.first_row(block.id()); r < grid.last_row(block.id()); ++r)
      row(block, r, rows, std::make_index_sequence<K>{});
    for (int k = 0; k < K; ++k)
      if (partials[k])
        for (i64 c = block.rank(); c < grid.cols; c += block.size()) partials[k][block.id() * grid.cols + c] = rows[k][c];
  }

 private:
  template <size_t I>
  static constexpr bool read = (Function::reads >> I) & 1;

  template <size_t I>
  MG_HD auto source(i64 r) const {
    if constexpr (read<I>) return get<I>(operands).row(r, grid.cols);
    else return nullptr;
  }
  template <size_t I>
  MG_HD static float load(const auto& row, i64 c) {
    if constexpr (read<I>) return Operand<I>::at(row, c);
    else return 0.f;
  }
  template <size_t I>
  MG_HD auto target(i64 r, float* row) const {
    if constexpr (Operand<I>::reduced || std::is_same_v<Operand<I>, ValueOperand>) {
      return row;
    } else {
      auto* grad = get<I>(grads);
      return grad ? grad + r * grid.cols : reinterpret_cast<typename Operand<I>::element*>(row);
    }
  }
  template <size_t I>
  MG_HD static void store(auto* row, i64 c, float value) {
    if constexpr (Operand<I>::reduced) row[c] += value;
    else row[c] = typename Operand<I>::element(value);
  }

  template <class B, size_t... I>
  MG_HD void row(B& block, i64 r, float* const* rows, std::index_sequence<I...>) const {
    const auto sources = pack(source<I>(r)...);
    const auto targets = pack(target<I>(r, rows[I])...);
    const TY* g = grad_y + r * grid.cols;
    const i64 n = grid.length(r);
#pragma GCC ivdep
    for (i64 c = block.rank(); c < n; c += block.size()) {
      const float in[] = {load<I>(get<I>(sources), c)...};
      float d[K] = {};
      Function::pull(in, float(g[c]), d);
      (store<I>(get<I>(targets), c, d[I]), ...);
    }
  }
};

}  // namespace mindgap
