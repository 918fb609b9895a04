// Batches of several models on one team: beside each other, inside each other, in their shares.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "csrc/serve/schedule.h"
#include "tests/native/serve/fakes.h"

namespace pelton {
namespace {

constexpr Nanos kMs = 1'000'000;

// Adds one on as many threads as the test says, and tells where it ran. While held, it stays in its
// batch and calls the hook all the time. Each batch takes `takes` of the fake clock.
class PlacedRunner final : public Runner {
 public:
  explicit PlacedRunner(int threads = 1, FakeClock* clock = nullptr, Nanos takes = 0)
      : threads_(threads), clock_(clock), takes_(takes) {}

  int threads_wanted(int64_t, int64_t) const override { return threads_; }
  Status run(const BatchView&, Nanos) override {
    EXPECT(false);  // the engine calls run_at()
    return Status();
  }
  Status run_at(const BatchView& batch, Nanos, const RunSite& site) override {
    EXPECT_EQ(inside_.fetch_add(1), 0);
    ranks_ = site.rank_count;
    finely_ = site.finely;
    hooked_ = static_cast<bool>(site.yield);
    ++started_;
    std::atomic<int> ranks_run{0};
    site.lane->run(
        site.rank_count, [](void* count, int) { ++*static_cast<std::atomic<int>*>(count); },
        &ranks_run);
    EXPECT_EQ(ranks_run.load(), site.rank_count);
    const Nanos patience = MonotonicClock().now() + kPatienceNs;
    while (held_ && MonotonicClock().now() < patience) {
      site.yield();
      std::this_thread::yield();
    }
    if (clock_ != nullptr) clock_->advance(takes_);
    if (order_ != nullptr) order_->push_back(this);
    add_one(batch);
    --inside_;
    return Status();
  }

  bool wait_started(int count) const {
    const Nanos patience = MonotonicClock().now() + kPatienceNs;
    while (started_ < count && MonotonicClock().now() < patience) std::this_thread::yield();
    return started_ >= count;
  }
  void hold() { held_ = true; }
  void release() { held_ = false; }
  void record_order(std::vector<const PlacedRunner*>* order) { order_ = order; }
  int ranks() const { return ranks_; }
  bool finely() const { return finely_; }
  bool hooked() const { return hooked_; }
  int started() const { return started_; }

 private:
  const int threads_;
  FakeClock* const clock_;
  const Nanos takes_;
  std::atomic<bool> held_{false};
  std::atomic<int> inside_{0};
  std::atomic<int> started_{0};
  std::atomic<int> ranks_{0};
  std::atomic<bool> finely_{false};
  std::atomic<bool> hooked_{false};
  std::vector<const PlacedRunner*>* order_ = nullptr;  // the worker's while it runs
};

StatusCode run_one(Engine& engine, ModelId model) {
  Call call(1);
  if (!EXPECT(call.submit(engine, model).ok())) return StatusCode::kInternal;
  return call.wait();
}

// A long model of two threads and a short one of one thread, each after a batch of its kind.
struct LongAndShort {
  explicit LongAndShort(int thread_count)
      : engine({.thread_count = thread_count, .clock = &clock}),
        long_model(engine.add_model(slow, {.batch_rows_max = 1}).value()),
        short_model(engine.add_model(fast, {.batch_rows_max = 1}).value()) {
    EXPECT(run_one(engine, long_model) == StatusCode::kOk);
    EXPECT(run_one(engine, short_model) == StatusCode::kOk);
  }
  ~LongAndShort() {
    slow->release();
    fast->release();
  }

  FakeClock clock;
  std::shared_ptr<PlacedRunner> slow = std::make_shared<PlacedRunner>(2, &clock, 100 * kMs);
  std::shared_ptr<PlacedRunner> fast = std::make_shared<PlacedRunner>(1, &clock, kMs / 2);
  Engine engine;
  ModelId long_model;
  ModelId short_model;
};

TEST(lanes_run_batches_of_two_models_at_once) {
  for (const size_t first : {0, 1}) {
    Engine engine({.thread_count = 2});
    const std::array runners = {std::make_shared<SteppedRunner>(),
                                std::make_shared<SteppedRunner>()};
    const std::array models = {engine.add_model(runners[0], {}).value(),
                               engine.add_model(runners[1], {}).value()};
    Call a(1), b(2);
    ASSERT(a.submit(engine, models[0]).ok());
    EXPECT(runners[0]->wait_started(1));
    ASSERT(b.submit(engine, models[1]).ok());
    EXPECT(runners[1]->wait_started(1));  // while the other still runs
    runners[first]->release();
    runners[1 - first]->release();
    EXPECT(a.wait() == StatusCode::kOk);
    EXPECT(b.wait() == StatusCode::kOk);
  }
}

TEST(lanes_leave_a_core_to_others_beside_a_long_batch) {
  LongAndShort models(2);
  models.slow->hold();
  Call slow(1), more(2);
  ASSERT(slow.submit(models.engine, models.long_model).ok());
  EXPECT(models.slow->wait_started(2));
  EXPECT_EQ(models.slow->ranks(), 1);
  // In its hook it offers its CPU to others.
  EXPECT(models.slow->hooked());
  EXPECT(models.slow->finely());
  for (int i = 0; i < 50; ++i) {
    EXPECT(run_one(models.engine, models.short_model) == StatusCode::kOk);
  }
  EXPECT(!slow.waiter.wait_for(0));
  models.slow->release();
  EXPECT(slow.wait() == StatusCode::kOk);
  // Alone it has the whole team again.
  EXPECT_OK(models.engine.remove_model(models.short_model));
  EXPECT(run_one(models.engine, models.long_model) == StatusCode::kOk);
  EXPECT_EQ(models.slow->ranks(), 2);
  EXPECT(!models.slow->hooked());
  EXPECT(!models.slow->finely());
}

TEST(lanes_tell_of_a_long_batch_while_the_front_is_busy) {
  LongAndShort models(2);
  models.slow->hold();
  models.fast->hold();
  Call slow(1), fast(2), next(3);
  ASSERT(slow.submit(models.engine, models.long_model).ok());
  EXPECT(models.slow->wait_started(2));
  ASSERT(fast.submit(models.engine, models.short_model).ok());
  EXPECT(models.fast->wait_started(2));
  EXPECT(models.fast->hooked());
  models.slow->release();
  EXPECT(slow.wait() == StatusCode::kOk);
  // Nor does the next long one wait for the front.
  EXPECT(run_one(models.engine, models.long_model) == StatusCode::kOk);
  EXPECT(!fast.waiter.wait_for(0));
  models.fast->release();
  EXPECT(fast.wait() == StatusCode::kOk);
}

TEST(lanes_on_one_thread_short_batches_run_inside_a_long_one) {
  LongAndShort models(1);
  models.slow->hold();
  Call slow(1);
  ASSERT(slow.submit(models.engine, models.long_model).ok());
  EXPECT(models.slow->wait_started(2));
  EXPECT(models.slow->finely());
  for (int i = 0; i < 50; ++i) {
    EXPECT(run_one(models.engine, models.short_model) == StatusCode::kOk);
    EXPECT(!models.fast->hooked());  // nothing runs inside what runs inside
  }
  EXPECT(!slow.waiter.wait_for(0));
  models.slow->release();
  EXPECT(slow.wait() == StatusCode::kOk);
  // The cost of what ran inside is not the long model's: 100 ms, not 125.
  EXPECT_EQ(models.engine.stats(models.long_model).value().execute_ns.count, 2);
}

TEST(lanes_on_one_thread_a_long_batch_is_not_interrupted_beyond_its_share) {
  LongAndShort models(1);
  models.slow->hold();
  Call slow(1);
  ASSERT(slow.submit(models.engine, models.long_model).ok());
  EXPECT(models.slow->wait_started(2));
  // The short model has been served next to nothing, and this batch is charged 100 ms; the first
  // one was too, and the short model may claim 20 ms of that.
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 400; ++i) {
    calls.push_back(std::make_unique<Call>(1));
    ASSERT(calls.back()->submit(models.engine, models.short_model).ok());
  }
  EXPECT(models.fast->wait_started(1 + 200));
  const int most = 1 + 2 * (100 + 100 + 20);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // were there more, they would come
  EXPECT(models.fast->started() <= most);
  models.slow->release();
  EXPECT(slow.wait() == StatusCode::kOk);
  for (auto& call : calls) EXPECT(call->wait() == StatusCode::kOk);
}

TEST(lanes_share_one_core_by_weight) {
  FakeClock clock;
  std::vector<const PlacedRunner*> order;
  const auto blocker = std::make_shared<PlacedRunner>();
  const auto light = std::make_shared<PlacedRunner>(1, &clock, kMs);
  const auto heavy = std::make_shared<PlacedRunner>(1, &clock, kMs);
  Engine engine({.clock = &clock});
  const ModelId blocking = engine.add_model(blocker, {}).value();
  const ModelId light_id = engine.add_model(light, {.batch_rows_max = 1}).value();
  const ModelId heavy_id = engine.add_model(heavy, {.batch_rows_max = 1, .weight = 3}).value();
  blocker->hold();
  Call block;
  ASSERT(block.submit(engine, blocking).ok());
  EXPECT(blocker->wait_started(1));
  light->record_order(&order);
  heavy->record_order(&order);
  order.reserve(128);
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 64; ++i) {
    calls.push_back(std::make_unique<Call>(1));
    ASSERT(calls.back()->submit(engine, i % 2 == 0 ? light_id : heavy_id).ok());
  }
  blocker->release();
  EXPECT(block.wait() == StatusCode::kOk);
  for (auto& call : calls) EXPECT(call->wait() == StatusCode::kOk);
  ASSERT(order.size() == 64);
  // While both have requests: three of the heavy one for each of the light one, but for the eighth
  // batches that the oldest request heads.
  const auto heavy_count = std::count(order.begin(), order.begin() + 32, heavy.get());
  EXPECT(heavy_count >= 22 && heavy_count <= 26);
}

TEST(lanes_run_one_batch_of_a_runner_at_a_time) {
  // Two models of one runner, which checks.
  Engine engine({.thread_count = 3});
  const auto runner = std::make_shared<PlacedRunner>();
  const std::array models = {engine.add_model(runner, {.batch_rows_max = 1}).value(),
                             engine.add_model(runner, {.batch_rows_max = 1}).value()};
  std::vector<std::unique_ptr<Call>> calls;
  for (size_t i = 0; i < 200; ++i) {
    calls.push_back(std::make_unique<Call>(1));
    ASSERT(calls.back()->submit(engine, models[i % 2]).ok());
  }
  for (auto& call : calls) EXPECT(call->wait() == StatusCode::kOk);
}

TEST(lanes_end_with_what_runs_on_them) {
  for (const bool by_close : {true, false}) {
    LongAndShort models(2);
    models.slow->hold();
    models.fast->hold();
    Call slow(1), fast(2), queued(3);
    ASSERT(slow.submit(models.engine, models.long_model).ok());
    EXPECT(models.slow->wait_started(2));
    ASSERT(fast.submit(models.engine, models.short_model).ok());
    EXPECT(models.fast->wait_started(2));
    ASSERT(queued.submit(models.engine, models.long_model).ok());
    std::thread ending([&] {
      if (by_close) {
        models.engine.close();
      } else {
        EXPECT(models.engine.drain(kNoDeadline));
      }
    });
    EXPECT(wait_until_refusing(models.engine, models.short_model));
    models.fast->release();
    models.slow->release();
    ending.join();
    EXPECT(slow.wait() == StatusCode::kOk);
    EXPECT(fast.wait() == StatusCode::kOk);
    EXPECT(queued.wait() == (by_close ? StatusCode::kUnavailable : StatusCode::kOk));
  }
}

TEST(lanes_are_dead_in_a_forked_child_and_alive_in_the_parent) {
  LongAndShort models(2);
  models.slow->hold();
  models.fast->hold();
  Call slow(1), fast(2);
  ASSERT(slow.submit(models.engine, models.long_model).ok());
  ASSERT(fast.submit(models.engine, models.short_model).ok());
  EXPECT(models.slow->wait_started(2));
  EXPECT(models.fast->wait_started(2));
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a hang must end the child
    Call call(1);
    const bool dead =
        call.submit(models.engine, models.short_model).code() == StatusCode::kUnavailable;
    models.engine.wake();
    models.engine.close();
    models.engine.~Engine();
    _exit(dead ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  models.slow->release();
  models.fast->release();
  EXPECT(slow.wait() == StatusCode::kOk);
  EXPECT(fast.wait() == StatusCode::kOk);
}

}  // namespace
}  // namespace pelton
