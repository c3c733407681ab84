// The fiber executor: runs a kernel on the host the way a GPU may run it, to test it where there is no GPU.
//
// Every thread of a block is a fiber (Boost.Context). A thread runs until it reaches a barrier or a reduction, then the
// next one runs; the order of the threads is drawn anew between barriers, and so is the order of the blocks, all from a
// seed. What it reports as an Error, with the threads concerned:
//
//   a barrier that some threads do not reach, or threads that wait at different barriers
//   a write beyond a piece of shared memory (each piece lies between sentinels, checked at every switch)
//   more shared memory than the kernel's shared_bytes() declares, or pieces whose sizes differ between threads
//   two threads that touch the same shared memory between two barriers, one of them writing: a missing barrier. For this the
//   source is compiled as fiber_watch.hpp says
//
// Elsewhere a missing barrier shows as a wrong result: shared memory is poisoned (NaN, or huge values of either sign, by the
// seed) before each block, and another order of threads reads other stale values. So a test runs several seeds and block sizes
// and compares with the serial executor (emulated/emulate.hpp). A reduction combines in the order of CudaBlock; one over groups
// of lanes is a barrier here, where CUDA lets the groups go on by themselves. At a product a warp waits for its own lanes, and
// some warps, by the seed, are held there while others run ahead as far as the next barrier. An asynchronous copy happens as
// late as it may, when its thread waits for it, or under every other seed as early, when it is asked for.
//
// What it leaves out: memory ordering, bank conflicts, warps in lockstep, the order in which a tensor core adds. About 40 ns a
// switch.
#pragma once

#include <mindgap/core/type_name.hpp>
#include <mindgap/kernels/fiber_team.hpp>

namespace mindgap {
inline namespace MINDGAP_SET {

// What one thread sees of its block.
class FiberBlock {
 public:
  FiberBlock(FiberTeam& team, int rank) : team_(&team), rank_(rank) {}
  static constexpr bool is_team = true;

  i64 id() const { return team_->id_; }
  int rank() const { return rank_; }
  int size() const { return team_->grid_.threads; }
  void sync(std::source_location where = std::source_location::current()) const { team_->wait(rank_, "sync", where); }
  template <class T, class Op>
  T reduce(T value, Op op, std::source_location where = std::source_location::current()) const {
    return team_->reduce(rank_, value, op, where);
  }
  template <class T, class Op>
  T reduce(T value, Op op, int lanes, std::source_location where = std::source_location::current()) const {
    return team_->reduce_groups(rank_, value, op, lanes, where);
  }
  template <class T>
  T* shared(i64 count, std::source_location where = std::source_location::current()) const {
    return reinterpret_cast<T*>(team_->shared(rank_, count * i64(sizeof(T)), where));
  }

  template <class T>
  void multiply(SumsOfC& c, const OperandA& a, const OperandB& b,
                std::source_location where = std::source_location::current()) const {
    team_->multiply<T>(rank_, c, a, b, where);
  }
  void copy_async(void* to, const void* from, bool inside, std::source_location where = std::source_location::current()) const {
    team_->copy_async(rank_, to, from, inside, where);
  }
  void commit_copies() const { team_->threads_[size_t(rank_)].copies.emplace_back(); }
  template <int Pending>
  void wait_copies() const {
    team_->wait_copies(rank_, Pending);
  }

 private:
  FiberTeam* team_;
  int rank_;
};

// Runs every block of the grid, one after the other in an order drawn from the seed. Throws Error as listed above.
template <class Kernel>
void run_fibers(Grid grid, const Kernel& kernel, u64 seed = 0) {
  FiberTeam team(grid, shared_bytes(kernel), type_name<Kernel>(), seed);
  for (i64 id : team.block_order())
    team.run(id, [&](int rank) {
      FiberBlock block(team, rank);
      run_block(kernel, block);
    });
}

}  // namespace MINDGAP_SET
}  // namespace mindgap
