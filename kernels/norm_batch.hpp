// Batch norm over all rows of x [rows, cols], forward: statistics and y = epilogue((x - mean) * rstd * gamma + beta, extras...).
// The backward is norm_batch_backward.hpp. Bytes an element of T with E extras:
//
//   BatchMoments      sizeof(T): reads x once. Mean and sum of squared deviations of each chunk of rows, on the CPU in two
//                     passes over the chunk, which stays in the cache, three where it lies far from zero (lies_far, rows.hpp); a
//                     team (team_moments) in one
//   BatchStatistics   combines the chunks (Chan, Golub and LeVeque, 1979) in a fixed order, in f64; moves the running averages
//   BatchNormApply    (2 + E) sizeof(T): reads x and the extras, writes y; where the backward reads but the sign of y, a bit of
//                     each as well
//
// A kernel that passes over the data has two bodies with the same scalar expressions: serial(), the CPU's, whose loops over wide
// rows become vectors, and team(), a GPU's, whose threads own columns (columns.hpp). Where channels are no multiple of a vector,
// or a tensor is not aligned to one, a team moves single elements.
#pragma once

#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/epilogue.hpp>
#include <mindgap/kernels/rows.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

template <class T>
struct BatchMoments {
  float* mean;  // [chunks, cols]
  float* m2;    // [chunks, cols]   sum of (x - mean)^2
  const T* x;   // [rows, cols]
  ColumnGrid grid;
  float eps = 0;  // of the norm: deviations far below its root do not matter

  static constexpr int vec_size = vector_size<T>;
  static constexpr int teams_at_once =
      vec_size == 8 ? 4 : 5;  // pivots and two sums of 8 columns are 24 of 64 registers, four vectors 16

  MG_HD i64 shared_bytes() const { return team_bytes<vec_size>(2, grid.width()); }

  MG_HD bool vectorised() const { return grid.in_vectors<vec_size>() && is_vector_aligned(x); }

  template <Block B>
  MG_HD void serial(B& block) const {
    const i64 id = block.id(), columns = grid.columns(id), repeat = grid.repeat, width = columns * repeat;
    float* __restrict__ center = block.template shared<float>(grid.width());
    float* __restrict__ sum = block.template shared<float>(grid.width());
    for (i64 c = block.rank(); c < width; c += block.size()) sum[c] = 0.f;
    for (i64 r = 0; r < grid.wide_rows(id); ++r) {
      const T* row = x + grid.offset(id, r);
      const i64 n = grid.length(id, r);
      for (i64 c = block.rank(); c < n; c += block.size()) sum[c] += float(row[c]);
    }
    block.sync();
    const float scale = 1.f / float(grid.chunk_rows(id));
    fill_wide(block, center, columns, repeat, [=](i64 c) { return scale * fold_wide(sum, c, columns, repeat); });
    block.sync();
    for (i64 c = block.rank(); c < width; c += block.size()) sum[c] = 0.f;
    for (i64 r = 0; r < grid.wide_rows(id); ++r) {
      const T* row = x + grid.offset(id, r);
      const i64 n = grid.length(id, r);
      for (i64 c = block.rank(); c < n; c += block.size()) {
        const float d = float(row[c]) - center[c];
        sum[c] += d * d;
      }
    }
    block.sync();
    const i64 out = grid.chunk(id) * grid.cols + grid.first_column(id);
    const float n = float(grid.chunk_rows(id));
    int far = 0;
    for (i64 c = block.rank(); c < columns; c += block.size()) {
      mean[out + c] = center[c];
      m2[out + c] = fold_wide(sum, c, columns, repeat);
      far += lies_far(center[c], m2[out + c], n, eps);
    }
    if (block.reduce(far, Sum{})) correct(block, center, sum);
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    const i64 id = grid.blocks() - 1 - block.id(), out = grid.chunk(id) * grid.cols + grid.first_column(id);
    team_moments<V>(block, mean + out, m2 + out, x + grid.offset(id, 0), int(grid.chunk_rows(id)), int(grid.columns(id)),
                    int(grid.cols));
  }

 private:
  // The columns of a block that lie far from zero. sum: room for it.
  template <Block B>
  MG_HD void correct(B& block, const float* center, float* sum) const {
    const i64 id = block.id(), columns = grid.columns(id), out = grid.chunk(id) * grid.cols + grid.first_column(id);
    for (i64 c = block.rank(); c < columns * grid.repeat; c += block.size()) sum[c] = 0.f;
    for (i64 r = 0; r < grid.wide_rows(id); ++r) {
      const T* row = x + grid.offset(id, r);
      const i64 n = grid.length(id, r);
      for (i64 c = block.rank(); c < n; c += block.size()) sum[c] += float(row[c]) - center[c];
    }
    block.sync();
    const float n = float(grid.chunk_rows(id));
    for (i64 c = block.rank(); c < columns; c += block.size()) {
      if (!lies_far(center[c], m2[out + c], n, eps)) continue;
      const float of_all = fold_wide(sum, c, columns, grid.repeat), shift = of_all / n;
      mean[out + c] += shift;
      m2[out + c] = Max{}(m2[out + c] - of_all * shift, 0.f);
    }
  }
};

// Moments of all rows from the sums of columns and of their squares, in place: n (sum x^2 / n - mean^2) loses digits where the
// mean is far greater than the deviation, which the ways above do not. For libraries that give nothing else.
struct MomentsOfSums {
  static constexpr int per_block = 256;

  float* mean;  // [cols]   read: sum x
  float* m2;    // [cols]   read: sum x^2
  i64 rows, cols;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * per_block, end = begin + per_block < cols ? begin + per_block : cols;
    for (i64 c = begin + block.rank(); c < end; c += block.size()) {
      const float sum = mean[c], average = sum / float(rows);
      mean[c] = average;
      m2[c] = Max{}(m2[c] - sum * average, 0.f);
    }
  }
};

// One block a group of columns.
struct BatchStatistics {
  float* mean;              // [cols]
  float* rstd;              // [cols]
  float* running_mean;      // [cols] or null: running += momentum * (new - running)
  float* running_variance;  // [cols] or null: of the unbiased variance
  const float* chunk_mean;  // [chunks, cols]
  const float* chunk_m2;
  ColumnGrid grid;
  float eps, momentum;

  template <Block B>
  MG_HD void operator()(B& block) const {
    ColumnSums m = sum_chunks<1>(block, grid.chunks, grid.cols, {chunk_mean},
                                 [this](int, int k, int, const float* v) { return double(grid.rows_of_chunk(k)) * v[0]; });
    for (double& sum : m.at[0]) sum /= double(grid.rows);
    const ColumnSums m2 =
        sum_chunks<1>(block, grid.chunks, grid.cols, {chunk_m2, chunk_mean}, [&, this](int, int k, int j, const float* v) {
          const double d = v[1] - m.at[0][j];
          return v[0] + double(grid.rows_of_chunk(k)) * d * d;
        });
    for_group(block, grid.cols, [&, this](i64 c, int j) {
      mean[c] = float(m.at[0][j]);
      rstd[c] = float(1. / sqrt(m2.at[0][j] / double(grid.rows) + double(eps)));
      if (running_mean) {
        running_mean[c] += momentum * (float(m.at[0][j]) - running_mean[c]);
        running_variance[c] += momentum * (float(m2.at[0][j] / double(grid.rows - 1)) - running_variance[c]);
      }
    });
  }
};

// The affine map of a norm, a row a parameter: z = (x - center) * scale + shift.
struct BatchNormParameters {
  const float* mean;   // [cols]
  const float* rstd;   // [cols]
  const float* gamma;  // [cols]
  const float* beta;   // [cols]

  MG_HD bool aligned() const {
    return is_vector_aligned(mean) && is_vector_aligned(rstd) && is_vector_aligned(gamma) && is_vector_aligned(beta);
  }
};

template <class T, int K>
struct Pointers {
  T* at[K ? K : 1];
};

// What a thread of a team keeps of them: V columns from `first` on.
template <int V>
struct ColumnParameters {
  float center[V], scale[V], shift[V];

  MG_HD ColumnParameters(const BatchNormParameters& p, i64 first) {
    load<V>(center, p.mean + first);
    load<V>(scale, p.rstd + first);
    load<V>(shift, p.gamma + first);
    for (int j = 0; j < V; ++j) scale[j] *= shift[j];
    load<V>(shift, p.beta + first);
  }
};

// Rows of shared memory with the parameters of a block's wide columns.
struct WideParameters {
  const float *center, *scale, *shift;

  template <class B>
  MG_HD WideParameters(B& block, const ColumnGrid& grid, const BatchNormParameters& p) {
    const i64 columns = grid.columns(block.id()), first = grid.first_column(block.id());
    float* rows[3];
    for (float*& row : rows) row = block.template shared<float>(grid.width());
    fill_wide(block, rows[0], columns, grid.repeat, [=](i64 c) { return p.mean[first + c]; });
    fill_wide(block, rows[1], columns, grid.repeat, [=](i64 c) { return p.rstd[first + c] * p.gamma[first + c]; });
    fill_wide(block, rows[2], columns, grid.repeat, [=](i64 c) { return p.beta[first + c]; });
    block.sync();
    center = rows[0], scale = rows[1], shift = rows[2];
  }
};

template <class F, class T, int K>
struct BatchNormApply {
  T* y;        // [rows, cols]; may be x
  const T* x;  // [rows, cols]
  Pointers<const T, K> extras;
  BatchNormParameters parameters;
  ColumnGrid grid;
  u8* signs = nullptr;  // [rows * cols / vector] or null: bit j of each: y > 0 in element j of a vector. Only where vectorised()

  static constexpr int vec_size = vector_size<T>;
  static_assert(vec_size <= 8);
  static constexpr int teams_at_once =
      vec_size == 8 ? 4 : 5;  // the parameters of 8 columns are 24 of 64 registers, four vectors 16

  MG_HD bool vectorised() const {
    bool fits = grid.in_vectors<vec_size>() && parameters.aligned() && is_vector_aligned(x) && is_vector_aligned(y);
    for (int k = 0; k < K; ++k) fits &= is_vector_aligned(extras.at[k]);
    return fits;
  }

  MG_HD i64 shared_bytes() const { return 3 * shared_size(grid.width() * i64(sizeof(float))); }

  template <Block B>
  MG_HD void serial(B& block) const {
    const i64 id = block.id();
    const WideParameters p(block, grid, parameters);
    for (i64 r = 0; r < grid.wide_rows(id); ++r) {
      const i64 offset = grid.offset(id, r), n = grid.length(id, r);
      Pointers<const T, K> extra;
      for (int k = 0; k < K; ++k) extra.at[k] = extras.at[k] + offset;
      const T* in_row = x + offset;
      T* out = y + offset;
#pragma GCC ivdep
      for (i64 c = block.rank(); c < n; c += block.size()) {
        float in[1 + K];
        in[0] = (float(in_row[c]) - p.center[c]) * p.scale[c] + p.shift[c];
        for (int k = 0; k < K; ++k) in[1 + k] = float(extra.at[k][c]);
        out[c] = T(Epilogue<F, K>::value(in));
      }
    }
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    struct Row {
      AlignedVector<T, V> in[1 + K];
    };
    const i64 id = block.id(), offset = grid.offset(id, 0);
    const int columns = int(grid.columns(id)), stride = int(grid.cols);
    const ColumnTeam<V> team(block, columns);
    for (int c = team.first; c < columns; c += team.step) {
      const ColumnParameters<V> p(parameters, grid.first_column(id) + c);
      for_loads<rounds_in_flight(1 + K)>(
          team.slice, int(grid.chunk_rows(id)), team.slices,
          [&](int r) {
            Row row;
            row.in[0] = load_vector<V>(x + offset + (r * stride + c));
            for (int k = 0; k < K; ++k) row.in[1 + k] = load_vector<V>(extras.at[k] + offset + (r * stride + c));
            return row;
          },
          [&](int r, const Row& row) {
            float values[1 + K][V], out[V];
            for (int k = 0; k <= K; ++k) widen<V>(values[k], row.in[k]);
            for (int j = 0; j < V; ++j) {
              float in[1 + K];
              in[0] = (values[0][j] - p.center[j]) * p.scale[j] + p.shift[j];
              for (int k = 1; k <= K; ++k) in[k] = values[k][j];
              out[j] = Epilogue<F, K>::value(in);
            }
            const i64 at = offset + (r * stride + c);
            const AlignedVector<T, V> rounded = round_vector<V, T>(out);
            store_vector(y + at, rounded);
            if constexpr (V == vec_size && Epilogue<F, K>::reads_y)
              if (signs) signs[at / V] = u8(positive_bits(rounded));
          });
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
