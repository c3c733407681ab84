// Batches of pixels that worker threads make ahead of whoever trains on them, in a ring of a few batches.
//
//   take(number)   waits for that batch and lets the workers go on with the next ones; its pixels stay until the next take()
//
// Batches come in order; to ask for another one (training resumes, an evaluation starts over) drops what was made ahead. A worker
// takes one image at a time, so a batch is ready as soon as all workers together can make it, and whoever waits makes images
// too: with no workers it makes all of them. What an image is depends on none of this. The error of an image is thrown
// to whoever takes its batch, of several the first in the batch. A prefetcher stops as soon as the images at hand are finished.
// Threads do not survive fork(): where a prefetcher has some, take() is an Error in the child.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/kernels/augment.hpp>

#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unistd.h>
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
    if (is_forked()) {
      team_.release();  // who would wait for its threads, or destroy what they wait for, would wait for ever
      return;
    }
    {
      const std::lock_guard lock(team_->mutex);
      stop_ = true;
    }
    team_->work.notify_all();
    for (std::thread& thread : team_->threads) thread.join();
  }

  // One thread at a time. plan(number): the images of a batch; called by this thread.
  template <class Plan>
  const Batch& take(i64 number, Plan&& plan) {
    if (is_forked())
      throw Error(
          "loader: its worker threads are in the process that forked this one",
          {{"workers", text(workers_)}, {"remedy", "make the loader in the child, or take no batch of it before the fork"}});
    std::unique_lock lock(team_->mutex);
    team_->process = getpid();
    while (team_->threads.size() < workers_) team_->threads.emplace_back([this] { work(); });
    if (number != taken_ && number != taken_ + 1) {  // nothing is left to begin, and nothing at hand
      begun_ = planned_;
      taken_ = none;
      team_->done.wait(lock, [&] { return busy_ == 0; });
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
    team_->work.notify_all();
    Batch& batch = at(number);
    while (batch.missing > 0) {
      if (begun_ == number) make_one(lock);
      else team_->done.wait(lock);
    }
    if (batch.error) std::rethrow_exception(batch.error);
    return batch;
  }

 private:
  static constexpr i64 none = -2;

  struct Team {
    std::mutex mutex;
    std::condition_variable work, done;
    std::vector<std::thread> threads;
    pid_t process = 0;  // in which they are
  };

  bool is_forked() const { return !team_->threads.empty() && team_->process != getpid(); }

  Batch& at(i64 number) { return ring_[size_t(number) % ring_.size()]; }

  void work() {
    std::unique_lock lock(team_->mutex);
    while (true) {
      team_->work.wait(lock, [&] { return stop_ || begun_ < planned_; });
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
    if (--batch.missing == 0 || busy_ == 0) team_->done.notify_all();
  }

  Make make_;
  size_t image_bytes_, workers_;
  std::unique_ptr<Team> team_ = std::make_unique<Team>();
  std::vector<Batch> ring_;                     // batch b at b modulo its size
  i64 taken_ = none, planned_ = 0, begun_ = 0;  // batches: the last that was asked for; the next to plan; the next to make from
  size_t place_ = 0;                            // the next image of begun_
  i64 busy_ = 0;                                // images that are being made
  bool stop_ = false;
};

}  // namespace mindgap
