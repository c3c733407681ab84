// Group norm (norm_group.hpp has the formulas) where the threads of a GPU share a sample: several blocks do one, each a chunk of
// its rows and a tile of its channels. The division depends on the shape alone.
//
//   GroupMoments       reads x                                mean and squared deviations of each channel in each chunk
//   GroupStatistics    combines them: mean and rstd of each sample and group
//   GroupApply         reads x, writes y                      3 sizeof(T) bytes an element with GroupMoments
//
//   GroupReduce        reads grad_y and x                     sums of dz, dz (x - mean) and x - mean, as above
//   GroupSlopes        combines them: gradients of gamma, beta and the added row, and what the last pass subtracts
//   GroupBackward      reads grad_y and x, writes grad_x      5 sizeof(T) with GroupReduce, which leaves no dz: it is cheaper
//                                                             made again than written and read
//
// The second pass goes through the blocks backwards: what the first pass read last is what the second-level cache still has, so
// that memory sees a tensor that fits there (50 MB on an H100) once, and a part of a larger one.
//
// A thread keeps a packet of channels for all its rows, so that parameters and sums are in registers; the sums of a block's
// threads meet in shared memory once, at the end. x is read once for both moments: with p the first value of the channel in the
// chunk, s = sum (x - p) and q = sum (x - p)^2 over n rows, mean = p + s / n and sum (x - mean)^2 = q - s^2 / n. Nothing cancels,
// for p is a value of the channel. Two parts of n and m elements combine as Chan, Golub and LeVeque (1979) write it:
//   d = mean' - mean      mean + d m / (n + m)      square + square' + d^2 n m / (n + m)
#pragma once

#include <mindgap/kernels/norm_group.hpp>
#include <mindgap/kernels/rows.hpp>

namespace mindgap {

struct GroupTiles {
  static constexpr int threads = 256;  // of a block, at most

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

  // Whether rows of T can be moved in packets, as far as the shape goes.
  template <class T>
  MG_HD bool packed() const {
    return grid.part_channels[0] % packet_elements<T> == 0 && grid.part_channels[1] % packet_elements<T> == 0;
  }
  // Elements of shared memory for a sum of each thread's channels.
  template <class T>
  MG_HD i64 slots() const {
    const i64 packets = threads * packet_elements<T>, widest = tile[0] < tile[1] ? tile[1] : tile[0];
    return packets < widest ? widest : packets;
  }
};

inline GroupTiles group_tiles(const GroupGrid& grid) {
  constexpr i64 widest = 512;                           // channels of a tile: two rows of packets and more keep 256 threads busy
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

namespace detail {

// f(width) with the elements of a packet, or 1 where rows do not begin at multiples of 16 bytes.
template <class T, class B, class F>
MG_HD void with_width(B&, bool aligned, F f) {
  constexpr int V = B::packets ? packet_elements<T> : 1;
  if (aligned) f(std::integral_constant<int, V>{});
  else f(std::integral_constant<int, 1>{});
}

// How many rows the threads of a block do at a time.
template <int V, class B>
MG_HD int tile_lanes(const B& block, i64 channels) {
  const int packets = int(channels) / V;
  return block.size() < packets ? 1 : block.size() / packets;
}

// f(c, lane, lanes) for the packets of V channels that begin at c: their rows lane, lane + lanes, ... are this thread's.
template <int V, class B, class F>
MG_HD void for_tile_columns(B& block, i64 channels, F f) {
  const int packets = int(channels) / V, lanes = tile_lanes<V>(block, channels);
  for (int q = block.rank(); q < packets * lanes; q += block.size()) f(q % packets * V, q / packets, lanes);
}

// use(r, values) for the rows r = first, first + step, ... below end, after load(r, values); the loads of `Ahead` rows are under
// way before the first is used.
template <class Values, int Ahead, class Load, class Use>
MG_HD void for_rows_ahead(i64 first, i64 end, i64 step, Load load, Use use) {
  i64 r = first;
  for (; r + (Ahead - 1) * step < end; r += Ahead * step) {
    Values values[Ahead];
    unrolled<Ahead, 1>([&](auto k) { load(r + k * step, values[k]); });
    unrolled<Ahead, 1>([&](auto k) { use(r + k * step, values[k]); });
  }
  for (; r < end; r += step) {
    Values values;
    load(r, values);
    use(r, values);
  }
}

// Shared memory for the sums of the threads of each channel, and their combination in a fixed order.
template <int Sums>
struct TileSums {
  float* at[Sums];
  i64 channels;

  template <class B>
  MG_HD TileSums(B& block, i64 slots, i64 tile_channels) : channels(tile_channels) {
    for (float*& slot : at) slot = block.template shared<float>(slots);
  }
  template <int V>
  MG_HD void set(int sum, i64 lane, i64 c, const float* values) const {
    store<V>(at[sum] + lane * channels + c, values);
  }
  template <int V, class B>
  MG_HD float fold(B& block, int sum, i64 c) const {
    return fold_wide(at[sum], c, channels, tile_lanes<V>(block, channels));
  }
};

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

}  // namespace detail

template <class T>
struct GroupMoments {
  float* mean;    // [samples, chunks, channels]
  float* square;  // [samples, chunks, channels]   sum of (x - mean)^2
  const T* x[2];  // [samples, rows, part_channels]
  GroupTiles tiles;

  MG_HD i64 shared_bytes() const { return 2 * shared_size(tiles.slots<T>() * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    detail::with_width<T>(block, tiles.packed<T>() && is_packet_aligned(x[0]) && is_packet_aligned(x[1]),
                          [&](auto width) { run<width>(block); });
  }

 private:
  template <int V, class B>
  MG_HD void run(B& block) const {
    struct Values {
      float x[V];
    };
    const GroupTiles::Place at = tiles.place(block.id());
    const detail::TileSums<2> sums(block, tiles.slots<T>(), at.channels);
    const T* in = x[at.part] + at.offset;
    detail::for_tile_columns<V>(block, at.channels, [&](int c, int lane, int lanes) {
      float pivot[V], s[V] = {}, q[V] = {};
      load<V>(pivot, in + c);
      detail::for_rows_ahead<Values, 4>(
          lane, at.rows, lanes, [&](i64 r, Values& v) { load<V>(v.x, in + r * at.stride + c); },
          [&](i64, const Values& v) {
            for (int j = 0; j < V; ++j) {
              const float d = v.x[j] - pivot[j];
              s[j] += d;
              q[j] += d * d;
            }
          });
      sums.template set<V>(0, lane, c, s);
      sums.template set<V>(1, lane, c, q);
    });
    block.sync();
    const float n = float(at.rows);
    for (i64 c = block.rank(); c < at.channels; c += block.size()) {
      const float s = sums.template fold<V>(block, 0, c), q = sums.template fold<V>(block, 1, c);
      mean[at.sums + c] = float(in[c]) + s / n;
      square[at.sums + c] = Max{}(q - s * (s / n), 0.f);
    }
  }
};

// One team of threads a sample and group.
template <class T>
struct GroupStatistics {
  float* mean;                // [samples, groups]
  float* rstd;                // [samples, groups]
  const float* chunk_mean;    // [samples, chunks, channels]
  const float* chunk_square;  // [samples, chunks, channels]
  const T* row;               // [samples, channels] or null: added to x
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
        all = Merge{}(all, {float(tiles.chunk_rows(chunk)), chunk_mean[at] + added, chunk_square[at]});
      }
      all = team.reduce(all, Merge{});
      if (team.rank() == 0 && n) {
        mean[group] = all.mean;
        rstd[group] = 1.f / sqrtf(all.square / all.count + eps);
      }
    });
  }

 private:
  struct Moments {
    float count, mean, square;
  };
  struct Merge {
    MG_HD Moments operator()(Moments a, Moments b) const {
      const float count = a.count + b.count, d = b.mean - a.mean, share = count > 0.f ? b.count / count : 0.f;
      return {count, a.mean + d * share, a.square + b.square + d * d * (a.count * share)};
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

  MG_HD bool is_packet_aligned() const {
    return mindgap::is_packet_aligned(row) && mindgap::is_packet_aligned(gamma) && mindgap::is_packet_aligned(beta);
  }
  // Of the channels column ... column + V - 1.
  template <int V>
  MG_HD detail::ChannelParameters<V> of(const GroupGrid& grid, i64 sample, i64 column) const {
    detail::ChannelParameters<V> p;
    float added[V] = {}, weight[V];
    if (row) load<V>(added, row + sample * grid.channels + column);
    load<V>(weight, gamma + column);
    load<V>(p.shift, beta + column);
    detail::for_channel_groups<V>(
        column, grid.group_channels(),
        [=, this](int g) {
          return detail::Pair{mean[sample * grid.groups + g], rstd[sample * grid.groups + g]};
        },
        [&](int j, detail::Pair of_group) {
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

  template <Block B>
  MG_HD void operator()(B& block) const {
    detail::with_width<T>(block,
                          tiles.packed<T>() && is_packet_aligned(x[0]) && is_packet_aligned(x[1]) && is_packet_aligned(y) &&
                              parameters.is_packet_aligned(),
                          [&](auto width) { run<width>(block); });
  }

 private:
  template <int V, class B>
  MG_HD void run(B& block) const {
    struct Values {
      float x[V];
    };
    const GroupTiles::Place at = tiles.place(tiles.blocks() - 1 - block.id());
    const T* in = x[at.part] + at.offset;
    T* out = y + at.out_offset;
    detail::for_tile_columns<V>(block, at.channels, [&](int c, int lane, int lanes) {
      const auto p = parameters.template of<V>(tiles.grid, at.sample, at.column + c);
      detail::for_rows_ahead<Values, 4>(
          lane, at.rows, lanes, [&](i64 r, Values& v) { load<V>(v.x, in + r * at.stride + c); },
          [&](i64 r, Values& v) {
            for (int j = 0; j < V; ++j) {
              const float z = (v.x[j] - p.center[j]) * p.scale[j] + p.shift[j];
              v.x[j] = Tail<F, 0>::value(&z);
            }
            store<V>(out + r * tiles.grid.channels + c, v.x);
          });
    });
  }
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

  MG_HD i64 shared_bytes() const { return 3 * shared_size(tiles.slots<T>() * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    // Four channels a thread: with eight, parameters and sums take so many registers that too few threads are left.
    detail::with_width<float>(block,
                              tiles.packed<T>() && is_packet_aligned(x[0]) && is_packet_aligned(x[1]) &&
                                  is_packet_aligned(grad_y) && parameters.is_packet_aligned(),
                              [&](auto width) { run<width>(block); });
  }

 private:
  template <int V, class B>
  MG_HD void run(B& block) const {
    struct Values {
      float x[V], g[V];
    };
    const GroupTiles::Place at = tiles.place(block.id());
    const detail::TileSums<3> sums(block, tiles.slots<T>(), at.channels);
    const T *in = x[at.part] + at.offset, *grad = grad_y + at.out_offset;
    detail::for_tile_columns<V>(block, at.channels, [&](int c, int lane, int lanes) {
      const auto p = parameters.template of<V>(tiles.grid, at.sample, at.column + c);
      float of_sum[V] = {}, of_product[V] = {}, of_deviation[V] = {};
      detail::for_rows_ahead<Values, 4>(
          lane, at.rows, lanes,
          [&](i64 r, Values& v) {
            load<V>(v.x, in + r * at.stride + c);
            load<V>(v.g, grad + r * tiles.grid.channels + c);
          },
          [&](i64, const Values& v) {
            for (int j = 0; j < V; ++j) {
              const float d = v.x[j] - p.center[j], z = d * p.scale[j] + p.shift[j];
              float dz = 0.f;
              Tail<F, 0>::pull(&z, 0.f, v.g[j], &dz);
              of_sum[j] += dz;
              of_product[j] += dz * d;
              of_deviation[j] += d;
            }
          });
      sums.template set<V>(0, lane, c, of_sum);
      sums.template set<V>(1, lane, c, of_product);
      sums.template set<V>(2, lane, c, of_deviation);
    });
    block.sync();
    for (i64 c = block.rank(); c < at.channels; c += block.size()) {
      sum[at.sums + c] = sums.template fold<V>(block, 0, c);
      product[at.sums + c] = sums.template fold<V>(block, 1, c);
      deviation[at.sums + c] = sums.template fold<V>(block, 2, c);
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
      detail::Pair all{0.f, 0.f};
      for (i64 i = team.rank(); i < n; i += team.size()) {
        const i64 c = first + i;
        const float of_sum = add_chunks(sum, sample, c), of_product = add_chunks(product, sample, c);
        grad_beta[sample * channels + c] = of_sum;
        grad_gamma[sample * channels + c] = of_product * s;
        all.first += gamma[c] * of_sum;
        all.second += gamma[c] * of_product;
      }
      all = team.reduce(all, detail::AddPairs{});
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

  template <Block B>
  MG_HD void operator()(B& block) const {
    detail::with_width<T>(block,
                          tiles.packed<T>() && is_packet_aligned(x[0]) && is_packet_aligned(x[1]) && is_packet_aligned(grad_y) &&
                              parameters.is_packet_aligned() && is_packet_aligned(grad_x[0]) && is_packet_aligned(grad_x[1]),
                          [&](auto width) { run<width>(block); });
  }

 private:
  template <int V, class B>
  MG_HD void run(B& block) const {
    struct Values {
      float x[V], g[V];
    };
    const GroupGrid& grid = tiles.grid;
    const GroupTiles::Place at = tiles.place(tiles.blocks() - 1 - block.id());
    T* out = grad_x[at.part];
    if (!out) return;
    out += at.offset;
    const T *in = x[at.part] + at.offset, *grad = grad_y + at.out_offset;
    detail::for_tile_columns<V>(block, at.channels, [&](int c, int lane, int lanes) {
      const auto p = parameters.template of<V>(grid, at.sample, at.column + c);
      float l[V], k[V];
      detail::for_channel_groups<V>(
          at.column + c, grid.group_channels(),
          [=, this](int g) {
            const i64 i = at.sample * tiles.grid.groups + g;
            return detail::Pair{level[i], slope[i]};
          },
          [&](int j, detail::Pair of_group) { l[j] = of_group.first, k[j] = of_group.second; });
      detail::for_rows_ahead<Values, 2>(
          lane, at.rows, lanes,
          [&](i64 r, Values& v) {
            load<V>(v.x, in + r * at.stride + c);
            load<V>(v.g, grad + r * grid.channels + c);
          },
          [&](i64 r, Values& v) {
            for (int j = 0; j < V; ++j) {
              const float d = v.x[j] - p.center[j], z = d * p.scale[j] + p.shift[j];
              float dz = 0.f;
              Tail<F, 0>::pull(&z, 0.f, v.g[j], &dz);
              v.x[j] = p.scale[j] * dz - l[j] - d * k[j];
            }
            store<V>(out + r * at.stride + c, v.x);
          });
    });
  }
};

}  // namespace mindgap
