// Batches of pixels that worker threads make ahead of whoever trains on them, in a ring of a few batches.
//
//   take(number)   waits for that batch and lets the workers go on with the next ones; its pixels stay until the next take()
//
// Batches come in order; to ask for another one (training resumes, an evaluation starts over) drops what was made ahead. A worker
// takes one image at a time, so a batch is ready as soon as all workers together can make it, and whoever waits makes images
// too: with no workers it makes all of them. What an image is depends on none of this. The error of an image is thrown
// to whoever takes its batch, of several the first in the batch. A prefetcher stops as soon as the images at hand are finished.
#pragma once

#include <mindgap/kernels/augment.hpp>

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace mindgap {

class Prefetcher {
 public:
  // Makes the pixels of an image of batch `number`; called by any thread.
  using Make = std::function<void(i64 number, const PlannedImage& image, u8* pixels)>;

  struct Batch {
    std::vector<PlannedImage> images;
    std::vector<u8> pixels;  // of one image after another

   private:
    friend class Prefetcher;
    i64 missing = 0;  // images
    std::exception_ptr error;
    size_t error_place = 0;
  };

  // image_bytes: the pixels of an image.
  Prefetcher(Make make, i64 image_bytes, i64 workers)
      : make_(std::move(make)), image_bytes_(size_t(image_bytes)), workers_(size_t(workers)), ring_(workers ? 4 : 1) {}
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;
  ~Prefetcher() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  // One thread at a time. plan(number): the images of a batch; called by this thread.
  template <class Plan>
  const Batch& take(i64 number, Plan&& plan) {
    std::unique_lock lock(mutex_);
    while (threads_.size() < workers_) threads_.emplace_back([this] { work(); });
    if (number != taken_ && number != taken_ + 1) {  // nothing is left to begin, and nothing at hand
      begun_ = planned_;
      taken_ = none;
      done_.wait(lock, [&] { return busy_ == 0; });
      begun_ = planned_ = number;
      place_ = 0;
    }
    for (; planned_ < number + i64(ring_.size()); ++planned_) {
      std::vector<PlannedImage> images = plan(planned_);
      Batch& batch = at(planned_);
      batch.images = std::move(images);
      batch.pixels.resize(batch.images.size() * image_bytes_);
      batch.missing = i64(batch.images.size());
      batch.error = nullptr;
    }
    taken_ = number;
    work_.notify_all();
    Batch& batch = at(number);
    while (batch.missing > 0) {
      if (begun_ == number) make_one(lock);
      else done_.wait(lock);
    }
    if (batch.error) std::rethrow_exception(batch.error);
    return batch;
  }

 private:
  static constexpr i64 none = -2;

  Batch& at(i64 number) { return ring_[size_t(number) % ring_.size()]; }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      work_.wait(lock, [&] { return stop_ || begun_ < planned_; });
      if (stop_) return;
      make_one(lock);
    }
  }
  // Takes the next image and makes it, unlocked.
  void make_one(std::unique_lock<std::mutex>& lock) {
    const i64 number = begun_;
    const size_t place = place_++;
    Batch& batch = at(number);
    if (place_ == batch.images.size()) ++begun_, place_ = 0;
    ++busy_;
    lock.unlock();
    std::exception_ptr error;
    try {
      make_(number, batch.images[place], batch.pixels.data() + place * image_bytes_);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error && (!batch.error || place < batch.error_place)) batch.error = error, batch.error_place = place;
    --busy_;
    if (--batch.missing == 0 || busy_ == 0) done_.notify_all();
  }

  Make make_;
  size_t image_bytes_, workers_;
  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::vector<Batch> ring_;                     // batch b at b modulo its size
  i64 taken_ = none, planned_ = 0, begun_ = 0;  // batches: the last that was asked for; the next to plan; the next to make from
  size_t place_ = 0;                            // the next image of begun_
  i64 busy_ = 0;                                // images that are being made
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace mindgap
