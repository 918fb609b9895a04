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

// A model whose batches of any size run 10 ms, to the microsecond sure; the last one ran just
// before `now`. At the least, says the deadline gate, they run 9 ms.
void teach(CostModel& cost, Nanos now = 20'000 * kMilli) {
  for (int64_t i = 600; i > 0; --i) {
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
  static constexpr Nanos kNow = 20'000 * kMilli;
  CostModel cost{kBatch};
  DeadlineGate gate{{.batch = kBatch}, cost};

  bool accepts(int64_t rows, Nanos left, int priority = 2, Nanos now = kNow) {
    GateRequest request = request_of(rows, left == kNoDeadline ? left : now + left, priority);
    return is_accepted(gate.before(request, now));
  }
  void leave(int64_t rows, Nanos left, int priority = 2) {
    GateRequest request = request_of(rows, left == kNoDeadline ? left : kNow + left, priority);
    request.deadline_bucket =
        static_cast<int32_t>((request.deadline >> DatedWork::kBucketBits) % DatedWork::kBuckets);
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

TEST(deadline_gate_wants_room_for_the_least_run) {
  Deadlines model;
  teach(model.cost, Deadlines::kNow);
  EXPECT(!model.accepts(1, 9 * kMilli - 2000));
  EXPECT(model.accepts(1, 9 * kMilli + 2000));
  EXPECT(model.accepts(0, 1));  // no rows do not run
  GateRequest request = request_of(1, Deadlines::kNow + kMilli);
  const GateDecision decision = model.gate.before(request, Deadlines::kNow);
  EXPECT_EQ(decision.refusal.problem()->message,
            "the deadline cannot be met: microseconds of waiting and running would be at least "
            "8999, at most microseconds_left = 1000");
}

TEST(deadline_gate_counts_what_surely_runs_before) {
  Deadlines model;
  teach(model.cost, Deadlines::kNow);
  // Without the batch that may run, and 9 ms for each of the others.
  const Nanos left = 40 * kMilli;
  for (int i = 0; i < 5; ++i) EXPECT(model.accepts(10, left));
  EXPECT(!model.accepts(10, left));
  EXPECT(model.accepts(10, left - 1));  // due before some of them: which, it is not known
  EXPECT(!model.accepts(10, left + kMilli));
  EXPECT(model.accepts(10, 60 * kMilli));
  model.leave(10, 60 * kMilli);
  model.leave(10, left);
  model.leave(10, left);
  EXPECT(model.accepts(10, left));
}

TEST(deadline_gate_does_not_count_what_may_run_later) {
  Deadlines model;
  teach(model.cost, Deadlines::kNow);
  for (int i = 0; i < 100; ++i) {
    EXPECT(model.accepts(10, kNoDeadline, 2));
    EXPECT(model.accepts(10, 10'000 * kMilli, 2));
    EXPECT(model.accepts(10, kNoDeadline, 4));
  }
  EXPECT(model.accepts(1, 10 * kMilli, 2));
  EXPECT(model.accepts(1, 10 * kMilli, 1));
  EXPECT(!model.accepts(1, 10 * kMilli, 3));  // all of level 2 comes before it
}

TEST(deadline_gate_knows_that_the_late_are_dropped) {
  Deadlines model;
  teach(model.cost, Deadlines::kNow);
  // More batches of ten rows than the engine can do in 300 ms.
  int accepted = 0;
  while (accepted < 50 && model.accepts(10, 300 * kMilli)) ++accepted;
  EXPECT(accepted > 30 && accepted < 40);
  // At 300 ms they are gone, done or not; this one has 10 ms left then.
  EXPECT(model.accepts(10, 310 * kMilli));
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
