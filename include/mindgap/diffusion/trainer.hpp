// Training a class-conditional generator: the network learns to undo noise.
//
//   loss = mean (model(x_t, t, class or none) - target)^2          target and x_t: diffusion/training.hpp
//   AdamW, gradients clipped to a joint norm, warm-up and cosine, exponential average of the weights:
//   average += (1 - d) (weights - average), d = min(ema_decay, (1 + step) / (10 + step))
//
// Step s uses batch s of the loader and the random numbers of training samples s * batch, ...; a checkpoint holds weights,
// optimizer, average and step, so a run that resumes makes the weights of a run that never stopped, bit for bit.
// Left out: other losses and loss weights, learned variances.
#pragma once

#include <mindgap/autograd/loss.hpp>
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
        noise_(info_.scheduler.schedule()),
        unet_(std::make_unique<UNet2DModel<D, P>>(info_.unet, options.seed)),
        parameters_(*unet_, float(options.weight_decay)),
        optimizer_(parameters_, {}),
        average_(parameters_),
        settings_(options.settings() + "\nprecision " + name(dtype_of<T>) + "\nimages " + content_hash(data)) {}

  i64 step() const { return step_; }
  bool finished() const { return step_ >= options_.steps; }
  const GeneratorInfo& info() const { return info_; }
  i64 parameters() { return count_parameters(*unet_); }

  // One step. Throws when the loss is not finite; the last checkpoint is not touched.
  Record train_step() {
    const Batch<float> batch = loader_.batch(step_);
    const i64 first = step_ * options_.batch;
    const NoisyBatch<T, D> noisy =
        noisy_batch<T, D>(batch.images.template to<D>(), noise_, options_.prediction, options_.seed, first);
    const std::vector<i64> labels =
        drop_labels(batch.labels.to_vector(), info_.unet.null_class(), options_.label_dropout, options_.seed, first);
    Tape tape;
    const auto said =
        (*unet_)(constant(tape, noisy.input), noisy.timesteps, Tensor<i64, 1, D>::from(labels, batch.labels.shape()));
    const auto loss = mse_loss(said, noisy.target);
    const float value = loss.value().item();
    if (!std::isfinite(value))
      throw Error(text("training diverged: the loss is ", value, " at step ", step_),
                  {{"remedy", text("use a lower --rate than ", options_.rate)}});
    backward(loss);
    const float norm = clip_gradients(parameters_, float(options_.gradient_clip));
    const Schedule schedule{Schedule::Kind::cosine, options_.steps, options_.warmup};
    const float rate = float(options_.rate * schedule.at(step_));
    optimizer_.step(rate);
    average_.update(float(std::min(options_.ema_decay, double(1 + step_) / double(10 + step_))));
    return {step_++, value, norm, rate};
  }

  // f(network with averaged weights).
  template <class F>
  auto with_average(F&& f) {
    struct Swapped {
      Ema<D>& average;
      ~Swapped() { average.swap(); }
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
  static LoaderOptions loader_options(const GeneratorTraining& options) {
    Augmentation augmentation;
    augmentation.flip = options.flip;
    LoaderOptions out = training_options(options.batch, options.seed, augmentation);
    out.last = LastBatch::drop;
    return out;
  }

  std::vector<StateItem> items() {
    std::vector<StateItem> out = state_items(*unet_, "model.");
    for (auto& more : {optimizer_.items(), average_.items()}) out.insert(out.end(), more.begin(), more.end());
    return out;
  }

  GeneratorTraining options_;
  GeneratorInfo info_;
  Loader<float> loader_;
  NoiseSchedule noise_;
  std::unique_ptr<UNet2DModel<D, P>> unet_;
  FlatParameters<D> parameters_;
  AdamW<D> optimizer_;
  Ema<D> average_;
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
