// The threads of a block as fibers: the scheduler of the fiber executor (fiber_block.hpp says what it does and reports), the
// shared memory that it guards, and what threads do together.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/core/random.hpp>
#include <mindgap/kernels/matrix_block.hpp>
#include <mindgap/kernels/shared_watch.hpp>

#include <array>
#include <boost/context/fiber.hpp>
#include <boost/context/preallocated.hpp>
#include <cstring>
#include <exception>
#include <functional>
#include <optional>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace mindgap {
inline namespace MINDGAP_SET {

// The threads of one block: their fibers, their shared memory and the scheduler. One team runs block after block.
class FiberTeam {
 public:
  FiberTeam(Grid grid, i64 shared_bytes, std::string kernel, u64 seed)
      : grid_(grid),
        shared_bytes_(shared_bytes),
        kernel_(std::move(kernel)),
        seed_(seed),
        random_(mix64(seed)),
        watch_(shared_bytes) {
    std::memset(sentinel_, poison(), sizeof sentinel_);
    if (grid.threads < 1 || grid.threads > 1024)
      throw Error(text("fibers: a block has 1 to 1024 threads, not ", grid.threads), {{"kernel", kernel_}});
    stacks_ = std::make_unique_for_overwrite<std::byte[]>(size_t(grid.threads * stack_bytes));
  }

  // Runs body(rank) in every thread of block `id`. No template: kernels are many, and each would compile the fibers again.
  void run(i64 id, const std::function<void(int)>& body) {
    id_ = id;
    pieces_.clear();
    watch_.begin_block();
    barriers_ = 0;
    failure_ = nullptr;
    threads_.clear();
    for (int rank = 0; rank < grid_.threads; ++rank) threads_.push_back(start(rank, body));
    while (step()) {
    }
    if (failure_) std::rethrow_exception(failure_);
  }

  // The blocks of the grid in the seed's order.
  std::vector<i64> block_order() const { return permutation(grid_.blocks, Stream(seed_, "fibers")); }

 private:
  friend class FiberBlock;
  enum class State { ready, waiting, done };

  struct Copy {
    void* to;
    const void* from;  // null: zeros
    bool done;         // early
    u32 call;          // which the watch names
  };

  struct Thread {
    boost::context::fiber fiber, scheduler;
    State state = State::ready;
    bool in_warp = false;                      // waits for its warp, not for all
    bool in_groups = false;                    // waits in a reduction over groups of lanes, which is no barrier
    const char* call = "";                     // "sync", "reduce" or "multiply"
    std::source_location where;                // of that call
    void* value = nullptr;                     // what a waiting thread gives to a reduction; receives the result
    size_t pieces = 0;                         // of shared memory, taken so far
    std::vector<std::vector<Copy>> copies{1};  // groups that are under way; the last is not committed
    void* fake_stack = nullptr;                // of the address sanitizer
  };

  // Shared memory between two sentinels.
  struct Piece {
    struct alignas(shared_alignment) Line {
      std::byte bytes[shared_alignment];
    };
    std::vector<Line> memory;
    i64 bytes;
    std::source_location where;

    std::byte* data() { return memory[sentinel_lines].bytes; }
    std::byte* before() { return memory[0].bytes; }
    std::byte* after() { return data() + bytes; }
    std::byte* end() { return before() + i64(memory.size()) * shared_alignment; }
  };

  struct Abandoned {};  // thrown in waiting threads when another one has failed

  static constexpr i64 stack_bytes = 128 << 10, sentinel_lines = 4;

  Thread start(int rank, const std::function<void(int)>& body) {
    struct Owned {
      void deallocate(boost::context::stack_context&) noexcept {}  // the team keeps the stacks
    };
    boost::context::stack_context stack;
    stack.size = size_t(stack_bytes);
    stack.sp = stacks_.get() + (rank + 1) * stack_bytes;
    Thread thread;
    thread.fiber = boost::context::fiber(std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack), Owned{},
                                         [this, rank, &body](boost::context::fiber&& scheduler) {
                                           Thread& self = threads_[size_t(rank)];
                                           self.scheduler = std::move(scheduler);
                                           entered(nullptr);
                                           watch_.go_on(rank, 0);
                                           try {
                                             body(rank);
                                           } catch (const Abandoned&) {
                                           } catch (...) {
                                             if (!failure_) failure_ = std::current_exception();
                                           }
                                           watch_.pause();
                                           self.state = State::done;
                                           leaving(nullptr, scheduler_stack_, scheduler_stack_bytes_);
                                           return std::move(self.scheduler);
                                         });
    return thread;
  }

  // Runs every thread that may go on to its next stop or its end. False when all have ended.
  bool step() {
    std::vector<int> order = threads_that_go_on();
    if (order.empty()) return false;
    for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[mix64(++random_) % (i + 1)]);
    for (int rank : order) {
      resume(rank);
      check_sentinels(rank);
      check_watch();
    }
    return true;
  }

  // All after a failure, to unwind; else some of the warps whose lanes have all got to a product, while there are any; else all,
  // which must wait at the same call.
  std::vector<int> threads_that_go_on() {
    std::vector<int> all, warps;
    for (int rank = 0; rank < grid_.threads; ++rank)
      if (threads_[size_t(rank)].state != State::done) all.push_back(rank);
    if (failure_ || all.empty()) return all;
    for (int first = 0; first < grid_.threads; first += 32)
      if (waits_as_a_warp(first)) warps.push_back(first);
    if (warps.empty()) {
      if (threads_[size_t(all[0])].state == State::waiting) check_barrier(), pass_barrier(all[0]);
      combined_ = {};
      return all;
    }
    std::vector<int> some;
    const size_t sure = mix64(++random_) % warps.size();  // the others by chance
    for (size_t i = 0; i < warps.size(); ++i) {
      if (i != sure && mix64(++random_) % 2) continue;
      combined_[size_t(warps[i] / 32)] = false;
      for (int lane = 0; lane < 32; ++lane) some.push_back(warps[i] + lane);
    }
    return some;
  }
  bool waits_as_a_warp(int first) const {
    for (int rank = first; rank < first + 32; ++rank)
      if (rank >= grid_.threads || !threads_[size_t(rank)].in_warp || !same_stop(rank, first)) return false;
    return true;
  }

  void resume(int rank) {
    Thread& thread = threads_[size_t(rank)];
    thread.state = State::ready;
    thread.in_warp = thread.in_groups = false;
    void* fake_stack = nullptr;
    leaving(&fake_stack, stacks_.get() + rank * stack_bytes, size_t(stack_bytes));
    thread.fiber = std::move(thread.fiber).resume();
    entered(fake_stack);
  }

  // In a fiber: lets the others run until all wait.
  void wait(int rank, const char* call, std::source_location where) {
    if (failure_) throw Abandoned{};
    Thread& self = threads_[size_t(rank)];
    self.state = State::waiting;
    self.call = call;
    self.where = where;
    const u32 place = watch_.pause();
    leaving(&self.fake_stack, scheduler_stack_, scheduler_stack_bytes_);
    self.scheduler = std::move(self.scheduler).resume();
    entered(self.fake_stack);
    watch_.go_on(rank, place);
    if (failure_) throw Abandoned{};
  }

  // combine(values) replaces the values of `count` threads from `first` on by their results; the first of them to go on does it,
  // while all others still wait with their values in place.
  template <class T, class Combine>
  T exchange(int rank, const char* call, T value, std::source_location where, int first, int count, Combine combine) {
    Thread* const threads = &threads_[size_t(first)];
    threads_[size_t(rank)].value = &value;
    wait(rank, call, where);
    const SharedWatch::Pause paused(watch_);
    if (bool& combined = combined_[size_t(first / 32)]; !combined) {
      combined = true;
      std::vector<T> values;
      for (int i = 0; i < count; ++i) values.push_back(*static_cast<T*>(threads[i].value));
      combine(values);
      for (int i = 0; i < count; ++i) *static_cast<T*>(threads[i].value) = values[size_t(i)];
    }
    return value;
  }
  template <class T, class Combine>
  T exchange(int rank, T value, std::source_location where, Combine combine) {
    return exchange(rank, "reduce", value, where, 0, grid_.threads, combine);
  }

  template <class T, class Op>
  T reduce(int rank, T value, Op op, std::source_location where) {
    return exchange(rank, value, where, [&](std::vector<T>& tree) {
      const int size = grid_.threads;
      for (int warp = 0; warp < size; warp += 32)
        for (int offset = 16; offset > 0; offset /= 2)
          for (int lane = 0; lane < offset && warp + lane + offset < size; ++lane)
            tree[size_t(warp + lane)] = op(tree[size_t(warp + lane)], tree[size_t(warp + lane + offset)]);
      for (int warp = 32; warp < size; warp += 32) tree[0] = op(tree[0], tree[size_t(warp)]);
      std::fill(tree.begin() + 1, tree.end(), tree[0]);
    });
  }

  template <class T, class Op>
  T reduce_groups(int rank, T value, Op op, int lanes, std::source_location where) {
    if (lanes < 1 || lanes > 32 || 32 % lanes || grid_.threads % lanes)
      throw Error(text("fibers: a reduction over groups of ", lanes, " threads"),
                  lines({{"remedy", "use 1, 2, 4, 8, 16 or 32, which divide the threads of a block"}}), where);
    threads_[size_t(rank)].in_groups = true;
    return exchange(rank, value, where, [&](std::vector<T>& values) {
      for (int offset = 1; offset < lanes; offset *= 2)
        for (size_t i = 0; i < values.size(); ++i)
          if (const size_t other = i ^ size_t(offset); i < other) values[i] = values[other] = op(values[i], values[other]);
    });
  }

  struct Product {
    SumsOfC c;
    OperandA a;
    OperandB b;
  };

  // C += A B by every warp: row i of A and column j of B lie with the lanes of groups i % 8 and j.
  template <class T>
  void multiply(int rank, SumsOfC& c, const OperandA& a, const OperandB& b, std::source_location where) {
    if (grid_.threads % 32) throw Error("fibers: a product of a warp that is not whole", lines({}), where);
    const auto element = [](u32 pair, int k) { return float(bit_cast<T>(std::uint16_t(k % 2 ? pair >> 16 : pair))); };
    threads_[size_t(rank)].in_warp = true;
    c = exchange(rank, "multiply", Product{c, a, b}, where, rank / 32 * 32, 32, [&](std::vector<Product>& warp) {
          for (int lane = 0; lane < 32; ++lane)
            for (int s = 0; s < 4; ++s) {
              const int group = lane / 4, half = s / 2, column = 2 * (lane % 4) + s % 2;
              float& sum = warp[size_t(lane)].c.at[s];
              for (int k = 0; k < 16; ++k)
                sum += element(warp[size_t(4 * group + k % 8 / 2)].a.pair[half + 2 * (k / 8)], k) *
                       element(warp[size_t(4 * column + k % 8 / 2)].b.pair[k / 8], k);
            }
        }).c;
  }

  void copy_async(int rank, void* to, const void* from, bool inside, std::source_location where) {
    if (reinterpret_cast<std::uintptr_t>(to) % 16 || (inside && reinterpret_cast<std::uintptr_t>(from) % 16))
      throw Error("fibers: an asynchronous copy from or to memory that is no multiple of 16 bytes", lines({}), where);
    const SharedWatch::Pause paused(watch_);
    const Copy copy{to, inside ? from : nullptr, seed_ % 2 != 0, paused.call};
    if (copy.done) perform(copy);
    watch_.write_from(copy.call, rank, to, 16);
    threads_[size_t(rank)].copies.back().push_back(copy);
  }
  void wait_copies(int rank, int pending) {
    const SharedWatch::Pause paused(watch_);
    auto& groups = threads_[size_t(rank)].copies;
    while (int(groups.size()) - 1 > pending) {
      for (const Copy& copy : groups.front())
        if (!copy.done) perform(copy);
      groups.erase(groups.begin());
    }
  }
  static void perform(const Copy& copy) {
    if (copy.from) std::memcpy(copy.to, copy.from, 16);
    else std::memset(copy.to, 0, 16);
  }

  std::byte* shared(int rank, i64 bytes, std::source_location where) {
    const SharedWatch::Pause paused(watch_);
    const size_t index = threads_[size_t(rank)].pieces++;
    if (index == pieces_.size()) {
      Piece piece{std::vector<Piece::Line>(size_t(shared_size(bytes) / shared_alignment + 2 * sentinel_lines)), bytes, where};
      std::memset(piece.before(), poison(), size_t(piece.end() - piece.before()));
      pieces_.push_back(std::move(piece));
      i64 total = 0;
      for (const Piece& taken : pieces_) total += shared_size(taken.bytes);
      if (total > shared_bytes_)
        throw Error("fibers: the kernel takes more shared memory than its shared_bytes() declares",
                    lines({{"declared", text(shared_bytes_, " bytes")}, {"taken", text(total, " bytes")}}), where);
      watch_.add_piece(pieces_.back().data(), bytes);
    } else if (pieces_[index].bytes != bytes) {
      throw Error("fibers: threads disagree on the size of a piece of shared memory",
                  lines({{"others", text(pieces_[index].bytes, " bytes")}, {"thread", text(rank, " wants ", bytes, " bytes")}}),
                  where);
    }
    return pieces_[index].data();
  }

  // NaN in f32, f16 and bf16; or a huge positive or a huge negative value, since a maximum can hide a NaN.
  int poison() const {
    constexpr int patterns[] = {0xFF, 0x7B, 0xFB};
    return patterns[seed_ % 3];
  }

  void check_sentinels(int rank) {
    if (failure_) return;
    const std::byte expected = std::byte(poison());
    const auto check = [&](Piece& piece, std::byte* begin, std::byte* end) {
      if (!std::memcmp(begin, sentinel_, size_t(end - begin))) return;
      for (std::byte* at = begin; at < end; ++at)
        if (*at != expected) {
          failure_ = std::make_exception_ptr(
              Error("fibers: a thread wrote outside its shared memory",
                    lines({{"piece", text(piece.bytes, " bytes")},
                           {"thread", text(rank, " wrote at byte ", i64(at - piece.data()), " before it reached ", stop(rank))}}),
                    piece.where));
          return;
        }
    };
    for (Piece& piece : pieces_) {
      check(piece, piece.before(), piece.data());
      check(piece, piece.after(), piece.end());
    }
  }

  void check_watch() {
    if (failure_ || !watch_.race()) return;
    const SharedWatch::Race& race = *watch_.race();
    const Piece& piece = pieces_[size_t(race.piece)];
    const auto said = [&](const SharedWatch::Access& access) {
      return ErrorLine{"thread", text(access.thread, access.writes() ? " wrote it" : " read it", ": ", watch_.place(access))};
    };
    failure_ = std::make_exception_ptr(Error(
        "fibers: two threads touch the same shared memory, with no barrier between them",
        lines({{"memory", text("byte ", race.byte, " (32-bit word ", race.byte / 4, ") of a piece of ", piece.bytes, " bytes")},
               said(race.first),
               said(race.second),
               {"interval",
                barriers_ ? text(barriers_ + 1, " of the block, after ", barrier_) : "1 of the block, before any barrier"},
               {"remedy", "all threads must reach a block.sync() between the two"}}),
        piece.where));
  }

  // All threads wait at the same call: where that is a barrier, what they did before it is done, but for copies under way.
  void pass_barrier(int rank) {
    if (failure_ || !SharedWatch::is_used || threads_[size_t(rank)].in_groups) return;
    ++barriers_;
    barrier_ = stop(rank);
    watch_.next_interval();
    for (size_t i = 0; i < threads_.size(); ++i)
      for (const auto& group : threads_[i].copies)
        for (const Copy& copy : group) watch_.write_from(copy.call, int(i), copy.to, 16);
  }

  // After a step every thread must wait at the same call, or all must have ended.
  void check_barrier() {
    bool together = true;
    for (int rank = 1; rank < grid_.threads; ++rank) together = together && same_stop(rank, 0);
    if (together) return;
    std::vector<std::pair<std::string, std::vector<int>>> stops;
    for (int rank = 0; rank < grid_.threads; ++rank) {
      const std::string here = stop(rank);
      auto at = stops.begin();
      while (at != stops.end() && at->first != here) ++at;
      if (at == stops.end()) at = stops.insert(at, {here, {}});
      at->second.push_back(rank);
    }
    std::vector<ErrorLine> found;
    std::optional<std::source_location> barrier;
    for (const auto& [where, ranks] : stops) {
      found.push_back({"threads", ranges(ranks) + " reached " + where});
      const Thread& first = threads_[size_t(ranks[0])];
      if (!barrier && first.state == State::waiting) barrier = first.where;
    }
    failure_ = std::make_exception_ptr(Error("fibers: a barrier that not all threads reach", lines(std::move(found)), *barrier));
  }

  bool same_stop(int rank, int other) const {
    const Thread &a = threads_[size_t(rank)], &b = threads_[size_t(other)];
    if (a.state == State::done || b.state == State::done) return a.state == b.state;
    return a.where.line() == b.where.line() && !std::strcmp(a.call, b.call) &&
           !std::strcmp(a.where.file_name(), b.where.file_name());
  }

  // Where a thread stopped: "sync() in line 40 of softmax.hpp" or "its end".
  std::string stop(int rank) const {
    const Thread& thread = threads_[size_t(rank)];
    if (thread.state == State::done) return "its end";
    const std::string_view file = thread.where.file_name();
    return text(thread.call, "() in line ", thread.where.line(), " of ", file.substr(file.rfind('/') + 1));
  }

  // "0 to 31, 40"; at most eight ranges.
  static std::string ranges(const std::vector<int>& ranks) {
    std::string out;
    int shown = 0;
    for (size_t i = 0; i < ranks.size();) {
      if (shown++ == 8) return out + text(" and ", ranks.size() - i, " more");
      size_t last = i;
      while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
      out += (i ? ", " : "") + std::to_string(ranks[i]);
      if (last > i) out += (last > i + 1 ? " to " : ", ") + std::to_string(ranks[last]);
      i = last + 1;
    }
    return out;
  }

  std::vector<ErrorLine> lines(std::vector<ErrorLine> specific) const {
    specific.insert(
        specific.begin(),
        {{"kernel", kernel_}, {"block", text(id_, " of ", grid_.blocks, ", ", grid_.threads, " threads, seed ", seed_)}});
    return specific;
  }

  // The address sanitizer must know of every change of stack.
#if defined(__SANITIZE_ADDRESS__)
  void leaving(void** fake_stack, const void* stack, size_t bytes) { __sanitizer_start_switch_fiber(fake_stack, stack, bytes); }
  void entered(void* fake_stack) {
    const void* from = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(fake_stack, &from, &bytes);
    const std::byte* bottom = static_cast<const std::byte*>(from);
    if (bottom < stacks_.get() || bottom >= stacks_.get() + grid_.threads * stack_bytes) {
      scheduler_stack_ = from;
      scheduler_stack_bytes_ = bytes;
    }
  }
#else
  void leaving(void**, const void*, size_t) {}
  void entered(void*) {}
#endif

  Grid grid_;
  i64 shared_bytes_;
  std::string kernel_;
  u64 seed_, random_;
  i64 id_ = 0;
  std::byte sentinel_[(sentinel_lines + 1) * shared_alignment];  // what lies before and behind each piece
  std::unique_ptr<std::byte[]> stacks_;
  std::vector<Thread> threads_;
  std::vector<Piece> pieces_;
  std::exception_ptr failure_;
  std::array<bool, 32> combined_{};  // of each warp, or the first for all: whether an exchange is done
  const void* scheduler_stack_ = nullptr;
  size_t scheduler_stack_bytes_ = 0;
  SharedWatch watch_;
  i64 barriers_ = 0;  // that the block passed; and the last of them
  std::string barrier_;
};

}  // namespace MINDGAP_SET
}  // namespace mindgap
