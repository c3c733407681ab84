// Mean and sum of squared deviations of each column of a chunk of rows, the first step of batch norm's statistics, in four
// versions, each with one idea more. x [rows, cols] has its channels last: a column's values are `cols` elements apart.
// All should read x once, sizeof(T) bytes an element, and write 8 bytes a chunk and column. README.md says how to read them.
#pragma once

#include <mindgap/kernels/norm_group_divided.hpp>

namespace mindgap::lab {

// What all versions are given. One chunk of rows is one block's, or the blocks' of each of its columns.
template <class T>
struct Moments {
  float* mean;    // [chunks, cols]
  float* square;  // [chunks, cols]
  const T* x;     // [rows, cols]
  i64 rows, cols, rows_per_chunk;

  MG_HD i64 chunks() const { return (rows + rows_per_chunk - 1) / rows_per_chunk; }
  MG_HD i64 chunk_rows(i64 chunk) const {
    const i64 left = rows - chunk * rows_per_chunk;
    return left < rows_per_chunk ? left : rows_per_chunk;
  }
};

// v1, plain: a block does a column of a chunk, its threads share the rows. Each element lies in a sector of its own, of which 2
// or 4 bytes of 32 are used.
template <class T>
struct MomentsPlain : Moments<T> {
  Grid grid() const { return {this->chunks() * this->cols, 128}; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 chunk = block.id() / this->cols, c = block.id() % this->cols, n = this->chunk_rows(chunk);
    const T* in = this->x + chunk * this->rows_per_chunk * this->cols + c;
    float sum = 0.f, square = 0.f;
    for (i64 r = block.rank(); r < n; r += block.size()) sum += float(in[r * this->cols]);
    const float m = block.reduce(sum, Sum{}) / float(n);
    for (i64 r = block.rank(); r < n; r += block.size()) {
      const float d = float(in[r * this->cols]) - m;
      square += d * d;
    }
    square = block.reduce(square, Sum{});
    if (block.rank() == 0) this->mean[block.id()] = m, this->square[block.id()] = square;
  }
};

// v2, coalesced: a thread does a column of a chunk, so that a warp reads neighbouring elements. No reduction is left, but with
// few columns few threads have work.
template <class T>
struct MomentsCoalesced : Moments<T> {
  Grid grid() const { return {this->chunks(), 256}; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 n = this->chunk_rows(block.id());
    const T* in = this->x + block.id() * this->rows_per_chunk * this->cols;
    for (i64 c = block.rank(); c < this->cols; c += block.size()) {
      float sum = 0.f, square = 0.f;
      for (i64 r = 0; r < n; ++r) sum += float(in[r * this->cols + c]);
      const float m = sum / float(n);
      for (i64 r = 0; r < n; ++r) {
        const float d = float(in[r * this->cols + c]) - m;
        square += d * d;
      }
      this->mean[block.id() * this->cols + c] = m;
      this->square[block.id() * this->cols + c] = square;
    }
  }
};

// v3, packets: a thread does a packet of columns, and the threads that this leaves deal the rows among themselves; their sums
// meet in shared memory, once a pass.
template <class T>
struct MomentsPackets : Moments<T> {
  static constexpr int threads = GroupTiles::threads;

  Grid grid() const { return {this->chunks(), threads}; }
  MG_HD i64 slots() const {
    const i64 packets = threads * packet_elements<T>;
    return packets < this->cols ? this->cols : packets;
  }
  MG_HD i64 shared_bytes() const {
    return shared_size(slots() * i64(sizeof(float))) + shared_size(this->cols * i64(sizeof(float)));
  }

  template <Block B>
  MG_HD void operator()(B& block) const {
    detail::with_width<T>(block, this->cols % packet_elements<T> == 0 && is_packet_aligned(this->x),
                          [&](auto width) { run<width>(block); });
  }

 private:
  template <int V, class B>
  MG_HD void run(B& block) const {
    const i64 n = this->chunk_rows(block.id()), cols = this->cols;
    const T* in = this->x + block.id() * this->rows_per_chunk * cols;
    const detail::TileSums<1> sums(block, slots(), cols);
    float* center = block.template shared<float>(cols);
    // The sum of term(value, column) over the rows of each column.
    const auto add_rows = [&](auto term) {
      detail::for_tile_columns<V>(block, cols, [&](int c, int lane, int lanes) {
        float sum[V] = {};
        for (i64 r = lane; r < n; r += lanes) {
          float v[V];
          load<V>(v, in + r * cols + c);
          for (int j = 0; j < V; ++j) sum[j] += term(v[j], c + j);
        }
        sums.template set<V>(0, lane, c, sum);
      });
      block.sync();
    };
    add_rows([](float v, int) { return v; });
    for (i64 c = block.rank(); c < cols; c += block.size()) center[c] = sums.template fold<V>(block, 0, c) / float(n);
    block.sync();
    add_rows([=](float v, int c) { return (v - center[c]) * (v - center[c]); });
    for (i64 c = block.rank(); c < cols; c += block.size()) {
      this->mean[block.id() * cols + c] = center[c];
      this->square[block.id() * cols + c] = sums.template fold<V>(block, 0, c);
    }
  }
};

// v4, one pass: x is read once, four rows ahead, and both sums are kept in registers, of x - p with p a value of the column, so
// that nothing cancels. That is a kernel of the library, GroupMoments in kernels/norm_group_divided.hpp, with each chunk as a
// sample.
template <class T>
struct MomentsOnePass : GroupMoments<T> {
  MomentsOnePass(const Moments<T>& m) : GroupMoments<T>{m.mean, m.square, {m.x, nullptr}, tiles_of(m)} {}
  Grid grid() const { return {this->tiles.blocks(), GroupTiles::threads}; }

 private:
  static GroupTiles tiles_of(const Moments<T>& m) {
    GroupTiles tiles = group_tiles(group_grid(1, m.rows, m.cols, 0, 1));
    tiles.rows_per_chunk = m.rows_per_chunk;
    tiles.chunks = m.chunks();
    return tiles;
  }
};

}  // namespace mindgap::lab
