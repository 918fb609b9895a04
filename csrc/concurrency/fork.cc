#include "csrc/concurrency/fork.h"

#include <pthread.h>

#include <atomic>

#include "csrc/base/check.h"

namespace pelton {
namespace {

// Written only by the child handler, while the child has one thread.
std::atomic<uint32_t> forks{0};

void count_fork() { forks.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

uint32_t fork_generation() {
  static const bool registered = pthread_atfork(nullptr, nullptr, &count_fork) == 0;
  PELTON_CHECK(registered);
  return forks.load(std::memory_order_relaxed);
}

}  // namespace pelton
