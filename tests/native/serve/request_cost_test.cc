// What the engine costs per request: a model that does nothing, one completion queue, 64 in flight.
#include <poll.h>
#include <pthread.h>
#include <time.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tests/native/serve/fakes.h"

namespace pelton {
namespace {

constexpr int kInFlight = 64;
constexpr int kTurns = 1000;

int64_t cpu_ns(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return int64_t{time.tv_sec} * kSecond + time.tv_nsec;
}

class NothingRunner final : public Runner {
 public:
  Status run(const BatchView&, Nanos) override {
    if (!knows_clock_.exchange(true)) pthread_getcpuclockid(pthread_self(), &clock_);
    return Status();
  }
  // REQUIRES: a batch has completed.
  clockid_t worker_clock() const { return clock_; }

 private:
  std::atomic<bool> knows_clock_{false};
  clockid_t clock_ = 0;
};

// An event loop's turn: submit as many as fit, wake once, take the answers.
bool turn(Engine& engine, ModelId model, CompletionQueue& queue, std::vector<Completion>& done) {
  const Nanos now = MonotonicClock().now();
  RequestView one_row;
  one_row.row_count = one_row.token_count = 1;
  for (int i = 0; i < kInFlight; ++i) {
    const SubmitResult result = engine.submit(
        {.model = model, .request = one_row, .sink = &queue, .arrival = now}, Wake::kLater);
    if (!result.ok()) return false;
  }
  engine.wake();
  for (size_t got = 0; got < kInFlight;) {
    pollfd poll_of{queue.fd(), POLLIN, 0};
    if (poll(&poll_of, 1, 60'000) != 1) return false;
    done.clear();
    got += queue.drain(done);
  }
  return true;
}

TEST(engine_request_costs_little) {
  Engine engine({.spin_ns_max = 0});
  const auto runner = std::make_shared<NothingRunner>();
  const ModelId model = engine.add_model(runner, {.batch_rows_max = kInFlight}).value();
  CompletionQueue queue(kInFlight);
  std::vector<Completion> done;
  for (int i = 0; i < kTurns / 10; ++i) ASSERT(turn(engine, model, queue, done));
  const int64_t worker = cpu_ns(runner->worker_clock());
  const int64_t submitter = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
  for (int i = 0; i < kTurns; ++i) ASSERT(turn(engine, model, queue, done));
  const int64_t worker_each = (cpu_ns(runner->worker_clock()) - worker) / (kTurns * kInFlight);
  const int64_t submitter_each =
      (cpu_ns(CLOCK_THREAD_CPUTIME_ID) - submitter) / (kTurns * kInFlight);
  testing::note("CPU per request: worker " + std::to_string(worker_each) + " ns, submitter " +
                std::to_string(submitter_each) + " ns");
  // About 85 and 75 ns on a free machine, system calls included. With sanitizers 20 times that.
  EXPECT(worker_each < 10'000);
  EXPECT(submitter_each < 10'000);
}

}  // namespace
}  // namespace pelton
