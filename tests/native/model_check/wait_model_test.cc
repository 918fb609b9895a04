#include "csrc/concurrency/event_count.h"
#include "csrc/concurrency/gate.h"
#include "csrc/concurrency/mpmc_ring.h"
#include "csrc/concurrency/sleeper.h"
#include "csrc/concurrency/spin_barrier.h"
#include "csrc/concurrency/wait_word.h"
#include "csrc/concurrency/wake_flag.h"
#include "tests/native/model_check/relacy_atomics.h"

namespace pelton {
namespace {

struct RelaxedStores : NoFaults {
  static constexpr bool kRelaxedStores = true;
};
struct RelaxedRmws : NoFaults {
  static constexpr bool kRelaxedRmws = true;
};
struct LookInsteadOfRmw : NoFaults {
  static constexpr bool kAddOfZeroIsLoad = true;
};
struct StoreInsteadOfExchange : NoFaults {
  static constexpr bool kExchangeOneIsStore = true;
};

// Consumers sleep on the event count of a ring while producers push. A lost wake-up is a deadlock.
template <typename Faults, bool kReCheck, unsigned kProducers, unsigned kConsumers>
struct EventSuite : rl::test_suite<EventSuite<Faults, kReCheck, kProducers, kConsumers>,
                                   kProducers + kConsumers> {
  static constexpr int kEach = 2;  // per producer
  MpmcRing<int, RelacyAtomics<NoFaults>> ring{4};
  BasicEventCount<RelacyAtomics<Faults>> events;

  void thread(unsigned index) {
    if (index < kProducers) {
      for (int i = 0; i < kEach; ++i) {
        RL_ASSERT(ring.try_push(1));
        events.notify_one();
      }
      return;
    }
    constexpr int kShare = kEach * static_cast<int>(kProducers) / static_cast<int>(kConsumers);
    for (int got = 0; got < kShare;) {
      int value = 0;
      if (ring.try_pop(value)) {
        ++got;
        continue;
      }
      const uint32_t key = events.prepare();
      if (kReCheck && ring.try_pop(value)) {
        events.cancel();
        ++got;
        continue;
      }
      events.wait(key);
    }
  }
};

TEST(model_event_count_loses_no_wake_up) {
  expect_correct<EventSuite<NoFaults, true, 2, 1>>("2 notify, 1 waits", 50'000);
  expect_correct<EventSuite<NoFaults, true, 1, 2>>("1 notifies, 2 wait", 50'000);
  expect_correct<EventSuite<NoFaults, true, 2, 2>>("2 notify, 2 wait", 50'000);
}
TEST(model_event_count_fault_load_in_notify_is_found) {
  expect_found<EventSuite<LookInsteadOfRmw, true, 1, 1>>("load in notify", 200'000);
}
TEST(model_event_count_fault_relaxed_rmws_are_found) {
  expect_found<EventSuite<RelaxedRmws, true, 1, 1>>("relaxed rmws", 200'000);
}
TEST(model_event_count_fault_no_re_check_is_found) {
  expect_found<EventSuite<NoFaults, false, 1, 1>>("no re-check", 200'000);
}

// The same with the one consumer that a Sleeper serves. (A plain store in cancel() is lost here
// within 20 interleavings.)
template <typename Faults, bool kReCheck>
struct SleeperSuite : rl::test_suite<SleeperSuite<Faults, kReCheck>, 3> {
  static constexpr size_t kEach = 2;
  MpmcRing<int, RelacyAtomics<NoFaults>> ring{4};
  BasicSleeper<RelacyAtomics<Faults>> sleeper;

  void thread(unsigned index) {
    if (index < 2) {
      for (size_t i = 0; i < kEach; ++i) {
        RL_ASSERT(ring.try_push(1));
        sleeper.wake();
      }
      return;
    }
    int values[4];
    for (size_t total = 0; total < 2 * kEach;) {
      size_t count = ring.pop_many(values, 4);
      if (count == 0) {
        sleeper.prepare();
        count = kReCheck ? ring.pop_many(values, 4) : 0;
        if (count > 0) {
          sleeper.cancel();
        } else {
          sleeper.sleep();
        }
      }
      total += count;
    }
  }
};

TEST(model_sleeper_loses_no_wake_up) {
  expect_correct<SleeperSuite<NoFaults, true>>("2 wake, 1 sleeps", 100'000);
}
TEST(model_sleeper_fault_load_in_wake_is_found) {
  expect_found<SleeperSuite<LookInsteadOfRmw, true>>("load in wake", 200'000);
}
TEST(model_sleeper_fault_store_in_prepare_is_found) {
  expect_found<SleeperSuite<StoreInsteadOfExchange, true>>("store in prepare", 200'000);
}
TEST(model_sleeper_fault_relaxed_rmws_are_found) {
  expect_found<SleeperSuite<RelaxedRmws, true>>("relaxed rmws", 200'000);
}
TEST(model_sleeper_fault_no_re_check_is_found) {
  expect_found<SleeperSuite<NoFaults, false>>("no re-check", 200'000);
}

// Completions: producers push and fire; the consumer reads the signal, arms, drains. The signal
// orders nothing here, as little as the kernel promises for an eventfd. A lost wake-up leaves the
// consumer waiting for ever (a livelock).
template <typename Faults, bool kArmFirst>
struct WakeSuite : rl::test_suite<WakeSuite<Faults, kArmFirst>, 3> {
  static constexpr size_t kEach = 2;
  MpmcRing<int, RelacyAtomics<NoFaults>> ring{4};
  BasicWakeFlag<RelacyAtomics<Faults>> armed;
  rl::atomic<int> signal;
  rl::atomic<int> writes;

  void before() {
    signal($).store(0, rl::mo_relaxed);
    writes($).store(0, rl::mo_relaxed);
  }
  void thread(unsigned index) {
    if (index < 2) {
      for (size_t i = 0; i < kEach; ++i) {
        RL_ASSERT(ring.try_push(1));
        if (armed.fire()) {
          signal($).fetch_add(1, rl::mo_relaxed);
          writes($).fetch_add(1, rl::mo_relaxed);
        }
      }
      return;
    }
    for (size_t total = 0; total < 2 * kEach;) {
      while (signal($).exchange(0, rl::mo_relaxed) == 0) rl::yield(1, $);
      if (kArmFirst) armed.arm();
      int values[4];
      total += ring.pop_many(values, 4);
      if (!kArmFirst) armed.arm();
    }
  }
  void after() { RL_ASSERT(writes($).load(rl::mo_relaxed) <= 4); }
};

TEST(model_wake_flag_loses_no_wake_up) {
  expect_correct<WakeSuite<NoFaults, true>>("2 fire, 1 arms and drains", 100'000);
}
TEST(model_wake_flag_fault_store_in_arm_is_found) {
  expect_found<WakeSuite<StoreInsteadOfExchange, true>>("store in arm", 200'000);
}
TEST(model_wake_flag_fault_relaxed_exchange_is_found) {
  expect_found<WakeSuite<RelaxedRmws, true>>("relaxed exchanges", 200'000);
}
TEST(model_wake_flag_fault_drain_before_arm_is_found) {
  expect_found<WakeSuite<NoFaults, false>>("drain before arm", 200'000);
}

// One publishes plain data twice, two wait for it, asleep or not.
template <typename Faults>
struct WordSuite : rl::test_suite<WordSuite<Faults>, 3> {
  BasicWaitWord<RelacyAtomics<Faults>> word;
  rl::var<int> data[2];

  void thread(unsigned index) {
    for (uint32_t value = 1; value <= 2; ++value) {
      if (index == 0) {
        data[value - 1]($) = static_cast<int>(value);
        word.publish(value);
      } else {
        word.wait_for(value, SpinLimits{});
        RL_ASSERT(data[value - 1]($) == static_cast<int>(value));
      }
    }
  }
};

TEST(model_wait_word) { expect_correct<WordSuite<NoFaults>>("1 publishes, 2 wait", 100'000); }
TEST(model_wait_word_fault_is_found) {
  expect_found<WordSuite<RelaxedRmws>>("relaxed exchange", 50'000);
}

// Ranks exchange plain data across meetings; one slot each, read by the right neighbour between two
// meetings.
template <typename Faults, int kRanks>
struct BarrierSuite : rl::test_suite<BarrierSuite<Faults, kRanks>, static_cast<unsigned>(kRanks)> {
  BasicSpinBarrier<RelacyAtomics<Faults>> barrier{kRanks, SpinLimits{}};
  rl::var<int> data[kRanks];

  void thread(unsigned index) {
    const int rank = static_cast<int>(index);
    for (int round = 1; round <= 2; ++round) {
      data[rank]($) = round;
      barrier.arrive_and_wait(rank);
      RL_ASSERT(data[(rank + 1) % kRanks]($) == round);
      barrier.arrive_and_wait(rank);
    }
  }
};

TEST(model_barrier_of_two) { expect_correct<BarrierSuite<NoFaults, 2>>("2 ranks", 50'000); }
TEST(model_barrier_of_three) { expect_correct<BarrierSuite<NoFaults, 3>>("3 ranks", 30'000); }
TEST(model_barrier_fault_is_found) {
  expect_found<BarrierSuite<RelaxedRmws, 2>>("relaxed exchange", 50'000);
}

// Two visitors use what the keeper takes away: nobody uses it afterwards, and the keeper is always
// told.
template <typename Faults>
struct GateSuite : rl::test_suite<GateSuite<Faults>, 3> {
  using Gate = BasicGate<RelacyAtomics<Faults>>;
  Gate gate;
  BasicEventCount<RelacyAtomics<NoFaults>> deserted;
  rl::var<int> uses[2];  // each visitor's own, read by the keeper afterwards
  rl::var<int> thing;

  void before() {
    uses[0]($) = 0;
    uses[1]($) = 0;
  }
  void visit(unsigned index) {
    const auto entry = gate.enter();
    bool told = entry == Gate::Entry::kRefusedLastOut;
    if (entry == Gate::Entry::kEntered) {
      RL_ASSERT(thing($) == 1);
      uses[index]($) = uses[index]($) + 1;
      told = gate.leave(1);
    }
    if (told) deserted.notify_all();
  }
  void thread(unsigned index) {
    if (index < 2) {
      visit(index);
      visit(index);
      return;
    }
    thing($) = 1;
    gate.open();
    gate.close();
    while (!gate.is_deserted()) {
      const uint32_t key = deserted.prepare();
      if (gate.is_deserted()) {
        deserted.cancel();
        break;
      }
      deserted.wait(key);
    }
    thing($) = 2;
    RL_ASSERT(uses[0]($) <= 2 && uses[1]($) <= 2);
  }
};

TEST(model_gate) { expect_correct<GateSuite<NoFaults>>("2 visitors, 1 keeper", 100'000); }
TEST(model_gate_fault_is_found) { expect_found<GateSuite<RelaxedRmws>>("relaxed rmws", 50'000); }

}  // namespace
}  // namespace pelton
