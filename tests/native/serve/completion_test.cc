#include "csrc/serve/completion.h"

#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/native/serve/fakes.h"

namespace pelton {
namespace {

bool is_readable(int fd, int timeout_ms) {
  pollfd poll_of{fd, POLLIN, 0};
  return poll(&poll_of, 1, timeout_ms) == 1;
}

TEST(completion_queue_announces_once_per_drain) {
  CompletionQueue queue(4);
  ASSERT_OK(queue.status());
  EXPECT(!is_readable(queue.fd(), 0));
  for (Ticket ticket = 1; ticket <= 3; ++ticket) {
    EXPECT(queue.try_reserve());
    queue.push({.ticket = ticket});
  }
  EXPECT(!is_readable(queue.fd(), 0));  // nothing before the flush
  queue.flush(2);
  queue.flush(1);
  uint64_t writes = 0;
  EXPECT_EQ(read(queue.fd(), &writes, sizeof(writes)), sizeof(writes));
  EXPECT_EQ(writes, 1);  // two flushes, one write
  std::vector<Completion> done;
  EXPECT_EQ(queue.drain(done), 3);
  EXPECT_EQ(done[0].ticket, 1);
  EXPECT_EQ(done[2].ticket, 3);
  EXPECT_EQ(queue.drain(done), 0);
  EXPECT(queue.try_reserve());
  queue.push({.ticket = 4});
  queue.flush(1);
  EXPECT(is_readable(queue.fd(), 0));
  EXPECT_EQ(queue.drain(done), 1);
  EXPECT(!is_readable(queue.fd(), 0));
}

TEST(completion_queue_refuses_what_it_could_not_hold) {
  CompletionQueue queue(3);
  for (int i = 0; i < 3; ++i) EXPECT(queue.try_reserve());
  EXPECT(!queue.try_reserve());
  queue.cancel_reservation();
  EXPECT(queue.try_reserve());
  std::vector<Completion> done;
  for (int i = 0; i < 3; ++i) queue.push({});
  queue.flush(3);
  EXPECT(!queue.try_reserve());  // pushed, not drained: its room is still taken
  EXPECT_EQ(queue.drain(done), 3);
  EXPECT(queue.try_reserve());
  queue.cancel_reservation();
}

TEST(completion_queue_close_waits_for_what_is_out) {
  CompletionQueue queue(4);
  EXPECT(queue.try_reserve());
  std::atomic<bool> closed{false};
  std::thread closer([&] {
    queue.close();
    closed = true;
  });
  // Closing has begun when reservations are refused.
  while (queue.try_reserve()) queue.cancel_reservation();
  EXPECT(!closed);
  queue.push({.ticket = 7});
  EXPECT(!closed);
  queue.flush(1);
  closer.join();
  EXPECT(closed);
  std::vector<Completion> done;
  EXPECT_EQ(queue.drain(done), 1);
  queue.close();
}

TEST(completion_queue_without_a_descriptor_says_so) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  CompletionQueue queue(1);
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT(queue.status().code() == StatusCode::kUnavailable);
}

// Two engines' worth of producers against a consumer that only looks when the descriptor says so.
TEST(completion_queue_stress_loses_no_completion) {
  constexpr int kEach = 20'000;
  CompletionQueue queue(64);
  std::vector<std::thread> producers;
  for (int p = 0; p < 2; ++p) {
    producers.emplace_back([&, p] {
      std::mt19937_64 random(testing::seed() + static_cast<uint64_t>(p));
      for (int sent = 0; sent < kEach;) {
        const int batch = std::min<int>(1 + static_cast<int>(random() % 8), kEach - sent);
        int pushed = 0;
        for (; pushed < batch && queue.try_reserve(); ++pushed) {
          queue.push({.ticket = static_cast<Ticket>(p) << 32 | static_cast<Ticket>(sent + pushed)});
        }
        if (pushed > 0) queue.flush(pushed);
        if (pushed == 0 || random() % 16 == 0) std::this_thread::yield();
        sent += pushed;
      }
    });
  }
  std::vector<Completion> done;
  uint64_t next[2] = {0, 0};
  while (next[0] + next[1] < 2 * kEach) {
    if (!EXPECT(is_readable(queue.fd(), 60'000))) break;
    done.clear();
    queue.drain(done);
    for (const Completion& completion : done) {
      EXPECT_EQ(completion.ticket & 0xffff'ffff, next[completion.ticket >> 32]++);
    }
  }
  for (std::thread& producer : producers) producer.join();
}

TEST(blocking_waiter_takes_one_request_at_a_time) {
  BlockingWaiter waiter;
  EXPECT(waiter.try_reserve());
  EXPECT(!waiter.try_reserve());
  waiter.cancel_reservation();
  EXPECT(waiter.try_reserve());
  EXPECT(!waiter.wait_for(0));
  EXPECT(!waiter.wait_for(1000));
  waiter.push({.ticket = 5, .status = Status(StatusCode::kInternal, "x")});
  EXPECT(!waiter.wait_for(0));  // not before the flush
  waiter.flush(1);
  EXPECT(waiter.wait_for(0));
  EXPECT(!waiter.try_reserve());  // not taken yet
  const Completion completion = waiter.take();
  EXPECT_EQ(completion.ticket, 5);
  EXPECT_EQ(completion.status.message(), "x");
  EXPECT(waiter.try_reserve());
  waiter.cancel_reservation();
}

// Waiters die as soon as they are told: the engine must not touch them after that (ASan and TSan
// see it).
TEST(blocking_waiter_may_die_at_once) {
  Engine engine({});
  const ModelId model = engine.add_model(std::make_shared<AddOneRunner>(), {}).value();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        auto call = std::make_unique<Call>(static_cast<float>(t));
        if (!EXPECT(call->submit(engine, model).ok())) return;
        EXPECT(call->wait() == StatusCode::kOk);
        EXPECT(call->request.is_plus_one());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// A queue may be closed and destroyed while the engine lives on.
TEST(completion_queue_may_die_before_the_engine) {
  Engine engine({});
  const ModelId model = engine.add_model(std::make_shared<AddOneRunner>(), {}).value();
  for (int round = 0; round < 200; ++round) {
    FloatRequest requests[8];
    auto queue = std::make_unique<CompletionQueue>(8);
    for (FloatRequest& request : requests) {
      EXPECT(engine.submit({.model = model, .request = request.view(), .sink = queue.get()}).ok());
    }
    queue->close();
    std::vector<Completion> done;
    EXPECT_EQ(queue->drain(done), 8);
    queue.reset();
    for (const FloatRequest& request : requests) EXPECT(request.is_plus_one());
  }
}

}  // namespace
}  // namespace pelton
