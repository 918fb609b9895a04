// Each gate by itself.
#include "csrc/control/concurrency_gate.h"
#include "csrc/control/deadline_gate.h"
#include "csrc/control/limits_gate.h"
#include "csrc/control/queue_gate.h"
#include "tests/native/control/requests.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

constexpr CostModel::Options kBatch = {.batch_rows_max = 10, .batch_tokens_max = 10};

// A model whose batches of any size run 10 ms, the last one just before `now`.
void teach(CostModel& cost, Nanos now = 1'000 * kMilli) {
  for (int64_t i = CostModel::kBatchesMin; i > 0; --i) {
    cost.learn(batch_of(4, now - i * 20 * kMilli, 10 * kMilli));
  }
}

TEST(limits_gate_names_the_limit) {
  LimitsGate gate({.body_bytes_max = 100, .rows_max = 5});
  GateRequest request = request_of(5);
  request.body_bytes = 100;
  EXPECT(is_accepted(gate.before(request, 0)));
  request.body_bytes = 101;
  GateDecision decision = gate.before(request, 0);
  EXPECT(decision.refusal.kind == ProblemKind::kPayloadTooLarge);
  EXPECT_EQ(decision.refusal.problem()->message,
            "the bytes of the body are 101, at most body_bytes_max = 100");
  request.body_bytes = 0;
  request.row_count = 6;
  decision = gate.before(request, 0);
  EXPECT_EQ(decision.refusal.problem()->message,
            "the rows of the request are 6, at most rows_max = 5");
}

TEST(concurrency_gate_counts_requests_in_flight) {
  CostModel cost(kBatch);
  ConcurrencyGate gate(2, cost);
  GateRequest request = request_of(1);
  EXPECT(is_accepted(gate.before(request, 0)));
  EXPECT(is_accepted(gate.before(request, 0)));
  const GateDecision decision = gate.before(request, 0);
  EXPECT(decision.refusal.kind == ProblemKind::kQueueFull);
  EXPECT_EQ(decision.refusal.retry_after_ms, 0);  // nothing is known yet
  EXPECT_EQ(gate.in_flight(), 2);
  gate.after(request, RequestEnd::kOk, 1);
  EXPECT(is_accepted(gate.before(request, 0)));
  teach(cost);
  EXPECT_EQ(gate.before(request, 0).refusal.retry_after_ms, 10);
}

TEST(concurrency_of_zero_is_none) {
  CostModel cost(kBatch);
  ConcurrencyGate gate(0, cost);
  GateRequest request = request_of(1);
  for (int i = 0; i < 10'000; ++i) EXPECT(is_accepted(gate.before(request, 0)));
  EXPECT_EQ(gate.in_flight(), 10'000);
}

TEST(queue_gate_counts_rows_and_says_when_they_are_gone) {
  CostModel cost(kBatch);
  QueueGate gate({.queue_rows_max = 100}, cost);
  GateRequest request = request_of(60);
  EXPECT(is_accepted(gate.before(request, 0)));
  GateDecision decision = gate.before(request, 0);
  EXPECT(decision.refusal.kind == ProblemKind::kQueueFull);
  EXPECT_EQ(decision.refusal.problem()->message,
            "the model's queue is full: its rows with this request's would be 120, at most "
            "queue_rows_max = 100");
  EXPECT_EQ(decision.refusal.retry_after_ms, 0);
  EXPECT_EQ(gate.row_count(), 60);
  teach(cost);
  EXPECT_EQ(gate.before(request, 0).refusal.retry_after_ms, 60);  // six batches of ten rows
  gate.after(request, RequestEnd::kExpired, 0);
  EXPECT_EQ(gate.row_count(), 0);
}

TEST(a_large_request_takes_of_the_queue_what_is_with_the_engine) {
  CostModel cost(kBatch);
  QueueGate gate({.queue_rows_max = 100, .request_rows_max = 20}, cost);
  GateRequest large = request_of(1'000'000);
  for (int i = 0; i < 5; ++i) EXPECT(is_accepted(gate.before(large, 0)));
  EXPECT_EQ(gate.row_count(), 100);
  EXPECT(!is_accepted(gate.before(large, 0)));
  for (int i = 0; i < 5; ++i) gate.after(large, RequestEnd::kOk, 0);
  EXPECT_EQ(gate.row_count(), 0);
  QueueGate whole({.queue_rows_max = 100}, cost);
  EXPECT(is_accepted(whole.before(large, 0)));
  EXPECT(!is_accepted(whole.before(large, 0)));
}

struct Deadlines {
  static constexpr Nanos kNow = 1'000 * kMilli;
  CostModel cost{kBatch};
  DeadlineGate gate{{.batch = kBatch}, cost};

  bool accepts(int64_t rows, Nanos left, int priority = 2, Nanos now = kNow) {
    GateRequest request = request_of(rows, left == kNoDeadline ? left : now + left, priority);
    return is_accepted(gate.before(request, now));
  }
  void leave(int64_t rows, Nanos left, int priority = 2) {
    const GateRequest request =
        request_of(rows, left == kNoDeadline ? left : kNow + left, priority);
    gate.after(request, RequestEnd::kOk, kNow);
  }
};

TEST(deadline_gate_refuses_what_is_late_already) {
  Deadlines model;
  EXPECT(!model.accepts(1, 0));
  EXPECT(!model.accepts(1, -5));
  EXPECT(!model.accepts(0, 0));
  EXPECT(model.accepts(1, 1));
  GateRequest request = request_of(1, 5);
  const GateDecision decision = model.gate.before(request, 5);
  EXPECT(decision.refusal.kind == ProblemKind::kDeadlineExceeded);
  EXPECT_EQ(decision.refusal.problem()->message,
            "the deadline passed before the request was queued");
}

TEST(deadline_gate_refuses_nothing_it_knows_too_little_of) {
  Deadlines model;
  EXPECT(model.accepts(1, kMilli));
  teach(model.cost, Deadlines::kNow);
  EXPECT(!model.accepts(1, kMilli));
}

TEST(deadline_gate_wants_room_for_half_of_the_least_run) {
  Deadlines model;
  teach(model.cost, Deadlines::kNow);
  EXPECT(!model.accepts(1, 5 * kMilli - 2000));
  EXPECT(model.accepts(1, 5 * kMilli + 2000));
  EXPECT(model.accepts(0, 1));  // no rows do not run
  GateRequest request = request_of(1, Deadlines::kNow + kMilli);
  const GateDecision decision = model.gate.before(request, Deadlines::kNow);
  EXPECT_EQ(decision.refusal.problem()->message,
            "the deadline cannot be met: microseconds of waiting and running would be at least "
            "5000, at most microseconds_left = 1000");
}

TEST(deadline_gate_counts_what_surely_runs_before) {
  Deadlines model;
  teach(model.cost, Deadlines::kNow);
  // With the tenth, ten batches: nine without the one that may run, and half of their 90 ms.
  for (int i = 0; i < 9; ++i) EXPECT(model.accepts(10, 40 * kMilli));
  EXPECT(!model.accepts(10, 40 * kMilli));
  EXPECT(model.accepts(10, 40 * kMilli - 1));  // due before them, it comes first
  EXPECT(!model.accepts(10, 40 * kMilli + 1));
  EXPECT(model.accepts(10, 50 * kMilli));
  model.leave(10, 50 * kMilli);
  model.leave(10, 40 * kMilli);
  model.leave(10, 40 * kMilli);
  EXPECT(model.accepts(10, 40 * kMilli));
}

TEST(deadline_gate_does_not_count_what_may_run_later) {
  Deadlines model;
  teach(model.cost, Deadlines::kNow);
  for (int i = 0; i < 100; ++i) {
    EXPECT(model.accepts(10, kNoDeadline, 2));
    EXPECT(model.accepts(10, 10'000 * kMilli, 2));
    EXPECT(model.accepts(10, kNoDeadline, 4));
  }
  EXPECT(model.accepts(1, 6 * kMilli, 2));
  EXPECT(model.accepts(1, 6 * kMilli, 1));
  EXPECT(!model.accepts(1, 6 * kMilli, 3));  // all of level 2 comes before it
}

TEST(deadline_gate_knows_that_the_late_are_dropped) {
  Deadlines model;
  teach(model.cost, Deadlines::kNow);
  // 50 batches of ten rows due in 300 ms, of which the engine can do 30.
  for (int i = 0; i < 50; ++i) EXPECT(model.accepts(10, 300 * kMilli));
  // At 300 ms they are gone, done or not; this one has 8 ms left then.
  EXPECT(model.accepts(10, 308 * kMilli));
}

TEST(deadline_gate_asks_again_when_it_has_learned_nothing_for_long) {
  Deadlines model;
  teach(model.cost, Deadlines::kNow);
  const Nanos later = Deadlines::kNow + DeadlineGate::kStaleNs;
  EXPECT(!model.accepts(1, kMilli));
  EXPECT(model.accepts(1, kMilli, 2, later));   // a probe
  EXPECT(!model.accepts(1, kMilli, 2, later));  // one at a time
}

TEST(a_large_requests_pieces_do_not_bar_the_others) {
  CostModel cost(kBatch);
  DeadlineGate gate({.batch = kBatch, .request_rows_max = 20}, cost);
  teach(cost, Deadlines::kNow);
  GateRequest large = request_of(100'000, Deadlines::kNow + 1'000'000 * kMilli);
  EXPECT(is_accepted(gate.before(large, Deadlines::kNow)));
  GateRequest small = request_of(1, Deadlines::kNow + 1'000'000 * kMilli);
  EXPECT(is_accepted(gate.before(small, Deadlines::kNow)));
  gate.after(small, RequestEnd::kOk, Deadlines::kNow);
  gate.after(large, RequestEnd::kOk, Deadlines::kNow);
  GateRequest urgent = request_of(1, Deadlines::kNow + kMilli);
  EXPECT(!is_accepted(gate.before(urgent, Deadlines::kNow)));
}

}  // namespace
}  // namespace pelton
