#include "bench/kernels/timing.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace pelton::bench {
namespace {

double time_runs(const std::function<void()>& run, int64_t count) {
  const double start = now_seconds();
  for (int64_t i = 0; i < count; ++i) run();
  return now_seconds() - start;
}

// The number of runs that take about `seconds`; the first also touches the memory and warms caches.
int64_t runs_per_sample(const std::function<void()>& run, double seconds) {
  run();
  int64_t count = 1;
  while (true) {
    const double taken = time_runs(run, count);
    if (taken >= seconds / 2) {
      return std::max<int64_t>(1,
                               static_cast<int64_t>(static_cast<double>(count) * seconds / taken));
    }
    count *= 2;
  }
}

void print_samples(const Contestant& contestant, const std::vector<double>& seconds, bool last) {
  std::printf("{\"variant\": \"%s\", \"isa\": \"%s\", \"seconds\": [", contestant.name.c_str(),
              kernels::isa_name(contestant.isa));
  for (size_t i = 0; i < seconds.size(); ++i) {
    std::printf("%s%.4g", i == 0 ? "" : ", ", seconds[i]);
  }
  std::printf("]}%s", last ? "" : ", ");
}

}  // namespace

void measure(const Case& measured, const MeasureOptions& options) {
  const std::vector<Contestant>& contestants = measured.contestants;
  std::vector<int64_t> counts;
  for (const Contestant& contestant : contestants) {
    counts.push_back(runs_per_sample(contestant.run, options.sample_seconds));
  }
  std::vector<std::vector<double>> samples(contestants.size());
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t i = 0; i < contestants.size(); ++i) {
      const size_t turn = round % 2 == 0 ? i : contestants.size() - 1 - i;
      samples[turn].push_back(time_runs(contestants[turn].run, counts[turn]) /
                              static_cast<double>(counts[turn]));
    }
  }
  std::printf(
      "{\"op\": \"%s\", \"case\": \"%s\", \"unit\": \"%s\", \"work\": %.0f, \"variants\": [",
      measured.op.c_str(), measured.name.c_str(), measured.unit.c_str(), measured.work);
  for (size_t i = 0; i < contestants.size(); ++i) {
    print_samples(contestants[i], samples[i], i + 1 == contestants.size());
  }
  std::printf("]}\n");
  std::fflush(stdout);
}

}  // namespace pelton::bench
