// pelton_loadgen: load on an HTTP server, and what it answered, as one JSON document.
#include <sys/prctl.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>

#include "bench/server/loadgen/idle.h"
#include "bench/server/loadgen/load.h"
#include "bench/server/loadgen/report.h"
#include "bench/server/loadgen/request_file.h"
#include "bench/server/loadgen/sockets.h"

namespace pelton::bench {
namespace {

constexpr char kUsage[] =
    "usage: pelton_loadgen closed --port P --requests FILE [--connections N] [--seconds S] …\n"
    "       pelton_loadgen open   --port P --requests FILE --rate R [--connections N] …\n"
    "         [--host 127.0.0.1] [--count N] [--window-ms W] [--reconnect-every N]\n"
    "         [--cancel-every N] [--cancel-delay-us U] [--drain-seconds S]\n"
    "       pelton_loadgen idle   --port P --connections N [--requests FILE]\n"
    "       pelton_loadgen summarize < LATENCIES      one number of nanoseconds per line\n";
constexpr int kConnectionsMax = 1 << 20;
constexpr double kSecondsMax = 86'400;
constexpr double kRateMax = 1e7;
constexpr int64_t kCountMax = int64_t{1} << 53;
constexpr double kWindowsMax = 4096;
constexpr double kNsPerMs = 1e6;

struct Arguments {
  std::string command;
  std::string host = "127.0.0.1";
  int port = 0;
  std::string requests;
  double window_ms = 0;
  double cancel_delay_us = 1000;
  LoadOptions load;
};

template <typename Number>
bool read_number(const char* text, Number low, Number high, Number& value) {
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  return error == std::errc() && stop == end && value >= low && value <= high;
}

bool read_option(const std::string& name, const char* value, Arguments& given) {
  LoadOptions& load = given.load;
  if (name == "--host") return !(given.host = value).empty();
  if (name == "--requests") return !(given.requests = value).empty();
  if (name == "--port") return read_number(value, 1, 65'535, given.port);
  if (name == "--connections") return read_number(value, 1, kConnectionsMax, load.connections);
  if (name == "--seconds") return read_number(value, 0.0, kSecondsMax, load.seconds);
  if (name == "--rate") return read_number(value, 0.001, kRateMax, load.rate);
  if (name == "--count") return read_number(value, int64_t{1}, kCountMax, load.count_max);
  if (name == "--window-ms") return read_number(value, 1.0, 1e6, given.window_ms);
  if (name == "--drain-seconds") return read_number(value, 0.0, 3600.0, load.drain_seconds);
  if (name == "--cancel-delay-us") return read_number(value, 0.0, 1e7, given.cancel_delay_us);
  if (name == "--cancel-every") {
    return read_number(value, int64_t{1}, kCountMax, load.cancel_every);
  }
  if (name == "--reconnect-every") {
    return read_number(value, int64_t{1}, kCountMax, load.reconnect_every);
  }
  return false;
}

bool read_arguments(int count, char** words, Arguments& given) {
  if (count < 2) return false;
  given.command = words[1];
  for (int i = 2; i < count; i += 2) {
    if (i + 1 == count || !read_option(words[i], words[i + 1], given)) {
      std::fprintf(stderr, "pelton_loadgen: unknown option or bad value: %s\n", words[i]);
      return false;
    }
  }
  if (given.command == "summarize") return true;
  const bool idle = given.command == "idle";
  const bool open = given.command == "open";
  if (!idle && !open && given.command != "closed") return false;
  if (given.port == 0 || (!idle && given.requests.empty())) return false;
  if (open != (given.load.rate > 0)) return false;
  given.load.window_ns = static_cast<int64_t>(given.window_ms * kNsPerMs);
  given.load.cancel_delay_ns = static_cast<int64_t>(given.cancel_delay_us * 1e3);
  if (given.window_ms > 0 && given.load.seconds * 1e3 / given.window_ms > kWindowsMax) {
    std::fprintf(stderr, "pelton_loadgen: over %.0f windows\n", kWindowsMax);
    return false;
  }
  return true;
}

void handle_signals() {
  struct sigaction action = {};
  action.sa_handler = [](int) { stop_requested.store(true, std::memory_order_relaxed); };
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
}

Status run_command(Arguments& given) {
  Result<sockaddr_in> address = parse_address(given.host, given.port);
  if (!address.ok()) return address.status();
  given.load.address = address.value();
  if (!given.requests.empty()) {
    Result<std::vector<std::string>> requests = read_requests(given.requests);
    if (!requests.ok()) return requests.status();
    given.load.requests = std::move(requests).value();
  }
  if (given.command == "idle") {
    IdleOptions idle = {given.load.address, given.load.connections, ""};
    if (!given.load.requests.empty()) idle.request = given.load.requests.front();
    return run_idle(idle);
  }
  const Result<LoadReport> report = run_load(given.load);
  if (!report.ok()) return report.status();
  print_report(given.load, report.value());
  return Status();
}

int summarize() {
  Histogram histogram;
  int64_t nanoseconds = 0;
  while (std::cin >> nanoseconds) {
    if (nanoseconds < 0) break;
    histogram.record(nanoseconds);
  }
  if (!std::cin.eof()) {
    std::fprintf(stderr, "pelton_loadgen: expected numbers of nanoseconds, one per line\n");
    return 1;
  }
  print_latencies(histogram);
  std::printf("\n");
  return 0;
}

int run(int count, char** words) {
  Arguments given;
  if (!read_arguments(count, words, given)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  if (given.command == "summarize") return summarize();
  handle_signals();
  prctl(PR_SET_TIMERSLACK, 1000UL);  // the kernel may otherwise send 50 us late
  const Status status = run_command(given);
  if (status.ok()) return 0;
  std::fprintf(stderr, "pelton_loadgen: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace pelton::bench

int main(int count, char** words) { return pelton::bench::run(count, words); }
