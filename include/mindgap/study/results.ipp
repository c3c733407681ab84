// The bodies of study/results.hpp, over nlohmann's JSON.
#include <mindgap/io/numbers.hpp>
#include <mindgap/study/results.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

namespace mindgap {

namespace detail {

// Fixed decimals, independent of the locale: "0.934600", "nan".
inline std::string fixed(double value, int decimals) {
  char digits[400];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed, decimals).ptr;
  return std::string(digits, end);
}

// What is measured, in the file's decimals.
inline std::string outcome(double value, const char* column) {
  return fixed(value, std::string_view(column) == "seconds" ? 1 : 6);
}
inline constexpr bool is_outcome(std::string_view column) {
  return column == "top1" || column == "top5" || column == "loss" || column == "seconds";
}

// The columns in file order, as (name, pointer to member).
template <class Visit>
void visit_columns(Visit&& visit) {
  visit("experiment", &Row::experiment);
  visit("direction", &Row::direction);
  visit("split", &Row::split);
  visit("frozen_units", &Row::frozen_units);
  visit("policy", &Row::policy);
  visit("suffix_start", &Row::suffix_start);
  visit("real_count", &Row::real_count);
  visit("synthetic_count", &Row::synthetic_count);
  visit("sampler", &Row::sampler);
  visit("sampling_steps", &Row::sampling_steps);
  visit("guidance", &Row::guidance);
  visit("sampling_seed", &Row::sampling_seed);
  visit("generator_images", &Row::generator_images);
  visit("measured_on", &Row::measured_on);
  visit("measured_count", &Row::measured_count);
  visit("seed", &Row::seed);
  visit("steps", &Row::steps);
  visit("steps_before", &Row::steps_before);
  visit("top1", &Row::top1);
  visit("top5", &Row::top5);
  visit("loss", &Row::loss);
  visit("seconds", &Row::seconds);
  visit("device", &Row::device);
  visit("precision", &Row::precision);
  visit("plans", &Row::plans);
  visit("version", &Row::version);
}

// The canonical order: what a reader looks up first comes first, the seeds of a run stand together, be their synthetic sets the
// same or not.
inline auto run_order(const Row& r) {
  return std::tie(r.experiment, r.direction, r.policy, r.suffix_start, r.real_count, r.synthetic_count, r.frozen_units, r.split,
                  r.sampler, r.sampling_steps, r.guidance, r.generator_images, r.measured_on, r.measured_count, r.steps,
                  r.steps_before, r.device, r.precision, r.version);
}
inline bool row_less(const Row& a, const Row& b) {
  if (run_order(a) != run_order(b)) return run_order(a) < run_order(b);
  return std::tie(a.seed, a.sampling_seed) < std::tie(b.seed, b.sampling_seed);
}

inline std::string csv_field(const std::string& value) {
  if (value.find_first_of(",\"\r\n") == value.npos) return value;
  std::string out = "\"";
  for (char c : value) (out += c) += c == '"' ? "\"" : "";
  return out + '"';
}
inline std::string csv_field(i64 value) { return std::to_string(value); }
inline std::string csv_field(u64 value) { return std::to_string(value); }

inline std::string csv_header() {
  std::string line;
  visit_columns([&](const char* name, auto) { (line += line.empty() ? "" : ",") += name; });
  return line + "\n";
}

inline std::string csv_line(const Row& row) {
  std::string line;
  visit_columns([&](const char* name, auto member) {
    if (!line.empty()) line += ',';
    if constexpr (std::is_same_v<decltype(member), double Row::*>)
      line += is_outcome(name) ? outcome(row.*member, name) : exact(row.*member);
    else line += csv_field(row.*member);
  });
  return line + "\n";
}

struct CsvRecord {
  i64 line;  // where it starts, from 1
  std::vector<std::string> fields;
  bool ended = false;   // by a line end
  bool quoted = false;  // at its end
};

// RFC 4180, with LF or CRLF: quoted fields may hold commas, line ends and doubled quotes.
inline std::vector<CsvRecord> csv_records(const std::string& bytes) {
  std::vector<CsvRecord> records;
  size_t at = bytes.starts_with("\xef\xbb\xbf") ? 3 : 0;
  i64 line = 1;
  while (at < bytes.size()) {
    CsvRecord record{line, {""}};
    bool& quoted = record.quoted;
    for (; at < bytes.size() && !record.ended; ++at) {
      const char c = bytes[at];
      if (c == '\n') ++line;
      std::string& field = record.fields.back();
      if (quoted && c == '"' && at + 1 < bytes.size() && bytes[at + 1] == '"') field += bytes[at++];
      else if (c == '"' && (quoted || field.empty())) quoted = !quoted;
      else if (quoted) field += c;
      else if (c == ',') record.fields.emplace_back();
      else if (c == '\n') record.ended = true;
      else if (c != '\r' || at + 1 >= bytes.size() || bytes[at + 1] != '\n') field += c;
    }
    records.push_back(std::move(record));
  }
  return records;
}

// Whether one of the text's whole lines behind the first is a row of the table.
inline bool has_row(const std::string& text) {
  const std::string header = csv_header();
  const auto commas = std::count(header.begin(), header.end(), ',');
  for (auto begin = std::find(text.begin(), text.end(), '\n'); begin != text.end();) {
    const auto end = std::find(++begin, text.end(), '\n');
    if (end != text.end() && std::count(begin, end, ',') >= commas) return true;
    begin = end;
  }
  return false;
}

// What a column may hold, apart from its type: counts, losses and times from 0 up, shares up to 1.
template <class Number>
Number csv_number(const std::string& field, const char* column, i64 line, const std::string& file) {
  const auto refuse = [&](const std::string& what) {
    throw Error("results: column " + std::string(column) + what,
                {{"file", file + ":" + std::to_string(line)},
                 {"value", "\"" + escaped(field, 80) + "\""},
                 {"remedy", "mend that line, or delete it: its run is then repeated"}});
  };
  const auto value = number_in<Number>(field);
  if (!value) refuse(" holds no number");
  const std::string_view name = column;
  const Number most = name == "top1" || name == "top5" ? Number(1) : std::numeric_limits<Number>::max();
  if (!(*value >= 0 && *value <= most)) refuse(most == 1 ? " is not from 0 to 1" : " is not a finite number from 0 up");
  return *value;
}

// Six decimals are what the rows have; NaN and infinity become null.
inline double rounded(double value) { return std::round(value * 1e6) / 1e6; }

inline nlohmann::ordered_json to_json(const Stats& stats) {
  return {{"n", stats.n},
          {"mean", rounded(stats.mean)},
          {"std", rounded(stats.std)},
          {"low", rounded(stats.low)},
          {"high", rounded(stats.high)}};
}
inline nlohmann::ordered_json to_json(const Ratio& ratio) {
  return {{"n", ratio.n},
          {"ratio", rounded(ratio.value)},
          {"low", rounded(ratio.low)},
          {"high", rounded(ratio.high)},
          {"resolved", ratio.resolved()}};
}

}  // namespace detail

MINDGAP_INLINE bool Row::same_run(const Row& other) const {
  return seed == other.seed && sampling_seed == other.sampling_seed && detail::run_order(*this) == detail::run_order(other);
}

MINDGAP_INLINE std::string to_csv(std::vector<Row> rows) {
  std::sort(rows.begin(), rows.end(), detail::row_less);
  std::string out = detail::csv_header();
  for (const Row& row : rows) out += detail::csv_line(row);
  return out;
}

MINDGAP_INLINE ParsedRows parse_csv(const std::string& bytes, const std::string& file) {
  ParsedRows out;
  std::vector<detail::CsvRecord> records = detail::csv_records(bytes);
  if (!records.empty() && !records.back().ended) {
    // A file may end inside of a quoted field; but not with whole rows in it.
    const detail::CsvRecord& last = records.back();
    if (last.quoted && detail::has_row(last.fields.back()))
      throw Error("results: a quotation mark opens a field that takes the rest of the file",
                  {{"file", file + ":" + std::to_string(last.line)},
                   {"remedy", "mend that line, or delete it: its run is then repeated"}});
    out.torn = true;
    records.pop_back();
  }
  if (records.empty()) return out;
  const auto is_header = [](const detail::CsvRecord& record) {
    std::string line;
    for (const std::string& field : record.fields) (line += line.empty() ? "" : ",") += field;
    return line + "\n" == detail::csv_header();
  };
  if (!is_header(records[0]))
    throw Error("results: this is not a results.csv of this version",
                {{"file", file},
                 {"wants", detail::csv_header().substr(0, 60) + "..."},
                 {"remedy", "move the file away, or choose another folder"}});
  std::map<Row, i64, bool (*)(const Row&, const Row&)> line_of(detail::row_less);
  for (size_t i = 1; i < records.size(); ++i) {
    const auto& [line, fields, ended, quoted] = records[i];
    if (fields.size() != records[0].fields.size())
      throw Error(text("results: a row has ", fields.size(), " fields, the header ", records[0].fields.size()),
                  {{"file", file + ":" + std::to_string(line)}, {"remedy", "delete that line; its run is then repeated"}});
    Row row;
    size_t column = 0;
    detail::visit_columns([&, line = line, &fields = fields](const char* name, auto member) {
      const std::string& field = fields[column++];
      using Value = std::remove_reference_t<decltype(row.*member)>;
      if constexpr (std::is_same_v<Value, std::string>) row.*member = field;
      else row.*member = detail::csv_number<Value>(field, name, line, file);
    });
    if (row.top5 < row.top1)
      throw Error("results: column top5 is less than top1",
                  {{"file", file + ":" + std::to_string(line)},
                   {"values", text("top1 ", row.top1, ", top5 ", row.top5)},
                   {"remedy", "mend that line, or delete it: its run is then repeated"}});
    const auto [there, fresh] = line_of.try_emplace(std::move(row), line);
    if (fresh) continue;
    const std::string run = detail::csv_line(there->first);
    throw Error(text("results: lines ", there->second, " and ", line, " are of one run"),
                {{"file", file + ":" + std::to_string(line)},
                 {"run", detail::escaped(run.substr(0, run.size() - 1), 300)},
                 {"remedy", "delete the wrong one of them, or both: the run is then repeated"}});
  }
  for (const auto& [row, line] : line_of) out.rows.push_back(row);
  return out;
}

MINDGAP_INLINE ResultsTable::ResultsTable(std::filesystem::path path) : path_(std::move(path)) {
  if (!std::filesystem::exists(path_)) return;
  ParsedRows parsed = parse_csv(read_file(path_), path_.string());
  rows_ = std::move(parsed.rows);
  torn_ = parsed.torn;
}

MINDGAP_INLINE const Row* ResultsTable::find(const Row& run) const {
  for (const Row& row : rows_)
    if (row.same_run(run)) return &row;
  return nullptr;
}

MINDGAP_INLINE void ResultsTable::append(Row row) {
  const std::string line = detail::csv_line(row);
  if (find(row))
    throw Error("results: this run is finished already",
                {{"file", path_.string()}, {"run", detail::escaped(line.substr(0, line.size() - 1), 300)}});
  // What is kept is what a restart would read back, so that summaries do not depend on restarts.
  std::vector<Row> rows = rows_;
  rows.push_back(parse_csv(detail::csv_header() + line, path_.string()).rows.at(0));
  std::sort(rows.begin(), rows.end(), detail::row_less);
  write_file_atomic(path_, to_csv(rows));
  rows_ = std::move(rows);
}

MINDGAP_INLINE const Row* baseline(const std::vector<Row>& rows, const std::string& direction, u64 seed) {
  for (const Row& row : rows)
    if (row.experiment == "E0" && row.direction == direction && row.seed == seed) return &row;
  return nullptr;
}

MINDGAP_INLINE std::vector<Row> rows_of(const std::vector<Row>& rows, const std::string& device, const std::string& precision,
                                        const std::string& version) {
  std::vector<Row> out;
  for (const Row& row : rows)
    if (row.device == device && row.precision == precision && row.version == version) out.push_back(row);
  return out;
}

MINDGAP_INLINE std::vector<RowGroup> summarise(const std::vector<Row>& unsorted) {
  std::vector<Row> rows = unsorted;
  std::sort(rows.begin(), rows.end(), detail::row_less);
  std::vector<RowGroup> groups;
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    while (end < rows.size() && detail::run_order(rows[end]) == detail::run_order(rows[begin])) ++end;
    RowGroup group;
    group.run = rows[begin];
    std::vector<double> top1, top5, loss, seconds, over_s, gap;
    for (size_t i = begin; i < end; ++i) {
      group.seeds.push_back(rows[i].seed);
      top1.push_back(rows[i].top1);
      top5.push_back(rows[i].top5);
      loss.push_back(rows[i].loss);
      seconds.push_back(rows[i].seconds);
      const Row *real = baseline(rows, "R", rows[i].seed), *synthetic = baseline(rows, "S", rows[i].seed);
      if (!real || !synthetic || real->measured_on != rows[i].measured_on) continue;
      over_s.push_back(rows[i].top1 - synthetic->top1);
      gap.push_back(real->top1 - synthetic->top1);
    }
    group.top1 = describe(top1);
    group.top5 = describe(top5);
    group.loss = describe(loss);
    group.seconds = describe(seconds);
    if (!gap.empty()) group.recovered = ratio_of_means(over_s, gap);
    groups.push_back(std::move(group));
  }
  return groups;
}

MINDGAP_INLINE std::string study_json(const std::string& configuration, const Facts& environment, const std::vector<Row>& rows,
                                      const std::string& comparisons) {
  using nlohmann::ordered_json;
  ordered_json study;
  study["program"] = "mindgap";
  study["version"] = version;
  const auto part = [&](const char* name, const std::string& json) {
    study[name] = ordered_json::parse(json, nullptr, false);
    if (study[name].is_discarded()) throw Error(text("study.json: the ", name, " is not JSON"), {{"text", json.substr(0, 80)}});
  };
  part("configuration", configuration);
  study["environment"] = ordered_json::object();
  for (const auto& [fact, value] : environment) study["environment"][fact] = value;
  study["runs"] = rows.size();
  part("comparisons", comparisons);
  study["summary"] = ordered_json::array();
  for (const RowGroup& group : summarise(rows)) {
    ordered_json entry;
    detail::visit_columns([&](const char* name, auto member) {
      const std::string_view column = name;
      if (!detail::is_outcome(column) && column != "seed" && column != "sampling_seed") entry[name] = group.run.*member;
    });
    entry["seeds"] = group.seeds;
    entry["top1"] = detail::to_json(group.top1);
    entry["top5"] = detail::to_json(group.top5);
    entry["loss"] = detail::to_json(group.loss);
    entry["seconds"] = detail::to_json(group.seconds);
    if (group.recovered) entry["recovered"] = detail::to_json(*group.recovered);
    study["summary"].push_back(std::move(entry));
  }
  return study.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace mindgap
