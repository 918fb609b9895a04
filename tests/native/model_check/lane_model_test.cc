// The hand-over of a batch to the back lane and back: the worker posts through a seat's word, the
// lane tells by a flag and wakes the worker's sleeper, and the worker takes the result, also when
// it looks without having slept. Then the same objects carry the next batch.
#include "csrc/concurrency/sleeper.h"
#include "csrc/concurrency/wait_word.h"
#include "tests/native/model_check/relacy_atomics.h"

namespace pelton {
namespace {

struct RelaxedStores : NoFaults {
  static constexpr bool kRelaxedStores = true;
};
struct RelaxedLoads : NoFaults {
  static constexpr bool kRelaxedLoads = true;
};
struct RelaxedRmws : NoFaults {
  static constexpr bool kRelaxedRmws = true;
};

template <typename FlagFaults, typename SeatFaults, bool kReCheck>
struct LaneSuite : rl::test_suite<LaneSuite<FlagFaults, SeatFaults, kReCheck>, 2> {
  static constexpr uint32_t kBatches = 2;
  BasicWaitWord<RelacyAtomics<SeatFaults>> start;
  BasicSleeper<RelacyAtomics<NoFaults>> work;
  typename RelacyAtomics<FlagFaults>::template Atomic<uint32_t> is_done;
  rl::var<uint32_t> job;
  rl::var<uint32_t> result;

  void before() { is_done.store(0, std::memory_order::relaxed); }
  void thread(unsigned index) {
    for (uint32_t number = 1; number <= kBatches; ++number) {
      index == 0 ? post_and_collect(number) : run(number);
    }
  }
  void post_and_collect(uint32_t number) {
    job($) = number;
    is_done.store(0, std::memory_order::relaxed);
    start.publish(number);
    while (is_done.load(std::memory_order::acquire) == 0) {
      work.prepare();
      if (kReCheck && is_done.load(std::memory_order::acquire) != 0) {
        work.cancel();
      } else {
        work.sleep();
      }
    }
    RL_ASSERT(result($) == 10 * number);
  }
  void run(uint32_t number) {
    start.wait_for(number, SpinLimits{});
    const uint32_t mine = job($);
    RL_ASSERT(mine == number);
    result($) = 10 * mine;
    is_done.store(1, std::memory_order::release);
    work.wake();
  }
};

TEST(model_lane_hands_batches_over_and_back) {
  expect_correct<LaneSuite<NoFaults, NoFaults, true>>("1 worker, 1 lane", 100'000);
}
TEST(model_lane_fault_relaxed_flag_is_found) {
  expect_found<LaneSuite<RelaxedStores, NoFaults, true>>("relaxed store of the flag", 200'000);
  expect_found<LaneSuite<RelaxedLoads, NoFaults, true>>("relaxed load of the flag", 200'000);
}
TEST(model_lane_fault_relaxed_seat_is_found) {
  expect_found<LaneSuite<NoFaults, RelaxedRmws, true>>("relaxed publication of the job", 200'000);
}
TEST(model_lane_fault_no_re_check_is_found) {
  expect_found<LaneSuite<NoFaults, NoFaults, false>>("no look before sleeping", 200'000);
}

}  // namespace
}  // namespace pelton
