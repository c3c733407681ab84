// Sums over rows in a fixed order.
#pragma once

#include <mindgap/core/memory.hpp>
#include <mindgap/kernels/block.hpp>

namespace mindgap {

// out[o, c] (+)= scale * sum over r < rows of x[o, r, c]        one block an outer index and chunk of columns
template <class TO, class T>
struct ReduceRows {
  TO* out;     // [outer, cols]
  const T* x;  // [outer, rows, cols]
  i64 rows, cols;
  float scale;
  bool accumulate;

  MG_HD i64 shared_bytes() const { return shared_size(cols * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const T* slice = x + block.id() * rows * cols;
    float* sum = block.template shared<float>(cols);  // each thread owns its columns
    for (i64 c = block.rank(); c < cols; c += block.size()) sum[c] = 0.f;
    for (i64 r = 0; r < rows; ++r)
      for (i64 c = block.rank(); c < cols; c += block.size()) sum[c] += float(slice[r * cols + c]);
    TO* y = out + block.id() * cols;
    for (i64 c = block.rank(); c < cols; c += block.size()) y[c] = TO((accumulate ? float(y[c]) : 0.f) + scale * sum[c]);
  }
};

// sum[c] = the sum of x[r, c] over the rows, in a fixed order: in chunks first, which run side by side and round less than one
// long sum, then over the chunks.
template <Device D, class T>
void sum_rows(float* sum, const T* x, i64 rows, i64 cols) {
  constexpr i64 chunk = 64;
  const i64 whole = rows / chunk, rest = rows % chunk, chunks = whole + (rest ? 1 : 0);
  const auto memory = Pool<D>::current().allocate(chunks * cols * i64(sizeof(float)));
  float* partial = static_cast<float*>(memory.get());
  const auto add = [&]<class X>(float* to, const X* from, i64 outer, i64 count) {
    Runtime<D>::launch(Grid{outer}, ReduceRows<float, X>{to, from, count, cols, 1.f, false});
  };
  if (whole) add(partial, x, whole, chunk);
  if (rest) add(partial + whole * cols, x + whole * chunk * cols, 1, rest);
  add(sum, static_cast<const float*>(partial), 1, chunks);
}

// out[o] = scale * sum over i < n of x[o, i]                     one block an outer index
template <class TO, class T>
struct SumAll {
  TO* out;     // [outer]
  const T* x;  // [outer, n]
  i64 n;
  float scale;

  template <Block B>
  MG_HD void operator()(B& block) const {
    float sum = 0.f;
    for (i64 i = block.rank(); i < n; i += block.size()) sum += float(x[block.id() * n + i]);
    sum = block.reduce(sum, Sum{});
    if (block.rank() == 0) out[block.id()] = TO(scale * sum);
  }
};

}  // namespace mindgap
