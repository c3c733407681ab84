// Bodies of safetensors.hpp: the mapping, the JSON header and its checks.
#pragma once

#include <mindgap/io/elements.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/json.hpp>
#include <mindgap/io/numbers.hpp>
#include <mindgap/io/safetensors.hpp>
#include <mindgap/io/text_file.hpp>

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <set>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mindgap {

namespace detail {

struct SafetensorsType {
  std::string_view name;
  i64 bytes;
};
inline constexpr SafetensorsType safetensors_types[] = {
    {"F32", 4}, {"BF16", 2}, {"F16", 2}, {"U8", 1},  {"I32", 4},  {"I64", 8}, {"F64", 8},     {"I16", 2},
    {"I8", 1},  {"U16", 2},  {"U32", 4}, {"U64", 8}, {"BOOL", 1}, {"C64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};

MINDGAP_INLINE std::string extents_str(const std::vector<i64>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) (out += i ? ", " : "") += std::to_string(shape[i]);
  return out + "]";
}

// A tensor as the header has it.
struct SafetensorsRecord {
  std::string dtype;
  std::vector<i64> shape;
  std::array<i64, 2> data_offsets{};
};

struct SafetensorsIndex {
  std::map<std::string, std::string> weight_map;  // the file of each tensor
};

}  // namespace detail

template <class V>
void visit_fields(V& visit, detail::SafetensorsRecord& r) {
  visit.need("dtype", r.dtype);
  visit.need("shape", r.shape, {.least = 0});
  visit.need("data_offsets", r.data_offsets, {.least = 0});
  visit.ignore({"*"});
}

template <class V>
void visit_fields(V& visit, detail::SafetensorsIndex& index) {
  visit.need("weight_map", index.weight_map);
  visit.ignore({"*"});
}

namespace detail {

// The checks of one file; every complaint carries its name.
class SafetensorsParser {
 public:
  SafetensorsParser(const std::filesystem::path& path, std::string_view file) : path_(path), file_(file) {}

  void parse(std::vector<SafetensorsEntry>& entries, Metadata& metadata) const {
    recognise_strangers();
    if (file_.size() < 8)
      fail(text("the file has ", file_.size(), " bytes, a header length alone has 8"), "download or copy it again");
    u64 length = 0;
    for (int i = 7; i >= 0; --i) length = length << 8 | u8(file_[size_t(i)]);
    if (length > 100'000'000)
      fail(text("the header claims ", length, " bytes; more than 100,000,000 are refused"),
           "check that this is a safetensors file");
    if (length > file_.size() - 8)
      fail(text("the header claims ", length, " bytes, the file has ", file_.size() - 8, " after the length"),
           "the file is truncated: download or copy it again");
    const std::string_view header = file_.substr(8, size_t(length)), data = file_.substr(8 + size_t(length));
    if (!header.starts_with('{')) fail("the header is not a JSON object");
    JsonProblems problems({"safetensors: the header", path_.string(), "write or convert the file again"});
    std::vector<std::pair<std::string, SafetensorsRecord>> records;
    const nlohmann::json root = parse_json(header, problems);
    for (const auto& [name, value] : root.items()) {
      if (name == "__metadata__") JsonReader::read(value, name, metadata, {}, problems);
      else JsonReader::read(value, "tensor " + shown(name), records.emplace_back(name, SafetensorsRecord()).second, {}, problems);
    }
    problems.throw_any();
    for (const auto& [name, record] : records) entries.push_back(read_entry(name, record, data));
    check_ranges(entries, data);
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  }

 private:
  [[noreturn]] void fail(const std::string& what, const std::string& remedy = "write or convert the file again") const {
    throw Error("safetensors: " + what, {{"file", path_.string()}, {"remedy", remedy}});
  }

  void recognise_strangers() const {
    if (const auto other = stranger(file_)) fail(other->what, other->remedy);
    if (file_.starts_with("{\"") || file_.starts_with("[{"))  // as the length of a header these are 2.5 and 8.8 billion GB
      fail("this is JSON (a server's answer?), not weights", "open it to see what it says, then download the file itself");
    if (file_.starts_with("PK\x03\x04") || file_.starts_with("\x80\x02"))
      fail("this is a PyTorch checkpoint (zip or pickle), not safetensors",
           "convert it in Python: safetensors.torch.save_file(torch.load(PATH), NEW_PATH)");
  }

  SafetensorsEntry read_entry(const std::string& name, const SafetensorsRecord& record, std::string_view data) const {
    const auto& [dtype, shape, offsets] = record;
    const auto* known = std::ranges::find(safetensors_types, dtype, &SafetensorsType::name);
    if (known == std::end(safetensors_types)) fail(text("tensor ", shown(name), " has the unknown type ", shown(dtype)));
    i64 bytes = known->bytes;
    for (i64 extent : shape)
      if (__builtin_mul_overflow(bytes, extent, &bytes))
        fail(text("tensor ", shown(name), ": the product of its shape does not fit 63 bits"));
    const auto [begin, end] = offsets;
    if (begin > end) fail(text("tensor ", shown(name), ": its range [", begin, ", ", end, ") ends before it begins"));
    if (end - begin != bytes)
      fail(text("tensor ", shown(name), ": ", dtype, " ", extents_str(shape), " has ", bytes, " bytes, its range [", begin, ", ",
                end, ") has ", end - begin));
    if (u64(end) > data.size())
      fail(text("tensor ", shown(name), " ends at byte ", end, " of the data, the file has ", data.size(), " bytes of data"),
           "the file is truncated: download or copy it again");
    return {name, dtype, shape, {reinterpret_cast<const std::byte*>(data.data()) + begin, size_t(bytes)}, path_.string()};
  }

  // Sorted by position, ranges must follow each other without overlap or hole and end with the file.
  void check_ranges(std::vector<SafetensorsEntry>& entries, std::string_view data) const {
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
    });
    const std::byte* start = reinterpret_cast<const std::byte*>(data.data());
    i64 reached = 0;
    for (const SafetensorsEntry& entry : entries) {
      const i64 begin = entry.bytes.data() - start;
      if (begin < reached)
        fail(text("tensor ", shown(entry.name), " overlaps another: it begins at byte ", begin, ", before ", reached));
      if (begin > reached)
        fail(text("bytes ", reached, " to ", begin, " of the data, before tensor ", shown(entry.name), ", belong to no tensor"));
      reached += i64(entry.bytes.size());
    }
    if (u64(reached) != data.size())
      fail(text("the tensors have ", reached, " bytes, the file has ", data.size(),
                " bytes of data: ", data.size() - u64(reached), " too many"),
           "the file was appended to or its header is wrong: download or copy it again");
  }

  const std::filesystem::path& path_;
  std::string_view file_;
};

}  // namespace detail

MINDGAP_INLINE std::string SafetensorsEntry::shape_str() const { return detail::extents_str(shape); }

MINDGAP_INLINE DType SafetensorsEntry::dtype() const {
  static_assert(int(DType::f32) == 0 && int(DType::i64) == 5);  // the order of safetensors_types
  for (int i = 0; i <= int(DType::i64); ++i)
    if (type == detail::safetensors_types[i].name) return DType(i);
  throw Error(text("safetensors: tensor ", detail::shown(name), " has the type ", type, ", which mindgap does not compute in"),
              {{"file", file}, {"remedy", "convert it to F32, BF16, F16, U8, I32 or I64"}});
}

MINDGAP_INLINE Safetensors::Safetensors(const std::filesystem::path& path) : path_(path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) detail::file_error("safetensors: cannot read the file", path, errno);
  if (!S_ISREG(info.st_mode))
    throw Error("safetensors: this is not a regular file",
                {{"file", path.string()}, {"remedy", "name the .safetensors file itself"}});
  const detail::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file || ::fstat(file.get(), &info) != 0) detail::file_error("safetensors: cannot read the file", path, errno);
  const size_t size = size_t(info.st_size);
  if (size) {
    void* start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (start == MAP_FAILED) detail::file_error("safetensors: cannot map the file", path, errno);
    mapping_ = std::shared_ptr<const void>(start, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  }
  detail::SafetensorsParser(path_, {static_cast<const char*>(mapping_.get()), size}).parse(entries_, metadata_);
}

MINDGAP_INLINE const SafetensorsEntry* Safetensors::find(std::string_view name) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), name,
                                   [](const auto& entry, std::string_view n) { return entry.name < n; });
  return at != entries_.end() && at->name == name ? &*at : nullptr;
}

MINDGAP_INLINE const SafetensorsEntry& Safetensors::at(std::string_view name) const {
  if (const SafetensorsEntry* entry = find(name)) return *entry;
  std::string names;
  for (size_t i = 0; i < entries_.size() && i < 8; ++i) (names += i ? ", " : "") += detail::shown(entries_[i].name);
  if (entries_.size() > 8) names += text(", and ", entries_.size() - 8, " more");
  throw Error(text("safetensors: the file has no tensor ", detail::shown(name)),
              {{"file", path_.string()},
               {"has", names.empty() ? "no tensors" : names},
               {"remedy", "check that it is the file that is meant, or restore it as the program wrote it"}});
}

MINDGAP_INLINE const std::string& Safetensors::metadata_at(const std::string& key) const {
  if (const auto at = metadata_.find(key); at != metadata_.end()) return at->second;
  throw Error(text("safetensors: the file's metadata lacks ", detail::shown(key)),
              {{"file", path_.string()}, {"remedy", "remove the file, or restore it as the program wrote it"}});
}

MINDGAP_INLINE i64 Safetensors::metadata_number(const std::string& key, i64 least, i64 most, const std::string& remedy) const {
  const std::string& value = metadata_at(key);
  const auto number = number_in<i64>(value);
  if (!number || *number < least || *number > most)
    throw Error(text("safetensors: ", detail::shown(key), " of the file's metadata is ", detail::shown(value)),
                {{"file", path_.string()}, {"wanted", text("a whole number from ", least, " to ", most)}, {"remedy", remedy}});
  return *number;
}

MINDGAP_INLINE std::vector<std::filesystem::path> safetensors_files(const std::filesystem::path& path) {
  if (path.extension() != ".json") return {path};
  const std::string what = "safetensors: the index", remedy = "download or copy it again, with all of its files";
  std::set<std::filesystem::path> files;
  for (const auto& [tensor, name] : read_json<detail::SafetensorsIndex>(path, what, remedy).weight_map) {
    const auto file = path.parent_path() / name;
    if (std::filesystem::path(name).filename() != name || !std::filesystem::exists(file))
      throw Error(text(what, " names the file ", detail::shown(name), ", which is not beside it"),
                  {{"file", path.string()}, {"tensor", detail::shown(tensor)}, {"remedy", remedy}});
    files.insert(file);
  }
  if (files.empty()) throw Error(what + " names no file", {{"file", path.string()}, {"remedy", remedy}});
  return {files.begin(), files.end()};
}

namespace detail {

// What a name has between a start and an end.
inline std::optional<std::string> between(std::string_view name, std::string_view start, std::string_view end) {
  if (name.size() < start.size() + end.size() || !name.starts_with(start) || !name.ends_with(end)) return {};
  return std::string(name.substr(start.size(), name.size() - start.size() - end.size()));
}

}  // namespace detail

MINDGAP_INLINE std::filesystem::path stored_weights(const std::filesystem::path& folder, const std::string& stem,
                                                    const std::string& model_class) {
  // Of each variant, "" or ".fp16", the files that stand for all of the weights: one that holds them, or an index.
  std::map<std::string, std::vector<std::filesystem::path>> variants;
  // PyTorch's own: transformers calls the file of model.safetensors pytorch_model.bin.
  const std::string bin_stem = stem == "model" ? "pytorch_model" : stem;
  bool bin = false, plain_bin = false;
  std::error_code error;
  const std::filesystem::directory_iterator entries(folder, error);
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory)
    detail::file_error("cannot read the folder", folder, error.value());
  for (const auto& entry : entries) {
    const std::string name = entry.path().filename().string();
    auto variant = detail::between(name, stem, ".safetensors");
    if (variant && variant->find("-of-") != variant->npos) continue;  // one of several
    if (!variant) variant = detail::between(name, stem + ".safetensors.index", ".json");
    if (variant && (variant->empty() || variant->starts_with('.'))) variants[*variant].push_back(entry.path());
    if (const auto part = detail::between(name, bin_stem, ".bin")) bin = true, plain_bin |= !part->starts_with('.');
  }
  // diffusers takes the weights without a variant, of these safetensors before .bin.
  if (variants.contains("")) std::erase_if(variants, [](const auto& item) { return !item.first.empty(); });
  else if (plain_bin || (bin && variants.empty()))
    throw Error("the weights are PyTorch's .bin, which is not read",
                {{"folder", folder.string()},
                 {"remedy", text("convert them in Python: ", model_class, ".from_pretrained(\"", folder.string(),
                                 "\").save_pretrained(\"", folder.string(), "\", safe_serialization=True)")}});
  std::vector<std::filesystem::path> found;
  for (const auto& [variant, files] : variants) found.insert(found.end(), files.begin(), files.end());
  if (found.size() > 1) {
    std::vector<ErrorLine> lines;
    for (const auto& file : found) lines.push_back({"file", file.string()});
    lines.push_back({"remedy", "keep the one that is meant, or name it " + stem + ".safetensors"});
    throw Error("the folder has its weights more than once", lines);
  }
  return found.empty() ? std::filesystem::path() : found[0];
}

MINDGAP_INLINE void release_pages(const SafetensorsEntry& entry) {
  const size_t page = size_t(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(entry.bytes.data()) + page - 1) / page * page,
             end = reinterpret_cast<uintptr_t>(entry.bytes.data() + entry.bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // advice: it may fail
}

MINDGAP_INLINE void read_f32(const SafetensorsEntry& entry, float* out) {
  const DType type = entry.dtype();
  if (type != DType::f32 && type != DType::bf16 && type != DType::f16)
    throw Error(text("safetensors: tensor ", detail::shown(entry.name), " is ", entry.type, ", wanted floating-point elements"),
                {{"file", entry.file}, {"remedy", "convert it to F32, BF16 or F16"}});
  transpose_elements(out, DType::f32, entry.bytes.data(), type, 1, 1, entry.size());
}

MINDGAP_INLINE void check_finite(std::span<const SafetensorsEntry> entries, const std::filesystem::path& file,
                                 const std::function<bool(std::string_view)>& is_read) {
  std::vector<ErrorLine> lines{{"file", file.string()}};
  i64 bad = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (!is_read(entry.name)) continue;
    const NonFinite count = count_non_finite(entry.bytes, entry.type);
    release_pages(entry);
    if (count.nan + count.infinite == 0) continue;
    if (++bad <= 8)
      lines.push_back(
          {"tensor", text(detail::shown(entry.name), ": ", count.nan, " NaN, ", count.infinite, " infinite of ", entry.size())});
  }
  if (!bad) return;
  if (bad > 8) lines.push_back({"tensor", text("and ", bad - 8, " more")});
  lines.push_back(
      {"remedy", "the training that wrote it diverged, or a conversion to half precision overflowed: use another checkpoint"});
  throw Error(text("safetensors: ", bad, bad == 1 ? " tensor has" : " tensors have", " elements that are NaN or infinite"),
              lines);
}

MINDGAP_INLINE void write_safetensors(const std::filesystem::path& path, std::vector<SafetensorsSource> tensors,
                                      const Metadata& metadata) {
  const auto fail = [&](const std::string& what) -> void { throw Error("safetensors: " + what, {{"file", path.string()}}); };
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(-bytes(a.dtype), std::string_view(a.name)) < std::pair(-bytes(b.dtype), std::string_view(b.name));
  });
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::vector<std::string_view> pieces{{}, {}};
  i64 offset = 0;
  for (const SafetensorsSource& tensor : tensors) {
    const i64 size = i64(tensor.bytes.size());
    i64 wanted = bytes(tensor.dtype);
    for (i64 extent : tensor.shape)
      if (extent < 0 || __builtin_mul_overflow(wanted, extent, &wanted))
        fail(text("tensor ", detail::shown(tensor.name), ": no tensor has the shape ", detail::extents_str(tensor.shape)));
    if (wanted != size)
      fail(text("tensor ", detail::shown(tensor.name), ": ", size, " bytes given, ", name(tensor.dtype), " ",
                detail::extents_str(tensor.shape), " has ", wanted));
    if (tensor.name == "__metadata__" || header.contains(tensor.name))
      fail(text("the name ", detail::shown(tensor.name), tensor.name == "__metadata__" ? " is reserved" : " is given twice"));
    header[tensor.name] = {{"dtype", std::string(detail::safetensors_types[int(tensor.dtype)].name)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + size}}};
    offset += size;
    pieces.emplace_back(reinterpret_cast<const char*>(tensor.bytes.data()), size_t(size));
  }
  std::string json;
  try {
    json = header.dump();
  } catch (const nlohmann::json::exception&) {
    fail("a tensor name or a metadata text is not valid UTF-8");
  }
  json.resize((json.size() + 7) / 8 * 8, ' ');
  char length[8];
  for (int i = 0; i < 8; ++i) length[i] = char(u64(json.size()) >> (8 * i));
  pieces[0] = {length, 8};
  pieces[1] = json;
  write_file_atomic(path, pieces);
}

}  // namespace mindgap
