// CLIPTextModel against transformers: names, configuration, the last hidden state; f32 and bf16. Tokens that come later change
// nothing before them.
#include <mindgap/models/clip_text.hpp>

#include "tests/files.hpp"
#include "tests/golden/golden.hpp"
#include <cmath>

using namespace mindgap;
using namespace mindgap::test;

namespace {

template <Real T>
void check_text_encoder(const std::string& name) {
  const ClipTextConfig config = read_clip_text_config(golden_folder + name + ".json");
  CLIPTextModel<Cpu, Precision<T>> net(config);
  const std::vector<StateItem> items = state_items(net, "");
  check_names(name, items);
  fill_golden(items, false);
  const i64 length = config.max_position_embeddings - 2;
  const auto ids = Tensor<i64, 2>::from(golden_integers("golden:ids", 3 * length, 100), Shape(3, length));
  Golden golden(name, std::is_same_v<T, float> ? GoldenType::f32 : GoldenType::bf16);
  golden.check("eval/hidden", cast<float>(net(ids)).to_vector());
  golden.finish();
}

CLIPTextModel<Cpu, Precision<float>> small() {
  return CLIPTextModel<Cpu, Precision<float>>(read_clip_text_config(golden_folder + "clip_text.json"));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(clip_text)

BOOST_AUTO_TEST_CASE(f32) { check_text_encoder<float>("clip_text"); }
BOOST_AUTO_TEST_CASE(bf16) { check_text_encoder<mindgap::bf16>("clip_text"); }
BOOST_AUTO_TEST_CASE(gelu_f32) { check_text_encoder<float>("clip_text_gelu"); }
BOOST_AUTO_TEST_CASE(gelu_bf16) { check_text_encoder<mindgap::bf16>("clip_text_gelu"); }

BOOST_AUTO_TEST_CASE(later_tokens_change_nothing_before_them) {
  auto net = small();
  fill_golden(state_items(net, ""), false);
  std::vector<i64> ids = golden_integers("golden:ids", 20, 100);
  const auto before = net(Tensor<i64, 2>::from(ids, Shape(1, 20)));
  ids[13] = (ids[13] + 1) % 100;
  const auto after = net(Tensor<i64, 2>::from(ids, Shape(1, 20)));
  for (i64 i = 0; i < 20 * 64; ++i) BOOST_TEST_REQUIRE((before.data()[i] == after.data()[i]) == (i < 13 * 64));
}

// Each entry is read with and without the prefix that transformers 5 leaves out.
BOOST_AUTO_TEST_CASE(names_with_and_without_prefix) {
  auto net = small();
  const std::vector<StateItem> items = state_items(net, "");
  for (const StateItem& item : items) BOOST_TEST(item.name == "text_model." + item.older_name);
}

// Files of before carry the numbers of the positions, in one type or another; what else is there is as strange as ever.
BOOST_AUTO_TEST_CASE(numbers_of_positions_are_no_weights) {
  const Folder folder;
  auto net = small(), other = small();
  const std::vector<StateItem> items = state_items(net, "");
  fill_golden(items, false);
  std::vector<std::vector<float>> values;
  const std::vector<i64> positions(20, 7);
  const std::vector<float> halves(20, NAN);
  const auto written = [&](bool older, SafetensorsSource more) {
    std::vector<SafetensorsSource> sources{std::move(more)};
    values.clear();
    for (const StateItem& item : items) {
      values.push_back(item.get());
      sources.push_back({older ? item.older_name : item.name, DType::f32, item.shape, std::as_bytes(std::span(values.back()))});
    }
    write_safetensors(folder / "x", std::move(sources));
    return folder / "x";
  };
  const auto ids = [&](const std::string& name) {
    return SafetensorsSource{name, DType::i64, {1, 20}, std::as_bytes(std::span(positions))};
  };
  load(other, written(false, ids("text_model.embeddings.position_ids")));
  for (size_t i = 0; i < items.size(); ++i) BOOST_TEST_REQUIRE((state_items(other, "")[i].get() == items[i].get()));
  load(other, written(true, ids("embeddings.position_ids")));
  load(other, written(false, {"text_model.embeddings.position_ids", DType::f32, {20}, std::as_bytes(std::span(halves))}));
  for (const char* name : {"text_model.position_ids", "position_ids", "text_model.embeddings.position_ids.x"})
    REFUSED(load(other, written(false, ids(name))), text("unexpected 1: ", name));
}

BOOST_AUTO_TEST_CASE(misuse) {
  auto net = small();
  fill_golden(state_items(net, ""), false);
  const auto said = [](const std::string& what) {
    return [what](const Error& error) { return std::string(error.what()).find(what) != std::string::npos; };
  };
  BOOST_CHECK_EXCEPTION(net(Tensor<i64, 2>::full({1, 21}, 1)), Error, said("21 tokens, of at most 20"));
  BOOST_CHECK_EXCEPTION(net(Tensor<i64, 2>::full({1, 3}, 100)), Error, said("id 100 is outside the table"));
  BOOST_CHECK_EXCEPTION(parse_clip_text_config(R"({"hidden_act": "relu"})", "c"), Error, said("hidden_act is \"relu\""));
  BOOST_CHECK_EXCEPTION(parse_clip_text_config(R"({"num_attention_heads": 7})", "c"), Error,
                        said("does not divide into 7 heads"));
  BOOST_CHECK_EXCEPTION(parse_clip_text_config(R"({"use_attention_mask": true})", "c"), Error, said("use_attention_mask"));
  BOOST_CHECK_EXCEPTION(parse_clip_text_config(R"({"model_type": "t5"})", "c"), Error, said("model_type"));
}

// Filled in code, where no file was read that would have been refused.
BOOST_AUTO_TEST_CASE(configurations_that_make_no_model) {
  const auto refused = [](auto change, const char* what) {
    ClipTextConfig c;
    change(c);
    BOOST_CHECK_EXCEPTION((CLIPTextModel<Cpu, Precision<float>>(c)), Error,
                          [=](const Error& error) { return std::string(error.what()).find(what) != std::string::npos; });
  };
  refused([](auto& c) { c.num_attention_heads = 0; }, "num_attention_heads is 0, wanted 1 to 1024");
  refused([](auto& c) { c.num_hidden_layers = -1; }, "num_hidden_layers is -1");
  refused([](auto& c) { c.vocab_size = 0; }, "vocab_size is 0");
  refused([](auto& c) { c.hidden_size = -512; }, "hidden_size is -512");
  refused([](auto& c) { c.intermediate_size = 0; }, "intermediate_size is 0");
  refused([](auto& c) { c.max_position_embeddings = 0; }, "max_position_embeddings is 0");
  refused([](auto& c) { c.layer_norm_eps = NAN; }, "layer_norm_eps is nan");
}

BOOST_AUTO_TEST_CASE(missing_keys_are_the_classs) {
  const ClipTextConfig c = parse_clip_text_config("{}", "config.json");
  BOOST_TEST((c == ClipTextConfig()));
}

BOOST_AUTO_TEST_SUITE_END()
