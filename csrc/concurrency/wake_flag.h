// WakeFlag: decides which producer wakes a consumer that sleeps on something with a cost per
// wake-up (an eventfd).
//
//   producer: push;            if (flag.fire()) write(fd);
//   consumer: read(fd);        flag.arm();        then drain.
//
// Both sides exchange: whichever comes second in the flag's order sees what the other did before.
// If a producer fires before the consumer arms, the consumer drains what was pushed; if it fires
// after, it finds the flag armed and writes. A plain store in arm(), or draining before arm(),
// loses the last wake-up.
#pragma once

#include <cstdint>

#include "csrc/concurrency/atomics.h"

namespace pelton {

// Thread-safe: fire() from any thread, arm() from the consumer.
template <typename Atomics = StdAtomics>
class BasicWakeFlag {
 public:
  BasicWakeFlag() { armed_.store(1, std::memory_order_relaxed); }
  BasicWakeFlag(const BasicWakeFlag&) = delete;
  BasicWakeFlag& operator=(const BasicWakeFlag&) = delete;

  // True for the first call after arm(): the caller must wake the consumer.
  [[nodiscard]] bool fire() { return armed_.exchange(0, std::memory_order_acq_rel) != 0; }
  void arm() { armed_.exchange(1, std::memory_order_acq_rel); }

 private:
  typename Atomics::template Atomic<uint32_t> armed_;
};

using WakeFlag = BasicWakeFlag<StdAtomics>;

}  // namespace pelton
