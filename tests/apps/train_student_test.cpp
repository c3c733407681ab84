// train_student: resumes exactly, freezes exactly, and refuses data that it cannot use.
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/io/safetensors.hpp>

#include "tests/apps/run.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

// 36 images in batches of 8: an epoch of 5 steps, the last one of 4 images.
Arguments training(const Folder& folder, const std::string& out, const Arguments& more = {}) {
  return Arguments{"--data", (folder / "data").string(), "--out", (folder / out).string(), "--width", "4", "--batch", "8"} + more;
}

fs::path weights(const Folder& folder, const std::string& out) { return folder / out / "model.safetensors"; }

// The entries whose names begin with one of the prefixes that differ between two files.
Arguments changed(const fs::path& a, const fs::path& b, const Arguments& prefixes) {
  const Safetensors one(a), two(b);
  Arguments names;
  for (const SafetensorsEntry& entry : one.entries()) {
    bool listed = false;
    for (const std::string& prefix : prefixes) listed |= entry.name.starts_with(prefix);
    const auto& other = two.at(entry.name).bytes;
    if (listed && !std::equal(entry.bytes.begin(), entry.bytes.end(), other.begin(), other.end())) names.push_back(entry.name);
  }
  return names;
}

bool only_statistics(const Arguments& names) {
  return std::all_of(names.begin(), names.end(), [](const std::string& name) {
    return name.find(".running_") != name.npos || name.find(".num_batches_tracked") != name.npos;
  });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(train_student)

BOOST_AUTO_TEST_CASE(killed_and_resumed) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  const Arguments settings{"--epochs", "40", "--save-every", "7", "--seed", "18446744073709551615"};
  run_well("train_student", training(folder, "whole", settings));
  BOOST_TEST(lines_of(folder / "whole" / "loss.csv") == 201);
  for (int signal : {SIGKILL, SIGINT, SIGTERM, SIGHUP}) {
    const std::string out = std::to_string(signal);
    Process first("train_student", training(folder, out, settings));
    first.wait_until([&] { return lines_of(folder / out / "loss.csv") > 10; });
    const Result stopped = first.kill(signal);
    BOOST_TEST(stopped.code == (signal == SIGKILL ? 128 + SIGKILL : 130), stopped);
    BOOST_TEST(!fs::exists(weights(folder, out)));
    if (signal != SIGKILL) BOOST_TEST(stopped.says("the same command goes on"), stopped);
    const Result rest = run("train_student", training(folder, out, settings));
    BOOST_TEST(rest.code == 0, rest);
    BOOST_TEST(rest.says("going on from step"), rest);
    for (const char* file : {"model.safetensors", "loss.csv", "student.json"})
      BOOST_TEST(read_file(folder / "whole" / file) == read_file(folder / out / file), signal << ": " << file << " differs");
  }
}

BOOST_AUTO_TEST_CASE(other_settings_and_second_process) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  const Arguments settings{"--epochs", "100000", "--save-every", "1"};
  Process first("train_student", training(folder, "out", settings));
  first.wait_for(folder / "out" / "checkpoint.safetensors");
  const Result second = run("train_student", training(folder, "out", settings));
  BOOST_TEST(second.code == 1);
  BOOST_TEST(second.says("another process trains in this folder"), second);
  first.kill(SIGKILL);
  const Result other = run("train_student", training(folder, "out", {"--epochs", "3"}));
  BOOST_TEST(other.code == 1);
  BOOST_TEST(other.says("other settings"), other);
}

// A run goes on with the images and the weights that it began with, whatever lies under their names now.
BOOST_AUTO_TEST_CASE(other_data_under_the_same_name) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  run_well("train_student", training(folder, "out", {"--epochs", "1"}));
  write_idx(folder / "data", 36, 12, 8, 9);
  const Result r = run("train_student", training(folder, "out", {"--epochs", "1"}));
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST(r.says("images "), r);
}

// The same images and weights are the same wherever they lie: under another spelling, a link, a name that is no UTF-8.
BOOST_AUTO_TEST_CASE(the_same_data_under_another_name) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  run_well("train_student", training(folder, "first", {"--epochs", "1"}));
  const auto started = [&](const std::string& data, const std::string& init, const std::string& epochs = "1") {
    Arguments arguments = training(folder, "out", {"--epochs", epochs, "--init", init});
    arguments[1] = data;
    return run("train_student", arguments);
  };
  const fs::path odd = folder / "d\xff\xfe";
  fs::create_directory_symlink(folder / "data", odd);
  fs::copy_file(weights(folder, "first"), folder / "w\xff");
  const std::string plain = (folder / "data").string(), init = weights(folder, "first").string();
  BOOST_TEST(started(plain, init).code == 0);
  for (const std::string& data : {plain + "/", plain + "/../data", odd.string()}) {
    const Result r = started(data, (folder / "w\xff").string());
    BOOST_TEST(r.code == 0, r);
    BOOST_TEST(r.says("going on from step 5"), r);
  }
  fs::remove_all(folder / "out");
  const Result fresh = started(odd.string(), init);  // saved and resumed under a name that no JSON holds
  BOOST_TEST(fresh.code == 0, fresh);
  BOOST_TEST(started(plain, init).says("going on from step 5"));
  write_file_atomic(folder / "w\xff", read_file(folder / "out" / "model.safetensors"));  // other weights
  const Result other = started(plain, (folder / "w\xff").string());
  BOOST_TEST(other.code == 1, other);
  BOOST_TEST(other.says("init "), other);
}

// Numbers are compared to their last digit.
BOOST_AUTO_TEST_CASE(almost_the_same_settings) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  run_well("train_student", training(folder, "out", {"--epochs", "1", "--lr", "0.1", "--weight-decay", "0.0005"}));
  for (const Arguments& other : {Arguments{"--lr", "0.1000004", "--weight-decay", "0.0005"},
                                 Arguments{"--rate", "0.1", "--weight-decay", "0.00050000001"}}) {
    const Result r = run("train_student", training(folder, "out", Arguments{"--epochs", "1"} + other));
    BOOST_TEST(r.code == 1, r);
    BOOST_TEST(r.says("other settings"), r);
    BOOST_TEST((r.says("rate 0.1000004") || r.says("weight-decay 0.00050000001")), r);
  }
  run_well("train_student", training(folder, "out", {"--epochs", "1", "--rate", "1e-1", "--weight-decay", "5e-4"}));
}

// A warm-up of 1 was all steps in older settings, and would be one step now.
BOOST_AUTO_TEST_CASE(ambiguous_warmup) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  const Result r = run("train_student", training(folder, "out", {"--epochs", "1", "--warmup", "1"}));
  BOOST_TEST(r.code == 2, r);
  BOOST_TEST(r.says("once was all steps"), r);
  BOOST_TEST(!fs::exists(folder / "out"));
}

// It was left out of the rates without a word.
BOOST_AUTO_TEST_CASE(warmup_of_one_cycle) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  const Arguments both{"--epochs", "1", "--lr-schedule", "one_cycle", "--warmup", "5"};
  const Result r = run("train_student", training(folder, "out", both));
  BOOST_TEST(r.code == 2, r);
  BOOST_TEST(r.says("--warmup with --lr-schedule one_cycle"), r);
  BOOST_TEST(!fs::exists(folder / "out"));
  run_well("train_student", training(folder, "out", {"--epochs", "1", "--lr-schedule", "one_cycle"}));
  // None is what it has: the same run.
  run_well("train_student", training(folder, "out", {"--epochs", "1", "--lr-schedule", "one_cycle", "--warmup", "0"}));
}

// A rate at which the weights become NaN ends with an error and leaves no student.
BOOST_AUTO_TEST_CASE(divergence) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  const Result r = run("train_student",
                       training(folder, "out", {"--epochs", "40", "--lr", "100", "--warmup", "0", "--lr-schedule", "constant"}));
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST(r.says("rate"), r);
  BOOST_TEST(!fs::exists(weights(folder, "out")));
}

// Weights of frozen layers never move; their statistics only under "live" (during training) and "reestimated" (before it).
BOOST_AUTO_TEST_CASE(frozen_layers) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  write_idx(folder / "other", 36, 12, 8, 9);
  run_well("train_student", training(folder, "first", {"--epochs", "3"}));
  const Arguments frozen{"conv1.", "bn1.", "layer1."}, rest{"layer2.", "layer3.", "layer4.", "fc."};
  for (const std::string policy : {"frozen", "live", "reestimated"})
    for (const char* shift : {"0", "2"}) {  // without random augmentation the prefix is run once
      const std::string out = policy + shift;
      const std::string init = weights(folder, "first").string();
      Arguments arguments = training(
          folder, out,
          {"--epochs", "2", "--init", init, "--freeze", "stem", "--freeze", "layer1", "--statistics", policy, "--shift", shift});
      arguments[1] = (folder / "other").string();
      if (*shift == '0') arguments.push_back("--no-flip");
      run_well("train_student", arguments);
      const Arguments moved = changed(weights(folder, "first"), weights(folder, out), frozen);
      if (policy == "frozen") BOOST_TEST(moved.empty(), out << " moved " << moved.size() << " frozen entries");
      else BOOST_TEST((!moved.empty() && only_statistics(moved)), out);
      BOOST_TEST(changed(weights(folder, "first"), weights(folder, out), rest).size() > 20, out);
    }
}

BOOST_AUTO_TEST_CASE(frozen_behind_trained) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  run_well("train_student", training(folder, "first", {"--epochs", "1"}));
  const std::string init = weights(folder, "first").string();
  run_well("train_student",
           training(folder, "middle", {"--epochs", "2", "--init", init, "--freeze", "layer2", "--freeze", "fc"}));
  BOOST_TEST(changed(weights(folder, "first"), weights(folder, "middle"), {"layer2.", "fc."}).empty());
  BOOST_TEST(!changed(weights(folder, "first"), weights(folder, "middle"), {"conv1.weight"}).empty());
  const Result all = run("train_student", training(folder, "all", {"--freeze", "*"}));
  BOOST_TEST(all.code == 2);
  BOOST_TEST(all.says("every parameter is frozen"), all);
}

BOOST_AUTO_TEST_CASE(init_and_reinitialise) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  run_well("train_student", training(folder, "first", {"--epochs", "1"}));
  const std::string init = weights(folder, "first").string();
  // A step this small changes nothing visibly: what moved far was started afresh.
  const Arguments still{"--epochs", "1",      "--init",   init,     "--rate",   "1e-9",   "--freeze", "stem",
                        "--freeze", "layer1", "--freeze", "layer2", "--freeze", "layer3", "--freeze", "layer4"};
  run_well("train_student", training(folder, "fresh fc", still + Arguments{"--reinitialise", "fc"}));
  run_well("train_student", training(folder, "kept fc", still));
  const auto distance = [&](const std::string& out) {
    const auto a = Safetensors(init).tensor<float, 2>("fc.weight").to_vector();
    const auto b = Safetensors(weights(folder, out)).tensor<float, 2>("fc.weight").to_vector();
    float most = 0;
    for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
    return most;
  };
  BOOST_TEST(distance("kept fc") < 1e-6f);
  BOOST_TEST(distance("fresh fc") > 1e-2f);

  for (const char* flag : {"--freeze", "--reinitialise"}) {
    const Result r = run("train_student", training(folder, "typo", {flag, "layer9"}));
    BOOST_TEST(r.code == 2, r);
    BOOST_TEST(r.says("layer9"), r);
    BOOST_TEST(r.says("layer4.1"), r);
    BOOST_TEST(!fs::exists(folder / "typo"), "a refused run left a folder");
  }
  const Result wide = run("train_student", training(folder, "wide", {"--width", "8", "--init", init}));
  BOOST_TEST(wide.code != 0);
}

// Weights of 1,000 classes serve three: what starts afresh need not fit, nor be there.
BOOST_AUTO_TEST_CASE(init_of_other_classes) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  run_well("train_student", training(folder, "first", {"--epochs", "1"}));
  const Safetensors file(weights(folder, "first"));
  const std::vector<float> wide(32'000, 0.1f);
  const auto write = [&](const std::string& name, i64 classes) {
    std::vector<SafetensorsSource> sources;
    for (const SafetensorsEntry& entry : file.entries())
      if (!entry.name.starts_with("fc.")) sources.push_back({entry.name, entry.dtype(), entry.shape, entry.bytes});
    if (classes) {
      sources.push_back({"fc.weight", DType::f32, {classes, 32}, std::as_bytes(std::span(wide).first(size_t(32 * classes)))});
      sources.push_back({"fc.bias", DType::f32, {classes}, std::as_bytes(std::span(wide).first(size_t(classes)))});
    }
    write_safetensors(folder / name, sources);
  };
  write("wide", 1000), write("headless", 0);
  const auto from = [&](const fs::path& init, const std::string& layer = "fc") {
    return training(folder, "from " + init.filename().string(),
                    {"--epochs", "1", "--init", init.string(), "--reinitialise", layer});
  };
  run_well("train_student", from(weights(folder, "first")));
  for (const std::string name : {"wide", "headless"}) {
    run_well("train_student", from(folder / name));
    BOOST_TEST(read_file(weights(folder, "from " + name)) == read_file(weights(folder, "from model.safetensors")), name);
  }
  // A student of as many classes by other names; its classifier would take one for another.
  write_idx(folder / "renamed", 36, 12);
  write_file_atomic(folder / "renamed" / "classes.txt", class_names[1] + "\n" + class_names[0] + "\n" + class_names[2] + "\n");
  Arguments renamed = training(folder, "renamed student", {"--epochs", "1", "--init", weights(folder, "first").string()});
  renamed[1] = (folder / "renamed").string();
  const Result swapped = run("train_student", renamed);
  BOOST_TEST(swapped.code == 1, swapped);
  BOOST_TEST(swapped.says("--init is of other classes than the data"), swapped);
  BOOST_TEST(swapped.says("--reinitialise fc"), swapped);
  BOOST_TEST(!fs::exists(folder / "renamed student"));
  run_well("train_student", renamed + Arguments{"--reinitialise", "fc"});

  const Result other = run("train_student", from(folder / "wide", "layer4"));
  BOOST_TEST(other.code == 1, other);
  BOOST_TEST(other.says("fc.weight is [1000, 32], wanted [3, 32]"), other);
}

BOOST_AUTO_TEST_CASE(subset_and_mixture) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  write_idx(folder / "other", 24, 12, 8, 9);
  const Arguments quick{"--epochs", "1"};
  BOOST_TEST(
      run("train_student", training(folder, "subset", quick + Arguments{"--subset", "12"})).says("12 images of 3 classes"));
  const Result large = run("train_student", training(folder, "large", quick + Arguments{"--subset", "37"}));
  BOOST_TEST(large.code == 2, large);
  BOOST_TEST(large.says("36"), large);
  const Result mixed = run("train_student", training(folder, "mixed", quick + Arguments{"--data", (folder / "other").string()}));
  BOOST_TEST(mixed.code == 0, mixed);
  BOOST_TEST(mixed.says("24 images of " + (folder / "other").string() + " are repeated to 36"), mixed);
  for (const char* share : {"1e-9", "0.999999999"}) {
    const Result r = run("train_student", training(folder, "share", {"--data", (folder / "other").string(), "--mix", share}));
    BOOST_TEST(r.code == 2, r);
    BOOST_TEST(r.says(*share == '1' ? "a share of 1.5e-06 or more" : "a share of 2.2e-06 or more"), r);
    BOOST_TEST(!fs::exists(folder / "share"));
  }
  const Result third = run("train_student", training(folder, "third", {"--data", "a", "--data", "b"}));
  BOOST_TEST(third.code == 2, third);
}

// Images that turn out to be damaged are no flag's fault, also where a flag is why they were read.
BOOST_AUTO_TEST_CASE(damaged_images) {
  const Folder folder;
  const fs::path generator = make_generator(folder), set = folder / "set", chunk = set / "chunk-00000.safetensors";
  run_well("sample", {"--model", generator.string(), "--out", set.string(), "--per-class", "8", "--steps", "1"});
  std::string bytes = read_file(chunk);
  bytes.back() = char(bytes.back() ^ 1);
  write_file_atomic(chunk, bytes);
  Arguments arguments = training(folder, "out", {"--freeze", "stem", "--statistics", "reestimated"});
  arguments[1] = set.string();
  const Result r = run("train_student", arguments);
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST(r.says(chunk.string()), r);
  const Result split = run("train_student", arguments + Arguments{"--split", "fit"});  // a part of real images only
  BOOST_TEST(split.code == 2, split);
  BOOST_TEST(!fs::exists(folder / "out"));
}

BOOST_AUTO_TEST_CASE(batches_of_other_sizes) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  // 36 = 5 * 7 + 1: the single image left over is dropped, batch norm cannot train on it.
  Arguments ragged = training(folder, "ragged", {"--epochs", "1"});
  ragged[7] = "7";
  run_well("train_student", ragged);
  BOOST_TEST(lines_of(folder / "ragged" / "loss.csv") == 6);
  Arguments large = training(folder, "large", {"--epochs", "1"});
  large[7] = "60000";
  run_well("train_student", large);
}

BOOST_AUTO_TEST_CASE(bad_data) {
  const Folder folder;
  const fs::path data = folder / "data";
  const fs::path images = data / "train-images-idx3-ubyte", labels = data / "train-labels-idx1-ubyte";
  const auto refused = [&](const std::string& part, const std::string& what) {
    const Result r = run("train_student", training(folder, "out", {"--epochs", "1"}));
    BOOST_TEST(r.code == 1, what << ": " << r);
    BOOST_TEST(r.says(part), what << " should say \"" << part << "\": " << r);
    BOOST_TEST(!fs::exists(weights(folder, "out")));
    write_idx(data, 36, 12);
  };
  write_idx(data, 36, 12);
  const std::string image_bytes = read_file(images), label_bytes = read_file(labels);
  write_file_atomic(images, image_bytes.substr(0, 1000));
  refused("train-images-idx3-ubyte", "truncated images");
  write_file_atomic(labels, label_bytes.substr(0, 20));
  refused("train-labels-idx1-ubyte", "truncated labels");
  write_file_atomic(images, image_bytes + "x");
  refused("train-images-idx3-ubyte", "trailing bytes");
  write_file_atomic(images, "");
  refused("train-images-idx3-ubyte", "an empty file");
  write_file_atomic(images, "<html>404</html>");
  refused("train-images-idx3-ubyte", "a web page");
  write_file_atomic(images, "\x1f\x8b\x08 this is not gzip");
  refused("train-images-idx3-ubyte", "a broken gzip file");
  write_file_atomic(labels, big_endian(0x801) + big_endian(2) + std::string("\0\1", 2));
  refused("36 images but 2 labels", "counts that differ");
  write_file_atomic(labels, label_bytes.substr(0, label_bytes.size() - 1) + "\7");
  refused("label 7", "a label beyond the class list");
  write_file_atomic(data / "classes.txt", "a\nb\na\n");
  refused("twice", "a name that is there twice");
  write_file_atomic(data / "classes.txt", "a\n\xff\nc\n");
  refused("UTF-8", "a name that is no text");
  fs::remove(labels);
  refused("labels", "no labels");
  fs::remove_all(data);
  make_folder(data);
  refused("data", "an empty folder");
}

// An empty class in the training split, and names that are numbers.
BOOST_AUTO_TEST_CASE(odd_classes) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  write_file_atomic(folder / "data" / "classes.txt", "10\n2\n1\nnobody\n");
  run_well("train_student", training(folder, "out", {"--epochs", "1"}));
  const std::string json = read_file(folder / "out" / "student.json");
  BOOST_TEST(json.find("\"10\"") < json.find("\"2\""));
  BOOST_TEST(json.find("\"nobody\"") != json.npos);
  const Result r = run("train_student", training(folder, "subset", {"--epochs", "1", "--subset", "8"}));
  BOOST_TEST(r.code == 0, r);
}

BOOST_AUTO_TEST_SUITE_END()
