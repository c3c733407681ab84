// Group norm of x [samples, rows, channels]: y = epilogue((x - mean) * rstd * gamma + beta) with mean and rstd of each sample
// and group of channels, and gradients. One block a sample: the path of the CPU, where a sample stays in the cache, so memory
// sees each pass's tensors once. norm_group_divided.hpp is the path of a GPU.
//
// x may come in two parts, concatenated along the channels (a U-Net skip); a group may straddle the border. A row
// [samples, channels] may be added to x before the norm (the time embedding of a residual block); it only shifts the
// centre of each channel, so no pass handles it.
//
//   GroupNorm          three passes over the sample: sums, squared deviations, apply; one more where a group lies far from
//                      zero (lies_far, rows.hpp)
//   GroupNormBackward  sums of dz and dz * (x - mean), dz written where grad_x goes; then grad_x from it in place
//
// With m = rows * channels / groups elements in a group, and sums over it:
//   grad_beta = sum over rows of dz       grad_gamma = rstd * sum over rows of dz (x - mean)
//   grad_x = rstd gamma dz - rstd sum(gamma dz) / m - (x - mean) rstd^3 sum(gamma dz (x - mean)) / m
// What it leaves out: a sample is never divided, so a batch smaller than the number of cores leaves some idle.
#pragma once

#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/epilogue.hpp>
#include <mindgap/kernels/rows.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

struct GroupGrid {
  i64 samples, rows, channels, groups;
  i64 part_channels[2];  // the second is 0 where there is one part
  i64 repeat;            // rows of a wide row (columns.hpp); 1 where there are two parts

  MG_HD i64 width() const { return channels * repeat; }
  MG_HD i64 wide_rows() const { return (rows + repeat - 1) / repeat; }
  MG_HD i64 group_channels() const { return channels / groups; }
  // Part p of a wide row: where it begins in x, in y and in a row of parameters, and its length.
  MG_HD i64 offset(i64 sample, int p, i64 wide_row) const { return (sample * rows + wide_row * repeat) * part_channels[p]; }
  MG_HD i64 out_offset(i64 sample, int p, i64 wide_row) const {
    return (sample * rows + wide_row * repeat) * channels + first_column(p);
  }
  MG_HD i64 first_column(int p) const { return p ? part_channels[0] : 0; }
  MG_HD i64 length(int p, i64 wide_row) const {
    const i64 left = rows - wide_row * repeat;
    return (left < repeat ? left : repeat) * part_channels[p];
  }
};

inline GroupGrid group_grid(i64 samples, i64 rows, i64 first_channels, i64 second_channels, i64 groups) {
  const i64 channels = first_channels + second_channels;
  const i64 repeat = second_channels ? 1 : std::clamp<i64>(256 / std::max<i64>(channels, 1), 1, std::max<i64>(rows, 1));
  return {samples, rows, channels, groups, {first_channels, second_channels}, repeat};
}

template <class F, class T>
struct GroupNorm {
  T* y;                // [samples, rows, channels]
  float* mean;         // [samples, groups]
  float* rstd;         // [samples, groups]
  const T* x[2];       // [samples, rows, part_channels]
  const T* row;        // [samples, channels] or null
  const float* gamma;  // [channels]
  const float* beta;   // [channels]
  float eps;
  GroupGrid grid;

  MG_HD i64 shared_bytes() const {
    return 5 * shared_size(grid.width() * i64(sizeof(float))) + shared_size(grid.groups * i64(sizeof(float)));
  }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 sample = block.id(), width = grid.width(), channels = grid.channels, per_group = grid.group_channels();
    float* __restrict__ sum = block.template shared<float>(width);
    float* __restrict__ total = block.template shared<float>(width);
    float* __restrict__ center = block.template shared<float>(width);
    float* __restrict__ scale = block.template shared<float>(width);
    float* __restrict__ shift = block.template shared<float>(width);
    float* __restrict__ of_group = block.template shared<float>(grid.groups);
    const T* added = row ? row + sample * channels : nullptr;
    const auto addend = [=](i64 c) { return added ? float(added[c]) : 0.f; };

    sum_columns(block, sample, sum, total, [](i64, float v) { return v; });
    for (i64 c = block.rank(); c < channels; c += block.size())
      scale[c] = fold_wide(total, c, channels, grid.repeat) + float(grid.rows) * addend(c);
    block.sync();
    average_groups(block, of_group, scale);
    for (i64 g = block.rank(); g < grid.groups; g += block.size()) mean[sample * grid.groups + g] = of_group[g];
    fill_wide(block, center, channels, grid.repeat, [=](i64 c) { return of_group[c / per_group] - addend(c); });
    sum_columns(block, sample, sum, total, [=](i64 c, float v) {
      const float d = v - center[c];
      return d * d;
    });
    for (i64 c = block.rank(); c < channels; c += block.size()) scale[c] = fold_wide(total, c, channels, grid.repeat);
    block.sync();
    average_groups(block, of_group, scale);
    int far = 0;
    for (i64 g = block.rank(); g < grid.groups; g += block.size()) far += is_far(sample, g, of_group[g]);
    if (block.reduce(far, Sum{})) {  // the centers are wrong by their rounding
      sum_columns(block, sample, sum, total, [=](i64 c, float v) { return v - center[c]; });
      for (i64 c = block.rank(); c < channels; c += block.size()) scale[c] = fold_wide(total, c, channels, grid.repeat);
      block.sync();
      average_groups(block, shift, scale);
      for (i64 g = block.rank(); g < grid.groups; g += block.size())
        if (is_far(sample, g, of_group[g])) {
          mean[sample * grid.groups + g] += shift[g];
          of_group[g] = Max{}(of_group[g] - shift[g] * shift[g], 0.f);
        }
      block.sync();
      fill_wide(block, center, channels, grid.repeat,
                [=, this](i64 c) { return mean[sample * grid.groups + c / per_group] - addend(c); });
    }
    for (i64 g = block.rank(); g < grid.groups; g += block.size())
      of_group[g] = rstd[sample * grid.groups + g] = 1.f / sqrtf(of_group[g] + eps);
    block.sync();
    fill_wide(block, scale, channels, grid.repeat, [=, this](i64 c) { return of_group[c / per_group] * gamma[c]; });
    fill_wide(block, shift, channels, grid.repeat, [this](i64 c) { return beta[c]; });
    block.sync();

    for (int p = 0; p < 2; ++p)
      for (i64 r = 0, first = grid.first_column(p); grid.part_channels[p] && r < grid.wide_rows(); ++r) {
        const T* in = x[p] + grid.offset(sample, p, r);
        T* out = y + grid.out_offset(sample, p, r);
        const float *a = center + first, *s = scale + first, *b = shift + first;
        const i64 n = grid.length(p, r);
#pragma GCC ivdep
        for (i64 c = block.rank(); c < n; c += block.size()) {
          const float z = (float(in[c]) - a[c]) * s[c] + b[c];
          out[c] = T(Epilogue<F, 0>::value(&z));
        }
      }
  }

 private:
  // A column is summed in parts of so many rows: the error of a sum grows with the numbers that are added to it one by one.
  static constexpr i64 rows_at_once = 1024;

  // total[c] = sum over the rows of f(c, x[row, c]), in columns of a wide row. Ends with a barrier.
  template <class B, class Term>
  MG_HD void sum_columns(B& block, i64 sample, float* __restrict__ sum, float* __restrict__ total, Term f) const {
    for (i64 c = block.rank(); c < grid.width(); c += block.size()) sum[c] = total[c] = 0.f;
    block.sync();
    for (int p = 0; p < 2; ++p) {
      const i64 first = grid.first_column(p), columns = grid.part_channels[p] * grid.repeat;
      for (i64 r = 0; grid.part_channels[p] && r < grid.wide_rows(); ++r) {
        const T* in = x[p] + grid.offset(sample, p, r);
        float* to = sum + first;
        const i64 n = grid.length(p, r);
#pragma GCC ivdep
        for (i64 c = block.rank(); c < n; c += block.size()) to[c] += f(first + c, float(in[c]));
        if ((r + 1) % rows_at_once == 0 || r + 1 == grid.wide_rows())
          for (i64 c = block.rank(); c < columns; c += block.size()) total[first + c] += to[c], to[c] = 0.f;
      }
    }
    block.sync();
  }

  // Whether the mean of a group lies so far from zero that its rounding shows (rows.hpp).
  MG_HD bool is_far(i64 sample, i64 g, float variance) const {
    return lies_far(mean[sample * grid.groups + g], variance, 1.f, eps);
  }

  // of_group[g] = sum of channel[c] over the group / elements in the group. Ends with a barrier.
  template <class B>
  MG_HD void average_groups(B& block, float* of_group, const float* channel) const {
    const i64 per_group = grid.group_channels();
    for (i64 g = block.rank(); g < grid.groups; g += block.size()) {
      float sum = 0.f;
      for (i64 c = g * per_group; c < (g + 1) * per_group; ++c) sum += channel[c];
      of_group[g] = sum / float(per_group * grid.rows);
    }
    block.sync();
  }
};

// WriteX: whether the gradient of x is wanted, else only the parameters'.
template <class F, class T, bool WriteX>
struct GroupNormBackward {
  T* grad_x[2];       // [samples, rows, part_channels]
  T* grad_row;        // [samples, channels] or null: the sum of grad_x over the rows
  float* grad_gamma;  // [samples, channels]: this sample's part
  float* grad_beta;   // [samples, channels]
  const T* grad_y;    // [samples, rows, channels]
  const T* x[2];      // as in GroupNorm, and so on
  const T* row;
  const float* mean;
  const float* rstd;
  const float* gamma;
  const float* beta;
  GroupGrid grid;

  MG_HD i64 shared_bytes() const {
    return 5 * shared_size(grid.width() * i64(sizeof(float))) + 2 * shared_size(grid.groups * i64(sizeof(float)));
  }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 sample = block.id(), width = grid.width(), channels = grid.channels, per_group = grid.group_channels();
    float* __restrict__ center = block.template shared<float>(width);
    float* __restrict__ scale = block.template shared<float>(width);
    float* __restrict__ shift = block.template shared<float>(width);
    float* __restrict__ sum = block.template shared<float>(width);
    float* __restrict__ product = block.template shared<float>(width);
    float* __restrict__ group_sum = block.template shared<float>(grid.groups);
    float* __restrict__ group_product = block.template shared<float>(grid.groups);
    const float *means = mean + sample * grid.groups, *rstds = rstd + sample * grid.groups;
    const T* added = row ? row + sample * channels : nullptr;

    fill_wide(block, center, channels, grid.repeat,
              [=](i64 c) { return means[c / per_group] - (added ? float(added[c]) : 0.f); });
    fill_wide(block, scale, channels, grid.repeat, [=, this](i64 c) { return rstds[c / per_group] * gamma[c]; });
    fill_wide(block, shift, channels, grid.repeat, [this](i64 c) { return beta[c]; });
    for (i64 c = block.rank(); c < width; c += block.size()) sum[c] = product[c] = 0.f;
    block.sync();

    for (int p = 0; p < 2; ++p)
      for (i64 r = 0, first = grid.first_column(p); grid.part_channels[p] && r < grid.wide_rows(); ++r) {
        const T *in = x[p] + grid.offset(sample, p, r), *g = grad_y + grid.out_offset(sample, p, r);
        T* out = WriteX ? grad_x[p] + grid.offset(sample, p, r) : nullptr;
        const float *a = center + first, *s = scale + first, *b = shift + first;
        float *to_sum = sum + first, *to_product = product + first;
        const i64 n = grid.length(p, r);
#pragma GCC ivdep
        for (i64 c = block.rank(); c < n; c += block.size()) {
          const float deviation = float(in[c]) - a[c], z = deviation * s[c] + b[c];
          float dz = 0.f;
          Epilogue<F, 0>::vjp(&z, 0.f, float(g[c]), &dz);
          to_sum[c] += dz;
          to_product[c] += dz * deviation;
          if constexpr (WriteX) out[c] = T(dz);
        }
      }
    block.sync();
    // sum and product become the channels' sums, in their first `channels` elements.
    for (i64 c = block.rank(); c < channels; c += block.size()) {
      sum[c] = fold_wide(sum, c, channels, grid.repeat);
      product[c] = fold_wide(product, c, channels, grid.repeat);
      grad_beta[sample * channels + c] = sum[c];
      grad_gamma[sample * channels + c] = product[c] * rstds[c / per_group];
    }
    if constexpr (WriteX) {
      block.sync();
      for (i64 g = block.rank(); g < grid.groups; g += block.size()) {
        float s = 0.f, p = 0.f;
        for (i64 c = g * per_group; c < (g + 1) * per_group; ++c) {
          s += gamma[c] * sum[c];
          p += gamma[c] * product[c];
        }
        const float m = float(per_group * grid.rows);
        group_sum[g] = rstds[g] * s / m;
        group_product[g] = rstds[g] * rstds[g] * rstds[g] * p / m;
      }
      block.sync();
      float *level = shift, *slope = product;  // their old contents are spent
      fill_wide(block, level, channels, grid.repeat, [=](i64 c) { return group_sum[c / per_group]; });
      fill_wide(block, slope, channels, grid.repeat, [=](i64 c) { return group_product[c / per_group]; });
      for (i64 c = block.rank(); c < width; c += block.size()) sum[c] = 0.f;
      block.sync();
      for (int p = 0; p < 2; ++p)
        for (i64 r = 0, first = grid.first_column(p); grid.part_channels[p] && r < grid.wide_rows(); ++r) {
          const T* in = x[p] + grid.offset(sample, p, r);
          T* out = grad_x[p] + grid.offset(sample, p, r);
          const float *a = center + first, *s = scale + first, *l = level + first, *k = slope + first;
          float* to_sum = sum + first;
          const i64 n = grid.length(p, r);
#pragma GCC ivdep
          for (i64 c = block.rank(); c < n; c += block.size()) {
            const float d = s[c] * float(out[c]) - l[c] - (float(in[c]) - a[c]) * k[c];
            out[c] = T(d);
            to_sum[c] += d;
          }
        }
      block.sync();
      if (grad_row)
        for (i64 c = block.rank(); c < channels; c += block.size())
          grad_row[sample * channels + c] = T(fold_wide(sum, c, channels, grid.repeat));
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
