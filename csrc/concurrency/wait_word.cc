#include "csrc/concurrency/wait_word.h"

#include <ctime>

namespace pelton {

int64_t spin_clock_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace pelton
