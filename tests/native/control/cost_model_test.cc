#include "csrc/control/cost_model.h"

#include "tests/native/control/requests.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

constexpr CostModel::Options kBatch = {.batch_rows_max = 8, .batch_tokens_max = 100};
constexpr Nanos kGap = 1'000'000'000;  // between batches: each finds an empty queue

// Batches of 1 to 50 tokens that run 5 us and 100 ns a token.
void teach(CostModel& cost, int batches, Nanos fixed = 5000, Nanos token = 100) {
  for (int i = 0; i < batches; ++i) {
    const int64_t tokens = 1 + 7 * i % 50;
    cost.learn(batch_of(tokens, cost.last_ended() + kGap, fixed + token * tokens));
  }
}

TEST(cost_model_says_nothing_before_it_has_seen_enough) {
  CostModel cost(kBatch);
  for (int64_t i = 0; i < CostModel::kBatchesMin; ++i) {
    EXPECT(!cost.is_ready());
    EXPECT_EQ(cost.drain_ns(1, 1), 0);
    teach(cost, 1);
  }
  EXPECT(cost.is_ready());
}

TEST(cost_model_finds_the_line) {
  CostModel cost(kBatch);
  teach(cost, 40);
  EXPECT_NEAR(cost.fixed_ns(), 5000, 1);
  EXPECT_NEAR(cost.token_ns(), 100, 0.1);
  EXPECT_NEAR(cost.work_ns(1, 10), 6000, 1);
}

TEST(work_is_done_in_the_fullest_batches) {
  CostModel cost(kBatch);
  teach(cost, 40);
  EXPECT_NEAR(cost.work_ns(1, 200), 2 * 5000 + 200 * 100, 5);   // tokens fill two
  EXPECT_NEAR(cost.work_ns(24, 100), 3 * 5000 + 100 * 100, 5);  // rows fill three
  EXPECT_NEAR(cost.work_ns(0, 0), 5000, 1);                     // there is no batch for less
}

TEST(batches_of_one_size_cost_the_same) {
  CostModel cost(kBatch);
  for (int i = 0; i < 20; ++i) cost.learn(batch_of(4, cost.last_ended() + kGap, 9000));
  EXPECT_NEAR(cost.fixed_ns(), 9000, 1);
  EXPECT_EQ(cost.token_ns(), 0);
}

TEST(lines_through_less_than_nothing_are_bent) {
  CostModel falling(kBatch);
  for (int i = 0; i < 40; ++i) {
    const int64_t tokens = 1 + i % 10;
    falling.learn(batch_of(tokens, falling.last_ended() + kGap, 2000 - 100 * tokens));
  }
  EXPECT_EQ(falling.token_ns(), 0);
  EXPECT(falling.fixed_ns() > 0);
  CostModel steep(kBatch);
  for (int i = 0; i < 40; ++i) {
    const int64_t tokens = 1 + i % 10;
    steep.learn(batch_of(tokens, steep.last_ended() + kGap, tokens * tokens * 1000));
  }
  EXPECT_EQ(steep.fixed_ns(), 0);
  EXPECT(steep.token_ns() > 0);
}

TEST(cost_model_forgets) {
  CostModel cost(kBatch);
  teach(cost, 100, 5000, 100);
  teach(cost, 400, 9000, 50);
  EXPECT_NEAR(cost.fixed_ns(), 9000, 50);
  EXPECT_NEAR(cost.token_ns(), 50, 2);
}

TEST(one_slow_batch_is_not_the_models_cost_and_a_slow_model_shows) {
  CostModel cost(kBatch);
  for (int i = 0; i < 50; ++i) cost.learn(batch_of(4, cost.last_ended() + kGap, 10'000));
  cost.learn(batch_of(4, cost.last_ended() + kGap, 10'000'000'000));
  EXPECT(cost.fixed_ns() < 11'000);
  int batches = 0;
  while (cost.fixed_ns() < 900'000 && batches < 1000) {
    cost.learn(batch_of(4, cost.last_ended() + kGap, 1'000'000));
    ++batches;
  }
  EXPECT(batches < 200);
}

TEST(drain_counts_what_passes_between_batches_that_had_a_queue) {
  CostModel cost(kBatch);
  teach(cost, 20);
  EXPECT_NEAR(cost.drain_ns(1, 10), cost.work_ns(1, 10), 1e-6);  // there was no queue yet
  // Every 20 us a batch of 10 tokens that ran 6 us: another model has the rest.
  for (int i = 0; i < 50; ++i) {
    BatchRun run = batch_of(10, cost.last_ended() + 14'000, 6000);
    run.queued = cost.last_ended() - 1;
    cost.learn(run);
  }
  EXPECT_NEAR(cost.drain_ns(1, 10), 20'000, 1);
  EXPECT_NEAR(cost.work_ns(1, 10), 6000, 100);
}

TEST(retry_after_is_whole_milliseconds_within_bounds) {
  EXPECT_EQ(retry_after_ms(0), 0);
  EXPECT_EQ(retry_after_ms(1), 1);
  EXPECT_EQ(retry_after_ms(2.1e6), 3);
  EXPECT_EQ(retry_after_ms(1e18), 60'000);
}

}  // namespace
}  // namespace pelton
