#include "csrc/exec/work_split.h"

#include <algorithm>
#include <random>

#include "tests/native/test.h"

namespace pelton {
namespace {

TEST(even_part_covers_everything_once_in_order) {
  for (const int64_t count : {0, 1, 7, 8, 9, 100, 1000}) {
    for (const int64_t unit : {1, 8, 48}) {
      for (int ranks = 1; ranks <= 9; ++ranks) {
        int64_t next = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          const Range part = even_part(count, unit, rank, ranks);
          EXPECT_EQ(part.begin, next);
          EXPECT(part.begin <= part.end);
          EXPECT(part.begin % unit == 0 || part.begin == count);
          EXPECT(part.end - part.begin <= (count / unit / ranks + 1) * unit);
          next = part.end;
        }
        EXPECT_EQ(next, count);
      }
    }
  }
}

TEST(split_gemm_uses_every_rank_and_prefers_columns) {
  for (int ranks = 1; ranks <= 16; ++ranks) {
    for (const int64_t rows : {1, 16, 100, 1000}) {
      const GemmSplit split = split_gemm(rows, 384, ranks);
      EXPECT_EQ(split.row_parts * split.column_parts, ranks);
    }
  }
  EXPECT_EQ(split_gemm(128, 1536, 2).column_parts, 2);
  EXPECT_EQ(split_gemm(1, 384, 2).column_parts, 2);
  EXPECT_EQ(split_gemm(1000, 16, 4).row_parts, 4);
}

TEST(assign_sequences_gives_each_to_one_rank_and_balances) {
  std::mt19937_64 random(testing::seed());
  std::vector<int32_t> order;
  std::vector<int64_t> rank_ends;
  std::vector<int64_t> loads;
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> lengths(1 + random() % 60);
    for (int32_t& length : lengths) length = 1 + static_cast<int32_t>(random() % 128);
    const int ranks = 1 + static_cast<int>(random() % 5);
    const double imbalance = assign_sequences(lengths, ranks, order, rank_ends, loads);
    std::vector<int32_t> seen = order;
    std::sort(seen.begin(), seen.end());
    for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], static_cast<int32_t>(i));
    EXPECT_EQ(rank_ends.back(), static_cast<int64_t>(lengths.size()));
    int64_t total = 0;
    int64_t largest = 0;
    int64_t begin = 0;
    for (const int64_t end : rank_ends) {
      int64_t load = 0;
      for (int64_t i = begin; i < end; ++i) {
        load += lengths[static_cast<size_t>(order[static_cast<size_t>(i)])];
        if (i > begin) EXPECT(order[static_cast<size_t>(i - 1)] < order[static_cast<size_t>(i)]);
      }
      total += load;
      largest = std::max(largest, load);
      begin = end;
    }
    EXPECT_NEAR(imbalance, static_cast<double>(largest) * ranks / static_cast<double>(total), 1e-9);
    // Graham's bound for longest first: 4/3 - 1/(3m) of the optimum, which is at least the mean and
    // the longest.
    const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
    const double optimum =
        std::max(static_cast<double>(total) / ranks, static_cast<double>(longest));
    EXPECT(static_cast<double>(largest) <= optimum * (4.0 / 3.0) + 1e-9);
  }
}

TEST(assign_evenly_keeps_the_order) {
  std::vector<int32_t> order;
  std::vector<int64_t> rank_ends;
  const double imbalance = assign_evenly(7, 2, order, rank_ends);
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], static_cast<int32_t>(i));
  EXPECT_EQ(rank_ends[0], 3);
  EXPECT_EQ(rank_ends[1], 7);
  EXPECT_NEAR(imbalance, 8.0 / 7.0, 1e-12);
}

}  // namespace
}  // namespace pelton
