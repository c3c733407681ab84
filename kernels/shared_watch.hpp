// Finds a missing barrier, whatever the order of the threads: two threads of a block that touch the same byte of shared memory
// between two barriers, one of them writing.
//
// The fiber executor (fiber_team.hpp) says which thread runs, where shared memory lies and when a barrier is passed;
// fiber_watch.hpp tells of each access of the code that it is compiled into. For each byte the watch keeps who touched it since
// the last barrier. Atomic accesses do not race with each other. A product of a warp and a reduction over groups of lanes order
// nothing, not even for the lanes of one warp, as on a GPU.
//
// Leaves out global memory. Costs 72 bytes a byte of shared memory.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <optional>
#include <string>
#include <vector>

namespace mindgap {

class SharedWatch {
 public:
  enum Kind : unsigned char { read, write, atomic_read, atomic_write };

  struct Access {
    u32 call = 0;  // of calls_
    std::uint16_t thread = 0;
    Kind kind = read;

    bool writes() const { return kind == write || kind == atomic_write; }
  };
  struct Race {
    int piece;  // of shared memory, in the order of add_piece()
    i64 byte;   // the first one, in that piece
    Access first, second;
  };

  // Whether any source of this program tells of its accesses.
  static inline bool is_used = false;
  // Of the block of which a thread runs on this thread of the host.
  static inline constinit thread_local SharedWatch* running = nullptr;

  explicit SharedWatch(i64 shared_bytes) : bytes_(size_t(is_used ? shared_bytes : 0)) { add_call(nullptr); }

  void begin_block() {
    pieces_.clear();
    piece_ = piece_end_ = nullptr;
    low_ = high_ = nullptr;
    race_.reset();
    raced_ = false;
    next_interval();
  }
  // A barrier: what was before it is done.
  void next_interval() { ++interval_; }
  // The bytes of all pieces together are at most those that the watch was made for.
  void add_piece(const std::byte* begin, i64 bytes) {
    const i64 taken = pieces_.empty() ? 0 : pieces_.back().first + pieces_.back().bytes;
    pieces_.push_back({begin, bytes, taken});
    piece_ = pieces_.data(), piece_end_ = piece_ + pieces_.size();
    low_ = low_ ? std::min(low_, begin) : begin;
    high_ = std::max(high_, begin + bytes);
  }
  const std::optional<Race>& race() const { return race_; }

  // The body of a thread runs from go_on() to pause(), which returns in which call it is.
  [[gnu::no_sanitize("thread")]] void go_on(int thread, u32 call) {
    thread_ = thread;
    call_ = call;
    if (is_used) running = this;
  }
  [[gnu::no_sanitize("thread")]] u32 pause() {
    running = nullptr;
    return call_;
  }
  // While the executor works in a thread.
  class Pause {
   public:
    [[gnu::no_sanitize("thread")]] explicit Pause(SharedWatch& watch) : watch_(watch), call(watch.pause()) {}
    [[gnu::no_sanitize("thread")]] ~Pause() { watch_.go_on(watch_.thread_, call); }
    Pause(const Pause&) = delete;

   private:
    SharedWatch& watch_;

   public:
    const u32 call;
  };

  // Calls and accesses are many: what sees them is fast, and not watched itself, where a test is compiled without optimisation.
  [[gnu::no_sanitize("thread"), gnu::optimize("O2")]] void enter(const void* from) { call_ = callee(from); }
  [[gnu::no_sanitize("thread"), gnu::optimize("O2")]] void leave() { call_ = call_table_[call_].caller; }

  // Whether an access may touch shared memory: most do not.
  [[gnu::always_inline, gnu::no_sanitize("thread")]] bool may_hold(const void* at, i64 bytes) const {
    return at<high_&& static_cast<const std::byte*>(at) + bytes> low_;
  }
  // The running thread touches memory, of any kind, from an instruction of the function that it is in.
  [[gnu::no_sanitize("thread"), gnu::optimize("O2")]] void touch(Kind kind, const void* at, i64 bytes, const void* from) {
    for (const Piece* piece = piece_; piece != piece_end_; ++piece) {
      const i64 first = static_cast<const std::byte*>(at) - piece->begin;
      if (first < piece->bytes && first + bytes > 0)
        return touch(*piece, first, bytes, {callee(from), std::uint16_t(thread_), kind});
    }
  }
  // A copy that a thread has asked for in a call writes now.
  [[gnu::no_sanitize("thread"), gnu::optimize("O2")]] void write_from(u32 call, int thread, const void* at, i64 bytes) {
    if (!is_used) return;
    for (const Piece* piece = piece_; piece != piece_end_; ++piece) {
      const i64 first = static_cast<const std::byte*>(at) - piece->begin;
      if (first < piece->bytes && first + bytes > 0) return touch(*piece, first, bytes, {call, std::uint16_t(thread), write});
    }
  }

  // "norm_batch.hpp:47", or "columns.hpp:100, called from norm_batch.hpp:47", where the program has its lines (-g1) and addr2line
  // is at hand; else the address.
  std::string place(const Access& access) const {
    std::vector<const void*> addresses;
    for (u32 call = access.call; call; call = calls_[call].caller) addresses.push_back(calls_[call].from);
    std::string out;
    for (const std::string& line : source_lines(addresses)) {
      const bool of_executor =
          line.starts_with("fiber_team.hpp:") || line.starts_with("fiber_block.hpp:") || line.starts_with("block.hpp:");
      if (of_executor && !out.empty()) break;
      if (!of_executor) out += (out.empty() ? "" : ", called from ") + line;
    }
    return out.empty() ? text("the instruction before ", addresses.empty() ? nullptr : addresses.front()) : out;
  }

 private:
  struct Piece {
    const std::byte* begin;
    i64 bytes, first;  // its first byte in seen_
  };
  // A function call or an access, as a node of the tree of all that were made.
  struct Call {
    u32 caller, callees, sibling;  // 0: none
    const void* from;              // the address behind the instruction
  };
  // Of each kind the first two threads: whoever comes, one of the two is another.
  struct Byte {
    u32 interval = 0;
    u32 made = 0;  // in that interval: bit k says that the first of kind k is there, bit k + 4 the second
    Access seen[4][2];
  };

  // Bit k: whether accesses of the kind and of kind k race, where they are of different threads.
  static constexpr u32 races[4] = {1 << write | 1 << atomic_write, 15, 1 << write, 1 << read | 1 << write};

  [[gnu::no_sanitize("thread"), gnu::optimize("O2")]] void touch(const Piece& piece, i64 first, i64 bytes, const Access& access) {
    if (raced_) return;
    if (!byte_) make_bytes();
    const i64 begin = first < 0 ? 0 : first, end = first + bytes < piece.bytes ? first + bytes : piece.bytes;
    Byte* byte = byte_ + piece.first + begin;
    for (i64 at = begin; at < end; ++at, ++byte) {
      if (byte->interval != interval_) byte->interval = interval_, byte->made = 0;
      if (byte->made & races[access.kind])
        for (int i = 0; i < 8; ++i)
          if (const Access& other = byte->seen[i % 4][i / 4];
              byte->made >> i & races[access.kind] >> i % 4 & 1 && other.thread != access.thread)
            return report({int(&piece - piece_), at, other, access});
      Access* const seen = byte->seen[access.kind];
      if (!(byte->made >> access.kind & 1)) seen[0] = access, byte->made |= 1 << access.kind;
      else if (seen[0].thread != access.thread && !(byte->made >> (access.kind + 4) & 1))
        seen[1] = access, byte->made |= 16 << access.kind;
    }
  }

  // The node of what the running thread does from there.
  [[gnu::no_sanitize("thread"), gnu::optimize("O2")]] u32 callee(const void* from) {
    u32 call = call_table_[call_].callees;
    while (call && call_table_[call].from != from) call = call_table_[call].sibling;
    return call ? call : add_call(from);
  }
  u32 add_call(const void* from) {
    const u32 call = u32(calls_.size());
    calls_.push_back({call_, 0, call ? calls_[call_].callees : 0, from});
    if (call) calls_[call_].callees = call;
    call_table_ = calls_.data();
    return call;
  }
  void make_bytes() {
    seen_.resize(bytes_);
    byte_ = seen_.data();
  }
  void report(const Race& race) {
    race_ = race;
    raced_ = true;
  }

  // Lines of the source, those of functions that are inlined there included.
  static std::vector<std::string> source_lines(const std::vector<const void*>& addresses) {
    std::string command;
    for (const void* address : addresses) {
      Dl_info object;
      if (!dladdr(address, &object) || std::strchr(object.dli_fname, '\'')) break;  // a shell reads the name
      const bool moves = static_cast<const Elf64_Ehdr*>(object.dli_fbase)->e_type == ET_DYN;
      const auto base = moves ? reinterpret_cast<std::uintptr_t>(object.dli_fbase) : 0;
      if (command.empty()) command = text("addr2line -s -i -e '", object.dli_fname, "'");
      char number[32];
      std::snprintf(number, sizeof number, " %#zx", size_t(reinterpret_cast<std::uintptr_t>(address) - base - 1));
      command += number;
    }
    std::vector<std::string> lines;
    if (command.empty()) return lines;
    FILE* const output = popen((command + " 2>/dev/null").c_str(), "r");
    if (!output) return lines;
    char line[1000];
    while (std::fgets(line, sizeof line, output)) {
      std::string here = line;
      here.erase(std::min(here.find('\n'), here.find(' ')));  // " (discriminator 2)"
      if (!here.starts_with("??")) lines.push_back(here);
    }
    pclose(output);
    return lines;
  }

  size_t bytes_;
  std::vector<Piece> pieces_;
  std::vector<Byte> seen_;   // made at the first access
  std::vector<Call> calls_;  // 0: the thread's body
  std::optional<Race> race_;
  // The same without a function call.
  const Piece *piece_ = nullptr, *piece_end_ = nullptr;
  const std::byte *low_ = nullptr, *high_ = nullptr;  // all pieces lie between
  Byte* byte_ = nullptr;
  Call* call_table_ = nullptr;
  bool raced_ = false;

  u32 interval_ = 0, call_ = 0;
  int thread_ = 0;
};

}  // namespace mindgap
