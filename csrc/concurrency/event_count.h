// EventCount: lets a consumer of a lock-free structure sleep until something may have changed, at
// the price of one read-modify-write for a producer while nobody sleeps.
//
//   consumer:  for (;;) {                          producer:  ring.try_push(x);
//                if (ring.try_pop(x)) break;                   events.notify_one();
//                const uint32_t key = events.prepare();
//                if (ring.try_pop(x)) { events.cancel(); break; }
//                events.wait(key);
//              }
//
// Why no wake-up is lost: prepare() and notify both do a read-modify-write on `waiters_`. If the
// producer's comes first, the consumer's reads from it, so what the producer did before is visible
// to the re-check; if the consumer's comes first, the producer sees a waiter and changes the epoch,
// which ends or prevents the sleep. A plain load in notify, or no re-check after prepare(), loses
// wake-ups. The epoch comes round after 2^32 notifications: a consumer would have to stand still
// for all of them between prepare() and wait().
//
// Thread-safe: every method, any number of producers and consumers.
#pragma once

#include <cstdint>
#include <limits>

#include "csrc/concurrency/atomics.h"

namespace pelton {

template <typename Atomics = StdAtomics>
class BasicEventCount {
 public:
  BasicEventCount() {
    epoch_.store(0, std::memory_order_relaxed);
    waiters_.store(0, std::memory_order_relaxed);
  }
  BasicEventCount(const BasicEventCount&) = delete;
  BasicEventCount& operator=(const BasicEventCount&) = delete;

  // Announces a sleeper. Must be followed by one re-check of the condition and then by either
  // wait() or cancel().
  [[nodiscard]] uint32_t prepare() {
    // acquire: pairs with the release half in announced(); release: announced() must not miss us.
    waiters_.fetch_add(1, std::memory_order_acq_rel);
    // Pairs with the release in wake(): whoever sees the new epoch sees what was notified.
    return epoch_.load(std::memory_order_acquire);
  }
  void cancel() { waiters_.fetch_sub(1, std::memory_order_relaxed); }
  // Sleeps until a notification after prepare() returned `key`, or until the time is out (then
  // false).
  bool wait(uint32_t key, int64_t timeout_ns = kNoTimeout) {
    bool in_time = true;
    // One timed sleep at most: a caller with a timeout re-computes it anyway.
    while (in_time && epoch_.load(std::memory_order_acquire) == key) {
      in_time = Atomics::wait(epoch_, key, timeout_ns);
      if (timeout_ns != kNoTimeout) break;
    }
    waiters_.fetch_sub(1, std::memory_order_relaxed);
    return in_time;
  }

  void notify_one() {
    if (announced()) wake(1);
  }
  void notify_all() {
    if (announced()) wake(std::numeric_limits<int>::max());
  }

 private:
  // A read-modify-write that changes nothing: it takes part in the order of all changes of
  // waiters_, which a load does not. release: pairs with the acquire in prepare().
  bool announced() { return waiters_.fetch_add(0, std::memory_order_acq_rel) != 0; }
  void wake(int count) {
    epoch_.fetch_add(1, std::memory_order_release);  // pairs with the loads in prepare() and wait()
    Atomics::wake(epoch_, count);
  }

  typename Atomics::template Atomic<uint32_t> epoch_;  // what sleepers sleep on
  typename Atomics::template Atomic<uint32_t>
      waiters_;  // between prepare() and the end of wait() or cancel()
};

using EventCount = BasicEventCount<StdAtomics>;

}  // namespace pelton
