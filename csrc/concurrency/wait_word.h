// WaitWord: a number that one thread publishes and other threads wait for, spinning first and then
// asleep. The building block of the team and its barrier: a hand-over costs 0.25 us while the
// waiter spins, 11 us when it sleeps.
//
// Values are 31 bits and compared modulo 2^31, so a sequence may run for ever as long as a waiter
// is never more than 2^30 behind. Thread-safe: publish() from one thread at a time; wait_for() from
// any number.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "csrc/concurrency/atomics.h"

namespace pelton {

// How long a waiter may spin before it sleeps.
struct SpinLimits {
  int64_t spin_ns_max = 0;  // 0: only Atomics::kPausesMin pauses
};
// Nanoseconds of CLOCK_MONOTONIC: spinning is about this machine's real time, never about a test's
// clock.
int64_t spin_clock_ns();

template <typename Atomics = StdAtomics>
class BasicWaitWord {
 public:
  static constexpr uint32_t kMask = 0x7fff'ffff;

  BasicWaitWord() { word_.store(0, std::memory_order_relaxed); }
  BasicWaitWord(const BasicWaitWord&) = delete;
  BasicWaitWord& operator=(const BasicWaitWord&) = delete;

  // Forgets the past. REQUIRES: nobody waits or publishes.
  void reset() { word_.store(0, std::memory_order_relaxed); }

  // Everything written before is visible to whoever waits for `value`. May be the last access to
  // the object: a waiter may destroy it as soon as it returns.
  void publish(uint32_t value) {
    // Pairs with the acquire loads of wait_for(). An exchange, not a store: it must see the bit of
    // a sleeper that came before it, and a sleeper that comes after it fails to set the bit.
    const uint32_t before = word_.exchange((value & kMask) << 1, std::memory_order_acq_rel);
    if ((before & kAsleep) != 0) Atomics::wake(word_, std::numeric_limits<int>::max());
  }

  bool reached(uint32_t value) const {
    return is_reached(word_.load(std::memory_order_acquire), value);
  }

  // Returns when `value` or a later one has been published; false when timeout_ns (kNoTimeout:
  // none) ran out first.
  bool wait_for(uint32_t value, const SpinLimits& limits, int64_t timeout_ns = kNoTimeout) {
    return spin_for(value, limits) || sleep(value, timeout_ns);
  }

  // The first part of wait_for(): true when `value` has been published before the limit ran out.
  bool spin_for(uint32_t value, const SpinLimits& limits) const {
    for (int i = 0; i < Atomics::kPausesMin; ++i) {
      if (reached(value)) return true;
      Atomics::pause();
    }
    return limits.spin_ns_max > 0 && spin(value, limits.spin_ns_max);
  }

 private:
  static constexpr uint32_t kAsleep = 1;  // somebody may sleep on the word

  static bool is_reached(uint32_t word, uint32_t value) {
    // Both sides shifted to the top, so that the sign of the difference is that of the 31-bit
    // difference.
    return static_cast<int32_t>((word & ~kAsleep) - (value << 1)) >= 0;
  }

  bool spin(uint32_t value, int64_t spin_ns_max) const {
    constexpr int kPausesPerLook = 32;  // a look at the clock costs about as much as a pause
    const int64_t end = spin_clock_ns() + spin_ns_max;
    do {
      for (int i = 0; i < kPausesPerLook; ++i) {
        if (reached(value)) return true;
        Atomics::pause();
      }
    } while (spin_clock_ns() < end);
    return false;
  }

  bool sleep(uint32_t value, int64_t timeout_ns) {
    const int64_t end = timeout_ns == kNoTimeout ? 0 : spin_clock_ns() + timeout_ns;
    uint32_t word = word_.load(std::memory_order_acquire);
    while (!is_reached(word, value)) {
      int64_t left_ns = kNoTimeout;
      if (timeout_ns != kNoTimeout) {
        left_ns = end - spin_clock_ns();
        if (left_ns <= 0) return false;
      }
      if ((word & kAsleep) == 0 &&
          !word_.compare_exchange_weak(word, word | kAsleep, std::memory_order_acquire,
                                       std::memory_order_acquire)) {
        continue;  // the word changed: look at it again
      }
      Atomics::wait(word_, word | kAsleep, left_ns);
      word = word_.load(std::memory_order_acquire);
    }
    return true;
  }

  typename Atomics::template Atomic<uint32_t> word_;  // value << 1 | kAsleep
};

using WaitWord = BasicWaitWord<StdAtomics>;

}  // namespace pelton
