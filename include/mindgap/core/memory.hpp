// Pooled memory. A block that a tensor releases goes to a free list of its size class and serves the next tensor of
// that class, so that a training step after the first allocates nothing from the system.
//
// Every device has one common pool. A replay (core/replay.hpp) has a pool of its own, an arena, and makes it current while
// its step runs: the addresses that a captured graph holds then belong to that replay alone. An arena takes its blocks from the
// common pool and gives them back when it ends; a sealed one does not grow.
//
// A block may be handed out again while the device still works on it: all work of a device is queued on one stream, so what
// the next owner does comes later. Size classes are eighths of powers of two: at most 12.5 % is wasted. Blocks are aligned to
// 64 bytes on the CPU, 256 on a GPU.
// Free blocks of the common pool are given back to the system by trim(), and where the system has no memory left for a new one.
#pragma once

#include <mindgap/core/device.hpp>
#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <map>
#include <memory>
#include <mutex>
#include <sys/mman.h>
#include <utility>
#include <vector>

namespace mindgap {

// Asks the system for huge pages where memory is written for the first time: a fault for each 4 KiB takes longer than a copy, and
// a product that walks through matrices misses fewer translations.
// Whole huge pages of the array alone, so that no memory beside it is taken.
inline void prefer_huge_pages(void* array, i64 bytes) {
  constexpr u64 page = 2 << 20;
  const u64 begin = (reinterpret_cast<u64>(array) + page - 1) / page * page,
            end = (reinterpret_cast<u64>(array) + u64(bytes)) / page * page;
  if (end > begin)
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // where there are none it changes nothing
}

// Memory that tensors share: a block of a pool, or somebody else's.
class Storage {
 public:
  explicit Storage(void* data = nullptr) : data_(data) {}
  virtual ~Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  // How often functions of this library have written to it since it was made. Writes through data() are not seen.
  u64 version() const { return version_.load(std::memory_order_relaxed); }
  void written() { version_.fetch_add(1, std::memory_order_relaxed); }

 protected:
  void* data_;

 private:
  std::atomic<u64> version_ = 0;
};

template <Device D>
class Pool : public std::enable_shared_from_this<Pool<D>> {
 public:
  // name: whose arena it is, for messages.
  static std::shared_ptr<Pool> make_arena(std::string name) {
    return std::shared_ptr<Pool>(new Pool(std::move(name), common().shared_from_this()));
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  // The pool that allocations of this thread come from: the arena of the replay whose step runs, else the common one.
  static Pool& current() { return current_pointer() ? *current_pointer() : common(); }
  static Pool& common();

  // Makes a pool the current one of this thread.
  class Use {
   public:
    explicit Use(Pool& pool) : before_(std::exchange(current_pointer(), &pool)) {}
    ~Use() { current_pointer() = before_; }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Pool* before_;
  };

  // A block of at least `bytes` bytes, uninitialised; shared, and returned to the pool by its last owner, who may outlive
  // whoever made the pool.
  std::shared_ptr<Storage> storage(i64 bytes);
  std::shared_ptr<void> allocate(i64 bytes) {
    const auto block = storage(bytes);
    return {block, block->data()};
  }

  // From now on a block that no free list has is an error.
  void seal() { sealed_ = true; }

  // Gives the free blocks of the common pool back to the system.
  void trim();

  i64 bytes_used() const { return bytes_used_; }
  i64 bytes_held() const { return bytes_used_ + bytes_free_; }  // used or free
  i64 bytes_peak() const { return bytes_peak_; }
  void reset_peak() { bytes_peak_ = bytes_used_; }

 private:
  Pool(std::string name, std::shared_ptr<Pool> parent) : name_(std::move(name)), parent_(std::move(parent)) {}

  class Block final : public Storage {
   public:
    Block(std::shared_ptr<Pool> pool, i64 size) : pool_(std::move(pool)), size_(size) {}
    ~Block() override {
      if (data_) pool_->give(data_, size_);
    }
    void take(i64 wanted) { data_ = pool_->take(size_, wanted); }

   private:
    std::shared_ptr<Pool> pool_;
    i64 size_;
  };

  static Pool*& current_pointer() {
    thread_local Pool* current = nullptr;
    return current;
  }

  static i64 size_class(i64 bytes) {
    if (bytes <= 512) return 512;
    const i64 step = i64(std::bit_floor(u64(bytes))) / 8;
    return (bytes + step - 1) / step * step;
  }

  // A block of `size` bytes, a size class; `wanted` of them are asked for.
  void* take(i64 size, i64 wanted);
  void* from_system(i64 size);
  void give(void* block, i64 size);

  std::string name_;
  std::shared_ptr<Pool> parent_;  // null: blocks come from the system
  std::mutex mutex_;
  std::map<i64, std::vector<void*>> free_;
  i64 bytes_used_ = 0, bytes_peak_ = 0, bytes_free_ = 0;
  bool sealed_ = false;
};

// Outside the class: programs that link the glue do not compile them again (cpu/runtime.hpp).
template <Device D>
Pool<D>::~Pool() {
  if (!parent_) return;
  for (auto& [size, blocks] : free_)
    for (void* block : blocks) parent_->give(block, size);
}

template <Device D>
Pool<D>& Pool<D>::common() {
  // Never destroyed: tensors in static storage may outlive it.
  static auto* pool = new std::shared_ptr<Pool>(new Pool("common", nullptr));
  return **pool;
}

template <Device D>
std::shared_ptr<Storage> Pool<D>::storage(i64 bytes) {
  const auto block = std::make_shared<Block>(this->shared_from_this(), size_class(bytes));
  block->take(bytes);
  return block;
}

template <Device D>
void Pool<D>::trim() {
  std::lock_guard lock(mutex_);
  for (auto& [size, blocks] : free_)
    for (void* block : blocks) Runtime<D>::deallocate(block);
  free_.clear();
  bytes_free_ = 0;
}

template <Device D>
void* Pool<D>::take(i64 size, i64 wanted) {
  std::unique_lock lock(mutex_);
  void* block = nullptr;
  if (auto& free = free_[size]; !free.empty()) {
    block = free.back();
    free.pop_back();
    bytes_free_ -= size;
  } else if (sealed_) {
    throw Error(text(name_, ": its memory is sealed, and a step now wants ", wanted, " bytes more"),
                {{"op", current_op() ? current_op() : "none"},
                 {"sealed", text(bytes_used_ + bytes_free_, " bytes, ", bytes_used_, " in use")},
                 {"remedy", "a step that is replayed takes the same memory every time: use one replay for each shape"}});
  } else {
    lock.unlock();
    block = parent_ ? parent_->take(size, wanted) : from_system(size);
    lock.lock();
  }
  bytes_used_ += size;
  bytes_peak_ = std::max(bytes_peak_, bytes_used_);
  return block;
}

template <Device D>
void* Pool<D>::from_system(i64 size) {
  try {
    return Runtime<D>::allocate(size);
  } catch (const DeviceError&) {  // what is missing may lie in free blocks of other sizes
    trim();
    return Runtime<D>::allocate(size);
  }
}

template <Device D>
void Pool<D>::give(void* block, i64 size) {
  std::lock_guard lock(mutex_);
  free_[size].push_back(block);
  bytes_used_ -= size;
  bytes_free_ += size;
}

}  // namespace mindgap
