// Engine::help(): submitters that are the worker while its thread sleeps.
#include <thread>
#include <vector>

#include "tests/native/serve/fakes.h"

namespace pelton {
namespace {

constexpr Nanos kPlenty = kSecond;  // any batch of these tests is expected to be shorter

// Until the engine has an estimate, nothing is run by helpers.
void teach(Engine& engine, ModelId model) {
  for (int i = 0; i < 3; ++i) {
    Call call;
    ASSERT(call.submit(engine, model).ok());
    EXPECT(call.wait() == StatusCode::kOk);
  }
}

TEST(help_runs_short_batches_on_the_calling_thread) {
  Engine engine({.thread_count = 2});
  const ModelId model = engine.add_model(std::make_shared<AddOneRunner>(), {}).value();
  teach(engine, model);
  int helped = 0;
  for (int i = 0; i < 100; ++i) {
    Call call(static_cast<float>(i));
    ASSERT(call.submit(engine, model, 0, kNoDeadline, Wake::kLater).ok());
    engine.help(kPlenty);
    // Done by the time help() returns, unless the worker's thread was awake.
    if (call.waiter.wait_for(0)) ++helped;
    EXPECT(call.wait() == StatusCode::kOk);
    EXPECT(call.request.is_plus_one());
    while (engine.stats(model).value().queue_rows > 0) std::this_thread::yield();
  }
  EXPECT(helped > 0);
}

TEST(help_leaves_long_and_unknown_batches_to_the_worker) {
  Engine engine({.thread_count = 1});
  auto runner = std::make_shared<SteppedRunner>();
  const ModelId model = engine.add_model(runner, {}).value();
  Call unknown;
  ASSERT(unknown.submit(engine, model, 0, kNoDeadline, Wake::kLater).ok());
  engine.help(kPlenty);  // would not return if it ran the batch
  EXPECT(runner->wait_started(1));
  runner->release_all();
  EXPECT(unknown.wait() == StatusCode::kOk);
  Call known;
  ASSERT(known.submit(engine, model, 0, kNoDeadline, Wake::kLater).ok());
  engine.help(0);  // no budget
  EXPECT(known.wait() == StatusCode::kOk);
}

TEST(help_beside_others_loses_nothing) {
  Engine engine({.thread_count = 2});
  const ModelId model = engine.add_model(std::make_shared<AddOneRunner>(), {}).value();
  teach(engine, model);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&engine, model, t] {
      for (int i = 0; i < 500; ++i) {
        Call call(static_cast<float>(i));
        const bool helps = (t + i) % 3 != 0;
        if (!EXPECT(call.submit(engine, model, 0, kNoDeadline, helps ? Wake::kLater : Wake::kNow)
                        .ok())) {
          return;
        }
        if (helps) engine.help(i % 2 == 0 ? kPlenty : 0);
        EXPECT(call.wait() == StatusCode::kOk);
        EXPECT(call.request.is_plus_one());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(help_after_close_does_nothing) {
  Engine engine({.thread_count = 1});
  const ModelId model = engine.add_model(std::make_shared<AddOneRunner>(), {}).value();
  teach(engine, model);
  engine.close();
  engine.help(kPlenty);
}

}  // namespace
}  // namespace pelton
