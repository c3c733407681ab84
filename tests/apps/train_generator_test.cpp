// train_generator: resumes exactly after a kill at any moment, keeps a second process out, and refuses data it cannot use.
#include "tests/apps/run.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

Arguments training(const Folder& folder, const std::string& out, const std::string& steps) {
  return {"--data",       (folder / "data").string(),
          "--out",        (folder / out).string(),
          "--steps",      steps,
          "--batch",      "8",
          "--channels",   "8,8",
          "--groups",     "4",
          "--head",       "4",
          "--preview",    "2",
          "--save-every", "5",
          "--seed",       "3"};
}

const std::string weights = "unet/diffusion_pytorch_model.safetensors";

}  // namespace

BOOST_AUTO_TEST_SUITE(train_generator)

BOOST_AUTO_TEST_CASE(killed_and_resumed) {
  const Folder folder;
  write_idx(folder / "data", 24, 12);
  run_well("train_generator", training(folder, "whole", "200"));
  for (int signal : {SIGKILL, SIGINT}) {
    const std::string out = signal == SIGKILL ? "killed" : "interrupted";
    Process first("train_generator", training(folder, out, "200"));
    first.wait_until([&] { return lines_of(folder / out / "loss.csv") > 20; });
    const Result stopped = first.kill(signal);
    BOOST_TEST(stopped.code == (signal == SIGKILL ? 128 + SIGKILL : 130), stopped);
    BOOST_TEST(!fs::exists(folder / out / weights));
    run_well("train_generator", training(folder, out, "200"));
    for (const char* file : {weights.c_str(), "loss.csv", "samples.png", "classes.json", "unet/config.json"})
      BOOST_TEST(read_file(folder / "whole" / file) == read_file(folder / out / file), out << ": " << file << " differs");
  }
  BOOST_TEST(lines_of(folder / "whole" / "loss.csv") == 201);
}

BOOST_AUTO_TEST_CASE(seeds_differ) {
  const Folder folder;
  write_idx(folder / "data", 24, 12);
  const auto weights_of = [&](const std::string& seed) {
    Arguments arguments = training(folder, "seed " + seed, "1");
    arguments.back() = seed;
    run_well("train_generator", arguments);
    return read_file(folder / ("seed " + seed) / weights);
  };
  BOOST_TEST(weights_of("0") != weights_of("18446744073709551615"));
}

BOOST_AUTO_TEST_CASE(second_process) {
  const Folder folder;
  write_idx(folder / "data", 24, 12);
  Process first("train_generator", training(folder, "out", "100000"));
  first.wait_for(folder / "out" / ".lock");
  const Result second = run("train_generator", training(folder, "out", "100000"));
  BOOST_TEST(second.code == 1);
  BOOST_TEST(second.says("another process trains in this folder"), second);
  BOOST_TEST(second.says("remedy"), second);
}

BOOST_AUTO_TEST_CASE(other_settings) {
  const Folder folder;
  write_idx(folder / "data", 24, 12);
  run_well("train_generator", training(folder, "out", "5"));
  const Result r = run("train_generator", training(folder, "out", "10"));
  BOOST_TEST(r.code == 1);
  BOOST_TEST(r.says("steps 10"), r);
  const Result rate = run("train_generator", training(folder, "out", "5") + Arguments{"--rate", "0.00100000004"});
  BOOST_TEST(rate.code == 1, rate);
  BOOST_TEST(rate.says("rate 0.00100000004"), rate);
  write_idx(folder / "data", 24, 12, 8, 9);
  const Result other = run("train_generator", training(folder, "out", "5"));
  BOOST_TEST(other.code == 1);
  BOOST_TEST(other.says("images "), other);
}

// A model that predicts noise finishes too, preview included.
BOOST_AUTO_TEST_CASE(noise_prediction) {
  const Folder folder;
  write_idx(folder / "data", 24, 12);
  run_well("train_generator", training(folder, "out", "2") + Arguments{"--prediction", "epsilon"});
  BOOST_TEST(fs::exists(folder / "out" / "samples.png"));
}

// Without images that have no class there is no row for "no class", and no guidance away from it.
BOOST_AUTO_TEST_CASE(no_label_is_dropped) {
  const Folder folder;
  write_idx(folder / "data", 24, 12);
  run_well("train_generator", training(folder, "out", "2") + Arguments{"--label-dropout", "0"});
  BOOST_TEST(fs::exists(folder / "out" / "samples.png"));
  const Arguments sampling{"--model", (folder / "out").string(), "--per-class", "1", "--steps", "2", "--out"};
  const Result guided = run("sample", sampling + Arguments{(folder / "guided").string(), "--guidance", "2"});
  BOOST_TEST(guided.code != 0, guided);
  BOOST_TEST(guided.says("the generator has no \"no class\" to guide away from"), guided);
  run_well("sample", sampling + Arguments{(folder / "set").string(), "--guidance", "1"});
}

// A table of losses that has lost rows.
BOOST_AUTO_TEST_CASE(losses_that_are_gone) {
  const Folder folder;
  write_idx(folder / "data", 24, 12);
  run_well("train_generator", training(folder, "out", "5"));
  const fs::path losses = folder / "out" / "loss.csv";
  const std::string rows = read_file(losses);
  write_file_atomic(losses, rows.substr(0, rows.find("\n4,") + 1));
  const Result r = run("train_generator", training(folder, "out", "5"));
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST(r.says("the file has 4 rows, the checkpoint is of step 5"), r);
  write_file_atomic(losses, rows);
  run_well("train_generator", training(folder, "out", "5"));
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit) {
  const Folder folder;
  write_idx(folder / "data", 24, 12, 9);
  const Result odd = run("train_generator", training(folder, "odd", "2"));
  BOOST_TEST(odd.code == 2, odd);
  BOOST_TEST(odd.says("2 resolutions"), odd);
  write_idx(folder / "data", 24, 12);
  const auto refused = [&](size_t place, const std::string& value, const std::string& part) {
    Arguments arguments = training(folder, "refused", "2");
    arguments[place] = value;
    const Result r = run("train_generator", arguments);
    BOOST_TEST(r.code == 2, value << ": " << r);
    BOOST_TEST(r.says(part), value << ": " << r);
    BOOST_TEST(!fs::exists(folder / "refused"));
  };
  refused(9, "8,8,8,8,8", "5 resolutions");
  refused(11, "3", "group");
  refused(13, "3", "heads");
  refused(7, "25", "no batch of 25");
}

BOOST_AUTO_TEST_SUITE_END()
