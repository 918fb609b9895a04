#include "bench/kernels/peak.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "bench/kernels/peak_variants.h"
#include "bench/kernels/timing.h"
#include "csrc/base/check.h"

namespace pelton::bench {
namespace {

constexpr double kSliceSeconds = 0.001;
constexpr size_t kSlicesMax = 100'000;

std::atomic<float> sink;  // so that no loop is dropped

double time_steps(PeakLoop loop, int64_t steps) {
  const double start = now_seconds();
  sink.store(loop(steps), std::memory_order_relaxed);
  return now_seconds() - start;
}

// The number of steps that take about a slice; raises the clock to the speed it will have, too.
int64_t steps_per_slice(PeakLoop loop) {
  int64_t steps = 1;
  while (time_steps(loop, steps) < kSliceSeconds) steps *= 2;
  return steps;
}

}  // namespace

PeakLoops peak_loops(kernels::Isa isa) {
  switch (isa) {
    case kernels::Isa::kGeneric:
      return kPeakLoops_generic;
    case kernels::Isa::kAvx2:
      return kPeakLoops_avx2;
    case kernels::Isa::kAvx512:
      return kPeakLoops_avx512;
  }
  PELTON_CHECK(false);
}

PeakRate measure_peak(PeakLoop loop, int64_t macs_per_step, const PeakOptions& options) {
  std::vector<std::vector<double>> slices(static_cast<size_t>(options.threads));
  std::barrier start(options.threads);
  const int64_t steps = steps_per_slice(loop);
  const auto body = [&](std::vector<double>& seconds) {
    start.arrive_and_wait();
    const double end = now_seconds() + options.seconds;
    do {
      seconds.push_back(time_steps(loop, steps));
    } while (now_seconds() < end && seconds.size() < kSlicesMax);
  };
  std::vector<std::thread> threads;
  for (auto& seconds : slices) threads.emplace_back(body, std::ref(seconds));
  for (std::thread& thread : threads) thread.join();

  const double gigamacs = 1e-9 * static_cast<double>(steps * macs_per_step);
  PeakRate rate{0.0, 0.0};
  for (std::vector<double>& seconds : slices) {
    std::sort(seconds.begin(), seconds.end());
    rate.best += gigamacs / seconds.front();
    rate.median += gigamacs / seconds[seconds.size() / 2];
  }
  return rate;
}

}  // namespace pelton::bench
