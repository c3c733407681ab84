// What every app does with a command line: help, bad flags and values (exit code 2), bad data (1).
#include "tests/apps/run.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

const Arguments apps{"train_generator", "sample", "train_student", "evaluate", "study"};

// What the app needs at least, of files that do not exist.
Arguments needed(const std::string& app, const Folder& folder) {
  const std::string missing = (folder / "missing").string(), out = (folder / "out").string();
  if (app == "train_generator") return {"--data", missing, "--out", out};
  if (app == "sample") return {"--model", missing, "--per-class", "1", "--out", out};
  if (app == "train_student") return {"--data", missing, "--out", out};
  if (app == "evaluate") return {"--model", missing, "--data", missing};
  return {"--config", missing, "--out", out};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(flags)

BOOST_AUTO_TEST_CASE(help) {
  for (const std::string& app : apps) {
    const Result r = run(app, {"--help"});
    BOOST_TEST(r.code == 0);
    for (const char* flag : {"--device", "--precision", "--seed", "--threads", "--profile", "--out", "--help"})
      BOOST_TEST(r.out.find(flag) != r.out.npos, app << " --help lacks " << flag);
  }
}

BOOST_AUTO_TEST_CASE(bad_flags_and_values) {
  const Folder folder;
  const std::vector<std::pair<Arguments, std::string>> cases{
      {{"--no-such-flag"}, "no-such-flag"},
      {{"--no-such-flag", "3"}, "no-such-flag"},
      {{"stray"}, "stray"},
      {{"--threads"}, "threads"},
      {{"--threads", ""}, "--threads"},
      {{"--threads", "-1"}, "0 to 1024"},
      {{"--threads", "many"}, "\"many\""},
      {{"--threads", "1", "--threads", "2"}, "twice"},
      {{"--seed", "-1"}, "0 to 18446744073709551615"},
      {{"--seed", "abc"}, "\"abc\""},
      {{"--seed", "1.5"}, "\"1.5\""},
      {{"--seed", " 1"}, "\" 1\""},
      {{"--seed", "18446744073709551616"}, "18446744073709551616"},
      {{"--device", "tpu"}, "cpu, cuda or auto"},
      {{"--precision", "f64"}, "f32, tf32, bf16 or f16"},
      {{"--precision", "f16", "--device", "cpu"}, "the CPU does not compute in f16"},
  };
  for (const std::string& app : apps)
    for (const auto& [more, part] : cases) {
      const Result r = run(app, needed(app, folder) + more);
      BOOST_TEST(r.code == 2, app << " " << more.front() << ": " << r);
      BOOST_TEST(r.says(part), app << " does not say " << part << ": " << r);
      BOOST_TEST(r.out.empty());
    }
}

// The system's refusals have the path and a remedy, whatever first looks at it.
BOOST_AUTO_TEST_CASE(paths_that_lead_nowhere) {
  const Folder folder;
  fs::create_symlink("loop", folder / "loop");
  for (const auto& [path, remedy] :
       {std::pair((folder / "loop").string(), "leads back to itself"), {std::string(5000, 'a'), "shorter path"}})
    for (const std::string& app : apps) {
      const std::string place = app == "study" ? "--config" : app == "sample" || app == "evaluate" ? "--model" : "--data";
      Arguments arguments = needed(app, folder);
      *(std::ranges::find(arguments, place) + 1) = path;
      const Result r = run(app, arguments);
      BOOST_TEST(r.code == 1, app << ": " << r);
      BOOST_TEST(r.says(remedy), app << ": " << r);
      BOOST_TEST(r.says(path.substr(0, 100)), app << ": " << r);
    }
}

BOOST_AUTO_TEST_CASE(bad_values_of_one_app) {
  const Folder folder;
  const std::vector<std::pair<std::string, Arguments>> cases{
      {"train_generator", {"--steps", "0"}},
      {"train_generator", {"--lr", "nan"}},
      {"train_generator", {"--rate", "nan"}},
      {"train_student", {"--warmup", "1.5"}},
      {"train_generator", {"--channels", "8,,8"}},
      {"train_generator", {"--channels", "8,8,"}},
      {"train_generator", {"--beta-schedule", "quadratic"}},
      {"train_generator", {"--ema", "1"}},
      {"sample", {"--guidance", "-1"}},
      {"sample", {"--guidance", "inf"}},
      {"sample", {"--sampler", "magic"}},
      {"sample", {"--shard", "2/2"}},
      {"sample", {"--shard", "1"}},
      {"sample", {"--shard", "-1/2"}},
      {"sample", {"--batch", "0"}},
      {"train_student", {"--mix", "1.5"}},
      {"train_student", {"--epochs", "0"}},
      {"train_student", {"--stem", "tiny"}},
      {"train_student", {"--lr-schedule", "none"}},
      {"train_student", {"--batch", "1"}},
      {"evaluate", {"--split", "both"}},
  };
  for (const auto& [app, more] : cases) {
    const Result r = run(app, needed(app, folder) + more);
    BOOST_TEST(r.code == 2, app << " " << more[0] << " " << more[1] << ": " << r);
    BOOST_TEST(r.says(more[1].substr(0, 3)), r);
  }
}

// An empty value is none.
BOOST_AUTO_TEST_CASE(empty_values) {
  const Folder folder;
  const std::vector<std::pair<std::string, std::string>> cases{
      {"train_student", "--init"},       {"train_student", "--freeze"}, {"train_student", "--model"}, {"sample", "--sampler"},
      {"train_generator", "--channels"}, {"evaluate", "--out"},         {"evaluate", "--split"},      {"study", "--device"},
  };
  for (const auto& [app, flag] : cases) {
    const Result r = run(app, needed(app, folder) + Arguments{flag, ""});
    BOOST_TEST(r.code == 2, app << " " << flag << ": " << r);
    BOOST_TEST(r.says(flag), r);
    BOOST_TEST(r.says("not empty"), r);
  }
}

// What would have no effect is refused.
BOOST_AUTO_TEST_CASE(flags_without_their_others) {
  const Folder folder;
  const std::vector<std::pair<std::string, Arguments>> cases{
      {"train_student", {"--mix", "0.5"}},
      {"train_student", {"--statistics", "frozen"}},
      {"train_generator", {"--head", "8", "--no-attention"}},
  };
  for (const auto& [app, more] : cases) {
    const Result r = run(app, needed(app, folder) + more);
    BOOST_TEST(r.code == 2, app << " " << more[0] << ": " << r);
    BOOST_TEST(r.says(more[0]), r);
  }
}

// Under an older name it is the same flag.
BOOST_AUTO_TEST_CASE(older_names) {
  const Folder folder;
  const Result r = run("train_generator", needed("train_generator", folder) + Arguments{"--rate", "0.1", "--lr", "0.1"});
  BOOST_TEST(r.code == 2);
  BOOST_TEST(r.says("--lr is given twice"), r);
  BOOST_TEST(run("train_generator", {"--help"}).out.find("--rate") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(missing_flags) {
  for (const std::string& app : apps) {
    const Result r = run(app, {});
    BOOST_TEST(r.code == 2);
    BOOST_TEST(r.says("is needed"), r);
  }
}

BOOST_AUTO_TEST_CASE(missing_files) {
  const Folder folder;
  for (const std::string& app : apps) {
    const Result r = run(app, needed(app, folder));
    BOOST_TEST(r.code == 1, app << ": " << r);
    BOOST_TEST(r.says("missing"), r);
    BOOST_TEST(!fs::exists(folder / "out"));
  }
}

BOOST_AUTO_TEST_CASE(cuda_without_cuda) {
#if !defined(MINDGAP_CUDA)
  const Folder folder;
  write_idx(folder / "data", 6, 6);
  const Result r =
      run("train_student", {"--data", (folder / "data").string(), "--out", (folder / "out").string(), "--device", "cuda"});
  BOOST_TEST(r.code == 2);
  BOOST_TEST(r.says("MINDGAP_CUDA=ON"), r);
  BOOST_TEST(r.says("--device cpu"), r);
#endif
}

BOOST_AUTO_TEST_SUITE_END()
