// Sleeper: lets the one consumer of a lock-free structure sleep until a producer has something for
// it. Like EventCount, for one consumer, and cheaper on its producers: of all that come while the
// consumer is waking up, only the first pays for a system call.
//
//   consumer:  sleeper.prepare();                   producer:  ring.try_push(x);
//              if (something is there)                         sleeper.wake();
//                sleeper.cancel();
//              else
//                sleeper.sleep(timeout_ns);
//
// No wake-up is lost for the reason given in event_count.h: both sides do a read-modify-write on
// the word. A producer's that comes first hands over what was pushed to the consumer's look; one
// that comes second finds the consumer asleep.
#pragma once

#include <cstdint>

#include "csrc/concurrency/atomics.h"

namespace pelton {

// Thread-safe: wake() from any thread; the rest from the consumer.
template <typename Atomics = StdAtomics>
class BasicSleeper {
 public:
  BasicSleeper() { word_.store(kAwake, std::memory_order_relaxed); }
  BasicSleeper(const BasicSleeper&) = delete;
  BasicSleeper& operator=(const BasicSleeper&) = delete;

  // From now on wake() wakes. Must be followed by one look for work and then by either cancel() or
  // sleep().
  void prepare() { word_.exchange(kAsleep, std::memory_order_acq_rel); }
  // An exchange, not a store: a store would stand between a producer's read-modify-write and our
  // next one, which then would not see what that producer pushed.
  void cancel() { word_.exchange(kAwake, std::memory_order_acq_rel); }
  // Sleeps until a wake() after prepare(), or until the time (kNoTimeout: none) is out; may wake
  // early if it has a timeout.
  void sleep(int64_t timeout_ns = kNoTimeout) {
    while (word_.load(std::memory_order_acquire) == kAsleep) {
      Atomics::wait(word_, kAsleep, timeout_ns);
      // One timed sleep at most: the caller looks at its clock anyway.
      if (timeout_ns != kNoTimeout) return cancel();
    }
  }

  void wake() {
    // Changes nothing while the consumer is awake, but takes its place in the order of all changes
    // of the word.
    if (word_.fetch_add(0, std::memory_order_acq_rel) != kAsleep) return;
    if (word_.exchange(kAwake, std::memory_order_acq_rel) == kAsleep) Atomics::wake(word_, 1);
  }

 private:
  static constexpr uint32_t kAwake = 0;
  static constexpr uint32_t kAsleep = 1;

  typename Atomics::template Atomic<uint32_t> word_;
};

using Sleeper = BasicSleeper<StdAtomics>;

}  // namespace pelton
