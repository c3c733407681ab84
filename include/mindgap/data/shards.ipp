// Bodies of shards.hpp.
#pragma once

#include <mindgap/data/image_lines.hpp>
#include <mindgap/data/parts.hpp>
#include <mindgap/data/shards.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/json.hpp>
#include <mindgap/io/safetensors.hpp>

#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <deque>
#include <mutex>
#include <optional>
#include <set>

namespace mindgap {

template <class V>
void visit_fields(V& visit, ShardLines& l) {
  visit.need("names", l.names);
  visit.need("settings", l.settings);
  visit.need("shows", l.shows);
}

// The keys in the order of the alphabet: the hash of the settings' text stands in every chunk.
template <class V>
void visit_fields(V& visit, ShardManifest& m) {
  visit.constant(
      "chunk_rule",
      "position p is image p / classes of class p % classes; chunk k holds positions k * chunk_size to (k + 1) * chunk_size "
      "- 1");
  visit.need("chunk_size", m.chunk_size);
  auto chunks = m.class_names.empty() ? std::nullopt : std::optional(m.chunks());
  visit("chunks", chunks);
  visit.need("class_names", m.class_names);
  std::string format = "mindgap shards 1";
  visit.need("format", format, {.one_of = {"mindgap shards 1"}});
  visit.need("generator", m.generator);
  visit.need("guidance", m.guidance);
  std::array<i64, 3> image{m.height, m.width, m.channels};
  visit.need("image", image);
  m.height = image[0], m.width = image[1], m.channels = image[2];
  visit.need("images_per_class", m.images_per_class);
  visit("lines", m.lines);
  visit.need("precision", m.precision);
  visit.need("program_version", m.program_version);
  visit.need("sampler", m.sampler);
  visit.need("seed", m.seed);
  visit.need("steps", m.steps);
  const bool countable =
      m.images_per_class > 0 && m.images_per_class <= ShardManifest::most_images && m.chunk_size > 0 && !m.class_names.empty();
  if (chunks && countable && *chunks != m.chunks())
    visit.fail("chunks", text("is ", *chunks, ", but ", m.images(), " images in chunks of ", m.chunk_size, " are ", m.chunks()));
}

namespace detail {

// Everything that decides what image a position holds.
inline nlohmann::ordered_json shard_settings(ShardManifest m) {
  nlohmann::ordered_json json = JsonWriter::write(m, {});
  json.erase("images_per_class");
  json.erase("chunks");
  return json;
}

inline std::string shard_settings_hash(const ShardManifest& m) { return sha256(json_text(shard_settings(m), -1)); }

// A manifest of the program or of a file; the same rules for both.
inline void check_shard_manifest(const ShardManifest& m, const std::filesystem::path& source) {
  const auto fail = [&](const std::string& what) {
    throw Error("shard folder: " + what, {{"file", source.string()}, {"remedy", "correct the settings or the file"}});
  };
  const auto positive = [&](const char* what, i64 value, i64 most) {
    if (value < 1 || value > most) fail(text(what, " is ", value, ", wanted 1 to ", most));
  };
  check_class_names(m.class_names, source);
  positive("images_per_class", m.images_per_class, ShardManifest::most_images);
  positive("the number of images", m.images(), ShardManifest::most_images);
  positive("height", m.height, 1 << 16);
  positive("width", m.width, 1 << 16);
  positive("channels", m.channels, 1 << 8);
  positive("chunk_size", m.chunk_size, 1 << 24);
  if (m.steps < 0) fail(text("steps is ", m.steps));
  if (!std::isfinite(m.guidance)) fail("guidance is not finite");
  if (m.lines) {
    for (const auto* of_classes : {&m.lines->names, &m.lines->shows})
      if (of_classes->size() != m.class_names.size())
        fail(text("lines has ", of_classes->size(), " names or hashes for ", m.classes(), " classes"));
    naming_file(source.string(), [&] { check_fields(m.lines->settings); });
    for (const auto& [key, value] : settings_of_manifest(m))
      if (m.lines->settings.contains(key)) fail("lines.settings has " + shown(key) + ", which the manifest has itself");
  }
  const std::string json = naming_file(source.string(), [&] { return to_json(m); });  // refuses what is not UTF-8
  if (i64(json.size()) > json_bytes) fail(text("it fills more than ", json_bytes, " bytes"));
}

template <class T, int N>
std::string_view bytes_of(const Tensor<T, N, Cpu>& tensor) {
  return {reinterpret_cast<const char*>(tensor.data()), size_t(tensor.bytes())};
}

// The numbers of the chunks whose files are there.
inline std::vector<i64> chunks_in(const std::filesystem::path& folder) {
  std::vector<i64> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    long long number = -1;
    if (std::sscanf(entry.path().filename().c_str(), "chunk-%lld", &number) == 1 && number >= 0 &&
        entry.path().filename() == chunk_path(folder, number).filename())
      out.push_back(number);
  }
  return out;
}

// How many images the chunk has by its header.
inline i64 chunk_images(const std::filesystem::path& folder, i64 chunk) {
  const Safetensors file(chunk_path(folder, chunk));
  const std::vector<i64>& shape = file.at("images").shape;
  return shape.empty() ? 0 : shape[0];
}

[[noreturn]] inline void bad_chunk(const std::filesystem::path& path, const std::string& what) {
  throw Error(
      "shard folder: " + what,
      {{"file", path.string()}, {"remedy", "delete this file and run the same sample command again: it writes what is missing"}});
}

// A chunk's file, with everything checked that it says about its images.
inline Safetensors open_chunk(const std::filesystem::path& folder, const ShardManifest& m, const std::string& settings,
                              i64 chunk) {
  const std::filesystem::path path = chunk_path(folder, chunk);
  Safetensors file(path);
  const SafetensorsEntry& images = file.at("images");
  const auto labels = file.tensor<i64, 1>("labels"), indices = file.tensor<i64, 1>("indices");
  const i64 count = labels.size(), begin = chunk * m.chunk_size;
  if (images.type != "U8" || images.shape != std::vector<i64>{count, m.height, m.width, m.channels} || count < 1 ||
      count > m.chunk_size || indices.size() != count)
    bad_chunk(path, text("the chunk has images ", images.type, " ", images.shape_str(), ", ", count, " labels and ",
                         indices.size(), " indices"));
  if (file.metadata_at("settings") != settings) bad_chunk(path, "the chunk was made with other settings than dataset.json says");
  for (i64 i = 0; i < count; ++i)
    if (labels.data()[i] != m.label(begin + i) || indices.data()[i] != m.index(begin + i))
      bad_chunk(path, text("place ", i, " holds image ", indices.data()[i], " of class ", labels.data()[i], ", wanted image ",
                           m.index(begin + i), " of class ", m.label(begin + i)));
  return file;
}

inline void verify_chunk(const Safetensors& file) {
  Sha256 hash;
  for (const char* name : {"images", "labels", "indices"}) {
    const auto bytes = file.at(name).bytes;
    hash.update({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  if (hash.hex() != file.metadata_at("sha256")) bad_chunk(file.path(), "the chunk is damaged: its contents do not have its hash");
}

// take(position, line) for every image of an open chunk. Its lines must be those of its images, in their order.
template <class Take>
void for_each_line(const Safetensors& file, const ShardManifest& m, const ImageLines& lines, i64 chunk, const Take& take) {
  const SafetensorsEntry* entry = file.find("lines");
  if (!entry) bad_chunk(file.path(), "the chunk has no lines of its images");
  std::string_view left(reinterpret_cast<const char*>(entry->bytes.data()), entry->bytes.size());
  const i64 begin = chunk * m.chunk_size, end = begin + file.at("images").shape[0];
  i64 position = begin;
  const auto fail = [&](const std::string& what) {
    bad_chunk(file.path(), text("line ", position - begin + 1, " of the chunk: ", what));
  };
  for (; !left.empty(); ++position) {
    const size_t size = left.find('\n');
    if (position == end) fail("there are more lines than images");
    if (size == left.npos) fail("it is truncated");
    const std::string_view line = left.substr(0, size);
    left.remove_prefix(size + 1);
    lines.check(line, position, fail);
    take(position, line);
  }
  if (position < end) fail("it is missing");
}

// All chunks mapped; none hands out a pixel before it is verified.
class ShardSource final : public Source {
 public:
  ShardSource(const std::filesystem::path& folder, ShardManifest m) : m_(std::move(m)) {
    const std::string settings = shard_settings_hash(m_);
    for (i64 chunk = 0; chunk < m_.chunks(); ++chunk) chunks_.emplace_back(open_chunk(folder, m_, settings, chunk));
  }
  i64 size() const override { return m_.images(); }
  i64 label(i64 i) const override { return m_.label(i); }
  Shape<3> shape() const override { return Shape(m_.height, m_.width, m_.channels); }
  bool resident() const override { return true; }
  Image image(i64 i) const override {
    const Chunk& chunk = chunks_[size_t(i / m_.chunk_size)];
    if (!chunk.verified.load(std::memory_order_acquire)) {
      const std::lock_guard one_at_a_time(chunk.mutex);
      if (!chunk.verified) verify_chunk(chunk.file);
      chunk.verified.store(true, std::memory_order_release);
    }
    return {chunk.pixels + i % m_.chunk_size * shape().size(), shape()};
  }

 private:
  struct Chunk {
    Safetensors file;
    const u8* pixels;
    mutable std::mutex mutex;
    mutable std::atomic<bool> verified = false;

    explicit Chunk(Safetensors opened)
        : file(std::move(opened)), pixels(reinterpret_cast<const u8*>(file.at("images").bytes.data())) {}
  };

  ShardManifest m_;
  std::deque<Chunk> chunks_;
};

// Throws where the folder was begun otherwise; the number of images may only grow.
inline void check_same_set(const ShardManifest& there, const ShardManifest& wanted, const std::filesystem::path& folder) {
  if (!there.lines && wanted.lines)
    throw Error("shard folder: the images that are there have no lines (manifest.jsonl), and the new ones would",
                {{"folder", folder.string()},
                 {"remedy",
                  "make the set in another folder, or go on with the program that began this one; where it is complete it "
                  "serves as a data set"}});
  auto a = shard_settings(there), b = shard_settings(wanted);
  for (auto* json : {&a, &b}) json->erase("lines");
  std::vector<ErrorLine> lines{{"folder", folder.string()}};
  for (const auto& [key, value] : a.items()) {
    if (value == b[key]) continue;
    if (key == "class_names")
      check_same_classes("shard folder: it was begun with other classes, or the same in another order", folder.string(),
                         there.class_names, "now", wanted.class_names);
    lines.push_back({key, "there " + value.dump() + ", now " + b[key].dump()});
  }
  if (there.lines && !wanted.lines) lines.push_back({"lines", "there one an image, now none"});
  if (there.lines && wanted.lines) {
    std::ranges::move(different_settings(there.lines->settings, wanted.lines->settings), std::back_inserter(lines));
    for (size_t c = 0; c < there.class_names.size() && lines.size() < 12; ++c) {
      const std::string whose = "class " + shown(there.class_names[c]);
      const auto differ = [&](const char* what, const std::string& old, const std::string& now) {
        if (old != now) lines.push_back({whose, text("there ", what, shown(old), ", now ", shown(now))});
      };
      differ("named ", there.lines->names[c], wanted.lines->names[c]);
      differ("with the prompts ", there.lines->shows[c], wanted.lines->shows[c]);
    }
  }
  if (lines.size() > 1) {
    lines.push_back({"remedy", "use the old settings to continue this set, or another folder for a new one"});
    throw Error("shard folder: it was begun with other settings", lines);
  }
  if (there.images_per_class > wanted.images_per_class)
    throw Error(
        text("shard folder: it is a set of ", there.images_per_class, " images a class, ", wanted.images_per_class,
             " were asked for; a set does not shrink"),
        {{"folder", folder.string()}, {"remedy", "ask for as many or more, use another folder, or take a subset when training"}});
}

inline void check_no_stray_chunks(const std::filesystem::path& folder) {
  if (std::filesystem::exists(chunk_path(folder, 0)))
    throw Error("shard folder: it has chunks but no dataset.json",
                {{"folder", folder.string()}, {"remedy", "restore dataset.json or use another folder"}});
}

// Of a set whose chunk is about to be written. Another process may have begun the set in the meantime, or let it grow further.
// The list of lines is no longer that of the set.
inline void write_manifest(const std::filesystem::path& folder, const ShardManifest& m) {
  const Turnstile turnstile(folder);
  bool begun = std::filesystem::exists(folder / "dataset.json");
  if (begun) {
    ShardManifest there = read_shard_manifest(folder);
    there.images_per_class = std::min(there.images_per_class, m.images_per_class);
    check_same_set(there, m, folder);
    begun = there.images_per_class == m.images_per_class;
  }
  if (m.lines) ::unlink((folder / "manifest.jsonl").c_str());
  if (!begun) write_file_atomic(folder / "dataset.json", to_json(m));
}

}  // namespace detail

MINDGAP_INLINE ShardManifest read_shard_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "dataset.json";
  const auto m =
      read_json<ShardManifest>(path, "dataset.json", "restore it as the sample command wrote it, or use another folder");
  detail::check_shard_manifest(m, path);
  return m;
}

MINDGAP_INLINE ShardWriter::ShardWriter(const std::filesystem::path& folder, const ShardManifest& manifest, i64 part, i64 parts)
    : folder_(folder), manifest_(manifest) {
  detail::check_part("shard folder", part, parts);
  detail::check_shard_manifest(manifest, folder / "dataset.json");
  settings_ = detail::shard_settings_hash(manifest);
  if (manifest.lines) lines_ = std::make_shared<detail::ImageLines>(manifest);
  made_.emplace_back(folder);
  {
    const detail::Turnstile turnstile(folder);
    lock_.push_back(detail::lock_part("shard folder", folder, part, parts));
    if (std::filesystem::exists(folder / "dataset.json")) detail::check_same_set(read_shard_manifest(folder), manifest, folder);
    else detail::check_no_stray_chunks(folder);
  }
  for (i64 chunk = part; chunk < manifest.chunks(); chunk += parts) {
    const i64 begin = chunk * manifest.chunk_size, end = std::min(begin + manifest.chunk_size, manifest.images());
    part_images_ += end - begin;
    i64 have = 0;
    if (std::filesystem::exists(detail::chunk_path(folder, chunk))) {
      const Safetensors file = detail::open_chunk(folder, manifest, settings_, chunk);
      detail::verify_chunk(file);
      if (lines_) detail::for_each_line(file, manifest, *lines_, chunk, [](i64, std::string_view) {});
      have = file.at("images").shape[0];
    }
    if (begin + have < end) pending_.push_back({chunk, begin + have, end});
  }
}

MINDGAP_INLINE i64 ShardWriter::pending_images() const {
  i64 count = 0;
  for (const PendingChunk& chunk : pending_) count += chunk.end - chunk.begin;
  return count;
}

MINDGAP_INLINE void ShardWriter::write(const PendingChunk& chunk, const Tensor<u8, 4, Cpu>& images, const std::string& plans,
                                       std::span<const Fields> fields) const {
  const ShardManifest& m = manifest_;
  if (const i64 wanted = lines_ ? chunk.end - chunk.begin : 0; i64(fields.size()) != wanted)
    throw Error(text("shard folder: chunk ", chunk.chunk, " wants the fields of ", wanted, " images, there are ", fields.size()));
  if (images.shape() != Shape(chunk.end - chunk.begin, m.height, m.width, m.channels))
    throw Error(text("shard folder: chunk ", chunk.chunk, " wants ", chunk.end - chunk.begin, " images"),
                {{"images", images.str()}});
  const i64 first = chunk.chunk * m.chunk_size, old = chunk.begin - first, count = chunk.end - first;
  Tensor<u8, 4, Cpu> all(Shape(count, m.height, m.width, m.channels));
  std::string lines;
  if (old > 0) {
    const Safetensors file = detail::open_chunk(folder_, m, settings_, chunk.chunk);
    detail::verify_chunk(file);
    std::memcpy(all.data(), file.at("images").bytes.data(), size_t(all.slice(0, old).bytes()));
    if (lines_)
      detail::for_each_line(file, m, *lines_, chunk.chunk, [&](i64, std::string_view line) { (lines += line) += '\n'; });
  }
  all.slice(old, count).copy_from(images);
  for (i64 i = 0; i < i64(fields.size()); ++i) {
    const i64 position = chunk.begin + i;
    lines_->check_own(fields[size_t(i)]);
    lines += lines_
                 ->line({i32(m.label(position)), i32(m.index(position))}, fields[size_t(i)],
                        sha256(detail::bytes_of(images.slice(i, i + 1))))
                 .line +
             "\n";
  }
  Tensor<i64, 1, Cpu> labels(Shape{count}), indices(Shape{count});
  for (i64 i = 0; i < count; ++i) labels.data()[i] = m.label(first + i), indices.data()[i] = m.index(first + i);
  const std::string hash =
      Sha256().update(detail::bytes_of(all)).update(detail::bytes_of(labels)).update(detail::bytes_of(indices)).hex();
  detail::write_manifest(folder_, m);
  Metadata metadata{{"sha256", hash}, {"settings", settings_}};
  if (!plans.empty()) metadata["plans"] = plans;
  std::vector<SafetensorsSource> sources{safetensors_source("images", all), safetensors_source("labels", labels),
                                         safetensors_source("indices", indices)};
  if (lines_) sources.push_back({"lines", DType::u8, {i64(lines.size())}, std::as_bytes(std::span(lines))});
  write_safetensors(detail::chunk_path(folder_, chunk.chunk), std::move(sources), metadata);
}

MINDGAP_INLINE void ShardWriter::finish() const {
  if (!lines_) return;
  const ShardManifest& m = manifest_;
  const detail::Turnstile turnstile(folder_);
  const std::filesystem::path path = folder_ / "manifest.jsonl";
  if (!std::filesystem::exists(folder_ / "dataset.json")) return;
  if (read_shard_manifest(folder_) != m) return;  // the set has grown: another part's business
  for (i64 chunk = 0; chunk < m.chunks(); ++chunk)
    if (!std::filesystem::exists(detail::chunk_path(folder_, chunk))) return;
  detail::LinesFile all(path);
  for (i64 chunk = 0; chunk < m.chunks(); ++chunk) {
    const Safetensors file = detail::open_chunk(folder_, m, settings_, chunk);
    if (file.at("images").shape[0] < std::min(m.chunk_size, m.images() - chunk * m.chunk_size)) return;
    std::string lines;
    detail::for_each_line(file, m, *lines_, chunk, [&](i64, std::string_view line) { (lines += line) += '\n'; });
    all.add(lines);
  }
  all.commit();
}

namespace detail {

MINDGAP_INLINE std::string shard_line(const std::filesystem::path& folder, const ShardManifest& m, const ImageLines& lines,
                                      const ImageNumber& number) {
  const i64 position = number.index * m.classes() + number.label, chunk = position / m.chunk_size;
  if (!std::filesystem::exists(chunk_path(folder, chunk))) return {};
  const Safetensors file = open_chunk(folder, m, shard_settings_hash(m), chunk);
  std::string found;
  for_each_line(file, m, lines, chunk, [&](i64 at, std::string_view line) {
    if (at == position) found = line;
  });
  if (found.empty()) return {};
  const i64 place = position % m.chunk_size, bytes = m.height * m.width * m.channels;
  const auto pixels = file.at("images").bytes.subspan(size_t(place * bytes), size_t(bytes));
  if (sha256({reinterpret_cast<const char*>(pixels.data()), pixels.size()}) != ImageLines::sha256(found))
    bad_chunk(file.path(), text("the image at place ", place, " has other pixels than its line says"));
  return found;
}

}  // namespace detail

MINDGAP_INLINE Dataset read_shard_folder(const std::filesystem::path& folder) {
  const ShardManifest m = read_shard_manifest(folder);
  const auto end_of = [&](i64 chunk) { return std::min((chunk + 1) * m.chunk_size, m.images()); };
  // Only files that are there are opened: a manifest may promise millions.
  std::set<i64> whole;
  for (i64 chunk : detail::chunks_in(folder)) {
    const i64 wanted = chunk < m.chunks() ? end_of(chunk) - chunk * m.chunk_size : 0, there = detail::chunk_images(folder, chunk);
    if (there > wanted)
      throw Error(text("shard folder: a chunk has ", there, " images, by dataset.json it has ", wanted),
                  {{"file", detail::chunk_path(folder, chunk).string()},
                   {"set", text(m.images_per_class, " images of each of ", m.classes(), " classes, ", m.chunks(), " chunks")},
                   {"remedy", "restore the folder's dataset.json, or move a chunk of another set away"}});
    if (there == wanted) whole.insert(chunk);
  }
  if (const i64 missing = m.chunks() - i64(whole.size())) {
    std::string names;
    i64 named = 0;
    for (i64 chunk = 0; named < std::min<i64>(missing, 8); ++chunk)
      if (!whole.contains(chunk)) names += (named++ ? ", " : "") + detail::chunk_path(folder, chunk).filename().string();
    throw Error(text("shard folder: the set is not complete: ", missing, " of ", m.chunks(), " chunks are missing or short"),
                {{"folder", folder.string()},
                 {"wanted", text(m.images_per_class, " images of each of ", m.classes(), " classes")},
                 {"chunks", names + (missing > named ? text(" and ", missing - named, " more") : "")},
                 {"remedy", "run the sample command again with the same --out: it continues where it stopped"}});
  }

  std::string settings;
  if (m.lines)
    for (const auto& [key, value] : m.lines->settings) settings += ", " + key + " " + field_text(value);
  const Dataset out(
      std::make_shared<detail::ShardSource>(folder, m), m.class_names,
      std::filesystem::absolute(folder / "").parent_path().filename().string(),
      text("synthetic images, generator ", m.generator.substr(0, 12), ", ", m.sampler, ", ", m.steps, " steps, guidance ",
           m.guidance, ", seed ", m.seed, ", ", m.precision, ", mindgap ", m.program_version, settings));
  check_dataset(out, folder);
  return out;
}

}  // namespace mindgap
