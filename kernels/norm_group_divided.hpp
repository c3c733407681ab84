// Group norm (norm_group.hpp has the formulas) where the threads of a GPU share a sample: several blocks do one, each a chunk of
// its rows and a tile of its channels. The division depends on the shape alone. Forward; norm_group_divided_backward.hpp is the
// rest.
//
//   GroupMoments       reads x                                mean and squared deviations of each channel in each chunk
//   GroupStatistics    combines them: mean and rstd of each sample and group
//   GroupApply         reads x, writes y                      3 sizeof(T) bytes an element with GroupMoments
//
// A thread keeps a vector of channels for all its rows, so that parameters and sums are in registers; the sums of a block's
// threads meet in shared memory once, at the end (ColumnTeam and team_moments, columns.hpp). The first pass goes backwards, as
// columns.hpp says: of two passes over a tensor that fits into the second-level cache memory sees one, of a larger one it is
// spared a part. Two parts of n and m elements combine as Chan, Golub and LeVeque (1979) write it:
//   d = mean' - mean      mean + d m / (n + m)      m2 + m2' + d^2 n m / (n + m)
#pragma once

#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/norm_group.hpp>
#include <mindgap/kernels/rows.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

struct GroupTiles {
  GroupGrid grid;
  i64 tile[2], tiles[2];  // channels of a tile and number of tiles, of each part
  i64 rows_per_chunk, chunks;

  MG_HD i64 blocks() const { return grid.samples * chunks * (tiles[0] + tiles[1]); }
  MG_HD i64 chunk_rows(i64 chunk) const {
    const i64 left = grid.rows - chunk * rows_per_chunk;
    return left < rows_per_chunk ? left : rows_per_chunk;
  }

  // What a block does.
  struct Place {
    i64 sample, chunk, rows;
    int part;
    i64 channels;        // of the tile
    i64 offset, stride;  // of its first element in the part, distance of its rows
    i64 out_offset;      // of its first element in y, whose rows are grid.channels apart
    i64 column;          // first channel in a row of parameters
    i64 sums;            // first element in [samples, chunks, channels]
  };
  MG_HD Place place(i64 id) const {
    // 32 bits, as many as a launch has blocks: a division of 64 takes a GPU a hundred cycles.
    const u32 per_chunk = u32(tiles[0] + tiles[1]), all_chunks = u32(id) / per_chunk;
    const i64 tile_id = u32(id) % per_chunk, chunk = all_chunks % u32(chunks);
    Place at;
    at.sample = all_chunks / u32(chunks);
    at.chunk = chunk;
    at.rows = chunk_rows(chunk);
    at.part = tile_id < tiles[0] ? 0 : 1;
    at.stride = grid.part_channels[at.part];
    const i64 first = (at.part ? tile_id - tiles[0] : tile_id) * tile[at.part], left = at.stride - first;
    const i64 row = at.sample * grid.rows + chunk * rows_per_chunk;
    at.channels = left < tile[at.part] ? left : tile[at.part];
    at.offset = row * at.stride + first;
    at.column = grid.first_column(at.part) + first;
    at.out_offset = row * grid.channels + at.column;
    at.sums = (at.sample * chunks + chunk) * grid.channels + at.column;
    return at;
  }

  // Whether rows of T can be moved in vectors, as far as the shape goes.
  template <class T>
  MG_HD bool packed() const {
    return grid.part_channels[0] % vector_size<T> == 0 && grid.part_channels[1] % vector_size<T> == 0;
  }
  // Channels of the widest tile.
  MG_HD i64 width() const { return tile[0] < tile[1] ? tile[1] : tile[0]; }
};

inline GroupTiles group_tiles(const GroupGrid& grid) {
  constexpr i64 widest = 512;                           // channels of a tile: two rows of vectors and more keep 256 threads busy
  constexpr i64 elements = 1 << 14, most_chunks = 256;  // of a block; of a sample
  GroupTiles t{grid, {}, {}, 1, 1};
  i64 columns = 1;
  for (int p = 0; p < 2; ++p) {
    const i64 channels = grid.part_channels[p], tiles = (channels + widest - 1) / widest;
    t.tile[p] = tiles ? ((channels + tiles - 1) / tiles + 7) / 8 * 8 : 0;
    t.tiles[p] = tiles ? (channels + t.tile[p] - 1) / t.tile[p] : 0;
    columns = std::max(columns, std::min(t.tile[p], channels));
  }
  const i64 chunks = std::clamp<i64>(grid.rows * columns / elements, 1, most_chunks);
  t.rows_per_chunk = std::max<i64>(1, (grid.rows + chunks - 1) / chunks);
  t.chunks = (grid.rows + t.rows_per_chunk - 1) / t.rows_per_chunk;
  return t;
}

// The affine map of V channels, z = (x - center) * scale + shift, in registers.
template <int V>
struct ChannelParameters {
  float center[V], scale[V], shift[V];
};

// use(j, load(g)) for the channels column + j, j < V, of group g. A group is loaded once, not once a channel.
template <int V, class Load, class Use>
MG_HD void for_channel_groups(i64 column, i64 per_group, Load load, Use use) {
  int g = int(column) / int(per_group), left = int(per_group) - int(column) % int(per_group);
  Pair of_group = load(g);
  for (int j = 0; j < V; ++j) {
    use(j, of_group);
    if (--left == 0 && j + 1 < V) left = int(per_group), of_group = load(++g);
  }
}

template <class T>
struct GroupMoments {
  float* mean;    // [samples, chunks, channels]
  float* m2;      // [samples, chunks, channels]   sum of (x - mean)^2
  const T* x[2];  // [samples, rows, part_channels]
  GroupTiles tiles;

  static constexpr int vec_size = vector_size<T>;

  static constexpr int teams_at_once = 4;

  MG_HD i64 shared_bytes() const { return team_bytes<vec_size>(2, tiles.width()); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    with_width<vec_size>(tiles.packed<T>() && is_vector_aligned(x[0]) && is_vector_aligned(x[1]), [&](auto width) {
      const GroupTiles::Place at = tiles.place(tiles.blocks() - 1 - block.id());
      team_moments<width>(block, mean + at.sums, m2 + at.sums, x[at.part] + at.offset, int(at.rows), int(at.channels),
                          int(at.stride));
    });
  }
};

// One team of threads a sample and group.
template <class T>
struct GroupStatistics {
  float* mean;              // [samples, groups]
  float* rstd;              // [samples, groups]
  const float* chunk_mean;  // [samples, chunks, channels]
  const float* chunk_m2;    // [samples, chunks, channels]
  const T* row;             // [samples, channels] or null: added to x
  float eps;
  GroupTiles tiles;
  RowTeams teams;  // of [samples * groups, chunks * channels of a group]

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 channels = tiles.grid.channels;
    const int per_group = int(tiles.grid.group_channels());
    for_block_rows(block, teams, [&](auto& team, i64 group, i64 n) {
      const i64 sample = u32(group) / u32(tiles.grid.groups), first = u32(group) % u32(tiles.grid.groups) * per_group;
      Moments all{0.f, 0.f, 0.f};
      for (int i = team.rank(); i < n; i += team.size()) {
        const i64 chunk = i / per_group, c = first + i % per_group, at = (sample * tiles.chunks + chunk) * channels + c;
        const float added = row ? float(row[sample * channels + c]) : 0.f;
        all = Merge{}(all, {float(tiles.chunk_rows(chunk)), chunk_mean[at] + added, chunk_m2[at]});
      }
      all = team.reduce(all, Merge{});
      if (team.rank() == 0 && n) {
        mean[group] = all.mean;
        rstd[group] = 1.f / sqrtf(all.m2 / all.count + eps);
      }
    });
  }

 private:
  struct Moments {
    float count, mean, m2;
  };
  struct Merge {
    MG_HD Moments operator()(Moments a, Moments b) const {
      const float count = a.count + b.count, d = b.mean - a.mean, share = count > 0.f ? b.count / count : 0.f;
      return {count, a.mean + d * share, a.m2 + b.m2 + d * d * (a.count * share)};
    }
  };
};

// What the passes over x share: where its map to z comes from.
template <class T>
struct GroupParameters {
  const T* row;        // [samples, channels] or null: added to x
  const float* mean;   // [samples, groups]
  const float* rstd;   // [samples, groups]
  const float* gamma;  // [channels]
  const float* beta;   // [channels]

  MG_HD bool is_vector_aligned() const {
    return mindgap::is_vector_aligned(row) && mindgap::is_vector_aligned(gamma) && mindgap::is_vector_aligned(beta);
  }
  // Of the channels column ... column + V - 1.
  template <int V>
  MG_HD ChannelParameters<V> of(const GroupGrid& grid, i64 sample, i64 column) const {
    ChannelParameters<V> p;
    float added[V] = {}, weight[V];
    if (row) load<V>(added, row + sample * grid.channels + column);
    load<V>(weight, gamma + column);
    load<V>(p.shift, beta + column);
    for_channel_groups<V>(
        column, grid.group_channels(),
        [=, this](int g) {
          return Pair{mean[sample * grid.groups + g], rstd[sample * grid.groups + g]};
        },
        [&](int j, Pair of_group) {
          p.center[j] = of_group.first - added[j];
          p.scale[j] = of_group.second * weight[j];
        });
    return p;
  }
};

template <class F, class T>
struct GroupApply {
  T* y;           // [samples, rows, channels]
  const T* x[2];  // [samples, rows, part_channels]
  GroupParameters<T> parameters;
  GroupTiles tiles;

  static constexpr int teams_at_once = sizeof(T) < 4 ? 4 : 6;  // the parameters of 8 channels are 24 registers, of 4 they are 12

  template <Block B>
  MG_HD void operator()(B& block) const {
    with_width<vector_size<T>>(tiles.packed<T>() && is_vector_aligned(x[0]) && is_vector_aligned(x[1]) && is_vector_aligned(y) &&
                                   parameters.is_vector_aligned(),
                               [&](auto width) { team<width>(block); });
  }

 private:
  template <int V, class B>
  MG_HD void team(B& block) const {
    const GroupTiles::Place at = tiles.place(block.id());
    const int channels = int(at.channels), stride = int(at.stride), out_stride = int(tiles.grid.channels);
    const T* in = x[at.part] + at.offset;
    T* out = y + at.out_offset;
    const ColumnTeam<V> team(block, channels);
    for (int c = team.first; c < channels; c += team.step) {
      const auto p = parameters.template of<V>(tiles.grid, at.sample, at.column + c);
      // An epilogue that is more than a sum takes the registers of a fourth vector.
      for_loads<Epilogue<F, 0>::reads_z ? 3 : 4>(
          team.slice, int(at.rows), team.slices, [&](int r) { return load_vector<V>(in + (r * stride + c)); },
          [&](int r, const AlignedVector<T, V>& row) {
            float value[V];
            widen<V>(value, row);
            for (int j = 0; j < V; ++j) {
              const float z = (value[j] - p.center[j]) * p.scale[j] + p.shift[j];
              value[j] = Epilogue<F, 0>::value(&z);
            }
            store<V>(out + (r * out_stride + c), value);
          });
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
