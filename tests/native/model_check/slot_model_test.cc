#include "csrc/concurrency/index_stack.h"
#include "csrc/concurrency/mpmc_ring.h"
#include "csrc/serve/slot_state.h"
#include "tests/native/model_check/relacy_atomics.h"

namespace pelton {
namespace {

// The life of a request as the engine lives it, with one slot so that it is used again at once: a
// submitter fills the slot and queues its ticket, a worker claims, runs and completes, a canceller
// cancels whatever ticket it has seen.
template <typename Faults>
struct SlotSuite : rl::test_suite<SlotSuite<Faults>, 3> {
  using State = BasicSlotState<RelacyAtomics<Faults>>;
  static constexpr uint32_t kRequests = 2;
  static constexpr int kOk = 1;
  static constexpr int kCancelled = 2;

  State state;
  BasicIndexStack<RelacyAtomics<Faults>> free_slots{1};
  MpmcRing<uint32_t, RelacyAtomics<Faults>> queue{2};
  rl::var<uint32_t> payload;  // the slot's contents: the generation, written by the submitter
  rl::atomic<uint32_t> seen;  // the last generation submitted: tickets for the canceller
  rl::atomic<int> outcomes[kRequests];  // by generation - 1; set once each
  rl::atomic<int> cancels[kRequests];   // 1: cancel() said that it will complete as cancelled

  void before() {
    seen($).store(0, rl::mo_relaxed);
    for (auto& outcome : outcomes) outcome($).store(0, rl::mo_relaxed);
    for (auto& cancel : cancels) cancel($).store(0, rl::mo_relaxed);
  }
  void submit() {
    while (free_slots.pop() == free_slots.kNone) rl::yield(1, $);
    const uint32_t generation = state.open();
    payload($) = generation;
    RL_ASSERT(queue.try_push(generation));
    seen($).store(generation, rl::mo_relaxed);
  }
  void work() {
    uint32_t generation = 0;
    while (!queue.try_pop(generation)) rl::yield(1, $);
    RL_ASSERT(payload($) == generation);
    const bool claimed = state.claim(generation);
    // Between these two a cancel() drops the result.
    const bool counts = state.finish(generation);
    RL_ASSERT(claimed || !counts);
    const int before =
        outcomes[generation - 1]($).exchange(counts ? kOk : kCancelled, rl::mo_relaxed);
    RL_ASSERT(before == 0);
    free_slots.push(0);
  }
  void cancel() {
    const uint32_t generation = seen($).load(rl::mo_relaxed);
    if (generation == 0) return;
    const auto done = state.cancel(generation);
    if (done != State::Cancelled::kTooLate) cancels[generation - 1]($).store(1, rl::mo_relaxed);
  }
  void thread(unsigned index) {
    for (uint32_t i = 0; i < kRequests; ++i) {
      if (index == 0) submit();
      if (index == 1) work();
      if (index == 2) cancel();
    }
    if (index == 2) cancel();
  }
  void after() {
    for (uint32_t i = 0; i < kRequests; ++i) {
      const int expected = cancels[i]($).load(rl::mo_relaxed) == 1 ? kCancelled : kOk;
      RL_ASSERT(outcomes[i]($).load(rl::mo_relaxed) == expected);
    }
  }
};

struct RelaxedStores : NoFaults {
  static constexpr bool kRelaxedStores = true;
};
struct RelaxedRmws : NoFaults {
  static constexpr bool kRelaxedRmws = true;
};

TEST(model_slot_cancel_races) {
  expect_correct<SlotSuite<NoFaults>>("submit, work, cancel", 200'000);
}
TEST(model_slot_fault_relaxed_queue_is_found) {
  expect_found<SlotSuite<RelaxedStores>>("relaxed stores", 50'000);
}
TEST(model_slot_fault_relaxed_free_list_is_found) {
  expect_found<SlotSuite<RelaxedRmws>>("relaxed rmws", 50'000);
}

}  // namespace
}  // namespace pelton
