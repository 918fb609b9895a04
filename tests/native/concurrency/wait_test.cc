#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "csrc/concurrency/event_count.h"
#include "csrc/concurrency/gate.h"
#include "csrc/concurrency/mpmc_ring.h"
#include "csrc/concurrency/sleeper.h"
#include "csrc/concurrency/wait_word.h"
#include "csrc/concurrency/wake_flag.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

constexpr int64_t kMillisecond = 1'000'000;

TEST(event_count_times_out) {
  EventCount events;
  const int64_t start = spin_clock_ns();
  EXPECT(!events.wait(events.prepare(), 2 * kMillisecond));
  EXPECT(spin_clock_ns() - start >= 2 * kMillisecond);
  // A notification between prepare() and wait() is not lost: the sleep does not begin.
  const uint32_t key = events.prepare();
  events.notify_one();
  EXPECT(events.wait(key));
  // After cancel() nobody waits: a notification is forgotten.
  (void)events.prepare();
  events.cancel();
  events.notify_all();
  EXPECT(!events.wait(events.prepare(), 1));
}

// Consumers sleep whenever the ring is empty; a lost wake-up hangs the test.
TEST(event_count_stress_loses_no_wake_up) {
  constexpr int kEach = 20'000;
  MpmcRing<int> ring(1 << 16);
  EventCount events;
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> threads;
  for (int c = 0; c < 2; ++c) {
    threads.emplace_back([&] {
      for (;;) {
        int value = 0;
        if (!ring.try_pop(value)) {
          const uint32_t key = events.prepare();
          if (ring.try_pop(value)) {
            events.cancel();
          } else {
            events.wait(key);
            continue;
          }
        }
        if (value == 0) return;
        sum.fetch_add(value, std::memory_order_relaxed);
      }
    });
  }
  for (int p = 0; p < 2; ++p) {
    threads.emplace_back([&, p] {
      std::mt19937_64 random(testing::seed() + static_cast<uint64_t>(p));
      for (int i = 1; i <= kEach; ++i) {
        EXPECT(ring.try_push(i));
        events.notify_one();
        if (random() % 16 == 0) std::this_thread::yield();
      }
    });
  }
  threads[2].join();
  threads[3].join();
  for (int c = 0; c < 2; ++c) {
    EXPECT(ring.try_push(0));
    events.notify_one();
  }
  threads[0].join();
  threads[1].join();
  EXPECT_EQ(sum.load(), int64_t{2} * kEach * (kEach + 1) / 2);
}

TEST(sleeper_times_out_and_forgets_early_wakes) {
  Sleeper sleeper;
  sleeper.wake();  // nobody sleeps: forgotten
  sleeper.prepare();
  const int64_t start = spin_clock_ns();
  sleeper.sleep(2 * kMillisecond);
  EXPECT(spin_clock_ns() - start >= 2 * kMillisecond);
  sleeper.prepare();
  sleeper.wake();
  sleeper.wake();
  sleeper.sleep();  // at once: the wake came after prepare()
  sleeper.prepare();
  sleeper.cancel();
  sleeper.wake();
}

TEST(sleeper_stress_loses_no_wake_up) {
  constexpr int kEach = 20'000;
  MpmcRing<int> ring(1 << 16);
  Sleeper sleeper;
  std::vector<std::thread> producers;
  for (int p = 0; p < 3; ++p) {
    producers.emplace_back([&, p] {
      std::mt19937_64 random(testing::seed() + static_cast<uint64_t>(p));
      for (int i = 1; i <= kEach; ++i) {
        EXPECT(ring.try_push(i));
        sleeper.wake();
        if (random() % 8 == 0) std::this_thread::yield();
      }
    });
  }
  int64_t sum = 0;
  for (int total = 0; total < 3 * kEach;) {
    int values[16];
    size_t count = ring.pop_many(values, 16);
    if (count == 0) {
      sleeper.prepare();
      count = ring.pop_many(values, 16);
      if (count > 0) {
        sleeper.cancel();
      } else {
        sleeper.sleep();
      }
    }
    for (size_t i = 0; i < count; ++i) sum += values[i];
    total += static_cast<int>(count);
  }
  for (std::thread& producer : producers) producer.join();
  EXPECT_EQ(sum, int64_t{3} * kEach * (kEach + 1) / 2);
}

TEST(wait_word_reaches_and_times_out) {
  WaitWord word;
  EXPECT(word.reached(0));
  EXPECT(!word.reached(1));
  EXPECT(!word.wait_for(1, {}, kMillisecond));
  EXPECT(!word.wait_for(1, {.spin_ns_max = 1000}, 0));
  word.publish(2);
  EXPECT(word.wait_for(1, {}));
  EXPECT(word.wait_for(2, {}));
  EXPECT(!word.reached(3));
  word.reset();
  EXPECT(!word.reached(1));
}

TEST(wait_word_goes_round) {
  WaitWord word;
  constexpr uint32_t kLast = WaitWord::kMask;
  word.publish(kLast);
  EXPECT(word.reached(kLast));
  EXPECT(word.reached(kLast - 5));
  EXPECT(!word.reached(kLast + 1));  // comes as 0
  word.publish(kLast + 1);
  EXPECT(word.reached(kLast));
  EXPECT(word.reached(0));
  EXPECT(!word.reached(1));
}

TEST(wait_word_hands_plain_data_over_asleep_and_awake) {
  WaitWord there, back;
  int64_t data = 0;  // plain: the words order it
  constexpr uint32_t kRounds = 2000;
  std::thread other([&] {
    std::mt19937_64 random(testing::seed());
    for (uint32_t round = 1; round <= kRounds; ++round) {
      there.wait_for(round, {.spin_ns_max = random() % 2 == 0 ? 0 : 20'000});
      data += round;
      back.publish(round);
    }
  });
  std::mt19937_64 random(testing::seed() + 1);
  for (uint32_t round = 1; round <= kRounds; ++round) {
    if (random() % 32 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 100));
    data += round;
    there.publish(round);
    back.wait_for(round, {.spin_ns_max = random() % 2 == 0 ? 0 : 20'000});
  }
  other.join();
  EXPECT_EQ(data, int64_t{kRounds} * (kRounds + 1));
}

TEST(wake_flag_fires_once_per_arm) {
  WakeFlag flag;
  EXPECT(flag.fire());
  EXPECT(!flag.fire());
  flag.arm();
  flag.arm();
  EXPECT(flag.fire());
  EXPECT(!flag.fire());
}

TEST(gate_counts_and_tells_the_last_one_out) {
  Gate gate;
  EXPECT(gate.is_closed());
  EXPECT(gate.is_deserted());
  EXPECT(gate.enter() == Gate::Entry::kRefused);
  gate.open();
  EXPECT(!gate.is_deserted());
  EXPECT(gate.enter() == Gate::Entry::kEntered);
  EXPECT(gate.enter() == Gate::Entry::kEntered);
  EXPECT(gate.enter() == Gate::Entry::kEntered);
  EXPECT(!gate.leave(1));
  gate.close();
  gate.close();
  EXPECT(gate.is_closed());
  EXPECT(!gate.is_deserted());
  EXPECT(gate.enter() == Gate::Entry::kRefused);
  EXPECT(gate.leave(2));
  EXPECT(gate.is_deserted());
  gate.open();
  EXPECT(gate.enter() == Gate::Entry::kEntered);
  EXPECT(!gate.leave(1));
}

}  // namespace
}  // namespace pelton
