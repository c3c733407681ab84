// Elementwise kernels made from a lambda: y = f(a, b, ...) and the gradients of its inputs, one pass each.
//
// The output is seen as rows of `cols` elements, and each operand says how it is spread over them:
//   Dense   one value an element                              bytes moved: all of it
//   Row     one value a column; with `rows_per_outer` rows sharing it ([C] for all rows, [N, C] for the rows of image n)
//   Value   a number, the same for all elements
// Gradients of rows and scalars are sums over rows: every block leaves its partial sums, reduce_rows (reduce.hpp) adds
// them in a fixed order, so that the result does not depend on the number of threads.
//
// A team (a GPU's block) takes the elements of its block in vectors; where rows matter, a thread owns a vector of columns for all
// rows of the block, so that rows, scalars and their sums are in its registers (ColumnTeam).
#pragma once

#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/expression.hpp>
#include <mindgap/kernels/pack.hpp>

#include <tuple>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// An operand serves the CPU by row() and at(), element by element. A thread of a team loads a vector of a dense operand, and
// keeps what hold<V>() gives, V values for all its rows, of any other.
template <class T>
struct DenseOperand {
  using element = T;
  static constexpr bool dense = true, reduced = false, by_row = false;
  const T* data;  // [rows, cols]
  MG_HD const T* row(i64 r, i64 cols) const { return data + r * cols; }
  MG_HD static float at(const T* row, i64 c) { return float(row[c]); }
};
template <class T>
struct RowOperand {
  using element = T;
  static constexpr bool dense = false, reduced = true, by_row = true;
  const T* data;       // [rows / rows_per_outer, cols]
  i64 rows_per_outer;  // how many consecutive rows share one row of data
  MG_HD const T* row(i64 r, i64 cols) const { return data + r / rows_per_outer * cols; }
  MG_HD static float at(const T* row, i64 c) { return float(row[c]); }
  template <int V>
  MG_HD AlignedVector<float, V> hold(i64 r, i64 c, i64 cols) const {
    AlignedVector<float, V> in_registers;
    load<V>(in_registers.element, row(r, cols) + c);
    return in_registers;
  }
};
template <class T>
struct ScalarOperand {
  using element = T;
  static constexpr bool dense = false, reduced = true, by_row = false;
  const T* data;  // one element
  MG_HD const T* row(i64, i64) const { return data; }
  MG_HD static float at(const T* row, i64) { return float(row[0]); }
  template <int V>
  MG_HD AlignedVector<float, V> hold(i64, i64, i64) const {
    return broadcast<V>(float(*data));
  }
};
struct ValueOperand {
  using element = float;
  static constexpr bool dense = false, reduced = false, by_row = false;
  float number;
  MG_HD float row(i64, i64) const { return number; }
  MG_HD static float at(float number, i64) { return number; }
  template <int V>
  MG_HD AlignedVector<float, V> hold(i64, i64, i64) const {
    return broadcast<V>(number);
  }
};

struct Nothing {};

// What a thread keeps of an operand, what it loads for V elements, and the V values that both make. An operand that nobody reads
// (Read = false) is not touched.
template <int V, bool Read = true, class Operand>
MG_HD auto in_registers(const Operand& operand, i64 r, i64 c, i64 cols) {
  if constexpr (Read && !Operand::dense) return operand.template hold<V>(r, c, cols);
  else return Nothing{};
}
template <int V, bool Read = true, class Operand>
MG_HD auto fetched(const Operand& operand, i64 at) {
  if constexpr (Read && Operand::dense) return load_vector<V>(operand.data + at);
  else return Nothing{};
}
template <int V>
MG_HD void values_of(float* to, const AlignedVector<float, V>& in_registers, Nothing) {
  for (int j = 0; j < V; ++j) to[j] = in_registers.element[j];
}
template <int V, class T>
MG_HD void values_of(float* to, Nothing, const AlignedVector<T, V>& fetched) {
  widen<V>(to, fetched);
}
template <int V>
MG_HD void values_of(float* to, Nothing, Nothing) {
  for (int j = 0; j < V; ++j) to[j] = 0.f;
}

template <class Operand>
MG_HD bool is_aligned(const Operand& operand) {
  if constexpr (Operand::dense || Operand::by_row) return is_vector_aligned(operand.data);
  else return true;
}

// How a grid covers [rows, cols]: block b does rows [b * rows_per_block, ...) within one outer slice, so that a partial
// sum never mixes two outer slices. The last row may be short (`total` elements in all) when no operand is a row.
struct RowGrid {
  i64 total, cols;
  i64 outer, rows_per_outer;  // outer slices, rows of each
  i64 rows_per_block, blocks_per_outer;

  i64 blocks() const { return outer * blocks_per_outer; }

  MG_HD i64 first_row(i64 block) const {  // in 32 bits: a division of 64 takes a GPU a hundred cycles
    const u32 slice = u32(block) / u32(blocks_per_outer);
    return slice * rows_per_outer + u32(block) % u32(blocks_per_outer) * rows_per_block;
  }
  MG_HD i64 last_row(i64 block) const {
    const i64 end = (u32(block) / u32(blocks_per_outer) + i64(1)) * rows_per_outer, mine = first_row(block) + rows_per_block;
    return mine < end ? mine : end;
  }
  MG_HD i64 length(i64 row) const {
    const i64 left = total - row * cols;
    return left < cols ? left : cols;
  }
  // Of a block, as one stretch.
  MG_HD i64 elements(i64 block) const {
    const i64 left = total - first_row(block) * cols, mine = (last_row(block) - first_row(block)) * cols;
    return left < mine ? left : mine;
  }
};

// y[r, c] = f(operands at (r, c))          reads every dense operand once, writes y
template <class F, class TY, class... Operands>
struct Pointwise {
  using Function = Traced<F, int(sizeof...(Operands))>;
  static constexpr int vec_size = vector_size<TY, typename Operands::element...>;

  TY* y;  // [rows, cols]
  RowGrid grid;
  Pack<Operands...> operands;

  MG_HD bool vectorised() const { return aligned(all); }

  template <Block B>
  MG_HD void serial(B& block) const {
    for (i64 r = grid.first_row(block.id()); r < grid.last_row(block.id()); ++r) row(block, r, all);
  }
  template <int V, Block B>
  MG_HD void team(B& block) const {
    team<V>(block, all);
  }

 private:
  static constexpr std::index_sequence_for<Operands...> all{};

  template <class B, size_t... I>
  MG_HD void row(B& block, i64 r, std::index_sequence<I...>) const {
    const auto rows = pack(get<I>(operands).row(r, grid.cols)...);
    TY* out = y + r * grid.cols;
    const i64 n = grid.length(r);
#pragma GCC ivdep
    for (i64 c = block.rank(); c < n; c += block.size()) {
      const float in[] = {Operands::at(get<I>(rows), c)...};
      out[c] = TY(Function::value(in));
    }
  }

  template <size_t... I>
  MG_HD bool aligned(std::index_sequence<I...>) const {
    return grid.cols % vec_size == 0 && is_vector_aligned(y) && (is_aligned(get<I>(operands)) && ...);
  }

  template <int V, class B, size_t... I>
  MG_HD void team(B& block, std::index_sequence<I...>) const {
    const i64 first_row = grid.first_row(block.id()), begin = first_row * grid.cols;
    if constexpr ((Operands::by_row || ...)) {
      const int cols = int(grid.cols), rows = int(grid.last_row(block.id()) - first_row);
      const ColumnTeam<V> team(block, cols);
      for (int c = team.first; c < cols; c += team.step)
        run<V>(begin + c, first_row, c, cols, team.slice, rows, team.slices, all);
    } else {
      const int n = int(grid.elements(block.id()));
      run<V>(begin, 0, 0, V, block.rank(), n / V, block.size(), all);
      if constexpr (V > 1) run<1>(begin + n / V * V, 0, 0, 1, block.rank(), n % V, block.size(), all);
    }
  }

  // V elements at begin + i * stride, for i = first, first + step, ... below end, of rows that share row operand (r, c).
  template <int V, size_t... I>
  MG_HD void run(i64 begin, i64 r, i64 c, int stride, int first, int end, int step, std::index_sequence<I...>) const {
    const auto registers = pack(in_registers<V>(get<I>(operands), r, c, grid.cols)...);
    for_loads<rounds_in_flight((int(Operands::dense) + ...))>(
        first, end, step, [&](int i) { return pack(fetched<V>(get<I>(operands), begin + i * stride)...); },
        [&](int i, const auto& fetched) {
          float values[sizeof...(I)][V], out[V];
          (values_of<V>(values[I], get<I>(registers), get<I>(fetched)), ...);
          for (int j = 0; j < V; ++j) {
            const float in[] = {values[I][j]...};
            out[j] = Function::value(in);
          }
          store<V>(y + begin + i * stride, out);
        });
  }
};

// grad[k][r, c] = grad_y[r, c] * df/d(operand k); for reduced operands the sum over the block's rows goes to
// partial[k][block, c]. A null pointer means: not wanted. Operands that Traced::reads does not name are not touched.
//
// Reads grad_y and every dense operand of reads once, writes every wanted dense gradient. The CPU's inner loop has no branches,
// so that it vectorises: what nobody wants goes to a row of shared memory.
template <class F, class TY, class... Operands>
struct PointwiseBackward {
  static constexpr int K = sizeof...(Operands);
  using Function = Traced<F, K>;
  template <size_t I>
  using Operand = std::tuple_element_t<I, std::tuple<Operands...>>;
  static constexpr int vec_size = vector_size<TY, typename Operands::element...>;
  static constexpr bool any_reduced = (Operands::reduced || ...);

  const TY* grad_y;  // [rows, cols]
  RowGrid grid;
  Pack<Operands...> operands;
  Pack<typename Operands::element*...> grads;  // of dense operands, [rows, cols]
  float* partials[K];                          // of reduced operands, [blocks, cols]

  MG_HD i64 shared_bytes() const {
    const i64 rows = K * shared_size(grid.cols * i64(sizeof(float)));
    const i64 sums = team_bytes<vec_size>((int(Operands::reduced) + ...), grid.cols);
    return rows < sums ? sums : rows;
  }

  MG_HD bool vectorised() const { return aligned(all); }

  template <Block B>
  MG_HD void serial(B& block) const {
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

  template <int V, Block B>
  MG_HD void team(B& block) const {
    team<V>(block, all);
  }

 private:
  static constexpr std::index_sequence_for<Operands...> all{};

  template <size_t I>
  static constexpr bool read = (Function::reads >> I) & 1;

  template <size_t I>
  MG_HD auto source(i64 r) const {
    if constexpr (read<I>) return get<I>(operands).row(r, grid.cols);
    else return nullptr;
  }
  template <size_t I>
  MG_HD static float value(const auto& row, i64 c) {
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
  MG_HD static void put(auto* row, i64 c, float value) {
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
      const float in[] = {value<I>(get<I>(sources), c)...};
      float d[K] = {};
      Function::vjp(in, float(g[c]), d);
      (put<I>(get<I>(targets), c, d[I]), ...);
    }
  }

  template <size_t... I>
  MG_HD bool aligned(std::index_sequence<I...>) const {
    return grid.cols % vec_size == 0 && is_vector_aligned(grad_y) && ((!read<I> || is_aligned(get<I>(operands))) && ...) &&
           (is_vector_aligned(get<I>(grads)) && ...);
  }

  template <int V, class B, size_t... I>
  MG_HD void team(B& block, std::index_sequence<I...>) const {
    const i64 first_row = grid.first_row(block.id()), begin = first_row * grid.cols;
    if constexpr (any_reduced) {
      const int cols = int(grid.cols), rows = int(grid.last_row(block.id()) - first_row);
      const ColumnTeam<V> team(block, cols);
      float* sums[] = {(Operands::reduced ? team.sums(block, cols) : nullptr)...};
      for (int c = team.first; c < cols; c += team.step) {
        float own[K][V] = {};
        run<V>(own, begin + c, first_row, c, cols, team.slice, rows, team.slices, all);
        ((Operands::reduced ? team.put(sums[I], cols, c, own[I]) : void()), ...);
      }
      block.sync();
      for (int k = 0; k < K; ++k)
        if (partials[k])
          for (int c = block.rank(); c < cols; c += block.size())
            partials[k][block.id() * cols + c] = fold_wide(sums[k], c, cols, team.slices);
    } else {
      float own[K][V];
      const int n = int(grid.elements(block.id()));
      run<V>(own, begin, 0, 0, V, block.rank(), n / V, block.size(), all);
      if constexpr (V > 1) {
        float one[K][1];
        run<1>(one, begin + n / V * V, 0, 0, 1, block.rank(), n % V, block.size(), all);
      }
    }
  }

  // As Pointwise::run; the gradients of reduced operands are added to own[k].
  template <int V, size_t... I>
  MG_HD void run(float (&own)[K][V], i64 begin, i64 r, i64 c, int stride, int first, int end, int step,
                 std::index_sequence<I...>) const {
    const auto registers = pack(in_registers<V, read<I>>(get<I>(operands), r, c, grid.cols)...);
    for_loads<rounds_in_flight(1 + (int(Operands::dense) + ...))>(
        first, end, step,
        [&](int i) {
          return pack(load_vector<V>(grad_y + begin + i * stride),
                      pack(fetched<V, read<I>>(get<I>(operands), begin + i * stride)...));
        },
        [&](int i, const auto& fetched) {
          float g[V], values[K][V], d[K][V];
          widen<V>(g, get<0>(fetched));
          (values_of<V>(values[I], get<I>(registers), get<I>(get<1>(fetched))), ...);
          for (int j = 0; j < V; ++j) {
            const float in[] = {values[I][j]...};
            float each[K] = {};
            Function::vjp(in, g[j], each);
            for (int k = 0; k < K; ++k) d[k][j] = each[k];
          }
          (keep<I>(own[I], d[I], begin + i * stride), ...);
        });
  }
  template <size_t I, int V>
  MG_HD void keep(float (&own)[V], const float (&d)[V], i64 at) const {
    if constexpr (Operand<I>::reduced) {
      for (int j = 0; j < V; ++j) own[j] += d[j];
    } else if constexpr (Operand<I>::dense) {
      if (auto* grad = get<I>(grads)) store<V>(grad + at, d);
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
