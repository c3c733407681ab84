// Modules: names and patterns, freezing of gradients and of statistics, sets of statistics, state dicts and their errors.
#include <mindgap/autograd/loss.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/models/resnet.hpp>
#include <mindgap/optim/optimizer.hpp>

#include "tests/files.hpp"
#include "tests/state.hpp"
#include "tests/values.hpp"
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

using P = Precision<float>;
using Net = ResNet<Cpu, P>;
const ResNetConfig config = ResNetConfig::make("resnet18", 4, 1, 3, Stem::small);

using Strings = std::vector<std::string>;

// The entries that differ, or are in one of both only.
std::vector<std::string> changed(const State& a, const State& b) {
  std::vector<std::string> out;
  for (const auto& [name, values] : a)
    if (const auto at = b.find(name); at == b.end() || at->second != values) out.push_back(name);
  for (const auto& [name, values] : b)
    if (!a.contains(name)) out.push_back(name);
  return out;
}

void train(Net& net, int steps) {
  FlatParameters<Cpu> parameters(net, 1e-3f);
  Sgd<Cpu> sgd(parameters, {.momentum = 0.9f, .nesterov = true});
  Tape tape;
  set_training(net, true);
  for (int k = 0; k < steps; ++k) {
    const auto images = random_tensor(Shape(3, 8, 8, 1), u64(10 + k));
    backward(cross_entropy(net(constant(tape, images)), Tensor<i64, 1>::from({0, 2, 1}, Shape<1>(3))));
    sgd.step(0.1f);
  }
}

// The message holds every one of the words.
auto says(std::vector<std::string> words) {
  return [=](const Error& error) {
    bool all = true;
    for (const std::string& word : words) {
      const bool found = std::string(error.what()).find(word) != std::string::npos;
      if (!found) BOOST_TEST_MESSAGE("'" << word << "' is not in: " << error.what());
      all &= found;
    }
    return all;
  };
}

// A module with a member of each kind.
struct Small {
  Linear<Cpu, P> fc{3, 4};
  Linear<Cpu, P> bare{4, 2, false};
  std::vector<BatchNorm2d<Cpu, P>> norms;
  std::optional<Conv2d<Cpu, P>> absent, present = Conv2d<Cpu, P>(2, 3, 1);
  MINDGAP_MODULE(fc, bare, norms, absent, present)

  Small() {
    for (int i = 0; i < 2; ++i) norms.emplace_back(2);
    initialise(*this, 1);
  }
};

using Half = Precision<bf16>;
using HalfNet = ResNet<Cpu, Half>;

struct Wide {
  Conv2d<Cpu, Half> conv{640, 1280, 3, {1, 1}};
  Linear<Cpu, Half> first{1280, 5120}, second{5120, 1280};
  MINDGAP_MODULE(conv, first, second)
};

// Bytes of f32 masters beside values of another type.
template <Module M>
i64 master_bytes(M& net) {
  i64 bytes = 0;
  for_each_parameter(net, [&](const std::string&, auto& p) {
    if (static_cast<const void*>(p.master.data()) != p.value.data() && p.master.defined()) bytes += p.master.bytes();
  });
  return bytes;
}

// Memory of this process that no file and no other process shares, in bytes.
double private_bytes() {
  std::ifstream lines("/proc/self/smaps_rollup");
  double kilobytes = 0;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("Private_")) kilobytes += std::stod(line.substr(line.find(':') + 1));
  return 1024 * kilobytes;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(modules)

BOOST_AUTO_TEST_CASE(names_of_entries) {
  Small net;
  std::string names;
  for (const StateItem& item : state_items(net, "net.")) names += item.name + " ";
  BOOST_TEST(
      names ==
      "net.fc.weight net.fc.bias net.bare.weight "
      "net.norms.0.weight net.norms.0.bias net.norms.0.running_mean net.norms.0.running_var net.norms.0.num_batches_tracked "
      "net.norms.1.weight net.norms.1.bias net.norms.1.running_mean net.norms.1.running_var net.norms.1.num_batches_tracked "
      "net.present.weight net.present.bias ");
  BOOST_TEST(count_parameters(net) == 12 + 4 + 8 + 4 * 2 + 6 + 3);
}

BOOST_AUTO_TEST_CASE(patterns) {
  BOOST_TEST(matches("layer1", "layer1"));
  BOOST_TEST(matches("layer1", "layer1.0.conv1.weight"));
  BOOST_TEST(!matches("layer1", "layer10.conv1"));
  BOOST_TEST(matches("*.bias", "layer1.0.bn1.bias"));
  BOOST_TEST(matches("layer*.bn1", "layer3.1.bn1.weight"));
  BOOST_TEST(!matches("layer", "layer1"));
  BOOST_TEST(matches("*", "fc.weight"));
  BOOST_TEST(!matches("layer1.0.conv1.weight.more", "layer1.0.conv1.weight"));
  BOOST_TEST(matches("*.conv1", "layer1.0.conv1.weight"));
  BOOST_TEST(matches("*a*ab", "aab"));
  BOOST_TEST(matches("*0*1", "layer1.0.1.0.bn1.bias"));
  BOOST_TEST(!matches("*0*1", "layer1.0.bn2"));
  BOOST_TEST(matches("", ""));
  BOOST_TEST(!matches("", "a"));
  BOOST_TEST(matches("*", ""));
}

// The meaning, one star after the other; and names in time that grows as their length, not as a power of the stars.
BOOST_AUTO_TEST_CASE(patterns_of_many_stars) {
  const std::function<bool(std::string_view, std::string_view)> meant = [&](std::string_view p, std::string_view n) {
    if (p.empty()) return n.empty() || n.front() == '.';
    if (p.front() != '*') return !n.empty() && p.front() == n.front() && meant(p.substr(1), n.substr(1));
    return meant(p.substr(1), n) || (!n.empty() && meant(p, n.substr(1)));
  };
  const auto word = [](u64 id, const std::string& letters, i64 length) {
    std::string out;
    for (i64 i = 0; i < length; ++i) out += letters[Stream(id, "word").below(u64(i), u32(letters.size()))];
    return out;
  };
  i64 matched = 0;
  for (u64 id = 0; id < 4000; ++id) {
    const std::string pattern = word(id, "ab*.", i64(id % 7)), name = word(id + 4000, "ab.", i64(id % 9));
    BOOST_TEST(matches(pattern, name) == meant(pattern, name), "'" << pattern << "' of '" << name << "'");
    matched += matches(pattern, name);
  }
  BOOST_TEST(matched > 100);
  BOOST_TEST(!matches(std::string(40, '*') + "x", "layer4.0.downsample.0.weight"));
}

BOOST_AUTO_TEST_CASE(a_pattern_that_matches_nothing_lists_the_names) {
  Small net;
  BOOST_CHECK_EXCEPTION(freeze(net, {"fc", "layer5"}), Error, says({"layer5", "fc.weight", "present.bias", "remedy"}));
  BOOST_CHECK_EXCEPTION(freeze_statistics(net, {"fc"}), Error, says({"'fc'", "norms.0", "norms.1"}));
  BOOST_CHECK_EXCEPTION(reinitialise(net, 1, {"heads"}), Error, says({"heads", "bare"}));
}

BOOST_AUTO_TEST_CASE(freezing_counts_what_it_matched) {
  Small net;
  BOOST_TEST(freeze(net, {"norms", "fc.bias"}) == 5);
  BOOST_TEST(!net.norms[1].weight.requires_grad());
  BOOST_TEST(!net.fc.bias.requires_grad());
  BOOST_TEST(net.fc.weight.requires_grad());
  BOOST_TEST(!net.norms[0].frozen_statistics);  // separate on purpose
  BOOST_TEST(freeze_statistics(net, {"norms.1"}) == 1);
  BOOST_TEST(net.norms[1].frozen_statistics);
  BOOST_TEST(unfreeze(net, {"*"}) == 9);
  BOOST_TEST(net.fc.bias.requires_grad());
  BOOST_TEST(unfreeze_statistics(net, {"*"}) == 2);
}

BOOST_AUTO_TEST_CASE(fresh_weights_depend_on_seed_and_name_alone) {
  Net a(config, 1), b(config, 2);
  const State first = state_of(a);
  initialise(b, 1);
  BOOST_TEST(changed(first, state_of(b)).empty());
  reinitialise(b, 3, {"layer4.1", "fc"});
  for (const std::string& name : changed(first, state_of(b))) BOOST_TEST(matches_any({"layer4.1", "fc"}, name), name);
  BOOST_TEST(changed(first, state_of(b)).size() == 4u);  // two convolutions, fc's weight and bias: norms are 1 and 0 again
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(frozen)

const std::vector<std::string> prefix{"conv1", "bn1", "layer1", "layer2"};

BOOST_AUTO_TEST_CASE(frozen_layers_keep_every_bit) {
  Net net(config, 1);
  freeze(net, prefix);
  freeze_statistics(net, {"bn1", "layer1", "layer2"});
  const State before = state_of(net);
  train(net, 3);
  const auto moved = changed(before, state_of(net));
  for (const std::string& name : moved) BOOST_TEST(!matches_any(prefix, name), name);
  size_t others = 0;
  for (const auto& [name, values] : before) others += !matches_any(prefix, name);
  BOOST_TEST(moved.size() == others);  // all that is not frozen has moved
}

BOOST_AUTO_TEST_CASE(live_statistics_move_in_frozen_layers) {
  Net net(config, 1);
  freeze(net, prefix);
  const State before = state_of(net);
  train(net, 3);
  const State after = state_of(net);
  for (const std::string& name : changed(before, after))
    BOOST_TEST(
        (!matches_any(prefix, name) || name.find("running_") != std::string::npos || name.ends_with("num_batches_tracked")),
        name);
  BOOST_TEST(after.at("layer1.0.bn1.running_mean") != before.at("layer1.0.bn1.running_mean"));
  BOOST_TEST(after.at("bn1.num_batches_tracked")[0] == 3.f);
}

BOOST_AUTO_TEST_CASE(evaluation_changes_nothing) {
  Net net(config, 1);
  train(net, 1);
  set_training(net, false);
  const State before = state_of(net);
  const auto images = random_tensor(Shape(3, 8, 8, 1), 3);
  const auto first = net(images);
  BOOST_TEST(same_bits(net(images), first));
  // One image at a time gives the same logits: nothing looks at the batch.
  for (i64 i = 0; i < 3; ++i) BOOST_TEST(same_bits(net(images.slice(i, i + 1)), first.slice(i, i + 1)));
  BOOST_TEST(changed(before, state_of(net)).empty());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(statistics)

BOOST_AUTO_TEST_CASE(sets_are_apart_and_share_the_parameters) {
  BatchNorm2d<Cpu, P> norm(4);
  const auto real = random_tensor(Shape(8, 2, 2, 4), 1, 1.f), synthetic = random_tensor(Shape(8, 2, 2, 4), 2, -3.f, 2.f);
  norm(real);
  norm.use_statistics(1);
  BOOST_TEST(same_bits(norm.sets[0].running_mean.value, norm.sets[1].running_mean.value));  // made from the first
  const auto first = norm.sets[0].running_mean.value.clone();
  for (int i = 0; i < 100; ++i) norm(synthetic);
  BOOST_TEST(same_bits(norm.sets[0].running_mean.value, first));
  BOOST_TEST(norm.sets[0].num_batches_tracked.value == 1);
  BOOST_TEST(norm.sets[1].num_batches_tracked.value == 101);

  norm.training = false;
  const auto by_synthetic = norm(synthetic);
  norm.use_statistics(0);
  BOOST_TEST(!same_bits(norm(synthetic), by_synthetic));
  double mean = 0;
  for (double x : doubles(by_synthetic)) mean += x / double(by_synthetic.size());
  BOOST_TEST(std::abs(mean) < 0.01);

  std::string names;
  for (const StateItem& item : state_items(norm)) names += item.name + " ";
  BOOST_TEST(names ==
             "weight bias running_mean running_var num_batches_tracked statistics.1.running_mean statistics.1.running_var "
             "statistics.1.num_batches_tracked ");
}

// Made without channels it has none; and a set is chosen that is there.
BOOST_AUTO_TEST_CASE(statistics_that_are_not_there) {
  const auto x = random_tensor(Shape(4, 2, 2, 3), 1);
  BatchNorm2d<Cpu, P> none, norm(3);
  none.path = "layer1.bn1";
  BOOST_CHECK_EXCEPTION(none(x), Error, says({"there is no set 0 of statistics, of 0", "layer1.bn1"}));
  BOOST_CHECK_EXCEPTION(none.use_statistics(1), Error, says({"there is no set 0"}));
  BOOST_CHECK_EXCEPTION(none.reset_statistics(), Error, says({"there is no set 0"}));
  none.reset(1, "layer1.bn1");
  norm.active = 1;
  BOOST_CHECK_EXCEPTION(norm(x), Error, says({"there is no set 1 of statistics, of 1"}));
  norm.use_statistics(1);
  BOOST_TEST((norm(x).shape() == x.shape()));
  norm.momentum = NAN;
  BOOST_CHECK_EXCEPTION(norm(x), Error, says({"batch norm: a momentum of nan"}));
}

BOOST_AUTO_TEST_CASE(re_estimated_statistics_are_plain_averages) {
  BatchNorm2d<Cpu, P> norm(1);
  norm(random_tensor(Shape(4, 2, 2, 1), 9, 100.f));
  norm.reset_statistics();
  norm.cumulative = true;
  double mean = 0;
  for (u64 k = 0; k < 5; ++k) {
    const auto x = random_tensor(Shape(4, 2, 2, 1), k, float(k));
    norm(x);
    for (double value : doubles(x)) mean += value / 80;
  }
  BOOST_TEST(std::abs(norm.sets[0].running_mean.value.item() - mean) < 1e-5);
}

// A batch of one value a channel has no variance: torch refuses it too, and the message names the layer.
BOOST_AUTO_TEST_CASE(one_value_a_channel) {
  Net net(config, 1);
  Tape tape;
  const auto image = random_tensor(Shape(1, 8, 8, 1), 1);  // 1 x 1 in the last stage
  BOOST_CHECK_EXCEPTION(net(constant(tape, image)), Error, says({"batch norm", "layer4.0.bn1", "larger batch"}));
  tape.clear();
  freeze_statistics(net, {"*"});
  BOOST_CHECK_NO_THROW(net(constant(tape, image)));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(state_dict)

BOOST_AUTO_TEST_CASE(round_trip) {
  const Folder folder;
  Net a(config, 1), b(config, 2);
  train(a, 2);
  save(a, folder.path / "a.safetensors", {{"made by", "a test"}});
  const Metadata metadata = load(b, folder.path / "a.safetensors");
  BOOST_TEST(metadata.at("made by") == "a test");
  BOOST_TEST(changed(state_of(a), state_of(b)).empty());
  BOOST_TEST(state_of(b).at("bn1.num_batches_tracked")[0] == 2.f);

  Net c(config, 3);
  copy_state(a, c);
  BOOST_TEST(changed(state_of(a), state_of(c)).empty());
  set_training(a, false), set_training(c, false);
  const auto images = random_tensor(Shape(2, 8, 8, 1), 3);
  BOOST_TEST(same_bits(a(images), c(images)));
  Net other(ResNetConfig::make("resnet34", 4, 1, 3, Stem::small), 1);
  BOOST_CHECK_THROW(copy_state(a, other), Error);
}

// The published layout of a convolution is [O, I, kh, kw]; ours is [O, kh, kw, I].
BOOST_AUTO_TEST_CASE(layout_of_convolutions) {
  const Folder folder;
  Conv2d<Cpu, P> conv(2, 1, 3, {}, false);
  for (i64 i = 0; i < 18; ++i) conv.weight.master.data()[i] = float(i);
  save(conv, folder.path / "conv.safetensors");
  const auto stored = Safetensors(folder.path / "conv.safetensors").tensor<float, 4>("weight");
  BOOST_TEST(stored.shape().str() == Shape(1, 2, 3, 3).str());
  for (i64 c = 0; c < 2; ++c)
    for (i64 position = 0; position < 9; ++position) BOOST_TEST(stored.data()[c * 9 + position] == float(position * 2 + c));
}

BOOST_AUTO_TEST_CASE(the_working_copy_follows) {
  const Folder folder;
  Linear<Cpu, P> a(3, 2);
  Linear<Cpu, Precision<bf16>> b(3, 2);
  a.reset(1, "a");
  save(a, folder.path / "a.safetensors");
  load(b, folder.path / "a.safetensors");
  BOOST_TEST(!b.weight.master.defined());
  BOOST_TEST(same_bits(b.weight.value, cast<bf16>(a.weight.master)));
  make_masters(b);
  load(b, folder.path / "a.safetensors");
  BOOST_TEST(same_bits(a.weight.master, b.weight.master));
  BOOST_TEST(same_bits(b.weight.value, cast<bf16>(a.weight.master)));
}

// Every type of a file into every type of a network, in both layouts, of sizes that one core and that all cores read.
BOOST_AUTO_TEST_CASE(every_type_is_read_in_one_pass) {
  const Folder folder;
  const auto check = [&]<class From, class To>(From, To, i64 in, i64 out) {
    Conv2d<Cpu, Precision<To>> conv(in, out, 3);
    const auto weight = random_tensor<From>(Shape(out, in, 3, 3), 1);
    const auto bias = random_tensor<From>(Shape<1>(out), 2);
    write_safetensors(folder.path / "x", {safetensors_source("weight", weight), safetensors_source("bias", bias)});
    load(conv, folder.path / "x");
    bool same = same_bits(conv.bias.value, cast<float>(bias));
    for (i64 o = 0; o < out; ++o)
      for (i64 i = 0; i < in; ++i)
        for (i64 k = 0; k < 9; ++k) {
          const To got = conv.weight.value.data()[(o * 9 + k) * in + i];
          same &= float(got) == float(To(float(weight.data()[(o * in + i) * 9 + k])));
        }
    BOOST_TEST(same, name(dtype_of<From>) << " to " << name(dtype_of<To>) << ", " << in << " to " << out);
    save(conv, folder.path / "y");
    const auto saved = Safetensors(folder.path / "y").tensor<float, 4>("weight");
    BOOST_TEST(same_bits(saved, cast<float>(cast<To>(cast<float>(weight)))));
  };
  const auto from_all = [&](auto to) {
    for (auto [in, out] : {std::pair<i64, i64>(3, 2), {129, 65}}) {
      check(float(), to, in, out);
      check(bf16(), to, in, out);
      check(f16(), to, in, out);
    }
  };
  from_all(float());
  from_all(bf16());
}

// A network that is only loaded has no masters; one that is trained afterwards starts from its values, or from the file's f32
// where masters were asked for; a seed makes them at once.
BOOST_AUTO_TEST_CASE(masters_come_with_training) {
  const Folder folder;
  const auto path = folder.path / "x.safetensors";
  HalfNet source(config, 1);
  BOOST_TEST(master_bytes(source) > 0);
  save(source, path);
  const State saved = state_of(source);

  HalfNet loaded(config), exact(config);
  BOOST_TEST(master_bytes(loaded) == 0);
  load(loaded, path);
  BOOST_TEST(master_bytes(loaded) == 0);
  set_training(loaded, false), set_training(source, false);
  const auto images = random_tensor<bf16>(Shape(3, 8, 8, 1), 3);
  BOOST_TEST(same_bits(loaded(images), source(images)));
  BOOST_TEST(master_bytes(loaded) == 0);

  make_masters(exact);
  load(exact, path);
  BOOST_TEST(changed(saved, state_of(exact)).empty());

  // What a first step starts from.
  const State rounded = state_of(loaded);
  BOOST_TEST(rounded.at("fc.weight") != saved.at("fc.weight"));
  BOOST_TEST(rounded.at("fc.bias") == saved.at("fc.bias"));
  freeze(loaded, {"layer1"});
  const FlatParameters<Cpu> from_values(loaded), from_masters(exact);
  BOOST_TEST(changed(rounded, state_of(loaded)).empty());
  BOOST_TEST(changed(saved, state_of(exact)).empty());
  BOOST_TEST(loaded.fc.weight.master.defined());
  BOOST_TEST(!loaded.layer1[0].conv1.weight.master.defined());  // frozen: not trained
}

// 20 million parameters of layers as large as Stable Diffusion's: their bytes, and little more, are in use after loading and a
// forward pass. Masters would be twice as much again, so would the widened weights of one layer be too much.
BOOST_AUTO_TEST_CASE(memory_of_a_loaded_network) {
#if defined(__SANITIZE_ADDRESS__)
  return;  // the sanitizer's own memory is private too
#endif
  // oneDNN asks for huge pages in the heap: a byte in one would count as 2 MiB, wherever blocks happen to begin.
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  const Folder folder;
  const auto path = folder.path / "x.safetensors";
  const auto image = random_tensor<bf16>(Shape(1, 4, 4, 640), 1);
  const auto forward = [&](Wide& net) { return net.second(net.first(net.conv(image))); };
  Tensor<bf16, 4> wanted;
  {
    Wide net;
    initialise(net, 1);
    save(net, path);
    wanted = forward(net);
  }
  Pool<Cpu>::common().trim();
  malloc_trim(0);
  const double before = private_bytes();
  Wide net;
  double bytes = 0;
  for_each_parameter(net, [&](const std::string&, auto& p) { bytes += double(p.value.bytes()); });
  BOOST_TEST(private_bytes() - before < 0.1 * bytes);  // nothing has been written yet
  load(net, path);
  BOOST_TEST(private_bytes() - before < 1.05 * bytes);
  const auto got = forward(net);
  BOOST_TEST(same_bits(got, wanted));
  const double scratch = 20 << 20;  // a part of the widest layer, widened and packed, whatever the size of the network
  BOOST_TEST(private_bytes() - before < 1.05 * bytes + scratch);
  BOOST_TEST_MESSAGE("private memory: " << (private_bytes() - before) / bytes << " times the bytes of the parameters");
}

// Everything that does not fit is said at once, and nothing is changed.
BOOST_AUTO_TEST_CASE(what_does_not_fit_is_listed) {
  const Folder folder;
  const auto path = folder.path / "x.safetensors";
  Small net;
  const State before = state_of(net);
  const auto refuse = [&](const std::vector<SafetensorsSource>& sources, const std::vector<std::string>& words) {
    write_safetensors(path, sources);
    BOOST_CHECK_EXCEPTION(load(net, path), Error, says(words));
    BOOST_TEST(changed(before, state_of(net)).empty());
  };
  // The file that would fit, but for what `change` does to it.
  std::map<std::string, Tensor<float, 1>> values;
  const auto fitting = [&] {
    std::vector<SafetensorsSource> sources;
    for (const StateItem& item : state_items(net)) {
      if (item.counter) continue;
      std::vector<float> numbers = item.get();
      for (float& x : numbers) x += 1;
      values[item.name] = Tensor<float, 1>::from(numbers, Shape<1>(i64(numbers.size())));
      sources.push_back(safetensors_source(item.name, values[item.name]));
      sources.back().shape = item.shape;
    }
    return sources;
  };
  const auto find = [](std::vector<SafetensorsSource>& sources, const std::string& name) {
    return std::find_if(sources.begin(), sources.end(), [&](const auto& s) { return s.name == name; });
  };

  auto sources = fitting();
  sources.erase(find(sources, "bare.weight"));
  find(sources, "fc.bias")->name = "fc.offset";
  find(sources, "fc.weight")->shape = {3, 4};
  refuse(sources, {"x.safetensors", "missing", "bare.weight", "fc.bias", "unexpected", "fc.offset", "shapes",
                   "fc.weight is [3, 4], wanted [4, 3]", "remedy"});

  sources = fitting();
  values["norms.0.weight"].data()[1] = NAN;
  refuse(sources, {"norms.0.weight"});

  sources = fitting();
  find(sources, "fc.bias")->dtype = DType::i32;
  refuse(sources, {"types", "fc.bias is I32"});
}

// Layers that start afresh may have another shape in the file, or be in one of both only; all others are read as strictly as
// ever.
BOOST_AUTO_TEST_CASE(layers_that_are_left_out) {
  const Folder folder;
  const auto path = folder.path / "x.safetensors";
  Net source(config, 1), other(ResNetConfig::make("resnet18", 4, 1, 10, Stem::small), 2);
  save(source, path);
  const State wanted = state_of(source);
  BOOST_CHECK_EXCEPTION(load(other, path), Error, says({"fc.weight is [3, 32], wanted [10, 32]"}));
  const State before = state_of(other);
  BOOST_CHECK_EXCEPTION(load(other, path, {"layer1"}), Error, says({"fc.weight is [3, 32], wanted [10, 32]"}));
  BOOST_TEST(changed(before, state_of(other)).empty());
  load(other, path, {"fc"});
  BOOST_TEST(state_of(other).at("fc.weight") == before.at("fc.weight"));
  const Strings differ = changed(wanted, state_of(other));
  BOOST_TEST((differ == Strings{"fc.bias", "fc.weight"}));

  // The layers' own names say what is left out: the pattern would take every entry with a w in its name.
  Net fresh(config, 5);
  const Strings layers = reinitialise(fresh, 3, {"*w*"});
  BOOST_TEST((layers == Strings{"layer2.0.downsample.0", "layer2.0.downsample.1", "layer3.0.downsample.0",
                                "layer3.0.downsample.1", "layer4.0.downsample.0", "layer4.0.downsample.1"}));
  load(fresh, path, layers);
  for (const std::string& name : changed(wanted, state_of(fresh))) BOOST_TEST(matches_any(layers, name), name);

  std::vector<SafetensorsSource> sources;
  const Safetensors file(path);
  for (const SafetensorsEntry& entry : file.entries()) sources.push_back({entry.name, entry.dtype(), entry.shape, entry.bytes});
  const std::vector<float> bad(3, NAN);  // the file's fc has diverged
  for (SafetensorsSource& source : sources)
    if (source.name == "fc.bias") source.bytes = std::as_bytes(std::span(bad));
  write_safetensors(folder.path / "diverged", sources);
  load(other, folder.path / "diverged", {"fc"});
  BOOST_CHECK_EXCEPTION(load(fresh, folder.path / "diverged"), Error, says({"'fc.bias': 3 NaN"}));

  sources.clear();
  for (const SafetensorsEntry& entry : file.entries())
    if (!entry.name.starts_with("fc.")) sources.push_back({entry.name, entry.dtype(), entry.shape, entry.bytes});
  write_safetensors(folder.path / "headless", sources);
  load(other, folder.path / "headless", {"fc"});
  load(other, folder.path / "headless", {"fc", "*.bn2.*"});
  for (const char* pattern : {"nothere", "layer9", "fc.", ""}) {
    const auto words = {text("neither in the network nor in the file: '", pattern, "'"), (folder.path / "headless").string(),
                        std::string("names   conv1.weight"), std::string("remedy")};
    for (const std::string& word : words)
      BOOST_CHECK_EXCEPTION(load(other, folder.path / "headless", {"fc", pattern}), Error, says({word.c_str()}));
  }
  BOOST_CHECK_EXCEPTION(load(other, folder.path / "headless"), Error, says({"missing", "2: fc.weight, fc.bias"}));
}

// By its key a setting is told from another, wherever its line stands.
BOOST_AUTO_TEST_CASE(settings_are_compared_by_their_keys) {
  const auto said = [](const std::string& there, const std::string& now) {
    try {
      check_same_settings(there, now, "file");
      return std::string();
    } catch (const Error& error) {
      const std::string what = error.what();
      return what.substr(what.find("file\n") + 5, what.find("  remedy") - what.find("file\n") - 5);
    }
  };
  BOOST_TEST(said("a 1\nb 2", "a 1\nb 2") == "");
  BOOST_TEST(said("a 1\nb 2", "b 2\na 1") == "");
  BOOST_TEST(said("a 1\nb 2\nc 3", "a 1\nx 9\nb 4\nc 3") == "  there   b 2\n  now     b 4\n  only now x 9\n");
  BOOST_TEST(said("a 1\nb 2\nc 3", "a 1\nc 3") == "  only there b 2\n");
  BOOST_TEST(said("a", "a 1") == "  there   a\n  now     a 1\n");
  BOOST_TEST(said("a 1\na 2", "a 1\na 3") == "  there   a 2\n  now     a 3\n");
  BOOST_TEST(said("", "a 1") == "  only now a 1\n");
}

// A 1x1 convolution and a linear layer hold the same matrix; counters may be missing; bf16 is widened.
BOOST_AUTO_TEST_CASE(what_fits_though_it_looks_different) {
  const Folder folder;
  const auto path = folder.path / "x.safetensors";
  const auto matrix = random_tensor<bf16>(Shape(4, 3), 1);
  const auto bias = random_tensor(Shape<1>(4), 2);
  std::vector<SafetensorsSource> sources{safetensors_source("weight", matrix), safetensors_source("bias", bias)};
  sources[0].shape = {4, 3, 1, 1};
  write_safetensors(path, sources);
  Linear<Cpu, P> linear(3, 4);
  load(linear, path);
  BOOST_TEST(same_bits(linear.weight.value, cast<float>(matrix)));
  sources[0].shape = {4, 3};
  write_safetensors(path, sources);
  Conv2d<Cpu, P> conv(3, 4, 1);
  load(conv, path);
  BOOST_TEST(same_bits(conv.weight.value.reshape(Shape(4, 3)), cast<float>(matrix)));

  BatchNorm2d<Cpu, P> norm(4);
  // A counter is exact far beyond what a float holds.
  norm.sets[0].num_batches_tracked.value = (i64(1) << 53) + 1;
  save(norm, path);
  norm.sets[0].num_batches_tracked.value = 7;
  load(norm, path);
  BOOST_TEST(norm.sets[0].num_batches_tracked.value == (i64(1) << 53) + 1);
  norm.sets[0].num_batches_tracked.value = 7;
  const auto count = Tensor<i64, 1>::from({12}, Shape<1>(1));
  const auto variance = Tensor<float, 1>::full(Shape<1>(4), 2.f);
  sources = {safetensors_source("weight", bias), safetensors_source("bias", bias), safetensors_source("running_mean", bias),
             safetensors_source("running_var", variance)};
  write_safetensors(path, sources);
  load(norm, path);
  BOOST_TEST(norm.sets[0].num_batches_tracked.value == 7);
  sources.push_back(safetensors_source("num_batches_tracked", count));
  sources.back().shape = {};
  write_safetensors(path, sources);
  load(norm, path);
  BOOST_TEST(norm.sets[0].num_batches_tracked.value == 12);
}

// One bit of a file of ours: refused, or of no consequence for what is loaded.
BOOST_AUTO_TEST_CASE(no_flipped_bit_is_loaded) {
  const Folder folder;
  Small source;
  source.norms[0].sets[0].num_batches_tracked.value = 5;
  save(source, folder.path / "good", {{"settings", "rate 0.1"}});
  const State saved = state_of(source);
  const std::string good = read_file(folder.path / "good");
  Small net;
  BOOST_TEST(load(net, folder.path / "good").at("settings") == "rate 0.1");
  BOOST_TEST(changed(saved, state_of(net)).empty());
  i64 damaged = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = char(bad[at] ^ (1 << at % 8));
    const auto path = folder.write("bad", bad);
    const std::string said = error_of([&] {
      const Metadata metadata = load(net, path);
      if (metadata.contains("mindgap_sha256")) BOOST_TEST(metadata.at("settings") == "rate 0.1");
    });
    BOOST_TEST((said == "no error" || said.find(path.string()) != said.npos), said);
    damaged +=
        said.find("the file is damaged: its contents do not have its hash") != said.npos && said.find("remedy") != said.npos;
    if (!changed(saved, state_of(net)).empty()) BOOST_FAIL("byte " << at << " of " << good.size() << " was changed and loaded");
  }
  BOOST_TEST(damaged > 4 * count_parameters(net));  // each of the weights' bytes
}

// Counters of files without a hash, too, are counts.
BOOST_AUTO_TEST_CASE(counters_that_are_no_counts) {
  const Folder folder;
  const auto path = folder.path / "x.safetensors";
  const auto ones = Tensor<float, 1>::full({4}, 1.f);
  BatchNorm2d<Cpu, P> norm(4);
  const auto load_with = [&](const auto& count) {
    std::vector<SafetensorsSource> sources{safetensors_source("num_batches_tracked", count)};
    sources[0].shape = {};
    for (const char* name : {"weight", "bias", "running_mean", "running_var"}) sources.push_back(safetensors_source(name, ones));
    write_safetensors(path, sources);
    load(norm, path);
  };
  load_with(Tensor<float, 1>::from({12}, {1}));
  BOOST_TEST(norm.sets[0].num_batches_tracked.value == 12);
  for (const float count : {-1.f, 2.5f, 1e30f}) REFUSED(load_with(Tensor<float, 1>::from({count}, {1})), "num_batches_tracked");
  REFUSED(load_with(Tensor<i64, 1>::from({-1}, {1})), "num_batches_tracked");
  BOOST_TEST(norm.sets[0].num_batches_tracked.value == 12);
}

BOOST_AUTO_TEST_SUITE_END()
