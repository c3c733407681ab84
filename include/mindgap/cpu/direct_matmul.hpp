// Batched matrix products: B is packed into panels, and a tile takes 6 rows of A where they lie, along rows or columns.
// f32, AVX2. alpha is multiplied into B.
//
// Many products: a thread does whole ones. Few: each is cut into chunks of rows and slices of panels, a slice after the other, so
// that B comes from memory once and A, the smaller one where it matters, from the third cache. A row's sums run over k in order
// whatever the number of rows, products or threads.
// Bytes: A once, C once, B three times (packing); A again for each block of 384 in k that the first cache wants.
#pragma once

#include <mindgap/cpu/direct_gather.hpp>

namespace mindgap::cpu::direct {
inline namespace MINDGAP_SET {

inline void matmul(const MatmulGeometry& g, float* c, const float* a, const float* b, float alpha, bool accumulate,
                   const float* bias) {
  constexpr i64 most_rows = 48;  // of C at a time
  const i64 threads = omp_get_max_threads(), panels = divide_up(g.n, panel), packed_size = panels * panel * g.k;
  const i64 a_row = g.trans_a ? 1 : g.a.row;
  const Segments k{1, g.k, 0, g.trans_a ? g.a.row : 1};
  const Start start = accumulate ? Start::sum : bias ? Start::bias : Start::zero;
  // Offsets within a chunk are of 32 bits.
  const i64 rows = std::clamp<i64>(std::numeric_limits<i32>::max() / std::max<i64>({a_row, g.c.row, 1}), 1, most_rows);
  i32 a_offset[most_rows], c_offset[most_rows];
  for (i64 i = 0; i < rows; ++i) {
    a_offset[i] = i32(i * a_row);
    c_offset[i] = i32(i * g.c.row);
  }
  const auto pack = [&](float* packed, const float* from, i64 p) {
    const i64 columns = std::min<i64>(panel, g.n - p * panel);
    float* to = packed + p * panel * g.k;
    if (g.trans_b) pack_rows(to, from + p * panel * g.b.row, g.b.row, columns, g.k, alpha);
    else pack_columns(to, from + p * panel, g.b.row, columns, g.k, alpha);
  };
  const auto matrix = [&](const MatrixStrides& s, i64 item) {
    return item / g.batch_inner * s.outer + item % g.batch_inner * s.inner;
  };
  const i64 chunks = divide_up(g.m, rows);
  const auto block = [&](const float* packed, i64 item, i64 chunk, i64 panel_begin, i64 panel_end) {
    const i64 row = g.m * chunk / chunks, count = g.m * (chunk + 1) / chunks - row;
    float* to = c + matrix(g.c, item) + row * g.c.row;
    if (accumulate && bias)
      for (i64 i = 0; i < count; ++i)
        for (i64 j = panel_begin * panel; j < std::min(g.n, panel_end * panel); ++j) to[i * g.c.row + j] += bias[j];
    gather(a + matrix(g.a, item) + row * a_row, a_offset, k, packed, to, c_offset, count, g.n, panel_begin, panel_end, start,
           bias);
  };
  if (g.batch() >= 2 * threads) {  // a thread does whole products
    const i64 packed_stride = round_up(packed_size, 16);
    const Scratch packed(threads * packed_stride);
#pragma omp parallel for schedule(dynamic, std::max <i64>(1, g.batch() / (16 * threads)))
    for (i64 item = 0; item < g.batch(); ++item) {
      float* mine = packed.data() + omp_get_thread_num() * packed_stride;
      for (i64 p = 0; p < panels; ++p) pack(mine, b + matrix(g.b, item), p);
      for (i64 chunk = 0; chunk < chunks; ++chunk) block(mine, item, chunk, 0, panels);
    }
    return;
  }
  const Scratch packed(packed_size);
  constexpr i64 slice_size = 256 * 1024;  // 1 MB of B
  const i64 slices = std::min(panels, std::max(divide_up(4 * threads, chunks), divide_up(packed_size, slice_size)));
  const bool small = g.flops() < 2e5 * double(g.batch());
#pragma omp parallel if (!small)
  for (i64 item = 0; item < g.batch(); ++item) {
#pragma omp for
    for (i64 p = 0; p < panels; ++p) pack(packed.data(), b + matrix(g.b, item), p);
#pragma omp for schedule(dynamic, 1)
    for (i64 task = 0; task < chunks * slices; ++task) {
      const i64 slice = task / chunks;
      block(packed.data(), item, task % chunks, panels * slice / slices, panels * (slice + 1) / slices);
    }
  }
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::cpu::direct
