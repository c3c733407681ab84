// Training a class-conditional generator: the network learns to undo noise.
//
//   loss = mean (model(x_t, t, class or none) - target)^2          target and x_t: diffusion/training.hpp
//   AdamW, gradients clipped to a joint norm, warm-up and cosine, exponential average of the weights:
//   average += (1 - d) (weights - average), d = min(ema_decay, (1 + step) / (10 + step))
//
// Batch b is that of the loader, with the random numbers of training samples b * batch, ... (train/trainer.hpp has the rest).
// Left out: other losses and loss weights, learned variances.
#pragma once

#include <mindgap/autograd/loss.hpp>
#include <mindgap/data/loader.hpp>
#include <mindgap/diffusion/generator.hpp>
#include <mindgap/diffusion/training.hpp>
#include <mindgap/io/numbers.hpp>
#include <mindgap/train/trainer.hpp>

namespace mindgap {

struct GeneratorTraining {
  i64 steps = 4250, batch = 64;
  double learning_rate = 1e-3;  // peak
  double warmup = 200;          // steps, or below 1 a share of them
  double weight_decay = 0, gradient_clip = 1, ema_decay = 0.999;
  double label_dropout = 0.1;  // trains the half without class; with 0 there is none, and no guidance
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

// The network, its data and the run that trains it.
template <Device D, class P>
class GeneratorTrainer {
 public:
  using T = typename P::compute;

  GeneratorTrainer(const GeneratorTraining& options, const Dataset& data)
      : options_(options),
        info_(options.info(data)),
        loader_(data, loader_options(options)),
        plan_(loader_.make_plan()),
        noise_(info_.scheduler.schedule(), options.prediction, options.seed, options.batch),
        labels_(options.batch),
        unet_(info_.unet, options.seed),
        run(unet_, {[this](i64 batch) { return prepare(batch); }, [this](Tape& tape) { return loss(tape); }},
            trainer_options(options), plan_, noise_, labels_),
        settings_(options.settings() + "\nprecision " + precision_name<D, P>() + "\nimages " + content_hash(data)) {}

  const GeneratorInfo& info() const { return info_; }
  UNet2DModel<D, P>& unet() { return unet_; }

  void save(const std::filesystem::path& checkpoint) const { run.save(checkpoint, settings_); }
  // Throws for a checkpoint of a run with other settings.
  void resume(const std::filesystem::path& checkpoint) { run.resume(checkpoint, settings_); }

 private:
  // Which images, under which noise, and their labels, of which some are dropped.
  i64 prepare(i64 batch) {
    const i64 first = batch * options_.batch;
    std::vector<i64> labels = loader_.prepare(plan_, batch);
    noise_.prepare(first);
    labels_.set(drop_labels(std::move(labels), info_.classes(), options_.label_dropout, options_.seed, first));
    return options_.batch;
  }
  Var<float, 1, D> loss(Tape& tape) {
    const NoisyBatch<T, D> noisy = noise_.read(loader_.read(plan_).images);
    return mse_loss(unet_(constant(tape, noisy.input), noisy.timesteps, labels_.tensor()), noisy.target);
  }

  static LoaderOptions loader_options(const GeneratorTraining& options) {
    Augmentation augmentation;
    augmentation.flip = options.flip;
    LoaderOptions out = training_options(options.batch, options.seed, augmentation);
    out.last = LastBatch::drop;
    return out;
  }
  static TrainerOptions trainer_options(const GeneratorTraining& options) {
    TrainerOptions out;
    out.schedule = {Schedule::Kind::cosine, options.steps, warmup_steps(options.warmup, options.steps)};
    out.optimizer = AdamWOptions{};
    out.learning_rate = options.learning_rate;
    out.weight_decay = options.weight_decay;
    out.gradient_clip = options.gradient_clip;
    out.ema_decay = options.ema_decay;
    out.loss_scale = std::is_same_v<T, f16>;
    return out;
  }

  GeneratorTraining options_;
  GeneratorInfo info_;
  Loader<float, D> loader_;
  BatchPlan<D> plan_;
  NoisyBatches<T, D> noise_;
  HostInput<i64, D> labels_;
  UNet2DModel<D, P> unet_;

 public:
  Trainer<D> run;

 private:
  std::string settings_;  // what a checkpoint must agree with
};

inline void GeneratorTraining::check() const {
  const auto wanted = [](bool good, const std::string& what, const std::string& remedy) {
    if (!good) throw Error("generator training: " + what, {{"remedy", remedy}});
  };
  wanted(steps >= 1 && batch >= 1, text(steps, " steps of ", batch, " images"), "use at least one of each");
  wanted(learning_rate > 0 && learning_rate <= 1, text("a learning rate of ", learning_rate),
         "use a positive one, 0.001 is usual");
  warmup_steps(warmup, steps);
  wanted(weight_decay >= 0 && gradient_clip > 0, text("weight decay ", weight_decay, ", gradient clip ", gradient_clip),
         "0 or more, and more than 0");
  wanted(ema_decay >= 0 && ema_decay < 1, text("an average with decay ", ema_decay), "use 0 to below 1");
  wanted(label_dropout >= 0 && label_dropout <= 1, text("a label dropout of ", label_dropout), "use 0 to 1");
  wanted(!channels.empty(), "no channels", "give one number a resolution, for example 32,64,64");
}

inline GeneratorInfo GeneratorTraining::info(const Dataset& data) const {
  check();
  const Shape<3> shape = data.shape();
  if (shape[0] != shape[1])
    throw Error(text("generator training: images of ", shape[0], " x ", shape[1], " pixels"),
                {{"set", data.name}, {"remedy", "use square images"}});
  if (batch > data.size())
    throw Error(text("generator training: ", data.size(), " images make no batch of ", batch),
                {{"set", data.name}, {"remedy", "use a smaller batch"}});
  GeneratorInfo out;
  out.class_names = data.class_names;
  UNetConfig& c = out.unet;
  c.sample_size = shape[0];
  c.in_channels = c.out_channels = shape[2];
  c.block_out_channels = channels;
  c.down_attention.assign(channels.size(), false);
  c.up_attention.assign(channels.size(), false);
  c.down_attention.back() = c.up_attention.front() = c.mid_attention = attention;
  c.layers_per_block = layers_per_block;
  c.attention_head_dim = head;
  c.norm_num_groups = groups;
  c.num_class_embeds = data.classes() + (label_dropout > 0 ? 1 : 0);  // a row for "no class", where it is trained
  c.check();
  out.scheduler.beta_schedule = schedule;
  out.scheduler.prediction_type = prediction;
  out.scheduler.timestep_spacing = TimestepSpacing::trailing;
  return out;
}

inline std::string GeneratorTraining::settings() const {
  std::string widths;
  for (i64 width : channels) widths += text(widths.empty() ? "" : ",", width);
  return text("steps ", steps, "\nbatch ", batch, "\nrate ", exact(learning_rate), "\nwarmup ", exact(warmup), "\nweight_decay ",
              exact(weight_decay), "\ngradient_clip ", exact(gradient_clip), "\nema_decay ", exact(ema_decay), "\nlabel_dropout ",
              exact(label_dropout), "\nflip ", flip, "\nseed ", seed, "\nchannels ", widths, "\nlayers_per_block ",
              layers_per_block, "\ngroups ", groups, "\nhead ", head, "\nattention ", attention, "\nschedule ", name(schedule),
              "\nprediction ", name(prediction));
}

}  // namespace mindgap
