// Sums over rows in a fixed order.
#pragma once

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
