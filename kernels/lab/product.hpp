// C = A B^T of 16-bit matrices A [m, k] and B [n, k], both with k last as activations and weights have it, in four versions, each
// with one idea more. m is a multiple of 128, n of 64, k of 32. All make 2 m n k operations; README.md says how to read them.
#pragma once

#include <mindgap/kernels/conv_moments.hpp>

namespace mindgap::kernel::lab {
inline namespace MINDGAP_SET {

// What all versions are given.
template <class T>
struct Product {
  T* c;        // [m, n]
  const T* a;  // [m, k]
  const T* b;  // [n, k]
  i64 m, n, k;
};

// v1, plain: a thread does an element of C. For each product of two numbers it loads both, and the threads of a warp, neighbours
// in a row of C, load numbers of B that lie k apart.
template <class T>
struct ProductPlain : Product<T> {
  Grid grid() const { return {this->m, 128}; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const T* row = this->a + block.id() * this->k;
    for (i64 j = block.rank(); j < this->n; j += block.size()) {
      const T* column = this->b + j * this->k;
      float sum = 0.f;
      for (i64 p = 0; p < this->k; ++p) sum += float(row[p]) * float(column[p]);
      this->c[block.id() * this->n + j] = T(sum);
    }
  }
};

// v2, tiles: a block does 64 x 64 of C, from pieces of 32 columns of A and B that it puts into shared memory, each number for 64
// uses; a thread does 4 x 4 of it in registers, so that a number it loads from there is used four times.
template <class T>
struct ProductTiles : Product<T> {
  static constexpr int threads = 256, blocks_at_once = 2, tile = 64, depth = 32, pitch = tile + 4;

  Grid grid() const { return {this->m / tile * (this->n / tile), threads}; }
  MG_HD i64 shared_bytes() const { return 2 * shared_size(depth * pitch * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    float *left = block.template shared<float>(depth * pitch), *right = block.template shared<float>(depth * pitch);
    const i64 tiles = this->n / tile, row = block.id() / tiles * tile, column = block.id() % tiles * tile;
    const int i0 = block.rank() / 16 * 4, j0 = block.rank() % 16 * 4;
    float sums[4][4] = {};
    for (i64 k0 = 0; k0 < this->k; k0 += depth) {
      for (int e = block.rank(); e < tile * depth; e += threads) {
        const int r = e / depth, p = e % depth;
        left[p * pitch + r] = float(this->a[(row + r) * this->k + k0 + p]);
        right[p * pitch + r] = float(this->b[(column + r) * this->k + k0 + p]);
      }
      block.sync();
      for (int p = 0; p < depth; ++p) {
        float x[4], y[4];
        load<4>(x, left + p * pitch + i0);
        load<4>(y, right + p * pitch + j0);
        for (int i = 0; i < 4; ++i)
          for (int j = 0; j < 4; ++j) sums[i][j] += x[i] * y[j];
      }
      block.sync();
    }
    for (int i = 0; i < 4; ++i) store<4>(this->c + (row + i0 + i) * this->n + column + j0, sums[i]);
  }
};

// v3, tensor cores: the same tile by four warps, each 32 x 32 of it: an instruction of a warp multiplies 16 x 16 by 16 x 8
// (matrix_block.hpp). Pieces stay in 16 bits, are moved in vectors, and lie swizzled.
template <class T>
struct ProductTensorCores : Product<T> {
  static constexpr int threads = 128, blocks_at_once = 4, tile = 64, depth = 32, vectors = depth / 8;

  Grid grid() const { return {this->m / tile * (this->n / tile), threads}; }
  MG_HD i64 shared_bytes() const { return 2 * tile * depth * i64(sizeof(T)); }

  template <MatrixBlock B>
  MG_HD void operator()(B& block) const {
    T *left = block.template shared<T>(tile * depth), *right = block.template shared<T>(tile * depth);
    const i64 tiles = this->n / tile, row = block.id() / tiles * tile, column = block.id() % tiles * tile;
    const int warp = block.rank() / 32, i0 = warp / 2 * 32, j0 = warp % 2 * 32;
    SumsOfC sums[2][4];
    for (i64 k0 = 0; k0 < this->k; k0 += depth) {
      for (int e = block.rank(); e < tile * vectors; e += threads) {
        const int r = e / vectors, p = e % vectors;
        store_vector(left + swizzled<vectors>(r, p), load_vector<8>(this->a + (row + r) * this->k + k0 + 8 * p));
        store_vector(right + swizzled<vectors>(r, p), load_vector<8>(this->b + (column + r) * this->k + k0 + 8 * p));
      }
      block.sync();
      multiply_tiles<depth>(block, sums, left + i0 * depth, right + j0 * depth);
      block.sync();
    }
    T* const out = this->c + (row + i0 + block.rank() % 32 / 4) * this->n + column + j0 + block.rank() % 4 * 2;
    for (int i = 0; i < 2; ++i)
      for (int half = 0; half < 2; ++half)
        for (int j = 0; j < 4; ++j) store<2>(out + (16 * i + 8 * half) * this->n + 8 * j, sums[i][j].at + 2 * half);
  }
};

// v4, a ring: three pieces are on their way while one is multiplied, and C leaves in vectors, by way of shared memory. That is
// the convolution of kernels/conv_moments.hpp with a window of 1x1, which also leaves the moments of C's columns.
template <class T>
struct ProductRing : ConvMoments<T, 64> {
  using Convolution = ConvMoments<T, 64>;

  // mean and m2: [m / 128, n], for the moments.
  ProductRing(const Product<T>& p, float* mean, float* m2) : ProductRing(p, mean, m2, {p.m, 1, 1, p.k, p.n, 1, 1}) {}
  Grid grid() const { return {Convolution::grid.blocks(), Convolution::threads}; }

 private:
  ProductRing(const Product<T>& p, float* mean, float* m2, const ConvGeometry& g)
      : Convolution{p.c, mean, m2, p.a, p.b, g, Convolution::grid_of(g, 2048)} {}
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel::lab
