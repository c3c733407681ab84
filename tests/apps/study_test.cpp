// study: the same results whenever it is repeated, killed or interrupted, and clear words for a bad configuration.
#include <mindgap/data/shards.hpp>
#include <mindgap/study/results.hpp>

#include "tests/apps/run.hpp"
#include <nlohmann/json.hpp>
#include <set>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// A study of seconds: 12 images a class, students of width 4, every experiment.
nlohmann::json tiny(const Folder& folder) {
  const nlohmann::json recipe{{"epochs", 1}, {"batch", 8}, {"minimum_steps", 3}, {"learning_rate", 0.05}};
  return {{"data", (folder / "data").string()},
          {"generator", (folder / "generator").string()},
          {"per_class", 8},
          {"sampling_steps", 2},
          {"width", 4},
          {"flip", false},
          {"shift", 0},
          {"seeds", {1, 18446744073709551615u}},
          {"experiments", {"E0", "E1", "E2", "E3", "E3 twice", "E5", "E6"}},
          {"counts", {6}},
          {"student", recipe},
          {"finetune", recipe}};
}

Arguments configured(const Folder& folder, const nlohmann::json& config, const std::string& out) {
  write_file_atomic(folder / "config.json", config.dump());
  return {"--config", (folder / "config.json").string(), "--out", (folder / out).string()};
}

std::vector<Row> rows_of(const Folder& folder, const std::string& out) {
  const fs::path file = folder / out / "results.csv";
  return parse_csv(read_file(file), file.string()).rows;
}
// results.csv, seconds aside.
std::string results(const Folder& folder, const std::string& out) {
  std::vector<Row> rows = rows_of(folder, out);
  for (Row& row : rows) row.seconds = 0;
  return to_csv(rows);
}

i64 rows(const Folder& folder, const std::string& out) { return std::max<i64>(0, lines_of(folder / out / "results.csv") - 1); }

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

}  // namespace

BOOST_AUTO_TEST_SUITE(study)

BOOST_AUTO_TEST_CASE(repeated_killed_and_resumed) {
  const Folder folder;
  make_generator(folder);
  const auto config = tiny(folder);
  const std::string table = run_well("study", configured(folder, config, "whole"));
  BOOST_TEST(has(table, "report.html"));
  // A seed: R and S, 5 splits each way and the same for both controls, R with twice the steps, 5 recipes, 4 and 5 normalisations.
  BOOST_TEST(rows(folder, "whole") == 2 * (2 + 2 * 5 + 2 * 5 + 1 + 5 + 4 + 5));

  // --seed moves the students' seeds, and only those.
  auto others = config;
  others["experiments"] = {"E0"};
  const Result beyond = run("study", configured(folder, others, "beyond") + Arguments{"--seed", "2"});
  BOOST_TEST((beyond.code == 2 && beyond.says("18446744073709551615")), beyond);
  others["seeds"] = {1, 18446744073709551613u};
  run_well("study", configured(folder, others, "moved") + Arguments{"--seed", "2"});
  others["seeds"] = {3, 18446744073709551615u};
  run_well("study", configured(folder, others, "named"));
  BOOST_TEST(results(folder, "moved") == results(folder, "named"));

  run_well("study", configured(folder, config, "again"));
  BOOST_TEST(results(folder, "again") == results(folder, "whole"));

  for (int signal : {SIGKILL, SIGINT}) {
    const std::string out = std::to_string(signal);
    Process first("study", configured(folder, config, out));
    first.wait_until([&] { return rows(folder, out) >= 7; });
    const Result stopped = first.kill(signal);
    BOOST_TEST(stopped.code == (signal == SIGKILL ? 128 + SIGKILL : 130), stopped);
    BOOST_TEST(rows(folder, out) < rows(folder, "whole"));
    BOOST_TEST(!fs::exists(folder / out / "report.html"));
    run_well("study", configured(folder, config, out));
    BOOST_TEST(results(folder, out) == results(folder, "whole"));
  }

  // Finished: nothing is run again.
  const std::string before = read_file(folder / "whole" / "results.csv");
  run_well("study", configured(folder, config, "whole"));
  BOOST_TEST(read_file(folder / "whole" / "results.csv") == before);
}

BOOST_AUTO_TEST_CASE(report) {
  const Folder folder;
  make_generator(folder);
  auto config = tiny(folder);
  config["experiments"] = {"E0", "E1", "E2"};
  run_well("study", configured(folder, config, "out"));
  const std::string html = read_file(folder / "out" / "report.html");
  BOOST_TEST(has(html, "dress, long &quot;A&quot;"));
  BOOST_TEST(has(html, "T-shirt/top &lt;b&gt;"));
  BOOST_TEST(has(html, class_names[2]));
  BOOST_TEST(!has(html, "top <b>"));
  BOOST_TEST(!has(html, "http://"));
  BOOST_TEST(!has(html, "<script src"));
  const auto json = nlohmann::json::parse(read_file(folder / "out" / "study.json"));
  BOOST_TEST(has(json.dump(), "18446744073709551615"));
  BOOST_TEST(has(json.dump(), "per_class"));
}

BOOST_AUTO_TEST_CASE(continued_with_another_configuration) {
  const Folder folder;
  make_generator(folder);
  auto config = tiny(folder);
  config["experiments"] = {"E0"};
  run_well("study", configured(folder, config, "out"));
  // A folder of before, which calls it "rate", is the same study.
  auto as_run = nlohmann::ordered_json::parse(read_file(folder / "out" / "configuration.json"));
  as_run["student"]["rate"] = as_run["student"]["learning_rate"], as_run["student"].erase("learning_rate");
  write_file_atomic(folder / "out" / "configuration.json", as_run.dump());
  run_well("study", configured(folder, config, "out"));
  config["student"]["learning_rate"] = 0.01;
  const Result r = run("study", configured(folder, config, "out"));
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST(r.says("another configuration"), r);
  BOOST_TEST(r.says("there   student.learning_rate 0.05\n  now     student.learning_rate 0.01\n  remedy"), r);
  // A list that grew is one line, and the others are as they were.
  config["student"]["learning_rate"] = 0.05;
  config["seeds"] = {1, 18446744073709551615u, 3};
  const Result longer = run("study", configured(folder, config, "out"));
  BOOST_TEST(longer.says("configuration.json\n  there   seeds [1,18446744073709551615]\n  now     seeds "
                         "[1,18446744073709551615,3]\n  remedy"),
             longer);
}

// Images and generator are compared by what they hold, not by their names.
BOOST_AUTO_TEST_CASE(continued_with_other_names_and_other_contents) {
  const Folder folder;
  make_generator(folder);
  auto config = tiny(folder);
  config["experiments"] = {"E0"};
  run_well("study", configured(folder, config, "out"));
  fs::create_directory_symlink(folder / "data", folder / "link");
  config["data"] = (folder / "link").string() + "/";
  config["generator"] = (folder / "data" / ".." / "generator").string();
  run_well("study", configured(folder, config, "out"));
  // A folder of before knows the names alone.
  fs::remove(folder / "out" / "inputs.txt");
  config["data"] = (folder / "data").string();
  BOOST_TEST(run("study", configured(folder, config, "out")).says("another configuration"));
  config["data"] = (folder / "link").string() + "/";
  run_well("study", configured(folder, config, "out"));
  write_idx(folder / "data", 24, 12, 8, 9);
  const Result r = run("study", configured(folder, config, "out"));
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST(r.says("a study of other images"), r);
  BOOST_TEST(r.says("real_images"), r);
}

// A student whose weights are NaN is no result.
// A row of another study, which would count in a mean.
BOOST_AUTO_TEST_CASE(rows_of_no_run) {
  const Folder folder;
  make_generator(folder);
  auto config = tiny(folder);
  config["experiments"] = {"E0"};
  run_well("study", configured(folder, config, "out"));
  std::vector<Row> rows = rows_of(folder, "out");
  for (const auto& change :
       {+[](Row& r) { r.seed = 99; }, +[](Row& r) { r.measured_count = 5; }, +[](Row& r) { r.experiment = "E2"; }}) {
    std::vector<Row> more = rows;
    more.push_back(rows[0]);
    change(more.back());
    write_file_atomic(folder / "out" / "results.csv", to_csv(more));
    const Result r = run("study", configured(folder, config, "out"));
    BOOST_TEST(r.code == 1, r);
    BOOST_TEST(r.says("a row is of no run of this study"), r);
    BOOST_TEST(!r.says("\\x0a"), r);
    BOOST_TEST(read_file(folder / "out" / "results.csv") == to_csv(more));
  }
  // What another version, or another precision, has made may stay.
  std::vector<Row> older = rows;
  older.push_back(rows[0]);
  older.back().version = "0.0.1", older.back().steps = 7;
  older.push_back(rows[0]);
  older.back().precision = "bf16";
  write_file_atomic(folder / "out" / "results.csv", to_csv(older));
  run_well("study", configured(folder, config, "out"));
}

BOOST_AUTO_TEST_CASE(a_student_that_diverges) {
  const Folder folder;
  make_generator(folder);
  auto config = tiny(folder);
  config["student"] = {{"epochs", 30}, {"batch", 8}, {"learning_rate", 100}};
  config["schedule"] = "constant";
  config["warmup"] = 0;
  config["experiments"] = {"E0"};
  const Result r = run("study", configured(folder, config, "out"));
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST((r.says("lower learning rate") && r.says("\n  run     ")), r);
  BOOST_TEST(!r.says("config.json"), r);  // whatever else fails in a run, the configuration is not to blame
  BOOST_TEST(!fs::exists(folder / "out" / "results.csv"));
}

// A generator of other classes than the real images' is refused before anything is sampled.
BOOST_AUTO_TEST_CASE(a_generator_of_other_classes) {
  const Folder folder;
  make_generator(folder);
  write_file_atomic(folder / "data" / "classes.txt", "one\ntwo\nthree\n");
  const Result r = run("study", configured(folder, tiny(folder), "out"));
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST(r.says("other classes"), r);
  BOOST_TEST(!fs::exists(folder / "out" / "synthetic"));
}

nlohmann::json with_own_generator(const Folder& folder) {
  auto config = tiny(folder);
  config["generator"] = "";
  config["train_generator"] = {{"steps", 4}, {"batch", 8}, {"warmup", 1}, {"channels", {8, 8}}, {"groups", 4}, {"head", 4}};
  config["experiments"] = {"E0"};
  return config;
}

BOOST_AUTO_TEST_CASE(own_generator_and_defaults) {
  const Folder folder;
  write_idx(folder / "data", 24, 12);
  auto config = with_own_generator(folder);
  config.erase("per_class");  // as many as the real set has
  run_well("study", configured(folder, config, "out"));
  for (const Row& row : rows_of(folder, "out")) {
    BOOST_TEST(row.real_count + row.synthetic_count == 24);
    BOOST_TEST(row.generator_images == (row.direction == "S" ? 24 : 0));
  }
  // What the study wrote as its configuration is one.
  run_well("study", {"--config", (folder / "out" / "configuration.json").string(), "--out", (folder / "again").string()});
  BOOST_TEST(results(folder, "again") == results(folder, "out"));
}

// Mirrored images of a generator that students without mirroring never see would be a part of the gap.
BOOST_AUTO_TEST_CASE(the_generator_is_augmented_as_the_students) {
  const Folder folder;
  write_idx(folder / "data", 24, 12);
  for (const bool flip : {false, true}) {
    auto config = with_own_generator(folder);
    config["flip"] = flip;
    const std::string out = flip ? "mirrored" : "plain";
    run_well("study", configured(folder, config, out));
    BOOST_TEST(has(read_file(folder / out / "generator" / "training.txt"), flip ? "flip 1" : "flip 0"));
    BOOST_TEST(!has(read_file(folder / out / "report.html"), "mirrored images"));
  }
  auto config = tiny(folder);
  config["experiments"] = {"E0"};
  config["generator"] = (folder / "mirrored" / "generator").string();
  run_well("study", configured(folder, config, "foreign"));
  BOOST_TEST(has(read_file(folder / "foreign" / "report.html"), "trained with mirrored images, the students without"));
}

// Several draws of the synthetic set, and a generator that has seen R's images alone: both are columns.
BOOST_AUTO_TEST_CASE(draws_and_the_same_data) {
  const Folder folder;
  write_idx(folder / "data", 60, 12);
  auto config = with_own_generator(folder);
  config["held_out"] = true;
  config["train_generator"]["images"] = "real";
  config["synthetic_sets"] = 2;
  config["experiments"] = {"E0", "E1"};
  config["seeds_of"] = {{"E1", 1}};
  config["splits"] = {"layer4", "stem"};
  run_well("study", configured(folder, config, "out"));
  const std::vector<Row> table = rows_of(folder, "out");
  BOOST_TEST(table.size() == 2u * 2 + 2);
  std::set<u64> sampling_seeds;
  for (const Row& row : table) {
    if (row.direction != "S") continue;
    sampling_seeds.insert(row.sampling_seed);
    BOOST_TEST(row.generator_images == 24);  // 8 a class
  }
  BOOST_TEST(sampling_seeds == (std::set<u64>{0, 1}), boost::test_tools::per_element());
  BOOST_TEST(read_file(folder / "out" / "synthetic-0" / "chunk-00000.safetensors") !=
             read_file(folder / "out" / "synthetic-1" / "chunk-00000.safetensors"));
  config["train_generator"]["images"] = "pool";
  run_well("study", configured(folder, config, "pool"));
  for (const Row& row : rows_of(folder, "pool"))
    if (row.direction == "S") BOOST_TEST(row.generator_images == 54);  // all but the held-out tenth
}

// Every recipe has as many steps as every other, those of the student that it starts from included; all rows of E0 to E3 too.
BOOST_AUTO_TEST_CASE(matched_steps) {
  const Folder folder;
  make_generator(folder);
  auto config = tiny(folder);
  config["counts"] = {6, 12};
  config["finetune"]["epochs"] = 4;
  config["experiments"] = {"E0", "E1", "E5"};
  config["seeds"] = {1};
  run_well("study", configured(folder, config, "out"));
  for (const Row& row : rows_of(folder, "out")) {
    const i64 further = row.real_count == 6 ? 4 : 8;  // 4 epochs of 1 or 2 batches
    BOOST_TEST(row.steps + row.steps_before == (row.experiment == "E0"   ? 3
                                                : row.experiment == "E1" ? 6
                                                                         : 3 + further),
               row.split);
  }
  config["scratch"] = {{"epochs", 5}, {"batch", 8}, {"learning_rate", 0.05}};  // as the reference has it
  run_well("study", configured(folder, config, "own steps"));
  for (const Row& row : rows_of(folder, "own steps"))
    if (row.split == "scratch") BOOST_TEST(row.steps == (row.real_count == 6 ? 5 : 10));
}

// E10: settings are compared on images that nothing else has seen.
BOOST_AUTO_TEST_CASE(settings) {
  const Folder folder;
  make_generator(folder);
  write_idx(folder / "data", 60, 12);
  auto config = tiny(folder);
  config["held_out"] = true;
  config["experiments"] = {"E10"};
  config["settings"] = {{{"guidance", {1.0, 2.5}}}, {{"sampler", {"ddim"}}, {"sampling_steps", {2, 3}}}, {{"per_class", {12}}}};
  // Too many are found before anything is made.
  auto many = config;
  many["experiments"] = {"E0", "E10"};
  many["settings"] = {{{"per_class", {100000000}}}};
  const Result too_many = run("study", configured(folder, many, "out"));
  BOOST_TEST((too_many.code == 1 && too_many.says("per_class is 100000000, more than a set holds")), too_many);
  BOOST_TEST((too_many.says("config.json") && !fs::exists(folder / "out" / "configuration.json")), too_many);

  const std::string out = run_well("study", configured(folder, config, "out"));
  const std::vector<Row> table = rows_of(folder, "out");
  BOOST_TEST(table.size() == 2u * (1 + 5));
  std::set<std::string> different;
  for (const Row& row : table) {
    BOOST_TEST(row.measured_on == "held-out");
    BOOST_TEST(row.measured_count == 6);
    BOOST_TEST(row.steps == 3);  // of the number of images that R has
    different.insert(text(row.sampler, " ", row.sampling_steps, " ", row.guidance, " ", row.synthetic_count));
  }
  BOOST_TEST(different.size() == 6u);
  BOOST_TEST(fs::exists(folder / "out" / "settings" / "ddim-3-1.5" / "dataset.json"));
  BOOST_TEST(fs::exists(folder / "out" / "settings.svg"));
  run_well("study", configured(folder, config, "again"));
  BOOST_TEST(results(folder, "again") == results(folder, "out"));
  // A smaller set is a part of a larger one of the same settings, and both are there beside each other.
  config["settings"] = {{{"per_class", {8, 12}}}};
  run_well("study", configured(folder, config, "sizes"));
  BOOST_TEST(rows(folder, "sizes") == 2 * (1 + 2));
}

// Shard folders of sample, instead of a generator.
struct ReadySets : Folder {
  nlohmann::json config;

  ReadySets() {
    make_generator(*this);
    config = tiny(*this);
    for (const char* key : {"generator", "sampling_steps"}) config.erase(key);
    config["experiments"] = {"E0"};
  }
  std::string sampled(const std::string& out, const Arguments& more = {}) const {
    run_well("sample", Arguments{"--model", (*this / "generator").string(), "--out", (*this / out).string(), "--steps", "2"} +
                           (std::ranges::find(more, "--per-class") == more.end() ? Arguments{"--per-class", "8"} : Arguments{}) +
                           more);
    return (*this / out).string();
  }
  // A new study, which names `file` and leaves nothing.
  void refused(const nlohmann::json& by, const std::string& said, const fs::path& file) const {
    const Result r = run("study", configured(*this, by, "refused"));
    BOOST_TEST(r.code == 1, said << ": " << r);
    BOOST_TEST((r.says(said) && r.says(file.string()) && r.says("remedy")), said << ": " << r);
    BOOST_TEST(!fs::exists(*this / "refused"), said);
  }
};

// The same images, whoever makes them, are the same students; what is not known of them is not said.
BOOST_FIXTURE_TEST_CASE(ready_set, ReadySets) {
  auto made = tiny(*this);
  config["experiments"] = made["experiments"] = {"E0", "E1", "E5", "E6"};
  config["synthetic"] = sampled("set");
  run_well("study", configured(*this, made, "made"));
  const std::string said = run_well("study", configured(*this, config, "out"));
  const std::vector<Row> wanted = rows_of(*this, "made"), there = rows_of(*this, "out");
  BOOST_REQUIRE(there.size() == wanted.size());
  const ShardManifest m = read_shard_manifest(path / "set");
  for (size_t i = 0; i < there.size(); ++i) {
    const Row &a = there[i], &b = wanted[i];
    BOOST_TEST((a.experiment == b.experiment && a.direction == b.direction && a.split == b.split && a.seed == b.seed));
    BOOST_TEST((a.top1 == b.top1 && a.loss == b.loss && a.synthetic_count == b.synthetic_count && a.steps == b.steps));
    BOOST_TEST(a.generator_images == 0);
    BOOST_TEST(b.generator_images == (b.sampler.empty() ? 0 : 24));
    if (b.sampler.empty()) BOOST_TEST(a.sampler.empty());
    else BOOST_TEST((a.sampler == m.sampler && a.sampling_steps == 2 && a.guidance == 1.5 && a.sampling_seed == 0));
  }
  BOOST_TEST(!fs::exists(path / "out" / "synthetic"));

  const std::string html = read_file(path / "out" / "report.html"), hash = m.generator.substr(0, 12);
  for (const std::string& part : {std::string("given as a ready set"), "generator " + hash, std::string("not recorded"),
                                  std::string("real images that it has not seen")})
    BOOST_TEST(has(html, part), part);
  for (const char* part : {"nor the generator has seen", "a class-conditional diffusion model"})
    BOOST_TEST(!has(html, part), part);
  BOOST_TEST(has(said, "generated images: " + (path / "set").string() + ", synthetic images, generator " + hash), said);
  BOOST_TEST(has(read_file(path / "out" / "inputs.txt"), "synthetic_images "));

  // It goes on with the same images, wherever they lie by then, and with no others.
  const std::string before = read_file(path / "out" / "results.csv");
  fs::rename(path / "set", path / "moved");
  config["synthetic"] = nlohmann::json::array({(path / "moved").string()});
  run_well("study", configured(*this, config, "out"));
  config["synthetic"] = sampled("other", {"--seed", "5"});
  const Result r = run("study", configured(*this, config, "out"));
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST((r.says("a study of other images") && r.says("synthetic_images")), r);
  BOOST_TEST(read_file(path / "out" / "results.csv") == before);
  BOOST_TEST(run("study", configured(*this, made, "out")).says("another configuration"));
  // What the study wrote as its configuration is one.
  run_well("study", {"--config", (path / "out" / "configuration.json").string(), "--out", (path / "again").string()});
  BOOST_TEST(results(*this, "again") == results(*this, "out"));
}

BOOST_FIXTURE_TEST_CASE(ready_draws_and_counts, ReadySets) {
  const std::string first = sampled("first"), second = sampled("second", {"--seed", "1"});
  config["synthetic"] = {first, second};
  run_well("study", configured(*this, config, "draws"));
  std::set<std::pair<u64, u64>> seeds;
  for (const Row& row : rows_of(*this, "draws"))
    if (row.direction == "S") seeds.insert({row.seed, row.sampling_seed});
  BOOST_TEST((seeds == std::set<std::pair<u64, u64>>{{1, 0}, {18446744073709551615u, 1}}));

  const fs::path file = path / "config.json";
  config["synthetic"] = {first, second, sampled("third", {"--seed", "2"})};
  refused(config, "synthetic has 3 sets, wanted at most 2, the number of seeds", file);
  config["synthetic"] = {first, first};
  refused(config, "two synthetic sets are of one seed", first);
  config["synthetic"] = {first, sampled("others", {"--seed", "3", "--guidance", "1"})};
  refused(config, "the synthetic sets differ in more than their seeds", path / "others");

  // As many as the configuration says, or as both have.
  config["synthetic"] = sampled("more", {"--per-class", "11"});
  run_well("study", configured(*this, config, "eight"));
  config["synthetic"] = sampled("fewer", {"--per-class", "6"});
  refused(config, "not every class has 8 images", file);
  refused(config, class_names[1] + " (6)", "fewer");
  config.erase("per_class");
  run_well("study", configured(*this, config, "six"));
  for (const auto& [out, count] : {std::pair("eight", 24), {"six", 18}})
    for (const Row& row : rows_of(*this, out)) BOOST_TEST(row.real_count + row.synthetic_count == count);
}

BOOST_FIXTURE_TEST_CASE(ready_sets_that_do_not_fit, ReadySets) {
  const fs::path file = path / "config.json", set = sampled("set");
  config["synthetic"] = set.string();
  for (const auto& [key, value] : std::map<std::string, nlohmann::json>{{"generator", "data/generator"},
                                                                        {"train_generator", {{"steps", 4}}},
                                                                        {"sampler", "ddim"},
                                                                        {"sampling_steps", 2},
                                                                        {"guidance", 1.5},
                                                                        {"sampling_seed", 0},
                                                                        {"synthetic_sets", 1},
                                                                        {"settings", {{{"guidance", {1.0}}}}}}) {
    auto other = config;
    other[key] = value;
    refused(other, key + " says how synthetic images are generated", file);
  }
  auto other = config;
  other["held_out"] = true;
  other["experiments"] = {"E0", "E10"};
  refused(other, "E10 compares settings of a generator", file);
  for (const auto& [synthetic, said] : {std::pair((path / "nowhere").string(), "neither a known name nor a folder"),
                                        {(path / "data").string(), "a ready synthetic set is a shard folder"},
                                        {std::string("fashion-mnist"), "a ready synthetic set is a shard folder"}}) {
    other = config;
    other["synthetic"] = synthetic;
    refused(other, said, synthetic);
  }

  // Images that are not like the real ones.
  const auto written = [&](const std::string& out, auto change) {
    ShardManifest m = read_shard_manifest(set);
    change(m);
    const ShardWriter writer(path / out, m);
    writer.write(writer.pending()[0], Tensor<u8, 4, Cpu>(Shape<4>(m.images(), m.height, m.width, m.channels)));
    return (path / out).string();
  };
  other = config;
  other["synthetic"] = written("wide", [](auto& m) { m.width = 12; });
  refused(other, "12 x 8 pixels, channels: 1", "wide");
  other["synthetic"] = written("colour", [](auto& m) { m.channels = 3; });
  refused(other, "8 x 8 pixels, channels: 3", "colour");
  other["synthetic"] = written("turned", [](auto& m) { std::swap(m.class_names[0], m.class_names[2]); });
  refused(other, "other classes than the real images, or the same in another order", "turned");

  // What is damaged or lacking is found before anything is trained, and its file is named.
  const fs::path chunk = set / "chunk-00000.safetensors";
  const std::string good = read_file(chunk);
  std::string bad = good;
  bad.back() = char(bad.back() ^ 1);
  write_file_atomic(chunk, bad);
  refused(config, "contents do not have its hash", chunk);
  fs::remove(chunk);
  refused(config, "the set is not complete", set);
}

// The file that is to blame is named, and no other.
BOOST_AUTO_TEST_CASE(damaged_images) {
  const Folder folder;
  make_generator(folder);
  const fs::path images = folder / "data" / "train-images-idx3-ubyte";
  write_file_atomic(images, read_file(images).substr(0, 1000));
  const Result r = run("study", configured(folder, tiny(folder), "out"));
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST((r.says("truncated") && r.says("file    " + images.string())), r);
  BOOST_TEST(!r.says("config.json"), r);
  BOOST_TEST(!fs::exists(folder / "out"));
}

BOOST_AUTO_TEST_CASE(bad_configurations) {
  const Folder folder;
  make_generator(folder);
  const auto refused = [&](const std::string& key, const nlohmann::json& value, const std::string& part) {
    auto config = tiny(folder);
    config[nlohmann::json::json_pointer(key)] = value;
    const Result r = run("study", configured(folder, config, "out"));
    BOOST_TEST(r.code == 1, key << ": " << r);
    BOOST_TEST(r.says(part), key << " should say " << part << ": " << r);
    BOOST_TEST(r.says("file    " + (folder / "config.json").string()), key << ": " << r);
    BOOST_TEST(!fs::exists(folder / "out"), key);
  };
  refused("/sead", 1, "config.json");
  refused("/sead", 1, "sead");
  refused("/student/epoch", 1, "student.epoch");
  refused("/width", "16", "width");
  refused("/width", 16.5, "width");
  refused("/width", true, "width");
  refused("/width", 0, "width");
  refused("/flip", 1, "flip");
  refused("/seeds", 1, "seeds");
  refused("/seeds", {-1}, "seeds");
  refused("/seeds", {1.5}, "seeds");
  refused("/sampling_seed", -1, "sampling_seed");
  refused("/per_class", 9223372036854775808u, "per_class");
  refused("/guidance", true, "guidance");
  refused("/seeds", nlohmann::json::array(), "seeds");
  refused("/seeds", {3, 3}, "3");
  refused("/experiments", {"E9"}, "E9");
  refused("/recipes", {"everything"}, "everything");
  refused("/model", "resnet19", "resnet19");
  refused("/schedule", "sometimes", "sometimes");
  refused("/sampler", "magic", "magic");
  refused("/sampling_steps", 0, "steps");
  refused("/sampling_steps", 1001, "steps");
  refused("/counts", {0}, "counts");
  refused("/counts", {6, 6}, "twice");
  refused("/experiments", {"E1", "E0"}, "E0");
  refused("/student/epochs", i64(1) << 62, "student.epochs");
  refused("/width", i64(1) << 40, "width");
  refused("/shift", i64(1) << 40, "shift");
  refused("/guidance", -5, "guidance");
  refused("/counts", {1000000}, "1000000");
  refused("/per_class", 1000, "1000");
  refused("/test_images", 1000, "1000");
  refused("/data", "/nonexist", "/nonexist");
  refused("/weight_decay", 1e300, "weight_decay is 1e+300");
  refused("/student", 8, "student");
  refused("/student/batch", 1, "batch");
  refused("/student/learning_rate", 0, "rate");
  refused("/generator", (folder / "nowhere").string(), "nowhere");
  refused("/train_generator", {{"steps", 4}}, "the generator is given");
  refused("/train_generator", {{"images", "some"}}, "train_generator.images");
  refused("/held_out", 1, "held_out");
  refused("/synthetic_sets", 3, "synthetic_sets");
  auto two_sets = tiny(folder);
  two_sets["synthetic_sets"] = 2, two_sets["sampling_seed"] = 18446744073709551615u;
  const Result beyond = run("study", configured(folder, two_sets, "out"));
  BOOST_TEST((beyond.code == 1 && beyond.says("need more than 64 bits")), beyond);
  refused("/splits", {"layer5"}, "layer5");
  refused("/splits", {"stem", "stem"}, "twice");
  refused("/seeds_of", {{"E1", 3}}, "seeds_of.E1");
  refused("/seeds_of", {{"E1", 1.5}}, "seeds_of.E1");
  refused("/seeds_of", {{"E10", 1}}, "E10");
  refused("/seeds_of", {{"E0", 1}}, "E0");
  refused("/settings", {{{"guidance", {1.0}}}}, "E10");
  refused("/settings", {{{"guidence", {1.0}}}}, "settings[0].guidence");
  refused("/settings", {{"guidance", {1.0}}}, "settings");
  refused("/experiments", {"E0", "E10"}, "E10");
  refused("/scratch", nullptr, "scratch");
  {
    auto config = tiny(folder);
    config["experiments"] = {"E10"};
    config["settings"] = {{{"guidance", {1.0}}}};
    const Result r = run("study", configured(folder, config, "out"));
    BOOST_TEST(r.code == 1, r);
    BOOST_TEST(r.says("held_out"), r);
    config["held_out"] = true;
    config["settings"] = {{{"guidance", {1.0, -1.0}}}};
    BOOST_TEST(run("study", configured(folder, config, "out")).says("settings[0].guidance"));
  }
  for (const std::string& bytes : {std::string("{\"name\": "), std::string(), std::string("{\"guidance\": NaN}"),
                                   std::string("{\"width\": 8, \"width\": 8}"), std::string(50'000, '[')}) {
    write_file_atomic(folder / "config.json", bytes);
    const Result r = run("study", {"--config", (folder / "config.json").string(), "--out", (folder / "out").string()});
    BOOST_TEST(r.code == 1, r);
    BOOST_TEST(r.says("config.json"), r);
  }
  BOOST_TEST(run("study", {"--config", folder.path.string(), "--out", (folder / "out").string()}).code == 1);
}

BOOST_AUTO_TEST_CASE(second_process) {
  const Folder folder;
  make_generator(folder);
  auto config = tiny(folder);
  config["student"]["epochs"] = 100000;
  Process first("study", configured(folder, config, "out"));
  first.wait_for(folder / "out" / ".lock");
  const Result second = run("study", configured(folder, config, "out"));
  BOOST_TEST(second.code == 1);
  BOOST_TEST(second.says("another process runs a study in this folder"), second);
}

BOOST_AUTO_TEST_SUITE_END()
