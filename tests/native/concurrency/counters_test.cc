#include "csrc/concurrency/counters.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "csrc/concurrency/wait_word.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

TEST(counters_add_up_over_more_threads_than_slots) {
  constexpr int kThreads = 3 * kThreadSlotCount;
  constexpr int kAdds = 2000;
  Counters<3> counters;
  WaitWord start;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      counters.add(2, 1);  // takes its slot while all threads live: some must share
      start.wait_for(1, {});
      for (int i = 0; i < kAdds; ++i) {
        counters.add(0, 1);
        counters.add(1, 3);
      }
    });
  }
  start.publish(1);
  for (std::thread& thread : threads) thread.join();
  const auto values = counters.snapshot();
  EXPECT_EQ(values[0], kThreads * kAdds);
  EXPECT_EQ(values[1], 3 * kThreads * kAdds);
  EXPECT_EQ(values[2], kThreads);
}

TEST(counters_slots_are_used_again_after_their_threads) {
  Counters<1> counters;
  std::atomic<int> shared{0};
  // One at a time: none should have to share.
  for (int t = 0; t < 4 * kThreadSlotCount; ++t) {
    std::thread thread([&] {
      counters.add(0, 1);
      if (thread_slot() == kThreadSlotCount - 1) ++shared;
    });
    thread.join();
  }
  EXPECT_EQ(counters.snapshot()[0], 4 * kThreadSlotCount);
  EXPECT_EQ(shared.load(), 0);
}

TEST(counters_snapshot_while_written) {
  Counters<1> counters;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) counters.add(0, 1);
  });
  uint64_t last = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t now = counters.snapshot()[0];
    EXPECT(now >= last);
    last = now;
  }
  stop = true;
  writer.join();
}

TEST(histogram_buckets_tile_the_numbers) {
  static_assert(histogram_bucket(0) == 0 && histogram_bucket(15) == 15);
  static_assert(histogram_bucket_max(kHistogramBucketCount - 1) ==
                (uint64_t{1} << kHistogramBits) - 1);
  for (size_t i = 0; i < kHistogramBucketCount; ++i) {
    const uint64_t max = histogram_bucket_max(i);
    EXPECT_EQ(histogram_bucket(max), i);
    if (i + 1 < kHistogramBucketCount) EXPECT_EQ(histogram_bucket(max + 1), i + 1);
    const uint64_t min = i == 0 ? 0 : histogram_bucket_max(i - 1) + 1;
    EXPECT((max - min + 1) * 16 <= std::max<uint64_t>(min, 16));  // at most 1/16 wide
  }
  EXPECT_EQ(histogram_bucket(uint64_t{1} << kHistogramBits), kHistogramBucketCount - 1);
  EXPECT_EQ(histogram_bucket(std::numeric_limits<uint64_t>::max()), kHistogramBucketCount - 1);
}

TEST(histogram_agrees_with_a_sorted_list) {
  std::mt19937_64 random(testing::seed());
  Histogram histogram;
  std::vector<uint64_t> values;
  uint64_t sum = 0;
  for (int i = 0; i < 5000; ++i) {
    const uint64_t value = random() >> (25 + random() % 39);
    values.push_back(value);
    sum += value;
    histogram.record(value);
  }
  std::sort(values.begin(), values.end());
  const HistogramSnapshot snapshot = histogram.snapshot();
  EXPECT_EQ(snapshot.count, values.size());
  EXPECT_EQ(snapshot.sum, sum);
  for (const double q : {0.0, 0.5, 0.9, 0.99, 1.0}) {
    const size_t rank = q == 0 ? 1 : static_cast<size_t>(std::ceil(q * 5000));
    const uint64_t exact = values[rank - 1];
    EXPECT(snapshot.quantile(q) >= exact);
    EXPECT(snapshot.quantile(q) <= exact + exact / 16);
  }
  for (const uint64_t bound : {uint64_t{0}, uint64_t{7}, uint64_t{1000}, uint64_t{1} << 30}) {
    const auto exact = [&](uint64_t limit) {
      return static_cast<uint64_t>(std::upper_bound(values.begin(), values.end(), limit) -
                                   values.begin());
    };
    EXPECT(snapshot.count_at_most(bound) <= exact(bound));
    EXPECT(snapshot.count_at_most(bound) >= exact(bound - bound / 16));
  }
  EXPECT_EQ(snapshot.count_at_most(std::numeric_limits<uint64_t>::max()), snapshot.count);
  HistogramSnapshot twice = snapshot;
  twice.merge(snapshot);
  EXPECT_EQ(twice.count, 2 * snapshot.count);
  EXPECT_EQ(twice.sum, 2 * snapshot.sum);
  EXPECT_EQ(twice.quantile(0.5), snapshot.quantile(0.5));
  EXPECT_EQ(HistogramSnapshot{}.quantile(0.5), 0);
}

}  // namespace
}  // namespace pelton
