// Sums of rows. Many columns' sums, and sums of few rows of very many elements, are ReduceRows' (reduce.hpp).
#pragma once

#include <mindgap/kernels/rows.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// out[r] = scale * sum over c of x[r, c]; at least one column. Reads every element once.
template <class TO, class T>
struct RowSums {
  TO* out;     // [rows]
  const T* x;  // [rows, cols]
  RowTeams teams;
  float scale;

  template <Block B>
  MG_HD void operator()(B& block) const {
    for_block_rows(block, teams, [&](auto& team, i64 r, i64 n) {
      const T* row = x + r * teams.cols;
      const float sum = row_reduce(team, n, 0.f, Sum{}, [=](i64 c) { return float(row[c]); });
      if (n > 0 && team.rank() == 0) out[r] = TO(scale * sum);
    });
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
