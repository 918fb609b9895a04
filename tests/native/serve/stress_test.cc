// Many clients at once, with pauses and cancellations at random; the seed is printed by the runner.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

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

// Pauses threads at random where they hand something over.
class RandomPauser final : public Pauser {
 public:
  explicit RandomPauser(uint64_t seed) : state_(seed) {}
  void pause(const char*) noexcept override {
    // One sequence for all threads (splitmix64): which thread gets which number is chance anyway.
    uint64_t x = state_.fetch_add(0x9e37'79b9'7f4a'7c15);
    x = (x ^ x >> 30) * 0xbf58'476d'1ce4'e5b9;
    x = (x ^ x >> 27) * 0x94d0'49bb'1331'11eb;
    x ^= x >> 31;
    if (x % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds(x / 16 % 100));
    if (x % 16 == 1) std::this_thread::yield();
  }

 private:
  std::atomic<uint64_t> state_;
};

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

  Status run_at(const BatchView& batch, Nanos deadline, const RunSite& site) override {
    EXPECT_EQ(inside_.fetch_add(1), 0);
    const auto threads = static_cast<int>(random_() % 3) + 1;
    std::atomic<int> ranks{0};
    site.lane->run(
        std::min(threads, site.rank_count),
        [](void* count, int) { ++*static_cast<std::atomic<int>*>(count); }, &ranks);
    for (uint64_t i = random_() % 4; i > 0; --i) {
      site.yield();
      pause_a_little(random_);
    }
    const Status status = run(batch, deadline);
    --inside_;
    return status;
  }
  int threads_wanted(int64_t row_count, int64_t) const override {
    return 1 + static_cast<int>(row_count % 3);
  }
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
  std::atomic<int> inside_{0};
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
    const Wake wake = request.index % 3 == 0 ? Wake::kNow : Wake::kLater;
    const SubmitResult result = engine.submit({.model = models[request.index % 2],
                                               .priority = static_cast<int>(request.index % 6),
                                               .request = request.request.view(),
                                               .sink = sink,
                                               .user = &request},
                                              wake);
    if (request.index % 3 == 1) engine.wake();
    if (request.index % 3 == 2) engine.help(10'000'000);  // far over what a batch takes
    return result;
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

void stress_mixed_requests_with_cancellations(int thread_count) {
  constexpr int64_t kSlots = 96;
  std::mt19937_64 random(testing::seed() + static_cast<uint64_t>(thread_count));
  StressRequests requests = make_requests(random);
  std::array<std::shared_ptr<ChaosRunner>, 2> runners;
  for (auto& runner : runners) runner = std::make_shared<ChaosRunner>(requests, random());
  RandomPauser pauser(random());
  Engine engine({.thread_count = thread_count, .queue_requests_max = kSlots, .pauser = &pauser});
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

TEST(engine_stress_mixed_requests_with_cancellations) {
  for (const int thread_count : {1, 2, 3}) stress_mixed_requests_with_cancellations(thread_count);
}

// What is accepted while the engine closes or drains is completed; what comes later is refused.
template <typename End>
void end_under_load(const End& end, bool may_fail) {
  static std::atomic<uint64_t> seed{testing::seed()};
  RandomPauser pauser(++seed);
  Engine engine({.thread_count = 1 + static_cast<int>(seed % 3),
                 .queue_requests_max = 64,
                 .pauser = &pauser});
  const std::array<ModelId, 2> models = {
      engine.add_model(std::make_shared<AddOneRunner>(), {}).value(),
      engine.add_model(std::make_shared<AddOneRunner>(), {.batch_wait_us_max = 60'000'000})
          .value()};
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
  RandomPauser pauser(testing::seed());
  Engine engine({.thread_count = 2, .queue_requests_max = 64, .models_max = 2, .pauser = &pauser});
  const auto runner = std::make_shared<AddOneRunner>();
  const ModelId steady = engine.add_model(std::make_shared<AddOneRunner>(), {}).value();
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

// Children of a process whose engine is busy at every point: each fails cleanly, and the parent
// notices nothing.
TEST(engine_forks_under_load) {
  RandomPauser pauser(testing::seed());
  Engine engine({.thread_count = 2, .queue_requests_max = 64, .pauser = &pauser});
  const std::array<ModelId, 2> models = {
      engine.add_model(std::make_shared<AddOneRunner>(), {}).value(),
      engine.add_model(std::make_shared<AddOneRunner>(), {}).value()};
  std::atomic<bool> stop{false};
  std::atomic<int> served{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      while (!stop) {
        Call call(static_cast<float>(t));
        if (!EXPECT(call.submit(engine, models[t % 2]).ok())) return;
        EXPECT(call.wait() == StatusCode::kOk);
        ++served;
      }
    });
  }
  const Nanos patience = MonotonicClock().now() + kPatienceNs;
  for (int round = 0; round < 10; ++round) {
    const int target = served + 20;
    while (served < target && MonotonicClock().now() < patience) std::this_thread::yield();
    Call call(1);
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);  // a hang must end the child
      const bool dead = call.submit(engine, models[0]).code() == StatusCode::kUnavailable &&
                        !engine.drain(0) && !engine.cancel(1);
      engine.wake();
      engine.close();
      _exit(dead ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT(served >= 200);
}

}  // namespace
}  // namespace pelton
