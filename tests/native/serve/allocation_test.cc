// The path of a request allocates nothing after warm-up. This binary counts every allocation of the
// process.
#include <poll.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "tests/native/serve/fakes.h"

namespace {

std::atomic<int64_t> allocation_count{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  if (bytes == 0) bytes = 1;
  void* memory = alignment == 0 ? std::malloc(bytes)
                                : std::aligned_alloc(
                                      alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes, 0); }
void* operator new[](std::size_t bytes) { return counted(bytes, 0); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace pelton {
namespace {

constexpr size_t kRequests = 64;

// A wave of requests to two models, drained as an event loop would; half of it blocking.
void run_wave(Engine& engine, const std::array<ModelId, 2>& models,
              std::array<FloatRequest, kRequests>& requests, CompletionQueue& queue, Call& call,
              std::vector<Completion>& done) {
  for (size_t i = 0; i < kRequests; ++i) {
    EXPECT(engine
               .submit({.model = models[i % 2],
                        .priority = static_cast<int>(i % 5),
                        .deadline = i % 3 == 0 ? kNoDeadline : MonotonicClock().now() + kPatienceNs,
                        .request = requests[i].view(),
                        .sink = &queue,
                        .user = &requests[i]})
               .ok());
  }
  EXPECT(call.submit(engine, models[0]).ok());
  for (size_t got = 0; got < kRequests;) {
    pollfd poll_of{queue.fd(), POLLIN, 0};
    if (!EXPECT(poll(&poll_of, 1, 60'000) == 1)) return;
    done.clear();
    got += queue.drain(done);
    for (const Completion& completion : done) EXPECT(completion.status.ok());
  }
  EXPECT(call.wait() == StatusCode::kOk);
}

TEST(engine_allocates_nothing_per_request) {
  Engine engine({.thread_count = 2, .queue_requests_max = 128});
  const std::array<ModelId, 2> models = {
      engine.add_model(std::make_shared<AddOneRunner>(), {}).value(),
      engine.add_model(std::make_shared<AddOneRunner>(), {.batch_rows_max = 7}).value()};
  std::array<FloatRequest, kRequests> requests;
  CompletionQueue queue(kRequests);
  Call call;
  std::vector<Completion> done;
  done.reserve(kRequests);
  for (int wave = 0; wave < 5; ++wave) run_wave(engine, models, requests, queue, call, done);
  const int64_t before = allocation_count.load();
  for (int wave = 0; wave < 50; ++wave) run_wave(engine, models, requests, queue, call, done);
  EXPECT_EQ(allocation_count.load() - before, 0);
}

TEST(engine_refusals_allocate_nothing) {
  const auto runner = std::make_shared<SteppedRunner>();
  Engine engine({.queue_requests_max = 3});
  const ModelId model = engine.add_model(runner, {.queue_rows_max = 2}).value();
  std::array<Call, 4> calls;
  EXPECT(calls[0].submit(engine, model).ok());
  EXPECT(runner->wait_started(1));
  EXPECT(calls[1].submit(engine, model).ok());
  EXPECT(calls[2].submit(engine, model).ok());
  EXPECT(calls[3].submit(engine, model).code() == StatusCode::kQueueFull);
  const int64_t before = allocation_count.load();
  for (int i = 0; i < 100; ++i) {
    EXPECT(calls[3].submit(engine, model).code() == StatusCode::kQueueFull);
    EXPECT(calls[3].submit(engine, model, 0, 1).code() == StatusCode::kDeadlineExceeded);
    EXPECT(calls[3].submit(engine, model + 1).code() == StatusCode::kNotFound);
    EXPECT(!engine.cancel(0));
  }
  EXPECT_EQ(allocation_count.load() - before, 0);
  runner->release_all();
  for (int i = 0; i < 3; ++i) EXPECT(calls[static_cast<size_t>(i)].wait() == StatusCode::kOk);
}

}  // namespace
}  // namespace pelton
