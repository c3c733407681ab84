// Whole trajectories of every sampler against diffusers, with a closed-form model in place of the U-Net. The cases, the model
// and the reference (diffusers in float64) are made by scripts/golden_samplers.py.
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/diffusion/image_sampler.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/safetensors.hpp>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>
#include <regex>

using namespace mindgap;

namespace {

const std::string folder = MINDGAP_SOURCE_DIR "/tests/golden/";

double model(Prediction prediction, double x, double t) {
  const double u = t / 1000;
  const double a = prediction == Prediction::epsilon ? u : prediction == Prediction::sample ? 1 - u : 0.25 - 0.5 * u;
  return a * x + 0.3 * x / (1 + x * x);
}

double relative_error(const std::vector<double>& found, const float* wanted) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    difference += (found[i] - wanted[i]) * (found[i] - wanted[i]);
    norm += double(wanted[i]) * wanted[i];
  }
  return std::sqrt(difference / norm);
}

// What a model that is guided to another answer says with the condition; without it it says `none`.
double conditional(double none, double x) { return 0.6 * none + 0.5 * std::sin(3 * x); }

nlohmann::json cases_of(const std::string& file) {
  // Python writes -Infinity, which the reader of scheduler_config.json understands and the JSON library does not.
  return nlohmann::json::parse(std::regex_replace(read_file(folder + file), std::regex("-Infinity"), "null"));
}

// The state in diffusers' units: Euler's variable is x / alpha.
std::vector<double> state(const SamplerRun<float, Cpu>& run, const SchedulerConfig& config, const Sampler& sampler, i64 k) {
  const bool scaled = config.sampler == SamplerKind::euler && k < sampler.steps();
  const double scale = scaled ? std::hypot(1, config.schedule().sigma_ratio(sampler.timestep(k))) : 1;
  std::vector<double> out;
  for (float x : run.state().to_vector()) out.push_back(scale * x);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(samplers)

BOOST_AUTO_TEST_CASE(trajectories_of_diffusers) {
  const Safetensors golden(folder + "samplers.safetensors");
  const nlohmann::json cases = cases_of("samplers.json");
  BOOST_TEST(cases.size() > 250u);
  const Shape<4> shape(1, 2, 4, 4);  // two grey images of 4 x 4 as one: the streams number all elements through
  double worst = 0;
  for (const auto& entry : cases) {
    const std::string key = entry["key"];
    const SchedulerConfig config = parse_scheduler_config(entry["config"].dump(), key);
    const i64 steps = entry["steps"];
    const Sampler sampler(config, steps, config.sampler == SamplerKind::ddim ? double(entry["eta"]) : 0.);
    const auto timesteps = golden.tensor<float, 1>("timesteps/" + key);
    const auto states = golden.tensor<float, 2>("states/" + key);
    BOOST_REQUIRE_EQUAL(sampler.steps(), timesteps.size());

    std::vector<Stream> noise;
    for (i64 k = 0; k < steps; ++k) noise.emplace_back(0, "golden:noise", u64(k));
    SamplerRun<float, Cpu> run(sampler, shape);
    run.start({Stream(0, "golden:initial")}, noise);
    double error = relative_error(state(run, config, sampler, 0), states.data());
    for (i64 k = 0; k < steps; ++k) {
      BOOST_TEST(std::abs(sampler.timestep(k) - timesteps.data()[k]) < 1e-3, key << ": timestep " << k);
      const Tensor<float, 4> said(shape);
      for (i64 i = 0; i < said.size(); ++i)
        said.data()[i] = float(model(config.prediction_type, run.input().data()[i], sampler.timestep(k)));
      run.begin_step();
      run.step(said);
      error = std::max(error, relative_error(state(run, config, sampler, k + 1), states.data() + (k + 1) * states.extent(1)));
    }
    const double bound = entry["bound"];
    BOOST_TEST(error <= bound,
               key << ": relative error " << error << ", bound " << bound << ", PyTorch's own f32 " << entry["error"]);
    worst = std::max(worst, error);
  }
  BOOST_TEST_MESSAGE(cases.size() << " trajectories, largest relative error " << worst);
}

// Every other sampler, spacing, grid of sigmas and prediction, zero terminal SNR, image to image, guidance rescale.
BOOST_AUTO_TEST_CASE(more_trajectories_of_diffusers) {
  const Safetensors golden(folder + "samplers_more.safetensors");
  const nlohmann::json cases = cases_of("samplers_more.json");
  BOOST_TEST(cases.size() > 350u);
  const Shape<4> shape(1, 2, 4, 4);
  const auto given = Tensor<float, 4>::from(golden.tensor<float, 1>("given").to_vector(), shape);
  double worst = 0;
  for (const auto& entry : cases) {
    const std::string key = entry["key"];
    const SchedulerConfig config = parse_scheduler_config(entry["config"].dump(), key);
    BOOST_TEST(key.starts_with(std::string(name(config.sampler)) + "-"), key);
    const Guidance guidance(entry.value("guidance", 1.), entry.value("guidance_rescale", 0.));
    const Sampler sampler(config, entry["steps"], 0, entry.value("strength", 1.));
    const auto timesteps = golden.tensor<float, 1>("timesteps/" + key);
    const auto states = golden.tensor<float, 2>("states/" + key);
    BOOST_REQUIRE_EQUAL(sampler.steps(), timesteps.size());
    BOOST_TEST(sampler.requested_steps() == entry["steps"].get<i64>());

    std::vector<Stream> noise;
    for (i64 k = 0; k < sampler.steps(); ++k) noise.emplace_back(0, "golden:noise", u64(k));
    SamplerRun<float, Cpu> run(sampler, shape, guidance);
    run.start({Stream(0, "golden:initial")}, noise, entry.contains("strength") ? given : Tensor<float, 4>());
    const auto error_at = [&](i64 k) {
      const std::vector<float> x = run.state().to_vector();
      return relative_error({x.begin(), x.end()}, states.data() + k * states.extent(1));
    };
    double error = error_at(0);
    for (i64 k = 0; k < sampler.steps(); ++k) {
      BOOST_TEST(std::abs(sampler.timestep(k) - timesteps.data()[k]) < 1e-3, key << ": timestep " << k);
      const Tensor<float, 4> said(run.input().shape());
      for (i64 i = 0; i < said.size(); ++i) {
        const double x = run.input().data()[i], none = model(config.prediction_type, x, sampler.timestep(k));
        said.data()[i] = float(i < shape.size() ? none : conditional(none, x));
      }
      run.begin_step();
      run.step(said);
      error = std::max(error, error_at(k + 1));
    }
    const double bound = entry["bound"];
    BOOST_TEST(error <= bound,
               key << ": relative error " << error << ", bound " << bound << ", PyTorch's own f32 " << entry["error"]);
    worst = std::max(worst, error);
  }
  BOOST_TEST_MESSAGE(cases.size() << " trajectories, largest relative error " << worst);
}

BOOST_AUTO_TEST_CASE(alphas_cumprod_of_diffusers) {
  const Safetensors golden(folder + "samplers.safetensors");
  for (auto [kind, start, end] : {std::tuple<BetaSchedule, double, double>{BetaSchedule::linear, 1e-4, 0.02},
                                  {BetaSchedule::scaled_linear, 0.00085, 0.012},
                                  {BetaSchedule::squaredcos_cap_v2, 1e-4, 0.02}}) {
    const auto wanted = golden.tensor<float, 1>("alphas_cumprod/" + std::string(name(kind)));
    const NoiseSchedule schedule(kind, wanted.size(), start, end);
    for (i64 t = 0; t < wanted.size(); ++t)  // the golden file is f64 inside; betas rounded to f32 move the product by up to 2e-5
      BOOST_TEST(std::abs(schedule.alpha_bar(t) / wanted.data()[t] - 1) < 2e-5, name(kind) << " at " << t);
  }
  const auto wanted = Safetensors(folder + "samplers_more.safetensors").tensor<float, 1>("alphas_cumprod/zero_snr");
  const NoiseSchedule schedule(BetaSchedule::scaled_linear, wanted.size(), 0.00085, 0.012, true);
  for (i64 t = 0; t < wanted.size(); ++t)  // PyTorch's square root of many f32 at once is not always the nearest
    BOOST_TEST(std::abs(schedule.level(t).alpha - std::sqrt(double(wanted.data()[t]))) < 3e-7, "at " << t);
  BOOST_TEST(wanted.data()[999] == 0);
}

BOOST_AUTO_TEST_SUITE_END()
