// The autotune cache on disk: read once, merged when it is saved, refused where it is of another card. Needs no GPU.
#include <mindgap/core/profile.hpp>
#include <mindgap/cuda/autotune_cache.hpp>
#include <mindgap/io/file.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <cstdlib>

using namespace mindgap;

BOOST_AUTO_TEST_SUITE(autotune_cache)

BOOST_AUTO_TEST_CASE(is_read_merged_and_saved) {
  const test::Folder folder;
  setenv("MINDGAP_AUTOTUNE_CACHE", (folder.path / "plans").c_str(), 1);
  const auto file = cuda::autotune_cache_file();
  BOOST_TEST(file.parent_path() == folder.path / "plans");
  const std::string header = cuda::autotune_cache();

  BOOST_TEST(cuda::plan_hash() == "");
  cuda::save_autotune_cache();
  BOOST_TEST(!std::filesystem::exists(file));  // nothing was chosen

  make_folder(file.parent_path());
  write_file_atomic(file, header + "4 known call\nno line of a table\n");
  BOOST_TEST(cuda::detail::known_place("known call").value_or(-1) == 4);
  BOOST_TEST(!cuda::detail::known_place("new call"));
  cuda::detail::note_use("known call");
  const std::string before = cuda::plan_hash();
  BOOST_TEST(before.size() == 16u);
  cuda::detail::keep_place("new call", 2, true);
  BOOST_TEST(cuda::plan_hash() == before);
  cuda::detail::note_use("new call");
  BOOST_TEST(cuda::plan_hash() != before);
  BOOST_TEST(noted_plan() == "new 2");  // what a profile shows

  // Uses are counted afresh.
  cuda::begin_plan_use();
  BOOST_TEST(cuda::plan_hash() == "");
  cuda::detail::note_use("known call");
  BOOST_TEST(cuda::plan_hash() == before);

  // What is run to be timed is not used.
  {
    const cuda::detail::OnlyTiming only_timing;
    cuda::detail::note_use("new call");
  }
  BOOST_TEST(cuda::plan_hash() == before);

  // A choice among less than all plans, for want of memory say, is not for other processes.
  cuda::detail::keep_place("passing call", 5, false);
  BOOST_TEST(cuda::detail::known_place("passing call").value_or(-1) == 5);

  // Another process has saved meanwhile: its choice for the new call stays.
  write_file_atomic(file, header + "4 known call\n7 new call\n1 other call\n");
  cuda::save_autotune_cache();
  BOOST_TEST(read_file(file) == header + "4 known call\n7 new call\n1 other call\n");
  BOOST_TEST(cuda::detail::known_place("new call").value_or(-1) == 2);  // this process keeps to what it used

  BOOST_TEST(cuda::read_autotune_cache("card of another name\n0 call\n") == 0);
  BOOST_TEST(cuda::read_autotune_cache(header + "3 given call\n") == 1);
  BOOST_TEST(cuda::detail::known_place("given call").value_or(-1) == 3);

  // A table of another card is not overwritten.
  cuda::detail::keep_place("newest call", 0, true);
  write_file_atomic(file, "card of another name\n0 call\n");
  BOOST_CHECK_EXCEPTION(cuda::save_autotune_cache(), Error, [](const Error& error) {
    return std::string(error.what()).find("MINDGAP_AUTOTUNE_CACHE") != std::string::npos;
  });
  BOOST_TEST(!std::filesystem::exists(file.string() + ".lock"));
}

BOOST_AUTO_TEST_CASE(has_a_file_for_each_card) {
  unsetenv("MINDGAP_AUTOTUNE_CACHE");
  setenv("MINDGAP_PLANS", "/older", 1);  // its name of before
  BOOST_TEST(cuda::autotune_cache_file().parent_path() == "/older");
  unsetenv("MINDGAP_PLANS");
  setenv("XDG_CACHE_HOME", "/cache", 1);
  const auto path = cuda::autotune_cache_file();
  BOOST_TEST(path.parent_path() == "/cache/mindgap/plans");
  BOOST_TEST(
      path.filename().string().ends_with("-cudnn-" + cuda::cudnn_version() + "-cublas-" + cuda::cublas_version() + ".txt"));
  unsetenv("XDG_CACHE_HOME");
  setenv("HOME", "/home/somebody", 1);
  BOOST_TEST(cuda::autotune_cache_file().parent_path() == "/home/somebody/.cache/mindgap/plans");
  unsetenv("HOME");
  BOOST_TEST(cuda::autotune_cache_file().empty());
}

BOOST_AUTO_TEST_SUITE_END()
