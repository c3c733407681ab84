// Rows and the threads of a GPU: how many threads do a row together, and how they hold it in registers.
//
// A row belongs to a team of threads: 1 to 32 lanes of a warp for up to 512 columns, which need no barrier, a whole block for
// more. The team loads its row once, all vectors before the first use, and holds it; a row that is too long for that (over 4,096
// columns, over 128 where rows do not begin at multiples of 16 bytes) is for loops over memory, as on the CPU.
//
// On the CPU a reduction over the row would not vectorise (g++ does not reassociate floats), so the one thread keeps `lanes`
// partial results side by side; they are combined in a fixed order.
#pragma once

#include <mindgap/kernels/vectorised.hpp>

#include <utility>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// A sum of n numbers of one sign, one after another in f32, can lose n / 2 units of its last place: a hundredth of it at a
// million. What one thread adds is therefore cut in pieces of so many numbers, whose sums are added then.
inline constexpr i64 longest_sum = 2048;

inline constexpr int register_elements = 16;  // of a row that a thread keeps in registers: few enough for many threads a core

// How teams of threads share rows. Depends on the shape alone.
struct RowTeams {
  i64 rows, cols;
  i64 rows_per_block;
  int lanes;    // threads of a team, 1, 2, ... 32; 0: the whole block
  int threads;  // of a block

  Grid grid() const { return {(rows + rows_per_block - 1) / rows_per_block, threads}; }
  // The same rows, each by its whole block.
  MG_HD RowTeams whole_blocks() const { return {rows, cols, rows_per_block, 0, threads}; }
};

template <class T>
RowTeams row_teams(i64 rows, i64 cols) {
  if (cols > 32 * register_elements) {
    const i64 vectors = (cols + vector_size<T> - 1) / vector_size<T>;
    return {rows, cols, 1, 0, int(std::clamp<i64>((vectors + 31) / 32 * 32, 64, 256))};
  }
  int lanes = 1;  // a thread gets about four elements
  while (lanes < 32 && 4 * lanes < cols) lanes *= 2;
  return {rows, cols, 128 / lanes, lanes, 128};
}

// The threads that do a row together: a Block without shared memory.
template <class B>
class RowTeam {
 public:
  static constexpr bool is_team = B::is_team;

  MG_HD RowTeam(B& block, int lanes)
      : block_(block),
        whole_(lanes == 0),
        size_(whole_ ? block.size() : lanes),
        rank_(whole_ ? block.rank() : block.rank() % lanes) {}

  MG_HD int rank() const { return rank_; }
  MG_HD int size() const { return size_; }
  // Which of the block's teams this is, of how many.
  MG_HD int index() const { return whole_ ? 0 : block_.rank() / size_; }
  MG_HD int count() const { return whole_ ? 1 : block_.size() / size_; }
  template <class T, class Op>
  MG_HD T reduce(T value, Op op) {
    return whole_ ? block_.reduce(value, op) : block_.reduce(value, op, size_);
  }

 private:
  B& block_;
  bool whole_;
  int size_, rank_;
};

// f(team, r, n) for the rows of this block. n is the number of columns, or 0 in a team that has run out of rows: it only takes
// part in reductions, and r is some valid row. On the CPU the block is the team.
template <class B, class F>
MG_HD void for_block_rows(B& block, const RowTeams& teams, F f) {
  const i64 begin = block.id() * teams.rows_per_block, left = teams.rows - begin;
  const i64 count = left < teams.rows_per_block ? left : teams.rows_per_block;
  if constexpr (B::is_team) {
    RowTeam<B> team(block, teams.lanes);
    for (i64 i = 0; i < count; i += team.count()) {
      const bool mine = i + team.index() < count;
      f(team, begin + (mine ? i + team.index() : 0), mine ? teams.cols : 0);
    }
  } else {
    for (i64 r = begin; r < begin + count; ++r) f(block, r, teams.cols);
  }
}

// op over f(i), i < n, by one thread in 16 interleaved lanes, and in pieces of longest_sum a lane.
template <class Op, class F>
MG_HD float lane_reduce(i64 n, float start, Op op, F f) {
  constexpr int lanes = 16;
  float result = start;
  i64 i = 0;
  do {
    const i64 left = n - i, end = i + (left < lanes * longest_sum ? left : lanes * longest_sum);
    float part[lanes];
    for (int j = 0; j < lanes; ++j) part[j] = start;
    for (; i + lanes <= end; i += lanes)
      for (int j = 0; j < lanes; ++j) part[j] = op(part[j], f(i + j));
    for (; i < end; ++i) part[0] = op(part[0], f(i));
    for (int j = 0; j < lanes; ++j) result = op(result, part[j]);
  } while (i < n);
  return result;
}

// op over the row in the team: lanes where it is one thread of a CPU, strided and combined where it is many.
template <class Team, class Op, class F>
MG_HD float row_reduce(Team& team, i64 n, float start, Op op, F f) {
  if constexpr (Team::is_team) {
    float result = start;
    for (i64 i = team.rank(); i < n; i += team.size()) result = op(result, f(i));
    return team.reduce(result, op);
  } else {
    return lane_reduce(n, start, op, f);
  }
}

// Two sums in one reduction.
struct Pair {
  float first, second;
};
struct AddPairs {
  MG_HD Pair operator()(Pair a, Pair b) const { return {a.first + b.first, a.second + b.second}; }
};

// Whether a mean lies so far from zero, thousands of deviations, that its own rounding, which m2, the sum of squared differences
// from it over n values, then holds, shows in what is normalised by both. Such moments are corrected by the sum of the
// differences s, as the two-pass algorithm of Chan, Golub and LeVeque (1983, formula 1.7) does: mean + s / n, m2 - s^2 / n.
// Others are not worth a pass.
MG_HD bool lies_far(float mean, float m2, float n, float eps) { return mean * mean > 0x1p24f * (m2 / n + eps); }

// f(k), k = 0, Step, 2 Step, ... below N, as compile-time constants: arrays that only such k index stay in registers.
template <int N, int Step, class F>
MG_HD void unrolled(F&& f) {
  [&]<int... K>(std::integer_sequence<int, K...>) { (f(std::integral_constant<int, K * Step>{}), ...); }
  (std::make_integer_sequence<int, N / Step>{});
}

// A thread's share of a row of n elements: f(k, i) says that its elements k, ... k + V - 1 are i, ... i + V - 1 of the row.
template <int V, int Elements, class Team, class F>
MG_HD void for_own(const Team& team, i64 n, F&& f) {
  const int first = team.rank() * V, step = team.size() * V;
  unrolled<Elements, V>([&](auto k) {
    if (const int i = first + k / V * step; i < int(n)) f(k, i);
  });
}

// That share of a row of T in registers. Elements beyond the row do not exist.
template <class T, int V, int Elements>
class RegisterRow {
 public:
  template <class Team>
  MG_HD RegisterRow(const Team& team, const T* row, i64 n) {
    for_own<V, Elements>(team, n,
                         [&](auto k, int i) { vectors_[k / V] = *reinterpret_cast<const AlignedVector<T, V>*>(row + i); });
  }
  MG_HD float operator[](int k) const { return float(vectors_[k / V].element[k % V]); }

 private:
  AlignedVector<T, V> vectors_[Elements / V];
};

// f(width, elements) if a block's teams can hold their rows: in vectors, or a few elements one by one where rows do not begin at
// vectors. False, and nothing done, if they cannot. f has the loop over rows, so that the registers of one way are free for the
// other.
template <class T, class B, class F>
MG_HD bool with_register_rows(B& block, const RowTeams& teams, bool aligned, F f) {
  constexpr int V = vector_size<T>, few = 4;  // single elements take more registers for addresses than for values
  const i64 threads = teams.lanes ? teams.lanes : block.size();
  using std::integral_constant;
  if (aligned && teams.cols % V == 0 && teams.cols <= register_elements * threads)
    f(integral_constant<int, V>{}, integral_constant<int, register_elements>{});
  else if (teams.cols <= few * threads) f(integral_constant<int, 1>{}, integral_constant<int, few>{});
  else return false;
  return true;
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
