// Many clients at once, with pauses and cancellations at random; the seed is printed by the runner.
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/native/serve/fakes.h"

namespace pelton {
namespace {

constexpr size_t kRequests = 1000;

void pause_a_little(std::mt19937_64& random) {
  if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
  if (random() % 4 == 0) std::this_thread::yield();
}

enum class CancelAt { kNever, kOnceQueued, kWhileRunning, kAtRandom };

struct StressRequest {
  StressRequest(size_t its_index, int64_t rows, int64_t tokens_per_row)
      : index(its_index), request(static_cast<float>(its_index), rows, tokens_per_row) {}

  const size_t index;
  FloatRequest request;
  CancelAt cancel_at = CancelAt::kNever;
  std::atomic<Ticket> ticket{0};
  std::atomic<bool> is_cancelled{false};  // cancel() said so
  std::atomic<int> completions{0};
  StatusCode code = StatusCode::kInternal;
};
using StressRequests = std::vector<std::unique_ptr<StressRequest>>;

StressRequests make_requests(std::mt19937_64& random) {
  StressRequests requests;
  for (size_t i = 0; i < kRequests; ++i) {
    const auto rows = 1 + static_cast<int64_t>(random() % 6);
    const auto tokens_per_row = 1 + static_cast<int64_t>(random() % 20);
    requests.push_back(std::make_unique<StressRequest>(i, rows, tokens_per_row));
    // A tenth, at each kind of moment.
    if (i % 10 == 0) requests.back()->cancel_at = static_cast<CancelAt>(1 + i / 10 % 3);
  }
  return requests;
}

// Adds one with pauses, and cancels some of the requests that it is running.
class ChaosRunner final : public Runner {
 public:
  ChaosRunner(StressRequests& requests, uint64_t seed) : requests_(requests), random_(seed) {}
  void attach(Engine* engine) { engine_ = engine; }

  Status run(const BatchView& batch, Nanos) override {
    pause_a_little(random_);
    for (const RequestView* view : batch.requests) {
      float first = 0;
      std::memcpy(&first, view->inputs[0], sizeof(first));
      StressRequest& request = *requests_[static_cast<size_t>(first)];
      if (request.cancel_at != CancelAt::kWhileRunning) continue;
      // The ticket is written by the submitter after submit() returned, which may be after this.
      const Ticket ticket = request.ticket.load();
      if (ticket != 0 && engine_->cancel(ticket)) request.is_cancelled = true;
    }
    pause_a_little(random_);
    add_one(batch);
    return Status();
  }

 private:
  StressRequests& requests_;
  std::mt19937_64 random_;
  Engine* engine_ = nullptr;
};

void complete(StressRequest& request, const Completion& completion) {
  request.code = completion.status.code();
  ++request.completions;
}

// Submits every `step`-th request from `first` on, blocking on each or through the queue; retries
// what is refused.
struct Client {
  Engine& engine;
  std::array<ModelId, 2> models;
  StressRequests& requests;
  CompletionQueue* queue;  // nullptr: blocking
  size_t first;
  size_t step;

  SubmitResult submit(StressRequest& request, CompletionSink* sink) {
    return engine.submit({.model = models[request.index % 2],
                          .priority = static_cast<int>(request.index % 6),
                          .request = request.request.view(),
                          .sink = sink,
                          .user = &request});
  }
  void cancel(StressRequest& request) {
    if (engine.cancel(request.ticket)) request.is_cancelled = true;
  }
  void run() {
    std::mt19937_64 random(testing::seed() * 100 + first);
    BlockingWaiter waiter;
    for (size_t i = first; i < requests.size(); i += step) {
      StressRequest& request = *requests[i];
      CompletionSink* sink = queue != nullptr ? static_cast<CompletionSink*>(queue) : &waiter;
      SubmitResult result = submit(request, sink);
      while (result.code() == StatusCode::kQueueFull) {
        std::this_thread::yield();
        result = submit(request, sink);
      }
      if (!EXPECT(result.ok())) return;
      request.ticket = result.value();
      if (request.cancel_at == CancelAt::kOnceQueued) cancel(request);
      if (request.cancel_at == CancelAt::kAtRandom) {
        pause_a_little(random);
        cancel(request);
      }
      if (queue == nullptr) {
        if (!EXPECT(waiter.wait_for(kPatienceNs))) return;
        complete(request, waiter.take());
      }
      pause_a_little(random);
    }
  }
};

void consume(CompletionQueue& queue, size_t count) {
  std::vector<Completion> done;
  for (size_t got = 0; got < count;) {
    pollfd poll_of{queue.fd(), POLLIN, 0};
    if (!EXPECT(poll(&poll_of, 1, 60'000) == 1)) return;
    done.clear();
    got += queue.drain(done);
    for (const Completion& completion : done) {
      complete(*static_cast<StressRequest*>(completion.user), completion);
    }
  }
}

void expect_all_right(const StressRequests& requests) {
  std::array<int, 4> cancelled{};
  for (const auto& request : requests) {
    EXPECT_EQ(request->completions.load(), 1);
    if (request->is_cancelled) {
      ++cancelled[static_cast<size_t>(request->cancel_at)];
      EXPECT(request->code == StatusCode::kCancelled);
    } else {
      EXPECT(request->code == StatusCode::kOk);
      EXPECT(request->request.is_plus_one());
    }
  }
  EXPECT_EQ(cancelled[0], 0);
  testing::note("cancelled once queued " + std::to_string(cancelled[1]) + ", while running " +
                std::to_string(cancelled[2]) + ", at random " + std::to_string(cancelled[3]));
  EXPECT(cancelled[1] > 0);
  EXPECT(cancelled[2] > 0);
}

// Every slot can be taken again, all at once.
void expect_no_slot_stuck(Engine& engine, int64_t queue_requests_max) {
  const auto runner = std::make_shared<SteppedRunner>();
  const ModelId model = engine.add_model(runner, {}).value();
  std::vector<std::unique_ptr<Call>> calls;
  for (int64_t i = 0; i < queue_requests_max; ++i) {
    calls.push_back(std::make_unique<Call>());
    EXPECT(calls.back()->submit(engine, model).ok());
  }
  Call one_more;
  EXPECT(one_more.submit(engine, model).code() == StatusCode::kQueueFull);
  runner->release_all();
  for (auto& call : calls) EXPECT(call->wait() == StatusCode::kOk);
}

TEST(engine_stress_mixed_requests_with_cancellations) {
  constexpr int64_t kSlots = 96;
  std::mt19937_64 random(testing::seed());
  StressRequests requests = make_requests(random);
  std::array<std::shared_ptr<ChaosRunner>, 2> runners;
  for (auto& runner : runners) runner = std::make_shared<ChaosRunner>(requests, random());
  Engine engine({.thread_count = 2, .queue_requests_max = kSlots});
  for (auto& runner : runners) runner->attach(&engine);
  const std::array<ModelId, 2> models = {
      engine.add_model(runners[0], {.batch_rows_max = 16, .batch_tokens_max = 200}).value(),
      engine.add_model(runners[1], {.batch_wait_us_max = 300, .queue_rows_max = 64}).value()};
  CompletionQueue queue(64);

  // Three clients share the event loop's queue, five block.
  constexpr size_t kClients = 8;
  constexpr size_t kQueued = 3;
  size_t queued_requests = 0;
  for (size_t i = 0; i < kRequests; ++i) queued_requests += i % kClients < kQueued ? 1 : 0;
  std::thread consumer([&] { consume(queue, queued_requests); });
  std::vector<std::thread> threads;
  for (size_t c = 0; c < kClients; ++c) {
    threads.emplace_back([&, c] {
      Client{engine, models, requests, c < kQueued ? &queue : nullptr, c, kClients}.run();
    });
  }
  for (std::thread& thread : threads) thread.join();
  consumer.join();

  expect_all_right(requests);
  uint64_t completed = 0;
  for (const ModelId model : models) {
    const ModelStats stats = engine.stats(model).value();
    EXPECT_EQ(stats.queue_rows, 0);
    completed += stats.requests_of(Outcome::kOk) + stats.requests_of(Outcome::kCancelled);
    EXPECT_EQ(stats.requests_of(Outcome::kError), 0);
    EXPECT_EQ(stats.execute_ns.count, stats.batches);
  }
  EXPECT_EQ(completed, kRequests);
  expect_no_slot_stuck(engine, kSlots);
}

// What is accepted while the engine closes or drains is completed; what comes later is refused.
template <typename End>
void end_under_load(const End& end, bool may_fail) {
  Engine engine({.queue_requests_max = 64});
  const auto runner = std::make_shared<AddOneRunner>();
  const std::array<ModelId, 2> models = {
      engine.add_model(runner, {}).value(),
      engine.add_model(runner, {.batch_wait_us_max = 60'000'000}).value()};
  std::atomic<int> accepted{0};
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      // One request to the patient model stays held back until the end.
      Call held_back;
      const bool held = held_back.submit(engine, models[1]).ok();
      for (;;) {
        Call call(static_cast<float>(t));
        const SubmitResult result = call.submit(engine, models[0]);
        if (!result.ok()) {
          EXPECT(result.code() == StatusCode::kUnavailable);
          ++refused;
          break;
        }
        ++accepted;
        const StatusCode code = call.wait();
        EXPECT(code == StatusCode::kOk || (may_fail && code == StatusCode::kUnavailable));
      }
      if (!held) return;
      const StatusCode code = held_back.wait();
      EXPECT(code == StatusCode::kOk || (may_fail && code == StatusCode::kUnavailable));
    });
  }
  const Nanos patience = MonotonicClock().now() + kPatienceNs;
  while (accepted < 200 && MonotonicClock().now() < patience) std::this_thread::yield();
  end(engine);
  for (std::thread& thread : threads) thread.join();
  EXPECT(accepted >= 200);
  EXPECT_EQ(refused.load(), 4);
}

TEST(engine_closes_under_load) {
  for (int round = 0; round < 10; ++round) {
    end_under_load([](Engine& engine) { engine.close(); }, true);
  }
}

TEST(engine_drains_under_load) {
  for (int round = 0; round < 10; ++round) {
    end_under_load(
        [](Engine& engine) { EXPECT(engine.drain(MonotonicClock().now() + kPatienceNs)); }, false);
  }
}

TEST(engine_adds_and_removes_models_under_load) {
  Engine engine({.queue_requests_max = 64, .models_max = 2});
  const auto runner = std::make_shared<AddOneRunner>();
  const ModelId steady = engine.add_model(runner, {}).value();
  std::atomic<ModelId> passing{0};
  std::atomic<bool> stop{false};
  std::atomic<int> served{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!stop) {
        Call a(1), b(2);
        if (!EXPECT(a.submit(engine, steady).ok())) return;
        const SubmitResult result = b.submit(engine, passing);
        EXPECT(a.wait() == StatusCode::kOk);
        if (result.ok()) {
          EXPECT(b.wait() == StatusCode::kOk);
          ++served;
        } else {
          EXPECT(result.code() == StatusCode::kNotFound ||
                 result.code() == StatusCode::kUnavailable);
        }
      }
    });
  }
  const Nanos patience = MonotonicClock().now() + kPatienceNs;
  for (int round = 1; round <= 50; ++round) {
    const auto id = engine.add_model(runner, {});
    if (!EXPECT_OK(id)) break;
    passing = id.value();
    const int target = served + 3;
    while (served < target && MonotonicClock().now() < patience) std::this_thread::yield();
    EXPECT_OK(engine.remove_model(id.value()));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT(served >= 150);
}

}  // namespace
}  // namespace pelton
