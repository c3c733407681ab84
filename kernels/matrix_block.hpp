// What a GPU's Block can do besides (block.hpp): products on tensor cores, and copies into shared memory that nobody waits for
// yet.
//
// A warp of 32 threads multiplies C [16, 8] += A [16, 16] B [16, 8], A and B of 16-bit elements, C of f32. Each thread keeps a
// part, as the instruction mma.m16n8k16 deals it out (PTX ISA, "Matrix fragments for mma.m16n8k16"); with lane = 4 * group +
// quad:
//
//   OperandA   pair 0: row group,     columns 2 * quad + {0, 1}        pair 1: row group + 8, the same columns
//              pair 2: row group,     columns 2 * quad + {8, 9}        pair 3: row group + 8, the same columns
//   OperandB   pair 0: rows 2 * quad + {0, 1}, column group            pair 1: rows 2 * quad + {8, 9}, column group
//   SumsOfC    0, 1:   row group,     columns 2 * quad + {0, 1}        2, 3:   row group + 8, the same columns
//
// B's pairs are neighbours in a column: of weights [c_out, c_in], whose rows are B's columns, each pair is one 32-bit word.
#pragma once

#include <mindgap/kernels/vectorised.hpp>

namespace mindgap {
inline namespace MINDGAP_SET {

struct OperandA {
  u32 pair[4];  // the element of the lower index in the lower half
};
struct OperandB {
  u32 pair[2];
};
struct SumsOfC {
  float at[4] = {};
};

// clang-format off
template <class B>
concept MatrixBlock = Block<B> && requires(B& block, SumsOfC& c, const OperandA& a, const OperandB& b, void* to) {
  block.template multiply<bf16>(c, a, b);  // by whole warps; no barrier
  block.template multiply<f16>(c, a, b);
  block.copy_async(to, to, true);          // 16 bytes to shared memory, both sides aligned; where false, zeros, and `from` is not read
  block.commit_copies();                   // the thread's copies since the last call become a group
  block.template wait_copies<2>();         // until all but the thread's last 2 groups are there; for other threads, sync() then
};
// clang-format on

// The place, in elements, of a vector of 8 of them in a tile of shared memory whose rows have `Vectors`. Vectors of one column
// are swizzled over the places of a line of 128 bytes: where they would lie one below the other, a warp that reads a column of
// the tile, as it does for its operands, would find all in the same banks. Rows 8 apart are swizzled alike.
template <int Vectors>
MG_HD int swizzled(int row, int vector) {
  constexpr u32 rows_per_line = Vectors < 8 ? 8 / Vectors : 1, places = Vectors < 8 ? Vectors : 8;
  return 8 * (row * Vectors + (vector ^ int(u32(row) / rows_per_line % places)));
}

// sums[i][j] += A's rows 16 i + [0, 16) times B's columns 8 j + [0, 8), over `Depth` elements of both, by a warp. Rows of A and
// columns of B are rows of Depth elements in swizzled tiles; left and right point to the first of them, a multiple of 8.
template <int Depth, class T, int R, int C, MatrixBlock B>
MG_HD void multiply_tiles(B& block, SumsOfC (&sums)[R][C], const T* left, const T* right) {
  const int group = block.rank() % 32 / 4, quad = block.rank() % 4;
  const auto pair = [&](const T* tile, int row, int vector) {
    return bit_cast<u32>(load_vector<2>(tile + row * Depth + swizzled<Depth / 8>(group, vector) + 2 * quad));
  };
  for (int k = 0; k < Depth / 8; k += 2) {
    OperandB b[C];
    for (int j = 0; j < C; ++j)
      for (int half = 0; half < 2; ++half) b[j].pair[half] = pair(right, 8 * j, k + half);
    for (int i = 0; i < R; ++i) {
      OperandA a;
      for (int p = 0; p < 4; ++p) a.pair[p] = pair(left, 16 * i + 8 * (p % 2), k + p / 2);
      for (int j = 0; j < C; ++j) block.template multiply<T>(sums[i][j], a, b[j]);
    }
  }
}

}  // namespace MINDGAP_SET
}  // namespace mindgap
