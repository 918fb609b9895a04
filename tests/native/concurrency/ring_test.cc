#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "csrc/concurrency/index_stack.h"
#include "csrc/concurrency/mpmc_ring.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

TEST(ring_is_first_in_first_out_and_bounded) {
  for (const size_t capacity : {2, 4, 64}) {
    MpmcRing<int> ring(capacity);
    EXPECT_EQ(ring.capacity(), capacity);
    int value = -1;
    EXPECT(!ring.try_pop(value));
    EXPECT_EQ(value, -1);
    // Three times round, so that every cell is used again.
    for (int round = 0; round < 3; ++round) {
      for (size_t i = 0; i < capacity; ++i) EXPECT(ring.try_push(static_cast<int>(i)));
      EXPECT(!ring.try_push(99));
      EXPECT_EQ(ring.approximate_size(), capacity);
      for (size_t i = 0; i < capacity; ++i) {
        EXPECT(ring.try_pop(value));
        EXPECT_EQ(value, i);
      }
      EXPECT(!ring.try_pop(value));
      EXPECT_EQ(ring.approximate_size(), 0);
    }
  }
}

TEST(ring_pops_many_over_its_end) {
  MpmcRing<int> ring(4);
  std::array<int, 8> values{};
  EXPECT_EQ(ring.pop_many(values.data(), values.size()), 0);
  int next = 0;
  int expected = 0;
  // Sizes 0 to 4 from every offset.
  for (int round = 0; round < 20; ++round) {
    const int count = round % 5;
    for (int i = 0; i < count; ++i) EXPECT(ring.try_push(next++));
    EXPECT_EQ(ring.pop_many(values.data(), 0), 0);
    const size_t first = ring.pop_many(values.data(), 2);
    EXPECT_EQ(first, std::min(count, 2));
    const size_t rest = ring.pop_many(values.data() + first, values.size() - first);
    EXPECT_EQ(first + rest, count);
    for (int i = 0; i < count; ++i) EXPECT_EQ(values[static_cast<size_t>(i)], expected++);
  }
}

TEST(ring_moves_its_elements) {
  MpmcRing<std::unique_ptr<int>> ring(2);
  auto a = std::make_unique<int>(1);
  auto b = std::make_unique<int>(2);
  auto c = std::make_unique<int>(3);
  EXPECT(ring.try_push(std::move(a)));
  EXPECT(ring.try_push(std::move(b)));
  EXPECT(!ring.try_push(std::move(c)));
  EXPECT(c != nullptr);  // unchanged when refused
  std::unique_ptr<int> out;
  EXPECT(ring.try_pop(out));
  EXPECT_EQ(*out, 1);
  // What is left in the ring is destroyed with it (a leak otherwise).
}

// Producers push numbered elements, consumers take them, all pausing at random: each comes out
// once, and every consumer sees those of one producer in order.
void stress(size_t capacity, int producers, int consumers, uint64_t each, size_t pop_max) {
  MpmcRing<uint64_t> ring(capacity);
  std::atomic<uint64_t> left{each * static_cast<uint64_t>(producers)};
  std::vector<std::vector<uint64_t>> taken(static_cast<size_t>(consumers));
  const auto pause = [](std::mt19937_64& random) {
    if (random() % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 50));
    if (random() % 8 == 0) std::this_thread::yield();
  };
  std::vector<std::thread> threads;
  for (int p = 0; p < producers; ++p) {
    threads.emplace_back([&, p] {
      std::mt19937_64 random(testing::seed() * 1000 + static_cast<uint64_t>(p));
      for (uint64_t i = 0; i < each; ++i) {
        while (!ring.try_push(static_cast<uint64_t>(p) << 32 | i)) std::this_thread::yield();
        pause(random);
      }
    });
  }
  for (int c = 0; c < consumers; ++c) {
    threads.emplace_back([&, c] {
      std::mt19937_64 random(testing::seed() * 1000 + 500 + static_cast<uint64_t>(c));
      std::vector<uint64_t> values(pop_max);
      while (left.load() > 0) {
        const size_t count = ring.pop_many(values.data(), 1 + random() % pop_max);
        if (count == 0) std::this_thread::yield();
        for (size_t i = 0; i < count; ++i) taken[static_cast<size_t>(c)].push_back(values[i]);
        left.fetch_sub(count);
        pause(random);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<uint64_t> all;
  for (const auto& values : taken) {
    std::vector<int64_t> last(static_cast<size_t>(producers), -1);
    for (const uint64_t value : values) {
      EXPECT(all.insert(value).second);
      int64_t& previous = last[value >> 32];
      const auto number = static_cast<int64_t>(value & 0xffff'ffff);
      EXPECT(number > previous);
      previous = number;
    }
  }
  EXPECT_EQ(all.size(), each * static_cast<uint64_t>(producers));
}

TEST(ring_stress_two_cells) { stress(2, 2, 2, 2000, 2); }
TEST(ring_stress_many_threads) { stress(16, 4, 3, 2000, 5); }
TEST(ring_stress_one_consumer) { stress(64, 4, 1, 4000, 64); }

TEST(index_stack_gives_each_number_once) {
  IndexStack stack(3);
  EXPECT_EQ(stack.pop(), 0);
  EXPECT_EQ(stack.pop(), 1);
  EXPECT_EQ(stack.pop(), 2);
  EXPECT_EQ(stack.pop(), IndexStack::kNone);
  stack.push(1);
  stack.push(2);
  EXPECT_EQ(stack.pop(), 2);  // the warmest first
  EXPECT_EQ(stack.pop(), 1);
  EXPECT_EQ(stack.pop(), IndexStack::kNone);
}

TEST(index_stack_stress_owners_are_exclusive) {
  constexpr uint32_t kNumbers = 4;
  IndexStack stack(kNumbers);
  std::vector<uint64_t> uses(kNumbers * 16);  // plain: the owner has it to itself
  std::atomic<uint64_t> total{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        const uint32_t number = stack.pop();
        if (number == IndexStack::kNone) {
          std::this_thread::yield();
          continue;
        }
        ++uses[number * 16];
        stack.push(number);
        total.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t sum = 0;
  for (uint32_t i = 0; i < kNumbers; ++i) sum += uses[i * 16];
  EXPECT_EQ(sum, total.load());
  std::set<uint32_t> numbers;
  for (uint32_t i = 0; i < kNumbers; ++i) numbers.insert(stack.pop());
  EXPECT_EQ(numbers.size(), kNumbers);
  EXPECT_EQ(stack.pop(), IndexStack::kNone);
}

}  // namespace
}  // namespace pelton
