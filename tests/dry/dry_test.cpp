// The programs, as they are built for a GPU, on one that does nothing (gpu.cpp): every step is queued, captured and replayed,
// every plan made and kept, as on a GPU, and nothing is computed. That holds what no other test can hold without one: what the
// host does.
#include <mindgap/diffusion/scheduler_config.hpp>
#include <mindgap/study/results.hpp>

#include "tests/apps/sample_sets.hpp"
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// The GPU of the programs that are run while it lives. Its plans lie in a folder that is its own unless one is given.
struct PretendedGpu {
  explicit PretendedGpu(const std::string& plans = "") {
    set("LD_PRELOAD", PRETENDED_GPU);
    set("MINDGAP_AUTOTUNE_CACHE", plans.empty() ? (own_.path / "plans").string() : plans);
    set("PRETENDED_GPU_PLANS", "1");
  }
  ~PretendedGpu() {
    for (const std::string& name : names_) ::unsetenv(name.c_str());
  }
  void set(const std::string& name, const std::string& value) {
    names_.push_back(name);
    ::setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  Folder own_;
  std::vector<std::string> names_;
};

struct Counts {
  i64 launches, graphs;
};
// What a program that went well left on the GPU's account.
Counts counts(const Result& result) {
  std::smatch match;
  BOOST_REQUIRE_MESSAGE(result.code == 0, result);
  BOOST_REQUIRE_MESSAGE(
      std::regex_search(result.err, match, std::regex("pretended GPU: (\\d+) launches, (\\d+) of graphs, 0 complaints")), result);
  return {std::stoll(match[1]), std::stoll(match[2])};
}

Arguments on_gpu(const std::string& precision) { return {"--device", "cuda", "--precision", precision}; }

struct Work {
  Folder folder;
  std::string data = (folder / "data").string();

  Work() { write_idx(data, 45, 12, 12); }

  Arguments student(const std::string& out, i64 epochs = 3) const {
    return {"--data",  data, "--out",    (folder / out).string(), "--width", "8",
            "--batch", "10", "--epochs", std::to_string(epochs)};
  }
  Arguments generator(const std::string& out, i64 steps = 8) const {
    return {"--data",     data,
            "--out",      (folder / out).string(),
            "--steps",    std::to_string(steps),
            "--batch",    "8",
            "--channels", "8,16",
            "--groups",   "4",
            "--head",     "8",
            "--preview",  "2"};
  }
  Arguments samples(const std::string& out, i64 per_class = 4) const {
    return {"--model",     (folder / "generator").string(),
            "--out",       (folder / out).string(),
            "--per-class", std::to_string(per_class),
            "--steps",     "4",
            "--batch",     "8"};
  }
};

std::string plans_of(const fs::path& json) { return nlohmann::json::parse(read_file(json)).at("plans"); }

// One block of a message, and no more.
void check_block(const Result& result, const std::string& about) {
  BOOST_TEST_CONTEXT(result) {
    BOOST_TEST(result.code == 1);
    BOOST_TEST(result.says(about));
    const size_t first = result.err.find("mindgap: ");
    BOOST_TEST((first != result.err.npos && result.err.find("mindgap: ", first + 1) == result.err.npos));
    BOOST_TEST(result.says("remedy"));
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(dry)

BOOST_AUTO_TEST_CASE(students) {
  const Work work;
  const PretendedGpu gpu;
  for (const std::string precision : {"f32", "tf32", "bf16", "f16"}) {
    // 15 steps of two batch sizes, of which two each are run op by op and the third is captured; likewise the updates.
    const Counts whole = counts(run("train_student", work.student(precision) + on_gpu(precision)));
    BOOST_TEST(whole.graphs == 12 - 2 + 3 - 2 + 15 - 2);  // of gradients and of updates
    BOOST_TEST(plans_of(work.folder / precision / "student.json").size() == 16u);
    counts(run("evaluate", {"--model", (work.folder / precision).string(), "--data", work.data, "--device", "cuda"}));
  }
  counts(run("train_student", work.student("frozen") + on_gpu("bf16") +
                                  Arguments{"--init", (work.folder / "bf16" / "model.safetensors").string(), "--freeze", "layer1",
                                            "--clip", "1"}));
  BOOST_TEST(run("train_student", work.student("profiled") + on_gpu("bf16") + Arguments{"--profile"}).says("forward "));
}

// Convolutions of 32 and 64 channels before a norm, where the kernel that gathers moments is the quickest way; and where the
// table says that it is the library's.
BOOST_AUTO_TEST_CASE(convolutions_with_moments) {
  const Work work;
  const Folder plans;
  PretendedGpu gpu(plans.path.string());
  gpu.set("PRETENDED_GPU_TIMES", "rising");
  for (const std::string precision : {"bf16", "f16"}) counts(run("train_student", work.student(precision) + on_gpu(precision)));
  const fs::path file = *fs::directory_iterator(plans.path);
  std::string table = read_file(file);
  for (const char* way :
       {"\n0 conv_with_moments bf16 10 3 3 32 32 3 3 1 1 1 1 of 4 ways\n",
        "\n0 conv_with_moments f16 5 2 2 64 64 3 3 1 1 1 1 of 4 ways\n", "\n0 gradient bf16 10 3 3 32 32 3 3 1 1 1 1 of 2 ways\n",
        "\n0 gradient_sum f16 5 2 2 64 64 3 3 1 1 1 1 of 2 ways\n"})
    BOOST_TEST(table.find(way) != table.npos, way << " in\n" << table);
  write_file_atomic(file, std::regex_replace(table, std::regex("\n0 conv_with_moments"), "\n2 conv_with_moments"));
  counts(run("train_student", work.student("library") + on_gpu("f16")));
  table = read_file(file);
  BOOST_TEST(table.find(" forward sums f16 full 10 3 3 32 32 3 3 1 1 1 1\n") != table.npos, table);
}

// 1x1 convolutions of stride 1 are products, whose algorithms are timed in every role: the gradient of the data, alone and added
// to another, that of the weights, which is f32, and inference with all that follows in the product.
void check_table(const Folder& plans, const std::vector<std::string>& calls) {
  const std::string table = read_file(*fs::directory_iterator(plans.path));
  for (const std::string& call : calls) BOOST_TEST(table.find(" " + call + " ") != table.npos, call << " in\n" << table);
}
BOOST_AUTO_TEST_CASE(convolutions_as_products) {
  const Work work;
  const Folder plans;
  PretendedGpu gpu(plans.path.string());
  counts(run("train_student", work.student("resnet50", 1) + on_gpu("bf16") + Arguments{"--model", "resnet50"}));
  check_table(plans, {"product_or_backward_data bf16 full", "product_or_backward_weights bf16 full", "product bf16 full",
                      "product bf16 full to f32", "product sum bf16 full"});
}
BOOST_AUTO_TEST_CASE(folded_convolutions_as_products) {
  const Folder plans;
  PretendedGpu gpu(plans.path.string());
  counts(run("../bench/gpu_anchors", {"infer"}));
  check_table(plans, {"product bias relu bf16 full", "product sum bias relu bf16 full",
                      "epilogue_of_forward residual bias relu bf16 full", "epilogue_of_forward bias relu f16 full"});
}

BOOST_AUTO_TEST_CASE(generators) {
  const Work work;
  const PretendedGpu gpu;
  BOOST_TEST(counts(run("train_generator", work.generator("generator") + on_gpu("bf16"))).graphs >= 6);
  for (const std::string sampler : {"dpmpp_2m", "ddim", "ddpm", "euler"})
    BOOST_TEST(counts(run("sample", work.samples(sampler) + on_gpu("bf16") + Arguments{"--sampler", sampler})).graphs >= 2);
  counts(run("sample", work.samples("f16") + on_gpu("f16") + Arguments{"--guidance", "1"}));
}

// The tiny one: an image, from an image, in tiles; a labelled set by each sampler, with a batch that is not full; all of them of
// the zeros that the host reads, which are finite.
BOOST_FIXTURE_TEST_CASE(stable_diffusion, Sets) {
  const PretendedGpu gpu;
  for (const std::string precision : {"f32", "bf16", "f16"}) {
    BOOST_TEST(counts(run("sample", prompt("x.png", "a cat", {"--steps", "6"}) + on_gpu(precision))).graphs >= 4);
    BOOST_TEST((read_image(path / "x.png").shape() == Shape<3>(16, 16, 3)));
  }
  // In f32, for which cuDNN compiles no attention.
  const Arguments from{"--init-image", (path / "x.png").string(), "--steps", "10"};
  counts(run("sample", prompt("y.png", "a dog", from + Arguments{"--tiles"}) + on_gpu("f32")));
  counts(run("sample", prompt("z.png", "a dog", {"--guidance", "1", "--size", "24x32"}) + on_gpu("f32")));
  BOOST_TEST((read_image(path / "z.png").shape() == Shape<3>(32, 24, 3)));
  for (const char* sampler : sampler_names)
    counts(run("sample", set(sampler, "2", {"--sampler", sampler, "--steps", "5", "--batch", "4"}) + on_gpu("f32")));
  for (const char* only : {"cat:0", "bird:1"})
    counts(
        run("sample", set("ddim", "2", {"--sampler", "ddim", "--steps", "5", "--batch", "4", "--only", only}) + on_gpu("f32")));
  counts(run("sample", set("shards", "20", {"--format", "shards", "--guidance-rescale", "0.7"}) + on_gpu("f32")));
  BOOST_TEST(run("sample", set("invariant", "2", {"--batch-invariant"}) + on_gpu("f32")).code == 0);
}
BOOST_FIXTURE_TEST_CASE(stable_diffusion_fails, Sets) {
  PretendedGpu gpu;
  for (const char* launch : {"0", "3", "60", "600"}) {
    gpu.set("PRETENDED_GPU_LAUNCHES", launch);
    check_block(run("sample", prompt("x.png", "a cat", {"--steps", "50"}) + on_gpu("f16")), "cuda");
    check_block(run("sample", set(launch, "100", {"--steps", "50"}) + on_gpu("f32")), "cuda");
  }
  BOOST_TEST(!fs::exists(path / "x.png"));
  ::unsetenv("PRETENDED_GPU_LAUNCHES");
  gpu.set("PRETENDED_GPU_MEMORY", "64");
  check_block(run("sample", prompt("x.png", "a cat", {"--size", "1024"}) + on_gpu("f16")), "could not allocate");
}

// A run's plans do not depend on what ran before it in the process, nor on whether they were timed or found.
BOOST_AUTO_TEST_CASE(study) {
  const Work work;
  const Folder plans;
  const nlohmann::json recipe{{"epochs", 1}, {"batch", 10}, {"minimum_steps", 5}, {"rate", 0.05}};
  {
    const PretendedGpu gpu(plans.path.string());
    counts(run("train_generator", work.generator("generator") + on_gpu("f32")));
  }
  const nlohmann::json config{{"data", work.data},
                              {"generator", (work.folder / "generator").string()},
                              {"per_class", 15},
                              {"sampling_steps", 2},
                              {"width", 8},
                              {"seeds", {1, 2}},
                              {"experiments", {"E0", "E1", "E5"}},
                              {"counts", {30}},
                              {"student", recipe},
                              {"finetune", recipe},
                              {"scratch", recipe}};
  write_file_atomic(work.folder / "config.json", config.dump());
  std::vector<std::vector<Row>> runs;
  for (const std::string out : {"first", "second"}) {
    const PretendedGpu gpu(plans.path.string());
    counts(run("study", Arguments{"--config", (work.folder / "config.json").string(), "--out", (work.folder / out).string()} +
                            on_gpu("bf16")));
    const fs::path file = work.folder / out / "results.csv";
    runs.push_back(parse_csv(read_file(file), file.string()).rows);
  }
  std::map<std::string, std::set<std::string>> plans_of_experiment;
  for (const auto& rows : runs)
    for (const Row& row : rows) plans_of_experiment[text(row.experiment, " ", row.direction, " ", row.split)].insert(row.plans);
  BOOST_TEST(plans_of_experiment.size() >= 12u);
  for (const auto& [experiment, hashes] : plans_of_experiment)
    BOOST_TEST((hashes.size() == 1 && hashes.begin()->size() == 16), experiment);
}

// Wherever the GPU fails, the program says so in one block and ends.
BOOST_AUTO_TEST_CASE(failures) {
  const Work work;
  PretendedGpu gpu;
  counts(run("train_generator", work.generator("generator") + on_gpu("bf16")));
  for (const std::string launch : {"0", "3", "60", "600", "1500"}) {
    gpu.set("PRETENDED_GPU_LAUNCHES", launch);
    check_block(run("train_student", work.student("student" + launch, 200) + on_gpu("bf16")), "cuda");
    check_block(run("train_generator", work.generator("failed" + launch, 900) + on_gpu("f32")), "cuda");
    check_block(run("sample", work.samples("samples" + launch, 1000) + on_gpu("f32")), "cuda");
  }
}

BOOST_AUTO_TEST_CASE(no_memory) {
  const Work work;
  PretendedGpu gpu;
  gpu.set("PRETENDED_GPU_MEMORY", "2");
  check_block(run("train_student", work.student("student") + on_gpu("bf16")), "could not allocate");
}

BOOST_AUTO_TEST_SUITE_END()
