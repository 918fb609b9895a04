#include "csrc/base/clock.h"

#include <ctime>

namespace pelton {

Nanos MonotonicClock::now() const {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<Nanos>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace pelton
