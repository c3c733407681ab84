// A labelled set of images of prompts: what an image of a class with a number shows, and the job that makes all of them.
//
// An image depends on the model, the settings of the set, the seed, the id of its class and its number in the class: latents and
// noise are the streams (seed, "latent", hash64(id), number) and (seed, "noise", hash64(id), number, step), the choice among
// prompts is (seed, "prompt", hash64(id), number). Other classes, their order and the display names do not matter.
#pragma once

#include <mindgap/data/image_folder.hpp>
#include <mindgap/data/resample.hpp>
#include <mindgap/diffusion/jobs.hpp>
#include <mindgap/diffusion/prompt_sampler.hpp>
#include <mindgap/text/prompts.hpp>

#include <future>
#include <optional>
#include <set>

namespace mindgap {

// What decides, with the model and the sampler, what the images of a set show.
struct PromptSetSettings {
  std::vector<PromptClass> classes;
  PromptSet prompts;
  PromptSettings images;
  u64 seed = 0;
};

inline ImageStreams streams_of(u64 seed, const std::string& class_id, i64 index, const Sampler& sampler) {
  return streams_of(seed, hash64(class_id), index, sampler, text("image ", index, " of class ", detail::shown(class_id)));
}

// "class cat: a prompt has 91 tokens, ...": what of a prompt the text encoder does not see.
inline std::string lost_text(const std::string& whose, const CLIPTokenizer::Encoded& encoded, const CLIPTokenizer& tokenizer) {
  return text(whose, " has ", encoded.tokens, " tokens, the text encoder takes ", tokenizer.max_length(),
              "; lost: ", detail::shown(encoded.lost));
}

// An image, and what its line of a manifest says of it besides the set's settings.
struct PromptedImage {
  Tensor<u8, 3, Cpu> pixels;
  Fields fields;
};

// As it is written: in another size, where one is asked for.
inline Tensor<u8, 3, Cpu> stored(const Tensor<u8, 3, Cpu>& pixels, const std::optional<ImageSize>& size) {
  return size ? resample(pixels, size->height, size->width) : pixels;
}

// Makes images of a set, up to `batch` at a time. A GPU makes fewer in a batch of the same size all the same, so that no bit of
// an image depends on how many were left; a CPU's bits do not depend on it.
template <Device D, class P>
class PromptImages {
 public:
  using device = D;
  static constexpr bool is_widest = std::is_same_v<typename P::compute, float>;

  // lost: told once a class of what was cut off a prompt that has more tokens than the text encoder takes.
  PromptImages(const StableDiffusionInfo& info, const Sampler& sampler, const PromptSetSettings& settings, i64 batch,
               std::function<void(const std::string&)> lost)
      : settings_(settings),
        sampler_(sampler),
        model_(load_stable_diffusion<D, P>(info)),
        sample_(model_, sampler, settings.images),
        batch_(batch),
        lost_(std::move(lost)) {}

  i64 batch() const { return batch_; }

  // 1 to batch() of them.
  std::vector<PromptedImage> operator()(std::span<const ImageNumber> numbers) {
    std::vector<PromptImage> wanted;
    std::vector<PromptedImage> out;
    for (const ImageNumber& number : numbers) {
      const PromptClass& c = settings_.classes.at(size_t(number.label));
      const std::string prompt = settings_.prompts.prompt(c, Stream(settings_.seed, "prompt", hash64(c.id), u64(number.index)));
      const auto encoded = model_.info.tokenizer(prompt);
      if (!encoded.lost.empty() && told_.insert(c.id).second)
        lost_(lost_text(text("class ", detail::shown(c.id), ": a prompt"), encoded, model_.info.tokenizer));
      wanted.push_back({prompt, streams_of(settings_.seed, c.id, number.index, sampler_)});
      out.push_back({{}, {{"prompt", prompt}, {"tokens", encoded.tokens}, {"device", std::string(D::name)}}});
    }
    if constexpr (!std::is_same_v<D, Cpu>) wanted.resize(size_t(batch_), wanted.back());
    const auto [images, problems] = sample_.attempt(wanted);
    const Tensor<u8, 4, Cpu> pixels = to_bytes(images);
    std::vector<ImageNumber> again;
    for (size_t i = 0; i < out.size(); ++i)
      if (problems[i].empty()) out[i].pixels = reshape(pixels.slice(i64(i), i64(i) + 1), image_shape());
      else again.push_back(numbers[i]);
    if (!again.empty()) redo(out, again, problems);
    return out;
  }

 private:
  Shape<3> image_shape() const { return {settings_.images.height, settings_.images.width, 3}; }

  // Numbers left the range of a 16-bit type: the same images in f32.
  void redo(std::vector<PromptedImage>& out, const std::vector<ImageNumber>& again, const std::vector<std::string>& problems) {
    if constexpr (is_widest) {
      throw Error(text("image ", again[0].index, " of class ", detail::shown(settings_.classes[size_t(again[0].label)].id),
                       " is not finite in f32"),
                  {{"step", *std::ranges::find_if(problems, [](const auto& p) { return !p.empty(); })},
                   {"remedy", text("check the weights, or lower the guidance (", settings_.images.guidance.scale, ")")}});
    } else {
      if (!wider_)
        wider_ = std::make_unique<PromptImages<D, Precision<float>>>(model_.info, sampler_, settings_, batch_,
                                                                     [](const std::string&) {});
      std::vector<PromptedImage> made = (*wider_)(again);
      size_t next = 0;
      for (size_t i = 0; i < out.size(); ++i) {
        if (problems[i].empty()) continue;
        out[i].pixels = made[next++].pixels;
        out[i].fields["redone_in"] = std::string("f32");
      }
    }
  }

  PromptSetSettings settings_;
  Sampler sampler_;
  StableDiffusion<D, P> model_;
  PromptSampler<D, P> sample_;
  i64 batch_;
  std::function<void(const std::string&)> lost_;
  std::set<std::string> told_;  // classes
  std::unique_ptr<PromptImages<D, Precision<float>>> wider_;
};

// The same images for a shard folder (an ImageMaker).
template <Device D, class P>
class PromptShards {
 public:
  using device = D;

  // shows: of each class, a hash of what its prompts say. settings: of the lines, with the names that a folder of images gives
  // them. make must live as long as this.
  PromptShards(PromptImages<D, P>& make, const std::vector<PromptClass>& classes, const std::vector<std::string>& shows,
               const Fields& settings, const std::optional<ImageSize>& store_size)
      : make_(&make), store_size_(store_size) {
    const auto take = [&]<class T>(const char* key, T& to) { to = std::get<T>(settings.at(key)); };
    take("height", manifest_.height), take("width", manifest_.width);
    if (store_size) manifest_.height = store_size->height, manifest_.width = store_size->width;
    manifest_.channels = 3;
    take("weights", manifest_.generator), take("sampler", manifest_.sampler), take("steps", manifest_.steps);
    take("guidance", manifest_.guidance), take("precision", manifest_.precision);
    ShardLines& lines = manifest_.lines.emplace();
    for (const PromptClass& c : classes) manifest_.class_names.push_back(c.id), lines.names.push_back(c.names[0]);
    lines.shows = shows;
    lines.settings = settings;
    for (const auto& [key, value] : detail::settings_of_manifest(manifest_)) lines.settings.erase(key);
  }

  const ShardManifest& manifest() const { return manifest_; }
  i64 batch() const { return make_->batch(); }
  MadeImages operator()(const std::vector<ImageKey>& keys) {
    std::vector<ImageNumber> numbers;
    for (const ImageKey& key : keys) numbers.push_back({i32(key.label), i32(key.index)});
    std::vector<PromptedImage> images = (*make_)(numbers);
    MadeImages out(Tensor<u8, 4, Cpu>(Shape<4>(i64(keys.size()), manifest_.height, manifest_.width, 3)));
    for (size_t i = 0; i < images.size(); ++i) {
      out.pixels.slice(i64(i), i64(i) + 1)
          .copy_from(reshape(stored(images[i].pixels, store_size_), Shape<4>(1, manifest_.height, manifest_.width, 3)));
      out.fields.push_back(std::move(images[i].fields));
    }
    return out;
  }

 private:
  PromptImages<D, P>* make_;
  std::optional<ImageSize> store_size_;
  ShardManifest manifest_;
};

// Makes what the writer's part of the set lacks, batch after batch; the files of a batch are written while the next one is
// made. store_size: of what is written, where it is another; made(images): after each batch, for previews. False: stopped;
// what was made is kept.
template <class M>
bool write_prompt_set(M& make, ImageFolderWriter& writer, const std::optional<ImageSize>& store_size,
                      const std::function<void(const std::vector<FolderImage>&)>& made, const JobHooks& hooks = {}) {
  const std::vector<ImageNumber>& pending = writer.pending();
  const size_t batch = size_t(make.batch());
  i64 done = writer.part_images() - i64(pending.size());
  hooks.progress(done, writer.part_images(), "");
  std::future<void> writing;
  const bool finished = unless_stopped(hooks.stop, [&] {
    for (size_t begin = 0; begin < pending.size(); begin += batch) {
      StopHook::ask();
      const std::span<const ImageNumber> numbers(pending.data() + begin, std::min(batch, pending.size() - begin));
      std::vector<PromptedImage> images = make(numbers);
      if (writing.valid()) writing.get();
      std::vector<FolderImage> files;
      for (size_t i = 0; i < images.size(); ++i)
        files.push_back({numbers[i], stored(images[i].pixels, store_size), std::move(images[i].fields)});
      made(files);
      writing = std::async(std::launch::async, [&writer, files = std::move(files)] { writer.write(files); });
      hooks.progress(done += i64(numbers.size()), writer.part_images(), "");
    }
  });
  if (writing.valid()) writing.get();
  if (finished) writer.finish();
  return finished;
}

}  // namespace mindgap
