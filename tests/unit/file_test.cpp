// Atomic writes under failure and competition, and the lock against a second process.
#include <mindgap/io/file.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/numbers.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <sys/wait.h>
#include <thread>
#include <vector>

using namespace mindgap;
using namespace mindgap::test;

namespace {

bool names_file(const Error& error, const fs::path& path) {
  return std::string(error.what()).find(path.string()) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(file)

BOOST_FIXTURE_TEST_CASE(write_then_read, Folder) {
  const std::string bytes("a\0b\r\n\xff", 6);
  write_file_atomic(path / "x", bytes);
  BOOST_TEST(read_file(path / "x") == bytes);
  const std::string_view pieces[] = {"one", "", "two"};
  write_file_atomic(path / "x", pieces);
  BOOST_TEST(read_file(path / "x") == "onetwo");
  write_file_atomic(path / "x", "");
  BOOST_TEST(read_file(path / "x").empty());
  BOOST_TEST(names().size() == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_file_in_pieces_is_whole_or_as_before, Folder) {
  for (const bool commits : {false, true}) {
    write_file_atomic(path / "x", "old");
    {
      AtomicFile file(path / "x");
      file.write("ne");
      BOOST_TEST(read_file(path / "x") == "old");
      file.write("w");
      if (commits) file.commit();
    }
    BOOST_TEST(read_file(path / "x") == (commits ? "new" : "old"));
    BOOST_TEST(names().size() == 1u);
  }
}

BOOST_FIXTURE_TEST_CASE(large_file_survives, Folder) {
  std::string bytes(3'000'001, 'x');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = char(i * 31 >> 3);
  write_file_atomic(path / "big", bytes);
  BOOST_CHECK(read_file(path / "big") == bytes);
}

BOOST_FIXTURE_TEST_CASE(first_rows_of_a_table, Folder) {
  BOOST_TEST(first_rows(path / "none", "head\n", 0) == "head\n");
  const std::string head = "step,loss\n", rows = "0,5\n1,4\n2,3\n";
  write_file_atomic(path / "x", head + rows + "3,");
  BOOST_TEST(first_rows(path / "x", "other\n", 0) == "other\n");
  BOOST_TEST(first_rows(path / "x", head, 2) == head + "0,5\n1,4\n");
  BOOST_TEST(first_rows(path / "x", head, 3) == head + rows);
  // Rows that the checkpoint counts and the file has not; the last line is half of one.
  REFUSED(first_rows(path / "x", head, 4), "the file has 3 rows, the checkpoint is of step 4");
  REFUSED(first_rows(path / "none", head, 3), "the file has 0 rows, the checkpoint is of step 3");
  // Lines that are no rows, or of another step.
  REFUSED(first_rows(path / "x", "step,loss,rate\n", 3), "the file has another header");
  for (const char* line : {"", "hello", "0,5", "2,3", "1", "1,4,4", "10,4"}) {
    write_file_atomic(path / "x", head + "0,5\n" + line + "\n2,3\n");
    REFUSED(first_rows(path / "x", head, 3), "the file does not have step 1 in its row 2");
  }
  // What is no number is no loss; infinity is one, of a gradient that overflowed.
  const std::string three = "step,loss,rate\n";
  for (const char* line : {"0,abc,", "0,1,", "0,,1", "0,1,x", "0,1 ,2", "0,0x1,2"}) {
    write_file_atomic(path / "x", three + line + "\n");
    REFUSED(first_rows(path / "x", three, 1), "the file has in its row 1 what is no number: '");
  }
  write_file_atomic(path / "x", three + "0,inf,1e-05\n");
  BOOST_TEST(first_rows(path / "x", three, 1) == three + "0,inf,1e-05\n");
}

// Such a file has no end.
BOOST_AUTO_TEST_CASE(devices_are_no_files) { REFUSED(read_file("/dev/zero"), "it is a device"); }

BOOST_FIXTURE_TEST_CASE(left_over_temporary_is_taken_over, Folder) {
  write_file_atomic(path / "x", "old");
  write_file_atomic(path / "x.tmp", "half of a longer new file");  // what a kill leaves
  BOOST_TEST(read_file(path / "x") == "old");
  write_file_atomic(path / "x", "new");
  BOOST_TEST(read_file(path / "x") == "new");
  BOOST_TEST(names().size() == 1u);
}

BOOST_FIXTURE_TEST_CASE(errors_name_the_file, Folder) {
  const fs::path missing = path / "none" / "x", folder = path / "folder";
  make_folder(folder);
  BOOST_CHECK_EXCEPTION(read_file(missing), Error, [&](auto& e) { return names_file(e, missing); });
  BOOST_CHECK_EXCEPTION(read_file(folder), Error, [&](auto& e) { return names_file(e, folder); });
  BOOST_CHECK_EXCEPTION(write_file_atomic(missing, "x"), Error, [&](auto& e) { return names_file(e, missing); });
  BOOST_CHECK_EXCEPTION(write_file_atomic(folder, "x"), Error, [&](auto& e) { return names_file(e, folder); });
  BOOST_CHECK_EXCEPTION(make_folder("/proc/none/x"), Error, [&](auto& e) { return names_file(e, "/proc/none/x"); });
  BOOST_CHECK_EXCEPTION(write_file_atomic("/dev/full/x", "x"), Error, [&](auto& e) { return names_file(e, "/dev/full/x"); });
  BOOST_TEST(names().size() == 1u);  // no temporary stays behind
}

// The file that values came from is named where they are to blame; a device's failure stays what it is.
BOOST_AUTO_TEST_CASE(values_of_a_file) {
  BOOST_TEST(naming_file("x.json", [] { return 3; }) == 3);
  REFUSED(naming_file("x.json", [] { throw Error("a bad value"); }), "file    x.json");
  const auto failing = [] { naming_file("x.json", [] { throw DeviceError("no memory is left"); }); };
  BOOST_CHECK_THROW(failing(), DeviceError);
  BOOST_TEST(error_of(failing).find("x.json") == std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(errors_say_what_to_do, Folder) {
  make_folder(path / "folder");
  REFUSED(read_file(path / "none" / "x"), "remedy  check the path");
  REFUSED(read_file(path / "folder"), "remedy  give the path of a file");
  REFUSED(read_file(write("large", "12345"), 4), "remedy  check that it is the file that is meant");
  REFUSED(write_file_atomic(path / "none" / "x", "x"), "remedy  check the path");
  REFUSED(make_folder("/proc/none/x"), "remedy  ");
  const detail::Descriptor full(::open("/dev/full", O_WRONLY));
  REFUSED(detail::write_all(full.get(), "x", "standard output"), "remedy  free space there");
}

// What is written there would go where it leads, and the result would be the link.
BOOST_FIXTURE_TEST_CASE(links_are_not_written_through, Folder) {
  write_file_atomic(path / "other", "of somebody else");
  for (const char* target : {"other", "nothing", "x.tmp"}) {
    fs::create_symlink(path / target, path / "x.tmp");
    REFUSED(write_file_atomic(path / "x", "new"), "it is a link");
    REFUSED(write_file_atomic(path / "x", "new"), (path / "x.tmp").string());
    REFUSED(FileLock(path / "x.tmp"), "it is a link");
    BOOST_TEST(!fs::exists(path / "x"));
    BOOST_TEST(!fs::exists(path / "nothing"));
    BOOST_TEST(read_file(path / "other") == "of somebody else");
    fs::remove(path / "x.tmp");
  }
  fs::create_directory_symlink(path, path / "here");  // on the way it is one's own business
  write_file_atomic(path / "here" / "x", "new");
  BOOST_TEST(read_file(path / "x") == "new");
}

// Of two folders one exists as a file: the remedy speaks of that.
BOOST_FIXTURE_TEST_CASE(a_file_where_a_folder_belongs, Folder) {
  write_file_atomic(path / "x", "x");
  for (const fs::path& there : {path / "x", path / "x" / "y"}) {
    REFUSED(make_folder(there), "a file is there, or on the way to it, where a folder belongs");
    REFUSED(ResultFolder{there}, there.string());
  }
  REFUSED(read_file(path / "x" / "y"), "where a folder belongs");
  REFUSED(read_file(path / "y"), "does not exist");
}

BOOST_FIXTURE_TEST_CASE(threads_that_write_one_path_take_turns, Folder) {
  std::vector<std::thread> writers;
  for (char letter : std::string("abcd"))
    writers.emplace_back([&, letter] {
      for (int i = 0; i < 20; ++i) write_file_atomic(path / "x", std::string(10'000 + letter, letter));
    });
  for (auto& writer : writers) writer.join();
  const std::string bytes = read_file(path / "x");
  BOOST_TEST(bytes.size() == size_t(10'000 + bytes[0]));
  BOOST_TEST(bytes.find_first_not_of(bytes[0]) == std::string::npos);
  BOOST_TEST(names().size() == 1u);
}

BOOST_FIXTURE_TEST_CASE(killed_writer_leaves_old_or_new, Folder) {
  const std::string old_bytes(200'000, 'o'), new_bytes(400'000, 'n');
  for (int microseconds = 0; microseconds < 3000; microseconds += 150) {
    write_file_atomic(path / "x", old_bytes);
    const pid_t child = ::fork();
    if (child == 0) {
      while (true) write_file_atomic(path / "x", new_bytes);
    }
    ::usleep(useconds_t(microseconds));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const std::string bytes = read_file(path / "x");
    BOOST_CHECK(bytes == old_bytes || bytes == new_bytes);
  }
}

BOOST_FIXTURE_TEST_CASE(lock_refuses_a_second_holder, Folder) {
  const fs::path lock_path = path / ".lock";
  {
    FileLock lock(lock_path, "writes this study");
    BOOST_CHECK_EXCEPTION(FileLock(lock_path, "writes this study"), Error, [&](auto& e) {
      return names_file(e, lock_path) && std::string(e.what()).find("another process writes this study") != std::string::npos &&
             std::string(e.what()).find(std::to_string(::getpid())) != std::string::npos;
    });
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        FileLock second(lock_path);
        ::_exit(0);
      } catch (const Error&) {
        ::_exit(7);
      }
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    BOOST_TEST(WEXITSTATUS(status) == 7);
  }
  BOOST_TEST(names().empty());
  FileLock again(lock_path);
}

BOOST_FIXTURE_TEST_CASE(an_empty_result_folder_goes, Folder) {
  { const ResultFolder made(path / "a" / "b"); }
  BOOST_TEST(names().empty());
  make_folder(path / "a");
  { const ResultFolder made(path / "a" / "b"); }
  BOOST_TEST(fs::exists(path / "a"));
  {
    const ResultFolder made(path / "a" / "b" / "c");
    write_file_atomic(path / "a" / "b" / "x", "x");
  }
  BOOST_TEST(!fs::exists(path / "a" / "b" / "c"));
  BOOST_TEST(read_file(path / "a" / "b" / "x") == "x");
  BOOST_CHECK_THROW(ResultFolder(path / "d" / std::string(300, 'n')), Error);
  BOOST_TEST(!fs::exists(path / "d"));
}

BOOST_FIXTURE_TEST_CASE(lock_of_a_killed_process_is_free, Folder) {
  const pid_t child = ::fork();
  if (child == 0) {
    FileLock lock(path / ".lock");
    while (true) ::pause();
  }
  while (!fs::exists(path / ".lock") || fs::file_size(path / ".lock") == 0) ::usleep(1000);
  BOOST_CHECK_THROW(FileLock(path / ".lock"), Error);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  FileLock free(path / ".lock");
}

// What is written reads back as the same number; six digits stay where they are enough.
BOOST_AUTO_TEST_CASE(numbers_as_text) {
  for (const double value : {0.1, 0.1000004, 1.0 / 3, 5e-4, 1e-5, 1e9, 1234567.0, 0.0, -2.5, 1e-310, 1.7976931348623157e308})
    BOOST_TEST(number_in<double>(exact(value)).value() == value);
  for (const double value : {0.1, 5e-4, 1e-5, 1e9, 1e5, 0.0, 123456.0}) BOOST_TEST(exact(value) == text(value));
  BOOST_TEST(exact(0.1000004) == "0.1000004");
  BOOST_TEST(number_in<i64>("-9223372036854775808").value() == std::numeric_limits<i64>::min());
  for (const char* other : {"", "2x", " 2", "2 ", "+2", "2.0", "abc", "9223372036854775808"}) BOOST_TEST(!number_in<i64>(other));
  BOOST_TEST(!number_in<double>("0.1x"));
}

// A pipe would be waited for, for ever.
BOOST_AUTO_TEST_CASE(a_hash_wants_a_regular_file) {
  const Folder folder;
  BOOST_REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  for (const char* name : {"pipe", "."})
    BOOST_CHECK_EXCEPTION(tree_hash_of_file(folder / name), Error,
                          [](const Error& e) { return std::string(e.what()).find("no regular file") != std::string::npos; });
}

BOOST_AUTO_TEST_SUITE_END()
