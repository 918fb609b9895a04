// The gates of a model together: replayed histories, and the counters.
#include "csrc/control/model_gates.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/native/control/requests.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

constexpr ModelGates::Options kOptions = {.body_bytes_max = 1000,
                                          .rows_max = 64,
                                          .concurrency_max = 6,
                                          .queue_rows_max = 100,
                                          .request_rows_max = 32,
                                          .batch = {.batch_rows_max = 16, .batch_tokens_max = 64}};

GateRequest random_request(std::mt19937_64& random, Nanos now) {
  GateRequest request;
  request.row_count = static_cast<int64_t>(random() % 68);
  request.token_count = request.row_count * static_cast<int64_t>(1 + random() % 5);
  request.body_bytes = static_cast<int64_t>(random() % 1040);
  request.arrival = now;
  request.priority = static_cast<int>(random() % 6);
  if (random() % 2 == 0) request.deadline = now + static_cast<Nanos>(random() % (40 * kMilli));
  return request;
}

int64_t queued_rows(const std::vector<GateRequest>& requests) {
  int64_t rows = 0;
  for (const GateRequest& request : requests) rows += std::min<int64_t>(request.row_count, 32);
  return rows;
}

// Anything may happen to a request: it is refused, or it runs or not and ends in any way.
TEST(what_gates_hold_is_what_passed_and_is_not_over) {
  std::mt19937_64 random(testing::seed());
  ModelGates gates(kOptions);
  std::vector<GateRequest> in_flight;
  uint64_t refused = 0;
  Nanos now = 1000 * kMilli;
  for (int step = 0; step < 20'000; ++step) {
    now += static_cast<Nanos>(random() % kMilli);
    if (random() % 8 < 5) {
      GateRequest request = random_request(random, now);
      if (is_accepted(gates.before(request, now))) {
        in_flight.push_back(request);
      } else {
        ++refused;
        EXPECT_EQ(request.passed, 0);
      }
    } else if (!in_flight.empty()) {
      GateRequest& request = in_flight[random() % in_flight.size()];
      if (random() % 4 != 0) {
        gates.ran(request,
                  {request.arrival, now - 5 * kMilli, now, request.row_count, request.token_count});
      }
      gates.after(request, static_cast<RequestEnd>(random() % 5), now);
      request = in_flight.back();
      in_flight.pop_back();
    }
    const ModelGatesSnapshot snapshot = gates.snapshot();
    EXPECT_EQ(snapshot.in_flight, in_flight.size());
    EXPECT_EQ(snapshot.queue_rows, queued_rows(in_flight));
    EXPECT(snapshot.in_flight <= kOptions.concurrency_max);
    EXPECT(snapshot.queue_rows <= kOptions.queue_rows_max);
  }
  uint64_t counted = 0;
  for (const uint64_t count : gates.snapshot().refused) {
    EXPECT(count > 0);
    counted += count;
  }
  EXPECT_EQ(counted, refused);
  while (!in_flight.empty()) {
    gates.after(in_flight.back(), RequestEnd::kCancelled, now);
    in_flight.pop_back();
  }
  EXPECT_EQ(gates.snapshot().in_flight, 0);
  EXPECT_EQ(gates.snapshot().queue_rows, 0);
}

TEST(gates_are_asked_in_their_order) {
  ModelGates gates(kOptions);
  GateRequest request = request_of(100, /*deadline=*/0);
  const GateDecision decision = gates.before(request, 1);
  EXPECT(decision.refusal.kind == ProblemKind::kPayloadTooLarge);
  EXPECT_EQ(decision.gate, 0);
  EXPECT_EQ(gate_name(static_cast<GateKind>(decision.gate)), "limits");
  EXPECT_EQ(gate_name(GateKind::kDeadline), "deadline");
}

TEST(a_batch_of_many_requests_is_learned_and_counted_once) {
  ModelGates gates(kOptions);
  for (int batch = 1; batch <= 20; ++batch) {
    for (int i = 0; i < 8; ++i) {
      GateRequest request = request_of(1);
      ASSERT(is_accepted(gates.before(request, 0)));
      gates.ran(request, {.queued = 100 * batch - 50,
                          .started = 100 * batch,
                          .ended = 100 * batch + 80,
                          .rows = 8,
                          .tokens = 8});
      gates.after(request, RequestEnd::kOk, 0);
    }
  }
  const ModelCountersSnapshot counters = gates.counters().snapshot();
  EXPECT_EQ(counters.execution_count, 20);
  EXPECT_EQ(counters.last_inference, 2080);
  EXPECT_NEAR(gates.snapshot().batch_fixed_ns, 80, 1e-6);
}

TEST(snapshots_are_read_while_the_path_counts) {
  ModelGates gates(kOptions);
  std::atomic<bool> is_done{false};
  uint64_t reads = 0;
  std::thread reader([&] {
    uint64_t ok = 0;
    do {
      const ModelCountersSnapshot counters = gates.counters().snapshot();
      const ModelGatesSnapshot snapshot = gates.snapshot();
      EXPECT(counters.ok >= ok);
      EXPECT(snapshot.in_flight >= 0 && snapshot.in_flight <= 1);
      ok = counters.ok;
      ++reads;
    } while (!is_done.load());
  });
  for (int i = 1; i <= 2000; ++i) {
    GateRequest request = request_of(1, 1000 * kMilli);
    gates.counters().decoded(i, 10);
    EXPECT(is_accepted(gates.before(request, i)));
    gates.ran(request, batch_of(1, i, 1));
    gates.after(request, RequestEnd::kOk, i);
    gates.counters().count_ok(request, {.encode_ns = i});
  }
  is_done.store(true);
  reader.join();
  EXPECT(reads > 0);
  EXPECT_EQ(gates.counters().snapshot().ok, 2000);
}

TEST(counters_are_the_statistics_of_the_protocol) {
  ModelCounters counters;
  GateRequest request = request_of(3);
  request.ran({.queued = 100, .started = 250, .ended = 650, .rows = 9, .tokens = 9});
  counters.decoded(20, 64);
  counters.executed({.queued = 100, .started = 250, .ended = 650, .rows = 9, .tokens = 9});
  counters.count_ok(request,
                    {.decode_ns = 20, .encode_ns = 30, .total_ns = 700, .body_bytes = 128});
  counters.decoded(-5, 10);  // clocks may differ by a little
  counters.count(ProblemKind::kDeadlineExceeded, 40);
  counters.count(ProblemKind::kLast, 2);
  const ModelCountersSnapshot snapshot = counters.snapshot();
  EXPECT_EQ(snapshot.ok, 1);
  EXPECT_EQ(snapshot.problems[static_cast<size_t>(ProblemKind::kDeadlineExceeded)],
            ProblemKind::kLast == ProblemKind::kDeadlineExceeded ? 2 : 1);
  EXPECT_EQ(snapshot.bytes_in, 74);
  EXPECT_EQ(snapshot.bytes_out, 128);
  EXPECT_EQ(snapshot.decode_ns.count, 2);
  EXPECT_EQ(snapshot.encode_ns.sum, 30);
  const auto expect = [](CountedTime found, uint64_t count, uint64_t ns) {
    EXPECT_EQ(found.count, count);
    EXPECT_EQ(found.ns, ns);
  };
  expect(snapshot.success, 1, 700);
  expect(snapshot.fail, 2, 42);
  expect(snapshot.queue, 1, 150);
  expect(snapshot.compute_input, 1, 20);
  expect(snapshot.compute_infer, 1, 400);
  expect(snapshot.compute_output, 1, 30);
  expect(snapshot.cache_hit, 0, 0);
  expect(snapshot.cache_miss, 0, 0);
  EXPECT_EQ(snapshot.inference_count, 3);
  EXPECT_EQ(snapshot.execution_count, 1);
  EXPECT_EQ(snapshot.last_inference, 650);
}

}  // namespace
}  // namespace pelton
