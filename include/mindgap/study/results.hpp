// The results of a study: one row a run, a CSV file that survives a kill, and means with intervals over seeds.
//
//   results.csv   RFC 4180: a header line, then a row a run, sorted by what defines the run, so that the same study
//                 gives the same file but for `seconds`, in whatever order and after however many restarts it ran.
//                 Outcomes have six decimals (seconds: one), what defines a run has all its digits. Fields with comma, quote or
//                 line end are quoted; UTF-8.
//   study.json    the configuration as run, the environment, the summary of the rows, and what is compared with what
//
// The file is rewritten atomically with every row (a study has hundreds of rows, not millions). A last line without its
// line end, which only another writer can leave, is dropped while loading: that run is repeated.
//
// Recovered = mean of (accuracy - S) over mean of (R - S), with R and S the E0 rows of the same seeds, measured on the same
// images.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/study/statistics.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mindgap {

// The split of E3's student R that is trained for as many steps as a network with a frozen prefix has had in all.
inline constexpr const char* twice_the_steps = "twice the steps";

// One run. Everything before `top1`, with device, precision and version, defines the run; the rest is its outcome.
struct Row {
  std::string experiment;  // "E0" to "E6", "E10"
  std::string direction;   // "R", "S", "S->R", "R->S", "S->S", "R->R"
  std::string split;       // E1 to E3: the last frozen unit or group ("R" of E3: twice_the_steps); E5: recipe; E6: normalisation
  i64 frozen_units = 0;    // number of frozen units, counted from the input
  std::string policy;      // statistics of frozen batch norms: "frozen", "live", "reestimated"
  std::string suffix_start;  // "reinitialise" or "continue"
  i64 real_count = 0;        // training images
  i64 synthetic_count = 0;
  // How the synthetic images were made, where the run or what it started from has seen any.
  std::string sampler;
  i64 sampling_steps = 0;
  double guidance = 0;
  u64 sampling_seed = 0;
  i64 generator_images = 0;          // labelled real images that the generator was trained on; 0: not recorded
  std::string measured_on = "test";  // or "held-out": the tenth of the training split that serves choices
  i64 measured_count = 0;            // images of it
  u64 seed = 0;
  i64 steps = 0;         // of the optimizer in this run,
  i64 steps_before = 0;  // and in the one that it started from
  double top1 = 0;       // fractions of the images that it was measured on, 0 to 1
  double top5 = 0;
  double loss = 0;     // cross-entropy on them, nats
  double seconds = 0;  // wall clock of this run; of no consequence for anything else
  std::string device = "cpu";
  std::string precision = "f32";
  std::string plans;  // on a GPU: the hash of the plans that the run used (cuda/autotune_cache.hpp); an outcome, as accuracy is
  std::string version = mindgap::version;

  // True when both describe the same run, whatever its outcome.
  bool same_run(const Row& other) const;
};

// results.csv as text; the rows come out in their canonical order.
std::string to_csv(std::vector<Row> rows);

struct ParsedRows {
  std::vector<Row> rows;
  bool torn = false;  // the last line had no line end and was dropped
};
// Throws when the header differs, a field does not parse or is out of its range, or a run is there twice; `file` is named in the
// message with the line.
ParsedRows parse_csv(const std::string& bytes, const std::string& file);

// results.csv on disk and in memory. One process at a time (FileLock on the study's folder).
class ResultsTable {
 public:
  // Loads the file when it exists.
  explicit ResultsTable(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  const std::vector<Row>& rows() const { return rows_; }
  // True when the file ended in an unfinished line, which was dropped.
  bool torn() const { return torn_; }
  // The finished run that `run` describes, its outcome ignored; null when it has to be run. Valid until the next append.
  const Row* find(const Row& run) const;
  // Adds a finished run and writes the file; when this returns, the row is on the disk. Throws for a run that is there.
  void append(Row row);

 private:
  std::filesystem::path path_;
  std::vector<Row> rows_;
  bool torn_ = false;
};

// The E0 row of direction "R" or "S" with this seed; null when it is missing.
const Row* baseline(const std::vector<Row>& rows, const std::string& direction, u64 seed);

// The rows that one program made: what another device, precision or version computed is compared with none of them.
std::vector<Row> rows_of(const std::vector<Row>& rows, const std::string& device, const std::string& precision,
                         const std::string& version = mindgap::version);
// Runs that differ only in their seeds, of the student and of sampling.
struct RowGroup {
  Row run;                 // the columns they share; its seed and outcome are the first run's
  std::vector<u64> seeds;  // ascending
  Stats top1, top5, loss, seconds;
  std::optional<Ratio> recovered;  // over the seeds that have both baselines; empty for none
};
// In canonical order.
std::vector<RowGroup> summarise(const std::vector<Row>& rows);

using Facts = std::vector<std::pair<std::string, std::string>>;  // name, value; the order is kept

// study.json. configuration: the configuration as run, JSON text. environment: CPU, threads, compiler, oneDNN, ...
// comparisons: JSON text, what was compared with what (findings.hpp).
std::string study_json(const std::string& configuration, const Facts& environment, const std::vector<Row>& rows,
                       const std::string& comparisons = "{}");

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/study/results.ipp>
#endif
