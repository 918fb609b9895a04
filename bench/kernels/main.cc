// pelton_bench_kernels: what this CPU can do and what the kernels make of it, as lines of JSON.
//
//   pelton_bench_kernels peak [--isa NAME] [--threads N] [--seconds S]
//   pelton_bench_kernels kernels [--rounds N] [--tiny]
//
// PELTON_ISA is the default of --isa; else it is the best that this CPU runs.
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "bench/kernels/cases.h"
#include "bench/kernels/peak.h"
#include "csrc/base/cpu_features.h"

namespace pelton::bench {
namespace {

constexpr int kThreadsMax = 1024;
constexpr int kRoundsMax = 10'000;
constexpr double kSecondsMax = 60.0;

struct Arguments {
  std::string command;
  std::string isa;
  int threads = 1;
  int rounds = 15;
  double seconds = 0.1;
  bool tiny = false;
};

template <typename Number>
bool read_number(const char* text, Number low, Number high, Number& value) {
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  return error == std::errc() && stop == end && value >= low && value <= high;
}

bool read_option(const std::string& name, const char* value, Arguments& arguments) {
  if (name == "--isa") {
    arguments.isa = value;
    return true;
  }
  if (name == "--threads") return read_number(value, 1, kThreadsMax, arguments.threads);
  if (name == "--rounds") return read_number(value, 1, kRoundsMax, arguments.rounds);
  if (name == "--seconds") return read_number(value, 0.0, kSecondsMax, arguments.seconds);
  return false;
}

bool read_arguments(int count, char** words, Arguments& arguments) {
  if (count < 2) return false;
  arguments.command = words[1];
  if (const char* forced = std::getenv("PELTON_ISA")) arguments.isa = forced;
  for (int i = 2; i < count; ++i) {
    if (std::strcmp(words[i], "--tiny") == 0) {
      arguments.tiny = true;
    } else if (i + 1 < count && read_option(words[i], words[i + 1], arguments)) {
      ++i;
    } else {
      std::fprintf(stderr, "pelton_bench_kernels: unknown option or bad value: %s\n", words[i]);
      return false;
    }
  }
  return arguments.command == "peak" || arguments.command == "kernels";
}

void print_rate(const char* name, PeakLoop loop, int64_t macs, const PeakOptions& options) {
  const PeakRate rate = measure_peak(loop, macs, options);
  std::printf(", \"%s\": {\"best\": %.2f, \"median\": %.2f}", name, rate.best, rate.median);
}

int run_peak(const Arguments& arguments, kernels::Isa isa) {
  const PeakLoops loops = peak_loops(isa);
  const PeakOptions options{arguments.threads, arguments.seconds / 2};
  std::printf("{\"isa\": \"%s\", \"threads\": %d", kernels::isa_name(isa), arguments.threads);
  print_rate("registers", loops.registers, loops.registers_macs, options);
  print_rate("tile", loops.tile, loops.tile_macs, options);
  std::printf("}\n");
  return 0;
}

int run_kernels(const Arguments& arguments, const kernels::IsaFeatures& features) {
  CaseOptions options;
  options.features = features;
  options.measure.rounds = arguments.rounds;
  options.tiny = arguments.tiny;
  if (arguments.tiny) options.measure.sample_seconds = 1e-5;
  bench_gemm(options);
  bench_attention(options);
  bench_rows(options);
  return 0;
}

int run(int count, char** words) {
  Arguments arguments;
  if (!read_arguments(count, words, arguments)) {
    std::fprintf(stderr,
                 "usage: pelton_bench_kernels peak [--isa NAME] [--threads N] [--seconds S]\n"
                 "       pelton_bench_kernels kernels [--rounds N] [--tiny]\n");
    return 2;
  }
  const kernels::IsaFeatures features = detect_cpu_features();
  const Result<kernels::Isa> isa = choose_isa(features, arguments.isa.c_str());
  if (!isa.ok()) {
    std::fprintf(stderr, "pelton_bench_kernels: %s\n", std::string(isa.status().message()).c_str());
    return 1;
  }
  return arguments.command == "peak" ? run_peak(arguments, isa.value())
                                     : run_kernels(arguments, features);
}

}  // namespace
}  // namespace pelton::bench

int main(int count, char** words) { return pelton::bench::run(count, words); }
