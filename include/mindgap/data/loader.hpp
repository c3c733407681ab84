// Batches of a data set that lies on the device, normalised and augmented there, each a pure function of (seed, epoch, step).
//
//   images T [B, h, w, C], labels i64 [B]
//
// The order of an epoch is permutation(n, Stream(seed, "order", epoch)); image i of the set is augmented by
// Stream(seed, "augment", epoch, i). Nothing depends on batch position, threads or what was asked for before, so training
// resumes at any step by asking for that step.
// The host says which images and where their windows lie (plan, 16 bytes an image), a kernel makes the batch (read). A captured
// step reads whatever plan was sent before it. The plan belongs to whoever runs the step, so that runs may share a loader.
// Speed on a CPU: 128 flipped and shifted images of 28x28 take about 0.15 ms on one core, an order of 60,000 images 2 ms an
// epoch; all cores fill a batch. Left out: prefetching by a thread of its own, which such times do not need; sets larger than the
// device's memory.
#pragma once

#include <mindgap/core/host_input.hpp>
#include <mindgap/core/profile.hpp>
#include <mindgap/data/augment.hpp>
#include <mindgap/data/dataset.hpp>
#include <mindgap/kernels/augment.hpp>

namespace mindgap {

// What happens to a last batch that is not full.
enum class LastBatch {
  keep,            // evaluation: every image counts
  drop,            // all batches equal
  keep_unless_one  // training: kept, but a single image is dropped, whose batch statistics would be those of one image
};

struct LoaderOptions {
  i64 batch = 128;
  u64 seed = 0;
  bool shuffle = false;
  LastBatch last = LastBatch::keep;
  Augmentation augmentation;
  Normalisation normalisation;
  bool augment = false;  // false: the central window
};

// For training: shuffled and augmented.
inline LoaderOptions training_options(i64 batch, u64 seed, const Augmentation& augmentation = {},
                                      const Normalisation& normalisation = {}) {
  return {batch, seed, true, LastBatch::keep_unless_one, augmentation, normalisation, true};
}
// For evaluation: in order, every image once, only cropped as in training.
inline LoaderOptions evaluation_options(i64 batch, const Augmentation& augmentation = {},
                                        const Normalisation& normalisation = {}) {
  return {batch, 0, false, LastBatch::keep, augmentation, normalisation, false};
}

template <Real T, Device D = Cpu>
struct Batch {
  Tensor<T, 4, D> images;    // [B, h, w, C]
  Tensor<i64, 1, D> labels;  // [B]
};

// The plan of a batch, where a step reads it.
template <Device D>
using BatchPlan = HostInput<PlannedImage, D>;

// A place in training: `step` of `epoch`, both from 0.
struct Position {
  i64 epoch, step;
};

// One thread at a time: the order of the latest epoch is kept.
template <Real T, Device D = Cpu>
class Loader {
 public:
  Loader(Dataset dataset, LoaderOptions options) : dataset_(std::move(dataset)), options_(std::move(options)) {
    const LoaderOptions& o = options_;
    if (o.batch < 1) throw Error(text("loader: a batch of ", o.batch, " images"), {{"remedy", "1 or more"}});
    if (o.augmentation.shift < 0 || o.augmentation.shift > 4096)
      throw Error(text("loader: a shift of ", o.augmentation.shift, " pixels"), {{"remedy", "0 to 4096"}});
    if (o.augmentation.crop_height < 0 || o.augmentation.crop_width < 0 || out_height() > height() + 2 * shift() ||
        out_width() > width() + 2 * shift())
      throw Error(text("loader: a crop of ", out_height(), " x ", out_width(), " from images of ", height(), " x ", width()),
                  {{"remedy", "a smaller crop"}});
    const std::vector<T> table = normalisation_table<T>(o.normalisation, dataset_.images.extent(3));
    table_ = Tensor<T, 1, D>::from(table, Shape<1>(i64(table.size())));
    images_ = dataset_.images.template to<D>();
    labels_ = dataset_.labels.template to<D>();
    if (steps_per_epoch() == 0)
      throw Error(
          text("loader: ", dataset_.size(), dataset_.size() == 1 ? " image makes" : " images make", " no batch of ", o.batch),
          {{"set", dataset_.name},
           {"remedy", o.last == LastBatch::drop ? "use a smaller batch" : "batch norm needs 2 images or more to train"}});
  }

  const Dataset& dataset() const { return dataset_; }
  i64 out_height() const { return options_.augmentation.out_height(height()); }
  i64 out_width() const { return options_.augmentation.out_width(width()); }

  i64 steps_per_epoch() const {
    const i64 full = dataset_.size() / options_.batch, rest = dataset_.size() % options_.batch;
    const bool kept = options_.last == LastBatch::keep ? rest > 0 : options_.last == LastBatch::keep_unless_one && rest > 1;
    return full + (kept ? 1 : 0) - (options_.last == LastBatch::keep_unless_one && options_.batch == 1 ? full : 0);
  }
  Position position(i64 global_step) const { return {global_step / steps_per_epoch(), global_step % steps_per_epoch()}; }

  // Which images the batch has, in order.
  std::vector<i64> batch_indices(i64 epoch, i64 step) const {
    if (epoch < 0 || step < 0 || step >= steps_per_epoch())
      throw Error(text("loader: step ", step, " of epoch ", epoch, ", an epoch has ", steps_per_epoch(), " steps"));
    const i64 begin = step * options_.batch, end = std::min(begin + options_.batch, dataset_.size());
    std::vector<i64> indices(size_t(end - begin));
    if (!options_.shuffle) std::iota(indices.begin(), indices.end(), begin);
    else std::copy(order(epoch).begin() + begin, order(epoch).begin() + end, indices.begin());
    return indices;
  }

  // Which images the batch has, in order, and where the windows lie in them.
  std::vector<PlannedImage> plan(i64 epoch, i64 step) const {
    std::vector<PlannedImage> out;
    const Augmentation& a = options_.augmentation;
    for (i64 image : batch_indices(epoch, step)) {
      const Placement at = options_.augment
                               ? random_placement(a, height(), width(), Stream(options_.seed, "augment", u64(epoch), u64(image)))
                               : central_placement(a, height(), width());
      out.push_back({i32(image), i32(at.top), i32(at.left), at.flip});
    }
    return out;
  }
  // Room for the plan of any batch.
  BatchPlan<D> make_plan() const { return BatchPlan<D>(std::min(options_.batch, dataset_.size())); }

  // The batch that was planned; nothing but the number of its images is the host's.
  Batch<T, D> read(const BatchPlan<D>& plan) const {
    const i64 count = plan.size(), channels = dataset_.images.extent(3), h = out_height(), w = out_width();
    const Batch<T, D> out{Tensor<T, 4, D>(Shape(count, h, w, channels)), Tensor<i64, 1, D>(Shape{count})};
    const Op<D> op("place images");
    op.moves(out.images);
    Runtime<D>::launch(Grid{count},
                       PlaceImages<T>{out.images.data(), out.labels.data(), images_.data(), labels_.data(), plan.data(),
                                      table_.data(), i32(height()), i32(width()), i32(channels), i32(h), i32(w)});
    return out;
  }
  // The same images' rows of a tensor that has one for each image of the set, instead of pixels.
  Batch<T, D> read(const BatchPlan<D>& plan, const Tensor<T, 4, D>& features) const {
    Shape<4> shape = features.shape();
    const i64 size = features.size() / std::max<i64>(shape[0], 1);
    shape[0] = plan.size();
    const Batch<T, D> out{Tensor<T, 4, D>(shape), Tensor<i64, 1, D>(Shape{plan.size()})};
    const Op<D> op("gather rows");
    op.moves(out.images, out.images);
    Runtime<D>::launch(Grid{plan.size()},
                       GatherRows<T>{out.images.data(), out.labels.data(), features.data(), labels_.data(), plan.data(), size});
    return out;
  }

  Batch<T, D> batch(i64 epoch, i64 step) const { return read(BatchPlan<D>(plan(epoch, step))); }
  Batch<T, D> batch(i64 global_step) const {
    const Position at = position(global_step);
    return batch(at.epoch, at.step);
  }

 private:
  i64 height() const { return dataset_.images.extent(1); }
  i64 width() const { return dataset_.images.extent(2); }
  i64 shift() const { return options_.augmentation.shift; }

  const std::vector<i64>& order(i64 epoch) const {
    if (epoch != order_epoch_) {
      order_ = permutation(dataset_.size(), Stream(options_.seed, "order", u64(epoch)));
      order_epoch_ = epoch;
    }
    return order_;
  }

  Dataset dataset_;
  LoaderOptions options_;
  Tensor<u8, 4, D> images_;
  Tensor<i64, 1, D> labels_;
  Tensor<T, 1, D> table_;
  mutable std::vector<i64> order_;  // of order_epoch_, a cache
  mutable i64 order_epoch_ = -1;
};

}  // namespace mindgap
