// Bodies of autotune_cache.hpp.
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/cuda/autotune_cache.hpp>
#include <mindgap/cuda/timing.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/hash.hpp>

#include <cctype>
#include <cstdlib>
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <map>
#include <mutex>
#include <set>
#include <sstream>

namespace mindgap::cuda {

MINDGAP_INLINE std::string cudnn_version() {
  const size_t v = cudnnGetVersion();
  return text(v / 10000, ".", v / 100 % 100, ".", v % 100);
}

MINDGAP_INLINE std::string cublas_version() {
  int major = 0, minor = 0, patch = 0;
  cublasGetProperty(MAJOR_VERSION, &major);
  cublasGetProperty(MINOR_VERSION, &minor);
  cublasGetProperty(PATCH_LEVEL, &patch);
  return text(major, ".", minor, ".", patch);
}

namespace detail {

using Places = std::map<std::string, int>;

struct AutotuneCache {
  std::mutex mutex;
  Places places;
  std::set<std::string> used, passing;  // passing: for this process alone
  bool read = false, changed = false;
  int timings = 0;  // that are under way: what they run is not used
};
inline AutotuneCache& table() {
  static auto* t = new AutotuneCache;
  return *t;
}

// Asked once: a GPU that has failed does not answer.
inline const std::string& card() {
  static const std::string name = []() -> std::string {
    cudaDeviceProp properties{};
    const bool found = cudaGetDeviceProperties(&properties, 0) == cudaSuccess;
    cudaGetLastError();
    return found ? properties.name : "no GPU";
  }();
  return name;
}

// What the places depend on.
inline std::string table_header() { return text("card ", card(), ", cudnn ", cudnn_version(), ", cublas ", cublas_version()); }

inline std::string table_text(const Places& places) {
  std::string out = table_header() + "\n";
  for (const auto& [key, place] : places) out += text(place, " ", key, "\n");
  return out;
}

// The entries of a table; nothing if it was made on another card or with other versions. Lines of no sense are passed over.
inline std::optional<Places> parse_table(const std::string& table) {
  std::istringstream lines(table);
  std::string line;
  if (!std::getline(lines, line) || line != table_header()) return std::nullopt;
  Places places;
  while (std::getline(lines, line)) {
    const size_t space = line.find(' ');
    if (space == line.npos || space == 0 || space > 4 || line.find_first_not_of("0123456789") != space) continue;
    places[line.substr(space + 1)] = std::stoi(line.substr(0, space));
  }
  return places;
}

inline Places read_autotune_cache_file(const std::filesystem::path& path) {
  if (path.empty() || !std::filesystem::exists(path)) return {};
  const std::string table = read_file(path);
  if (auto places = parse_table(table)) return *places;
  throw Error("cuda: the autotune cache is of another card or of other versions",
              {{"file", path.string()},
               {"it is of", table.substr(0, table.find('\n'))},
               {"here is", table_header()},
               {"remedy", "remove the file, or let MINDGAP_AUTOTUNE_CACHE name another folder"}});
}

// Waits until no other process holds the lock.
class Turn {
 public:
  explicit Turn(std::filesystem::path path) : path_(std::move(path)), file_(mindgap::detail::open_locked(path_, true)) {}
  ~Turn() { ::unlink(path_.c_str()); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::filesystem::path path_;
  mindgap::detail::Descriptor file_;
};

// With the mutex held.
inline void read_once(AutotuneCache& t) {
  if (t.read) return;
  t.places.merge(read_autotune_cache_file(autotune_cache_file()));
  t.read = true;
}

MINDGAP_INLINE std::optional<int> known_place(const std::string& key) {
  AutotuneCache& t = table();
  std::lock_guard lock(t.mutex);
  read_once(t);
  const auto found = t.places.find(key);
  return found == t.places.end() ? std::nullopt : std::optional(found->second);
}

MINDGAP_INLINE void keep_place(const std::string& key, int place, bool for_good) {
  AutotuneCache& t = table();
  std::lock_guard lock(t.mutex);
  t.places[key] = place;
  if (for_good) t.changed = true;
  else t.passing.insert(key);
}

MINDGAP_INLINE void note_use(const std::string& key) {
  AutotuneCache& t = table();
  std::lock_guard lock(t.mutex);
  if (t.timings) return;
  t.used.insert(key);
  noted_plan() = text(key.substr(0, key.find(' ')), " ", t.places.at(key));
}

MINDGAP_INLINE OnlyTiming::OnlyTiming() {
  std::lock_guard lock(table().mutex);
  ++table().timings;
}
MINDGAP_INLINE OnlyTiming::~OnlyTiming() {
  std::lock_guard lock(table().mutex);
  --table().timings;
}

MINDGAP_INLINE void refuse_while_capturing(Stream stream, const std::string& what) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (cudaStreamIsCapturing(stream, &status) != cudaSuccess || status == cudaStreamCaptureStatusNone) return;
  throw Error("cuda: " + what + " while a graph is captured", {{"remedy", "run the step once before it is captured"}});
}

}  // namespace detail

MINDGAP_INLINE std::filesystem::path autotune_cache_file() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value ? value : "";
  };
  std::filesystem::path folder = variable("MINDGAP_AUTOTUNE_CACHE"), cache = variable("XDG_CACHE_HOME");
  if (folder.empty()) folder = variable("MINDGAP_PLANS");
  if (const std::string home = variable("HOME"); cache.empty() && !home.empty()) cache = std::filesystem::path(home) / ".cache";
  if (folder.empty() && !cache.empty()) folder = cache / "mindgap" / "plans";
  if (folder.empty()) return {};
  std::string name = text(detail::card(), " cudnn ", cudnn_version(), " cublas ", cublas_version());
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.') c = '-';
  return folder / (name + ".txt");
}

MINDGAP_INLINE void save_autotune_cache() {
  detail::AutotuneCache& t = detail::table();
  std::lock_guard lock(t.mutex);
  const std::filesystem::path path = autotune_cache_file();
  if (!t.changed || path.empty()) return;
  make_folder(path.parent_path());
  const detail::Turn turn(path.string() + ".lock");
  detail::Places all = detail::read_autotune_cache_file(path);  // another process may have written since this one read
  for (const auto& entry : t.places)
    if (!t.passing.count(entry.first)) all.insert(entry);
  write_file_atomic(path, detail::table_text(all));
  t.changed = false;
}

MINDGAP_INLINE int autotune(Stream stream, const std::string& name, const std::vector<std::function<bool()>>& ways) {
  const int place = detail::chosen_way(stream, name, [&](const detail::TimingMemory&) {
    int best = int(ways.size()) - 1;
    float least = std::numeric_limits<float>::infinity();
    for (int way = 0; way < int(ways.size()); ++way) {
      const float ms = detail::least_time(stream, [&] {
        bool taken = false;
        try {
          taken = ways[size_t(way)]();
        } catch (const DeviceError&) {
          throw;
        } catch (const Error&) {  // the library refuses it
        }
        if (!taken) throw detail::LibraryFailure();
      });
      if (ms < least) least = ms, best = way;
    }
    return best;
  });
  return std::min(place, int(ways.size()) - 1);
}

MINDGAP_INLINE std::string autotune_cache() {
  std::lock_guard lock(detail::table().mutex);
  return detail::table_text(detail::table().places);
}

MINDGAP_INLINE i64 read_autotune_cache(const std::string& table) {
  const auto places = detail::parse_table(table);
  if (!places) return 0;
  std::lock_guard lock(detail::table().mutex);
  for (const auto& [key, place] : *places) detail::table().places[key] = place;
  return i64(places->size());
}

MINDGAP_INLINE void begin_plan_use() {
  detail::AutotuneCache& t = detail::table();
  std::lock_guard lock(t.mutex);
  t.used.clear();
}

MINDGAP_INLINE std::string plan_hash() {
  detail::AutotuneCache& t = detail::table();
  std::lock_guard lock(t.mutex);
  if (t.used.empty()) return "";
  detail::Places used;
  for (const std::string& key : t.used) used[key] = t.places.at(key);
  return sha256(detail::table_text(used)).substr(0, 16);
}

}  // namespace mindgap::cuda
