// Diffusion: schedules, conversions, grids, samplers on models whose answer is known, guidance, and where an image's bits
// come from. tests/golden/samplers_test.cpp compares whole trajectories with diffusers.
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/diffusion/image_sampler.hpp>
#include <mindgap/diffusion/training.hpp>

#include "tests/emulate.hpp"
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <set>

using namespace mindgap;

namespace {

constexpr auto& samplers = sampler_kinds;
constexpr Prediction predictions[] = {Prediction::epsilon, Prediction::sample, Prediction::v_prediction};
constexpr BetaSchedule schedules[] = {BetaSchedule::linear, BetaSchedule::scaled_linear, BetaSchedule::squaredcos_cap_v2};

SchedulerConfig config(SamplerKind kind, Prediction prediction = Prediction::v_prediction,
                       BetaSchedule schedule = BetaSchedule::squaredcos_cap_v2,
                       TimestepSpacing spacing = TimestepSpacing::trailing) {
  SchedulerConfig out;
  out.sampler = kind;
  out.prediction_type = prediction;
  out.beta_schedule = schedule;
  out.timestep_spacing = spacing;
  out.clip_sample = false;
  if (out.is_of({SamplerKind::ddim, SamplerKind::pndm})) out.set_alpha_to_one = true;
  return out;
}

// Whether diffusers has the sampler for such a model.
bool exists(SamplerKind kind, Prediction prediction) {
  return prediction != Prediction::sample || (kind != SamplerKind::pndm && kind != SamplerKind::euler_a);
}

std::string message(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}
bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

// What an optimal model says when every image is `pixel` everywhere: x0 is known, so the noise is too.
struct ConstantImages {
  Prediction prediction;
  NoiseSchedule schedule;
  float pixel;

  Tensor<float, 4> operator()(const Tensor<float, 4>& x, const Tensor<float, 1>& timesteps, const Tensor<i64, 1>&) const {
    const double sigma = schedule.sigma_ratio(timesteps.data()[0]), alpha = 1 / std::sqrt(sigma * sigma + 1);
    const LinearCoefficients c = convert(Prediction::sample, prediction, {alpha, sigma * alpha});
    const Tensor<float, 4> out(x.shape());
    for (i64 i = 0; i < x.size(); ++i) out.data()[i] = float(c.x * x.data()[i] + c.m * double(pixel));
    return out;
  }
};

// What an optimal model predicts for pixels that are independent normals of deviation s: E[x0 | x] = alpha s^2 / var(x) x.
struct NormalPixels {
  Prediction prediction;
  NoiseSchedule schedule;
  double s;

  Tensor<float, 4> operator()(const Tensor<float, 4>& x, const Tensor<float, 1>& timesteps, const Tensor<i64, 1>&) const {
    const double ratio = schedule.sigma_ratio(timesteps.data()[0]), alpha = 1 / std::sqrt(ratio * ratio + 1),
                 sigma = ratio * alpha;
    const LinearCoefficients c = convert(Prediction::sample, prediction, {alpha, sigma});
    const double x0 = alpha * s * s / (alpha * alpha * s * s + sigma * sigma);
    const Tensor<float, 4> out(x.shape());
    for (i64 i = 0; i < x.size(); ++i) out.data()[i] = float((c.x + c.m * x0) * x.data()[i]);
    return out;
  }
};

// A small network in place of a U-Net: mixes the pixels of an image with its class and the time.
struct ToyModel {
  Tensor<float, 4> operator()(const Tensor<float, 4>& x, const Tensor<float, 1>& timesteps, const Tensor<i64, 1>& classes) const {
    const Tensor<float, 4> out(x.shape());
    const i64 size = x.size() / x.extent(0);
    for (i64 n = 0; n < x.extent(0); ++n)
      for (i64 i = 0; i < size; ++i) {
        const float a = x.data()[n * size + i], b = x.data()[n * size + (i + 7) % size];
        out.data()[n * size + i] = tanh_f32(0.8f * a - 0.3f * b + 0.05f * float(classes.data()[n]) - 1e-4f * timesteps.data()[n]);
      }
    return out;
  }
};

struct Request {
  std::vector<ImageKey> keys;
  double guidance;
  Shape<3> image{5, 3, 2};
};
Request request(const std::vector<i64>& labels, const std::vector<i64>& indices, double guidance = 1, u64 seed = 7) {
  Request out{{}, guidance};
  for (size_t i = 0; i < labels.size(); ++i) out.keys.push_back({seed, labels[i], indices[i]});
  return out;
}
// Of a model that is told the class, 0 to 9 or 10 for none.
template <Real T, class Model>
Tensor<float, 4> sample_classes(const Model& model, const Sampler& sampler, const Request& what) {
  return ClassSampler<T, Cpu, Model>(model, sampler, what.image, 10, {what.guidance})(what.keys);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(noise_schedule)

BOOST_AUTO_TEST_CASE(ends_of_the_schedules) {
  BOOST_TEST(NoiseSchedule(BetaSchedule::linear).alpha_bar(0) == double(1.f - 1e-4f));
  BOOST_TEST(NoiseSchedule(BetaSchedule::linear).alpha_bar(999) == 4.0358e-5, boost::test_tools::tolerance(1e-4));
  BOOST_TEST(NoiseSchedule(BetaSchedule::scaled_linear, 1000, 0.00085, 0.012).alpha_bar(999) == 0.0046602,
             boost::test_tools::tolerance(1e-4));
  BOOST_TEST(1 / NoiseSchedule().level(999).alpha == 20291., boost::test_tools::tolerance(1e-4));
}

BOOST_AUTO_TEST_CASE(signal_falls_and_levels_have_unit_variance) {
  for (BetaSchedule kind : schedules)
    for (i64 steps : {1, 2, 37, 1000}) {
      const NoiseSchedule schedule(kind, steps);
      for (i64 t = 0; t < steps; ++t) {
        const NoiseLevel level = schedule.level(t);
        BOOST_TEST(level.alpha * level.alpha + level.sigma * level.sigma == 1, boost::test_tools::tolerance(1e-12));
        if (t) BOOST_TEST(schedule.alpha_bar(t) < schedule.alpha_bar(t - 1));
      }
    }
}

BOOST_AUTO_TEST_CASE(conversions_are_inverse_and_agree_with_the_definitions) {
  const double x0 = 0.3, e = -1.7;
  for (double alpha : {0.999, 0.6, 0.01}) {
    const NoiseLevel level{alpha, std::sqrt(1 - alpha * alpha)};
    const double x = level.alpha * x0 + level.sigma * e, v = level.alpha * e - level.sigma * x0;
    const double value[] = {e, x0, v};
    for (Prediction from : predictions)
      for (Prediction to : predictions) {
        const LinearCoefficients c = convert(from, to, level);
        BOOST_TEST(c.x * x + c.m * value[int(from)] == value[int(to)], boost::test_tools::tolerance(1e-10));
      }
  }
}

// Lin et al. 2023: the first signal stays, the last is none, and the ratios of differences between them are as they were.
BOOST_AUTO_TEST_CASE(zero_terminal_snr) {
  for (BetaSchedule kind : schedules) {
    const NoiseSchedule before(kind), schedule(kind, 1000, 1e-4, 0.02, true);
    BOOST_TEST(schedule.alpha_bar(0) == before.alpha_bar(0), boost::test_tools::tolerance(1e-6));
    BOOST_TEST(schedule.alpha_bar(999) == 0.);
    BOOST_TEST(schedule.level(999).sigma == 1.);
    BOOST_TEST(schedule.sigma_ratio(999) == 4096, boost::test_tools::tolerance(1e-6));
    const auto share = [](const NoiseSchedule& s) {
      return (s.level(500).alpha - s.level(999).alpha) / (s.level(0).alpha - s.level(999).alpha);
    };
    BOOST_TEST(share(schedule) == share(before), boost::test_tools::tolerance(1e-5));
  }
  BOOST_TEST(contains(message([] { NoiseSchedule(BetaSchedule::linear, 1, 1e-4, 0.02, true); }), "zero terminal SNR"));
  // Betas whose cumulative alphas are all 1 in f32.
  BOOST_TEST(contains(message([] { NoiseSchedule(BetaSchedule::linear, 10, 1e-9, 1e-9, true); }), "betas this small"));
  // A schedule of the caller's counts, not what the configuration says of another.
  const NoiseSchedule zero(BetaSchedule::linear, 1000, 1e-4, 0.02, true), plain(BetaSchedule::linear);
  SchedulerConfig says = config(SamplerKind::lms);
  BOOST_TEST(contains(message([&] { Sampler(says, zero, 10); }), "it has no zero terminal SNR"));
  says.rescale_betas_zero_snr = true;
  BOOST_TEST(message([&] { Sampler(says, plain, 10); }) == "no error");
  BOOST_TEST(contains(message([&] { Sampler(config(SamplerKind::euler, Prediction::epsilon), zero, 10); }),
                      "says nothing at zero terminal SNR"));
}

BOOST_AUTO_TEST_CASE(bad_schedules_are_refused) {
  BOOST_CHECK_THROW(NoiseSchedule(BetaSchedule::linear, 0), Error);
  BOOST_CHECK_THROW(NoiseSchedule(BetaSchedule::linear, 1000, 0.02, 1e-4), Error);
  BOOST_CHECK_THROW(NoiseSchedule(BetaSchedule::linear, 1000, 1e-4, 1), Error);
  BOOST_CHECK_THROW(NoiseSchedule(BetaSchedule::linear, 1000, NAN, 0.02), Error);
  BOOST_CHECK_THROW(NoiseSchedule().alpha_bar(1000), Error);
  BOOST_CHECK_THROW(NoiseSchedule().alpha_bar(-1), Error);
  BOOST_TEST(contains(message([] { NoiseSchedule(BetaSchedule::linear, 1000, 1e-3, 0.5); }), "no signal is left"));
}

BOOST_AUTO_TEST_CASE(a_table_of_cumulative_alphas) {
  for (BetaSchedule kind : schedules) {
    const NoiseSchedule known(kind), table(known.alphas_cumprod());
    for (SamplerKind sampler : samplers) {
      const Sampler a(config(sampler, Prediction::v_prediction, kind), 20), b(config(sampler), table, 20);
      for (i64 k = 0; k < a.steps(); ++k) {
        BOOST_TEST(a.timestep(k) == b.timestep(k));
        BOOST_TEST(std::memcmp(&a.coefficients(k), &b.coefficients(k), sizeof(StepCoefficients)) == 0, name(sampler));
      }
      BOOST_TEST(b.describe().starts_with(a.describe() + ", noise schedule "));  // a manifest tells them apart
    }
  }
  const NoiseSchedule own({1.f, 0.5f, 0.1f});
  BOOST_TEST(own.train_steps() == 3);
  BOOST_TEST(own.level(1).alpha == std::sqrt(0.5));
  BOOST_TEST(own.sigma_ratio(2) == 3, boost::test_tools::tolerance(1e-6));
  const auto euler = config(SamplerKind::euler, Prediction::sample);
  BOOST_TEST(Sampler(euler, own, 2).describe() != Sampler(euler, NoiseSchedule({1.f, 0.5f, 0.2f}), 2).describe());
  using V = std::vector<float>;
  for (const V& bad :
       {V{}, V{1.01f}, V{0.5f, 0.5f}, V{0.5f, 0.6f}, V{0.5f, 0.f}, V{0.5f, -0.1f}, V{NAN}, V{INFINITY}, V{0.9f, NAN}})
    BOOST_TEST(contains(message([&] { NoiseSchedule{bad}; }), "cumulative alpha"));
  // Where the schedule has no noise at all there is none to predict.
  const auto whole = config(SamplerKind::ddim, Prediction::sample, BetaSchedule::linear, TimestepSpacing::leading);
  BOOST_TEST(contains(message([&] { Sampler(whole, own, 3); }), "of step 2"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(scheduler_config)

BOOST_AUTO_TEST_CASE(round_trip) {
  for (SamplerKind kind : samplers)
    for (Prediction prediction : predictions) {
      SchedulerConfig written = config(kind, prediction, BetaSchedule::scaled_linear);
      written.steps_offset = 1;
      written.beta_start = 0.00085;
      if (!written.is_of({SamplerKind::ddpm, SamplerKind::ddim, SamplerKind::heun})) written.clip_sample = {};  // not theirs
      written.rescale_betas_zero_snr = written.has_zero_snr();
      for (SigmaGrid grid : {SigmaGrid::none, SigmaGrid::karras, SigmaGrid::exponential}) {
        if (written.has_sigma_grids()) written.sigmas = grid;
        BOOST_TEST((parse_scheduler_config(scheduler_config_json(written), "test") == written), name(kind));
      }
    }
}

// Byte for byte what this project wrote before it had more samplers, which hashes of generators are of.
BOOST_AUTO_TEST_CASE(files_of_the_first_samplers) {
  SchedulerConfig ours = config(SamplerKind::dpmpp_2m);
  BOOST_TEST(scheduler_config_json(ours) == R"({
  "_class_name": "DPMSolverMultistepScheduler",
  "beta_end": 0.02,
  "beta_schedule": "squaredcos_cap_v2",
  "beta_start": 0.0001,
  "num_train_timesteps": 1000,
  "prediction_type": "v_prediction",
  "steps_offset": 0,
  "timestep_spacing": "trailing"
}
)");
  ours.sampler = SamplerKind::ddim;
  BOOST_TEST(scheduler_config_json(ours) == R"({
  "_class_name": "DDIMScheduler",
  "beta_end": 0.02,
  "beta_schedule": "squaredcos_cap_v2",
  "beta_start": 0.0001,
  "clip_sample": false,
  "clip_sample_range": 1.0,
  "num_train_timesteps": 1000,
  "prediction_type": "v_prediction",
  "set_alpha_to_one": true,
  "steps_offset": 0,
  "timestep_spacing": "trailing"
}
)");
}

BOOST_AUTO_TEST_CASE(missing_keys_take_the_sampling_class_s_defaults) {
  const std::string ddim = R"({"_class_name": "DDIMScheduler"})";
  BOOST_TEST(name(parse_scheduler_config(ddim, "test").spacing()) == "leading");
  const SchedulerConfig euler = parse_scheduler_config(ddim, "test", SamplerKind::euler);
  BOOST_TEST(name(euler.spacing()) == "linspace");
  BOOST_TEST(name(euler.beta_schedule) == "linear");
  BOOST_TEST(euler.num_train_timesteps == 1000);
  // Stable Diffusion 1.x comes with PNDM; its schedule serves the other samplers.
  const std::string pndm =
      R"({"_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
      "skip_prk_steps": true, "set_alpha_to_one": false, "steps_offset": 1, "trained_betas": null})";
  BOOST_TEST(name(parse_scheduler_config(pndm, "test").sampler) == "pndm");
  BOOST_TEST(!parse_scheduler_config(pndm, "test", SamplerKind::ddim).ends_at_one());
  BOOST_TEST(parse_scheduler_config(ddim, "test").ends_at_one());
  BOOST_TEST(!parse_scheduler_config(ddim, "test", SamplerKind::pndm).ends_at_one());
  // PNDM's own default is Runge-Kutta steps, which are not there; another class says nothing about them.
  const std::string no_prk = R"({"_class_name": "PNDMScheduler"})",
                    prk = R"({"_class_name": "DDIMScheduler", "skip_prk_steps": false})";
  BOOST_TEST(contains(message([&] { parse_scheduler_config(no_prk, "test"); }), "skip_prk_steps is missing"));
  BOOST_TEST(contains(message([&] { parse_scheduler_config(prk, "test", SamplerKind::pndm); }), "Runge-Kutta"));
  BOOST_TEST(message([&] { parse_scheduler_config(prk, "test", SamplerKind::lms); }) == "no error");
}

// scheduler_config.json of Stable Diffusion 1.4 and 2.1, as published.
BOOST_AUTO_TEST_CASE(stable_diffusion_s_files) {
  const std::string sd14 = R"({
  "_class_name": "PNDMScheduler",
  "_diffusers_version": "0.7.0.dev0",
  "beta_end": 0.012,
  "beta_schedule": "scaled_linear",
  "beta_start": 0.00085,
  "clip_sample": false,
  "num_train_timesteps": 1000,
  "set_alpha_to_one": false,
  "skip_prk_steps": true,
  "steps_offset": 1,
  "trained_betas": null
})",
                    sd21 = R"({
  "_class_name": "DDIMScheduler",
  "_diffusers_version": "0.8.0",
  "beta_end": 0.012,
  "beta_schedule": "scaled_linear",
  "beta_start": 0.00085,
  "clip_sample": false,
  "num_train_timesteps": 1000,
  "prediction_type": "v_prediction",
  "set_alpha_to_one": false,
  "skip_prk_steps": true,
  "steps_offset": 1,
  "trained_betas": null
})";
  BOOST_TEST(name(parse_scheduler_config(sd14, "sd 1.4").sampler) == "pndm");
  BOOST_TEST(name(parse_scheduler_config(sd21, "sd 2.1").sampler) == "ddim");
  for (const auto& [file, prediction] : {std::pair{&sd14, Prediction::epsilon}, {&sd21, Prediction::v_prediction}})
    for (SamplerKind kind : samplers) {
      const SchedulerConfig read = parse_scheduler_config(*file, "file.json", kind);
      BOOST_TEST(name(read.prediction_type) == name(prediction));
      const Sampler sampler(read, 50);
      BOOST_TEST(sampler.requested_steps() == 50);
      BOOST_TEST(sampler.steps() == (kind == SamplerKind::pndm ? 51 : kind == SamplerKind::heun ? 99 : 50), name(kind));
      BOOST_TEST(sampler.draws() ==
                 (kind == SamplerKind::ddpm || kind == SamplerKind::euler_a || kind == SamplerKind::dpmpp_2m_sde));
      BOOST_TEST(sampler.timestep(0) == (read.spacing() == TimestepSpacing::leading ? 981 : 999), name(kind));
      BOOST_TEST(message([&] { Sampler(read, 0); }) != "no error");
    }
  // As stored by a pipeline of the stochastic DPM-Solver++ on Karras' grid.
  const std::string sde = R"({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++",
                              "use_karras_sigmas": true, "beta_start": 0.00085, "beta_end": 0.012, "final_sigmas_type": "zero"})";
  const SchedulerConfig read = parse_scheduler_config(sde, "sde");
  BOOST_TEST(Sampler(read, 10).describe() == "dpmpp_2m_sde, linspace spacing, karras sigmas");
  BOOST_TEST(name(parse_scheduler_config(sde, "sde", SamplerKind::dpmpp_2m).sampler) == "dpmpp_2m");
  BOOST_TEST(name(parse_scheduler_config(sde, "sde", SamplerKind::ddim).sigmas) == "none");  // not a setting of DDIM's
}

// The betas of every class that shares DDPM's schedule, with every sampler; the settings that are its own do not matter.
BOOST_AUTO_TEST_CASE(classes_on_ddpm_s_betas) {
  const std::string betas =
      R"("num_train_timesteps": 500, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
         "trained_betas": null, "prediction_type": "v_prediction", "timestep_spacing": "trailing", "steps_offset": 1)";
  const std::string sigmas =
      R"(, "use_karras_sigmas": false, "use_exponential_sigmas": false, "use_beta_sigmas": false, "use_flow_sigmas": false,
         "flow_shift": 1.0, "use_dynamic_shifting": false, "time_shift_type": "exponential")";
  const std::string order = R"(, "solver_order": 2, "thresholding": false, "dynamic_thresholding_ratio": 0.995,
                               "sample_max_value": 1.0, "lower_order_final": true)";
  const std::pair<const char*, std::string> files[] = {
      {"DDPMScheduler", R"(, "variance_type": "fixed_small", "rescale_betas_zero_snr": false)"},
      {"DDPMParallelScheduler", R"(, "variance_type": "fixed_small")"},
      {"DDIMScheduler", R"(, "set_alpha_to_one": false)"},
      {"DDIMParallelScheduler", R"(, "set_alpha_to_one": false)"},
      {"PNDMScheduler", R"(, "skip_prk_steps": true, "set_alpha_to_one": false)"},
      {"LMSDiscreteScheduler", sigmas},
      {"EulerDiscreteScheduler", R"(, "interpolation_type": "linear", "timestep_type": "discrete", "sigma_min": null)"},
      {"EulerAncestralDiscreteScheduler", R"(, "rescale_betas_zero_snr": false)"},
      {"HeunDiscreteScheduler", sigmas + R"(, "clip_sample": false, "clip_sample_range": 1.0)"},
      {"KDPM2DiscreteScheduler", sigmas},
      {"KDPM2AncestralDiscreteScheduler", sigmas},
      {"DPMSolverSDEScheduler", sigmas + R"(, "noise_sampler_seed": null)"},
      {"DPMSolverMultistepScheduler", sigmas + order + R"(, "algorithm_type": "dpmsolver++", "solver_type": "midpoint")"},
      {"DPMSolverSinglestepScheduler", sigmas + order + R"(, "algorithm_type": "dpmsolver++", "final_sigmas_type": "zero")"},
      {"DEISMultistepScheduler", sigmas + order + R"(, "algorithm_type": "deis", "solver_type": "logrho")"},
      {"UniPCMultistepScheduler",
       sigmas + order + R"(, "predict_x0": true, "solver_type": "bh2", "disable_corrector": [], "solver_p": null,
                           "final_sigmas_type": "zero", "rescale_betas_zero_snr": false)"},
  };
  const auto read = [&](const char* class_name, const std::string& keys, SamplerKind kind) {
    return parse_scheduler_config(text(R"({"_class_name": ")", class_name, "\", ", keys, "}"), "file.json", kind);
  };
  for (const auto& [class_name, own] : files)
    for (SamplerKind kind : samplers) {
      const std::string said = message([&, &class_name = class_name, &own = own] {
        const SchedulerConfig config = read(class_name, betas + own, kind);
        BOOST_TEST((config.schedule().alphas_cumprod() ==
                    NoiseSchedule(BetaSchedule::scaled_linear, 500, 0.00085, 0.012).alphas_cumprod()));
        BOOST_TEST(name(config.sampler) == name(kind));
        BOOST_TEST(name(config.prediction_type) == "v_prediction");
      });
      BOOST_TEST(said == "no error", class_name << " with " << name(kind) << ": " << said);
      // What changes the schedule is refused, or done.
      const std::string zero_snr = betas + R"(, "rescale_betas_zero_snr": true)";
      const std::string answer =
          message([&, &class_name = class_name] { BOOST_TEST(read(class_name, zero_snr, kind).schedule().alpha_bar(499) == 0); });
      const bool none = kind == SamplerKind::pndm || kind == SamplerKind::lms || kind == SamplerKind::heun;
      if (std::string_view(class_name) != "PNDMScheduler" || kind != SamplerKind::pndm)
        BOOST_TEST((none ? contains(answer, "rescale_betas_zero_snr is true") : answer == "no error"), answer);
      for (const auto& [key, value] :
           {std::pair{"use_flow_sigmas", "true"}, {"timestep_type", "\"continuous\""}, {"trained_betas", "[0.1]"}})
        BOOST_TEST(contains(message([&, &class_name = class_name, &key = key, &value = value] {
                              read(class_name, text("\"", key, "\": ", value, R"(, "beta_start": 0.001, "beta_end": 0.02)"),
                                   kind);
                            }),
                            text(key, " is ", value)),
                   class_name << ": " << key);
    }
  // What changes the grid is, by the samplers that have it.
  const auto said_of = [&](const std::string& key, SamplerKind kind) {
    return message([&] { read("UniPCMultistepScheduler", betas + ", " + key, kind); });
  };
  const std::string karras = R"("use_karras_sigmas": true)", exponential = R"("use_exponential_sigmas": true)";
  for (SamplerKind kind : samplers) {
    const bool grids = config(kind).has_sigma_grids();
    const SchedulerConfig curved = read("UniPCMultistepScheduler", betas + ", " + karras, kind);
    BOOST_TEST(name(curved.sigmas) == (grids ? "karras" : "none"));
    BOOST_TEST(contains(said_of(R"("use_beta_sigmas": true)", kind), "use_beta_sigmas is true") == grids, name(kind));
    BOOST_TEST(contains(said_of(karras + ", " + exponential, kind), "use_exponential_sigmas too") == grids, name(kind));
    const bool ends = kind == SamplerKind::euler || kind == SamplerKind::unipc;
    BOOST_TEST(contains(said_of(karras + R"(, "sigma_min": 0.1)", kind), "sigma_min is 0.1") == ends, name(kind));
    const bool solver = kind == SamplerKind::dpmpp_2m || kind == SamplerKind::dpmpp_2m_sde || kind == SamplerKind::unipc;
    BOOST_TEST(contains(said_of(R"("solver_order": 3)", kind), "solver_order is 3") == solver, name(kind));
    BOOST_TEST(contains(said_of(R"("final_sigmas_type": "sigma_min")", kind), "final_sigmas_type") ==
               (solver || kind == SamplerKind::euler));
  }
  for (const char* key :
       {R"("solver_type": "bh1")", R"("predict_x0": false)", R"("lower_order_final": false)", R"("disable_corrector": [0])"})
    BOOST_TEST(contains(said_of(key, SamplerKind::unipc), std::string(key).substr(1, 9)), key);
  // Heun clips where its file says so, DDIM unless it says not.
  const auto clips = [&](const std::string& key, SamplerKind kind) { return read("DDIMScheduler", betas + key, kind).clips(); };
  const std::string yes = R"(, "clip_sample": true)", no = R"(, "clip_sample": false)";
  BOOST_TEST((clips(yes, SamplerKind::heun) && !clips("", SamplerKind::heun) && !clips(no, SamplerKind::heun)));
  BOOST_TEST((clips(yes, SamplerKind::ddim) && clips("", SamplerKind::ddim) && !clips(no, SamplerKind::ddim)));
  BOOST_TEST(!clips(yes, SamplerKind::euler));
  // Where their file has no betas these have others than DDPM.
  for (const char* class_name : {"HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"})
    for (const char* key : {"beta_start", "beta_end"})
      BOOST_TEST(contains(message([&] { read(class_name, R"("beta_schedule": "linear")", SamplerKind::ddim); }),
                          text(key, " is missing")));
  BOOST_TEST(
      contains(message([&] { read("DDIMScheduler", R"("beta_end": 0.02)", SamplerKind::heun); }), "beta_start is missing"));
}

// EDM, flow matching, consistency models and others are not on DDPM's betas, whichever sampler is chosen.
BOOST_AUTO_TEST_CASE(classes_on_another_schedule) {
  std::vector<std::optional<SamplerKind>> readers{std::nullopt};
  for (SamplerKind kind : samplers) readers.push_back(kind);
  for (const auto& reader : readers) {
    for (const char* class_name :
         {"EDMEulerScheduler", "EDMDPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler", "KarrasVeScheduler",
          "CMStochasticIterativeScheduler", "CogVideoXDDIMScheduler", "CogVideoXDPMScheduler",
          "CosineDPMSolverMultistepScheduler", "ScoreSdeVeScheduler", "UnCLIPScheduler", "LCMScheduler", "DDIMInverseScheduler",
          "VQDiffusionScheduler", "DDIM", ""}) {
      const std::string said =
          message([&] { parse_scheduler_config(text(R"({"_class_name": ")", class_name, "\"}"), "file.json", reader); });
      BOOST_TEST(contains(said, text("_class_name is \"", class_name, "\", wanted one of DDPMScheduler")), said);
      BOOST_TEST(contains(said, "file.json"), said);
      BOOST_TEST(contains(said, "remedy"), said);
    }
    BOOST_TEST(contains(message([&] { parse_scheduler_config("{}", "file.json", reader); }), "_class_name is missing"));
    BOOST_TEST(contains(message([&] { parse_scheduler_config(R"({"_class_name": null})", "file.json", reader); }),
                        "_class_name is null"));
  }
}

BOOST_AUTO_TEST_CASE(betas_that_are_none) {
  for (SamplerKind kind : samplers)
    for (const char* schedule : {"linear", "scaled_linear", "squaredcos_cap_v2"})
      for (const char* key : {"beta_start", "beta_end"})
        for (const char* value : {"null", "NaN", "Infinity", "-0.001", "2", "\"0.02\""}) {
          const std::string said = message([&] {
            parse_scheduler_config(
                text(R"({"_class_name": "DDIMScheduler", "beta_schedule": ")", schedule, "\", \"", key, "\": ", value, "}"),
                "file.json", kind);
          });
          BOOST_TEST((contains(said, key) && contains(said, "file.json")), key << " " << value << ": " << said);
        }
}

BOOST_AUTO_TEST_CASE(python_s_infinities) {
  const SchedulerConfig read = parse_scheduler_config(
      R"({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "_note": "NaN \" -Infinity"})", "test");
  BOOST_TEST(std::isinf(read.lambda_min_clipped));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_done_is_said_at_once) {
  const std::string all = message([] {
    parse_scheduler_config(
        R"({"_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": true, "beta_schedule": "sigmoid", "num_train_timesteps": "1000",
      "prediction_type": "flow_prediction"})",
        "folder/scheduler_config.json");
  });
  for (const char* part :
       {"use_beta_sigmas", "sigmoid", "num_train_timesteps", "flow_prediction", "folder/scheduler_config.json"})
    BOOST_TEST(contains(all, part), all);
  for (const char* text :
       {"", "[]", "{", "<!DOCTYPE html>", "version https://git-lfs.github.com/spec/v1", R"({"num_train_timesteps": 0})",
        R"({"_class_name": "DDIMScheduler", "beta_schedule": "linear", "beta_end": 5})",
        R"({"_class_name": "DDIMScheduler", "clip_sample_range": -1})",
        R"({"_class_name": "DDIMScheduler", "clip_sample_range": 1e-300})",
        R"({"_class_name": "DDIMScheduler", "steps_offset": 5000})",
        R"({"_class_name": "EulerDiscreteScheduler", "steps_offset": -1})"})
    BOOST_TEST(contains(message([&] { parse_scheduler_config(text, "file.json"); }), "file.json"), text);
  BOOST_CHECK_THROW(read_scheduler_config("/nowhere/scheduler_config.json"), Error);
  BOOST_CHECK_THROW(sampler_by_name("plms"), Error);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(sampler_grids)

BOOST_AUTO_TEST_CASE(known_grids) {
  const auto grid = [](const SchedulerConfig& config, i64 steps) {
    const Sampler sampler(config, steps);
    std::vector<double> out;
    for (i64 k = 0; k < sampler.steps(); ++k) out.push_back(sampler.timestep(k));
    return out;
  };
  const auto with = [&](SamplerKind kind, TimestepSpacing spacing) {
    return config(kind, Prediction::v_prediction, BetaSchedule::linear, spacing);
  };
  using V = std::vector<double>;
  BOOST_TEST((grid(with(SamplerKind::ddim, TimestepSpacing::leading), 4) == V{750, 500, 250, 0}));
  BOOST_TEST((grid(with(SamplerKind::ddim, TimestepSpacing::trailing), 4) == V{999, 749, 499, 249}));
  BOOST_TEST((grid(with(SamplerKind::ddim, TimestepSpacing::linspace), 4) == V{999, 666, 333, 0}));
  BOOST_TEST((grid(with(SamplerKind::dpmpp_2m, TimestepSpacing::linspace), 4) == V{999, 749, 500, 250}));
  BOOST_TEST((grid(with(SamplerKind::dpmpp_2m, TimestepSpacing::leading), 4) == V{800, 600, 400, 200}));
  BOOST_TEST((grid(with(SamplerKind::euler, TimestepSpacing::linspace), 3) == V{999, 499.5, 0}));
  SchedulerConfig clipped = with(SamplerKind::dpmpp_2m, TimestepSpacing::linspace);
  clipped.beta_schedule = BetaSchedule::squaredcos_cap_v2;
  clipped.lambda_min_clipped = -5.1;
  BOOST_TEST((grid(clipped, 4) == V{995, 746, 498, 249}));
}

// Trailing grids of 61, 103, 121 and other counts have one timestep more in numpy, by rounding; here there are as many as asked
// for.
BOOST_AUTO_TEST_CASE(every_step_count_gives_that_many_distinct_timesteps) {
  for (SamplerKind kind : samplers)
    for (i64 steps = 1; steps <= 1000; ++steps) {
      const Sampler sampler(config(kind), steps);
      BOOST_REQUIRE_EQUAL(sampler.requested_steps(), steps);
      const i64 questions = kind == SamplerKind::heun ? 2 * steps - 1 : steps + (kind == SamplerKind::pndm && steps > 1);
      BOOST_REQUIRE_EQUAL(sampler.steps(), questions);
    }
}

// Points of Karras' curve crowd at low noise, where DPM-Solver++ and UniPC tell the model the same whole timestep several times,
// as diffusers does; the noise levels differ.
BOOST_AUTO_TEST_CASE(curves_of_sigmas) {
  for (SamplerKind kind : samplers)
    for (SigmaGrid grid : {SigmaGrid::karras, SigmaGrid::exponential}) {
      SchedulerConfig c = config(kind, Prediction::v_prediction, BetaSchedule::scaled_linear);
      c.beta_start = 0.00085, c.beta_end = 0.012, c.sigmas = grid;
      if (!c.has_sigma_grids()) {
        BOOST_TEST(contains(message([&] { Sampler(c, 10); }), text("no ", name(grid), " grid of sigmas")));
        continue;
      }
      for (i64 steps : {1, 2, 200, 1000}) {
        const Sampler sampler(c, steps);
        BOOST_TEST(sampler.requested_steps() == steps);
        BOOST_TEST(sampler.timestep(0) >= 998);
        for (i64 k = 1; k < sampler.steps(); ++k) BOOST_TEST(sampler.timestep(k) <= sampler.timestep(k - 1));
        c.sigmas = SigmaGrid::none;
        const bool solver = c.is_of({SamplerKind::dpmpp_2m, SamplerKind::dpmpp_2m_sde, SamplerKind::unipc});
        const double last =
            solver ? 0 : Sampler(c, steps).timestep(sampler.steps() - 1);  // a curve has the ends of its timesteps
        if (steps > 1) BOOST_TEST(sampler.timestep(sampler.steps() - 1) == last, boost::test_tools::tolerance(1e-6));
        c.sigmas = grid;
      }
    }
}

BOOST_AUTO_TEST_CASE(combinations_that_are_not_there) {
  for (SamplerKind kind : samplers) {
    SchedulerConfig c = config(kind, Prediction::sample);
    BOOST_TEST(contains(message([&] { Sampler(c, 10); }), "predicts images") == !exists(kind, Prediction::sample), name(kind));
    c = config(kind);
    c.rescale_betas_zero_snr = true;
    BOOST_TEST((message([&] { Sampler(c, 10); }) == "no error") == c.has_zero_snr(), name(kind));
    c.prediction_type = Prediction::epsilon;
    BOOST_TEST(contains(message([&] { Sampler(c, 10); }), "zero terminal SNR"), name(kind));
    for (double strength : {0., -0.5, 1.5, 0.05, double(NAN)})
      BOOST_TEST(contains(message([&] { Sampler(config(kind), 10, 0, strength); }), "leaves none of 10 steps"), name(kind));
  }
}

BOOST_AUTO_TEST_CASE(impossible_grids_are_refused) {
  for (SamplerKind kind : samplers) {
    for (i64 steps : {-1, 0, 1001}) BOOST_TEST(contains(message([&] { Sampler(config(kind), steps); }), "1 to 1000"));
    if (kind != SamplerKind::dpmpp_2m && kind != SamplerKind::dpmpp_2m_sde && kind != SamplerKind::unipc)
      for (TimestepSpacing spacing : {TimestepSpacing::leading, TimestepSpacing::linspace})
        BOOST_TEST(contains(message([&] { Sampler(config(kind, Prediction::v_prediction, BetaSchedule::linear, spacing), 1); }),
                            "no noise"));
  }
  // diffusers#12771: 1,000 steps of DPM-Solver++ over 1,000 timesteps repeat some.
  const auto linspace = config(SamplerKind::dpmpp_2m, Prediction::v_prediction, BetaSchedule::linear, TimestepSpacing::linspace);
  BOOST_TEST(contains(message([&] { Sampler(linspace, 1000); }), "comes twice"));
  BOOST_TEST(Sampler(linspace, 999).steps() == 999);
  BOOST_CHECK_THROW(
      Sampler(config(SamplerKind::dpmpp_2m, Prediction::v_prediction, BetaSchedule::linear, TimestepSpacing::leading), 1000),
      Error);
  SchedulerConfig offset = config(SamplerKind::ddim, Prediction::v_prediction, BetaSchedule::linear, TimestepSpacing::leading);
  offset.steps_offset = 1;
  BOOST_TEST(contains(message([&] { Sampler(offset, 1000); }), "leave the schedule"));
  BOOST_CHECK_THROW(Sampler(config(SamplerKind::euler), 10, 0.5), Error);
  BOOST_CHECK_THROW(Sampler(config(SamplerKind::ddim), 10, 1.5), Error);
  BOOST_CHECK_THROW(Sampler(config(SamplerKind::ddim), 10, NAN), Error);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(sampling)

// A model that knows the only image there is leads every sampler to it, whatever it predicts.
BOOST_AUTO_TEST_CASE(exact_model_gives_exact_recovery) {
  for (SamplerKind kind : samplers)
    for (Prediction prediction : predictions)
      for (BetaSchedule schedule : schedules)
        for (i64 steps : {1, 2, 10}) {
          // PNDM takes means of what the model says at several times, of which the noise alone is the same at all.
          if (!exists(kind, prediction) || (kind == SamplerKind::pndm && prediction != Prediction::epsilon)) continue;
          const Sampler sampler(config(kind, prediction, schedule), steps);
          if (sampler.amplifies_errors()) continue;
          const ConstantImages model{prediction, NoiseSchedule(schedule), 0.6f};
          const auto images = sample_classes<float>(model, sampler, request({0, 3}, {0, 1}));
          for (float pixel : images.to_vector())
            BOOST_TEST(std::abs(pixel - 0.6f) < 2e-3f, name(kind)
                                                           << " " << name(prediction) << " " << name(schedule) << " " << steps);
        }
}

// For normal pixels the exact flow maps x to s x / sqrt(alpha^2 s^2 + sigma^2): the methods converge to it at their order.
BOOST_AUTO_TEST_CASE(order_of_convergence) {
  const double s = 0.5;
  // PNDM takes means of answers of several times, so that it is of a higher order for noise alone. Heun's last step is Euler's.
  const auto v = Prediction::v_prediction;
  for (auto [kind, prediction, least] : {std::tuple{SamplerKind::ddim, v, 3.},
                                         {SamplerKind::euler, v, 3.},
                                         {SamplerKind::dpmpp_2m, v, 12.},
                                         {SamplerKind::heun, v, 9.},
                                         {SamplerKind::pndm, Prediction::epsilon, 12.},
                                         {SamplerKind::lms, v, 12.},
                                         {SamplerKind::unipc, v, 12.}}) {
    double error[2];
    for (int i = 0; i < 2; ++i) {
      const Sampler sampler(config(kind, prediction, BetaSchedule::linear), i ? 40 : 10);
      const Request what = request({1}, {2});
      const auto image = sample_classes<float>(NormalPixels{prediction, NoiseSchedule(BetaSchedule::linear), s}, sampler, what);
      const Stream latent(what.keys[0].seed, "latent", 1, 2);
      error[i] = 0;
      for (i64 j = 0; j < image.size(); ++j) error[i] += std::abs(image.data()[j] - s * double(latent.normal(u64(j))));
    }
    BOOST_TEST(error[0] / error[1] > least, name(kind) << ": " << error[0] << " then " << error[1]);
  }
}

// The stochastic samplers leave the pixels' deviation right, but for the 2.4 % that "fixed_small" variances lose over 1,000
// steps.
BOOST_AUTO_TEST_CASE(stochastic_samplers_keep_the_distribution) {
  Request what = request({0}, {0});
  what.image = Shape<3>(100, 100, 1);
  for (auto [kind, eta] : {std::pair{SamplerKind::ddpm, 0.},
                           {SamplerKind::ddim, 1.},
                           {SamplerKind::ddim, 0.5},
                           {SamplerKind::euler_a, 0.},
                           {SamplerKind::dpmpp_2m_sde, 0.}}) {
    const Sampler sampler(config(kind, Prediction::v_prediction, BetaSchedule::linear), 1000, eta);
    const auto image =
        sample_classes<float>(NormalPixels{Prediction::v_prediction, NoiseSchedule(BetaSchedule::linear), 0.5}, sampler, what);
    double sum = 0;
    for (float pixel : image.to_vector()) sum += double(pixel) * pixel;
    BOOST_TEST(std::sqrt(sum / 10000) == 0.5, boost::test_tools::tolerance(0.03));
  }
}

BOOST_AUTO_TEST_CASE(an_image_is_a_function_of_seed_class_and_index) {
  for (SamplerKind kind : samplers)
    for (double guidance : {0., 1., 2.5}) {
      const Sampler sampler(config(kind), 6);
      const auto all = sample_classes<float>(ToyModel{}, sampler, request({4, 4, 1, 9, 0}, {0, 1, 5, 1000000, 0}, guidance));
      const auto some = sample_classes<float>(ToyModel{}, sampler, request({9, 4}, {1000000, 1}, guidance));
      BOOST_TEST(same_bits(some.slice(0, 1), all.slice(3, 4)));
      BOOST_TEST(same_bits(some.slice(1, 2), all.slice(1, 2)));
    }
}

BOOST_AUTO_TEST_CASE(seeds_classes_and_indices_give_different_images) {
  const Sampler sampler(config(SamplerKind::ddpm), 3);
  std::set<std::vector<float>> seen;
  i64 count = 0;
  for (u64 seed : {u64(0), u64(1) << 31, u64(1) << 32, (u64(1) << 53) + 1, u64(1) << 63, ~u64(0)})
    for (i64 label : {0, 1})
      for (i64 index : {0, 1, 2}) {
        seen.insert(sample_classes<float>(ToyModel{}, sampler, request({label}, {index}, 1, seed)).to_vector());
        ++count;
      }
  BOOST_TEST(i64(seen.size()) == count);
}

BOOST_AUTO_TEST_CASE(guidance_is_one_batch_of_both_halves) {
  const Sampler sampler(config(SamplerKind::ddim), 4);
  std::vector<std::vector<i64>> asked;
  const auto spy = [&](const Tensor<float, 4>& x, const Tensor<float, 1>& timesteps, const Tensor<i64, 1>& classes) {
    BOOST_TEST(timesteps.size() == x.extent(0));
    asked.push_back(classes.to_vector());
    return ToyModel{}(x, timesteps, classes);
  };
  using V = std::vector<i64>;
  sample_classes<float>(spy, sampler, request({3, 5}, {0, 0}, 2));
  BOOST_TEST((asked.front() == V{10, 10, 3, 5}));
  sample_classes<float>(spy, sampler, request({3, 5}, {0, 0}, 1));
  BOOST_TEST((asked.back() == V{3, 5}));
  const auto unconditional = sample_classes<float>(spy, sampler, request({3, 5}, {0, 0}, 0));
  BOOST_TEST((asked.back() == V{10, 10}));
  // A guided run with weights on the line through both halves: 1.5 conditional - 0.5 unconditional, by hand for one step.
  const Sampler once(config(SamplerKind::ddim), 1);
  const auto with = [&](double guidance) {
    return sample_classes<float>(ToyModel{}, once, request({7}, {3}, guidance)).to_vector();
  };
  const auto none = with(0), full = with(1), more = with(1.5);
  for (size_t i = 0; i < more.size(); ++i) BOOST_TEST(std::abs(more[i] - (1.5f * full[i] - 0.5f * none[i])) < 1e-5f);
}

BOOST_AUTO_TEST_CASE(bf16_models_keep_an_f32_state) {
  const Sampler sampler(config(SamplerKind::dpmpp_2m), 8);
  const auto rounded = [](const Tensor<bf16, 4>& x, const Tensor<float, 1>& timesteps, const Tensor<i64, 1>& classes) {
    Tensor<float, 4> wide(x.shape());
    for (i64 i = 0; i < x.size(); ++i) wide.data()[i] = float(x.data()[i]);
    wide = ToyModel{}(wide, timesteps, classes);
    const Tensor<bf16, 4> out(x.shape());
    for (i64 i = 0; i < x.size(); ++i) out.data()[i] = bf16(wide.data()[i]);
    return out;
  };
  const auto a = sample_classes<bf16>(rounded, sampler, request({2}, {2}, 1.5));
  const auto b = sample_classes<float>(ToyModel{}, sampler, request({2}, {2}, 1.5));
  BOOST_TEST(test::largest_difference(test::outputs(a), test::outputs(b)) < 0.05);
}

BOOST_AUTO_TEST_CASE(images_that_are_not_finite_never_leave) {
  const Sampler sampler(config(SamplerKind::ddpm), 5);
  const auto broken = [](float value, i64 at_call) {
    return [value, at_call, call = std::make_shared<i64>(0)](const Tensor<float, 4>& x, const Tensor<float, 1>& t,
                                                             const Tensor<i64, 1>& classes) {
      auto out = ToyModel{}(x, t, classes);
      if ((*call)++ == at_call) out.data()[out.size() - 1] = value;
      return out;
    };
  };
  for (float value : {NAN, INFINITY, -INFINITY}) {
    const std::string said = message([&] { sample_classes<float>(broken(value, 2), sampler, request({4, 8}, {0, 17})); });
    for (const char* part : {"class 8", "index 17", "step 2 of 5"}) BOOST_TEST(contains(said, part), said);
  }
  // Clipping must not turn an infinite prediction into a white pixel.
  SchedulerConfig clipped = config(SamplerKind::ddpm);
  clipped.clip_sample = true;
  BOOST_CHECK_THROW((sample_classes<float>(broken(INFINITY, 0), Sampler(clipped, 5), request({4}, {0}))), Error);
}

// The coefficients of one step of one's own: x' = x x + m m + noise z.
StepCoefficients own_step(float x, float m, float noise) { return {.x = x, .m = m, .noise = noise}; }

// n images of 5 x 3 x 2 with the streams (seed 3, "mine", i) and, for step k, (seed 3, "my noise", i, k).
std::vector<ImageStreams> own_streams(i64 n, i64 steps) {
  std::vector<ImageStreams> out;
  for (i64 i = 0; i < n; ++i) {
    out.push_back({Stream(3, "mine", u64(i)), {}, text("image ", i)});
    for (i64 k = 0; k < steps; ++k) out.back().noise.emplace_back(3, "my noise", u64(i), u64(k));
  }
  return out;
}
const Shape<3> own_shape(5, 3, 2);

// Says 0.25 of everything.
constexpr auto quarter = [](const Tensor<float, 4>& x, const Tensor<float, 1>& t) {
  BOOST_TEST(t.size() == x.extent(0));
  return Tensor<float, 4>::full(x.shape(), 0.25f);
};

BOOST_AUTO_TEST_CASE(streams_are_the_caller_s) {
  const Sampler kept("kept", {7}, {own_step(1, 0, 0)}, 2), noise("noise", {7, 3}, {own_step(0, 0, 1), own_step(0, 1, 3)});
  const auto first = sample<float, Cpu>(quarter, kept, own_shape, own_streams(3, 0)),
             last = sample<float, Cpu>(quarter, noise, own_shape, own_streams(3, 2));
  for (i64 i = 0; i < 3; ++i)
    for (i64 j = 0; j < 30; ++j) {
      BOOST_TEST(first.data()[30 * i + j] == 2 * Stream(3, "mine", u64(i)).normal(u64(j)));
      BOOST_TEST(last.data()[30 * i + j] == 0.25f + 3 * Stream(3, "my noise", u64(i), 1).normal(u64(j)));
    }
  BOOST_TEST(contains(message([&] { sample<float, Cpu>(quarter, noise, own_shape, own_streams(3, 1)); }), "3 noise streams"));
  BOOST_TEST(contains(message([&] { sample<float, Cpu>(quarter, kept, own_shape, {}); }), "0 images"));
}

BOOST_AUTO_TEST_CASE(steps_of_one_s_own) {
  // The steps of a known sampler, given by hand, are that sampler; two that share a name and differ in a number are told apart.
  for (SamplerKind kind : samplers) {
    const Sampler known(config(kind), 6);
    std::vector<double> timesteps;
    std::vector<StepCoefficients> coefficients;
    for (i64 k = 0; k < known.steps(); ++k) timesteps.push_back(known.timestep(k)), coefficients.push_back(known.coefficients(k));
    const Sampler own("own", timesteps, coefficients, known.initial_scale());
    const Request what = request({4, 1}, {0, 5}, 2.5);
    BOOST_TEST(same_bits(sample_classes<float>(ToyModel{}, known, what), sample_classes<float>(ToyModel{}, own, what)));
    coefficients.back().m += 1e-3f;
    BOOST_TEST(Sampler("own", timesteps, coefficients, known.initial_scale()).describe() != own.describe());
    BOOST_TEST(Sampler("own", timesteps, coefficients, 0.5).describe() != own.describe());
  }
  // A step looks back on the y of up to four before it; before the first step they are 0.
  const StepCoefficients remember{.y_x = 1, .x = 2}, look{.y_x = 1, .past = {1000, 100, 10, 1}};
  const Sampler back("back", {5, 4, 3, 2, 1}, {remember, remember, remember, remember, look});
  BOOST_TEST(back.looks_back() == 4);
  const auto kept = sample<float, Cpu>(quarter, back, own_shape, own_streams(2, 0));
  for (i64 j = 0; j < 60; ++j)
    BOOST_TEST(kept.data()[j] == (8000 + 400 + 20 + 1) * Stream(3, "mine", u64(j / 30)).normal(u64(j % 30)),
               boost::test_tools::tolerance(1e-6f));
  const Sampler early("early", {2, 1}, {look, look});
  const auto none = sample<float, Cpu>(quarter, early, own_shape, own_streams(1, 0));
  BOOST_TEST(none.data()[3] == 1000 * Stream(3, "mine", 0).normal(3), boost::test_tools::tolerance(1e-6f));
  // The model is told the timesteps as they are given, the same one twice too.
  std::vector<float> told;
  const auto spy = [&](const Tensor<float, 4>& x, const Tensor<float, 1>& t) { return told.push_back(t.data()[0]), x.clone(); };
  const StepCoefficients keep = own_step(1, 0, 0);
  sample<float, Cpu>(spy, Sampler("twice", {900, 450.5, 450.5}, {keep, keep, keep}), own_shape, own_streams(1, 0));
  BOOST_TEST((told == std::vector<float>{900, 450.5f, 450.5f}));

  StepCoefficients clipped = keep, broken = keep;
  clipped.clip = 0, broken.past[3] = NAN;
  BOOST_TEST(contains(message([&] { Sampler("own", {}, {}); }), "0 timesteps"));
  BOOST_TEST(contains(message([&] { Sampler("own", {1, 2}, {keep}); }), "2 timesteps"));
  BOOST_TEST(contains(message([&] { Sampler("own", {1, NAN}, {keep, keep}); }), "step 1"));
  BOOST_TEST(contains(message([&] { Sampler("own", {1}, {clipped}); }), "step 0"));
  BOOST_TEST(contains(message([&] { Sampler("own", {2, 1}, {keep, broken}); }), "step 1"));
  for (double scale : {0., -1., double(NAN), double(INFINITY)})
    BOOST_TEST(contains(message([&] { Sampler("own", {1}, {keep}, scale); }), "standard deviation"));
}

BOOST_AUTO_TEST_CASE(a_decoder_makes_images_of_the_last_state) {
  const Sampler kept("kept", {7}, {own_step(1, 0, 0)});
  const auto decode = [](float first) {
    return [first](const Tensor<float, 4>& latents) {
      const auto out = Tensor<float, 4>::full(Shape<4>(latents.extent(0), 8, 8, 3), 0.5f);
      for (i64 i = 0; i < latents.extent(0); ++i) out.data()[i * 192] = i ? first : latents.data()[i * 30];
      return out;
    };
  };
  const auto images = sample<float, Cpu>(quarter, kept, own_shape, own_streams(2, 0), decode(0.75f));
  BOOST_TEST((images.shape() == Shape<4>(2, 8, 8, 3)));
  BOOST_TEST(images.data()[0] == Stream(3, "mine", 0).normal(0));
  BOOST_TEST(images.data()[192] == 0.75f);
  const std::string said = message([&] { sample<float, Cpu>(quarter, kept, own_shape, own_streams(2, 0), decode(INFINITY)); });
  BOOST_TEST(contains(said, "image 1 is not finite"), said);
}

// A denoiser that is no class: its condition is what it adds to the first and the second half of what it sees.
BOOST_AUTO_TEST_CASE(guidance_wraps_any_denoiser) {
  const Sampler once("once", {7}, {own_step(0, 1, 0)});
  for (double scale : {0., 1., 3., -0.5}) {
    const Guidance guidance{scale};
    const std::vector<float> conditions = guidance.conditions<float>({1, 2}, {10, 20});
    const auto denoise = [&](const Tensor<float, 4>& x, const Tensor<float, 1>& t) {
      BOOST_TEST(x.extent(0) == i64(conditions.size()));
      BOOST_TEST(t.size() == x.extent(0));
      if (scale != 0 && scale != 1) BOOST_TEST(same_bits(x.slice(0, 2), x.slice(2, 4)));
      const Tensor<float, 4> out(x.shape());
      for (i64 i = 0; i < x.size(); ++i) out.data()[i] = conditions[size_t(i / 30)];
      return out;
    };
    const auto images = sample<float, Cpu>(Guided{denoise, guidance}, once, own_shape, own_streams(2, 0));
    for (i64 i = 0; i < 60; ++i) {
      const float none = i < 30 ? 1 : 2, with = 10 * none;
      BOOST_TEST(images.data()[i] == none + float(scale) * (with - none));
    }
  }
}

// Rescale 1 gives each image's guided answer the deviation of its conditional one, and 0 is without, to the last bit.
BOOST_AUTO_TEST_CASE(guidance_rescale) {
  const Sampler once("once", {7}, {own_step(0, 1, 0)});
  const auto answers = [&](i64 copy, i64 image, i64 j) {
    return Stream(9, "says", u64(copy), u64(image)).normal(u64(j)) + float(j % 2);
  };
  const auto denoise = [&](const Tensor<float, 4>& x, const Tensor<float, 1>&) {
    const Tensor<float, 4> out(x.shape());
    for (i64 i = 0; i < x.size(); ++i) out.data()[i] = answers(i / 90, i / 30 % 3, i % 30);
    return out;
  };
  const auto sampled = [&](Guidance guidance) {
    return sample<float, Cpu>(Guided{denoise, guidance}, once, own_shape, own_streams(3, 0));
  };
  const auto deviation = [](auto&& value) {
    double sum = 0, square = 0;
    for (i64 j = 0; j < 30; ++j) sum += value(j), square += double(value(j)) * value(j);
    return std::sqrt(square / 30 - sum / 30 * (sum / 30));
  };
  const auto plain = sampled({7.5});
  BOOST_TEST(same_bits(plain, sampled({7.5, 0})));
  const auto full = sampled({7.5, 1}), half = sampled({7.5, 0.5});
  for (i64 image = 0; image < 3; ++image) {
    const double wanted = deviation([&](i64 j) { return answers(1, image, j); });
    BOOST_TEST(deviation([&](i64 j) { return full.data()[30 * image + j]; }) == wanted, boost::test_tools::tolerance(1e-5));
    for (i64 j = 30 * image; j < 30 * image + 30; ++j)
      BOOST_TEST(half.data()[j] == 0.5f * (plain.data()[j] + full.data()[j]), boost::test_tools::tolerance(1e-4f));
  }
  BOOST_TEST(same_bits(sampled({1, 0.7}), sampled({1})));  // there is one answer alone
  for (double rescale : {-0.1, 1.1, double(NAN)})
    BOOST_TEST(contains(message([&] { sampled({7.5, rescale}); }), "guidance rescale"));
  // An answer that is the same everywhere has no deviation to keep.
  const auto flat = sample<float, Cpu>(Guided{quarter, Guidance(2, 1)}, once, own_shape, own_streams(1, 0));
  for (float pixel : flat.to_vector()) BOOST_TEST(pixel == 0.25f);
}

// From images: of a strength they keep what noise of that step leaves of them, and a model that knows the only image there is
// leads back to it.
BOOST_AUTO_TEST_CASE(image_to_image) {
  const auto images = Tensor<float, 4>::full(Shape<4>(2, 5, 3, 2), 0.6f);
  for (SamplerKind kind : samplers)
    for (double strength : {0.3, 0.75, 1.}) BOOST_TEST_CONTEXT(name(kind) << ", strength " << strength) {
        const SchedulerConfig c = config(kind, Prediction::v_prediction, BetaSchedule::linear);
        const Sampler sampler(c, 10, 0, strength);
        BOOST_TEST(sampler.requested_steps() == 10);
        BOOST_TEST(sampler.needs_images() == (strength < 1));
        BOOST_TEST(contains(sampler.describe(), "strength") == (strength < 1));
        const i64 left = i64(10 * strength), begin = 10 - left, pndm = kind == SamplerKind::pndm;
        BOOST_TEST(sampler.steps() == (kind == SamplerKind::heun ? 2 * left - 1 : left + pndm));
        BOOST_TEST(sampler.timestep(0) == Sampler(c, 10).timestep(kind == SamplerKind::heun ? 2 * begin : begin));
        SamplerRun<float, Cpu> run(sampler, images.shape());
        const std::vector<Stream> noise(size_t(2 * sampler.steps()), Stream(5, "noise")),
            latent{Stream(3, "mine"), Stream(4, "mine")};
        run.start(latent, noise, images);
        const NoiseLevel level = *sampler.image_level();
        for (i64 i = 0; i < 60; ++i)
          BOOST_TEST(run.state().data()[i] == level.alpha * 0.6 + level.sigma * latent[size_t(i / 30)].normal(u64(i % 30)),
                     boost::test_tools::tolerance(1e-5));
        const auto before = run.state().clone();  // the same from images that begin in the middle of a vector
        run.start(latent, noise, Tensor<float, 1>::full(Shape<1>(61), 0.6f).slice(1, 61).reshape(images.shape()));
        BOOST_TEST(same_bits(run.state(), before));
        const ConstantImages known{Prediction::v_prediction, c.schedule(), 0.6f};
        const auto denoise = [&](const Tensor<float, 4>& x, const Tensor<float, 1>& t) { return known(x, t, {}); };
        const auto streams = own_streams(2, sampler.steps());
        // PNDM takes means of v of several times; LMS begins with weights of steps that it has not made, as in diffusers.
        if (!pndm && (kind != SamplerKind::lms || strength == 1))
          for (float pixel : sample<float, Cpu>(denoise, sampler, own_shape, streams, {}, images).to_vector())
            BOOST_TEST(std::abs(pixel - 0.6f) < 2e-3f);
        if (strength < 1)
          BOOST_TEST(
              contains(message([&] { sample<float, Cpu>(denoise, sampler, own_shape, streams); }), "no images to start from"));
        const auto larger = Tensor<float, 4>::zeros(Shape<4>(2, 5, 3, 3));
        BOOST_TEST(contains(message([&] { run.start(latent, noise, larger); }), "no images to start from"));
      }
  const Sampler own("own", {7}, {own_step(1, 0, 0)});
  BOOST_TEST(contains(message([&] { sample<float, Cpu>(quarter, own, own_shape, own_streams(2, 0), {}, images); }), "one's own"));
}

// They read coefficients of beyond the last step.
BOOST_AUTO_TEST_CASE(steps_that_there_are_not) {
  const Sampler own("own", {7, 3}, {own_step(1, 0, 0), own_step(1, 0, 0)});
  SamplerRun<float, Cpu> run(own, Shape<4>(1, 2, 2, 1));
  const auto step = [&] { run.begin_step(), run.step(run.input()); };
  BOOST_TEST(contains(message(step), "none was started"));
  for (int k = 0; k < 2; ++k) {
    run.start({Stream(1, "mine")});
    step(), step();
    BOOST_TEST(run.timesteps().item() == 3.f);
    BOOST_TEST(contains(message(step), "all 2 steps are made"));
  }
}

// What one batch left behind is not seen by the next.
BOOST_AUTO_TEST_CASE(batches_do_not_see_each_other) {
  for (SamplerKind kind : samplers) {
    const Sampler sampler(config(kind), 5);
    ClassSampler<float, Cpu, ToyModel> images(ToyModel{}, sampler, Shape<3>(5, 3, 2), 10, {2.5, 0.7});
    const auto first = images(request({4, 1}, {0, 5}).keys).clone();
    images(request({2, 7}, {3, 4}).keys);
    BOOST_TEST(same_bits(images(request({4, 1}, {0, 5}).keys), first), name(kind));
  }
}

BOOST_AUTO_TEST_CASE(bad_requests_are_refused) {
  const Sampler sampler(config(SamplerKind::ddim), 2);
  const auto refused = [&](const Request& what) { return message([&] { sample_classes<float>(ToyModel{}, sampler, what); }); };
  BOOST_TEST(contains(refused(request({}, {})), "0 images"));
  BOOST_TEST(contains(refused(request({10}, {0})), "class 10"));
  BOOST_TEST(contains(refused(request({-1}, {0})), "class -1"));
  BOOST_TEST(contains(refused(request({1}, {0}, NAN)), "guidance"));
  BOOST_TEST(refused(request({1}, {0}, 1000)) == "no error");
  // Noise prediction at the end of the cosine schedule, without clipping: 20,291 times the model's error.
  for (SamplerKind kind : samplers) {
    const Sampler noisy(config(kind, Prediction::epsilon), 10);
    const std::string said = message([&] { sample_classes<float>(ToyModel{}, noisy, request({1}, {0})); });
    BOOST_TEST(contains(said, "20291"), said);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(diffusion_training)

BOOST_AUTO_TEST_CASE(pairs_satisfy_their_definition) {
  const NoiseSchedule schedule;
  Tensor<float, 4> x0(Shape<4>(6, 5, 3, 1));
  for (i64 i = 0; i < x0.size(); ++i) x0.data()[i] = Stream(1, "x0").normal(u64(i));
  for (Prediction prediction : predictions) {
    const auto batch = noisy_batch<float, Cpu>(x0, schedule, prediction, 3, 100);
    for (i64 n = 0; n < 6; ++n) {
      const i64 t = i64(batch.timesteps.data()[n]);
      const NoiseLevel level = schedule.level(t);
      const LinearCoefficients c = convert(prediction, Prediction::sample, level);
      if (level.alpha < 0.05 || level.sigma < 0.05) continue;
      for (i64 i = 15 * n; i < 15 * n + 15; ++i)
        BOOST_TEST(std::abs(c.x * batch.input.data()[i] + c.m * batch.target.data()[i] - x0.data()[i]) < 2e-5);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_sample_is_keyed_by_its_number) {
  const NoiseSchedule schedule;
  const auto x0 = Tensor<float, 4>::full(Shape<4>(8, 4, 4, 1), 0.25f);
  const auto whole = noisy_batch<float, Cpu>(x0, schedule, Prediction::v_prediction, 5, 40);
  const auto rest = noisy_batch<float, Cpu>(x0.slice(3, 8), schedule, Prediction::v_prediction, 5, 43);
  BOOST_TEST(same_bits(whole.input.slice(3, 8), rest.input));
  BOOST_TEST(same_bits(whole.target.slice(3, 8), rest.target));
  BOOST_TEST(same_bits(whole.timesteps.slice(3, 8), rest.timesteps));
}

BOOST_AUTO_TEST_CASE(timesteps_are_uniform_and_labels_dropped_at_the_rate) {
  const NoiseSchedule schedule;
  const auto batch =
      noisy_batch<float, Cpu>(Tensor<float, 4>::zeros(Shape<4>(4000, 1, 1, 1)), schedule, Prediction::epsilon, 1, 0);
  double sum = 0, lowest = 1000, highest = -1;
  for (float t : batch.timesteps.to_vector())
    sum += t, lowest = std::min(lowest, double(t)), highest = std::max(highest, double(t));
  BOOST_TEST(sum / 4000 == 499.5, boost::test_tools::tolerance(0.05));
  BOOST_TEST((lowest >= 0 && lowest < 5 && highest > 994 && highest <= 999));
  const std::vector<i64> dropped = drop_labels(std::vector<i64>(4000, 3), 10, 0.1, 1, 0);
  const double rate = double(std::count(dropped.begin(), dropped.end(), 10)) / 4000;
  BOOST_TEST(rate == 0.1, boost::test_tools::tolerance(0.2));
  BOOST_TEST((drop_labels({1, 2}, 10, 0, 1, 0) == std::vector<i64>{1, 2}));
  BOOST_TEST((drop_labels({1, 2}, 10, 1, 1, 0) == std::vector<i64>{10, 10}));
  BOOST_CHECK_THROW(drop_labels({1}, 10, 1.5, 1, 0), Error);
}

BOOST_AUTO_TEST_CASE(kernels_on_fibers) {
  for (i64 size : {203, 204}) {
    const i64 images = 3;
    std::vector<Stream> streams;
    for (i64 i = 0; i < 2 * images; ++i) streams.emplace_back(1, "test", u64(i));  // of two steps
    const Stream* noise = streams.data();
    const Shape<2> one(images, size), two(2 * images, size);
    const auto random = [](Shape<2> shape, u64 id) {
      Tensor<float, 2> out(shape);
      for (i64 i = 0; i < out.size(); ++i) out.data()[i] = Stream(2, "values", id).normal(u64(i));
      return out;
    };
    const auto x = random(one, 0), given = random(one, 1), input = random(two, 2), output = random(two, 3);
    const auto kept = random(Shape<2>(3 * images, size), 7);
    output.data()[size + 5] = NAN;
    const auto bad = Tensor<i32, 1>::zeros(Shape<1>(images));
    for (const float* from : {static_cast<const float*>(nullptr), static_cast<const float*>(given.data())})
      emulate({images}, kernel::LatentStart<float>{x.data(), input.data(), noise, from, images, size, 2, 0.8f, 1.5f}, 0, x,
              input);
    const StepCoefficients c[] = {{}, {0.4f, -0.7f, 1.f, 0.3f, 0.2f, 0.9f, {-0.1f, 0.f, 0.6f}, 0.5f}};
    const Tensor<i32, 1> step = Tensor<i32, 1>::from({0, 1}, Shape<1>(2));
    const Tensor<float, 1> times(Shape<1>(300)), grid = Tensor<float, 1>::from({9.f, 4.f}, Shape<1>(2));
    emulate({1}, kernel::BeginSamplerStep{step.data(), times.data(), grid.data(), times.size()}, 0, step, times);
    run_serial({1}, kernel::BeginSamplerStep{step.data(), times.data(), grid.data(), times.size()});
    BOOST_TEST((step.to_vector() == std::vector<i32>{1, 2}));
    BOOST_TEST(times.to_vector() == std::vector<float>(300, 4.f));
    const auto factor = Tensor<float, 1>::zeros(Shape<1>(images));
    const auto says = random(two, 8);
    emulate({images}, kernel::GuidanceRescale<float>{factor.data(), says.data(), images, size, 1.5f, 0.7f}, 1e-6, factor);
    run_serial({images}, kernel::GuidanceRescale<float>{factor.data(), says.data(), images, size, 1.5f, 0.7f});
    const StepCoefficients plain[] = {{}, {0.4f, -0.7f, 1.f, 0.3f, 0.2f, 0.9f, {}, 0.5f}};
    for (const float* factors : {static_cast<const float*>(nullptr), static_cast<const float*>(factor.data())}) {
      emulate({images},
              kernel::SamplerStep<float, false>{x.data(), nullptr, input.data(), output.data(), factors, noise, bad.data(), plain,
                                                step.data(), images, size, 2, 0, 1.5f},
              0, x, input, bad);
      emulate({images},
              kernel::SamplerStep<float, true>{x.data(), kept.data(), input.data(), output.data(), factors, noise, bad.data(), c,
                                               step.data(), images, size, 2, 3, 1.5f},
              0, x, kept, input, bad);
    }
    const auto noisy = random(one, 4), target = random(one, 5);
    const auto levels = random(Shape<2>(images, 4), 6);
    emulate({images}, kernel::NoisyImages<float>{noisy.data(), target.data(), x.data(), levels.data(), noise, size}, 0, noisy,
            target);
  }
}

BOOST_AUTO_TEST_SUITE_END()
