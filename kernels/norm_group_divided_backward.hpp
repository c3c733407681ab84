// Group norm where the threads of a GPU share a sample (norm_group_divided.hpp), backward.
//
//   GroupReduce        reads grad_y and x                     sums of dz, dz (x - mean) and x - mean of each channel and chunk
//   GroupSlopes        combines them: gradients of gamma, beta and the added row, and what the last pass subtracts
//   GroupBackward      reads grad_y and x, writes grad_x      5 sizeof(T) with GroupReduce, which leaves no dz: it is cheaper
//                                                             made again than written and read
#pragma once

#include <mindgap/kernels/norm_group_divided.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// What a thread loads of a row.
template <class T, int V>
struct GroupRow {
  AlignedVector<T, V> x, grad_y;
};

template <class F, class T>
struct GroupReduce {
  float* sum;        // [samples, chunks, channels]   of dz
  float* product;    // [samples, chunks, channels]   of dz (x - mean)
  float* deviation;  // [samples, chunks, channels]   of x - mean
  const T* grad_y;   // [samples, rows, channels]
  const T* x[2];     // [samples, rows, part_channels]
  GroupParameters<T> parameters;
  GroupTiles tiles;

  // Four channels a thread: with eight, parameters and sums take so many registers that too few threads are left.
  static constexpr int vec_size = vector_size<float>;
  static constexpr int teams_at_once = sizeof(T) < 4 ? 4 : 3;  // the vectors of f32 are twice as wide

  MG_HD i64 shared_bytes() const { return team_bytes<vec_size>(3, tiles.width()); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    with_width<vec_size>(tiles.packed<T>() && is_vector_aligned(x[0]) && is_vector_aligned(x[1]) && is_vector_aligned(grad_y) &&
                             parameters.is_vector_aligned(),
                         [&](auto width) { team<width>(block); });
  }

 private:
  template <int V, class B>
  MG_HD void team(B& block) const {
    const GroupTiles::Place at = tiles.place(tiles.blocks() - 1 - block.id());
    const int channels = int(at.channels), stride = int(at.stride), grad_stride = int(tiles.grid.channels);
    const int last = int(at.rows) - 1;
    const T *in = x[at.part] + at.offset, *grad = grad_y + at.out_offset;
    const ColumnTeam<V> team(block, channels);
    float *sums = team.sums(block, channels), *products = team.sums(block, channels), *deviations = team.sums(block, channels);
    for (int c = team.first; c < channels; c += team.step) {
      const auto p = parameters.template of<V>(tiles.grid, at.sample, at.column + c);
      float of_sum[V] = {}, of_product[V] = {}, of_deviation[V] = {};
      for_loads<4>(
          team.slice, last + 1, team.slices,
          [&](int r) {
            return GroupRow<T, V>{load_vector<V>(in + ((last - r) * stride + c)),
                                  load_vector<V>(grad + ((last - r) * grad_stride + c))};
          },
          [&](int, const GroupRow<T, V>& row) {
            float value[V], g[V];
            widen<V>(value, row.x);
            widen<V>(g, row.grad_y);
            for (int j = 0; j < V; ++j) {
              const float d = value[j] - p.center[j], z = d * p.scale[j] + p.shift[j];
              float dz = 0.f;
              Epilogue<F, 0>::vjp(&z, 0.f, g[j], &dz);
              of_sum[j] += dz;
              of_product[j] += dz * d;
              of_deviation[j] += d;
            }
          });
      team.put(sums, channels, c, of_sum);
      team.put(products, channels, c, of_product);
      team.put(deviations, channels, c, of_deviation);
    }
    block.sync();
    for (int c = block.rank(); c < channels; c += block.size()) {
      sum[at.sums + c] = fold_wide(sums, c, channels, team.slices);
      product[at.sums + c] = fold_wide(products, c, channels, team.slices);
      deviation[at.sums + c] = fold_wide(deviations, c, channels, team.slices);
    }
  }
};

// One team of threads a sample and group; each thread owns channels.
template <class T>
struct GroupSlopes {
  float* grad_gamma;  // [samples, channels]: this sample's part
  float* grad_beta;   // [samples, channels]
  T* grad_row;        // [samples, channels] or null: the sum of grad_x over the rows
  float* level;       // [samples, groups]   rstd sum(gamma dz) / m
  float* slope;       // [samples, groups]   rstd^3 sum(gamma dz (x - mean)) / m
  const float* sum;   // [samples, chunks, channels], as GroupReduce leaves them
  const float* product;
  const float* deviation;
  const float* rstd;   // [samples, groups]
  const float* gamma;  // [channels]
  GroupTiles tiles;
  RowTeams teams;  // of [samples * groups, channels of a group]

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 channels = tiles.grid.channels, per_group = tiles.grid.group_channels();
    for_block_rows(block, teams, [&](auto& team, i64 group, i64 n) {
      const i64 sample = u32(group) / u32(tiles.grid.groups), first = u32(group) % u32(tiles.grid.groups) * per_group;
      const float s = rstd[group], m = float(per_group * tiles.grid.rows);
      Pair all{0.f, 0.f};
      for (i64 i = team.rank(); i < n; i += team.size()) {
        const i64 c = first + i;
        const float of_sum = add_chunks(sum, sample, c), of_product = add_chunks(product, sample, c);
        grad_beta[sample * channels + c] = of_sum;
        grad_gamma[sample * channels + c] = of_product * s;
        all.first += gamma[c] * of_sum;
        all.second += gamma[c] * of_product;
      }
      all = team.reduce(all, AddPairs{});
      const float l = s * all.first / m, k = s * s * s * all.second / m;
      if (team.rank() == 0 && n) level[group] = l, slope[group] = k;
      if (!grad_row) return;
      for (i64 i = team.rank(); i < n; i += team.size()) {
        const i64 c = first + i;
        const float direct = s * gamma[c] * grad_beta[sample * channels + c];
        grad_row[sample * channels + c] = T(direct - float(tiles.grid.rows) * l - k * add_chunks(deviation, sample, c));
      }
    });
  }

 private:
  MG_HD float add_chunks(const float* of_chunks, i64 sample, i64 c) const {
    float all = 0.f;
    for (i64 chunk = 0; chunk < tiles.chunks; ++chunk)
      all += of_chunks[(sample * tiles.chunks + chunk) * tiles.grid.channels + c];
    return all;
  }
};

template <class F, class T>
struct GroupBackward {
  T* grad_x[2];        // [samples, rows, part_channels]
  const float* level;  // [samples, groups], as GroupSlopes leaves them
  const float* slope;
  const T* grad_y;  // [samples, rows, channels]
  const T* x[2];    // [samples, rows, part_channels]
  GroupParameters<T> parameters;
  GroupTiles tiles;

  static constexpr int teams_at_once = 4;

  template <Block B>
  MG_HD void operator()(B& block) const {
    with_width<vector_size<T>>(tiles.packed<T>() && is_vector_aligned(x[0]) && is_vector_aligned(x[1]) &&
                                   is_vector_aligned(grad_y) && parameters.is_vector_aligned() && is_vector_aligned(grad_x[0]) &&
                                   is_vector_aligned(grad_x[1]),
                               [&](auto width) { team<width>(block); });
  }

 private:
  template <int V, class B>
  MG_HD void team(B& block) const {
    const GroupGrid& grid = tiles.grid;
    const GroupTiles::Place at = tiles.place(block.id());
    T* out = grad_x[at.part];
    if (!out) return;
    out += at.offset;
    const int channels = int(at.channels), stride = int(at.stride), grad_stride = int(grid.channels);
    const T *in = x[at.part] + at.offset, *grad = grad_y + at.out_offset;
    const ColumnTeam<V> team(block, channels);
    for (int c = team.first; c < channels; c += team.step) {
      const auto p = parameters.template of<V>(grid, at.sample, at.column + c);
      float l[V], k[V];
      for_channel_groups<V>(
          at.column + c, grid.group_channels(),
          [=, this](int g) {
            const i64 i = at.sample * tiles.grid.groups + g;
            return Pair{level[i], slope[i]};
          },
          [&](int j, Pair of_group) { l[j] = of_group.first, k[j] = of_group.second; });
      for_loads<2>(
          team.slice, int(at.rows), team.slices,
          [&](int r) {
            return GroupRow<T, V>{load_vector<V>(in + (r * stride + c)), load_vector<V>(grad + (r * grad_stride + c))};
          },
          [&](int r, const GroupRow<T, V>& row) {
            float value[V], g[V];
            widen<V>(value, row.x);
            widen<V>(g, row.grad_y);
            for (int j = 0; j < V; ++j) {
              const float d = value[j] - p.center[j], z = d * p.scale[j] + p.shift[j];
              float dz = 0.f;
              Epilogue<F, 0>::vjp(&z, 0.f, g[j], &dz);
              value[j] = p.scale[j] * dz - l[j] - d * k[j];
            }
            store<V>(out + (r * stride + c), value);
          });
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
