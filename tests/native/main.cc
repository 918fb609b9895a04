// The runner of a native test binary:
//
//   BINARY [--seed N] [--timeout-s N] [--list] [FILTER ...]
//
// runs the tests whose names contain any of the filters (all, without one), in the order of their
// names. The last line is `N passed, N failed, N skipped`. Exit code: 0 when nothing failed and
// something ran, 1 otherwise, 2 for wrong usage. A test that runs longer than the time limit (600
// s) ends the process with its name.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include "tests/native/test.h"

namespace testing {
namespace {

struct Case {
  const char* name;
  const char* file;
  int line;
  Body body;
};

struct Options {
  uint64_t seed = 1;
  unsigned timeout_s = 600;
  bool list = false;
  std::vector<std::string> filters;
};

struct Counts {
  int passed = 0;
  int failed = 0;
  int skipped = 0;
};

// Registrations run before main, in any order of files: the list must exist before the first.
std::vector<Case>& cases() {
  static std::vector<Case> list;
  return list;
}

uint64_t run_seed = 1;
std::atomic<int> failure_count{0};
bool was_skipped = false;
const char* running = "";
std::mutex print_mutex;

// Only async-signal-safe calls.
void on_timeout(int) {
  constexpr char kText[] = "\nFAIL, over the time limit: ";
  [[maybe_unused]] ssize_t written = write(STDOUT_FILENO, kText, sizeof(kText) - 1);
  written = write(STDOUT_FILENO, running, std::strlen(running));
  written = write(STDOUT_FILENO, "\n", 1);
  _exit(1);
}

[[noreturn]] void wrong_usage(const char* argument) {
  std::fprintf(stderr,
               "wrong usage at '%s'; usage: [--seed N] [--timeout-s N] [--list] [FILTER ...]\n",
               argument);
  std::exit(2);
}

uint64_t parse_number(const char* text) {
  char* end = nullptr;
  const uint64_t value = std::strtoull(text, &end, 10);
  if (*text == '\0' || *text == '-' || *end != '\0') wrong_usage(text);
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const bool takes_value = argument == "--seed" || argument == "--timeout-s";
    if (takes_value && i + 1 >= argc) wrong_usage(argv[i]);
    if (argument == "--seed") {
      options.seed = parse_number(argv[++i]);
    } else if (argument == "--timeout-s") {
      options.timeout_s = static_cast<unsigned>(parse_number(argv[++i]));
    } else if (argument == "--list") {
      options.list = true;
    } else if (argument.starts_with("-")) {
      wrong_usage(argv[i]);
    } else {
      options.filters.emplace_back(argument);
    }
  }
  return options;
}

bool selected(const Case& test, const std::vector<std::string>& filters) {
  const std::string_view name = test.name;
  return filters.empty() ||
         std::any_of(filters.begin(), filters.end(), [&](const std::string& filter) {
           return name.find(filter) != std::string_view::npos;
         });
}

void run_case(const Case& test, const Options& options, Counts& counts,
              std::vector<const char*>& failures) {
  running = test.name;
  failure_count = 0;
  was_skipped = false;
  alarm(options.timeout_s);
  const auto start = std::chrono::steady_clock::now();
  test.body();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  alarm(0);
  if (failure_count > 0) {
    ++counts.failed;
    failures.push_back(test.name);
    std::printf("FAIL %s (%s:%d)\n", test.name, test.file, test.line);
  } else if (was_skipped) {
    ++counts.skipped;
  } else {
    ++counts.passed;
    if (took.count() > 1.0) std::printf("slow %s: %.1f s\n", test.name, took.count());
  }
  std::fflush(stdout);
}

int run(const Options& options) {
  std::vector<Case> chosen;
  std::copy_if(cases().begin(), cases().end(), std::back_inserter(chosen),
               [&](const Case& test) { return selected(test, options.filters); });
  std::sort(chosen.begin(), chosen.end(), [](const Case& a, const Case& b) {
    return std::string_view(a.name) < std::string_view(b.name);
  });
  if (options.list) {
    for (const Case& test : chosen) std::printf("%s\n", test.name);
    return 0;
  }
  run_seed = options.seed;
  std::signal(SIGALRM, on_timeout);
  std::printf("seed %llu\n", static_cast<unsigned long long>(run_seed));
  Counts counts;
  std::vector<const char*> failures;
  for (const Case& test : chosen) run_case(test, options, counts, failures);
  if (chosen.empty()) std::printf("no test ran\n");
  for (const char* name : failures) std::printf("failed: %s\n", name);
  std::printf("%d passed, %d failed, %d skipped\n", counts.passed, counts.failed, counts.skipped);
  return counts.failed == 0 && !chosen.empty() ? 0 : 1;
}

}  // namespace

Registration::Registration(const char* name, const char* file, int line, Body body) {
  cases().push_back({name, file, line, body});
}

uint64_t seed() { return run_seed; }

void fail(const char* file, int line, const std::string& text) {
  // Only the first failures of a test are printed: a broken kernel fails once per element.
  constexpr int kPrintedMax = 20;
  const int earlier = failure_count.fetch_add(1);
  if (earlier > kPrintedMax) return;
  const std::lock_guard lock(print_mutex);
  if (earlier == kPrintedMax) {
    std::printf("  (more failures of %s are not printed)\n", running);
  } else {
    std::printf("%s:%d: %s: %s\n", file, line, running, text.c_str());
  }
}

void skip(const std::string& why) {
  was_skipped = true;
  std::printf("SKIP %s: %s\n", running, why.c_str());
}

void note(const std::string& text) { std::printf("  %s: %s\n", running, text.c_str()); }

}  // namespace testing

int main(int argc, char** argv) { return testing::run(testing::parse(argc, argv)); }
