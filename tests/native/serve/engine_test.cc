#include "csrc/serve/engine.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <thread>

#include "csrc/serve/pick_batch.h"
#include "tests/native/serve/fakes.h"

namespace pelton {
namespace {

// An engine with one stepped model whose first batch is running (a request of value -1), so that
// what a test submits next stays queued until it calls runner->release().
struct Stepped {
  explicit Stepped(const ModelLimits& limits = {}, const Engine::Options& options = {})
      : engine(options), model(engine.add_model(runner, limits).value()) {
    EXPECT(blocker.submit(engine, model).ok());
    EXPECT(runner->wait_started(1));
  }
  ~Stepped() { runner->release_all(); }

  std::shared_ptr<SteppedRunner> runner = std::make_shared<SteppedRunner>();
  Call blocker{-1};
  Engine engine;
  ModelId model;
};

using Batches = std::vector<std::vector<float>>;

TEST(engine_runs_a_request) {
  Engine engine({});
  const ModelId model = engine.add_model(std::make_shared<AddOneRunner>(), {}).value();
  Call call(3, 4, 5);
  ASSERT(call.submit(engine, model).ok());
  EXPECT(call.wait() == StatusCode::kOk);
  EXPECT(call.request.is_plus_one());
  // The same waiter takes the next one.
  ASSERT(call.submit(engine, model).ok());
  EXPECT(call.wait() == StatusCode::kOk);
}

TEST(engine_takes_what_is_queued_together) {
  Stepped stepped;
  Call a(1), b(2), c(3);
  for (Call* call : {&a, &b, &c}) ASSERT(call->submit(stepped.engine, stepped.model).ok());
  stepped.runner->release(2);
  for (Call* call : {&a, &b, &c}) EXPECT(call->wait() == StatusCode::kOk);
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  EXPECT(stepped.runner->batches() == Batches({{-1}, {1, 2, 3}}));
}

TEST(engine_keeps_to_the_budgets_of_a_batch) {
  Stepped stepped({.batch_rows_max = 4, .batch_tokens_max = 10});
  // 3 rows and 2 rows do not fit together; the single row does. 9 tokens run alone, as do 11, which
  // are over the budget.
  Call a(1, 3, 1), b(2, 2, 1), c(3, 1, 1), d(4, 1, 9), e(5, 1, 11);
  for (Call* call : {&a, &b, &c, &d, &e}) {
    ASSERT(call->submit(stepped.engine, stepped.model).ok());
  }
  stepped.runner->release_all();
  for (Call* call : {&a, &b, &c, &d, &e}) {
    EXPECT(call->wait() == StatusCode::kOk);
    EXPECT(call->request.is_plus_one());
  }
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  EXPECT(stepped.runner->batches() == Batches({{-1}, {1, 3}, {2}, {4}, {5}}));
}

TEST(engine_orders_by_level_then_deadline_then_arrival) {
  Stepped stepped({.batch_rows_max = 1});
  const Nanos soon = MonotonicClock().now() + 1000 * kSecond;
  Call calls[] = {Call(0), Call(1), Call(2), Call(3), Call(4), Call(5)};
  ASSERT(calls[0].submit(stepped.engine, stepped.model, 9).ok());  // as 4
  ASSERT(calls[1].submit(stepped.engine, stepped.model, 3).ok());
  ASSERT(calls[2].submit(stepped.engine, stepped.model, 0).ok());  // as 2
  ASSERT(calls[3].submit(stepped.engine, stepped.model, 2, soon).ok());
  ASSERT(calls[4].submit(stepped.engine, stepped.model, 2).ok());
  ASSERT(calls[5].submit(stepped.engine, stepped.model, 1).ok());
  stepped.runner->release_all();
  for (Call& call : calls) EXPECT(call.wait() == StatusCode::kOk);
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  EXPECT(stepped.runner->batches() == Batches({{-1}, {5}, {3}, {2}, {4}, {1}, {0}}));
  EXPECT_EQ(stepped.runner->deadlines()[2], soon);
}

TEST(engine_starves_nobody) {
  // One request of level 4 against a stream of level 1 that never ends: it must run within
  // kOldestFirstPeriod batches.
  Stepped stepped({.batch_rows_max = 1});
  Call low(1000);
  ASSERT(low.submit(stepped.engine, stepped.model, 4).ok());
  std::vector<std::unique_ptr<Call>> high;
  for (size_t i = 0; i < 3 * kOldestFirstPeriod; ++i) {
    high.push_back(std::make_unique<Call>(static_cast<float>(i)));
    ASSERT(high.back()->submit(stepped.engine, stepped.model, 1).ok());
  }
  stepped.runner->release_all();
  EXPECT(low.wait() == StatusCode::kOk);
  for (auto& call : high) EXPECT(call->wait() == StatusCode::kOk);
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  const Batches batches = stepped.runner->batches();
  size_t place = 0;
  while (batches[place][0] != 1000) ++place;
  EXPECT_EQ(place, kOldestFirstPeriod - 1);
}

TEST(engine_drops_what_expired_before_it_ran) {
  FakeClock clock;
  Stepped stepped({}, {.clock = &clock});
  Call late(1), in_time(2);
  ASSERT(late.submit(stepped.engine, stepped.model, 0, clock.now() + 10).ok());
  ASSERT(in_time.submit(stepped.engine, stepped.model, 0, clock.now() + 11).ok());
  clock.advance(10);
  stepped.runner->release_all();
  EXPECT(late.wait() == StatusCode::kDeadlineExceeded);
  EXPECT(late.request.is_untouched());
  EXPECT(in_time.wait() == StatusCode::kOk);
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  EXPECT(stepped.runner->batches() == Batches({{-1}, {2}}));
  Call past(3);
  EXPECT(past.submit(stepped.engine, stepped.model, 0, clock.now()).code() ==
         StatusCode::kDeadlineExceeded);
  EXPECT_EQ(stepped.engine.stats(stepped.model).value().requests_of(Outcome::kExpired), 2);
}

TEST(engine_cancels_what_is_queued) {
  Stepped stepped;
  Call a(1), b(2);
  ASSERT(a.submit(stepped.engine, stepped.model).ok());
  ASSERT(b.submit(stepped.engine, stepped.model).ok());
  EXPECT(stepped.engine.cancel(a.ticket));
  EXPECT(stepped.engine.cancel(a.ticket));  // it will still complete as cancelled
  stepped.runner->release_all();
  EXPECT(a.wait() == StatusCode::kCancelled);
  EXPECT(a.request.is_untouched());
  EXPECT(b.wait() == StatusCode::kOk);
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  EXPECT(stepped.runner->batches() == Batches({{-1}, {2}}));
  EXPECT(!stepped.engine.cancel(a.ticket));  // over
}

TEST(engine_drops_the_result_of_what_is_cancelled_while_it_runs) {
  Stepped stepped;
  EXPECT(stepped.engine.cancel(stepped.blocker.ticket));
  stepped.runner->release_all();
  EXPECT(stepped.blocker.wait() == StatusCode::kCancelled);
  EXPECT_EQ(stepped.engine.stats(stepped.model).value().requests_of(Outcome::kCancelled), 1);
}

TEST(engine_cancels_at_once_what_is_held_back) {
  Engine engine({});
  const ModelId model =
      engine.add_model(std::make_shared<AddOneRunner>(), {.batch_wait_us_max = 60'000'000}).value();
  Call call(1);
  ASSERT(call.submit(engine, model).ok());
  EXPECT(!call.waiter.wait_for(1'000'000));
  EXPECT(engine.cancel(call.ticket));
  EXPECT(call.wait() == StatusCode::kCancelled);  // long before the 60 s
}

TEST(engine_knows_no_false_ticket) {
  Stepped stepped;
  EXPECT(!stepped.engine.cancel(0));
  EXPECT(!stepped.engine.cancel(~Ticket{0}));
  EXPECT(!stepped.engine.cancel(stepped.blocker.ticket + 1));
  EXPECT(!stepped.engine.cancel(stepped.blocker.ticket + (Ticket{1} << 32)));
  const Ticket old = stepped.blocker.ticket;
  stepped.runner->release_all();
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  // The slot's next request is not the one that the old ticket names.
  ASSERT(stepped.blocker.submit(stepped.engine, stepped.model).ok());
  EXPECT(!stepped.engine.cancel(old));
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
}

TEST(engine_refuses_when_its_slots_are_taken) {
  Stepped stepped({}, {.queue_requests_max = 2});
  Call a(1), b(2);
  ASSERT(a.submit(stepped.engine, stepped.model).ok());
  const SubmitResult refused = b.submit(stepped.engine, stepped.model);
  EXPECT(refused.code() == StatusCode::kQueueFull);
  EXPECT_EQ(refused.status().message(),
            "the engine's queue is full: its requests with this one would be 3, at most "
            "queue_requests_max = 2");
  stepped.runner->release_all();
  EXPECT(a.wait() == StatusCode::kOk);
  EXPECT(b.submit(stepped.engine, stepped.model)
             .ok());  // a's slot is free before its completion is seen
  EXPECT(b.wait() == StatusCode::kOk);
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  EXPECT_EQ(stepped.engine.stats(stepped.model).value().requests_of(Outcome::kRejected), 1);
}

TEST(engine_refuses_rows_over_the_models_queue) {
  Stepped stepped({.queue_rows_max = 5});
  Call a(1, 3), b(2, 3), c(3, 2), never(4, 6);
  ASSERT(a.submit(stepped.engine, stepped.model).ok());
  EXPECT(b.submit(stepped.engine, stepped.model).code() == StatusCode::kQueueFull);
  EXPECT(never.submit(stepped.engine, stepped.model).code() == StatusCode::kInvalidArgument);
  ASSERT(c.submit(stepped.engine, stepped.model).ok());
  EXPECT_EQ(stepped.engine.stats(stepped.model).value().queue_rows, 5);
  // A cancelled request gives its rows back, though only when the worker comes to it.
  EXPECT(stepped.engine.cancel(a.ticket));
  stepped.runner->release_all();
  EXPECT(a.wait() == StatusCode::kCancelled);
  EXPECT(c.wait() == StatusCode::kOk);
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  EXPECT_EQ(stepped.engine.stats(stepped.model).value().queue_rows, 0);
  EXPECT(b.submit(stepped.engine, stepped.model).ok());
  EXPECT(b.wait() == StatusCode::kOk);
}

TEST(engine_refuses_bad_submissions_and_limits) {
  Engine engine({.models_max = 2});
  const auto runner = std::make_shared<AddOneRunner>();
  const ModelId model = engine.add_model(runner, {}).value();
  Call call(1);
  Submission submission{.model = model, .request = call.request.view(), .sink = nullptr};
  EXPECT(engine.submit(submission).code() == StatusCode::kInvalidArgument);
  submission.sink = &call.waiter;
  submission.request.row_count = 0;
  EXPECT(engine.submit(submission).code() == StatusCode::kInvalidArgument);
  submission.request.row_count = 2;
  submission.request.token_count = 1;
  EXPECT(engine.submit(submission).code() == StatusCode::kInvalidArgument);
  for (const ModelId wrong : {ModelId{0}, model + 1, model + (ModelId{1} << 32), ~ModelId{0}}) {
    submission.model = wrong;
    EXPECT(engine.submit(submission).code() == StatusCode::kNotFound);
    EXPECT(engine.stats(wrong).status().code() == StatusCode::kNotFound);
    EXPECT(engine.remove_model(wrong).code() == StatusCode::kNotFound);
  }
  EXPECT(engine.add_model(nullptr, {}).status().code() == StatusCode::kInvalidArgument);
  for (const ModelLimits& limits :
       {ModelLimits{.batch_rows_max = 0}, ModelLimits{.batch_tokens_max = 0},
        ModelLimits{.batch_wait_us_max = -1}, ModelLimits{.batch_wait_us_max = 60'000'001},
        ModelLimits{.queue_rows_max = 0}}) {
    EXPECT(engine.add_model(runner, limits).status().code() == StatusCode::kInvalidArgument);
  }
  EXPECT_OK(engine.add_model(runner, {}));
  EXPECT(engine.add_model(runner, {}).status().code() == StatusCode::kUnavailable);
}

TEST(engine_gives_a_failure_to_every_request_of_the_batch) {
  Stepped stepped;
  Call a(1), b(2);
  ASSERT(a.submit(stepped.engine, stepped.model).ok());
  ASSERT(b.submit(stepped.engine, stepped.model).ok());
  stepped.runner->release();
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  ASSERT(stepped.runner->wait_started(2));
  stepped.runner->fail_with(Status(StatusCode::kOutOfMemory, "no arena"));
  stepped.runner->release();
  for (Call* call : {&a, &b}) {
    EXPECT(call->wait() == StatusCode::kOutOfMemory);
    EXPECT_EQ(call->completion.status.message(), "no arena");
  }
  EXPECT_EQ(stepped.engine.stats(stepped.model).value().requests_of(Outcome::kError), 2);
  stepped.runner->fail_with(Status());
  stepped.runner->release_all();
  ASSERT(a.submit(stepped.engine, stepped.model).ok());
  EXPECT(a.wait() == StatusCode::kOk);
}

TEST(engine_never_mixes_models_and_takes_the_most_urgent) {
  Stepped stepped;
  const auto other_runner = std::make_shared<SteppedRunner>();
  const ModelId other = stepped.engine.add_model(other_runner, {}).value();
  Call a(1), b(2), c(3), d(4);
  ASSERT(a.submit(stepped.engine, stepped.model, 3).ok());
  ASSERT(b.submit(stepped.engine, other, 2).ok());
  ASSERT(c.submit(stepped.engine, stepped.model, 4).ok());
  ASSERT(d.submit(stepped.engine, other, 4).ok());
  stepped.runner->release();
  ASSERT(other_runner->wait_started(1));  // level 2 goes before level 3
  EXPECT_EQ(stepped.runner->batches().size(), 1);
  other_runner->release_all();
  stepped.runner->release_all();
  for (Call* call : {&a, &b, &c, &d, &stepped.blocker}) EXPECT(call->wait() == StatusCode::kOk);
  EXPECT(other_runner->batches() == Batches({{2, 4}}));
  EXPECT(stepped.runner->batches() == Batches({{-1}, {1, 3}}));
}

TEST(engine_holds_back_until_the_batch_is_full) {
  Engine engine({});
  const auto runner = std::make_shared<SteppedRunner>();
  runner->release_all();
  const ModelId model =
      engine.add_model(runner, {.batch_rows_max = 2, .batch_wait_us_max = 60'000'000}).value();
  Call a(1), b(2);
  ASSERT(a.submit(engine, model).ok());
  EXPECT(!a.waiter.wait_for(1'000'000));
  ASSERT(b.submit(engine, model).ok());
  EXPECT(a.wait() == StatusCode::kOk);
  EXPECT(b.wait() == StatusCode::kOk);
  EXPECT(runner->batches() == Batches({{1, 2}}));
}

TEST(engine_holds_back_until_the_wait_is_over) {
  Engine engine({});
  const ModelId model =
      engine.add_model(std::make_shared<AddOneRunner>(), {.batch_wait_us_max = 2000}).value();
  Call call(1);
  const Nanos start = MonotonicClock().now();
  ASSERT(call.submit(engine, model).ok());
  EXPECT(call.wait() == StatusCode::kOk);
  EXPECT(MonotonicClock().now() - start >= 2'000'000);
}

TEST(engine_holds_back_no_longer_than_a_deadline_allows) {
  FakeClock clock;
  Engine engine({.clock = &clock});
  const ModelId model =
      engine.add_model(std::make_shared<AddOneRunner>(), {.batch_wait_us_max = 60'000'000}).value();
  Call held_back(1), urgent(2);
  ASSERT(held_back.submit(engine, model, 0, clock.now() + 30 * kSecond).ok());
  EXPECT(!held_back.waiter.wait_for(1'000'000));
  // Too near for any waiting; takes the other along.
  ASSERT(urgent.submit(engine, model, 0, clock.now() + 1'000'000).ok());
  EXPECT(urgent.wait() == StatusCode::kOk);
  EXPECT(held_back.wait() == StatusCode::kOk);
  EXPECT_EQ(engine.stats(model).value().batches, 1);
}

TEST(engine_drain_finishes_what_was_accepted) {
  Stepped stepped;
  const ModelId patient =
      stepped.engine.add_model(std::make_shared<AddOneRunner>(), {.batch_wait_us_max = 60'000'000})
          .value();
  Call a(1), held_back(2), refused(3);
  ASSERT(a.submit(stepped.engine, stepped.model).ok());
  ASSERT(held_back.submit(stepped.engine, patient).ok());
  EXPECT(!stepped.engine.drain(MonotonicClock().now() + 5'000'000));
  EXPECT(refused.submit(stepped.engine, stepped.model).code() == StatusCode::kUnavailable);
  EXPECT(stepped.engine.add_model(std::make_shared<AddOneRunner>(), {}).status().code() ==
         StatusCode::kUnavailable);
  stepped.runner->release_all();
  EXPECT(stepped.engine.drain(MonotonicClock().now() + kPatienceNs));
  // Over means over: the completions are there already.
  for (Call* call : {&stepped.blocker, &a, &held_back}) {
    EXPECT(call->waiter.wait_for(0));
    EXPECT(call->wait() == StatusCode::kOk);
  }
  EXPECT_EQ(stepped.engine.stats(stepped.model).value().requests_of(Outcome::kOk), 2);
  EXPECT(stepped.engine.drain(kNoDeadline));
}

TEST(engine_close_fails_what_is_queued_and_finishes_what_runs) {
  Stepped stepped;
  Call a(1), b(2), cancelled(3);
  ASSERT(a.submit(stepped.engine, stepped.model).ok());
  ASSERT(cancelled.submit(stepped.engine, stepped.model).ok());
  EXPECT(stepped.engine.cancel(cancelled.ticket));
  std::thread closer([&] { stepped.engine.close(); });
  EXPECT(wait_until_refusing(stepped.engine, stepped.model));
  stepped.runner->release_all();
  closer.join();
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  EXPECT(stepped.blocker.request.is_plus_one());
  EXPECT(a.wait() == StatusCode::kUnavailable);
  EXPECT(a.request.is_untouched());
  EXPECT(cancelled.wait() == StatusCode::kCancelled);
  EXPECT(b.submit(stepped.engine, stepped.model).code() == StatusCode::kUnavailable);
  EXPECT(stepped.engine.add_model(stepped.runner, {}).status().code() == StatusCode::kUnavailable);
  EXPECT_EQ(stepped.runner->batches().size(), 1);
  EXPECT_EQ(stepped.engine.stats(stepped.model).value().requests_of(Outcome::kError), 1);
  stepped.engine.close();
  EXPECT_OK(stepped.engine.remove_model(stepped.model));
}

TEST(engine_remove_model_drains_it) {
  Stepped stepped;
  const ModelId other = stepped.engine.add_model(std::make_shared<AddOneRunner>(), {}).value();
  const std::weak_ptr<SteppedRunner> alive = stepped.runner;
  Call a(1), b(3);
  ASSERT(a.submit(stepped.engine, stepped.model).ok());
  std::atomic<bool> removed{false};
  std::thread remover([&] {
    EXPECT_OK(stepped.engine.remove_model(stepped.model));
    removed = true;
  });
  EXPECT(wait_until_refusing(stepped.engine, stepped.model));
  EXPECT(!removed);
  EXPECT(stepped.engine.remove_model(stepped.model).code() == StatusCode::kNotFound);
  stepped.runner->release_all();
  remover.join();
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  EXPECT(a.wait() == StatusCode::kOk);
  EXPECT_EQ(alive.use_count(), 1);  // ours
  EXPECT(stepped.engine.stats(stepped.model).status().code() == StatusCode::kNotFound);
  EXPECT(a.submit(stepped.engine, stepped.model).code() == StatusCode::kNotFound);
  ASSERT(b.submit(stepped.engine, other).ok());
  EXPECT(b.wait() == StatusCode::kOk);
  // The place in the table is used again, the id is not.
  const ModelId again = stepped.engine.add_model(std::make_shared<AddOneRunner>(), {}).value();
  EXPECT(again != stepped.model);
  EXPECT(a.submit(stepped.engine, stepped.model).code() == StatusCode::kNotFound);
  EXPECT_OK(stepped.engine.remove_model(again));
}

TEST(engine_counts_what_it_does) {
  FakeClock clock;
  Stepped stepped({.batch_rows_max = 8}, {.clock = &clock});
  Call a(1, 2, 3), b(2, 1, 4);
  ASSERT(a.submit(stepped.engine, stepped.model).ok());
  ASSERT(b.submit(stepped.engine, stepped.model).ok());
  clock.advance(1000);
  stepped.runner->release();
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
  ASSERT(stepped.runner->wait_started(2));
  clock.advance(500);
  stepped.runner->release_all();
  EXPECT(a.wait() == StatusCode::kOk);
  EXPECT(b.wait() == StatusCode::kOk);
  ASSERT(stepped.engine.drain(MonotonicClock().now() + kPatienceNs));
  const ModelStats stats = stepped.engine.stats(stepped.model).value();
  EXPECT_EQ(stats.requests_of(Outcome::kOk), 3);
  EXPECT_EQ(stats.batches, 2);
  EXPECT_EQ(stats.rows, 4);
  EXPECT_EQ(stats.tokens, 11);
  EXPECT_EQ(stats.queue_rows, 0);
  EXPECT_EQ(stats.queue_ns.count, 3);
  EXPECT_EQ(stats.queue_ns.sum, 2000);
  EXPECT_EQ(stats.execute_ns.count, 2);
  EXPECT_EQ(stats.execute_ns.sum, 1500);
  EXPECT_EQ(stats.batch_rows.sum, 4);
  EXPECT_EQ(stats.batch_tokens.quantile(1), 10);
  EXPECT_EQ(stats.requests_execute_ns, 1000 + 2 * 500);
  EXPECT_EQ(stats.last_execution, clock.now());
  ASSERT(stats.batch_sizes.size() == 2);
  EXPECT_EQ(stats.batch_sizes[0].row_count, 1);
  EXPECT_EQ(stats.batch_sizes[0].execute_ns, 1000);
  EXPECT_EQ(stats.batch_sizes[1].row_count, 3);
  EXPECT_EQ(stats.batch_sizes[1].batches, 1);
  EXPECT_EQ(stats.batch_sizes[1].execute_ns, 500);
  // Each completion tells what ran.
  EXPECT_EQ(b.completion.queued, kSecond);
  EXPECT_EQ(b.completion.started, kSecond + 1000);
  EXPECT_EQ(b.completion.ended, kSecond + 1500);
  EXPECT_EQ(b.completion.batch_rows, 3);
  EXPECT_EQ(b.completion.batch_tokens, 10);
}

TEST(engine_tells_of_a_request_that_did_not_run_when_it_was_queued) {
  FakeClock clock;
  Stepped stepped({}, {.clock = &clock});
  Call late(1);
  ASSERT(late.submit(stepped.engine, stepped.model, 0, clock.now() + 10).ok());
  clock.advance(10);
  stepped.runner->release_all();
  EXPECT(late.wait() == StatusCode::kDeadlineExceeded);
  EXPECT_EQ(late.completion.queued, kSecond);
  EXPECT_EQ(late.completion.started, 0);
  EXPECT_EQ(late.completion.ended, 0);
  EXPECT_EQ(late.completion.batch_rows, 0);
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
}

TEST(batch_size_table_counts_the_first_sizes_apart_and_the_rest_together) {
  BatchSizeTable table;
  const auto sizes = static_cast<int64_t>(BatchSizeTable::kSizesMax);
  // All in the same home cell.
  for (int64_t i = 1; i <= sizes + 2; ++i) table.record(i * sizes, static_cast<uint64_t>(i));
  table.record(sizes, 5);
  const std::vector<BatchSizeStats> stats = table.snapshot();
  ASSERT(stats.size() == BatchSizeTable::kSizesMax + 1);
  EXPECT_EQ(stats[0].row_count, 0);
  EXPECT_EQ(stats[0].batches, 2);
  EXPECT_EQ(stats[0].execute_ns, 2 * sizes + 3);
  EXPECT_EQ(stats[1].row_count, sizes);
  EXPECT_EQ(stats[1].batches, 2);
  EXPECT_EQ(stats[1].execute_ns, 6);
  EXPECT_EQ(stats.back().row_count, sizes * sizes);
}

TEST(engine_runs_many_submissions_after_one_wake) {
  Engine engine({.spin_ns_max = 0});
  const auto runner = std::make_shared<SteppedRunner>();
  runner->release_all();
  const ModelId model = engine.add_model(runner, {}).value();
  std::array<Call, 8> calls;
  for (int round = 0; round < 20; ++round) {
    for (Call& call : calls) EXPECT(call.submit(engine, model, 0, kNoDeadline, Wake::kLater).ok());
    engine.wake();
    engine.wake();  // changes nothing
    for (Call& call : calls) EXPECT(call.wait() == StatusCode::kOk);
  }
}

TEST(engine_runs_what_was_submitted_without_a_wake_when_it_drains) {
  Engine engine({.spin_ns_max = 0});
  const ModelId model = engine.add_model(std::make_shared<AddOneRunner>(), {}).value();
  Call call;
  EXPECT(call.submit(engine, model, 0, kNoDeadline, Wake::kLater).ok());
  EXPECT(engine.drain(MonotonicClock().now() + kPatienceNs));
  EXPECT(call.wait() == StatusCode::kOk);
}

TEST(engine_sleeps_when_idle) {
  Engine engine({.thread_count = 2});
  const ModelId model = engine.add_model(std::make_shared<AddOneRunner>(), {}).value();
  Call call(1);
  ASSERT(call.submit(engine, model).ok());
  EXPECT(call.wait() == StatusCode::kOk);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // well over the spin limit
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT((cpu_seconds() - before) / 0.5 < 0.01);
}

TEST(engine_is_dead_in_a_forked_child) {
  Stepped stepped;
  auto engine = std::make_unique<Engine>(Engine::Options{.thread_count = 2});
  const ModelId model = engine->add_model(std::make_shared<AddOneRunner>(), {}).value();
  CompletionQueue queue(4);
  Call running(1);
  ASSERT(running.submit(*engine, model).ok());
  EXPECT(running.wait() == StatusCode::kOk);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a hang must end the child
    Call call(1);
    bool dead = call.submit(*engine, model).code() == StatusCode::kUnavailable;
    dead = dead && !engine->cancel(stepped.blocker.ticket);
    dead = dead && !stepped.engine.cancel(stepped.blocker.ticket);
    dead = dead && !engine->drain(kNoDeadline);
    dead = dead && engine->stats(model).status().code() == StatusCode::kUnavailable;
    dead = dead && engine->remove_model(model).code() == StatusCode::kUnavailable;
    dead = dead && engine->add_model(std::make_shared<AddOneRunner>(), {}).status().code() ==
                       StatusCode::kUnavailable;
    engine->close();
    engine.reset();
    stepped.engine.close();  // with a batch that runs in the parent
    queue.close();
    _exit(dead ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  ASSERT(running.submit(*engine, model).ok());
  EXPECT(running.wait() == StatusCode::kOk);
  stepped.runner->release_all();
  EXPECT(stepped.blocker.wait() == StatusCode::kOk);
}

}  // namespace
}  // namespace pelton
