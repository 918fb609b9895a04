#include "csrc/concurrency/atomics.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace pelton {

// A futex is the 4 bytes of the value itself.
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
static_assert(std::atomic<uint32_t>::is_always_lock_free);

bool futex_wait(const std::atomic<uint32_t>* word, uint32_t expected, int64_t timeout_ns) {
  constexpr int64_t kNanosPerSecond = 1'000'000'000;
  timespec timeout{};
  timeout.tv_sec = timeout_ns / kNanosPerSecond;
  timeout.tv_nsec = timeout_ns % kNanosPerSecond;
  const long rc = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected,
                          timeout_ns < 0 ? nullptr : &timeout, nullptr, 0);
  return rc == 0 || errno != ETIMEDOUT;
}

void futex_wake(const std::atomic<uint32_t>* word, int count) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

}  // namespace pelton
