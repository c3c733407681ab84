// Pooled memory. A block that a tensor releases goes to a free list of its size class and serves the next tensor of
// that class, so that a training step after the first allocates nothing from the system.
//
// Size classes are eighths of powers of two: at most 12.5 % is wasted. Blocks are aligned to 64 bytes on the CPU.
// What it leaves out: blocks are never given back to the system before the program ends or trim() is called.
#pragma once

#include <mindgap/core/device.hpp>
#include <mindgap/core/dtype.hpp>

#include <bit>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace mindgap {

template <Device D>
class Pool {
 public:
  static Pool& instance() {
    static Pool* pool = new Pool;  // never destroyed: tensors in static storage may outlive it
    return *pool;
  }

  // A block of at least `bytes` bytes, uninitialised; shared, and returned to the pool by its last owner.
  std::shared_ptr<void> allocate(i64 bytes) {
    const i64 size = size_class(bytes);
    void* block = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (auto& free = free_[size]; !free.empty()) {
        block = free.back();
        free.pop_back();
        bytes_free_ -= size;
      }
    }
    if (!block) block = Runtime<D>::allocate(size);
    {
      std::lock_guard lock(mutex_);
      bytes_used_ += size;
      bytes_peak_ = std::max(bytes_peak_, bytes_used_);
    }
    return std::shared_ptr<void>(block, [this, size](void* released) { release(released, size); });
  }

  void trim() {
    std::lock_guard lock(mutex_);
    for (auto& [size, blocks] : free_)
      for (void* block : blocks) Runtime<D>::deallocate(block);
    free_.clear();
    bytes_free_ = 0;
  }

  i64 bytes_used() const { return bytes_used_; }
  i64 bytes_peak() const { return bytes_peak_; }
  void reset_peak() { bytes_peak_ = bytes_used_; }

 private:
  static i64 size_class(i64 bytes) {
    if (bytes <= 512) return 512;
    const i64 step = i64(std::bit_floor(u64(bytes))) / 8;
    return (bytes + step - 1) / step * step;
  }

  void release(void* block, i64 size) {
    std::lock_guard lock(mutex_);
    free_[size].push_back(block);
    bytes_used_ -= size;
    bytes_free_ += size;
  }

  std::mutex mutex_;
  std::map<i64, std::vector<void*>> free_;
  i64 bytes_used_ = 0, bytes_peak_ = 0, bytes_free_ = 0;
};

}  // namespace mindgap
