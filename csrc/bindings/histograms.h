// Histograms for Python. Called with the GIL held.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

#include "csrc/concurrency/counters.h"

namespace pelton {

// {"bounds", "counts", "total"}: how many values were at most each bound and above the one before,
// and above the last. `unit` is what bounds and the total are multiplied by. REQUIRES: `bounds`
// ascend.
template <typename Bounds>
pybind11::dict histogram_dict(const HistogramSnapshot& snapshot, const Bounds& bounds,
                              double unit) {
  pybind11::list limits;
  pybind11::list counts;
  uint64_t below = 0;
  for (const uint64_t bound : bounds) {
    const uint64_t at_most = snapshot.count_at_most(bound);
    limits.append(static_cast<double>(bound) * unit);
    counts.append(at_most - below);
    below = at_most;
  }
  counts.append(snapshot.count - below);
  pybind11::dict result;
  result["bounds"] = limits;
  result["counts"] = counts;
  result["total"] = static_cast<double>(snapshot.sum) * unit;
  return result;
}

// The bounds of pelton/metrics.py, in nanoseconds.
inline constexpr uint64_t kSecondsBoundsNs[] = {
    100'000,       250'000,       500'000,       1'000'000,     2'500'000,   5'000'000,
    10'000'000,    25'000'000,    50'000'000,    100'000'000,   250'000'000, 500'000'000,
    1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};

}  // namespace pelton
