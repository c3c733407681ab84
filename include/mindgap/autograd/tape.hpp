// The tape: what backward has to do, in the order of recording.
//
// A record is a callable in a bump arena; there are no virtual nodes. Every op records after its inputs were made, so
// the reversed order is a valid order. A record is destroyed as soon as it has run, which gives back the tensors that
// it kept alive.
#pragma once

#include <mindgap/core/tensor.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace mindgap {

class Tape {
 public:
  Tape() = default;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;
  ~Tape() { clear(); }

  // What the next record reads as it is now: run() throws where one of these tensors has been written to since.
  template <class... Tensors>
  Tape& reads(const Tensors&... tensors) {
    const auto add = [this](const auto& tensor) {
      if (tensor.defined()) reads_.push_back({tensor.storage(), tensor.storage()->version()});
    };
    (add(tensors), ...);
    return *this;
  }
  // Keeps `backward`, a callable without arguments, until run() or clear().
  template <class F>
  void record(F backward) {
    static_assert(sizeof(F) <= chunk_bytes && alignof(F) <= alignof(std::max_align_t),
                  "mindgap: a record is at most 64 KiB and needs no alignment of its own: keep what is larger in a tensor");
    void* place = allocate(sizeof(F), alignof(F));
    new (place) F(std::move(backward));
    records_.push_back(
        {place, [](void* f) { (*static_cast<F*>(f))(); }, [](void* f) { static_cast<F*>(f)->~F(); }, reads_.size()});
  }

  // Runs all records, the latest first, and leaves the tape empty, also if one throws. The gradient of the result must have
  // been set. Nothing is run where something that a record reads has been overwritten.
  void run() {
    try {
      for (const Read& read : reads_) check(read);
    } catch (...) {
      clear();
      throw;
    }
    while (!records_.empty()) {
      const Record last = records_.back();
      records_.pop_back();
      try {
        take_reads(records_.empty() ? 0 : records_.back().reads);
        last.run(last.body);
      } catch (...) {
        last.destroy(last.body);
        clear();
        throw;
      }
      last.destroy(last.body);
    }
    clear();
  }

  // Forgets all records without running them.
  void clear() {
    for (auto record = records_.rbegin(); record != records_.rend(); ++record) record->destroy(record->body);
    records_.clear();
    reads_.clear();
    used_ = 0;
    chunk_ = 0;
    ++emptied_;
  }

  // Number of records: 0 after a forward pass in which nothing needed a gradient.
  size_t size() const { return records_.size(); }

  // How often the tape has been emptied. What was computed before that can have no gradient any more: its record is gone.
  i64 emptied() const { return emptied_; }

 private:
  struct Record {
    void* body;
    void (*run)(void*);
    void (*destroy)(void*);
    size_t reads;  // end of its own in reads_
  };
  struct Read {
    std::shared_ptr<const Storage> storage;
    u64 version;
  };
  static constexpr size_t chunk_bytes = 64 * 1024;
  struct Chunk {
    alignas(std::max_align_t) std::byte bytes[chunk_bytes];
  };

  static void check(const Read& read) {
    if (read.storage->version() != read.version)
      throw Error("backward: a value that a gradient reads was overwritten after an op had used it",
                  {{"remedy", "write to a clone() of it, or after backward()"}});
  }
  // Checks, for an earlier record may have written to them, and forgets the reads from `begin` on: those of the last record.
  void take_reads(size_t begin) {
    for (; reads_.size() > begin; reads_.pop_back()) check(reads_.back());
  }

  void* allocate(size_t bytes, size_t alignment) {
    used_ = (used_ + alignment - 1) / alignment * alignment;
    if (used_ + bytes > chunk_bytes) {
      ++chunk_;
      used_ = 0;
    }
    if (chunk_ == chunks_.size()) chunks_.push_back(std::make_unique<Chunk>());
    void* place = chunks_[chunk_]->bytes + used_;
    used_ += bytes;
    return place;
  }

  std::vector<Record> records_;
  std::vector<Read> reads_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  size_t chunk_ = 0, used_ = 0;
  i64 emptied_ = 0;
};

}  // namespace mindgap
