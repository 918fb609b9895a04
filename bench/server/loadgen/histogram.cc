#include "bench/server/loadgen/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace pelton::bench {

int Histogram::index_of(int64_t nanoseconds) {
  const auto value = static_cast<uint64_t>(std::min(nanoseconds, kValueMax));
  // 11 bits are kept: the leading one and ten below it.
  const int shift = std::max(0, static_cast<int>(std::bit_width(value)) - 11);
  return shift * kSteps + static_cast<int>(value >> shift);
}

int64_t Histogram::value_of(int index) {
  const int shift = std::max(0, index / kSteps - 1);
  const int64_t lowest = int64_t{index - shift * kSteps} << shift;
  return lowest + ((int64_t{1} << shift) >> 1);
}

void Histogram::record(int64_t nanoseconds) {
  const int index = index_of(nanoseconds);
  std::unique_ptr<Octave>& octave = counts_[index / kSteps];
  if (octave == nullptr) octave = std::make_unique<Octave>();
  ++(*octave)[index % kSteps];
  ++count_;
  max_ = std::max(max_, nanoseconds);
  sum_ += static_cast<double>(nanoseconds);
}

double Histogram::mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

int64_t Histogram::percentile(double share) const {
  const auto rank = std::max<int64_t>(
      1, static_cast<int64_t>(std::ceil(share * static_cast<double>(count_) - 1e-9)));
  int64_t seen = 0;
  int64_t found = 0;
  for_each([&](int index, int64_t count) {
    if (seen < rank) found = value_of(index);
    seen += count;
  });
  return std::min(found, max_);
}

}  // namespace pelton::bench
