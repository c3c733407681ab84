// Bodies of common.hpp.
#include "common.hpp"

#include <mindgap/cpu/neighbours.hpp>
#include <mindgap/cpu/onednn.hpp>
#include <mindgap/io/file.hpp>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <ctime>

namespace mindgap {

namespace {

volatile sig_atomic_t signalled = 0;  // the first signal's number
volatile sig_atomic_t patient = 1;    // waits for the work at hand
timespec first_signal;
constexpr std::string_view acknowledgement = "mindgap: told to stop; ends after the work at hand, and at once if told again\n";

void on_signal(int number) {
  const int error = errno;
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const auto since = [&](const timespec& then) {
    return double(now.tv_sec - then.tv_sec) + 1e-9 * double(now.tv_nsec - then.tv_nsec);
  };
  if (!signalled) {
    first_signal = now;
    signalled = number;
    if (isatty(STDERR_FILENO)) (void)!::write(STDERR_FILENO, "\n", 1);  // behind a line of progress
    (void)!::write(STDERR_FILENO, acknowledgement.data(), acknowledgement.size());
    if (!patient) ::alarm(1);
  } else if (number != SIGHUP || signalled != SIGHUP || since(first_signal) > 0.2) {
    // Not the same hang-up again: a closed terminal tells the program, and the shell passes on what it was told itself.
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
  errno = error;
}

void on_alarm(int) {
  constexpr std::string_view said = "mindgap: interrupted in the middle of an operation; what was finished is kept\n";
  (void)!::write(STDERR_FILENO, said.data(), said.size());
  ::_exit(130);
}

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before;
    sigaction(number, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);  // nohup, or a script's job in the background
  }
  std::signal(SIGXFSZ, SIG_IGN);  // a file beyond the limit is an error of its write, which names it
  std::signal(SIGPIPE, SIG_IGN);  // nobody reads what is said on standard error: no reason to lose work; print() is another case
}

// A file that is opened gets the least number that is free: that of a closed stream, and with it what is said there.
void check_streams() {
  bool closed = false;
  for (int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) < 0) {
      closed |= stream == STDOUT_FILENO;
      ::open("/dev/null", O_RDWR);
    }
  if (closed) throw Error("standard output is closed", {{"remedy", "give it a file, a pipe or /dev/null"}});
}

struct Interrupted {
  std::string how_to_go_on;
};

}  // namespace

// --- the wrapper ----------------------------------------------------------------------------------------------------

int run_app(int argc, char** argv, const std::string& name, const std::string& description,
            const std::function<void(Flags&)>& define, const std::function<void(const CommonOptions&)>& body) {
  const auto fail = [](const std::string& block, int code) {
    std::cerr << block << std::endl;
    return code;
  };
  try {
    catch_signals();
    check_streams();
    CommonOptions common;
    Flags flags(name, description);
    define(flags);
    flags.add("device", &common.device, "cpu, cuda or auto");
    flags.add("precision", &common.precision, "f32, bf16, and on a GPU tf32 or f16: activations and working copies of matrices");
    flags.add("seed", &common.seed, "all random numbers follow from it");
    flags.add("threads", &common.threads, "0 uses all cores", {0, 1024});
    flags.add("profile", &common.profile, "print where the time went, op by op; steps are then not replayed");
    flags.add("out", &common.out, "where results go");
    if (!flags.parse(argc, argv)) return print(flags.help()), 0;
    common.given = flags.given();
    if (common.device != "cpu" && common.device != "cuda" && common.device != "auto")
      bad_value("device", common.device, "cpu, cuda or auto");
    if (common.precision != "f32" && common.precision != "bf16" && common.precision != "tf32" && common.precision != "f16")
      bad_value("precision", common.precision, "f32, tf32, bf16 or f16");
    if (common.device == "cpu") precision_of(common, true);  // refuses what it does not have
    if (common.threads) Runtime<Cpu>::set_threads(int(common.threads));
    const Neighbours neighbours;
    body(common);
    return 0;
  } catch (const UsageError& error) {
    return fail(error.what(), 2);
  } catch (const Interrupted& stop) {
    return fail(name + ": interrupted; " + stop.how_to_go_on, 130);
  } catch (const Error& error) {
    return fail(error.what(), 1);
  } catch (const std::filesystem::filesystem_error& error) {
    const std::string what = error.code().message();
    return fail(Error("cannot look at the file: " + what, {{"file", detail::escaped(error.path1().string(), 300)},
                                                           {"remedy", detail::file_remedy(error.code().value())}})
                    .what(),
                1);
  } catch (const std::bad_alloc&) {
    return fail("mindgap: out of memory\n  remedy  use a smaller batch or fewer images", 1);
  } catch (const std::exception& error) {
    return fail(std::string("mindgap: ") + error.what(), 1);
  }
}

void check_out(const CommonOptions& common, const std::string& flag, const std::filesystem::path& path) {
  std::error_code code;  // of one that is not there: it is another
  if (std::filesystem::equivalent(common.out, path, code))
    throw UsageError("--out is what --" + flag + " names", {{"path", path.string()}, {"remedy", "use another --out"}});
}

bool interrupted() { return signalled != 0; }
void end_soon_when_interrupted() {
  std::signal(SIGALRM, on_alarm);
  patient = 0;
  if (signalled) ::alarm(1);  // one that came before
}
void stop_interrupted(const std::string& how_to_go_on) { throw Interrupted{how_to_go_on}; }

void print(const std::string& text) {
  const auto old = std::signal(SIGPIPE, SIG_DFL);
  detail::write_all(STDOUT_FILENO, text, "standard output");
  std::signal(SIGPIPE, old);
}

std::string device_of(const CommonOptions& common, bool built, bool gpu) {
  if (common.device == "cuda" && !built)
    throw UsageError("this build has no CUDA",
                     {{"flag", "--device cuda"}, {"remedy", "configure with -DMINDGAP_CUDA=ON, or use --device cpu"}});
  if (common.device == "cuda" && !gpu)
    throw UsageError("this machine has no GPU that this build can use",
                     {{"flag", "--device cuda"}, {"remedy", "install a GPU driver for CUDA 13, or use --device cpu"}});
  return gpu ? "cuda" : "cpu";
}

std::string precision_of(const CommonOptions& common, bool on_cpu) {
  const std::string& wanted = common.precision;
  if (!on_cpu || wanted == "f32") return wanted;
  if (wanted != "bf16")
    throw UsageError("the CPU does not compute in " + wanted,
                     {{"flag", "--precision " + wanted}, {"remedy", "use f32 or bf16, or --device cuda"}});
  if (cpu::has_bf16()) return wanted;
  static bool told = false;
  if (!told) std::cerr << "mindgap: this CPU has no bf16 instructions; running in f32" << std::endl;
  told = true;
  return "f32";
}

// --- progress -------------------------------------------------------------------------------------------------------

std::string duration(double seconds) {
  const i64 s = std::llround(seconds);
  if (s < 60) return text(s, " s");
  if (s < 3600) return text(s / 60, " min ", s % 60, " s");
  return text(s / 3600, " h ", s % 3600 / 60, " min");
}

Progress::Progress(std::string name, i64 total, i64 done, std::string unit)
    : name_(std::move(name)),
      unit_(std::move(unit)),
      total_(total),
      first_(done),
      done_(done),
      terminal_(isatty(STDERR_FILENO)),
      start_(Clock::now()),
      printed_(start_) {}

void Progress::update(i64 done, const std::string& note) {
  done_ = done;
  const auto now = Clock::now();
  if (now - printed_ < std::chrono::milliseconds(terminal_ ? 200 : 5000)) return;
  printed_ = now;
  print(note, false);
}

void Progress::finish(const std::string& note) { print(note, true); }

void Progress::print(const std::string& note, bool last) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double rate = seconds > 0 ? double(done_ - first_) / seconds : 0;
  std::string line = text(name_, ": ", done_, "/", total_, " ", unit_);
  char number[32];
  std::snprintf(number, sizeof number, rate < 10 ? "%.2f" : "%.0f", rate);
  if (rate > 0) line += text("  ", number, "/s");
  if (last) line += "  in " + duration(seconds);
  else if (rate > 0) line += "  " + duration(double(total_ - done_) / rate) + " left";
  if (!note.empty()) line += "  " + note;
  if (!terminal_) {
    std::cerr << line << std::endl;
    return;
  }
  const size_t width = line.size();
  if (width < width_) line.append(width_ - width, ' ');
  width_ = width;
  std::cerr << '\r' << line << (last ? "\n" : "") << std::flush;
}

}  // namespace mindgap
