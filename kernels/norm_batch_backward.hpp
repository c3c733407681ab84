// Batch norm over all rows of x [rows, cols], backward. With s = rstd * gamma, dz the gradient of the epilogue and n rows:
//
//   grad_beta = sum dz    grad_gamma = rstd sum dz (x - mean)
//   grad_x = s (dz - sum dz / n - (x - mean) rstd^2 sum dz (x - mean) / n)        batch statistics
//   grad_x = s dz                                                                 running statistics
//
// Bytes an element of T; R is what the epilogue's gradient reads besides x (y, or one bit of it, or some of the extras), E the
// extras with a wanted gradient:
//
//   BatchNormReduce     (2 + R + E) sizeof(T): reads grad_y, x and R; leaves sums of dz and dz * (x - mean) of each chunk;
//                       writes the extras' gradients, and grad_x at once where the statistics are constants
//   BatchNormSums       combines the chunks: grad_gamma, grad_beta, and the means that the last pass subtracts
//   BatchNormBackward   (3 + R) sizeof(T): reads the same again, writes grad_x
//
// Two bodies a kernel, as in norm_batch.hpp.
#pragma once

#include <mindgap/kernels/norm_batch.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// What both passes of the backward read.
template <class F, class T, int K>
struct BatchNormSaved {
  const T* grad_y;              // [rows, cols]
  const T* x;                   // [rows, cols]; null where neither z nor a sum is wanted
  const T* y;                   // where Epilogue::reads_y: only whether it is positive
  Pointers<const T, K> extras;  // where Epilogue::reads_extra
  const u8* signs = nullptr;    // a bit for each y, as BatchNormApply leaves them, or null; for teams

  static constexpr int vec_size = vector_size<T>;

  MG_HD BatchNormSaved at(i64 offset) const {
    BatchNormSaved row{grad_y + offset, x ? x + offset : nullptr, y, extras, nullptr};
    if constexpr (Epilogue<F, K>::reads_y) row.y += offset;
    for (int k = 0; k < K; ++k)
      if (Epilogue<F, K>::reads_extra(k)) row.extras.at[k] += offset;
    return row;
  }
  // d[0] = dz, d[1 + k] = gradient of extra k, at element c of this row.
  MG_HD void vjp(i64 c, float z, float* d) const {
    float in[1 + K] = {z};
    for (int k = 0; k < K; ++k)
      if (Epilogue<F, K>::reads_extra(k)) in[1 + k] = float(extras.at[k][c]);
    float out = 0.f;
    if constexpr (Epilogue<F, K>::reads_y) out = float(y[c]);
    vjp(in, out, float(grad_y[c]), d);
  }

  // A team's: V neighbours, loaded before they are used.
  template <int V>
  struct Loaded {
    AlignedVector<T, V> grad_y, x, extras[K ? K : 1];
    u32 signs;  // bit j: y > 0
  };
  template <int V, bool NeedX, bool Signs>
  MG_HD Loaded<V> load(i64 at) const {
    Loaded<V> loaded{};
    loaded.grad_y = load_vector<V>(grad_y + at);
    if constexpr (NeedX) loaded.x = load_vector<V>(x + at);
    if constexpr (Signs) loaded.signs = signs[at / vec_size] >> (at % vec_size);  // V is a vector, or 1
    else if constexpr (Epilogue<F, K>::reads_y) loaded.signs = positive_bits(load_vector<V>(y + at));
    for (int k = 0; k < K; ++k)
      if (Epilogue<F, K>::reads_extra(k)) loaded.extras[k] = load_vector<V>(extras.at[k] + at);
    return loaded;
  }
  // d[k][j] of the V neighbours, z[j] where Epilogue::reads_z.
  template <int V>
  MG_HD static void vjp(const Loaded<V>& loaded, const float* z, float (&d)[1 + K][V]) {
    float grads[V], ins[K ? K : 1][V] = {};
    widen<V>(grads, loaded.grad_y);
    for (int k = 0; k < K; ++k)
      if (Epilogue<F, K>::reads_extra(k)) widen<V>(ins[k], loaded.extras[k]);
    for (int j = 0; j < V; ++j) {
      float in[1 + K] = {z[j]}, each[1 + K];
      for (int k = 0; k < K; ++k)
        if (Epilogue<F, K>::reads_extra(k)) in[1 + k] = ins[k][j];
      vjp(in, float(loaded.signs >> j & 1), grads[j], each);
      for (int k = 0; k <= K; ++k) d[k][j] = each[k];
    }
  }
  MG_HD bool aligned() const {
    bool fits = is_vector_aligned(grad_y) && is_vector_aligned(x);
    if constexpr (Epilogue<F, K>::reads_y) fits &= is_vector_aligned(y);
    for (int k = 0; k < K; ++k)
      if (Epilogue<F, K>::reads_extra(k)) fits &= is_vector_aligned(extras.at[k]);
    return fits;
  }

 private:
  MG_HD static void vjp(const float* in, float out, float grad, float* d) {
    for (int k = 0; k <= K; ++k) d[k] = 0.f;
    Epilogue<F, K>::vjp(in, out, grad, d);
  }
};

// Blocks that should find registers on a multiprocessor where a thread keeps `rows` numbers of each of V columns: as many as have
// the most bytes under way, and spill nothing. Four leave 64 registers a thread, three 80; addresses and vectors take some 30.
template <int V>
constexpr int blocks_at_once(int rows) {
  return V * rows > 40 ? 2 : V * rows > 32 ? 3 : rows > 2 ? 4 : 6;
}

// Sums: whether sums are wanted. WriteX: whether grad_x = scale * dz is written (constant statistics).
template <class F, class T, int K, bool Sums, bool WriteX>
struct BatchNormReduce {
  using Rule = Epilogue<F, K>;

  float* sum;                  // [chunks, cols]   of dz
  float* product;              // [chunks, cols]   of dz * (x - mean)
  T* grad_x;                   // [rows, cols]
  Pointers<T, K> grad_extras;  // [rows, cols]; null: not wanted
  BatchNormSaved<F, T, K> saved;
  BatchNormParameters parameters;
  ColumnGrid grid;

  static constexpr int vec_size = vector_size<T>;
  static constexpr int kept = int(Sums || Rule::reads_z) + int(WriteX || Rule::reads_z) + int(Rule::reads_z) +  // parameters
                              2 * int(Sums) + (Rule::reads_y ? 0 : 2 * K);  // sums, extras and their gradients
  // Sums that wait for a store of grad_x as well leave no room for another block.
  static constexpr int teams_at_once = Sums && WriteX ? (vec_size == 8 ? 2 : 3) : blocks_at_once<vec_size>(kept);

  MG_HD i64 shared_bytes() const {
    const i64 wide = (5 + K) * shared_size(grid.width() * i64(sizeof(float)));
    const i64 sums = Sums ? team_bytes<vec_size>(2, grid.width()) : 0;
    return wide < sums ? sums : wide;
  }

  MG_HD bool vectorised() const {
    bool fits = grid.in_vectors<vec_size>() && parameters.aligned() && saved.aligned() && is_vector_aligned(grad_x);
    for (int k = 0; k < K; ++k) fits &= is_vector_aligned(grad_extras.at[k]);
    return fits;
  }

  template <Block B>
  MG_HD void serial(B& block) const {
    const i64 id = block.id(), columns = grid.columns(id), repeat = grid.repeat;
    const WideParameters p(block, grid, parameters);
    float* sums = block.template shared<float>(grid.width());
    float* products = block.template shared<float>(grid.width());
    T* unwanted[K ? K : 1];
    for (int k = 0; k < K; ++k) unwanted[k] = block.template shared<T>(grid.width());
    if constexpr (Sums)
      for (i64 c = block.rank(); c < columns * repeat; c += block.size()) sums[c] = products[c] = 0.f;
    for (i64 r = 0; r < grid.wide_rows(id); ++r) {
      const i64 offset = grid.offset(id, r), n = grid.length(id, r);
      const BatchNormSaved<F, T, K> row = saved.at(offset);
      T* targets[K ? K : 1];
      for (int k = 0; k < K; ++k) targets[k] = grad_extras.at[k] ? grad_extras.at[k] + offset : unwanted[k];
      T* target = WriteX ? grad_x + offset : nullptr;
#pragma GCC ivdep
      for (i64 c = block.rank(); c < n; c += block.size()) {
        float deviation = 0.f, d[1 + K];
        if constexpr (Sums || Rule::reads_z) deviation = float(row.x[c]) - p.center[c];
        row.vjp(c, Rule::reads_z ? deviation * p.scale[c] + p.shift[c] : 0.f, d);
        if constexpr (Sums) {
          sums[c] += d[0];
          products[c] += d[0] * deviation;
        }
        if constexpr (WriteX) target[c] = T(d[0] * p.scale[c]);
        for (int k = 0; k < K; ++k) targets[k][c] = T(d[1 + k]);
      }
    }
    if constexpr (Sums) {
      block.sync();
      const i64 out = grid.chunk(id) * grid.cols + grid.first_column(id);
      for (i64 c = block.rank(); c < columns; c += block.size()) {
        sum[out + c] = fold_wide(sums, c, columns, repeat);
        product[out + c] = fold_wide(products, c, columns, repeat);
      }
    }
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    if constexpr (Rule::reads_y)
      if (saved.signs) return team<V, true>(block);
    team<V, false>(block);
  }

 private:
  template <int V, bool Signs, class B>
  MG_HD void team(B& block) const {
    using Loaded = typename BatchNormSaved<F, T, K>::template Loaded<V>;
    const i64 id = grid.blocks() - 1 - block.id(), offset = grid.offset(id, 0);
    const int columns = int(grid.columns(id)), stride = int(grid.cols), last = int(grid.chunk_rows(id)) - 1;
    const ColumnTeam<V> team(block, columns);
    float *sums = nullptr, *products = nullptr;
    if constexpr (Sums) sums = team.sums(block, columns), products = team.sums(block, columns);
    // y in vectors is only read by who has thrown its signs away: a round at a time, lest it takes registers from the others.
    constexpr int rounds = V > 1 && Rule::reads_y && !Signs ? 1 : 2;
    for (int c = team.first; c < columns; c += team.step) {
      const ColumnParameters<V> p(parameters, grid.first_column(id) + c);
      float own_sum[V] = {}, own_product[V] = {};
      for_loads<rounds>(
          team.slice, last + 1, team.slices,
          [&](int r) { return saved.template load<V, (Sums || Rule::reads_z), Signs>(offset + ((last - r) * stride + c)); },
          [&](int r, const Loaded& row) {
            const i64 at = offset + ((last - r) * stride + c);
            float deviation[V] = {}, z[V] = {}, d[1 + K][V];
            if constexpr (Sums || Rule::reads_z) widen<V>(deviation, row.x);
            for (int j = 0; j < V; ++j) {
              if constexpr (Sums || Rule::reads_z) deviation[j] -= p.center[j];
              if constexpr (Rule::reads_z) z[j] = deviation[j] * p.scale[j] + p.shift[j];
            }
            saved.template vjp<V>(row, z, d);
            for (int k = 0; k < K; ++k)
              if (grad_extras.at[k]) store<V>(grad_extras.at[k] + at, d[1 + k]);
            for (int j = 0; j < V; ++j) {
              if constexpr (Sums) {
                own_sum[j] += d[0][j];
                own_product[j] += d[0][j] * deviation[j];
              }
              if constexpr (WriteX) d[0][j] *= p.scale[j];
            }
            if constexpr (WriteX) store<V>(grad_x + at, d[0]);
          });
      if constexpr (Sums) {
        team.put(sums, columns, c, own_sum);
        team.put(products, columns, c, own_product);
      }
    }
    if constexpr (Sums) {
      block.sync();
      const i64 out = grid.chunk(id) * grid.cols + grid.first_column(id);
      for (int c = block.rank(); c < columns; c += block.size()) {
        sum[out + c] = fold_wide(sums, c, columns, team.slices);
        product[out + c] = fold_wide(products, c, columns, team.slices);
      }
    }
  }
};

// One block a group of columns.
struct BatchNormSums {
  float* grad_gamma;     // [cols] or null
  float* grad_beta;      // [cols] or null
  float* mean_grad;      // [cols]   sum dz / n
  float* slope;          // [cols]   rstd^2 sum dz (x - mean) / n
  const float* rstd;     // [cols]
  const float* sum;      // [chunks, cols]
  const float* product;  // [chunks, cols]
  i64 rows, cols, chunks;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const ColumnSums sums =
        sum_chunks<2>(block, chunks, cols, {sum, product}, [](int s, int, int, const float* v) { return double(v[s]); });
    for_group(block, cols, [&, this](i64 c, int j) {
      const double s = sums.at[0][j], p = sums.at[1][j] * double(rstd[c]);
      if (grad_gamma) grad_gamma[c] = float(p);
      if (grad_beta) grad_beta[c] = float(s);
      mean_grad[c] = float(s / double(rows));
      slope[c] = float(p * double(rstd[c]) / double(rows));
    });
  }
};

template <class F, class T, int K>
struct BatchNormBackward {
  using Rule = Epilogue<F, K>;

  T* grad_x;               // [rows, cols]; may be grad_y
  const float* mean_grad;  // [cols], as BatchNormSums leaves it
  const float* slope;      // [cols]
  BatchNormSaved<F, T, K> saved;
  BatchNormParameters parameters;
  ColumnGrid grid;

  static constexpr int vec_size = vector_size<T>;
  static constexpr int teams_at_once =
      blocks_at_once<vec_size>(4 + int(Rule::reads_z) + K);  // center, scale, mean, slope; shift; extras

  MG_HD i64 shared_bytes() const { return 5 * shared_size(grid.width() * i64(sizeof(float))); }

  MG_HD bool vectorised() const {
    return grid.in_vectors<vec_size>() && parameters.aligned() && saved.aligned() && is_vector_aligned(grad_x) &&
           is_vector_aligned(mean_grad) && is_vector_aligned(slope);
  }

  template <Block B>
  MG_HD void serial(B& block) const {
    const i64 id = block.id(), columns = grid.columns(id), first = grid.first_column(id);
    const WideParameters p(block, grid, parameters);
    float* means = block.template shared<float>(grid.width());
    float* slopes = block.template shared<float>(grid.width());
    fill_wide(block, means, columns, grid.repeat, [this, first](i64 c) { return mean_grad[first + c]; });
    fill_wide(block, slopes, columns, grid.repeat, [this, first](i64 c) { return slope[first + c]; });
    block.sync();
    for (i64 r = 0; r < grid.wide_rows(id); ++r) {
      const i64 offset = grid.offset(id, r), n = grid.length(id, r);
      const BatchNormSaved<F, T, K> row = saved.at(offset);
      T* target = grad_x + offset;
#pragma GCC ivdep
      for (i64 c = block.rank(); c < n; c += block.size()) {
        float d[1 + K];
        const float deviation = float(row.x[c]) - p.center[c];
        row.vjp(c, Rule::reads_z ? deviation * p.scale[c] + p.shift[c] : 0.f, d);
        target[c] = T(p.scale[c] * (d[0] - means[c] - deviation * slopes[c]));
      }
    }
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    using Loaded = typename BatchNormSaved<F, T, K>::template Loaded<V>;
    const i64 id = block.id(), offset = grid.offset(id, 0);
    const int columns = int(grid.columns(id)), stride = int(grid.cols);
    const ColumnTeam<V> team(block, columns);
    for (int c = team.first; c < columns; c += team.step) {
      const i64 column = grid.first_column(id) + c;
      const ColumnParameters<V> p(parameters, column);
      float means[V], slopes[V];
      load<V>(means, mean_grad + column);
      load<V>(slopes, slope + column);
      for_loads<2>(
          team.slice, int(grid.chunk_rows(id)), team.slices,
          [&](int r) { return saved.template load<V, true, false>(offset + (r * stride + c)); },
          [&](int r, const Loaded& row) {
            float deviation[V], z[V] = {}, d[1 + K][V], out[V];
            widen<V>(deviation, row.x);
            for (int j = 0; j < V; ++j) {
              deviation[j] -= p.center[j];
              if constexpr (Rule::reads_z) z[j] = deviation[j] * p.scale[j] + p.shift[j];
            }
            saved.template vjp<V>(row, z, d);
            for (int j = 0; j < V; ++j) out[j] = p.scale[j] * (d[0][j] - means[j] - deviation[j] * slopes[j]);
            store<V>(grad_x + offset + (r * stride + c), out);
          });
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
