// Batches of a data set, normalised and augmented on the device, each a pure function of (seed, epoch, step).
//
//   images T [B, h, w, C], labels i64 [B]
//
// The order of an epoch is permutation(n, Stream(seed, "order", epoch)); image i of the set is augmented by
// Stream(seed, "augment", epoch, i). Nothing depends on batch position, threads or what was asked for before, so training
// resumes at any step by asking for that step.
//
//   auto plan = loader.make_plan();
//   loader.prepare(plan, epoch, step);                 by the host: which images, and where their windows lie in them
//   const Batch<T, D> batch = loader.read(plan);       by the device: a kernel makes the batch
//
// A captured step reads whatever was prepared before it. The plan belongs to whoever runs the step, so that runs may share a
// loader. There are two roads, and both make the same bits of the same images:
//
//   resident   all images lie on the device, a plan is 16 bytes an image: sets that are resident() and need no transform
//   streamed   a plan brings the pixels; its worker threads read and transform them some batches ahead (prefetch.hpp)
//
// Speed on a CPU: 128 flipped and shifted images of 28x28 take about 0.15 ms on one core, an order of 60,000 images 2 ms an
// epoch; all cores fill a batch.
#pragma once

#include <mindgap/core/host_input.hpp>
#include <mindgap/core/profile.hpp>
#include <mindgap/data/augment.hpp>
#include <mindgap/data/dataset.hpp>
#include <mindgap/data/prefetch.hpp>

namespace mindgap {

// What happens to a last batch that is not full.
enum class LastBatch {
  keep,            // evaluation: every image counts
  drop,            // all batches equal
  keep_unless_one  // training: kept, but a single image is dropped, whose batch statistics would be those of one image
};

// What a worker makes of an image of any size before it joins its batch; augmentation and normalisation come after it.
struct Transform {
  i64 height = 0, width = 0;  // of what it makes
  // Fills out, u8 [height, width, channels]; called by any thread. The stream is keyed by seed, epoch and image.
  std::function<void(const Image& image, const Stream& random, u8* out)> apply;
};

struct LoaderOptions {
  i64 batch = 128;
  u64 seed = 0;
  bool shuffle = false;
  LastBatch last = LastBatch::keep;
  Augmentation augmentation;
  Normalisation normalisation;
  bool augment = false;  // false: the central window
  Transform transform;   // none: images of one size as they are
  i64 workers = 1;       // threads of the streamed road; 0: images are made by whoever prepares
};

// For training: shuffled and augmented.
inline LoaderOptions training_options(i64 batch, u64 seed, const Augmentation& augmentation = {},
                                      const Normalisation& normalisation = {}) {
  return {batch, seed, true, LastBatch::keep_unless_one, augmentation, normalisation, true, {}};
}
// For evaluation: in order, every image once, only cropped as in training.
inline LoaderOptions evaluation_options(i64 batch, const Augmentation& augmentation = {},
                                        const Normalisation& normalisation = {}) {
  return {batch, 0, false, LastBatch::keep, augmentation, normalisation, false, {}};
}

template <Real T, Device D = Cpu>
struct Batch {
  Tensor<T, 4, D> images;    // [B, h, w, C]
  Tensor<i64, 1, D> labels;  // [B]
};

template <Real T, Device D>
class Loader;

// The plan of a batch, where a step reads it. A handle, as a HostInput is.
template <Device D>
class BatchPlan {
 public:
  i64 size() const { return images_.size(); }

  // For PackedInputs.
  template <class F>
  void each_input(F&& f) {
    f(images_), f(labels_), f(pixels_);
  }

 private:
  template <Real T, Device E>
  friend class Loader;
  // room: images, labels, bytes.
  BatchPlan(std::shared_ptr<const char> loader, i64 images, i64 labels, i64 pixels)
      : loader_(std::move(loader)), images_(images), labels_(labels), pixels_(pixels) {}

  std::shared_ptr<const char> loader_;  // which made it
  HostInput<PlannedImage, D> images_;
  // Of the streamed road, where image k of the plan is the k-th of these:
  HostInput<i64, D> labels_;
  HostInput<u8, D> pixels_;
  std::shared_ptr<Prefetcher> prefetcher_;
};

// A place in training: `step` of `epoch`, both from 0.
struct Position {
  i64 epoch, step;
};

// One thread at a time: the order of the latest epoch is kept.
template <Real T, Device D = Cpu>
class Loader {
 public:
  Loader(Dataset dataset, LoaderOptions options);

  const Dataset& dataset() const { return dataset_; }
  i64 out_height() const { return options_.augmentation.out_height(height()); }
  i64 out_width() const { return options_.augmentation.out_width(width()); }

  i64 steps_per_epoch() const;
  Position position(i64 global_step) const { return {global_step / steps_per_epoch(), global_step % steps_per_epoch()}; }

  // Which images the batch has, in order.
  std::vector<i64> batch_indices(i64 epoch, i64 step) const;

  // Room for any batch of this loader; no other takes it.
  BatchPlan<D> make_plan() const;

  // Which batch comes. Returns the labels of its images.
  std::vector<i64> prepare(BatchPlan<D>& plan, i64 epoch, i64 step) const;
  std::vector<i64> prepare(BatchPlan<D>& plan, i64 global_step) const;

  // The batch that was prepared; nothing but the number of its images is the host's.
  Batch<T, D> read(const BatchPlan<D>& plan) const;
  // The same images' rows of a tensor that has one for each image of the set, instead of pixels.
  Batch<T, D> read(const BatchPlan<D>& plan, const Tensor<T, 4, D>& features) const;

  // For whoever replays no steps: by a plan of the loader's own.
  Batch<T, D> batch(i64 epoch, i64 step) const;
  Batch<T, D> batch(i64 global_step) const;

 private:
  i64 height() const { return shape_[0]; }
  i64 width() const { return shape_[1]; }
  i64 shift() const { return options_.augmentation.shift; }

  void check(i64 epoch, i64 step) const;
  void check(const BatchPlan<D>& plan) const;
  std::vector<PlannedImage> planned(i64 epoch, i64 step) const;
  const std::vector<i64>& order(i64 epoch) const;

  std::shared_ptr<const char> self_ = std::make_shared<const char>();  // what its plans and those of its copies know it by
  Dataset dataset_;
  LoaderOptions options_;
  Shape<3> shape_;  // of the images that are augmented
  bool streamed_;
  Tensor<u8, 4, D> images_;   // of the resident road
  Tensor<i64, 1, D> labels_;  // of the resident road
  Tensor<T, 1, D> table_;
  mutable std::vector<i64> order_;  // of order_epoch_, a cache
  mutable i64 order_epoch_ = -1;
  mutable std::optional<BatchPlan<D>> own_plan_;
};

// Outside the class: compiled once for programs that link the glue (data/loader_instances.hpp).
template <Real T, Device D>
Loader<T, D>::Loader(Dataset dataset, LoaderOptions options)
    : dataset_(std::move(dataset)),
      options_(std::move(options)),
      shape_(dataset_.shape()),
      streamed_(options_.transform.apply || !dataset_.resident()) {
  const LoaderOptions& o = options_;
  if (o.transform.apply) {
    shape_[0] = o.transform.height, shape_[1] = o.transform.width;
    if (std::min(shape_[0], shape_[1]) < 1 || std::max(shape_[0], shape_[1]) > 1 << 20)
      throw Error(text("loader: a transform to ", shape_[0], " x ", shape_[1], " pixels"), {{"remedy", text("1 to ", 1 << 20)}});
  }
  if (shape_.size() < 1 && dataset_.size() > 0)
    throw Error("loader: the images differ in size", {{"set", dataset_.name}, {"remedy", "a transform that makes one of them"}});
  if (o.workers < 0 || o.workers > 1024) throw Error(text("loader: ", o.workers, " workers"), {{"remedy", "0 to 1024"}});
  if (o.batch < 1) throw Error(text("loader: a batch of ", o.batch, " images"), {{"remedy", "1 or more"}});
  if (o.augmentation.shift < 0 || o.augmentation.shift > 4096)
    throw Error(text("loader: a shift of ", o.augmentation.shift, " pixels"), {{"remedy", "0 to 4096"}});
  if (o.augmentation.crop_height < 0 || o.augmentation.crop_width < 0 || out_height() > height() + 2 * shift() ||
      out_width() > width() + 2 * shift())
    throw Error(text("loader: a crop of ", out_height(), " x ", out_width(), " from images of ", height(), " x ", width()),
                {{"remedy", "a smaller crop"}});
  const std::vector<T> table = normalisation_table<T>(o.normalisation, shape_[2]);
  table_ = Tensor<T, 1, D>::from(table, Shape<1>(i64(table.size())));
  if (steps_per_epoch() == 0)
    throw Error(
        text("loader: ", dataset_.size(), dataset_.size() == 1 ? " image makes" : " images make", " no batch of ", o.batch),
        {{"set", dataset_.name},
         {"remedy", o.last == LastBatch::drop ? "use a smaller batch" : "batch norm needs 2 images or more to train"}});
  if (streamed_) {
    const i64 most = (i64(4) << 30) / shape_.size();
    if (std::min(o.batch, dataset_.size()) > most)
      throw Error(text("loader: a batch of ", o.batch, " images of ", shape_.str(), " is more than 4 GiB"),
                  {{"set", dataset_.name}, {"remedy", "a smaller batch, or a transform that makes smaller images"}});
    return;
  }
  images_ = all_images(dataset_).template to<D>();
  labels_ = Tensor<i64, 1, D>::from(all_labels(dataset_), Shape<1>(dataset_.size()));
}

template <Real T, Device D>
i64 Loader<T, D>::steps_per_epoch() const {
  const i64 full = dataset_.size() / options_.batch, rest = dataset_.size() % options_.batch;
  const bool kept = options_.last == LastBatch::keep ? rest > 0 : options_.last == LastBatch::keep_unless_one && rest > 1;
  return full + (kept ? 1 : 0) - (options_.last == LastBatch::keep_unless_one && options_.batch == 1 ? full : 0);
}

template <Real T, Device D>
std::vector<i64> Loader<T, D>::batch_indices(i64 epoch, i64 step) const {
  check(epoch, step);
  const i64 begin = step * options_.batch, end = std::min(begin + options_.batch, dataset_.size());
  std::vector<i64> indices(size_t(end - begin));
  if (!options_.shuffle) std::iota(indices.begin(), indices.end(), begin);
  else std::copy(order(epoch).begin() + begin, order(epoch).begin() + end, indices.begin());
  return indices;
}

template <Real T, Device D>
BatchPlan<D> Loader<T, D>::make_plan() const {
  const i64 most = std::min(options_.batch, dataset_.size()), bytes = shape_.size();
  if (!streamed_) return BatchPlan<D>(self_, most, 0, 0);
  BatchPlan<D> out(self_, most, most, most * bytes);
  const auto make = [set = dataset_, shape = shape_, transform = options_.transform.apply, seed = options_.seed,
                     steps = steps_per_epoch()](i64 number, const PlannedImage& planned, u8* pixels) {
    if (!transform) return copy_image(set, planned.image, shape, pixels);
    transform(set.image(planned.image), Stream(seed, "transform", u64(number / steps), u64(planned.image)), pixels);
  };
  out.prefetcher_ = std::make_shared<Prefetcher>(make, bytes, options_.workers);
  return out;
}

template <Real T, Device D>
std::vector<i64> Loader<T, D>::prepare(BatchPlan<D>& plan, i64 epoch, i64 step) const {
  check(plan);
  check(epoch, step);
  const i64 steps = steps_per_epoch();
  const auto* made = streamed_ ? &plan.prefetcher_->take(epoch * steps + step,
                                                         [&](i64 number) { return planned(number / steps, number % steps); })
                               : nullptr;
  std::vector<PlannedImage> images = made ? made->images : planned(epoch, step);
  std::vector<i64> labels;
  for (const PlannedImage& image : images) labels.push_back(dataset_.label(image.image));
  if (made) {
    for (size_t i = 0; i < images.size(); ++i) images[i].image = i32(i);
    plan.labels_.set(labels);
    plan.pixels_.set(made->pixels);
  }
  plan.images_.set(images);
  return labels;
}

template <Real T, Device D>
std::vector<i64> Loader<T, D>::prepare(BatchPlan<D>& plan, i64 global_step) const {
  const Position at = position(global_step);
  return prepare(plan, at.epoch, at.step);
}

template <Real T, Device D>
Batch<T, D> Loader<T, D>::read(const BatchPlan<D>& plan) const {
  check(plan);
  const i64 count = plan.size(), channels = shape_[2], h = out_height(), w = out_width();
  const Batch<T, D> out{Tensor<T, 4, D>(Shape(count, h, w, channels)), Tensor<i64, 1, D>(Shape{count})};
  const Op<D> op("place images");
  op.moves(out.images);
  Runtime<D>::launch(
      Grid{count}, kernel::PlaceImages<T>{out.images.data(), out.labels.data(), streamed_ ? plan.pixels_.data() : images_.data(),
                                          streamed_ ? plan.labels_.data() : labels_.data(), plan.images_.data(), table_.data(),
                                          i32(height()), i32(width()), i32(channels), i32(h), i32(w)});
  return out;
}

template <Real T, Device D>
Batch<T, D> Loader<T, D>::read(const BatchPlan<D>& plan, const Tensor<T, 4, D>& features) const {
  if (streamed_) throw Error("loader: only a resident set has rows instead of pixels", {{"set", dataset_.name}});
  check(plan);
  Shape<4> shape = features.shape();
  if (shape[0] != dataset_.size())
    throw Error(text("loader: ", shape[0], " rows for a set of ", dataset_.size(), " images"),
                {{"rows", features.str()}, {"set", dataset_.name}, {"remedy", "a row for each image of the set, in its order"}});
  const i64 size = features.size() / shape[0];
  shape[0] = plan.size();
  const Batch<T, D> out{Tensor<T, 4, D>(shape), Tensor<i64, 1, D>(Shape{plan.size()})};
  const Op<D> op("gather rows");
  op.moves(out.images, out.images);
  Runtime<D>::launch(Grid{plan.size()}, kernel::GatherRows<T>{out.images.data(), out.labels.data(), features.data(),
                                                              labels_.data(), plan.images_.data(), size});
  return out;
}

template <Real T, Device D>
Batch<T, D> Loader<T, D>::batch(i64 epoch, i64 step) const {
  if (!own_plan_) own_plan_ = make_plan();
  prepare(*own_plan_, epoch, step);
  return read(*own_plan_);
}

template <Real T, Device D>
Batch<T, D> Loader<T, D>::batch(i64 global_step) const {
  const Position at = position(global_step);
  return batch(at.epoch, at.step);
}

template <Real T, Device D>
void Loader<T, D>::check(i64 epoch, i64 step) const {
  if (epoch < 0 || step < 0 || step >= steps_per_epoch())
    throw Error(text("loader: step ", step, " of epoch ", epoch, ", an epoch has ", steps_per_epoch(), " steps"));
  if (epoch > (i64(1) << 62) / steps_per_epoch())
    throw Error(text("loader: epoch ", epoch, " of ", steps_per_epoch(), " steps: steps are counted up to 2^62"));
}

template <Real T, Device D>
void Loader<T, D>::check(const BatchPlan<D>& plan) const {
  if (plan.loader_ != self_)
    throw Error("loader: the plan is of another loader",
                {{"set", dataset_.name}, {"remedy", "prepare and read the plan that make_plan() of this loader made"}});
}

template <Real T, Device D>
std::vector<PlannedImage> Loader<T, D>::planned(i64 epoch, i64 step) const {
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

template <Real T, Device D>
const std::vector<i64>& Loader<T, D>::order(i64 epoch) const {
  if (epoch != order_epoch_) {
    order_ = permutation(dataset_.size(), Stream(options_.seed, "order", u64(epoch)));
    order_epoch_ = epoch;
  }
  return order_;
}

}  // namespace mindgap

#if defined(MINDGAP_GLUE) && !defined(MINDGAP_NO_INSTANCES)
#include <mindgap/data/loader_instances.hpp>
#endif
