// sample: an image depends on (generator, seed, class, index, settings) alone, and a shard folder is whole after any kill.
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/diffusion/scheduler_config.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/safetensors.hpp>

#include "tests/apps/run.hpp"
#include <nlohmann/json.hpp>
#include <set>

using namespace mindgap;
using namespace mindgap::test;

namespace {

Arguments sampling(const fs::path& generator, const fs::path& out, const std::string& per_class, const Arguments& more = {}) {
  return Arguments{"--model", generator.string(), "--out", out.string(), "--per-class", per_class} + more;
}

std::string chunk(i64 number) { return "chunk-0000" + std::to_string(number) + ".safetensors"; }

nlohmann::json manifest(const fs::path& folder) { return nlohmann::json::parse(read_file(folder / "dataset.json")); }

}  // namespace

BOOST_AUTO_TEST_SUITE(sample)

// 300 images in chunks of 128: made at once, by three processes, in other batches, and after growing from 5 a class.
BOOST_AUTO_TEST_CASE(same_bytes_however_divided) {
  const Folder folder;
  const fs::path generator = make_generator(folder);
  const Arguments settings{"--steps", "3", "--seed", "5"};
  run_well("sample", sampling(generator, folder / "whole", "100", settings));
  const auto whole = contents(folder / "whole");
  BOOST_TEST(whole.size() == 4);

  for (const char* part : {"2/3", "0/3", "1/3"})
    run_well("sample", sampling(generator, folder / "parts", "100", settings + Arguments{"--shard", part}));
  BOOST_TEST((contents(folder / "parts") == whole));

  run_well("sample", sampling(generator, folder / "batch", "100", settings + Arguments{"--batch", "7"}));
  BOOST_TEST((contents(folder / "batch") == whole));

  run_well("sample", sampling(generator, folder / "grown", "5", settings));
  run_well("sample", sampling(generator, folder / "grown", "50", settings + Arguments{"--batch", "1"}));
  run_well("sample", sampling(generator, folder / "grown", "100", settings));
  BOOST_TEST((contents(folder / "grown") == whole));

  const Result smaller = run("sample", sampling(generator, folder / "grown", "5", settings));
  BOOST_TEST(smaller.code == 1, smaller);
  const Result other = run("sample", sampling(generator, folder / "grown", "100", {"--steps", "3", "--seed", "6"}));
  BOOST_TEST(other.code == 1, other);
  BOOST_TEST(other.says("seed"), other);
  BOOST_TEST((contents(folder / "grown") == whole));
}

// A refused run leaves no trace that could refuse the next one.
BOOST_AUTO_TEST_CASE(refused_runs) {
  const Folder folder;
  write_idx(folder / "data", 24, 12);
  const fs::path generator = folder / "generator", out = folder / "new" / "out";
  run_well("train_generator", {"--data", (folder / "data").string(), "--out", generator.string(), "--steps", "2", "--batch", "8",
                               "--channels", "8,8", "--groups", "4", "--head", "4", "--preview", "0", "--prediction", "epsilon"});
  const Result r = run("sample", sampling(generator, out, "2"));
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST(r.says("ddim"), r);
  BOOST_TEST(r.says("--spacing leading"), r);
  BOOST_TEST(!fs::exists(folder / "new"));
  run_well("sample", sampling(generator, folder / "spaced", "2", {"--spacing", "leading", "--steps", "2"}));
  // Chunks do not belong into the generator's folder, and where there are none nothing is said to have them.
  const auto before = contents(generator);
  fs::create_directory_symlink(generator, folder / "link");
  for (const fs::path& same : {generator, generator / "", folder / "link", generator / "unet" / ".."}) {
    const Result among = run("sample", sampling(generator, same, "2", {"--sampler", "ddim", "--steps", "2"}));
    BOOST_TEST(among.code == 2, among);
    BOOST_TEST(among.says("--out is what --model names"), among);
  }
  BOOST_TEST((contents(generator) == before));
  const Result none = run("sample", sampling(generator, out, "2", {"--sampler", "ddim", "--steps", "2", "--shard", "5/100"}));
  BOOST_TEST(none.code == 0, none);
  BOOST_TEST(none.says("the set has no image in part 5/100"), none);
  BOOST_TEST(none.out == "");
  BOOST_TEST(!fs::exists(folder / "new"));
  make_folder(out);
  BOOST_TEST(run("sample", sampling(generator, out, "2")).code == 1);
  BOOST_TEST(fs::exists(out));  // it was there before
  BOOST_TEST(contents(out).empty());
  run_well("sample", sampling(generator, out, "2", {"--sampler", "ddim", "--steps", "2"}));

  // Steps that the generator's file does not allow: the flag's error names the file.
  const fs::path scheduler = generator / "scheduler" / "scheduler_config.json";
  std::string json = read_file(scheduler);
  json.replace(json.find("trailing"), 8, "leading");
  write_file_atomic(scheduler, json);
  const Result steps = run("sample", sampling(generator, folder / "leading", "2", {"--sampler", "ddim", "--steps", "1"}));
  BOOST_TEST(steps.code == 2, steps);
  BOOST_TEST(steps.says("scheduler_config.json"), steps);
  BOOST_TEST(!fs::exists(folder / "leading"));
}

BOOST_AUTO_TEST_CASE(killed_and_resumed) {
  const Folder folder;
  const fs::path generator = make_generator(folder);
  const Arguments settings{"--steps", "30"};
  run_well("sample", sampling(generator, folder / "whole", "100", settings));
  for (int signal : {SIGKILL, SIGTERM}) {
    const fs::path out = folder / std::to_string(signal);
    Process first("sample", sampling(generator, out, "100", settings));
    first.wait_for(out / chunk(0));
    const Result stopped = first.kill(signal);
    BOOST_TEST(stopped.code == (signal == SIGKILL ? 128 + SIGKILL : 130), stopped);
    BOOST_TEST(!fs::exists(out / chunk(2)));
    const Result incomplete = run("train_student", {"--data", out.string(), "--out", (folder / "student").string()});
    BOOST_TEST(incomplete.code == 1, incomplete);
    run_well("sample", sampling(generator, out, "100", settings));
    for (i64 k = 0; k < 3; ++k) BOOST_TEST(read_file(out / chunk(k)) == read_file(folder / "whole" / chunk(k)));
    BOOST_TEST(!fs::exists(out / (chunk(2) + ".tmp")));
  }
}

BOOST_AUTO_TEST_CASE(what_a_chunk_holds) {
  const Folder folder;
  const fs::path generator = make_generator(folder), out = folder / "out";
  run_well("sample", sampling(generator, out, "2", {"--steps", "2", "--sampler", "ddim", "--seed", "9007199254740993"}));
  const Safetensors file(out / chunk(0));
  BOOST_TEST(file.entries().size() == 3);
  const auto images = file.tensor<u8, 4>("images");
  BOOST_TEST((images.shape() == Shape<4>(6, 8, 8, 1)));
  BOOST_TEST((file.tensor<i64, 1>("labels").to_vector() == std::vector<i64>{0, 1, 2, 0, 1, 2}));
  BOOST_TEST((file.tensor<i64, 1>("indices").to_vector() == std::vector<i64>{0, 0, 0, 1, 1, 1}));
  Sha256 hash;
  for (const char* name : {"images", "labels", "indices"}) {
    const auto bytes = file.at(name).bytes;
    hash.update(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  BOOST_TEST(file.metadata_at("sha256") == hash.hex());

  const auto json = manifest(out);
  BOOST_TEST((json.at("class_names").get<Arguments>() == class_names));
  BOOST_TEST(json.at("seed").get<u64>() == 9007199254740993u);
  BOOST_TEST(json.at("steps").get<i64>() == 2);
}

// Any u64 is a seed of its own; none may pass through a double or 32 bits.
BOOST_AUTO_TEST_CASE(seeds) {
  const Folder folder;
  const fs::path generator = make_generator(folder);
  const std::vector<std::string> seeds{
      "0", "2147483648", "4294967296", "9007199254740992", "9007199254740993", "9223372036854775808", "18446744073709551615"};
  std::set<std::string> images;
  for (const std::string& seed : seeds) {
    const fs::path out = folder / seed;
    run_well("sample", sampling(generator, out, "1", {"--steps", "1", "--seed", seed}));
    BOOST_TEST(manifest(out).at("seed").dump() == seed);
    const Safetensors file(out / chunk(0));
    const auto bytes = file.at("images").bytes;
    images.insert(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  BOOST_TEST(images.size() == seeds.size());
}

BOOST_AUTO_TEST_CASE(steps_and_guidance) {
  const Folder folder;
  const fs::path generator = make_generator(folder);
  const auto code = [&](const Arguments& more) {
    static int number = 0;
    return run("sample", sampling(generator, folder / ("out" + std::to_string(++number)), "1", more));
  };
  for (const char* sampler : sampler_names) {
    BOOST_TEST(code({"--sampler", sampler, "--steps", "0"}).code == 2);
    BOOST_TEST(code({"--sampler", sampler, "--steps", "-5"}).code == 2);
    BOOST_TEST(code({"--sampler", sampler, "--steps", "1001"}).code == 2);
    for (const char* steps : {"1", "2", "1000"}) {
      const Result r = code({"--sampler", sampler, "--steps", steps});
      BOOST_TEST(r.code == 0, sampler << " with " << steps << " steps: " << r);
    }
  }
  for (const char* guidance : {"0", "1", "1000"}) {
    const Result r = code({"--guidance", guidance, "--steps", "10"});
    // Finite, or one block that says what to change; never an image of NaN.
    BOOST_TEST((r.code == 0 || (r.code == 1 && r.says("lower the guidance"))), r);
  }
  BOOST_TEST(code({"--eta", "0.5"}).code == 2);
}

// Flags that say what the generator's file leaves open, or another thing than it says; the manifest has them.
BOOST_AUTO_TEST_CASE(spacing_sigmas_and_rescale) {
  const Folder folder;
  const fs::path generator = make_generator(folder);
  const auto sampler_of = [&](const std::string& name, const Arguments& more) {
    run_well("sample", sampling(generator, folder / name, "1", Arguments{"--steps", "5"} + more));
    return manifest(folder / name).at("sampler").get<std::string>();
  };
  BOOST_TEST(sampler_of("own", {}) == "dpmpp_2m, trailing spacing");
  BOOST_TEST(sampler_of("curve", {"--spacing", "linspace", "--sigmas", "karras", "--sampler", "heun"}) ==
             "heun, linspace spacing, karras sigmas, clipped to 1");
  BOOST_TEST(manifest(folder / "curve").at("steps").get<i64>() == 5);
  BOOST_TEST(sampler_of("rescale", {"--guidance", "3", "--guidance-rescale", "0.7"}) ==
             "dpmpp_2m, trailing spacing, guidance rescale 0.7");
  BOOST_TEST(sampler_of("zero", {"--guidance-rescale", "0"}) == "dpmpp_2m, trailing spacing");
  BOOST_TEST((contents(folder / "zero") == contents(folder / "own")));
  for (const Arguments& wrong : {Arguments{"--spacing", "log"}, Arguments{"--spacing", ""}, Arguments{"--sigmas", "beta"},
                                 Arguments{"--sigmas", "karras", "--sampler", "ddim"}, Arguments{"--guidance-rescale", "1.5"}}) {
    const Result r = run("sample", sampling(generator, folder / "wrong", "1", wrong));
    BOOST_TEST(r.code == 2, r);
    BOOST_TEST(!fs::exists(folder / "wrong"));
  }
}

// A U-Net of diffusers has a class for each row of its embedding, and none that means "no class".
BOOST_AUTO_TEST_CASE(classes_of_diffusers) {
  const Folder folder;
  const fs::path generator = make_generator(folder);  // of three classes and "no class"
  fs::remove(generator / "classes.json");
  const fs::path out = folder / "out";
  for (const Arguments& guidance : {Arguments{}, Arguments{"--guidance", "0"}, Arguments{"--guidance", "2"}}) {
    const Result r = run("sample", sampling(generator, out, "1", Arguments{"--steps", "1"} + guidance));
    BOOST_TEST(r.code == 2, r);
    BOOST_TEST(r.says("use guidance 1"), r);
    BOOST_TEST(!fs::exists(out));
  }
  run_well("sample", sampling(generator, out, "1", {"--steps", "1", "--guidance", "1"}));
  BOOST_TEST((manifest(out).at("class_names").get<Arguments>() == Arguments{"0", "1", "2", "3"}));
  BOOST_TEST(Safetensors(out / chunk(0)).at("labels").shape[0] == 4);
}

// Which noise schedule a folder has its scheduler's class says, also where the sampler is chosen.
BOOST_AUTO_TEST_CASE(schedulers_of_diffusers) {
  const Folder folder;
  const fs::path generator = make_generator(folder);
  const auto with = [&](const std::string& json) {
    write_file_atomic(generator / "scheduler" / "scheduler_config.json", json);
    return run("sample", sampling(generator, folder / "out", "1", {"--steps", "2"}));
  };
  const std::pair<const char*, const char*> others[] = {
      {"EDMEulerScheduler", R"("sigma_data": 0.5, "sigma_max": 80.0, "sigma_min": 0.002, "rho": 7.0)"},
      {"FlowMatchEulerDiscreteScheduler", R"("shift": 3.0)"},
      {"KarrasVeScheduler", R"("s_churn": 80)"},
      {"CMStochasticIterativeScheduler", R"("num_train_timesteps": 40, "sigma_max": 80.0)"},
      {"CogVideoXDDIMScheduler", R"("snr_shift_scale": 3.0)"},
      {"CogVideoXDDIMScheduler", R"("num_train_timesteps": 1000)"},
      {"NoSuchScheduler", R"("num_train_timesteps": 1000)"}};
  for (const auto& [name, keys] : others) {
    const Result r = with(text(R"({"_class_name": ")", name, "\", ", keys, "}"));
    BOOST_TEST(r.code == 1, r);
    BOOST_TEST((r.says(name) && r.says("scheduler_config.json") && r.says("remedy")), r);
  }
  BOOST_TEST(with("{}").code == 1);
  for (const char* keys : {R"("beta_end": NaN)", R"("beta_end": null)", R"("beta_start": -0.1)"})
    BOOST_TEST(with(text(R"({"_class_name": "DDIMScheduler", )", keys, "}")).code == 1, keys);
  for (const char* name : {"PNDMScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler"}) {
    const Result r =
        with(text(R"({"_class_name": ")", name, R"(", "prediction_type": "v_prediction", "timestep_spacing": "trailing"})"));
    BOOST_TEST(r.code == 0, r);
    fs::remove_all(folder / "out");
  }
}

BOOST_AUTO_TEST_CASE(second_process) {
  const Folder folder;
  const fs::path generator = make_generator(folder), out = folder / "out";
  const Arguments slow{"--steps", "1000"};
  Process first("sample", sampling(generator, out, "1000", slow + Arguments{"--shard", "0/2"}));
  first.wait_for(out / ".part-0-of-2.lock");
  const Result same = run("sample", sampling(generator, out, "1000", slow + Arguments{"--shard", "0/2"}));
  BOOST_TEST(same.code == 1);
  BOOST_TEST(same.says("another process"), same);
  const Result all = run("sample", sampling(generator, out, "1000", slow));
  BOOST_TEST(all.code == 1);
  BOOST_TEST(all.says("process"), all);
  BOOST_TEST(!fs::exists(out / ".lock"));
}

BOOST_AUTO_TEST_CASE(damaged_generators) {
  const Folder folder;
  const fs::path generator = make_generator(folder);
  const fs::path weights = generator / "unet" / "diffusion_pytorch_model.safetensors";
  const std::string good = read_file(weights);
  const auto refused = [&](const std::string& bytes, const std::string& part) {
    write_file_atomic(weights, bytes);
    const Result r = run("sample", sampling(generator, folder / "out", "1", {"--steps", "1"}));
    BOOST_TEST(r.code == 1, r);
    BOOST_TEST(r.says(part), r);
    BOOST_TEST(r.says("diffusion_pytorch_model.safetensors"), r);
  };
  refused(good.substr(0, good.size() / 2), "trunc");
  refused(good + "x", "too many");
  refused("<!DOCTYPE html><html>404</html>", "web page");
  refused("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git-lfs");
  refused("", "0 bytes");
  write_file_atomic(weights, good);
  const fs::path bin = generator / "unet" / "diffusion_pytorch_model.bin";
  fs::rename(weights, bin);
  const Result pickled = run("sample", sampling(generator, folder / "out", "1", {"--steps", "1"}));
  BOOST_TEST(pickled.code == 1, pickled);
  BOOST_TEST(pickled.says("safe_serialization=True"), pickled);
  fs::rename(bin, weights);
  for (const char* name : {"unet/config.json", "scheduler/scheduler_config.json", "classes.json"}) {
    const std::string whole = read_file(generator / name);
    for (const std::string& bytes : {std::string(), std::string("null"), std::string("{\"a\": NaN}"), std::string(50'000, '['),
                                     whole.substr(0, whole.size() - 4)}) {
      write_file_atomic(generator / name, bytes);
      const Result r = run("sample", sampling(generator, folder / "out", "1", {"--steps", "1"}));
      BOOST_TEST(r.code == 1, r);
      BOOST_TEST(r.says(fs::path(name).filename().string()), r);
    }
    write_file_atomic(generator / name, whole);
  }
  fs::remove(weights);
  fs::remove(generator / "scheduler" / "scheduler_config.json");
  const Result r = run("sample", sampling(generator, folder / "out", "1"));
  BOOST_TEST(r.code == 1);
  BOOST_TEST(r.says("diffusion_pytorch_model.safetensors"), r);
  BOOST_TEST(r.says("scheduler_config.json"), r);
}

BOOST_AUTO_TEST_SUITE_END()
