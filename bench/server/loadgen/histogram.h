// Latencies in nanoseconds, counted log-linearly: exact below 2048, above that in 1024 steps per
// power of two, so that a value read back is off by less than 0.1 % (three significant digits). The
// layout is that of Gil Tene's HdrHistogram (hdrhistogram.org). Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

namespace pelton::bench {

class Histogram {
 public:
  // What is above is counted as this: 18 minutes.
  static constexpr int64_t kValueMax = (int64_t{1} << 40) - 1;

  // REQUIRES: nanoseconds >= 0. Allocates once per power of two that occurs.
  void record(int64_t nanoseconds);

  int64_t count() const { return count_; }
  int64_t max() const { return max_; }
  double mean() const;

  // The value of rank ceil(share * count), the middle of its step; 0 where nothing was recorded.
  // REQUIRES: 0 < share <= 1.
  int64_t percentile(double share) const;

  // Calls visit(index, count) for every step that is not empty, in order.
  template <typename Visit>
  void for_each(Visit visit) const {
    for (int octave = 0; octave < kOctaves; ++octave) {
      if (counts_[octave] == nullptr) continue;
      for (int step = 0; step < kSteps; ++step) {
        const int64_t count = (*counts_[octave])[step];
        if (count > 0) visit(octave * kSteps + step, count);
      }
    }
  }

  static int index_of(int64_t nanoseconds);
  // The middle of a step; the inverse of index_of below 2048.
  static int64_t value_of(int index);

 private:
  static constexpr int kSteps = 1024;
  static constexpr int kOctaves = 32;
  using Octave = std::array<int64_t, kSteps>;

  std::array<std::unique_ptr<Octave>, kOctaves> counts_;
  int64_t count_ = 0;
  int64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace pelton::bench
