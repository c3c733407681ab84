// Batch norm over all rows of x [rows, cols]: statistics, y = tail((x - mean) * rstd * gamma + beta, extras...), and
// gradients.
//
//   BatchMoments        reads x once: mean and sum of squared deviations of each chunk of rows, in two passes over the
//                       chunk, which stays in the cache
//   BatchStatistics     combines the chunks in a fixed order, in f64; moves the running averages
//   BatchNormApply      reads x and the extras, writes y
//   BatchNormReduce     reads grad_y, x and what the tail's gradient reads; leaves sums of dz and dz * (x - mean) of each
//                       chunk; writes the extras' gradients, and grad_x at once where the statistics are constants
//   BatchNormSums       combines the chunks: grad_gamma, grad_beta, and the means that the last pass subtracts
//   BatchNormBackward   reads the same again, writes grad_x
//
// With s = rstd * gamma, dz the gradient of the tail and n rows:
//   grad_beta = sum dz    grad_gamma = rstd sum dz (x - mean)
//   grad_x = s (dz - sum dz / n - (x - mean) rstd^2 sum dz (x - mean) / n)        batch statistics
//   grad_x = s dz                                                                 running statistics
#pragma once

#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/tail.hpp>

namespace mindgap {

template <class T>
struct BatchMoments {
  float* mean;    // [chunks, cols]
  float* square;  // [chunks, cols]   sum of (x - mean)^2
  const T* x;     // [rows, cols]
  ColumnGrid grid;

  MG_HD i64 shared_bytes() const { return 2 * shared_size(grid.width() * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
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
    for (i64 c = block.rank(); c < columns; c += block.size()) {
      mean[out + c] = center[c];
      square[out + c] = fold_wide(sum, c, columns, repeat);
    }
  }
};

// One block a group of columns.
struct BatchStatistics {
  static constexpr i64 columns_per_block = 64;

  float* mean;              // [cols]
  float* rstd;              // [cols]
  float* running_mean;      // [cols] or null: running += momentum * (new - running)
  float* running_variance;  // [cols] or null: of the unbiased variance
  const float* chunk_mean;  // [chunks, cols]
  const float* chunk_square;
  ColumnGrid grid;
  float eps, momentum;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * columns_per_block, left = grid.cols - begin;
    const i64 end = begin + (left < columns_per_block ? left : columns_per_block);
    for (i64 c = begin + block.rank(); c < end; c += block.size()) {
      double sum = 0, square = 0;
      for (i64 k = 0; k < grid.chunks; ++k) sum += double(chunk_rows(k)) * chunk_mean[k * grid.cols + c];
      const double m = sum / double(grid.rows);
      for (i64 k = 0; k < grid.chunks; ++k) {
        const double d = chunk_mean[k * grid.cols + c] - m;
        square += chunk_square[k * grid.cols + c] + double(chunk_rows(k)) * d * d;
      }
      mean[c] = float(m);
      rstd[c] = float(1. / sqrt(square / double(grid.rows) + double(eps)));
      if (running_mean) {
        running_mean[c] += momentum * (float(m) - running_mean[c]);
        running_variance[c] += momentum * (float(square / double(grid.rows - 1)) - running_variance[c]);
      }
    }
  }

 private:
  MG_HD i64 chunk_rows(i64 k) const { return grid.chunk_rows(k * grid.tiles); }
};

// The affine map of a norm, a row a parameter: z = (x - center) * scale + shift.
struct BatchNormParameters {
  const float* mean;   // [cols]
  const float* rstd;   // [cols]
  const float* gamma;  // [cols]
  const float* beta;   // [cols]
};

namespace detail {

template <class T, int K>
struct Pointers {
  T* at[K ? K : 1];
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

}  // namespace detail

template <class F, class T, int K>
struct BatchNormApply {
  T* y;        // [rows, cols]; may be x
  const T* x;  // [rows, cols]
  detail::Pointers<const T, K> extras;
  BatchNormParameters parameters;
  ColumnGrid grid;

  MG_HD i64 shared_bytes() const { return 3 * shared_size(grid.width() * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 id = block.id();
    const detail::WideParameters p(block, grid, parameters);
    for (i64 r = 0; r < grid.wide_rows(id); ++r) {
      const i64 offset = grid.offset(id, r), n = grid.length(id, r);
      detail::Pointers<const T, K> extra;
      for (int k = 0; k < K; ++k) extra.at[k] = extras.at[k] + offset;
      const T* in_row = x + offset;
      T* out = y + offset;
#pragma GCC ivdep
      for (i64 c = block.rank(); c < n; c += block.size()) {
        float in[1 + K];
        in[0] = (float(in_row[c]) - p.center[c]) * p.scale[c] + p.shift[c];
        for (int k = 0; k < K; ++k) in[1 + k] = float(extra.at[k][c]);
        out[c] = T(Tail<F, K>::value(in));
      }
    }
  }
};

// What both passes of the backward read.
template <class F, class T, int K>
struct BatchNormSaved {
  const T* grad_y;                      // [rows, cols]
  const T* x;                           // [rows, cols]; null where neither z nor a sum is wanted
  const T* y;                           // where Tail::reads_y
  detail::Pointers<const T, K> extras;  // where Tail::reads_extra

  MG_HD BatchNormSaved at(i64 offset) const {
    BatchNormSaved row{grad_y + offset, x ? x + offset : nullptr, y, extras};
    if constexpr (Tail<F, K>::reads_y) row.y += offset;
    for (int k = 0; k < K; ++k)
      if (Tail<F, K>::reads_extra(k)) row.extras.at[k] += offset;
    return row;
  }
  // d[0] = dz, d[1 + k] = gradient of extra k, at element c of this row.
  MG_HD void pull(i64 c, float z, float* d) const {
    float in[1 + K] = {z};
    for (int k = 0; k < K; ++k)
      if (Tail<F, K>::reads_extra(k)) in[1 + k] = float(extras.at[k][c]);
    float out = 0.f;
    if constexpr (Tail<F, K>::reads_y) out = float(y[c]);
    for (int k = 0; k <= K; ++k) d[k] = 0.f;
    Tail<F, K>::pull(in, out, float(grad_y[c]), d);
  }
};

// Sums: whether sums are wanted. WriteX: whether grad_x = scale * dz is written (constant statistics).
template <class F, class T, int K, bool Sums, bool WriteX>
struct BatchNormReduce {
  using Rule = Tail<F, K>;

  float* sum;                          // [chunks, cols]   of dz
  float* product;                      // [chunks, cols]   of dz * (x - mean)
  T* grad_x;                           // [rows, cols]
  detail::Pointers<T, K> grad_extras;  // [rows, cols]; null: not wanted
  BatchNormSaved<F, T, K> saved;
  BatchNormParameters parameters;
  ColumnGrid grid;

  MG_HD i64 shared_bytes() const { return (5 + K) * shared_size(grid.width() * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 id = block.id(), columns = grid.columns(id), repeat = grid.repeat;
    const detail::WideParameters p(block, grid, parameters);
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
        row.pull(c, Rule::reads_z ? deviation * p.scale[c] + p.shift[c] : 0.f, d);
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
};

// One block a group of columns.
struct BatchNormSums {
  static constexpr i64 columns_per_block = 64;

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
    const i64 begin = block.id() * columns_per_block, left = cols - begin;
    const i64 end = begin + (left < columns_per_block ? left : columns_per_block);
    for (i64 c = begin + block.rank(); c < end; c += block.size()) {
      double s = 0, p = 0;
      for (i64 k = 0; k < chunks; ++k) s += sum[k * cols + c];
      for (i64 k = 0; k < chunks; ++k) p += product[k * cols + c];
      p *= double(rstd[c]);
      if (grad_gamma) grad_gamma[c] = float(p);
      if (grad_beta) grad_beta[c] = float(s);
      mean_grad[c] = float(s / double(rows));
      slope[c] = float(p * double(rstd[c]) / double(rows));
    }
  }
};

template <class F, class T, int K>
struct BatchNormBackward {
  using Rule = Tail<F, K>;

  T* grad_x;               // [rows, cols]; may be grad_y
  const float* mean_grad;  // [cols], as BatchNormSums leaves it
  const float* slope;      // [cols]
  BatchNormSaved<F, T, K> saved;
  BatchNormParameters parameters;
  ColumnGrid grid;

  MG_HD i64 shared_bytes() const { return 5 * shared_size(grid.width() * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 id = block.id(), columns = grid.columns(id), first = grid.first_column(id);
    const detail::WideParameters p(block, grid, parameters);
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
        row.pull(c, Rule::reads_z ? deviation * p.scale[c] + p.shift[c] : 0.f, d);
        target[c] = T(p.scale[c] * (d[0] - means[c] - deviation * slopes[c]));
      }
    }
  }
};

}  // namespace mindgap
