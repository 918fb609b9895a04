// Counters and histograms for the data plane: written in a few nanoseconds, read as a snapshot by
// whoever shows them.
//
// Every thread writes its own cache lines with relaxed loads and stores, no read-modify-write; a
// snapshot adds up what the slots hold at that moment. Counts only grow. A snapshot is not a cut in
// time: counters that change together may be read a few events apart.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "csrc/concurrency/atomics.h"

namespace pelton {

// A thread's place in every Counters: [0, kThreadSlotCount). The last slot is shared by the threads
// that came when all others were taken. A thread's slot is given to another thread after it has
// ended.
inline constexpr int kThreadSlotCount = 16;
int thread_slot();

// kCount counters of 64 bits. Thread-safe: add() and snapshot() from any thread.
template <size_t kCount>
class Counters {
 public:
  using Values = std::array<uint64_t, kCount>;

  Counters() : slots_(new Slot[kThreadSlotCount]) {}

  void add(size_t counter, uint64_t amount) {
    const int slot = thread_slot();
    std::atomic<uint64_t>& value = slots_[static_cast<size_t>(slot)].values[counter];
    if (slot == kThreadSlotCount - 1) {
      value.fetch_add(amount, std::memory_order_relaxed);  // a shared slot
    } else {
      value.store(value.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
    }
  }

  Values snapshot() const {
    Values sums{};
    for (int slot = 0; slot < kThreadSlotCount; ++slot) {
      for (size_t i = 0; i < kCount; ++i) {
        sums[i] += slots_[static_cast<size_t>(slot)].values[i].load(std::memory_order_relaxed);
      }
    }
    return sums;
  }

 private:
  struct alignas(kInterferenceBytes) Slot {
    std::array<std::atomic<uint64_t>, kCount> values{};
  };
  const std::unique_ptr<Slot[]> slots_;
};

// The buckets of every histogram, log-linear: values below 16 have a bucket each, above that every
// power of two is cut into 16 equal buckets, so a bucket is at most 1/16 of its value wide. Values
// from 2^kHistogramBits on are counted in the last bucket (in nanoseconds: 18 minutes).
inline constexpr int kHistogramBits = 40;
inline constexpr int kHistogramSubBits = 4;
inline constexpr size_t kHistogramBucketCount =
    static_cast<size_t>(kHistogramBits - kHistogramSubBits + 1) << kHistogramSubBits;

constexpr size_t histogram_bucket(uint64_t value) {
  constexpr uint64_t kSubCount = uint64_t{1} << kHistogramSubBits;
  if (value < kSubCount) return static_cast<size_t>(value);
  const int shift = static_cast<int>(std::bit_width(value)) - 1 - kHistogramSubBits;
  if (shift >= kHistogramBits - kHistogramSubBits) return kHistogramBucketCount - 1;
  // value >> shift lies in [16, 32): the octave's bucket, plus 16 for each octave below.
  return (static_cast<size_t>(shift) << kHistogramSubBits) + static_cast<size_t>(value >> shift);
}
// The largest value of a bucket (of the last one: that of its regular range).
constexpr uint64_t histogram_bucket_max(size_t bucket) {
  constexpr size_t kSubCount = size_t{1} << kHistogramSubBits;
  if (bucket < 2 * kSubCount) return bucket;
  const size_t shift = (bucket >> kHistogramSubBits) - 1;
  const uint64_t step = (bucket & (kSubCount - 1)) + kSubCount;
  return ((step + 1) << shift) - 1;
}

struct HistogramSnapshot {
  std::array<uint64_t, kHistogramBucketCount> buckets{};
  uint64_t count = 0;  // sum of the buckets
  uint64_t sum = 0;    // of the recorded values

  // How many recorded values are <= bound, to the width of a bucket: a bucket that reaches over the
  // bound is not counted. For the buckets of Prometheus.
  uint64_t count_at_most(uint64_t bound) const;
  // The largest value of the bucket in which the q-quantile lies, 0 <= q <= 1; 0 when nothing was
  // recorded.
  uint64_t quantile(double q) const;
  void merge(const HistogramSnapshot& other);
};

// One writer. Thread-safe: record() from one thread at a time (handing over with synchronization),
// snapshot() from any.
class Histogram {
 public:
  Histogram() = default;
  Histogram(const Histogram&) = delete;
  Histogram& operator=(const Histogram&) = delete;

  void record(uint64_t value) {
    increase(buckets_[histogram_bucket(value)], 1);
    increase(sum_, value);
  }
  HistogramSnapshot snapshot() const;

 private:
  static void increase(std::atomic<uint64_t>& cell, uint64_t amount) {
    cell.store(cell.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  alignas(kInterferenceBytes) std::atomic<uint64_t> sum_{0};
  std::array<std::atomic<uint64_t>, kHistogramBucketCount> buckets_{};
};

}  // namespace pelton
