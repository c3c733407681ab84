// results.csv: quoting, order, restarts and damage; summaries over seeds; study.json.
#include <mindgap/study/results.hpp>

#include "tests/files.hpp"
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

using namespace mindgap;
using namespace mindgap::test;

namespace {

Row run(const std::string& experiment, const std::string& direction, const std::string& split, i64 frozen, u64 seed,
        double top1) {
  Row row;
  row.experiment = experiment;
  row.direction = direction;
  row.split = split;
  row.frozen_units = frozen;
  row.policy = "frozen";
  row.suffix_start = "reinitialise";
  row.real_count = row.synthetic_count = 6000;
  row.seed = seed;
  row.steps = 8;
  row.top1 = top1;
  row.top5 = 0.99;
  row.loss = 0.4;
  row.seconds = 1.25;
  return row;
}

std::vector<Row> small_study() {
  return {run("E0", "R", "", 0, 1, 0.90), run("E0", "R", "", 0, 2, 0.92),        run("E0", "S", "", 0, 1, 0.80),
          run("E0", "S", "", 0, 2, 0.88), run("E1", "S->R", "stem", 1, 1, 0.89), run("E1", "S->R", "stem", 1, 2, 0.92)};
}

bool says(const Error& error, const std::string& part) { return std::string(error.what()).find(part) != std::string::npos; }

}  // namespace

BOOST_AUTO_TEST_SUITE(results)

BOOST_AUTO_TEST_CASE(csv_is_readable_and_exact) {
  const std::string csv = to_csv({run("E1", "S->R", "layer1", 3, 7, 0.9346)});
  BOOST_TEST(
      csv ==
      "experiment,direction,split,frozen_units,policy,suffix_start,real_count,synthetic_count,sampler,sampling_steps,guidance,"
      "sampling_seed,generator_images,measured_on,measured_count,seed,steps,steps_before,top1,top5,loss,seconds,device,precision,"
      "plans,version\n"
      "E1,S->R,layer1,3,frozen,reinitialise,6000,6000,,0,0,0,0,test,0,7,8,0,0.934600,0.990000,0.400000,1.2,cpu,f32,," +
          std::string(version) + "\n");
}

BOOST_AUTO_TEST_CASE(names_survive) {
  for (const std::string split : {"a,b", "\"quoted\"", "\"", "two\nlines", "cr\r\nlf", "\r", " spaces ", "Ünïcödé", "👟 sneaker",
                                  "<b>&amp;", "", "'", "a\"b,c\n\"\"d"}) {
    Row row = run("E1", "S->R", split, 3, 7, 0.5);
    row.device = split;
    row.version = split;
    const ParsedRows parsed = parse_csv(to_csv({row}), "x.csv");
    BOOST_REQUIRE(parsed.rows.size() == 1u);
    BOOST_TEST(!parsed.torn);
    BOOST_TEST(parsed.rows[0].split == split);
    BOOST_TEST(parsed.rows[0].version == split);
    BOOST_TEST(parsed.rows[0].same_run(row));
    BOOST_TEST(to_csv(parsed.rows) == to_csv({row}));
  }
}

BOOST_AUTO_TEST_CASE(numbers_survive) {
  for (const u64 seed : {u64(0), u64(1) << 31, u64(1) << 32, (u64(1) << 53) + 1, u64(1) << 63, std::numeric_limits<u64>::max()}) {
    Row row = run("E0", "R", "", 0, seed, 1.0 / 3);
    row.guidance = 1 + 1e-15;
    row.sampling_seed = seed;
    BOOST_TEST(parse_csv(to_csv({row}), "x.csv").rows[0].same_run(row));
    row.real_count = std::numeric_limits<i64>::max();
    const Row back = parse_csv(to_csv({row}), "x.csv").rows.at(0);
    BOOST_TEST(back.seed == seed);
    BOOST_TEST(back.real_count == row.real_count);
    BOOST_TEST(std::abs(back.top1 - row.top1) < 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(spreadsheets_may_have_touched_it) {
  std::string csv = to_csv(small_study()), crlf = "\xef\xbb\xbf";
  for (char c : csv) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  BOOST_TEST(to_csv(parse_csv(crlf, "x.csv").rows) == csv);
}

BOOST_AUTO_TEST_CASE(order_does_not_matter) {
  std::vector<Row> rows = small_study();
  const std::string csv = to_csv(rows);
  std::reverse(rows.begin(), rows.end());
  BOOST_TEST(to_csv(rows) == csv);
  std::rotate(rows.begin(), rows.begin() + 2, rows.end());
  BOOST_TEST(to_csv(rows) == csv);
}

BOOST_FIXTURE_TEST_CASE(interrupted_and_resumed_file_is_the_same, Folder) {
  const fs::path file = path / "results.csv";
  ResultsTable whole(path / "whole.csv");
  for (const Row& row : small_study()) whole.append(row);
  for (const Row& row : small_study()) {  // a restart before every row
    ResultsTable table(file);
    BOOST_TEST(!table.find(row));
    table.append(row);
    BOOST_TEST(table.find(row)->top1 == row.top1);
  }
  BOOST_TEST(read_file(file) == read_file(path / "whole.csv"));
  ResultsTable table(file);
  BOOST_CHECK_EXCEPTION(table.append(small_study()[2]), Error, [](auto& e) { return says(e, "finished already"); });
  BOOST_TEST(table.rows().size() == 6u);
}

BOOST_AUTO_TEST_CASE(every_defining_column_defines) {
  const Row base = run("E1", "S->R", "stem", 1, 1, 0.5);
  const auto differs = [&](auto change) {
    Row other = base;
    change(other);
    return !base.same_run(other);
  };
  BOOST_TEST(differs([](Row& r) { r.experiment = "E3"; }));
  BOOST_TEST(differs([](Row& r) { r.direction = "R->S"; }));
  BOOST_TEST(differs([](Row& r) { r.split = "layer1"; }));
  BOOST_TEST(differs([](Row& r) { r.frozen_units = 3; }));
  BOOST_TEST(differs([](Row& r) { r.policy = "live"; }));
  BOOST_TEST(differs([](Row& r) { r.suffix_start = "continue"; }));
  BOOST_TEST(differs([](Row& r) { r.real_count = 100; }));
  BOOST_TEST(differs([](Row& r) { r.synthetic_count = 100; }));
  BOOST_TEST(differs([](Row& r) { r.seed = 2; }));
  BOOST_TEST(differs([](Row& r) { r.sampler = "ddim"; }));
  BOOST_TEST(differs([](Row& r) { r.sampling_steps = 9; }));
  BOOST_TEST(differs([](Row& r) { r.guidance = 1e-9; }));
  BOOST_TEST(differs([](Row& r) { r.sampling_seed = 9; }));
  BOOST_TEST(differs([](Row& r) { r.generator_images = 9; }));
  BOOST_TEST(differs([](Row& r) { r.measured_on = "held-out"; }));
  BOOST_TEST(differs([](Row& r) { r.measured_count = 9; }));
  BOOST_TEST(differs([](Row& r) { r.steps = 9; }));
  BOOST_TEST(differs([](Row& r) { r.steps_before = 9; }));
  BOOST_TEST(differs([](Row& r) { r.device = "cuda"; }));
  BOOST_TEST(differs([](Row& r) { r.precision = "bf16"; }));
  BOOST_TEST(differs([](Row& r) { r.version = "9"; }));
  BOOST_TEST(!differs([](Row& r) { r.top1 = r.top5 = r.loss = r.seconds = 0.1; }));
}

// Cut anywhere: whole rows are kept, the torn one is dropped, nothing is invented.
BOOST_FIXTURE_TEST_CASE(torn_file_keeps_whole_rows, Folder) {
  std::vector<Row> rows = small_study();
  rows[4].split = "two\nlines";
  const std::string csv = to_csv(rows);
  const ParsedRows all = parse_csv(csv, "x.csv");
  for (size_t cut = 0; cut < csv.size(); ++cut) {
    const ParsedRows parsed = parse_csv(csv.substr(0, cut), "x.csv");
    BOOST_REQUIRE(parsed.rows.size() < all.rows.size());
    BOOST_REQUIRE(parsed.torn == (cut > 0 && csv[cut - 1] != '\n') || csv.substr(0, cut).ends_with("two\n"));
    for (size_t i = 0; i < parsed.rows.size(); ++i) BOOST_REQUIRE(parsed.rows[i].same_run(all.rows[i]));
  }
  write_file_atomic(path / "results.csv", csv.substr(0, csv.size() - 5));
  ResultsTable table(path / "results.csv");
  BOOST_TEST(table.torn());
  for (const Row& row : rows)
    if (!table.find(row)) table.append(row);
  BOOST_TEST(read_file(path / "results.csv") == csv);
}

BOOST_AUTO_TEST_CASE(damage_is_named) {
  const std::string csv = to_csv(small_study());
  std::string bad = csv;
  bad.replace(bad.find("0.900000"), 8, "0.9ooooo");
  BOOST_CHECK_EXCEPTION(parse_csv(bad, "dir/results.csv"), Error, [](auto& e) {
    return says(e, "column top1 holds no number") && says(e, "dir/results.csv:2") && says(e, "\"0.9ooooo\"");
  });
  bad.replace(bad.find("0.9ooooo"), 8, "\"0.9\n\x1b\"");
  BOOST_CHECK_EXCEPTION(parse_csv(bad, "r.csv"), Error, [](auto& e) { return says(e, "\"0.9\\x0a\\x1b\""); });
  bad = csv + "E1,S->R\n";
  BOOST_CHECK_EXCEPTION(parse_csv(bad, "r.csv"), Error, [](auto& e) { return says(e, "2 fields") && says(e, "r.csv:8"); });
  for (const std::string other : {"<!DOCTYPE html>\n<html>\n", "a,b\n1,2\n", "\n"})
    BOOST_CHECK_EXCEPTION(parse_csv(other, "r.csv"), Error,
                          [](auto& e) { return says(e, "not a results.csv") && says(e, "r.csv"); });
  bad = csv;
  bad.replace(bad.find(",1,8,0,"), 7, ",-1,8,0,");
  BOOST_CHECK_EXCEPTION(parse_csv(bad, "r.csv"), Error, [](auto& e) { return says(e, "column seed") && says(e, "\"-1\""); });
  // A stray quotation mark does not take the rows behind it along.
  for (const auto& [at, line] : {std::pair(size_t(0), 1), {csv.find("E0,R,") + 3, 2}, {csv.find("E0,S,") + 3, 4}})
    BOOST_CHECK_EXCEPTION(parse_csv(std::string(csv).insert(at, "\""), "r.csv"), Error, [line = line](auto& e) {
      return says(e, "a quotation mark opens") && says(e, text("r.csv:", line, "\n")) && says(e, "remedy");
    });
}

// What no run gives is no result.
BOOST_AUTO_TEST_CASE(values_out_of_range_are_named) {
  const auto refused = [&](const std::string& column, auto member, auto value) {
    Row row = small_study()[0];
    row.*member = value;
    BOOST_CHECK_EXCEPTION(parse_csv(to_csv({row}), "dir/results.csv"), Error, [&](auto& e) {
      return says(e, "column " + column + " is not") && says(e, "dir/results.csv:2") && says(e, "remedy");
    });
  };
  for (const double share : {7.5, 1.000001, -0.1, std::nan(""), HUGE_VAL}) {
    refused("top1", &Row::top1, share);
    refused("top5", &Row::top5, share);
  }
  for (const double value : {-1.0, std::nan(""), HUGE_VAL}) {
    refused("loss", &Row::loss, value);
    refused("seconds", &Row::seconds, value);
    refused("guidance", &Row::guidance, value);
  }
  Row row = small_study()[0];
  row.top5 = row.top1 - 0.1;
  BOOST_CHECK_EXCEPTION(parse_csv(to_csv({row}), "r.csv"), Error,
                        [](auto& e) { return says(e, "top5 is less than top1") && says(e, "r.csv:2"); });
  refused("real_count", &Row::real_count, -1);
  refused("measured_count", &Row::measured_count, -1);
  refused("frozen_units", &Row::frozen_units, -1);
  refused("steps", &Row::steps, -80);
  for (const std::string path : {"demo.csv", "settings.csv"}) {
    const std::string file = std::string(MINDGAP_SOURCE_DIR) + "/data/results/" + path;
    BOOST_TEST(to_csv(parse_csv(read_file(file), file).rows) == read_file(file));
  }
}

// A run that is there twice would weigh twice in every mean.
BOOST_AUTO_TEST_CASE(a_run_twice_is_named) {
  std::vector<Row> rows = small_study();
  Row again = rows[1];
  again.top1 = 0.5, again.seconds = 9;
  const std::string alone = to_csv({again}), csv = to_csv(rows) + alone.substr(alone.find('\n') + 1);
  BOOST_CHECK_EXCEPTION(parse_csv(csv, "r.csv"), Error, [](auto& e) {
    return says(e, "lines 3 and 8 are of one run") && says(e, "r.csv:8") && says(e, "E0,R,") && says(e, "remedy");
  });
}

// The mean of the shares of each seed would be (0.9 + 1.0) / 2.
BOOST_AUTO_TEST_CASE(recovered_is_a_ratio_of_means) {
  const auto groups = summarise(small_study());
  BOOST_REQUIRE(groups.size() == 3u);
  const RowGroup& stem = groups[2];
  BOOST_TEST(stem.run.split == "stem");
  BOOST_TEST(stem.seeds == (std::vector<u64>{1, 2}), boost::test_tools::per_element());
  BOOST_TEST(stem.recovered->n == 2);
  BOOST_TEST(std::abs(stem.recovered->value - (0.905 - 0.84) / (0.91 - 0.84)) < 1e-9);
  BOOST_TEST(!stem.recovered->resolved());  // two seeds whose gaps are 10 and 4 points
  BOOST_TEST(std::abs(groups[0].recovered->value - 1) < 1e-12);
  BOOST_TEST(std::abs(groups[1].recovered->value) < 1e-12);
}

// A seed without a gap counts like any other.
BOOST_AUTO_TEST_CASE(recovered_leaves_no_seed_out) {
  std::vector<Row> rows = small_study();
  rows[0].top1 = 0.80;  // seed 1: R equals S
  BOOST_TEST(summarise(rows)[2].recovered->n == 2);
  BOOST_TEST(std::abs(summarise(rows)[2].recovered->value - (0.905 - 0.84) / (0.86 - 0.84)) < 1e-9);
  rows[1].top1 = 0.5;  // seed 2: R below S
  BOOST_TEST(summarise(rows)[2].recovered->n == 2);
  BOOST_TEST(!summarise({small_study()[4]})[0].recovered);  // no baselines
  rows = small_study();
  rows[4].measured_on = rows[5].measured_on = "held-out";  // not the images that the baselines were measured on
  BOOST_TEST(!summarise(rows)[2].recovered);
}

// Seeds of sampling are a part of the sample, as the students' are; each is a run of its own.
BOOST_AUTO_TEST_CASE(a_synthetic_set_for_each_seed) {
  std::vector<Row> rows = small_study();
  for (Row& row : rows)
    if (row.direction != "R") row.sampling_seed = 10 + row.seed;
  BOOST_TEST(summarise(rows).size() == 3u);
  Row other = rows[2];
  other.sampling_seed = 7;
  BOOST_TEST(!other.same_run(rows[2]));
}

// A folder goes on with another device, precision or version: each program's rows are compared among themselves.
BOOST_AUTO_TEST_CASE(rows_of_one_program) {
  std::vector<Row> rows(4);
  rows[1].device = "cuda";
  rows[2].precision = "bf16";
  rows[3].version = "0.0.1";
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto own = rows_of(rows, rows[i].device, rows[i].precision, rows[i].version);
    BOOST_TEST_REQUIRE(own.size() == 1);
    BOOST_TEST(own[0].same_run(rows[i]));
  }
}

BOOST_AUTO_TEST_CASE(study_json_holds_all) {
  std::vector<Row> rows = small_study();
  rows[5].seed = rows[1].seed = rows[3].seed = std::numeric_limits<u64>::max();
  const std::string json =
      study_json(R"({"epochs": 8, "name": "dé\"mo"})", {{"cpu", "A \"fast\" one"}, {"threads", "2"}}, rows, R"({"gap": 1})");
  for (const std::string part : {"\"epochs\": 8", "dé\\\"mo", "\"cpu\": \"A \\\"fast\\\" one\"", "18446744073709551615",
                                 "\"recovered\"", "\"mean\": 0.905", "\"runs\": 6", "\"gap\": 1"})
    BOOST_TEST(json.find(part) != json.npos, part);
  BOOST_TEST(study_json("{}", {}, {rows[0]}).find("\"std\": null") != json.npos);
  BOOST_CHECK_EXCEPTION(study_json("{epochs", {}, rows), Error, [](auto& e) { return says(e, "configuration is not JSON"); });
  BOOST_CHECK_EXCEPTION(study_json("{}", {}, rows, "{gap"), Error, [](auto& e) { return says(e, "comparisons is not JSON"); });
}

BOOST_AUTO_TEST_SUITE_END()
