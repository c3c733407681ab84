// The autotune cache: which of the ways that a library proposes for a call this card runs fastest. A plan is chosen once, by
// timing, and is then the same in every later run, which makes runs equal bit by bit and their starts quick.
//
// An entry is a key (call, types and extents as text) and a place in the library's list, which depends on nothing but the
// versions and the card. So the text of a table begins with these, and a table of others is refused:
//
//   card NVIDIA H100 80GB HBM3, cudnn 9.19.0, cublas 13.1.0
//   3 forward bf16 full 256 56 56 64 64 3 3 1 1 1 1
//
// A program finds its table in autotune_cache_file(), read before the first plan is looked for; save_autotune_cache() puts what
// was added there.
#pragma once

#include <mindgap/core/config.hpp>
#include <mindgap/core/dtype.hpp>
#include <mindgap/cuda/scratch.hpp>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mindgap::cuda {

// Of the libraries that this program runs with: "9.19.0", "13.1.0".
std::string cudnn_version();
std::string cublas_version();

// The file for this card and these versions, in the folder $MINDGAP_AUTOTUNE_CACHE (or, as it was once called, $MINDGAP_PLANS),
// else $XDG_CACHE_HOME/mindgap/plans, else ~/.cache/mindgap/plans. Empty where none of them is set.
std::filesystem::path autotune_cache_file();
// Adds the plans that this process chose to autotune_cache_file(), under a lock; of two processes that chose for one key, the
// first to save is right. Writes nothing if nothing was chosen. An app calls it after its first step and before it ends.
void save_autotune_cache();

// Which of several ways to one end takes the least time: as the cache says of `name`, else by timing them all. A way queues its
// work and says whether there is such a way; there always is the last one.
int autotune(Stream stream, const std::string& name, const std::vector<std::function<bool()>>& ways);

// The known plans, sorted, under the line that names card and versions.
std::string autotune_cache();
// Takes the plans of a table that was made on this card with these versions; of another one nothing. Returns how many.
i64 read_autotune_cache(const std::string& table);

// The first 16 digits of the SHA-256 of the plans used since begin_plan_use(), or since the program began; they and the inputs
// determine the bits of what was done since. Empty where none was used. A captured step counts when it is captured. For
// manifests and rows of results, once the work is done.
void begin_plan_use();
std::string plan_hash();

namespace detail {

// Where in the library's list the plan of this key is, if that is known.
std::optional<int> known_place(const std::string& key);
// A choice by timing; for this process alone, or for later ones too.
void keep_place(const std::string& key, int place, bool for_good);
// The plan of this key, which is known or kept, has been run.
void note_use(const std::string& key);
// While one lives, plans are run to be timed, which is no use of them.
struct OnlyTiming {
  OnlyTiming();
  ~OnlyTiming();
  OnlyTiming(const OnlyTiming&) = delete;
  OnlyTiming& operator=(const OnlyTiming&) = delete;
};

// Throws while a graph is captured, since `what` (making a plan, say) waits and allocates.
void refuse_while_capturing(Stream stream, const std::string& what);

}  // namespace detail
}  // namespace mindgap::cuda

#if !defined(MINDGAP_GLUE)
#include <mindgap/cuda/autotune_cache.ipp>
#endif
