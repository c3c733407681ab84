// What every app does when it is told to stop, when nobody takes what it says, and when a file grows beyond a limit.
#include "tests/apps/run.hpp"
#include <sys/resource.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

const Arguments apps{"train_generator", "sample", "train_student", "evaluate", "study"};

Arguments training(const Folder& folder, const std::string& out, const Arguments& more = {}) {
  return Arguments{"--data", (folder / "data").string(), "--out", (folder / out).string(), "--width", "4", "--batch", "8"} + more;
}
void make_student(const Folder& folder, i64 test_images) {
  write_idx(folder / "data", 36, test_images);
  run_well("train_student", training(folder, "student", {"--epochs", "1"}));
}
Arguments evaluation(const Folder& folder, const Arguments& more = {}) {
  return Arguments{"--model", (folder / "student").string(), "--data", (folder / "data").string()} + more;
}

// Standard output of a program that is about to start.
void goes_nowhere() { ::close(STDOUT_FILENO); }
void goes_to_a_full_disk() { ::dup2(::open("/dev/full", O_WRONLY), STDOUT_FILENO); }
void goes_to_a_closed_pipe(int stream) {
  int ends[2];
  if (::pipe(ends) != 0) ::_exit(126);
  ::dup2(ends[1], stream);
  ::close(ends[0]), ::close(ends[1]);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(signals)

BOOST_AUTO_TEST_CASE(evaluation_is_interrupted) {
  const Folder folder;
  make_student(folder, 20'000);
  for (const char* batch : {"1", "20000"}) {
    Process p("evaluate", evaluation(folder, {"--batch", batch, "--out", (folder / "report").string()}));
    p.wait_for_handler(SIGTERM);
    const Result r = p.kill(SIGTERM);
    BOOST_TEST(r.code == 130, r);
    BOOST_TEST(r.says("told to stop"), r);
    BOOST_TEST(r.says("interrupted"), r);
    BOOST_TEST(r.out.empty());
    BOOST_TEST(!fs::exists(folder / "report"));
  }
}

// A set that was begun and has no chunk yet leaves nothing.
BOOST_AUTO_TEST_CASE(sampling_is_interrupted) {
  const Folder folder;
  const fs::path generator = make_generator(folder), out = folder / "out";
  Process p("sample", {"--model", generator.string(), "--out", out.string(), "--per-class", "1000", "--steps", "1000"});
  p.wait_for(out / ".part-0-of-1.lock");
  const Result r = p.kill(SIGINT);
  BOOST_TEST(r.code == 130, r);
  BOOST_TEST(r.says("told to stop"), r);
  BOOST_TEST(!fs::exists(out));
}

BOOST_AUTO_TEST_CASE(preview_is_interrupted) {
  const Folder folder;
  write_idx(folder / "data", 24, 12);
  const fs::path out = folder / "out";
  const Arguments arguments{"--data",     (folder / "data").string(),
                            "--out",      out.string(),
                            "--steps",    "1",
                            "--batch",    "4",
                            "--channels", "32,32",
                            "--layers",   "4",
                            "--preview",  "64"};
  Process p("train_generator", arguments);
  p.wait_for(out / "unet" / "diffusion_pytorch_model.safetensors");
  const Result r = p.kill(SIGTERM);
  BOOST_TEST(r.code == 130, r);
  BOOST_TEST(!fs::exists(out / "training.txt"));
  run_well("train_generator", arguments);
  BOOST_TEST(fs::exists(out / "training.txt"));
  BOOST_TEST(fs::exists(out / "samples.png"));
}

// A step takes seconds; the second signal, the same or another, does not wait for it.
BOOST_AUTO_TEST_CASE(second_signal) {
  const Folder folder;
  write_idx(folder / "data", 6000, 12);
  Arguments slow = training(folder, "out");
  slow[5] = "32", slow[7] = "6000";
  for (const auto& [first, second] : {std::pair(SIGINT, SIGTERM), {SIGTERM, SIGTERM}, {SIGHUP, SIGINT}}) {
    Process p("train_student", slow);
    p.wait_for_handler(SIGHUP);  // the last of them
    p.send(first);
    p.wait_until([&] { return p.says("told to stop"); });
    const Result r = p.kill(second);
    BOOST_TEST(r.code == 128 + second, r);
  }
}

// By nohup, or by a script that runs it in the background.
BOOST_AUTO_TEST_CASE(ignored_signals) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  for (int signal : {SIGHUP, SIGINT}) {
    const std::string out = std::to_string(signal);
    Process p("train_student", training(folder, out, {"--epochs", "40", "--save-every", "7"}),
              [=] { ::signal(signal, SIG_IGN); });
    p.wait_until([&] { return lines_of(folder / out / "loss.csv") > 10; });
    const Result r = p.kill(signal);
    BOOST_TEST(r.code == 0, r);
    BOOST_TEST(!r.says("told to stop"), r);
  }
}

BOOST_AUTO_TEST_CASE(file_beyond_the_limit) {
  const Folder folder;
  write_idx(folder / "data", 36, 12);
  const auto limit = [] {
    const rlimit bytes{16384, 16384};
    ::setrlimit(RLIMIT_FSIZE, &bytes);
  };
  const Result r = run("train_student", training(folder, "out", {"--epochs", "1"}), limit);
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST(r.says("File too large"), r);
  BOOST_TEST(r.says("checkpoint.safetensors"), r);
  BOOST_TEST(!fs::exists(folder / "out" / "checkpoint.safetensors.tmp"));
}

BOOST_AUTO_TEST_CASE(help_that_nobody_gets) {
  for (const std::string& app : apps)
    for (void (*output)() : {goes_nowhere, goes_to_a_full_disk}) {
      const Result r = run(app, {"--help"}, output);
      BOOST_TEST(r.code == 1, app << ": " << r);
      BOOST_TEST(r.says("standard output"), app << ": " << r);
    }
}

BOOST_AUTO_TEST_CASE(examples_that_nobody_reads) {
  for (const std::string example : {"fused_op", "own_loss", "fibers", "sample_one"}) {
    BOOST_TEST(run("examples/" + example, {}).code == 0, example);
    for (void (*output)() : {goes_nowhere, goes_to_a_full_disk})
      BOOST_TEST(run("examples/" + example, {}, output).code == 1, example);
  }
}

BOOST_AUTO_TEST_CASE(results_that_nobody_gets) {
  const Folder folder;
  make_student(folder, 12);
  const Result full = run("evaluate", evaluation(folder, {"--out", (folder / "report").string()}), goes_to_a_full_disk);
  BOOST_TEST(full.code == 1, full);
  BOOST_TEST(full.says("standard output"), full);
  BOOST_TEST(fs::exists(folder / "report" / "evaluation.json"));
  const Result closed = run("evaluate", evaluation(folder), goes_nowhere);
  BOOST_TEST(closed.code == 1, closed);
  BOOST_TEST(closed.says("standard output"), closed);
  const Result again = run("train_student", training(folder, "student", {"--epochs", "1"}), goes_to_a_full_disk);
  BOOST_TEST(again.code == 1, again);
  const auto output_breaks = [] { goes_to_a_closed_pipe(STDOUT_FILENO); };
  const Result pipe = run("evaluate", evaluation(folder), output_breaks);
  BOOST_TEST(pipe.code == 128 + SIGPIPE, pipe);
  BOOST_TEST(pipe.err == "");
  const Result ignored = run("evaluate", evaluation(folder), [&] { ::signal(SIGPIPE, SIG_IGN), output_breaks(); });
  BOOST_TEST(ignored.code == 128 + SIGPIPE, ignored);
  // A closed standard error: what would have been said there is in no file.
  const Result silent = run("train_student", training(folder, "silent", {"--epochs", "1"}), [] { ::close(STDERR_FILENO); });
  BOOST_TEST(silent.code == 0);
  run_well("evaluate", {"--model", (folder / "silent").string(), "--data", (folder / "data").string()});
  // One that nobody reads any more: the work goes on, and an error is an exit code.
  const auto nobody_reads = [] { goes_to_a_closed_pipe(STDERR_FILENO); };
  const Result unread = run("train_student", training(folder, "unread", {"--epochs", "1"}), nobody_reads);
  BOOST_TEST(unread.code == 0, unread);
  run_well("evaluate", {"--model", (folder / "unread").string(), "--data", (folder / "data").string()});
  BOOST_TEST(run("evaluate", {"--model", (folder / "none").string(), "--data", "none"}, nobody_reads).code == 1);
}

BOOST_AUTO_TEST_SUITE_END()
