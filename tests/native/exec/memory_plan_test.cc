#include "csrc/exec/memory_plan.h"

#include <algorithm>
#include <random>

#include "tests/native/test.h"

namespace pelton {
namespace {

int64_t rounded(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// The most bytes that live at one step: no plan can take less.
int64_t lower_bound_of(const std::vector<Lifetime>& lifetimes, int steps) {
  int64_t bound = 0;
  for (int step = 0; step < steps; ++step) {
    int64_t live = 0;
    for (const Lifetime& lifetime : lifetimes) {
      if (lifetime.first_step <= step && step <= lifetime.last_step) {
        live += rounded(lifetime.row_bytes);
      }
    }
    bound = std::max(bound, live);
  }
  return bound;
}

TEST(memory_plan_of_nothing_is_empty) {
  const MemoryPlan plan = plan_memory({});
  EXPECT_EQ(plan.row_bytes, 0);
}

TEST(memory_plan_reuses_what_is_dead) {
  const std::vector<Lifetime> chain = {{0, 1, 100}, {1, 2, 100}, {2, 3, 100}, {3, 4, 100}};
  EXPECT_EQ(plan_memory(chain).row_bytes, 256);
}

TEST(memory_plan_never_overlaps_what_lives_together) {
  std::mt19937_64 random(testing::seed());
  double worst_ratio = 1.0;
  for (int round = 0; round < 300; ++round) {
    const int steps = 1 + static_cast<int>(random() % 20);
    std::vector<Lifetime> lifetimes(random() % 25);
    for (Lifetime& lifetime : lifetimes) {
      lifetime.first_step = static_cast<int>(random() % static_cast<uint64_t>(steps));
      lifetime.last_step =
          lifetime.first_step +
          static_cast<int>(random() % static_cast<uint64_t>(steps - lifetime.first_step));
      lifetime.row_bytes = 1 + static_cast<int64_t>(random() % 5000);
    }
    const MemoryPlan plan = plan_memory(lifetimes);
    for (size_t a = 0; a < lifetimes.size(); ++a) {
      const int64_t end_a = plan.offsets[a] + lifetimes[a].row_bytes;
      EXPECT_EQ(plan.offsets[a] % 64, 0);
      EXPECT(end_a <= plan.row_bytes);
      for (size_t b = 0; b < a; ++b) {
        const bool together = lifetimes[a].first_step <= lifetimes[b].last_step &&
                              lifetimes[b].first_step <= lifetimes[a].last_step;
        const int64_t end_b = plan.offsets[b] + lifetimes[b].row_bytes;
        EXPECT(!together || end_a <= plan.offsets[b] || end_b <= plan.offsets[a]);
      }
    }
    const int64_t bound = lower_bound_of(lifetimes, steps);
    if (bound > 0) {
      worst_ratio =
          std::max(worst_ratio, static_cast<double>(plan.row_bytes) / static_cast<double>(bound));
    }
  }
  testing::note("worst ratio to the lower bound: " + std::to_string(worst_ratio));
  EXPECT(worst_ratio < 2.0);
}

}  // namespace
}  // namespace pelton
