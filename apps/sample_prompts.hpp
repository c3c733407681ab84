// What sample does with Stable Diffusion: one image of a prompt, a labelled set of images of classes, or one image of a set
// again.
#pragma once

#include <mindgap/data/image_file.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/diffusion/prompt_images.hpp>
#include <mindgap/io/numbers.hpp>

#include "sample_options.hpp"
#include <sys/resource.h>
#include <unistd.h>

namespace mindgap {

template <Device D, class P>
class PromptApp {
 public:
  PromptApp(SampleOptions options, const CommonOptions& common)
      : o_(std::move(options)),
        common_(common),
        info_(read_info()),
        sampler_(make_sampler(o_, common_, info_.scheduler, o_.model, strength())) {
    for (const auto& [flag, prompt] : {std::pair("--prompt", o_.prompt), {"--negative", o_.negative}}) {
      const auto encoded = check_flags([&] { return info_.tokenizer(prompt); });
      if (!encoded.lost.empty()) tell_lost(lost_text(flag, encoded, info_.tokenizer));
    }
    if (!o_.init_image.empty()) init_ = read_image(o_.init_image);
    const auto [height, width] = parse_size("size", o_.size, 8).value_or(ImageSize{info_.default_size(), info_.default_size()});
    check_flags([&] { check_image_size(info_, height, width); });
    images_ = {Guidance(o_.guidance, o_.guidance_rescale), o_.negative, height, width};
    images_.tiled = o_.tiles;
    if constexpr (!std::is_same_v<D, Cpu>) images_.decoded_at_once = 8;
    // While the weights are loaded. A set is told by it before its first image; a single image goes first, and the threads of
    // the hash, which have what the one that starts them has, give way to it.
    if (o_.only.empty())
      hash_ = std::async(std::launch::async, [this] {
                if (o_.classes.empty()) ::setpriority(PRIO_PROCESS, id_t(::gettid()), 10);
                return info_.hash();
              }).share();
  }

  // One image of --prompt.
  void write_image() {
    const ResultFolder folder(std::filesystem::absolute(common_.out).parent_path());
    const StableDiffusion<D, P> model = load_stable_diffusion<D, P>(info_);
    PromptSampler<D, P> sample(model, sampler_, images_);
    const ImageStreams streams = streams_of(common_.seed, "", 0, sampler_);
    Tensor<float, 4, D> from;
    if (init_.defined()) from = sample.latents_of(initial_image(), {Stream(common_.seed, "initial")});
    const StopHook hook([] {
      if (interrupted()) stop_interrupted("nothing was written");
    });
    const Tensor<u8, 4, Cpu> image = to_bytes(sample({{o_.prompt, streams}}, from));
    Fields fields = settings();
    fields["prompt"] = o_.prompt;
    PngText texts;
    for (const auto& [key, value] : fields) texts.emplace_back(key, field_text(value));
    write_file_atomic(common_.out, encode_png(reshape(image, Shape<3>(images_.height, images_.width, 3)), texts));
    print(common_.out.string() + "\n");
  }

  // A labelled set.
  void write_set() {
    const auto [part, parts] = parse_shard(o_.shard);
    PromptSetSettings set{check_flag_or_file(o_.classes, read_classes), check_flag_or_file(o_.prompts, PromptSet::read), images_,
                          common_.seed};
    std::vector<std::string> prompts;  // hashes, and with them that every class has what its prompts say
    for (const PromptClass& c : set.classes) prompts.push_back(set.prompts.hash(c));
    if (o_.long_prompts == "refuse" && o_.only.empty()) refuse_long_prompts(set);
    PromptImages<D, P> make(info_, sampler_, set, o_.batch, [&](const std::string& what) { tell_lost(what); });
    if (!o_.only.empty()) return check_one(make, set.classes);
    if (o_.format == "shards") {
      PromptShards<D, P> shards(make, set.classes, prompts, settings(), store_size());
      return write_shard_folder(shards, o_.per_class, common_, part, parts);
    }
    ImageFolderManifest manifest;
    for (const PromptClass& c : set.classes)
      manifest.classes.push_back({c.id, c.names[0], folder_name(c.id), prompts[manifest.classes.size()]});
    manifest.images_per_class = o_.per_class;
    if (o_.format == "jpeg") manifest.jpeg_quality = int(o_.jpeg_quality);
    manifest.settings = settings();
    ImageFolderWriter writer(common_.out, manifest, part, parts);
    Progress progress("sample", writer.part_images(), writer.part_images() - i64(writer.pending().size()), "images");
    if (!write_prompt_set(
            make, writer, store_size(), [&](const auto& made) { preview(made); }, hooks_of(progress)))
      stop_interrupted("images that were made are kept; the same command goes on from there");
    if (nothing_to_make(writer, part, parts)) return;
    progress.finish();
    print(common_.out.string() + "\n");
  }

 private:
  StableDiffusionInfo read_info() const {
    const auto kind = common_.given.contains("sampler") ? std::optional(check_flags([&] { return sampler_by_name(o_.sampler); }))
                                                        : std::nullopt;
    std::optional<Prediction> prediction;
    if (o_.prediction == "noise") prediction = Prediction::epsilon;
    else if (o_.prediction == "v") prediction = Prediction::v_prediction;
    else if (!o_.prediction.empty()) bad_value("prediction", o_.prediction, "noise or v");
    return read_stable_diffusion_info(o_.model, kind, prediction);
  }
  double strength() const { return o_.init_image.empty() ? 1 : o_.strength; }
  std::optional<ImageSize> store_size() const { return parse_size("store-size", o_.store_size, 1); }

  void tell_lost(const std::string& what) const {
    if (o_.long_prompts == "refuse") throw Error(what, {{"remedy", "shorten the prompt, or use --long-prompts cut"}});
    std::cerr << what << std::endl;
  }

  // Before any image is made: of all prompts that the classes can have, for the set may grow.
  void refuse_long_prompts(const PromptSetSettings& set) const {
    for (const PromptClass& c : set.classes)
      for (const std::string& prompt : set.prompts.all(c))
        if (const auto encoded = info_.tokenizer(prompt); !encoded.lost.empty())
          tell_lost(lost_text(text("class ", detail::shown(c.id), ": a prompt"), encoded, info_.tokenizer));
  }

  // All that decides, with class, number and prompt, what an image shows.
  Fields settings() const {
    Fields out{{"seed", common_.seed},
               {"sampler", sampler_.describe()},
               {"steps", sampler_.requested_steps()},
               {"guidance", images_.guidance.scale},
               {"weights", hash_.get()},
               {"precision", precision_name<D, P>()},
               {"width", images_.width},
               {"height", images_.height},
               {"version", std::string(version)}};
    if (images_.guidance.rescale > 0) out["guidance_rescale"] = images_.guidance.rescale;
    if (!images_.negative.empty()) out["negative_prompt"] = images_.negative;
    if (images_.tiled) out["tiles"] = true;
    if (const auto size = store_size()) {  // a square by its side
      if (size->height == size->width) out["store_size"] = size->width;
      else out["store_height"] = size->height, out["store_width"] = size->width;
    }
    if (!o_.classes.empty()) out["prompts"] = o_.prompts;
    if (init_.defined()) out["init_image"] = pixels_sha256(init_), out["strength"] = strength();
    return out;
  }

  Tensor<float, 4, D> initial_image() const {
    const Tensor<u8, 3, Cpu> image = resample(init_, images_.height, images_.width, ResampleFilter::lanczos);
    std::vector<float> values;
    for (u8 v : image.to_vector()) values.push_back(float(v) / 127.5f - 1);
    return Tensor<float, 4>::from(values, Shape<4>(1, images_.height, images_.width, 3)).template to<D>();
  }

  // --only id:number of the set in --out.
  void check_one(PromptImages<D, P>& make, const std::vector<PromptClass>& classes) {
    const size_t colon = o_.only.rfind(':');
    const auto index = colon == o_.only.npos ? std::nullopt : number_in<i64>(o_.only.substr(colon + 1));
    const std::string id = o_.only.substr(0, colon);
    const auto c = std::ranges::find(classes, id, &PromptClass::id);
    if (!index || *index < 0 || c == classes.end())
      bad_value("only", o_.only, "the id of a class, a colon and a number, as n02123045:17");
    const ImageRecord record = read_image_record(common_.out, id, *index);
    const PromptedImage image = make(std::vector{ImageNumber{i32(c - classes.begin()), i32(*index)}})[0];
    const std::string now = pixels_sha256(stored(image.pixels, store_size())),
                      file = record.file + (record.place ? text(", place ", *record.place) : "");
    if (now != record.sha256)
      throw Error(text("image ", *index, " of class ", detail::shown(id), " is another one now"),
                  {{"file", (common_.out / file).string()},
                   {"its pixels", record.sha256},
                   {"now", now},
                   {"remedy", "give the flags, the model and the program that the set was made with; see dataset.json"}});
    print(text(file, " ", now, " matches\n"));
  }

  // The latest 16 images, every so many.
  void preview(const std::vector<FolderImage>& made) {
    if (!o_.preview) return;
    for (const FolderImage& image : made) latest_.push_back(image.pixels);
    if (latest_.size() > 16) latest_.erase(latest_.begin(), latest_.end() - 16);
    if ((since_preview_ += i64(made.size())) < o_.preview) return;
    since_preview_ = 0;
    const Shape<3> s = latest_[0].shape();
    const Tensor<u8, 4, Cpu> images(Shape<4>(i64(latest_.size()), s[0], s[1], s[2]));
    for (size_t i = 0; i < latest_.size(); ++i)
      images.slice(i64(i), i64(i) + 1).copy_from(reshape(latest_[i], Shape<4>(1, s[0], s[1], s[2])));
    write_file_atomic(common_.out / "preview.png", encode_png(make_grid(images, 4)));
  }

  SampleOptions o_;
  const CommonOptions& common_;
  StableDiffusionInfo info_;
  Sampler sampler_;
  PromptSettings images_;
  Tensor<u8, 3, Cpu> init_;                 // of --init-image
  std::vector<Tensor<u8, 3, Cpu>> latest_;  // images, for the preview
  i64 since_preview_ = 0;
  std::shared_future<std::string> hash_;  // of what images come from
};

template <Device D, class P>
void sample_prompts(SampleOptions o, const CommonOptions& common) {
  settle_prompt_flags(o, common, std::is_same_v<D, Cpu>);
  PromptApp<D, P> app(o, common);
  if (o.classes.empty()) app.write_image();
  else app.write_set();
}

}  // namespace mindgap
