#include "bench/server/loadgen/report.h"

#include <cstdio>
#include <string>

namespace pelton::bench {
namespace {

struct Percentile {
  const char* name;
  double share;
};
constexpr Percentile kPercentiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}, {"p99_99", 0.9999}};

void print_steps(const Histogram& histogram) {
  std::printf("[");
  const char* separator = "";
  histogram.for_each([&](int index, int64_t count) {
    std::printf("%s[%d, %lld]", separator, index, static_cast<long long>(count));
    separator = ", ";
  });
  std::printf("]");
}

void print_count(const char* name, int64_t count) {
  std::printf(", \"%s\": %lld", name, static_cast<long long>(count));
}

void print_text(const char* name, const std::string& text) {
  std::printf(", \"%s\": \"", name);
  for (const char c : text) {
    const bool plain = c >= ' ' && c < 0x7F && c != '"' && c != '\\';
    if (plain) {
      std::printf("%c", c);
    } else {
      std::printf("\\u%04x", static_cast<unsigned char>(c));
    }
  }
  std::printf("\"");
}

void print_statuses(const LoadReport& report) {
  std::printf(", \"statuses\": {");
  const char* separator = "";
  for (size_t status = 0; status < report.statuses.size(); ++status) {
    if (report.statuses[status] == 0) continue;
    std::printf("%s\"%zu\": %lld", separator, status,
                static_cast<long long>(report.statuses[status]));
    separator = ", ";
  }
  std::printf("}");
}

void print_windows(const LoadOptions& options, const LoadReport& report) {
  std::printf(", \"windows\": [");
  for (size_t i = 0; i < report.windows.size(); ++i) {
    const Window& window = report.windows[i];
    const int64_t begin = report.begin_ns + static_cast<int64_t>(i) * options.window_ns;
    std::printf("%s{\"begin_ns\": %lld", i == 0 ? "" : ", ", static_cast<long long>(begin));
    print_count("answered", window.answered);
    print_count("failed", window.failed);
    std::printf(", \"histogram\": ");
    print_steps(window.latencies);
    std::printf("}");
  }
  std::printf("]");
}

}  // namespace

void print_latencies(const Histogram& latencies) {
  std::printf("{\"count\": %lld, \"mean_us\": %.3f", static_cast<long long>(latencies.count()),
              latencies.mean() / 1e3);
  for (const Percentile& percentile : kPercentiles) {
    std::printf(", \"%s_us\": %.3f", percentile.name,
                static_cast<double>(latencies.percentile(percentile.share)) / 1e3);
  }
  std::printf(", \"max_us\": %.3f, \"histogram\": ", static_cast<double>(latencies.max()) / 1e3);
  print_steps(latencies);
  std::printf("}");
}

void print_report(const LoadOptions& options, const LoadReport& report) {
  std::printf("{\"mode\": \"%s\", \"begin_ns\": %lld, \"seconds\": %.6f",
              options.rate > 0 ? "open" : "closed", static_cast<long long>(report.begin_ns),
              report.seconds);
  std::printf(", \"rate\": %.3f, \"client_cpu_seconds\": %.6f",
              static_cast<double>(report.ok) / report.seconds, report.client_cpu_seconds);
  print_count("started", report.started);
  print_count("sent", report.sent);
  print_count("answered", report.answered);
  print_count("ok", report.ok);
  print_count("cancelled", report.cancelled);
  print_count("lost", report.lost);
  print_count("unanswered", report.unanswered);
  print_count("malformed", report.malformed);
  print_count("unsolicited", report.unsolicited);
  print_count("unsent", report.unsent);
  print_count("connects", report.connects);
  print_count("connect_failures", report.connect_failures);
  print_statuses(report);
  print_text("first_error", report.first_error);
  std::printf(", \"latency\": ");
  print_latencies(report.latencies);
  print_windows(options, report);
  std::printf("}\n");
}

}  // namespace pelton::bench
