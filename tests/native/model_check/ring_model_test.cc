#include "csrc/concurrency/index_stack.h"
#include "csrc/concurrency/mpmc_ring.h"
#include "tests/native/model_check/relacy_atomics.h"

namespace pelton {
namespace {

// Two producers and two consumers on a ring of two cells: every value comes out once, and those of
// one producer in their order at each consumer.
template <typename Faults, int kPopMax>
struct RingSuite : rl::test_suite<RingSuite<Faults, kPopMax>, 4> {
  static constexpr int kEach = 2;
  MpmcRing<int, RelacyAtomics<Faults>> ring{2};
  rl::atomic<int> popped;
  rl::atomic<int> sum;

  void before() {
    popped($).store(0, rl::mo_relaxed);
    sum($).store(0, rl::mo_relaxed);
  }
  void thread(unsigned index) {
    if (index < 2) {
      for (int i = 0; i < kEach; ++i) {
        while (!ring.try_push(static_cast<int>(index) * 10 + i + 1)) rl::yield(1, $);
      }
      return;
    }
    int last[2] = {0, 0};
    while (popped($).load(rl::mo_relaxed) < 2 * kEach) {
      int values[kPopMax];
      const size_t count = ring.pop_many(values, kPopMax);
      if (count == 0) rl::yield(1, $);
      for (size_t i = 0; i < count; ++i) {
        const int producer = values[i] / 10;
        RL_ASSERT(values[i] % 10 > last[producer]);
        last[producer] = values[i] % 10;
        sum($).fetch_add(values[i], rl::mo_relaxed);
        popped($).fetch_add(1, rl::mo_relaxed);
      }
    }
  }
  void after() { RL_ASSERT(sum($).load(rl::mo_relaxed) == 1 + 2 + 11 + 12); }
};

struct RelaxedStores : NoFaults {
  static constexpr bool kRelaxedStores = true;
};
struct RelaxedLoads : NoFaults {
  static constexpr bool kRelaxedLoads = true;
};
struct RelaxedRmws : NoFaults {
  static constexpr bool kRelaxedRmws = true;
};

TEST(model_ring_pops_one) { expect_correct<RingSuite<NoFaults, 1>>("2 push, 2 pop", 50'000); }
TEST(model_ring_pops_many) { expect_correct<RingSuite<NoFaults, 2>>("2 push, 2 pop many", 50'000); }
TEST(model_ring_fault_relaxed_publication_is_found) {
  expect_found<RingSuite<RelaxedStores, 1>>("relaxed stores, pop", 50'000);
  expect_found<RingSuite<RelaxedStores, 2>>("relaxed stores, pop many", 50'000);
}
TEST(model_ring_fault_relaxed_look_is_found) {
  expect_found<RingSuite<RelaxedLoads, 1>>("relaxed loads, pop", 50'000);
  expect_found<RingSuite<RelaxedLoads, 2>>("relaxed loads, pop many", 50'000);
}

// The promise that the engine stands on: pushers that hold a unit of a budget of capacity() never
// find the ring full, with one consumer that gives units back after its pops.
template <typename Faults>
struct BudgetSuite : rl::test_suite<BudgetSuite<Faults>, 3> {
  static constexpr int kEach = 3;
  MpmcRing<uint32_t, RelacyAtomics<Faults>> ring{2};
  BasicIndexStack<RelacyAtomics<NoFaults>> units{2};

  void thread(unsigned index) {
    if (index < 2) {
      for (int i = 0; i < kEach; ++i) {
        uint32_t unit = units.pop();
        for (; unit == units.kNone; unit = units.pop()) rl::yield(1, $);
        RL_ASSERT(ring.try_push(unit));
      }
      return;
    }
    for (size_t total = 0; total < 2 * kEach;) {
      uint32_t taken[2];
      const size_t count = ring.pop_many(taken, 2);
      if (count == 0) rl::yield(1, $);
      for (size_t i = 0; i < count; ++i) units.push(taken[i]);
      total += count;
    }
  }
};

TEST(model_ring_within_its_budget_is_never_full) {
  expect_correct<BudgetSuite<NoFaults>>("budget of 2, 2 push, 1 pop many", 100'000);
}
TEST(model_ring_fault_relaxed_tail_breaks_the_budget) {
  expect_found<BudgetSuite<RelaxedRmws>>("relaxed tail", 200'000);
}

// Three threads own numbers in turn: an owner has the number's data to itself.
template <typename Faults>
struct StackSuite : rl::test_suite<StackSuite<Faults>, 3> {
  BasicIndexStack<RelacyAtomics<Faults>> stack{2};
  rl::var<int> data[2];

  void before() {
    data[0]($) = 0;
    data[1]($) = 0;
  }
  void thread(unsigned) {
    for (int i = 0; i < 3; ++i) {
      const uint32_t number = stack.pop();
      if (number == stack.kNone) continue;
      data[number]($) = data[number]($) + 1;
      stack.push(number);
    }
  }
  void after() {
    const uint32_t a = stack.pop();
    const uint32_t b = stack.pop();
    RL_ASSERT(a + b == 1);
    RL_ASSERT(stack.pop() == stack.kNone);
  }
};

TEST(model_index_stack) { expect_correct<StackSuite<NoFaults>>("3 owners of 2", 100'000); }
TEST(model_index_stack_fault_is_found) {
  expect_found<StackSuite<RelaxedRmws>>("relaxed exchange", 50'000);
}

}  // namespace
}  // namespace pelton
