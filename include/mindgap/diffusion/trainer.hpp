// Training a class-conditional generator: the network learns to undo noise.
//
//   loss = mean (model(x_t, t, class or none) - target)^2          target and x_t: diffusion/training.hpp
//   AdamW, gradients clipped to a joint norm, warm-up and cosine, exponential average of the weights:
//   average += (1 - d) (weights - average), d = min(ema_decay, (1 + step) / (10 + step))
//
// Step s uses batch s of the loader and the random numbers of training samples s * batch, ...; a checkpoint holds weights,
// optimizer, average and step, so a run that resumes makes the weights of a run that never stopped, bit for bit. A step is
// replayed, and on a GPU the host runs ahead of it: records are read in batches, a NaN is noticed some steps late.
// Left out: other losses and loss weights, learned variances.
#pragma once

#include <mindgap/autograd/loss.hpp>
#include <mindgap/core/replay.hpp>
#include <mindgap/data/loader.hpp>
#include <mindgap/diffusion/generator.hpp>
#include <mindgap/diffusion/training.hpp>
#include <mindgap/optim/optimizer.hpp>
#include <mindgap/optim/schedule.hpp>

namespace mindgap {

struct GeneratorTraining {
  i64 steps = 4250, batch = 64;
  double rate = 1e-3;  // peak
  i64 warmup = 200;    // steps
  double weight_decay = 0, gradient_clip = 1, ema_decay = 0.999;
  double label_dropout = 0.1;  // trains the half without class
  bool flip = true;
  u64 seed = 0;

  std::vector<i64> channels{32, 64, 64};  // of each resolution, from the finest
  i64 layers_per_block = 1, groups = 8, head = 8;
  bool attention = true;  // at the coarsest resolution and in the middle
  BetaSchedule schedule = BetaSchedule::squaredcos_cap_v2;
  Prediction prediction = Prediction::v_prediction;

  // Throws for values that make no sense.
  void check() const;
  // The generator that this makes of a data set; square images.
  GeneratorInfo info(const Dataset& data) const;
  // Every setting on a line of its own: what a checkpoint must agree with to be continued.
  std::string settings() const;
};

template <Device D, class P>
class GeneratorTrainer {
 public:
  using T = typename P::compute;

  struct Record {
    i64 step;
    float loss, gradient_norm, rate;
  };

  GeneratorTrainer(const GeneratorTraining& options, const Dataset& data)
      : options_(options),
        info_(options.info(data)),
        loader_(data, loader_options(options)),
        noise_(info_.scheduler.schedule(), options.prediction, options.seed, options.batch),
        plan_(loader_.make_plan()),
        labels_(options.batch),
        unet_(std::make_unique<UNet2DModel<D, P>>(info_.unet, options.seed)),
        parameters_(*unet_, float(options.weight_decay)),
        optimizer_(parameters_, {}),
        scale_(parameters_, {float(options.gradient_clip), std::is_same_v<T, f16>}),
        average_(parameters_),
        inputs_(plan_, noise_, labels_, optimizer_, average_),
        measured_(Shape<1>(2)),
        records_(Shape<2>(steps_ahead, 2)),
        settings_(options.settings() + "\nprecision " + precision_name<D, P>() + "\nimages " + content_hash(data)) {}

  i64 step() const { return step_; }
  bool finished() const { return step_ >= options_.steps; }
  const GeneratorInfo& info() const { return info_; }
  i64 parameters() { return count_parameters(*unet_); }

  // One step. Returns the records that became known: this step's on the CPU; on a GPU, which is not waited for, none or those
  // of the last few dozen steps. Throws when a loss is not finite; the last checkpoint is not touched.
  std::vector<Record> train_step() {
    const i64 first = step_ * options_.batch;
    const Position at = loader_.position(step_);
    const std::vector<PlannedImage> plan = loader_.plan(at.epoch, at.step);
    std::vector<i64> labels;
    for (const PlannedImage& planned : plan) labels.push_back(loader_.dataset().labels.data()[planned.image]);
    plan_.set(plan);
    noise_.prepare(first);
    labels_.set(drop_labels(std::move(labels), info_.unet.null_class(), options_.label_dropout, options_.seed, first));
    optimizer_.prepare(rate(step_));
    average_.prepare(float(std::min(options_.ema_decay, double(1 + step_) / double(10 + step_))));
    inputs_.send();
    replay_.run([this] { train(); });
    records_.slice(pending_, pending_ + 1).copy_from(measured_.reshape(Shape<2>(1, 2)));
    ++step_;
    return ++pending_ == steps_ahead || finished() ? wait() : std::vector<Record>();
  }
  // The records that are not known yet; waits.
  std::vector<Record> wait() {
    std::vector<Record> out;
    const std::vector<float> values = records_.slice(0, pending_).to_vector();
    for (i64 i = 0, first = step_ - pending_; i < pending_; ++i)
      out.push_back({first + i, values[size_t(2 * i)], values[size_t(2 * i + 1)], rate(first + i)});
    pending_ = 0;
    for (const Record& record : out)
      if (!std::isfinite(record.loss))
        throw Error(text("training diverged: the loss is ", record.loss, " at step ", record.step),
                    {{"remedy", text("use a lower --rate than ", options_.rate)}});
    return out;
  }

  // f(network with averaged weights).
  template <class F>
  auto with_average(F&& f) {
    struct Swapped {
      Ema<D>& average;
      ~Swapped() {
        try {
          average.swap();
        } catch (...) {  // a device that has failed says so at the next call
        }
      }
    } back{average_};
    average_.swap();
    return f(*unet_);
  }

  void save(const std::filesystem::path& checkpoint) {
    write_state(checkpoint, items(), {{"step", std::to_string(step_)}, {"settings", settings_}});
  }
  // Throws for a checkpoint of a run with other settings.
  void resume(const std::filesystem::path& checkpoint) {
    const Safetensors file(checkpoint);
    check_same_settings(file.metadata_at("settings"), settings_, checkpoint);
    read_state(checkpoint, items());
    step_ = std::stoll(file.metadata_at("step"));
  }

 private:
  static constexpr i64 steps_ahead = Runtime<D>::asynchronous ? 64 : 1;  // that the host may be

  float rate(i64 step) const {
    return float(options_.rate * Schedule{Schedule::Kind::cosine, options_.steps, options_.warmup}.at(step));
  }

  // What a step does on the device.
  void train() {
    const NoisyBatch<T, D> noisy = noise_.read(loader_.read(plan_).images);
    const auto loss = mse_loss((*unet_)(constant(tape_, noisy.input), noisy.timesteps, labels_.tensor()), noisy.target);
    measured_.slice(0, 1).copy_from(loss.value());
    backward(loss, scale_.seed());
    scale_.measure();
    measured_.slice(1, 2).copy_from(scale_.norm());
    optimizer_.step(&scale_, &average_);
  }

  static LoaderOptions loader_options(const GeneratorTraining& options) {
    Augmentation augmentation;
    augmentation.flip = options.flip;
    LoaderOptions out = training_options(options.batch, options.seed, augmentation);
    out.last = LastBatch::drop;
    return out;
  }

  std::vector<StateItem> items() {
    std::vector<StateItem> out = state_items(*unet_, "model.");
    for (auto& more : {optimizer_.items(), average_.items(), scale_.items()}) out.insert(out.end(), more.begin(), more.end());
    return out;
  }

  GeneratorTraining options_;
  GeneratorInfo info_;
  Loader<float, D> loader_;
  NoisyBatches<T, D> noise_;
  BatchPlan<D> plan_;
  HostInput<i64, D> labels_;
  std::unique_ptr<UNet2DModel<D, P>> unet_;
  FlatParameters<D> parameters_;
  AdamW<D> optimizer_;
  GradientScale<D> scale_;
  Ema<D> average_;
  PackedInputs<D> inputs_;
  Tape tape_;
  Tensor<float, 1, D> measured_;  // loss and norm of the step
  Tensor<float, 2, D> records_;   // the same of the last `pending_` steps
  i64 pending_ = 0;               // steps whose records are not known
  Replay<D> replay_{"training step"};
  std::string settings_;  // what a checkpoint must agree with
  i64 step_ = 0;
};

inline void GeneratorTraining::check() const {
  const auto wanted = [](bool good, const std::string& what, const std::string& remedy) {
    if (!good) throw Error("generator training: " + what, {{"remedy", remedy}});
  };
  wanted(steps >= 1 && batch >= 1, text(steps, " steps of ", batch, " images"), "use at least one of each");
  wanted(rate > 0 && rate <= 1, text("a rate of ", rate), "use a positive rate, 0.001 is usual");
  wanted(weight_decay >= 0 && gradient_clip > 0, text("weight decay ", weight_decay, ", gradient clip ", gradient_clip),
         "0 or more, and more than 0");
  wanted(ema_decay >= 0 && ema_decay < 1, text("an average with decay ", ema_decay), "use 0 to below 1");
  wanted(label_dropout >= 0 && label_dropout <= 1, text("a label dropout of ", label_dropout), "use 0 to 1");
  wanted(!channels.empty(), "no channels", "give one number a resolution, for example 32,64,64");
}

inline GeneratorInfo GeneratorTraining::info(const Dataset& data) const {
  check();
  const Shape<4>& shape = data.images.shape();
  if (shape[1] != shape[2])
    throw Error(text("generator training: images of ", shape[1], " x ", shape[2], " pixels"),
                {{"set", data.name}, {"remedy", "use square images"}});
  GeneratorInfo out;
  out.class_names = data.class_names;
  UNetConfig& c = out.unet;
  c.sample_size = shape[1];
  c.in_channels = c.out_channels = shape[3];
  c.block_out_channels = channels;
  c.down_attention.assign(channels.size(), false);
  c.up_attention.assign(channels.size(), false);
  c.down_attention.back() = c.up_attention.front() = c.mid_attention = attention;
  c.layers_per_block = layers_per_block;
  c.attention_head_dim = head;
  c.norm_num_groups = groups;
  c.num_class_embeds = data.classes() + 1;
  c.check();
  out.scheduler.beta_schedule = schedule;
  out.scheduler.prediction_type = prediction;
  out.scheduler.timestep_spacing = TimestepSpacing::trailing;
  return out;
}

inline std::string GeneratorTraining::settings() const {
  std::string widths;
  for (i64 width : channels) widths += text(widths.empty() ? "" : ",", width);
  return text("steps ", steps, "\nbatch ", batch, "\nrate ", rate, "\nwarmup ", warmup, "\nweight_decay ", weight_decay,
              "\ngradient_clip ", gradient_clip, "\nema_decay ", ema_decay, "\nlabel_dropout ", label_dropout, "\nflip ", flip,
              "\nseed ", seed, "\nchannels ", widths, "\nlayers_per_block ", layers_per_block, "\ngroups ", groups, "\nhead ",
              head, "\nattention ", attention, "\nschedule ", name(schedule), "\nprediction ", name(prediction));
}

}  // namespace mindgap
