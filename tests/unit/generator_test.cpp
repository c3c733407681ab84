// Generator folders as diffusers writes them: whether a class stands for "no class", and each form that weights come in.
#include <mindgap/cpu/library.hpp>
#include <mindgap/diffusion/jobs.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/study/synthetic_sets.hpp>

#include "tests/files.hpp"
#include "tests/state.hpp"
#include <boost/test/unit_test.hpp>
#include <set>

using namespace mindgap;
using namespace mindgap::test;

namespace {

using P = Precision<float>;
const std::string stem = "diffusion_pytorch_model";

// A folder of a small network whose class embedding has four rows, as diffusers saves one: without classes.json.
struct DiffusersFolder : Folder {
  explicit DiffusersFolder(u64 seed = 1) {
    GeneratorInfo info;
    UNetConfig& c = info.unet;
    c.sample_size = 8, c.in_channels = c.out_channels = 1, c.num_class_embeds = 4;
    c.block_out_channels = {8, 8}, c.down_attention = {false, true}, c.up_attention = {true, false};
    c.layers_per_block = 1, c.norm_num_groups = 4, c.attention_head_dim = 4;
    UNet2DModel<Cpu, P> unet(c, seed);
    save_generator(path, unet, info);
    fs::remove(path / "classes.json");
  }
  fs::path unet(const std::string& ending) const { return path / "unet" / (stem + ending); }
  State state() const { return state_of(*load_generator<Cpu, P>(path).unet); }
  std::string hash() const { return GeneratorFiles{path}.hash(); }
};

// Writes the entries that get a name, under that name.
template <class Name>
void write_entries(const fs::path& from, const fs::path& to, Name&& name) {
  const Safetensors file(from);
  std::vector<SafetensorsSource> sources;
  for (size_t i = 0; i < file.entries().size(); ++i) {
    const SafetensorsEntry& entry = file.entries()[i];
    if (const std::string as = name(i, entry.name); !as.empty()) sources.push_back({as, entry.dtype(), entry.shape, entry.bytes});
  }
  write_safetensors(to, sources);
}

// Splits the folder's weights into two files with an index, under the names of diffusers.
void shard(const DiffusersFolder& folder, const std::string& variant = "") {
  std::string map;
  for (size_t part = 0; part < 2; ++part) {
    const std::string ending = text(variant, "-0000", part + 1, "-of-00002.safetensors");
    write_entries(folder.unet(".safetensors"), folder.unet(ending), [&](size_t i, const std::string& name) {
      if (i % 2 != part) return std::string();
      map += text(map.empty() ? "" : ", ", '"', name, "\": \"", stem, ending, '"');
      return name;
    });
  }
  write_file_atomic(folder.unet(".safetensors.index" + variant + ".json"),
                    R"({"metadata": {"total_size": 1}, "weight_map": {)" + map + "}}");
  fs::remove(folder.unet(".safetensors"));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(generator)

// diffusers knows no row for "no class": each row is a class, and there is no guidance. Ours says that there is one by the number
// of names.
BOOST_AUTO_TEST_CASE(the_last_row_is_a_class_unless_the_folder_says_otherwise) {
  const DiffusersFolder folder;
  const GeneratorFiles files{folder.path};
  const auto load = [&] { return load_generator<Cpu, P>(folder.path); };
  const auto made = [&](double guidance, i64 label) {
    const auto generator = load();
    GeneratedImages images(generator, Sampler(generator.info.scheduler, 2), guidance, 4);
    BOOST_TEST((images.manifest().class_names == generator.info.class_names));
    return images({{0, label, 0}}).to_vector();
  };
  const auto check_without = [&](const std::vector<std::string>& names) {
    const auto generator = load();
    BOOST_TEST((generator.info.class_names == names));
    BOOST_TEST((made(1, 3) != made(1, 2)));
    for (double guidance : {0., 1.5, 7.}) REFUSED(made(guidance, 0), text("guidance ", guidance, ": the generator has no"));
    REFUSED(made(1, 4), "class 4 is outside 0 to 3");
    // The study refuses it before it makes a set.
    const SyntheticSets<Cpu, P> sets(generator, folder.path, folder / "out", [](const std::string&) { return JobHooks(); });
    REFUSED(sets.check({{"ddim", 2, 1, 1, 0}, {"ddim", 2, 2.5, 1, 0}}), "guidance 2.5");
    sets.check({{"ddim", 2, 1, 1, 0}});
  };
  check_without({"0", "1", "2", "3"});
  files.write_class_names({"a", "b", "c", "d"});
  check_without({"a", "b", "c", "d"});

  files.write_class_names({"a", "b", "c"});
  BOOST_TEST(load().classes() == 3);
  BOOST_TEST((made(0, 0) != made(1.5, 0)));
  REFUSED(made(1, 3), "class 3 is outside 0 to 2");
  for (const std::vector<std::string>& names : {std::vector<std::string>{}, {"a"}, {"a", "b"}, {"a", "b", "c", "d", "e"}}) {
    files.write_class_names(names);
    REFUSED(load(), text("classes.json has ", names.size(), " names"));
  }
}

BOOST_AUTO_TEST_CASE(old_names_of_attention) {
  const DiffusersFolder folder;
  const State wanted = folder.state();
  fs::rename(folder.unet(".safetensors"), folder / "new.safetensors");
  i64 renamed = 0;
  const auto older = [&](size_t, std::string name) {
    for (const auto& [now, then] :
         {std::pair{".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}})
      if (const size_t at = name.find(now); at != name.npos) name.replace(at, std::string(now).size(), then), ++renamed;
    return name;
  };
  write_entries(folder / "new.safetensors", folder.unet(".safetensors"), older);
  BOOST_TEST(renamed == 4 * 8);  // one in the down block, two in the up block, one in the middle
  BOOST_TEST((folder.state() == wanted));
  // Both at once are one too many.
  const std::string query = "mid_block.attentions.0.query.weight";
  write_entries(folder / "new.safetensors", folder.unet(".safetensors"),
                [&](size_t, const std::string& name) { return name == "conv_in.bias" ? query : name; });
  REFUSED(folder.state(), "unexpected 1: " + query);
}

BOOST_AUTO_TEST_CASE(variants_and_shards) {
  const State wanted = DiffusersFolder().state();
  {
    const DiffusersFolder folder;
    fs::rename(folder.unet(".safetensors"), folder.unet(".fp16.safetensors"));
    BOOST_TEST((folder.state() == wanted));
  }
  for (const std::string variant : {"", ".fp16"}) {
    const DiffusersFolder folder;
    shard(folder, variant);
    BOOST_TEST((folder.state() == wanted));
    // The hash is of every file that is read.
    std::set<std::string> hashes{folder.hash()};
    for (const char* ending : {"-00001-of-00002.safetensors", "-00002-of-00002.safetensors", ".safetensors.index"}) {
      const fs::path file = folder.unet(ending[0] == '-' ? variant + ending : ending + variant + ".json");
      std::string bytes = read_file(file);
      write_file_atomic(file, bytes + " ");
      hashes.insert(folder.hash());
      write_file_atomic(file, bytes);
    }
    BOOST_TEST(hashes.size() == 4u);
    // A part that is missing, of another network, or twice.
    const fs::path second = folder.unet(variant + "-00002-of-00002.safetensors");
    fs::rename(second, folder / "kept");
    REFUSED(folder.state(), second.filename().string());
    fs::copy(folder.unet(variant + "-00001-of-00002.safetensors"), second);
    REFUSED(folder.state(), "is in two files of the index");
    write_entries(folder / "kept", second, [](size_t i, const std::string& name) { return i ? name : "other"; });
    REFUSED(folder.state(), "unexpected 1: other");
  }
}

// As diffusers chooses; what it does not choose between is refused.
BOOST_AUTO_TEST_CASE(several_forms_in_one_folder) {
  const DiffusersFolder folder, other(2);
  const State wanted = folder.state();
  const std::string bin = "PK\x03\x04";
  write_file_atomic(folder.unet(".bin"), bin);
  write_file_atomic(folder.unet(".fp16.bin"), bin);
  fs::copy(other.unet(".safetensors"), folder.unet(".non_ema.safetensors"));
  fs::copy(other.unet(".safetensors"), folder.unet(".fp16.safetensors"));
  BOOST_TEST((folder.state() == wanted));  // what has no variant

  fs::rename(folder.unet(".safetensors"), folder / "plain");
  REFUSED(folder.state(), "PyTorch's .bin");  // it would take the .bin, and no variant
  fs::remove(folder.unet(".bin"));
  REFUSED(folder.state(), stem + ".non_ema.safetensors");  // one of two variants
  fs::remove(folder.unet(".non_ema.safetensors"));
  BOOST_TEST((folder.state() == other.state()));
  fs::remove(folder.unet(".fp16.safetensors"));
  for (const char* words : {"PyTorch's .bin", "safe_serialization=True"}) REFUSED(folder.state(), words);
  fs::remove(folder.unet(".fp16.bin"));
  REFUSED(folder.state(), stem + ".safetensors");
  write_file_atomic(folder.unet("-00001-of-00002.bin"), bin);
  REFUSED(folder.state(), "PyTorch's .bin");

  fs::copy(folder / "plain", folder.unet(".safetensors"));
  shard(folder);
  BOOST_TEST((folder.state() == wanted));
  fs::copy(folder / "plain", folder.unet(".safetensors"));
  for (const char* ending : {".safetensors", ".safetensors.index.json"}) REFUSED(folder.state(), stem + ending);
}

BOOST_AUTO_TEST_CASE(training_txt_says_each_thing_once) {
  const DiffusersFolder folder;
  const GeneratorFiles files{folder.path};
  folder.write("training.txt", "command images\nimages 5\nimages_hash 1\nflip 0\n");
  BOOST_TEST((files.read_origin().images == 5 && files.read_origin().flip == false));
  for (const std::string twice : {"images", "flip"}) {
    folder.write("training.txt", "images 5\nflip 0\n" + twice + " 1\n");
    REFUSED(files.read_origin(), "it says " + twice + " twice");
  }
}

// A set says which generator made it: the hash of a folder with one file of weights stays what it was.
BOOST_AUTO_TEST_CASE(the_hash_of_a_folder) {
  const DiffusersFolder folder;
  GeneratorFiles{folder.path}.write_class_names({"a", "b", "c"});
  Sha256 wanted;
  for (const char* file :
       {"unet/diffusion_pytorch_model.safetensors", "unet/config.json", "scheduler/scheduler_config.json", "classes.json"})
    wanted.update(sha256(read_file(folder / file)));
  BOOST_TEST(folder.hash() == wanted.hex());
}

BOOST_AUTO_TEST_SUITE_END()
