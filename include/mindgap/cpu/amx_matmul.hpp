// Batched matrix products in bf16 on CPUs with AMX: C = alpha op(A) op(B) (+ bias) (+ C), sums in f32, C in f32 or bf16.
//
// A task packs its columns of B into right tiles, then two tiles' height of A at a time into left ones, and multiplies them two
// by two. What a row of C is does not depend on how many rows, columns or matrices there are: K is cut into parts by its length
// alone, and a part's sum runs in order. (oneDNN takes another implementation for few rows, and other bits with it.)
// Bytes: A once for each 256 columns, B once a task, C once; where K is long, also the parts' f32 sums twice.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/cpu/amx_tiles.hpp>
#include <mindgap/cpu/direct_gather.hpp>

namespace mindgap::cpu::amx {
inline namespace MINDGAP_SET {

template <class C>
void matmul(const MatmulGeometry& g, C* c, const bf16* a, const bf16* b, float alpha, bool accumulate, const float* bias) {
  using direct::divide_up, direct::Scratch;
  constexpr i64 block = 2 * edge, columns_a_task = 256, k_a_part = 2048;
  const i64 parts = std::clamp<i64>(g.k / k_a_part, 1, 16), threads = omp_get_max_threads();
  const i64 row_blocks = divide_up(g.m, block), column_tasks = divide_up(g.n, columns_a_task);
  const i64 others = g.batch() * parts * column_tasks;
  const i64 row_tasks = std::min(row_blocks, divide_up(4 * threads, others));
  const auto matrix = [&](const MatrixStrides& s, i64 item) {
    return item / g.batch_inner * s.outer + item % g.batch_inner * s.inner;
  };
  const auto k_begin = [&](i64 part) { return g.k * part / parts / depth * depth; };  // parts begin with a tile
  const auto k_end = [&](i64 part) { return part + 1 == parts ? g.k : k_begin(part + 1); };
  // Row i, columns of [begin, end) of the sums into C.
  const auto finish = [&](C* to, const float* sum, i64 begin, i64 end) {
    for (i64 j = begin; j < end; ++j) {
      float v = alpha * sum[j - begin];
      if (bias) v += bias[j];
      if (accumulate) v += float(to[j]);
      to[j] = C(v);
    }
  };

  const i64 steps = divide_up(divide_up(g.k, parts) + depth, depth);
  const i64 left_size = 2 * steps * tile_size,
            right_size = std::min(columns_a_task, divide_up(g.n, block) * block) / edge * steps * tile_size;
  const i64 sum_size = block * block;
  const Scratch scratch(threads * ((left_size + right_size) / 2 + sum_size));
  const Scratch partial(parts > 1 ? g.batch() * parts * g.m * g.n : 0);
  const bool small = g.flops() < 2e5;
#pragma omp parallel if (!small)
  {
    const Tiles tiles;
    float* sum = scratch.data() + omp_get_thread_num() * ((left_size + right_size) / 2 + sum_size);
    bf16 *left = reinterpret_cast<bf16*>(sum + sum_size), *right = left + left_size;
#pragma omp for schedule(dynamic, std::max <i64>(1, others * row_tasks / (16 * threads)))
    for (i64 task = 0; task < others * row_tasks; ++task) {
      const i64 row_task = task % row_tasks, column_task = task / row_tasks % column_tasks;
      const i64 part = task / row_tasks / column_tasks % parts, item = task / row_tasks / column_tasks / parts;
      const i64 k0 = k_begin(part), k = k_end(part) - k0, k_steps = divide_up(k, depth);
      const i64 first = column_task * columns_a_task, last = std::min(g.n, first + columns_a_task);
      const bf16* b_item = b + matrix(g.b, item);
      // Pairs of right tiles, [pair][step][2]; the last pair may have one that is all zeros.
      for (i64 j = first; j < divide_up(last, block) * block; j += edge) {
        const i64 count = std::max<i64>(0, std::min(edge, last - j));
        const bf16* from = g.trans_b ? b_item + j * g.b.row + k0 : b_item + k0 * g.b.row + j;
        pack_tiles(right + ((j - first) / block * k_steps * 2 + (j - first) / edge % 2) * tile_size, 2 * tile_size,
                   count ? from : b_item, g.b.row, g.trans_b ? Stored::along_k : Stored::across_k, false, count, k);
      }
      const bf16* a_item = a + matrix(g.a, item);
      for (i64 i = row_blocks * row_task / row_tasks; i < row_blocks * (row_task + 1) / row_tasks; ++i) {
        const i64 row = i * block, rows = std::min(block, g.m - row);
        for (i64 half = 0; half < 2; ++half) {
          const i64 r = row + half * edge, count = std::max<i64>(0, std::min(edge, g.m - r));
          const bf16* from = g.trans_a ? a_item + k0 * g.a.row + r : a_item + r * g.a.row + k0;
          pack_tiles(left + half * tile_size, 2 * tile_size, count ? from : a_item, g.a.row,
                     g.trans_a ? Stored::across_k : Stored::along_k, true, count, k);
        }
        for (i64 j = first; j < last; j += block) {
          multiply<2, 2>(left, right + (j - first) / block * k_steps * 2 * tile_size, k_steps, sum, block, false);
          const i64 end = std::min(last, j + block);
          for (i64 x = 0; x < rows; ++x)
            if (parts > 1)
              std::copy_n(sum + x * block, end - j, partial.data() + ((item * parts + part) * g.m + row + x) * g.n + j);
            else finish(c + matrix(g.c, item) + (row + x) * g.c.row, sum + x * block, j, end);
        }
      }
    }
    if (parts > 1) {
#pragma omp for
      for (i64 i = 0; i < g.batch() * g.m; ++i) {
        float* total = partial.data() + (i / g.m * parts * g.m + i % g.m) * g.n;
        for (i64 part = 1; part < parts; ++part)
          for (i64 j = 0; j < g.n; ++j) total[j] += total[part * g.m * g.n + j];
        finish(c + matrix(g.c, i / g.m) + i % g.m * g.c.row, total, 0, g.n);
      }
    }
  }
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::cpu::amx
