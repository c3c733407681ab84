// Kernels for what the executors do themselves: which threads a reduction over groups of lanes combined, and in which order; and
// a warp's matrix product of operands that were copied without waiting.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/matrix_block.hpp>
#include <mindgap/kernels/vectorised.hpp>

#include <cmath>

namespace mindgap::test {

// Neighbouring threads, in order.
struct Span {
  float first, last, ordered;
};
struct Append {
  MG_HD Span operator()(Span a, Span b) const {
    return {a.first, b.last, a.ordered * b.ordered * (a.last + 1 == b.first ? 1.f : 0.f)};
  }
};

// first[t] and last[t] = the ranks of the group of thread t; negative where it was not combined in order.
struct Groups {
  float* first;
  float* last;
  int lanes;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const float rank = float(block.rank());
    const Span group = block.reduce(Span{rank, rank, 1.f}, Append{}, lanes);
    first[block.rank()] = group.ordered > 0 ? group.first : -1.f;
    last[block.rank()] = group.ordered > 0 ? group.last : -1.f;
  }
};

// c [16, 8] = a b^T for a [16, 16] and b [8, 16], by 32 threads. Where it waits for one group of copies too few, b is not there.
template <class T, int Pending>
struct WarpProduct {
  float* c;
  const T *a, *b;

  MG_HD i64 shared_bytes() const { return i64(sizeof(T)) * (16 + 8) * 16; }

  template <MatrixBlock B>
  MG_HD void operator()(B& block) const {
    T* left = block.template shared<T>(16 * 16);
    T* right = block.template shared<T>(8 * 16);
    const int lane = block.rank(), group = lane / 4, quad = lane % 4;
    block.copy_async(left + 8 * lane, a + 8 * lane, true);
    block.commit_copies();
    if (lane < 16) block.copy_async(right + 8 * lane, b + 8 * lane, true);
    block.commit_copies();
    block.template wait_copies<Pending>();
    block.sync();
    const auto pair = [&](const T* matrix, int row, int column) {
      return bit_cast<u32>(load_vector<2>(matrix + 16 * row + column + 2 * quad));
    };
    SumsOfC sums;
    block.template multiply<T>(sums,
                               {{pair(left, group, 0), pair(left, group + 8, 0), pair(left, group, 8), pair(left, group + 8, 8)}},
                               {{pair(right, group, 0), pair(right, group, 8)}});
    for (int half = 0; half < 2; ++half)
      for (int j = 0; j < 2; ++j) c[8 * (group + 8 * half) + 2 * quad + j] = sums.at[2 * half + j];
  }
};

// The largest error of such a product of small whole numbers, which is exact where each element has met its own.
// launch(a, b) runs it on a device and gives c.
template <class T, class Launch>
float error_of_warp_product(const Launch& launch) {
  Tensor<T, 2> a({16, 16}), b({8, 16});
  for (i64 i = 0; i < a.size(); ++i) a.data()[i] = T(float((7 * i + i / 16) % 13 - 6));
  for (i64 i = 0; i < b.size(); ++i) b.data()[i] = T(float((5 * i + i / 16) % 11 - 5));
  const std::vector<float> c = launch(a, b);
  float largest = 0;
  for (i64 i = 0; i < 16; ++i)
    for (i64 j = 0; j < 8; ++j) {
      float sum = 0;
      for (i64 k = 0; k < 16; ++k) sum += float(a.data()[16 * i + k]) * float(b.data()[16 * j + k]);
      const float error = std::abs(c[size_t(8 * i + j)] - sum);
      largest = error <= largest ? largest : error;  // NaN is the largest
    }
  return largest;
}

}  // namespace mindgap::test
